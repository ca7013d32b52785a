#include "raft/internal.h"

#include "base/bug.h"

#include <inttypes.h>
#include <stdio.h>

const char *raft_role_text(enum raft_role role)
{
    static const char *const texts[] = {
        [RAFT_FOLLOWER] = "StateFollower",
        [RAFT_CANDIDATE] = "StateCandidate",
        [RAFT_LEADER] = "StateLeader",
        [RAFT_PRE_CANDIDATE] = "StatePreCandidate",
    };
    return texts[role];
}

uint64_t raft_id(const struct raft *self)
{
    return self->config.id;
}

enum raft_role raft_role(const struct raft *self)
{
    return self->role;
}

uint64_t raft_leader(const struct raft *self)
{
    return self->leader;
}

uint64_t raft_term(const struct raft *self)
{
    return self->term;
}

uint64_t raft_vote(const struct raft *self)
{
    return self->vote;
}

uint64_t raft_commit(const struct raft *self)
{
    return self->log.committed;
}

uint64_t raft_applied_index(const struct raft *self)
{
    return self->log.applied;
}

uint64_t raft_last_index(const struct raft *self)
{
    return raft_log_last_index(&self->log);
}

uint64_t raft_first_index(const struct raft *self)
{
    return raft_log_first_index(&self->log);
}

uint64_t raft_transferee(const struct raft *self)
{
    return self->transferee;
}

const struct raft_conf_state *raft_conf(const struct raft *self)
{
    return &self->tracker.conf;
}

bool raft_committed_in_term(const struct raft *self)
{
    return self->role == RAFT_LEADER && self->committed_in_term;
}

bool raft_conf_change_pending(const struct raft *self)
{
    return self->role == RAFT_LEADER && self->pending_conf_index > self->log.applied &&
           !BUG(two_changes_at_once);
}

bool raft_peer_match(const struct raft *self, uint64_t peer, uint64_t *ret_index)
{
    const struct raft_progress *progress = raft_tracker_peek(&self->tracker, peer);
    if (self->role != RAFT_LEADER || !progress)
        return false;
    *ret_index = progress->match;
    return true;
}

uint64_t raft_pending_snapshot(const struct raft *self)
{
    return self->log.unstable.has_snapshot ? self->log.unstable.snapshot->index : 0;
}

uint64_t raft_active_match_min(const struct raft *self)
{
    uint64_t min = raft_log_last_index(&self->log);
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        const struct raft_progress *peer = &self->tracker.peers[i];
        uint64_t has = peer->pending_snapshot > peer->match ? peer->pending_snapshot : peer->match;
        if (raft_progress_active_lately(peer) && has < min)
            min = has;
    }
    return min;
}

bool raft_quorum_without_self(const struct raft *self)
{
    return self->role == RAFT_LEADER && raft_tracker_quorum_lately(&self->tracker, self->config.id);
}

uint64_t raft_heir(const struct raft *self)
{
    if (self->role != RAFT_LEADER)
        return RAFT_NONE;
    const struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        const struct raft_progress *peer = &self->tracker.peers[i];
        if (peer->id == self->config.id || peer->state != RAFT_REPLICATE ||
            !raft_progress_active_lately(peer) ||
            !raft_id_set_has(&self->tracker.conf.voters, peer->id))
            continue;
        if (!best || peer->match > best->match)
            best = peer;
    }
    return best ? best->id : RAFT_NONE;
}

void raft_status(const struct raft *self, struct raft_status *ret_status)
{
    *ret_status = (struct raft_status){
        .id = self->config.id,
        .hard_state = raft_hard_state(self),
        .soft_state = raft_soft_state(self),
        .applied = self->log.applied,
        .last_index = raft_log_last_index(&self->log),
        .transferee = self->transferee,
    };
    if (self->role != RAFT_LEADER)
        return;
    ret_status->peer_count = self->tracker.count;
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        raft_progress_status(&self->tracker.peers[i], &ret_status->peers[i]);
        ret_status->peers[i].is_voter =
            raft_conf_state_is_voter(&self->tracker.conf, self->tracker.peers[i].id);
    }
}

void raft_peer_status_text(const struct raft_peer_status *self, char *ret_text, size_t size)
{
    static const char *const states[] = {
        [RAFT_PROBE] = "StateProbe",
        [RAFT_REPLICATE] = "StateReplicate",
        [RAFT_SNAPSHOT] = "StateSnapshot",
    };
    char snapshot[40] = "";
    char inflight[32] = "";
    if (self->pending_snapshot > 0)
        (void)snprintf(snapshot, sizeof(snapshot), " pendingSnap=%" PRIu64, self->pending_snapshot);
    if (self->inflight_count > 0)
        (void)snprintf(inflight, sizeof(inflight), " inflight=%" PRIu32 "%s", self->inflight_count,
                       self->inflight_full ? "[full]" : "");
    (void)snprintf(ret_text, size, "%s match=%" PRIu64 " next=%" PRIu64 "%s%s%s%s%s",
                   states[self->state], self->match, self->next, self->is_learner ? " learner" : "",
                   self->paused ? " paused" : "", snapshot, self->recent_active ? "" : " inactive",
                   inflight);
}
