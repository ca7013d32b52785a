/* What a leader knows of one member's log, and how it sends to it.
 *
 *            append accepted                    append refused, or unreachable
 *   PROBE --------------------> REPLICATE --------------------------------------> PROBE
 *     |                             |
 *     | entries are gone            | entries are gone
 *     +-----------> SNAPSHOT <------+        snapshot arrived or failed, or the member
 *                       |                    answers at or past the first index
 *                       +--------------------------------------------------------> PROBE, REPLICATE
 *
 * PROBE: one append a heartbeat, until the member says where its log meets ours.
 * REPLICATE: appends follow one another, next runs ahead, bounded by the inflights.
 * SNAPSHOT: nothing is sent.
 * Invariant: match < next.
 * Thread: the core's.  Owns: the inflights' ring. */
#pragma once

#include "raft/inflights.h"
#include "raft/quorum.h"
#include "raft/raft.h"

struct raft_progress {
    uint64_t id;
    uint64_t match;
    uint64_t next;
    /* The highest commit index on its way; what was lost since is found out by the next answer. */
    uint64_t sent_commit;
    uint64_t pending_snapshot;
    uint64_t read_acked; /* position of the last read round that it confirmed */
    enum raft_progress_state state;
    enum raft_ballot ballot;
    bool recent_active; /* heard of since the last quorum check */
    bool was_active;    /* heard of in the period before that */
    bool flow_paused;
    bool is_learner;
    bool append_due;       /* group_appends: to be sent with the next ready */
    bool append_due_empty; /* even without entries */
    struct raft_inflights inflights;
};

void raft_progress_become_probe(struct raft_progress *self);
void raft_progress_become_replicate(struct raft_progress *self);
void raft_progress_become_snapshot(struct raft_progress *self, uint64_t index);
/* The member holds everything up to index; false: that is no news. */
bool raft_progress_update(struct raft_progress *self, uint64_t index);
/* The member refused an append at `rejected`; hint: where it guesses that the logs meet. False:
 * the answer is an old one. */
bool raft_progress_decrease(struct raft_progress *self, uint64_t rejected, uint64_t hint);
/* An append with so many entries and payload bytes was sent. */
void raft_progress_sent(struct raft_progress *self, size_t entries, uint64_t bytes);
/* Would an append tell the member of a higher commit index than those on their way? */
bool raft_progress_can_bump_commit(const struct raft_progress *self, uint64_t commit);
bool raft_progress_paused(const struct raft_progress *self);
bool raft_progress_active_lately(const struct raft_progress *self);
void raft_progress_status(const struct raft_progress *self, struct raft_peer_status *ret_status);
