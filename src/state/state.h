/* The replicated state of one member: keys, members, cluster version, alarms.
 * Applies decoded log entries in order; every member that applies the same entries to the same
 * state comes to the same state, the same revisions, sub-revisions and errors.
 *
 *   entry data                       what becomes of it
 *   empty                            nothing (a leader's first entry)
 *   InternalRaftRequest              one operation, by the table in apply.c
 *   v2 Request (etcd <= 3.5)         PUT of /0/members/HEX/attributes and of /0/version; others
 *                                    do nothing
 *   anything else                    nothing; ERR_SYNTAX to the proposer
 *   conf change                      membership_check, then the change, else nothing
 *
 * 1. No clock, no randomness, no order by pointer or hash.
 * 2. All checks of an entry run before its first effect, on the state before it.
 * 3. An entry is applied in slices of a counted budget, on a root that nobody sees; it is
 *    published whole. So state_publish is legal only between entries.
 * 4. An entry whose feature is not built (auth) changes nothing and answers ERR_UNSUPPORTED, on
 *    all members of this version alike.
 * 5. Where stored bytes that an entry needs are corrupt here, this member cannot go on: other
 *    members apply the entry, so none of its errors may stand for it.
 *
 * Ranges and previous values are not read here: an op notes the seq that it saw, and the member
 * that was asked reads there afterwards (under the result's pin).
 *
 * Thread: one, the core's; what state_members and the views return is immutable and may be read
 * by any thread under the epoch's guard.
 * Source: etcd's interface (messages, limits "Check order per request", semantics "Store"). */
#pragma once

#include "base/bytes.h"
#include "base/epoch.h"
#include "base/err.h"
#include "state/members.h"

struct lease_table;
struct mvcc_store;
struct mvcc_view;
struct state;
struct tree_node;

enum state_kind {
    STATE_NOTHING,
    STATE_RANGE, /* only as an op of a txn */
    STATE_PUT,
    STATE_DELETE_RANGE,
    STATE_TXN,
    STATE_COMPACTION,
    STATE_ALARM,
    STATE_LEASE_GRANT,
    STATE_LEASE_REVOKE,
    STATE_LEASE_CHECKPOINT,
    STATE_AUTH,
    STATE_MEMBERS, /* conf change, attributes, cluster version, downgrade */
};

/* What one operation did, in the order of the request's (of a txn: the taken branch's) ops. */
struct state_op {
    enum state_kind kind;
    bool succeeded;       /* txn: the success branch was taken */
    int64_t revision;     /* for the header of this op's response */
    int64_t deleted;      /* delete range: keys deleted */
    uint64_t seq;         /* what the op saw: a range reads at it (a requested revision is
                           * already turned into it), a previous value (of a put, of deleted
                           * keys) is what it shows */
    uint32_t child_count; /* txn: ops of the taken branch */
    const struct state_op *children;
};

enum alarm_type { ALARM_NONE, ALARM_NOSPACE, ALARM_CORRUPT };
struct alarm {
    uint64_t member_id;
    enum alarm_type type;
};

struct state_result {
    err error;
    int64_t revision; /* for the response header; 0 with an error */
    struct state_op op;
    int64_t lease_id;           /* STATE_LEASE_GRANT, _REVOKE: which */
    int64_t lease_ttl_s;        /* STATE_LEASE_GRANT: what it was given */
    uint64_t seq_min;           /* the oldest seq that an op reads at; 0: nothing is promised */
    const struct alarm *alarms; /* STATE_ALARM: for the response */
    size_t alarm_count;
};

/* Raised alarms, sorted by member and type: an immutable value like the membership. */
struct alarms {
    struct epoch_item retired;
    size_t count;
    struct alarm items[];
};

struct state_config {
    struct mvcc_store *store; /* restored; becomes the state's */
    struct epoch *epoch;      /* borrowed: retired memberships and alarms go here */
    uint64_t member_id;
    unsigned learners_max;   /* --max-learners */
    int64_t quota_bytes;     /* 0: none. At apply an entry over it is executed and answered with
                              * ERR_NO_SPACE */
    int64_t lease_ttl_min_s; /* shorter leases are granted this much; equal on all members */
    bool store_checkpoints;  /* what remains of a lease is stored whatever the cluster version */
};

/* Takes the small buckets (members, removed, cluster version, alarms, leases) from the store, and
 * from its keys which lease each one names.
 * Fails: ERR_CORRUPT where one does not parse; the store then stays the caller's. */
MUST err state_new(const struct state_config *config, struct state **ret_state);
void state_free(struct state *self);

/* Starts an entry and gives the id that its proposer knows it by (0: none). data stays as it is
 * until the entry is done. No entry may be in progress. */
uint64_t state_begin(struct state *self, struct bytes data);
/* Between state_begin and the first state_run: may this entry take more than one slice? The caller
 * then publishes what came before it first. */
bool state_is_long(const struct state *self);
/* Has the entry in progress begun to change something, so that publishing must wait? */
bool state_is_busy(const struct state *self);
/* Goes on for about *budget (> 0) operations, takes what it used off it. *ret_done: the entry is
 * done. Fails: ERR_CORRUPT (of the store's bytes): this member must stop. */
MUST err state_run(struct state *self, unsigned *budget, bool *ret_done);
/* Of the entry done last. Valid until the next state_begin. */
const struct state_result *state_result_of(const struct state *self);

/* A conf change, judged by membership_check. context as the entry carries it.
 * Fails: as membership_check, ERR_SYNTAX of the context: then nothing has changed and raft is to
 * be told node id 0. No entry may be in progress. */
enum state_conf_type {
    STATE_CONF_ADD,
    STATE_CONF_REMOVE,
    STATE_CONF_UPDATE,
    STATE_CONF_ADD_LEARNER
};
MUST err state_apply_conf_change(struct state *self, enum state_conf_type type, uint64_t node_id,
                                 struct bytes context);

/* Makes everything applied so far visible; not while state_is_busy; the view is the store's.
 * Whatever carries the pointer is to be swapped before state_retire gives back what the last
 * publish replaced. */
const struct mvcc_view *state_publish(struct state *self);
void state_retire(struct state *self);
struct mvcc_store *state_store(struct state *self);
/* Both live until replaced, and then as long as the guards of then. */
const struct membership *state_members(const struct state *self);
const struct alarms *state_alarms(const struct state *self);
/* For the core's own thread. */
struct lease_table *state_leases(const struct state *self);
/* on_removed is called while an entry is applied, before a lease is freed. */
struct lease;
void state_watch_leases(struct state *self, void (*on_removed)(void *ctx, struct lease *lease),
                        void *ctx);
/* Which keys each lease holds, as of the last publish: a root for lease.h. Lives like the view. */
const struct tree_node *state_lease_keys(const struct state *self);
/* Bytes in use, for the quota; from the store's stage. Local to this member. */
void state_set_size(struct state *self, int64_t in_use_bytes);
