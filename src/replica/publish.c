/* What leaves the core besides messages and batches: views, replies, flushes. */
#include "replica/replica_internal.h"

#include <stdlib.h>

/* --- views ------------------------------------------------------------------------------- */

static void view_free(struct epoch_item *item)
{
    free((struct replica_view *)(void *)((char *)item - offsetof(struct replica_view, retired)));
}

static struct cluster_version storage_version(struct cluster_version cluster)
{
    const struct cluster_version oldest = {3, 5}; /* what a store says before it is told more */
    return cluster_version_compare(cluster, oldest) > 0 ? cluster : oldest;
}

/* old: where something was applied that cannot be published yet, all that apply touches stays as
 * it was shown last. NULL: nothing was. */
static struct replica_view view_of(struct replica *self, const struct mvcc_view *mvcc,
                                   const struct replica_view *old)
{
    const struct membership *members = old ? old->members : cluster_members(self);
    const struct member *own = membership_find(members, self->member_id);
    return (struct replica_view){
        .mvcc = mvcc,
        .members = members,
        .alarms = old ? old->alarms : state_alarms(self->state),
        .lease_keys = old ? old->lease_keys : state_lease_keys(self->state),
        .lease_count = lease_table_count(state_leases(self->state)),
        .cluster_id = self->cluster_id,
        .member_id = self->member_id,
        .leader_id = self->leader,
        .term = raft_term(self->raft),
        .commit_index = raft_commit(self->raft),
        .applied_index = self->published_index,
        .applied_term = self->published_term,
        .version = members->version,
        .storage_version = storage_version(members->version),
        .size_bytes = self->size_bytes,
        .size_in_use_bytes = self->size_in_use_bytes,
        .unwritten_bytes = (int64_t)tail_unwritten_bytes(self->tail),
        .leader_since_ms = self->leader_since_ms,
        .leaderless_since_ms = self->leaderless_since_ms,
        .proposals_pending = self->proposals_pending,
        .proposals_failed = self->proposals_failed,
        .leader_changes = self->leader_changes,
        .reads_failed = self->reads_failed,
        .reads_slow = self->reads_slow,
        .heartbeats_late = self->heartbeats_late,
        .leases_granted = self->leases_granted,
        .leases_revoked = self->leases_revoked,
        .leases_renewed = self->leases_renewed,
        .leases_expired = self->leases_expired,
        .compacted_count = mvcc_store_swept_count(state_store(self->state)),
        .compaction_done_ms = self->compaction_done_ms,
        .is_learner = own && own->learner,
        .is_member = old ? old->is_member
                         : membership_find(state_members(self->state), self->member_id) != NULL,
        .is_removed = self->is_removed,
        .is_published = cluster_is_published(self),
        .disk_stalled = self->stalled,
        .disk_full = self->log_full || self->store_full,
    };
}

static bool view_equal(const struct replica_view *a, const struct replica_view *b)
{
    return a->mvcc == b->mvcc && a->members == b->members && a->alarms == b->alarms &&
           a->leader_id == b->leader_id && a->term == b->term &&
           a->commit_index == b->commit_index && a->applied_index == b->applied_index &&
           a->size_bytes == b->size_bytes && a->size_in_use_bytes == b->size_in_use_bytes &&
           a->leader_since_ms == b->leader_since_ms &&
           a->leaderless_since_ms == b->leaderless_since_ms && a->is_removed == b->is_removed &&
           a->disk_stalled == b->disk_stalled && a->disk_full == b->disk_full &&
           /* what seldom changes and then alone: otherwise nobody would hear of it */
           a->reads_failed == b->reads_failed && a->reads_slow == b->reads_slow &&
           a->proposals_failed == b->proposals_failed && a->heartbeats_late == b->heartbeats_late;
}

void publish_view(struct replica *self)
{
    bool now = self->unpublished && !state_is_busy(self->state);
    const struct mvcc_view *mvcc;
    if (now) {
        mvcc = state_publish(self->state);
        self->published_index = self->applied_index;
        self->published_term = self->applied_term;
        self->published_conf = self->flushable.conf;
        self->unpublished = false;
    } else {
        mvcc = mvcc_store_view(state_store(self->state));
    }
    struct replica_view *old = atomic_load_explicit(&self->view, memory_order_relaxed);
    struct replica_view next = view_of(self, mvcc, self->unpublished ? old : NULL);
    if (!old || !view_equal(old, &next)) {
        struct replica_view *view = malloc(sizeof(*view));
        CHECK(view);
        *view = next;
        atomic_store_explicit(&self->view, view, memory_order_release);
        if (old)
            epoch_retire(self->epoch, &old->retired, view_free);
        self->effects.view_changed = true;
    }
    if (now) /* only now does no view show what was replaced */
        state_retire(self->state);
}

