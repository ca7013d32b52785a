/* Proposals under way: found by request id when their entry is applied, and by age when it is not.
 * All have the same time to live, so the list by age is the order of arrival. */
#include "base/bug.h"
#include "replica/replica_internal.h"

#include <stdlib.h>

/* What is kept of others' proposals during a handover; more is lost, as in etcd all are. */
#define HELD_MESSAGES_MAX 4096
#define HELD_BYTES_MAX    ((size_t)16 << 20)

static void pending_free(struct replica *self, struct pending *p)
{
    list_remove(&p->by_age);
    list_remove(&p->unsent);
    raft_blob_unref(p->blob);
    self->proposals_pending--;
    free(p);
}

/* unsent: which of the two lists. NULL: refused, and answered. */
static struct pending *pending_new(struct replica *self, uint64_t token, uint64_t request_id,
                                   enum replica_reply_kind kind, struct list *unsent)
{
    err refused = OK;
    if (self->stopping)
        refused = ERR_STOPPED;
    else if (raft_commit(self->raft) - self->applied_index > self->backlog_max)
        refused = ERR_REQUEST_TOO_MANY_REQUESTS;
    else if (map_get(&self->pending, request_id))
        refused = ERR_EXISTS;
    if (!err_ok(refused)) {
        publish_error(self, token, kind, refused);
        return NULL;
    }
    struct pending *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->token = token;
    p->request_id = request_id;
    p->start_ms = self->now_ms;
    list_push(&self->aging, &p->by_age);
    list_push(unsent, &p->unsent);
    (void)map_put(&self->pending, request_id, p);
    self->proposals_pending++;
    return p;
}

void replica_propose(struct replica *self, const struct replica_proposal *proposals, size_t count,
                     uint64_t now_ms)
{
    self->now_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        const struct replica_proposal *from = &proposals[i];
        struct pending *p =
            pending_new(self, from->token, from->request_id, REPLY_RESULT, &self->unsent);
        if (!p)
            continue;
        p->kind = PENDING_ENTRY;
        p->data = from->data;
        p->blob = raft_blob_ref(from->blob);
        p->until_swept = from->until_swept;
    }
}

/* What the entry carries beside type and id. */
static err put_context(const struct member_change *change, struct buf *out)
{
    switch (change->kind) {
    case MEMBER_ADD:
    case MEMBER_UPDATE:
        return member_put_json(&change->member, out);
    case MEMBER_PROMOTE:
        return member_put_promotion_json(change->member.id, out);
    case MEMBER_REMOVE:
        break;
    }
    return OK;
}

void proposals_change_members(struct replica *self, uint64_t token,
                              const struct member_change *change)
{
    static const enum raft_conf_change_type types[] = {
        [MEMBER_ADD] = RAFT_ADD_NODE,
        [MEMBER_REMOVE] = RAFT_REMOVE_NODE,
        [MEMBER_UPDATE] = RAFT_UPDATE_NODE,
        [MEMBER_PROMOTE] = RAFT_ADD_NODE,
    };
    struct pending *p = pending_new(self, token, request_ids_take(self->ids, 1), REPLY_MEMBER,
                                    &self->unsent_changes);
    if (!p)
        return;
    bool learner = change->kind == MEMBER_ADD && change->member.learner;
    p->kind = PENDING_CONF_CHANGE;
    p->conf_type = learner ? RAFT_ADD_LEARNER : types[change->kind];
    p->node_id = change->member.id;
    p->is_promotion = change->kind == MEMBER_PROMOTE;
    struct buf AUTO(buf_done) context;
    buf_init(&context, 0);
    CHECK(err_ok(put_context(change, &context)));
    p->blob = raft_blob_copy(buf_bytes(&context), &p->data);
}

/* --- on their way ------------------------------------------------------------------------ */

static bool send_conf_change(struct replica *self, const struct pending *p)
{
    struct raft_conf_change change = {
        .transition = RAFT_TRANSITION_AUTO,
        .count = 1,
        .id = p->request_id,
        .context = p->data,
    };
    change.changes[0] = (struct raft_conf_single){p->conf_type, p->node_id};
    return err_ok(raft_propose_conf_change(self->raft, &change, true));
}

