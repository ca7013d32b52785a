/* One transaction: compares, checks, effects, in slices.
 *
 *     COMPARE ──> CHECK ──> EFFECTS ──> DONE
 *        │          │
 *        └──────────┴──> DONE with an error, nothing changed
 *
 * COMPARE judges every transaction on the path taken, nested ones too, on the state before: the
 * outermost first, each picks a branch, its nested ones join the list. Then all ops of the path
 * are checked in the order of the request (also on the state before; etcd up to 3.5 checks all puts
 * and then all ranges, which shows in which of two errors is answered), and only then is anything
 * changed. No recursion, as entries of others may nest deeper than ours.
 *
 * Thread: the core's.  Source: etcd's interface, "Keys and ranges", "Check order per request". */
#pragma once

#include "base/arena.h"
#include "etcdserverpb.pb-c.h"
#include "mvcc/range.h"
#include "mvcc/store.h"
#include "state/state.h"

enum txn_phase { TXN_COMPARE, TXN_CHECK, TXN_EFFECTS, TXN_DONE };

/* A transaction on the path. */
struct txn_node {
    const Etcdserverpb__TxnRequest *request;
    Etcdserverpb__RequestOp **branch; /* once its compares are judged */
    struct state_op *op;              /* its result; children follow the branch */
    struct txn_node *parent;
    struct txn_node *next;    /* in the order in which they were found */
    struct txn_node **nested; /* as branch: the node of an op that is a txn, else NULL */
    size_t at;                /* of the walk */
};

struct txn_run {
    enum txn_phase phase;
    err error;
    struct mvcc_store *store;     /* NULL: only read, from the view */
    struct lease_table *leases;   /* set after txn_init; NULL where there is no store */
    const struct mvcc_view *view; /* where there is no store */
    struct arena *arena;
    struct txn_node *root;
    struct txn_node *last; /* of the list */
    struct txn_node *node; /* being compared, or where the walk is */
    size_t compare_at;
    struct mvcc_range range; /* of the compare in progress */
    bool ranging;
    bool range_any;              /* it has met a key */
    struct mvcc_delete deletion; /* of the op in progress */
    bool deleting;
    uint64_t seq;     /* of a txn that only reads */
    int64_t revision; /* likewise: the current one when it began */
    uint64_t seq_min; /* the oldest seq that an op reads at; 0: none */
};

/* op: the root's result. The request and the arena outlive the run. */
void txn_init(struct txn_run *self, struct mvcc_store *store, struct arena *arena,
              const Etcdserverpb__TxnRequest *request, struct state_op *op);
/* One that only reads: it runs on a view, on any thread. Each txn_step is given the newest one in
 * self->view, under its guard; all of it is read at seq, which the caller has pinned where it takes
 * more than one guard. Between two guards txn_pause. */
void txn_init_read(struct txn_run *self, struct arena *arena,
                   const Etcdserverpb__TxnRequest *request, struct state_op *op,
                   const struct mvcc_view *view);
void txn_pause(struct txn_run *self);
/* Fails: ERR_CORRUPT: this member must stop. self->error is the answer to the request. */
MUST err txn_step(struct txn_run *self, unsigned *budget, bool *ret_done);
/* Does a compare or a deletion span more than one key, or is a txn nested? */
bool txn_is_long(const Etcdserverpb__TxnRequest *request);
/* Gives back what an unfinished run holds; the store is at its end too. */
void txn_abandon(struct txn_run *self);
/* What a txn may cost against the quota: the costlier branch's puts, nested ones too. */
int64_t txn_cost(const Etcdserverpb__TxnRequest *request);
/* 256 bytes beside key and value. */
int64_t put_cost(const Etcdserverpb__PutRequest *request);
