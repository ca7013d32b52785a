#include "raft/progress.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void progress_enter(struct raft_progress *self, enum raft_progress_state state)
{
    self->state = state;
    self->flow_paused = false;
    self->pending_snapshot = 0;
    raft_inflights_reset(&self->inflights);
}

void raft_progress_become_probe(struct raft_progress *self)
{
    /* After a snapshot the member is past it, whatever its last answer said. */
    uint64_t snapshot = self->state == RAFT_SNAPSHOT ? self->pending_snapshot : 0;
    progress_enter(self, RAFT_PROBE);
    self->next = max_u64(self->match, snapshot) + 1;
    self->sent_commit = min_u64(self->sent_commit, self->next - 1);
}

void raft_progress_become_replicate(struct raft_progress *self)
{
    progress_enter(self, RAFT_REPLICATE);
    self->next = self->match + 1;
}

void raft_progress_become_snapshot(struct raft_progress *self, uint64_t index)
{
    progress_enter(self, RAFT_SNAPSHOT);
    self->pending_snapshot = index;
    self->next = index + 1;
    self->sent_commit = index;
}

bool raft_progress_update(struct raft_progress *self, uint64_t index)
{
    if (index <= self->match)
        return false;
    self->match = index;
    self->next = max_u64(self->next, index + 1);
    self->flow_paused = false;
    return true;
}

bool raft_progress_decrease(struct raft_progress *self, uint64_t rejected, uint64_t hint)
{
    if (self->state == RAFT_REPLICATE) {
        if (rejected <= self->match)
            return false;
        self->next = self->match + 1;
        self->sent_commit = min_u64(self->sent_commit, self->next - 1);
        return true;
    }
    /* While probing, only the probe itself can be refused. */
    if (self->next - 1 != rejected)
        return false;
    self->next = max_u64(min_u64(rejected, hint + 1), self->match + 1);
    self->sent_commit = min_u64(self->sent_commit, self->next - 1);
    self->flow_paused = false;
    return true;
}

void raft_progress_sent(struct raft_progress *self, size_t entries, uint64_t bytes)
{
    switch (self->state) {
    case RAFT_REPLICATE:
        if (entries > 0) {
            self->next += entries;
            raft_inflights_add(&self->inflights, self->next - 1, bytes);
        }
        /* What goes out while the ring is full is a probe: one, then wait for a heartbeat. */
        self->flow_paused = raft_inflights_full(&self->inflights);
        break;
    case RAFT_PROBE:
        if (entries > 0)
            self->flow_paused = true;
        break;
    case RAFT_SNAPSHOT:
        /* Nothing is appended while a snapshot is on its way. */
        CHECK(self->state != RAFT_SNAPSHOT);
    }
}

bool raft_progress_can_bump_commit(const struct raft_progress *self, uint64_t commit)
{
    return commit > self->sent_commit && self->sent_commit < self->next - 1;
}

bool raft_progress_paused(const struct raft_progress *self)
{
    return self->state == RAFT_SNAPSHOT || self->flow_paused;
}

bool raft_progress_active_lately(const struct raft_progress *self)
{
    return self->recent_active || self->was_active;
}

void raft_progress_status(const struct raft_progress *self, struct raft_peer_status *ret_status)
{
    *ret_status = (struct raft_peer_status){
        .id = self->id,
        .match = self->match,
        .next = self->next,
        .pending_snapshot = self->pending_snapshot,
        .state = self->state,
        .is_learner = self->is_learner,
        .is_voter = !self->is_learner,
        .recent_active = self->recent_active,
        .paused = raft_progress_paused(self),
        .inflight_count = self->inflights.count,
        .inflight_bytes = self->inflights.bytes,
        .inflight_full = raft_inflights_full(&self->inflights),
    };
}