/* As many as one message takes, from the front of the list; how many went. */
static size_t send_entries(struct replica *self)
{
    struct raft_entry entries[FORWARD_ENTRIES_MAX];
    size_t n = 0;
    size_t bytes = 0;
    LIST_FOREACH (node, &self->unsent) {
        const struct pending *p = LIST_ENTRY(node, struct pending, unsent);
        if (p->kind != PENDING_ENTRY || n == FORWARD_ENTRIES_MAX ||
            (n && bytes + p->data.len > FORWARD_BYTES_MAX))
            break;
        bytes += p->data.len;
        entries[n++] =
            (struct raft_entry){.type = RAFT_ENTRY_NORMAL, .data = p->data, .blob = p->blob};
    }
    return err_ok(raft_propose_entries(self->raft, entries, n)) ? n : 0;
}

static void mark_sent(struct pending *p)
{
    list_remove(&p->unsent);
    p->sent = true;
}

/* Raft turns a change into nothing while the one before is not applied. */
static void send_changes(struct replica *self)
{
    while (!list_empty(&self->unsent_changes) && !raft_conf_change_pending(self->raft)) {
        struct pending *p = LIST_ENTRY(self->unsent_changes.next, struct pending, unsent);
        bool removes_us = p->conf_type == RAFT_REMOVE_NODE && p->node_id == self->member_id;
        if (removes_us && cluster_hands_over(self))
            return;
        if (!send_conf_change(self, p))
            return; /* leadership is being handed over, say: they wait */
        mark_sent(p);
    }
}

void proposals_send(struct replica *self)
{
    if (raft_leader(self->raft) == RAFT_NONE || appends_are_many(self))
        return;
    send_changes(self);
    while (!list_empty(&self->unsent) && !appends_are_many(self)) {
        size_t n = send_entries(self);
        if (n == 0)
            return;
        for (; n; n--)
            mark_sent(LIST_ENTRY(self->unsent.next, struct pending, unsent));
    }
}

/* --- others' that must wait --------------------------------------------------------------- */

/* NULL: the message proposes no change of members that could be read. */
static const struct raft_conf_change *change_in(const struct raft_message *message,
                                                struct raft_conf_change *room)
{
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        if (entry->type != RAFT_ENTRY_NORMAL)
            return err_ok(raft_conf_change_decode(entry->type, entry->data, room)) ? room : NULL;
    }
    return NULL;
}

static bool must_wait(struct replica *self, const struct raft_message *message)
{
    struct raft_conf_change room;
    if (raft_transferee(self->raft) != RAFT_NONE)
        return true;
    const struct raft_conf_change *change = change_in(message, &room);
    if (!change || change->count == 0)
        return false;
    bool removes_us = change->changes[0].type == RAFT_REMOVE_NODE &&
                      change->changes[0].node_id == self->member_id;
    return raft_conf_change_pending(self->raft) || (removes_us && cluster_hands_over(self));
}

bool proposals_hold(struct replica *self, const struct raft_message *message)
{
    size_t bytes = (size_t)raft_entries_bytes(message->entries, message->entry_count);
    bool between = raft_leader(self->raft) == RAFT_NONE && (self->stopping || self->held_count);
    if ((!must_wait(self, message) && !between) || self->held_bytes + bytes > HELD_BYTES_MAX ||
        self->held_count >= HELD_MESSAGES_MAX)
        return false;
    self->held =
        array_grow(self->held, self->held_count, &self->held_cap, sizeof(struct raft_message *));
    self->held[self->held_count++] = raft_message_copy(message);
    self->held_bytes += bytes;
    return true;
}

void proposals_unhold(struct replica *self)
{
    size_t done = 0;
    if (!self->held_count || raft_leader(self->raft) == RAFT_NONE)
        return;
    for (; done < self->held_count && !must_wait(self, self->held[done]); done++) {
        struct raft_message *message = self->held[done];
        self->held_bytes -= (size_t)raft_entries_bytes(message->entries, message->entry_count);
        (void)raft_step(self->raft, message).code; /* refused: as if it had been lost */
        raft_message_free(message);
    }
    self->held_count -= done;
    memmove(self->held, self->held + done, self->held_count * sizeof(struct raft_message *));
}

void proposals_free(struct replica *self)
{
    for (size_t i = 0; i < self->held_count; i++)
        raft_message_free(self->held[i]);
    free(self->held);
    self->held = NULL;
    self->held_count = self->held_cap = self->held_bytes = 0;
}

/* --- their end --------------------------------------------------------------------------- */

static enum replica_reply_kind reply_kind(const struct pending *p)
{
    return p->kind == PENDING_ENTRY ? REPLY_RESULT : REPLY_MEMBER;
}

struct pending *proposals_take(struct replica *self, uint64_t request_id)
{
    return map_remove(&self->pending, request_id);
}

