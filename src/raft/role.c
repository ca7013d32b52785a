/* Who a member is, and how that changes:
 *
 *                      higher term, or the leader of this term is heard of
 *        +-----------------------------------------------------------------------+
 *        v                                                                       |
 *   FOLLOWER --timeout--> PRE_CANDIDATE --quorum--> CANDIDATE --quorum--> LEADER -+
 *                               ^  no pre-vote: straight on  ^   |
 *                               +------- timeout ------------+---+
 *
 * The leader also steps down where a quorum was silent for an election timeout (check_quorum), or
 * where it is removed (step_down_on_removal). */
#include "raft/internal.h"

#include "base/bug.h"

#include <inttypes.h>

bool raft_promotable(const struct raft *self)
{
    const struct raft_progress *own = raft_tracker_peek(&self->tracker, self->config.id);
    return own && !own->is_learner && !self->log.unstable.has_snapshot;
}

static void reset_randomized_timeout(struct raft *self)
{
    uint32_t ticks = self->config.election_ticks;
    self->randomized_election_ticks = ticks + (uint32_t)prng_below(&self->prng, ticks);
}

static void reset(struct raft *self, uint64_t term)
{
    if (self->term != term) {
        CHECK(term > self->term);
        self->term = term;
        self->vote = RAFT_NONE;
    }
    self->leader = RAFT_NONE;
    self->transferee = RAFT_NONE;
    self->election_elapsed = 0;
    self->heartbeat_elapsed = 0;
    reset_randomized_timeout(self);
    uint64_t last = raft_log_last_index(&self->log);
    raft_tracker_reset(&self->tracker, last + 1);
    struct raft_progress *own = raft_tracker_get(&self->tracker, self->config.id);
    if (own)
        own->match = last;
    self->append_due = false;
    self->pending_conf_index = 0;
    self->uncommitted_bytes = 0;
    raft_read_only_reset(&self->reads);
    self->committed_in_term = false;
}

void raft_become_follower(struct raft *self, uint64_t term, uint64_t leader)
{
    reset(self, term);
    self->leader = leader;
    self->role = RAFT_FOLLOWER;
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " became follower at term %" PRIu64,
               self->config.id, self->term);
}

void raft_become_pre_candidate(struct raft *self)
{
    CHECK(self->role != RAFT_LEADER);
    /* Neither term nor vote change: a pre-vote that fails disturbs nobody. */
    raft_tracker_reset_ballots(&self->tracker);
    self->leader = RAFT_NONE;
    self->role = RAFT_PRE_CANDIDATE;
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " became pre-candidate at term %" PRIu64,
               self->config.id, self->term);
}

void raft_become_candidate(struct raft *self)
{
    CHECK(self->role != RAFT_LEADER);
    reset(self, self->term + 1);
    self->vote = self->config.id;
    self->role = RAFT_CANDIDATE;
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " became candidate at term %" PRIu64,
               self->config.id, self->term);
}

void raft_become_leader(struct raft *self)
{
    CHECK(self->role == RAFT_CANDIDATE);
    reset(self, self->term);
    self->leader = self->config.id;
    self->role = RAFT_LEADER;
    struct raft_progress *own = raft_tracker_get(&self->tracker, self->config.id);
    CHECK(own);
    raft_progress_become_replicate(own);
    own->recent_active = true;
    /* A membership change may be among the entries not yet committed: none is proposed before they
     * are applied. */
    if (!BUG(new_leader_changes))
        self->pending_conf_index = raft_log_last_index(&self->log);
    struct raft_entry empty = {.type = RAFT_ENTRY_NORMAL};
    bool appended = raft_append_own(self, &empty, 1);
    CHECK(appended);
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " became leader at term %" PRIu64, self->config.id,
               self->term);
}
