/* The configuration in force, and the progress of everyone whom it names.
 * Thread: the core's.  Owns: the progresses. */
#pragma once

#include "raft/confchange.h"
#include "raft/progress.h"

struct raft_tracker {
    struct raft_conf_state conf;
    uint32_t count;
    struct raft_progress peers[RAFT_MEMBERS_MAX]; /* ascending by id */
    uint32_t max_inflight_msgs;
    uint64_t max_inflight_bytes;
};

#define RAFT_TRACKER_FOREACH(peer, tracker)             \
    for (struct raft_progress *peer = (tracker)->peers; \
         peer != (tracker)->peers + (tracker)->count; peer++)

void raft_tracker_init(struct raft_tracker *self, uint32_t max_inflight_msgs,
                       uint64_t max_inflight_bytes);
void raft_tracker_done(struct raft_tracker *self);
/* conf is sound (raft_conf_check). Who stays keeps its progress, who is new starts at next. */
void raft_tracker_switch(struct raft_tracker *self, const struct raft_conf_state *conf,
                         uint64_t next);
/* Everyone's progress starts anew at next. */
void raft_tracker_reset(struct raft_tracker *self, uint64_t next);
/* NULL: not a member. */
struct raft_progress *raft_tracker_get(struct raft_tracker *self, uint64_t id);
const struct raft_progress *raft_tracker_peek(const struct raft_tracker *self, uint64_t id);
/* The highest index that a quorum holds. */
uint64_t raft_tracker_committed(const struct raft_tracker *self);
/* The highest read position that a quorum has confirmed. */
uint64_t raft_tracker_read_confirmed(const struct raft_tracker *self);
void raft_tracker_reset_ballots(struct raft_tracker *self);
/* The first ballot of a member counts. */
void raft_tracker_record_ballot(struct raft_tracker *self, uint64_t id, bool granted);
enum raft_vote_result raft_tracker_tally(const struct raft_tracker *self, uint32_t *ret_granted,
                                         uint32_t *ret_rejected);
/* Were voters that are a quorum heard of since the last check? */
bool raft_tracker_quorum_active(const struct raft_tracker *self);
/* The same over the last two periods, with `without` counted as dead. */
bool raft_tracker_quorum_lately(const struct raft_tracker *self, uint64_t without);