void proposals_answer(struct replica *self, struct pending *p, const struct state_result *result)
{
    self->proposals_committed++;
    if (p->until_swept && err_ok(result->error) && !mvcc_store_is_swept(state_store(self->state))) {
        p->swept = *result;
        p->swept.op.children = NULL;
        p->swept.op.child_count = 0;
        list_remove(&p->by_age);
        list_remove(&p->unsent);
        list_push(&self->sweeping, &p->by_age);
        return;
    }
    publish_reply(self, p->token, reply_kind(p), result);
    if (p->is_promotion)
        members_promoted(self, result->error);
    pending_free(self, p);
}

void proposals_sweep_done(struct replica *self)
{
    struct list *node;
    while ((node = list_pop(&self->sweeping))) {
        struct pending *p = LIST_ENTRY(node, struct pending, by_age);
        publish_reply(self, p->token, reply_kind(p), &p->swept);
        pending_free(self, p);
    }
}

/* Why an entry that was on its way did not come back in time, as far as can be told. */
static err cause_of(const struct replica *self, const struct pending *p)
{
    if (!p->sent)
        return ERR_CONTEXT_DEADLINE;
    uint64_t window = 2 * election_ms(self);
    uint64_t lost_ms = self->leader_since_ms > window ? self->leader_since_ms - window : 0;
    if (p->start_ms > lost_ms && p->start_ms < self->leader_since_ms)
        return ERR_TIMEOUT_DUE_TO_LEADER_FAIL;
    if (self->leader == RAFT_NONE)
        return ERR_TIMEOUT;
    bool connected = self->leader == self->member_id
                         ? cluster_quorum_connected_since(self, p->start_ms)
                         : cluster_connected_since(self, self->leader, p->start_ms);
    return connected ? ERR_TIMEOUT : ERR_TIMEOUT_DUE_TO_CONNECTION_LOST;
}

static void fail_first(struct replica *self, err error)
{
    struct pending *p = LIST_ENTRY(self->aging.next, struct pending, by_age);
    (void)map_remove(&self->pending, p->request_id);
    publish_error(self, p->token, reply_kind(p), error);
    if (p->is_promotion)
        members_promoted(self, error);
    self->proposals_failed++;
    pending_free(self, p);
}

/* The bug of that name: what is slow is sent once more. */
static void send_slow_again(struct replica *self)
{
    LIST_FOREACH (node, &self->aging) {
        struct pending *p = LIST_ENTRY(node, struct pending, by_age);
        if (!p->sent || p->kind != PENDING_ENTRY || self->now_ms < p->start_ms + 1000)
            continue;
        p->sent = false;
        list_push(&self->unsent, &p->unsent);
    }
}

void replica_told_removed(struct replica *self, uint64_t now_ms)
{
    const struct state_result done = {.op.kind = STATE_MEMBERS};
    self->now_ms = now_ms;
    LIST_FOREACH_SAFE (node, after, &self->aging) {
        struct pending *p = LIST_ENTRY(node, struct pending, by_age);
        if (p->kind != PENDING_CONF_CHANGE || p->conf_type != RAFT_REMOVE_NODE ||
            p->node_id != self->member_id)
            continue;
        (void)map_remove(&self->pending, p->request_id);
        publish_reply(self, p->token, REPLY_MEMBER, &done);
        pending_free(self, p);
    }
}

void proposals_expire(struct replica *self)
{
    if (BUG(proposal_sent_twice))
        send_slow_again(self);
    while (!list_empty(&self->aging)) {
        struct pending *p = LIST_ENTRY(self->aging.next, struct pending, by_age);
        if (self->now_ms < p->start_ms + request_timeout_ms(self))
            break;
        fail_first(self, cause_of(self, p));
    }
    while (!list_empty(&self->sweeping)) {
        struct pending *p = LIST_ENTRY(self->sweeping.next, struct pending, by_age);
        if (self->now_ms < p->start_ms + request_timeout_ms(self))
            break;
        publish_reply(self, p->token, reply_kind(p), &p->swept); /* it holds; it is only slow */
        pending_free(self, p);
    }
}

void proposals_fail_all(struct replica *self, err error)
{
    while (!list_empty(&self->aging))
        fail_first(self, error);
    proposals_sweep_done(self);
}

void proposals_drop_first(struct replica *self)
{
    struct list *from = list_empty(&self->aging) ? &self->sweeping : &self->aging;
    pending_free(self, LIST_ENTRY(from->next, struct pending, by_age));
}