const struct replica_view *replica_view_get(const struct replica *self)
{
    return atomic_load_explicit(&self->view, memory_order_acquire);
}

/* --- replies ----------------------------------------------------------------------------- */

static struct replica_replies *replies_for(struct replica *self, unsigned front)
{
    struct replica_replies *r = self->open_replies[front];
    if (r)
        return r;
    r = self->spare_replies;
    if (r) {
        self->spare_replies = r->next;
    } else {
        r = calloc(1, sizeof(*r));
        CHECK(r);
        arena_init(&r->arena, 4096);
    }
    r->front = front;
    r->count = 0;
    r->next = NULL;
    self->open_replies[front] = r;
    return r;
}

/* Children copied into the batch's arena, level by level: a list of what is still to be copied
 * instead of recursion. */
struct copy_job {
    struct state_op *op;
    struct copy_job *next;
};

static void copy_children(struct arena *arena, struct state_op *root)
{
    struct copy_job first = {root, NULL};
    struct copy_job *last = &first;
    for (struct copy_job *job = &first; job; job = job->next) {
        struct state_op *op = job->op;
        if (op->child_count == 0)
            continue;
        struct state_op *children = ARENA_ARRAY(arena, struct state_op, op->child_count);
        memcpy(children, op->children, op->child_count * sizeof(*children));
        op->children = children;
        for (uint32_t i = 0; i < op->child_count; i++) {
            if (children[i].child_count == 0)
                continue;
            last->next = ARENA_NEW(arena, struct copy_job);
            last = last->next;
            last->op = &children[i];
        }
    }
}

void publish_reply(struct replica *self, uint64_t token, enum replica_reply_kind kind,
                   const struct state_result *result)
{
    if (token == TOKEN_NONE)
        return;
    unsigned front = token_front(token);
    CHECK(front < self->front_count);
    struct replica_replies *r = replies_for(self, front);
    r->items = array_grow(r->items, r->count, &r->cap, sizeof(r->items[0]));
    struct replica_reply *reply = &r->items[r->count++];
    *reply = (struct replica_reply){.token = token, .kind = kind, .result = *result};
    copy_children(&r->arena, &reply->result.op);
    if (result->alarm_count) {
        struct alarm *alarms = ARENA_ARRAY(&r->arena, struct alarm, result->alarm_count);
        memcpy(alarms, result->alarms, result->alarm_count * sizeof(*alarms));
        reply->result.alarms = alarms;
    }
    if (result->seq_min && (r->seq_min == 0 || result->seq_min < r->seq_min))
        r->seq_min = result->seq_min;
}

void publish_lease(struct replica *self, uint64_t token, err error,
                   const struct replica_lease_answer *answer)
{
    const struct state_result result = {.error = error};
    publish_reply(self, token, REPLY_LEASE, &result);
    struct replica_replies *r = self->open_replies[token_front(token)];
    struct replica_reply *reply = &r->items[r->count - 1];
    reply->lease = *answer;
    if (answer->id_count == 0)
        return;
    int64_t *ids = ARENA_ARRAY(&r->arena, int64_t, answer->id_count);
    memcpy(ids, answer->ids, answer->id_count * sizeof(*ids));
    reply->lease.ids = ids;
}

void publish_error(struct replica *self, uint64_t token, enum replica_reply_kind kind, err error)
{
    const struct state_result result = {.error = error};
    publish_reply(self, token, kind, &result);
}

void publish_hand_out(struct replica *self)
{
    if (self->unpublished)
        return;
    for (unsigned front = self->front_count; front-- > 0;) {
        struct replica_replies *r = self->open_replies[front];
        if (!r)
            continue;
        self->open_replies[front] = NULL;
        struct mvcc_pins *pins = mvcc_store_pins(state_store(self->state));
        /* No sweep runs between apply and here, so what is promised is still there. Without a
         * free pin it stays readable until the next compaction. */
        if (r->seq_min)
            (void)mvcc_pin_take(pins, r->seq_min, self->now_ms, &r->pin).code;
        r->next = self->effects.replies;
        self->effects.replies = r;
    }
}

