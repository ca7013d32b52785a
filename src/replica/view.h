/* What the core has published: one pointer a batch, read by any thread under a guard of at most
 * a slice's length. Everything in it belongs to one moment: the keys, the members, the alarms.
 * Thread: any, under an epoch guard; nothing in it may be kept past the guard. */
#pragma once

#include "base/epoch.h"
#include "state/members.h"
#include "state/state.h"

struct mvcc_view;
struct tree_node;

struct replica_view {
    struct epoch_item retired;
    const struct mvcc_view *mvcc;
    const struct membership *members;   /* those applied; before, those of the bootstrap */
    const struct alarms *alarms;        /* sorted by member and type */
    const struct tree_node *lease_keys; /* for state/lease.h */
    size_t lease_count;
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t leader_id; /* 0: none known */
    uint64_t term;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t applied_term;          /* of the entry there */
    struct cluster_version version; /* of the cluster */
    struct cluster_version storage_version;
    int64_t size_bytes; /* dbSize, never 0 */
    int64_t size_in_use_bytes;
    int64_t unwritten_bytes;      /* changes that neither of them counts yet */
    uint64_t leader_since_ms;     /* when this leader was first seen; 0 while there is none */
    uint64_t leaderless_since_ms; /* 0 while there is a leader */
    unsigned proposals_pending;   /* these six for the metrics, as the batch left them */
    uint64_t proposals_failed;
    unsigned leader_changes;
    unsigned reads_failed;
    unsigned reads_slow;
    unsigned heartbeats_late;
    uint64_t leases_granted; /* these four too, since start */
    uint64_t leases_revoked;
    uint64_t leases_renewed;
    uint64_t leases_expired;
    uint64_t compacted_count;    /* changes that compactions have let go */
    uint64_t compaction_done_ms; /* when the last one had done so; 0: none since the start */
    bool is_learner;
    bool is_member;    /* it is in the applied membership: until then it catches up */
    bool is_removed;   /* this member has applied its own removal */
    bool is_published; /* its name and client URLs are in the applied membership */
    bool disk_stalled; /* the oldest append is older than an election timeout */
    bool disk_full;
};

/* A leader that has stood for so long makes a member ready that could not publish itself: in a
 * cluster of which a member was never heard, nobody publishes (request_form_of). */
#define REPLICA_READY_LEADER_MS 1000

/* May clients be served? Once true, for good. */
static inline bool replica_view_is_ready(const struct replica_view *self, uint64_t now_ms)
{
    if (self->is_published && self->version.major)
        return true;
    return self->is_member && self->leader_id &&
           now_ms - self->leader_since_ms >= REPLICA_READY_LEADER_MS;
}
