/* What there is to do, and what is done.
 *
 * A ready is put together from what has come up since the last one; taking it means that all of it
 * is under way. In synchronous mode the member's word to itself (its vote, its own append) and the
 * storage's answer wait for raft_advance; in asynchronous mode they travel as responses of
 * MsgStorageAppend. */
#include "raft/internal.h"

static bool hard_state_changed(const struct raft *self)
{
    struct raft_hard_state now = raft_hard_state(self);
    const struct raft_hard_state *last = &self->last_hard_state;
    return now.term != last->term || now.vote != last->vote || now.commit != last->commit;
}

static bool soft_state_changed(const struct raft *self)
{
    struct raft_soft_state now = raft_soft_state(self);
    return now.leader != self->last_soft_state.leader || now.role != self->last_soft_state.role;
}

bool raft_has_ready(const struct raft *self)
{
    const struct raft_entry *entries;
    uint64_t lo;
    uint64_t hi;
    return self->messages.count > 0 || self->vouching.count > 0 || self->append_due ||
           self->reads.round_due || self->read_state_count > 0 || soft_state_changed(self) ||
           hard_state_changed(self) || raft_unstable_has_next_snapshot(&self->log.unstable) ||
           raft_unstable_next(&self->log.unstable, &entries) > 0 ||
           raft_log_next_committed(&self->log, !self->config.async_storage_writes, &lo, &hi);
}

static err take_committed(struct raft *self, struct raft_ready *ready)
{
    bool allow_unstable = !self->config.async_storage_writes;
    uint64_t lo;
    uint64_t hi;
    if (!raft_log_next_committed(&self->log, allow_unstable, &lo, &hi))
        return OK;
    const struct raft_entry *entries;
    size_t count;
    err e =
        raft_log_slice(&self->log, lo, hi, raft_log_applying_room(&self->log), &entries, &count);
    /* Not now: the entries come with a later ready. */
    if (err_is(e, ERR_AGAIN))
        return OK;
    TRY(e);
    ready->committed = raft_keep_entries(self, entries, count, true);
    ready->committed_count = count;
    return OK;
}

/* The answer of the append thread, when it has done what this ready says. It names the end of the
 * log as it is now: where that has changed since, nothing is stable (U3). */
static bool storage_answer(struct raft *self, const struct raft_ready *ready,
                           struct raft_message *ret_message)
{
    bool entries = raft_log_has_unstable(&self->log);
    if (!entries && !ready->snapshot)
        return false;
    *ret_message = (struct raft_message){
        .type = RAFT_MSG_STORAGE_APPEND_RESP,
        .to = self->config.id,
        .from = RAFT_APPEND_THREAD,
        .term = self->term,
        .snapshot = ready->snapshot,
    };
    if (entries) {
        ret_message->index = raft_log_last_index(&self->log);
        ret_message->log_term = raft_log_last_term(&self->log);
    }
    return true;
}

/* The vouching messages for which `own` equals being addressed to this member, then the storage's
 * answer where with_answer; in the collecting arena. */
static const struct raft_message *collect_answers(struct raft *self, const struct raft_ready *ready,
                                                  bool own_only, size_t *ret_count)
{
    struct raft_message *list =
        ARENA_ARRAY(&raft_collecting(self)->arena, struct raft_message, self->vouching.count + 1);
    size_t count = 0;
    for (size_t i = 0; i < self->vouching.count; i++) {
        const struct raft_message *m = &self->vouching.messages[i];
        if (!own_only || m->to == self->config.id)
            list[count++] = *m;
    }
    if (storage_answer(self, ready, &list[count]))
        count++;
    *ret_count = count;
    return list;
}

static void send_to_append_thread(struct raft *self, const struct raft_ready *ready)
{
    if (ready->entry_count == 0 && !ready->has_hard_state && !ready->snapshot &&
        self->vouching.count == 0)
        return;
    struct raft_message m = {
        .type = RAFT_MSG_STORAGE_APPEND,
        .to = RAFT_APPEND_THREAD,
        .from = self->config.id,
        .entries = ready->entries,
        .entry_count = ready->entry_count,
        .snapshot = ready->snapshot,
    };
    if (ready->has_hard_state) {
        m.term = ready->hard_state.term;
        m.vote = ready->hard_state.vote;
        m.commit = ready->hard_state.commit;
    }
    m.responses = collect_answers(self, ready, false, &m.response_count);
    raft_outbox_push(&self->messages, &m);
}