void replica_replies_give_back(struct replica *self, struct replica_replies *replies)
{
    mvcc_pin_drop(mvcc_store_pins(state_store(self->state)), &replies->pin);
    arena_reset(&replies->arena);
    replies->seq_min = 0;
    replies->count = 0;
    replies->next = self->spare_replies;
    self->spare_replies = replies;
}

/* --- flushes ----------------------------------------------------------------------------- */

static void note_frame(struct replica *self)
{
    if (self->frame_count == FRAMES_MAX)
        self->frame_count--; /* the newest note gives way: the log is let go of a little later */
    struct frame_note *note = &self->frames[(self->frame_first + self->frame_count) % FRAMES_MAX];
    self->frame_count++;
    note->index = self->flushable.index;
    note->term = self->flushable.term;
    note->conf = self->flushable.conf;
}

/* What is written should also be synced: the log waits for it to let go, or a compaction to
 * sweep. */
static bool sync_is_wanted(const struct replica *self)
{
    return appends_record_due(self, self->written_index) ||
           !mvcc_store_is_swept(state_store(self->state));
}

/* At a megabyte or a tenth of a second, whichever comes first, one at a time; and whatever there
 * is where the tail is full, in the middle of an entry too. */
void publish_flush(struct replica *self)
{
    bool moved = self->flushable.open_seq > self->flush.open_seq ||
                 self->flushable.index > self->flush.index;
    bool due = tail_unwritten_bytes(self->tail) >= self->flush_bytes ||
               (self->dirty_since_ms && self->now_ms >= self->dirty_since_ms + self->flush_ms) ||
               tail_is_full(self->tail) || !list_empty(&self->sweeping) || self->stopping;
    if (moved && due && !self->flush_pending) {
        if (self->flushable.index > self->flush.index)
            note_frame(self);
        self->flush = self->flushable;
        self->flush_pending = true;
        self->dirty_since_ms = 0;
        self->effects.flush = &self->flush;
    }
    if (!self->sync_pending && self->written_seq > self->synced_seq && sync_is_wanted(self)) {
        self->sync_pending = true;
        self->effects.sync_store = true;
    }
}

void replica_flush_done(struct replica *self, const struct replica_flushed *flushed,
                        uint64_t now_ms)
{
    self->now_ms = now_ms;
    self->written_seq = flushed->written_seq;
    self->written_index = flushed->written_index;
    if (self->written_seq >= self->flush.open_seq && self->written_index >= self->flush.index)
        self->flush_pending = false;
    tail_trim(self->tail, flushed->written_seq);
    while (self->frame_count && self->frames[self->frame_first].index <= flushed->synced_index) {
        self->synced = self->frames[self->frame_first];
        self->frame_first = (self->frame_first + 1) % FRAMES_MAX;
        self->frame_count--;
    }
    if (flushed->synced_seq > self->synced_seq) {
        self->synced_seq = flushed->synced_seq;
        self->sync_pending = false;
        mvcc_store_synced(state_store(self->state), flushed->synced_seq);
        self->sweep_more = true;
    }
    self->size_bytes = flushed->size_bytes;
    self->size_in_use_bytes = flushed->size_in_use_bytes;
    self->store_full = flushed->disk_full;
    state_set_size(self->state, flushed->size_in_use_bytes);
}

/* --- the end ----------------------------------------------------------------------------- */

static void replies_free(struct replica *self, struct replica_replies *r)
{
    mvcc_pin_drop(mvcc_store_pins(state_store(self->state)), &r->pin);
    arena_done(&r->arena);
    free(r->items);
    free(r);
}

void publish_free(struct replica *self)
{
    for (unsigned front = 0; front < self->front_count; front++) {
        if (self->open_replies[front])
            replies_free(self, self->open_replies[front]);
    }
    while (self->spare_replies) {
        struct replica_replies *r = self->spare_replies;
        self->spare_replies = r->next;
        replies_free(self, r);
    }
    free(self->open_replies);
    free(atomic_load_explicit(&self->view, memory_order_relaxed));
}
