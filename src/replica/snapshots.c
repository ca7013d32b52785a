/* States that travel whole: to members that lack what the log no longer has, and from a leader
 * whose log no longer has what this member lacks.
 *
 *     raft asks (snapshots_offer) ─> MsgSnap ─> effects.snapshots ─> PEER_SNAPSHOT_SENT or _FAILED
 *
 *     replica_step_snapshot ─> append: record and commit ─> log_done ─> effects.installed
 *
 * What raft is told at first is the index that is published then; the message that leaves carries
 * that of the view that is newest when it is handed out, and whoever sends it may take a later one
 * still: raft copes with that. */
#include "replica/replica_internal.h"

#include <stdlib.h>

err snapshots_offer(void *ctx, struct raft_snapshot *ret_snapshot)
{
    struct replica *self = ctx;
    if (!self->release_log || !self->published_index)
        return ERR_AGAIN;
    *ret_snapshot = (struct raft_snapshot){
        .index = self->published_index,
        .term = self->published_term,
        .conf_state = self->published_conf,
    };
    return OK;
}

void snapshots_take(struct replica *self, const struct raft_message *message)
{
    self->snapshots = array_grow(self->snapshots, self->snapshot_count, &self->snapshot_cap,
                                 sizeof(struct raft_message *));
    self->snapshots[self->snapshot_count++] = raft_message_copy(message);
}

void snapshots_hand_out(struct replica *self)
{
    for (size_t i = 0; i < self->snapshot_count; i++) {
        /* Our own copy, freed by us. */
        struct raft_snapshot *snapshot =
            (struct raft_snapshot *)(uintptr_t)self->snapshots[i]->snapshot;
        CHECK(snapshot->index <= self->published_index);
        snapshot->index = self->published_index;
        snapshot->term = self->published_term;
        snapshot->conf_state = self->published_conf;
    }
    self->effects.snapshots = (const struct raft_message *const *)self->snapshots;
    self->effects.snapshot_count = self->snapshots_given = self->snapshot_count;
}

void snapshots_free_spent(struct replica *self)
{
    for (size_t i = 0; i < self->snapshots_given; i++)
        raft_message_free(self->snapshots[i]);
    self->snapshot_count -= self->snapshots_given;
    CHECK(self->snapshot_count == 0); /* they are taken inside a pass alone */
    self->snapshots_given = 0;
}

void snapshots_free(struct replica *self)
{
    self->snapshots_given = self->snapshot_count;
    snapshots_free_spent(self);
    free(self->snapshots);
}

/* --- towards us -------------------------------------------------------------------------- */

void replica_set_staging(struct replica *self, bool staging)
{
    self->staging = staging;
}

bool replica_step_snapshot(struct replica *self, const struct raft_message *message,
                           uint64_t now_ms)
{
    CHECK(message->type == RAFT_MSG_SNAP);
    self->now_ms = now_ms;
    if (self->installing || !message->snapshot || self->stopping)
        return false;
    (void)raft_step(self->raft, message).code; /* refused: as if it had been lost */
    if (raft_pending_snapshot(self->raft) != message->snapshot->index)
        return false;
    self->installing = message->snapshot->index;
    return true;
}
