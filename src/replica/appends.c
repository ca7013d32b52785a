/* Batches with the log. A batch carries what raft wants stored, and beside it the messages that
 * vouch for it: they stay here until the log has said that it is durable. */
#include "base/bug.h"
#include "replica/replica_internal.h"

#include <stdlib.h>

bool appends_are_many(const struct replica *self)
{
    return self->append_bytes > APPEND_BYTES_MAX || self->append_count > APPENDS_MAX;
}

void appends_send(struct replica *self, const struct raft_message *message)
{
    self->send_out =
        array_grow(self->send_out, self->send_count, &self->send_cap, sizeof(*self->send_out));
    self->send_out[self->send_count++] = *message;
}

static struct append *append_new(struct replica *self, const struct raft_entry *entries,
                                 size_t entry_count)
{
    struct append *a = calloc(1, sizeof(*a) + entry_count * sizeof(a->entries[0]));
    CHECK(a);
    a->out.batch = self->next_batch++;
    a->out.entries = a->entries;
    a->out.entry_count = entry_count;
    a->issued_ms = self->now_ms;
    if (entry_count)
        memcpy(a->entries, entries, entry_count * sizeof(a->entries[0]));
    raft_entries_ref(a->entries, entry_count);
    a->bytes = (size_t)raft_entries_bytes(entries, entry_count);
    self->append_bytes += a->bytes;
    self->append_count++;
    *self->appends_end = a;
    self->appends_end = &a->next;
    self->append_out = array_grow(self->append_out, self->append_out_count, &self->append_out_cap,
                                  sizeof(const struct replica_append *));
    self->append_out[self->append_out_count++] = &a->out;
    return a;
}

void appends_issue(struct replica *self, const struct raft_message *message, bool must_sync)
{
    struct append *a = append_new(self, message->entries, message->entry_count);
    a->out.must_sync = must_sync;
    a->out.has_hard_state = message->term != 0 || message->vote != 0 || message->commit != 0;
    a->out.hard_state = (struct raft_hard_state){message->term, message->vote, message->commit};
    if (a->out.has_hard_state)
        self->log.hard_state = a->out.hard_state;
    if (message->snapshot) {
        a->snapshot_conf = message->snapshot->conf_state;
        a->out.has_snapshot = a->out.installs = a->out.must_sync = true;
        a->out.snapshot_index = message->snapshot->index;
        a->out.snapshot_term = message->snapshot->term;
        a->out.snapshot_conf = &a->snapshot_conf;
    }
    a->responses = calloc(message->response_count ? message->response_count : 1,
                          sizeof(struct raft_message *));
    CHECK(a->responses);
    for (size_t i = 0; i < message->response_count; i++)
        a->responses[i] = raft_message_copy(&message->responses[i]);
    for (size_t i = 0; i < message->response_count && a->out.installs; i++)
        if (BUG(snapshot_acknowledged_early) && a->responses[i]->to != self->member_id)
            appends_send(self, a->responses[i]);
    a->response_count = message->response_count;
}

void appends_sync_state(struct replica *self)
{
    struct append *a = append_new(self, NULL, 0);
    a->out.must_sync = a->out.has_hard_state = true;
    a->out.hard_state = self->log.hard_state;
}

bool appends_record_due(const struct replica *self, uint64_t index)
{
    return index >= self->snapshot_recorded + self->snapshot_entries ||
           (index > self->snapshot_recorded &&
            log_cache_first_within(&self->log, self->kept_bytes_max / 2) > self->snapshot_recorded);
}

/* What no member may still ask for: all but the newest, for those that are heard of what they lack,
 * for nobody more than the bound in bytes (they are given a snapshot). */
static uint64_t releasable(const struct replica *self, uint64_t recorded)
{
    uint64_t index = recorded > self->kept_entries ? recorded - self->kept_entries : 0;
    if (self->leading && raft_active_match_min(self->raft) < index)
        index = raft_active_match_min(self->raft);
    uint64_t within = log_cache_first_within(&self->log, self->kept_bytes_max);
    if (within > index + 1)
        index = within - 1;
    return index < recorded ? index : recorded;
}

/* Lets go of the log: a snapshot record at the newest durable frame, and behind it what is
 * releasable. */
void appends_note_frame(struct replica *self)
{
    uint64_t index = self->synced.index;
    if (self->installing || !appends_record_due(self, index) || index > self->log.hard_state.commit)
        return;
    struct append *a = append_new(self, NULL, 0);
    a->snapshot_conf = self->synced.conf;
    a->out.has_snapshot = true;
    a->out.snapshot_index = index;
    a->out.snapshot_term = self->synced.term;
    a->out.snapshot_conf = &a->snapshot_conf;
    a->out.must_sync = true;
    self->snapshot_recorded = index;
    uint64_t old = self->release_log ? releasable(self, index) : 0;
    if (BUG(log_released_early))
        old = self->applied_index;
    if (old > self->released)
        a->out.release_index = self->released = old;
}

static void append_finish(struct replica *self, struct append *a)
{
    log_cache_append(&self->log, a->entries, a->out.entry_count);
    raft_entries_unref(a->entries, a->out.entry_count);
    for (size_t i = 0; i < a->response_count; i++) {
        struct raft_message *m = a->responses[i];
        if (m->to == self->member_id) {
            /* One that no longer matches (its entries were replaced meanwhile) is refused. */
            (void)raft_step_local(self->raft, m).code;
            raft_message_free(m);
            continue;
        }
        appends_send(self, m);
        self->spent = array_grow(self->spent, self->spent_count, &self->spent_cap,
                                 sizeof(struct raft_message *));
        self->spent[self->spent_count++] = m;
    }
    self->append_bytes -= a->bytes;
    self->append_count--;
    free(a->responses);
    free(a);
}

void appends_done(struct replica *self, uint64_t batch)
{
    while (self->appends && self->appends->out.batch <= batch) {
        struct append *a = self->appends;
        if (a->out.installs) {
            self->installed = true; /* what vouches for it is said in the next life */
            return;
        }
        self->appends = a->next;
        if (!self->appends)
            self->appends_end = &self->appends;
        append_finish(self, a);
    }
}

void appends_free(struct replica *self)
{
    while (self->appends) {
        struct append *a = self->appends;
        self->appends = a->next;
        raft_entries_unref(a->entries, a->out.entry_count);
        for (size_t i = 0; i < a->response_count; i++)
            raft_message_free(a->responses[i]);
        free(a->responses);
        free(a);
    }
    self->appends_end = &self->appends;
    for (size_t i = 0; i < self->spent_count; i++)
        raft_message_free(self->spent[i]);
    free(self->spent);
    free(self->send_out);
    free(self->append_out);
}