static void send_to_apply_thread(struct raft *self, const struct raft_ready *ready)
{
    if (ready->committed_count == 0)
        return;
    struct raft_message *answer = ARENA_NEW(&raft_collecting(self)->arena, struct raft_message);
    *answer = (struct raft_message){
        .type = RAFT_MSG_STORAGE_APPLY_RESP,
        .to = self->config.id,
        .from = RAFT_APPLY_THREAD,
        .entries = ready->committed,
        .entry_count = ready->committed_count,
    };
    struct raft_message m = {
        .type = RAFT_MSG_STORAGE_APPLY,
        .to = RAFT_APPLY_THREAD,
        .from = self->config.id,
        .entries = ready->committed,
        .entry_count = ready->committed_count,
        .responses = answer,
        .response_count = 1,
    };
    raft_outbox_push(&self->messages, &m);
}

/* Synchronous mode: answers to others follow the messages, those to ourselves wait. */
static void split_vouching(struct raft *self, const struct raft_ready *ready)
{
    for (size_t i = 0; i < self->vouching.count; i++)
        if (self->vouching.messages[i].to != self->config.id)
            raft_outbox_push(&self->messages, &self->vouching.messages[i]);
    self->advance_steps = collect_answers(self, ready, true, &self->advance_step_count);
    self->advance_applied =
        ready->committed_count > 0 ? ready->committed[ready->committed_count - 1].index : 0;
    self->advance_due = true;
}

static void take_messages(struct raft *self, struct raft_ready *ready)
{
    size_t count = self->messages.count;
    struct raft_message *list =
        ARENA_ARRAY(&raft_collecting(self)->arena, struct raft_message, count);
    if (count > 0)
        memcpy(list, self->messages.messages, count * sizeof(*list));
    ready->messages = list;
    ready->message_count = count;
    self->messages.count = 0;
    self->vouching.count = 0;
}

static void take_read_states(struct raft *self, struct raft_ready *ready)
{
    size_t count = self->read_state_count;
    struct raft_read_state *list =
        ARENA_ARRAY(&raft_collecting(self)->arena, struct raft_read_state, count);
    if (count > 0)
        memcpy(list, self->read_states, count * sizeof(*list));
    ready->read_states = list;
    ready->read_state_count = count;
    self->read_state_count = 0;
}

static void describe(struct raft *self, struct raft_ready *ready)
{
    const struct raft_entry *entries;
    ready->entry_count = raft_unstable_next(&self->log.unstable, &entries);
    if (ready->entry_count > 0)
        ready->entries = raft_keep_entries(self, entries, ready->entry_count, false);
    if (raft_unstable_has_next_snapshot(&self->log.unstable))
        ready->snapshot = raft_keep_snapshot(self, self->log.unstable.snapshot, false);
    ready->has_soft_state = soft_state_changed(self);
    ready->soft_state = raft_soft_state(self);
    ready->has_hard_state = hard_state_changed(self);
    ready->hard_state = raft_hard_state(self);
    ready->must_sync = ready->entry_count > 0 ||
                       ready->hard_state.term != self->last_hard_state.term ||
                       ready->hard_state.vote != self->last_hard_state.vote;
}

static void accept(struct raft *self, const struct raft_ready *ready)
{
    self->last_soft_state = ready->soft_state;
    self->last_hard_state = ready->hard_state;
    raft_unstable_accept(&self->log.unstable);
    if (ready->committed_count > 0)
        raft_log_accept_applying(&self->log, ready->committed, ready->committed_count,
                                 !self->config.async_storage_writes);
    self->generation ^= 1;
    raft_generation_reset(raft_collecting(self));
}

err raft_ready_take(struct raft *self, struct raft_ready *ret_ready)
{
    CHECK(!self->advance_due);
    struct raft_ready ready = {0};
    TRY(take_committed(self, &ready));
    raft_flush_appends(self);
    if (self->reads.round_due)
        raft_broadcast_heartbeat(self);
    describe(self, &ready);
    if (self->config.async_storage_writes) {
        send_to_append_thread(self, &ready);
        send_to_apply_thread(self, &ready);
    } else {
        split_vouching(self, &ready);
    }
    take_messages(self, &ready);
    take_read_states(self, &ready);
    accept(self, &ready);
    *ret_ready = ready;
    return OK;
}

void raft_entries_applied(struct raft *self, uint64_t index)
{
    uint64_t payload;
    uint64_t applied = index > self->log.applied ? index : self->log.applied;
    raft_log_applied_to(&self->log, applied, &payload);
    raft_reduce_uncommitted(self, payload);
    raft_auto_leave(self, applied);
}

void raft_advance(struct raft *self)
{
    CHECK(self->advance_due && !self->config.async_storage_writes);
    self->advance_due = false;
    for (size_t i = 0; i < self->advance_step_count; i++) {
        err e = raft_step_any(self, &self->advance_steps[i]);
        CHECK(err_ok(e));
    }
    if (self->advance_applied > 0)
        raft_entries_applied(self, self->advance_applied);
}

void raft_applied(struct raft *self, uint64_t index)
{
    CHECK(self->config.async_storage_writes && index <= self->log.applying);
    raft_entries_applied(self, index);
}
