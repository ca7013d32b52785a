/* What the core wants done, and the shapes that cross its border outwards.
 *
 *   append   a batch for the log            → replica_log_done(batch), cumulative, in order
 *   send     messages that may go now       to the peers; each borrows until the next event
 *   replies  one batch a front              → replica_replies_give_back
 *   flush    records up to an index, sync   → replica_flush_done
 *   snapshots  messages with the state that   → replica_peer_report(SENT or FAILED)
 *            the newest view shows
 *   installed  start anew from the disk        the staged store is what the log goes on from
 *   view     already published when replica_pass returns (replica_view_get)
 *
 * No effect waits for another; messages that vouch for the disk stay inside the core until the
 * batch that they vouch for is done, so whatever is in `sends` may leave at once and should leave
 * before the appends are handed over.
 *
 * Thread: the core's, unless said otherwise at a field. */
#pragma once

#include "base/arena.h"
#include "base/mailbox.h"
#include "mvcc/view_pin.h"
#include "raft/types.h"
#include "state/state.h"

/* {front, slot, generation}, packed by the front; the core looks at the front part only. */
#define TOKEN_FRONT_BITS 8
#define TOKEN_NONE       UINT64_C(0)
static inline unsigned token_front(uint64_t token)
{
    return (unsigned)(token >> (64 - TOKEN_FRONT_BITS));
}
#define TOKEN_REST ((UINT64_C(1) << (64 - TOKEN_FRONT_BITS)) - 1)
static inline uint64_t token_make(unsigned front, uint32_t slot, uint32_t generation)
{
    return (uint64_t)front << 56 | (uint64_t)(slot & 0xffffffu) << 32 | generation;
}

/* A batch of the write-ahead log. The log writes entries, then hard state, then the snapshot
 * record, syncs if asked, and only then reports the batch. Entries replace what the log holds
 * from their first index on. Immutable and valid until replica_log_done names this batch or a
 * later one; the node is the log stage's to link it with. Its thread may read everything here and
 * the entries' data, but not count a blob. */
struct replica_append {
    struct mailbox_node node;
    uint64_t batch; /* dense from 1 */
    const struct raft_entry *entries;
    size_t entry_count;
    struct raft_hard_state hard_state;
    bool has_hard_state;
    bool has_snapshot; /* write a snapshot record; it truncates nothing */
    bool installs;     /* but here: entries before it are of no use, it replaces the log */
    bool must_sync;
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    const struct raft_conf_state *snapshot_conf;
    uint64_t release_index; /* once this batch is durable, segments wholly at or below
                             * it may go; 0: nothing new */
};

enum replica_lease_kind {
    LEASE_KEEP_ALIVE, /* full time again */
    LEASE_TIME_LEFT,
    LEASE_LIST, /* of a leader with at most LEASE_LIST_MAX leases */
};
#define LEASE_LIST_MAX 4096

enum replica_reply_kind {
    REPLY_RESULT, /* a proposal: result */
    REPLY_READ,   /* a barrier: result.error; where OK the view taken from now on is fit to read */
    REPLY_MEMBER, /* a conf change or a transfer of leadership: result.error */
    REPLY_LEASE,  /* a question about a lease: result.error, lease */
    REPLY_TASK,   /* what another part than the replica was to do: result.error */
};

struct replica_lease_answer {
    int64_t ttl_s;      /* kept alive: as granted, 0 where there is none; time to live: what is
                         * left, -1 where there is none */
    int64_t granted_s;  /* time to live */
    const int64_t *ids; /* list: the soonest to end first; in the replies' arena */
    size_t id_count;
};

struct replica_reply {
    uint64_t token;
    enum replica_reply_kind kind;
    struct state_result result;
    struct replica_lease_answer lease;
};

/* One front's replies of one pass. The front's from the moment it is handed over, until it is
 * posted back and the core takes it by replica_replies_give_back. Till then the pin keeps all that
 * the results promise readable; who reads longer than that takes a pin of its own first. */
struct replica_replies {
    struct mailbox_node node;
    unsigned front;
    struct replica_reply *items;
    size_t count;
    size_t cap;
    struct arena arena; /* children of results */
    struct mvcc_pin pin;
    uint64_t seq_min; /* the pin's; 0: nothing is promised */
    struct replica_replies *next;
};

/* Write the store's records: up to seq, closed by a frame with the rest; and where open_seq is
 * above seq, also those of an entry that is not finished, with no frame behind them. Cumulative:
 * the newest flush covers all before it. */
struct replica_flush {
    uint64_t seq;
    uint64_t open_seq;
    uint64_t index;
    uint64_t term;
    int64_t revision;
    int64_t compact_revision;
    struct raft_conf_state conf;
};

/* A question about a lease that only the leader can answer → replica_lease_answered(ask). */
struct replica_lease_forward {
    uint64_t ask;
    uint64_t leader_id;
    enum replica_lease_kind kind; /* keep alive or time to live */
    int64_t lease_id;
};

/* A promotion that only the leader can judge → replica_promotion_answered(ask). */
struct replica_promote_forward {
    uint64_t ask;
    uint64_t leader_id;
    uint64_t member_id;
};

struct replica_effects {
    const struct replica_append *const *appends;
    size_t append_count;
    const struct raft_message *sends;
    size_t send_count;
    /* MsgSnaps for members that lack what the log no longer has. Each goes with the state that a
     * view shows, the newest one or a later, and names its index, term and members. Borrowed like
     * sends. */
    const struct raft_message *const *snapshots;
    size_t snapshot_count;
    struct replica_replies *replies;   /* a list by next; the caller hands each over */
    const struct replica_flush *flush; /* NULL: none; to be copied */
    const struct replica_lease_forward *lease_forwards;
    size_t lease_forward_count;
    const struct replica_promote_forward *promote_forwards;
    size_t promote_forward_count;
    const err *promoted; /* what came of promotions that were judged here, for the metrics */
    size_t promoted_count;
    err failure;               /* this member cannot go on (its store is corrupt, its log
                                * contradicts itself): it must end */
    bool sync_store;           /* what is written of the store is to be synced */
    uint64_t floor_seq;        /* all marks up to it are made: cleaning may go up to it */
    uint64_t long_entry_index; /* an entry that several passes applied ended in this one; 0: none */
    uint64_t long_entry_begin_ms;
    bool view_changed;
    bool members_changed; /* peers are to be dialled or dropped */
    bool more;            /* call again without sleeping */
    bool stopped;         /* replica_stop has done what it could */
    bool installed;       /* the log goes on from a snapshot: this member is to start anew, from its
                           * disk, where the staged store lies. Said until then */
    uint64_t deadline_ms; /* call again by then */
};
