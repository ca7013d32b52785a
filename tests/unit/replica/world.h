/* A small world of members on a virtual clock: replicas with logs and stores that survive a kill,
 * a network that delays, reorders and loses, disks that complete when told or after a while.
 * One seed gives one history. */
#pragma once

#include "base/epoch.h"
#include "base/prng.h"
#include "etcdserverpb_internal.pb-c.h"
#include "mvcc/revlog.h"
#include "mvcc/store.h"
#include "mvcc/tail.h"
#include "replica/replica.h"
#include "state/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORLD_NODES_MAX 5
#define WORLD_TICK_MS   10
#define WORLD_ELECTION  10
#define WORLD_HASHES    65536

/* What a member's disk holds. */
struct disk {
    struct raft_entry *entries; /* index 1 at [0]; data owned */
    size_t entry_count;
    size_t entry_cap;
    struct raft_hard_state hard_state;
    uint64_t synced_commit;      /* of it, as of the last batch that was to be synced */
    struct mvcc_record *records; /* of the store, up to the frame; blobs owned */
    size_t record_count;
    size_t record_cap;
    struct replica_flush frame;
    uint64_t snapshot_index; /* of its newest record */
    uint64_t released;       /* entries up to here are gone (kept in `entries` for their terms) */
    struct disk *staged;     /* a received state beside the store: records and frame; NULL: none */
    bool installs;           /* the log has its record: the next start goes on from it */
};

struct disk_job {
    struct disk_job *next;
    uint64_t due_ms;
    uint64_t batch;
    struct raft_entry *entries; /* referenced copies */
    size_t entry_count;
    struct raft_hard_state hard_state;
    bool has_hard_state, must_sync;
    uint64_t snapshot_index;
    uint64_t release_index;
    bool installs;
};

struct node {
    struct world *world;
    unsigned at;
    uint64_t id;
    bool running;
    bool cut;       /* from everybody */
    bool hold_log;  /* its disk does not complete */
    bool disk_full; /* as its store says */
    bool frozen;    /* gets no time (SIGSTOP) */
    struct disk disk;
    struct disk_job *jobs;
    struct disk_job **jobs_end;
    bool flush_waits;
    struct replica_flush flush;
    uint64_t flush_due_ms;
    struct epoch epoch;
    struct epoch_slot *slot;
    struct tail *tail;
    struct revlog *log;
    struct state *state;
    struct replica *replica;
    struct request_ids ids;
    unsigned boots;
    bool stopped;
    bool reborn;            /* to be started anew from its disk */
    unsigned installs;      /* received states that it went on from */
    uint64_t vouched_early; /* MsgAppResp above what is durable: must stay 0 */
};

struct packet {
    struct packet *next;
    uint64_t due_ms;
    struct raft_message *message;
    struct disk *state; /* of a MsgSnap: records and frame */
};

struct answer {
    uint64_t token;
    enum replica_reply_kind kind;
    struct state_result result; /* children copied one level */
    struct replica_lease_answer lease;
    int64_t first_id; /* of its list */
    uint64_t at_ms;
    unsigned node;
};

/* A question about a lease, or a promotion, that one member has sent another. */
struct lease_question {
    struct node *from;
    unsigned from_boots;
    uint64_t ask;
    uint64_t token; /* at the other; 0: free */
    bool is_promotion;
};
#define WORLD_QUESTIONS_MAX 64

struct world {
    struct prng prng;
    uint64_t now_ms;
    unsigned count;
    struct node nodes[WORLD_NODES_MAX];
    struct membership *boot;
    uint64_t cluster_id;
    struct packet *packets;
    unsigned loss_percent;
    unsigned snapshot_loss_percent;
    unsigned delay_ms;     /* 0..delay */
    unsigned log_delay_ms; /* 0..delay */
    bool lenient;          /* members without --strict-reconfig-check */
    unsigned apply_ops_max;
    unsigned backlog_max;
    unsigned snapshot_entries; /* 0: no entry is ever released */
    unsigned kept_entries;
    uint64_t kept_bytes_max;
    bool lease_checkpoints;
    struct replica_compaction compaction;
    size_t tail_max_bytes; /* 0: the usual */
    err promoted;          /* what came of the last promotion that a leader judged */
    unsigned promoted_count;
    struct answer *answers;
    size_t answer_count;
    size_t answer_cap;
    uint32_t next_slot;
    struct lease_question questions[WORLD_QUESTIONS_MAX];
    /* HashKV by applied index, as whoever came there first had it */
    uint32_t *hashes;
    bool *hashed;
    void (*on_answer)(struct world *w, const struct answer *a);
    void *ctx;
};

void world_begin(struct world *w, unsigned count, uint64_t seed);
/* The last `joiners` of count nodes are no members yet and have empty disks. */
void world_begin_joining(struct world *w, unsigned count, unsigned joiners, uint64_t seed);
/* Proposes node `at` as a member. */
uint64_t node_change(struct node *n, const struct member_change *change);
uint64_t node_add_member(struct node *n, unsigned at, bool learner);
void world_end(struct world *w);
/* One millisecond. */
void world_step(struct world *w);
void world_run(struct world *w, uint64_t ms);
/* Until a leader leads whose first entry everybody running and connected has applied. */
struct node *world_lead(struct world *w);
struct node *world_leader(struct world *w);
void world_kill(struct world *w, unsigned at);
void world_boot(struct world *w, unsigned at);
/* The same, where it may be refused. */
err world_try(struct world *w, unsigned at);

uint64_t node_put(struct node *n, const char *key, const char *value);
uint64_t node_propose(struct node *n, const Etcdserverpb__InternalRaftRequest *request);
/* Answered once the compaction has finished. */
uint64_t node_compact(struct node *n, int64_t revision);
uint64_t node_read(struct node *n);
uint64_t node_grant(struct node *n, int64_t id, int64_t ttl_s);
uint64_t node_put_with(struct node *n, const char *key, int64_t lease);
uint64_t node_ask(struct node *n, enum replica_lease_kind kind, int64_t id);
/* The answer to token so far; NULL: none. */
const struct answer *world_answer(struct world *w, uint64_t token);
/* Runs until it comes; fails the test after ms. */
const struct answer *world_await(struct world *w, uint64_t token, uint64_t ms);
/* The value and mod revision that node shows; "" and 0. */
void node_get(struct node *n, const char *key, char *ret_value, size_t size, int64_t *ret_mod);
uint32_t node_hash(struct node *n);
uint64_t node_applied(struct node *n);
