/* Raft and the replicated state as one deterministic node: events in, effects out. No file,
 * clock, thread or random source inside; equal events give equal effects.
 *
 *     replica_step, _propose, _read, …  ──>  raft ──> append ──> [log] ──> replica_log_done
 *                                              │                              │
 *                              vouching messages wait inside                  ▼
 *                                              └──> committed and durable ──> apply ──> publish
 *                                                                              │        replies
 *                                                                              └──> flush
 *
 * 1. A message that vouches for the disk leaves only after replica_log_done of its batch.
 * 2. Only what is durable here is applied; a view never shows more than that.
 * 3. A reply leaves after the view that it depends on was published.
 * 4. A barrier answers after a commit in the leader's term and a round of a quorum that began
 *    after the barrier arrived, and after everything up to its index was applied.
 * 5. A proposal is answered exactly once: by its entry's result or by an error. After an error
 *    the entry may still be applied, as with etcd.
 * 6. A received state is installed by a new life: nothing of this one speaks for it.
 * 7. What the leader proposes on its own (the cluster version, revokes) is never forwarded.
 * 8. A lease ends by an entry that a leader proposed who, after its last pause of more than three
 *    heartbeats, has been confirmed by a quorum; never before its time as any leader told it.
 *
 * A pass: the caller steps what has arrived, then calls replica_pass, which ticks at most once
 * (missed ticks are dropped), applies at most apply_ops_max operations, publishes and returns the
 * effects.
 *
 * Thread: the core's alone, but for replica_view_get.
 * Source: design of the core; Ongaro's thesis (2014) chapters 3, 4, 6.4, 9.6. */
#pragma once

#include "base/epoch.h"
#include "raft/raft.h"
#include "replica/effects.h"
#include "replica/view.h"
#include "state/state.h"

struct replica;
struct request_ids;
struct tail;

/* The stage's half of the log: what lies on disk and no more in memory. As raft_storage's calls of
 * the same names (raft/storage.h), for entries that were reported durable.
 * Called on the core's thread; may touch mapped files, waits for nothing else. */
struct replica_log {
    void *ctx;
    err (*entries)(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                   struct raft_entry *ret_entries, size_t *ret_count);
    err (*term)(void *ctx, uint64_t index, uint64_t *ret_term);
    /* The oldest entry that can still be read; last + 1 where none can. */
    uint64_t (*first_index)(void *ctx);
    /* The oldest entry such that it and all behind it lie in the newest `bytes` of the log. */
    uint64_t (*first_within)(void *ctx, uint64_t bytes);
};

/* Where the node stands when it starts, as the table of starts decided it. */
struct replica_start {
    struct raft_hard_state hard_state; /* commit not below applied_index */
    struct raft_conf_state conf;       /* at applied_index; empty before the first entry */
    uint64_t applied_index;            /* the store's frame */
    uint64_t applied_term;
    uint64_t skip_until;     /* entries up to here are in the store already (an import); else 0 */
    uint64_t snapshot_index; /* the log begins behind it: first = snapshot_index + 1 */
    uint64_t snapshot_term;
    uint64_t last_index;     /* of the log; snapshot_index where it is empty */
    uint64_t recorded_index; /* of the log's newest snapshot record */
    int64_t size_bytes;      /* of the store */
    int64_t size_in_use_bytes;
    const struct raft_entry *entries; /* the newest ones, ascending, ending at last_index; */
    size_t entry_count;               /* referenced by the replica */
};

/* When the leader compacts by itself, by etcd's rules (compactor.c). */
struct replica_compaction {
    uint64_t period_ms; /* keeps so much of the past; 0: not by time */
    int64_t revisions;  /* keeps so many revisions; 0: not by number */
};

struct replica_config {
    uint64_t member_id;
    uint64_t cluster_id;
    const char *name; /* what it publishes of itself; copied */
    struct text_list client_urls;
    const struct membership *boot;         /* members before any is applied; copied; may be NULL */
    struct cluster_version server_version; /* 3.7: told to others, and the bound below */
    struct cluster_version version_max;    /* --cluster-version-max; major 0: server_version */

    unsigned heartbeat_ms;
    unsigned election_ticks;
    bool pre_vote;
    unsigned snapshot_entries; /* a snapshot record after so many; 0: 10,000 */
    unsigned kept_entries;     /* and so many before it stay readable; 0: 5,000 */
    bool strict_reconfig;      /* --strict-reconfig-check */
    bool release_log; /* old entries may go: members that fall behind are given a snapshot. Not
                       * where nobody carries effects.snapshots out */
    uint64_t kept_bytes_max;  /* of the log: above it older entries go, whoever still wants them,
                               * and a snapshot record comes sooner; 0: 512 MiB */
    size_t message_bytes_max; /* of entries in one message, but for a single one; 0: as etcd */
    uint64_t seed;
    uint64_t now_ms;

    unsigned front_count;       /* tokens name fronts 0 … front_count - 1 */
    size_t log_cache_bytes_max; /* newest entries kept in memory; 0: 16 MiB */
    unsigned apply_ops_max;     /* a pass; 0: 512 */
    unsigned backlog_max;       /* committed − applied beyond it: too many requests;
                                 * 0: 5000 */
    size_t flush_bytes;         /* a flush is asked for at this much; 0: 1 MiB */
    unsigned flush_ms;          /* or this long after the first change; 0: 100 */
    bool lease_checkpoints;     /* the leader notes what remains of long leases, for the next */
    struct replica_compaction compaction; /* automatic; of zeros: none */
    uint64_t (*clock_ns)(void); /* for histograms of what applying takes, nothing else; NULL: none
                                 * are kept */

    struct state *state; /* becomes the replica's */
    struct tail *tail;   /* borrowed: the store's; apply pauses where it is full */
    struct replica_log log;
    struct replica_start start;
    struct request_ids *ids;                    /* borrowed */
    struct epoch *epoch;                        /* borrowed */
    void (*trace)(void *ctx, const char *line); /* raft's log lines; may be NULL */
    void *trace_ctx;
};

/* Fails: ERR_CORRUPT where the pieces contradict each other (commit beyond the log, applied
 * behind the log's first entry): the caller then still owns config->state. */
MUST err replica_new(const struct replica_config *config, struct replica **ret_replica);
/* Histograms of the core's own. Once, before threads start. */
void replica_register_metrics(void);
/* No guard may be held and no append may be with the log. */
void replica_free(struct replica *self);

/* --- events ------------------------------------------------------------------------------ */

/* A message of another member, its sender already checked against the membership. Entries are
 * referenced, not copied. Dropped, as if it had been lost: what raft refuses; MsgApp while the log
 * has more than it can take; MsgSnap (below); a proposal that no member of etcd bears in its log
 * (ConfChangeV2). */
void replica_step(struct replica *self, const struct raft_message *message, uint64_t now_ms);

/* A MsgSnap whose state lies staged beside the store, whole and synced. True: raft goes on from it;
 * once the log has its record effects.installed says so, and this replica's life ends. False: it
 * brings nothing, the staged state may go. */
bool replica_step_snapshot(struct replica *self, const struct raft_message *message,
                           uint64_t now_ms);
/* From when the leader has been told that a state has arrived here until it was stepped or given
 * up: the appends that follow on it are dropped, so that the leader does not take their refusal for
 * a reason to send it once more. */
void replica_set_staging(struct replica *self, bool staging);

struct replica_proposal {
    uint64_t token;
    uint64_t request_id; /* header.ID inside data; what the entry is known by */
    struct bytes data;   /* canonical InternalRaftRequest, inside blob */
    struct raft_blob *blob;
    bool until_swept; /* a physical compaction: answered once it has finished, or after the
                       * time below */
};
/* Takes its own references. Each is answered by one REPLY_RESULT, at once with
 * ERR_REQUEST_TOO_MANY_REQUESTS (backlog) or ERR_STOPPED. Without a leader it waits here and
 * fails with ERR_CONTEXT_DEADLINE after 5 s + 2 election timeouts; once on its way it fails after
 * the same time with ERR_TIMEOUT, ERR_TIMEOUT_DUE_TO_LEADER_FAIL or
 * ERR_TIMEOUT_DUE_TO_CONNECTION_LOST. */
void replica_propose(struct replica *self, const struct replica_proposal *proposals, size_t count,
                     uint64_t now_ms);
/* Barriers, each answered by one REPLY_READ: OK, ERR_TIMEOUT, ERR_LEADER_CHANGED, ERR_STOPPED. */
void replica_read(struct replica *self, const uint64_t *tokens, size_t count, uint64_t now_ms);

/* A change of members; answered by one REPLY_MEMBER: where it may not be made
 * (config.strict_reconfig) with ERR_MEMBER_NOT_ENOUGH_STARTED or ERR_UNHEALTHY, else with what
 * membership_check says when it is applied, or as a proposal fails. Changes are made one after the
 * other: who leads keeps others waiting, where etcd lets them time out.
 * A promotion also: ERR_LEARNER_NOT_READY, ERR_NO_LEADER, ERR_TIMEOUT_WAIT_APPLIED_INDEX; a
 * follower hands it out as promote_forward and asks again until its time is up, but for one that
 * another member sent here (from_member), which fails with ERR_NOT_LEADER at once.
 * The change's texts are copied. */
void replica_change_members(struct replica *self, uint64_t token,
                            const struct member_change *change, bool from_member, uint64_t now_ms);
/* A member of this cluster says that this one is removed. What was asked for here to that end is
 * answered: its entry may never be seen here, as nobody sends us any more. */
void replica_told_removed(struct replica *self, uint64_t now_ms);
/* What came of a promote_forward. Other errors than the leader's own: nobody answered. */
void replica_promotion_answered(struct replica *self, uint64_t ask, err error, uint64_t now_ms);
/* Answered by one REPLY_MEMBER once target leads, with ERR_NOT_LEADER, ERR_BAD_LEADER_TRANSFEREE
 * or ERR_TIMEOUT_LEADER_TRANSFER. */
void replica_transfer_leader(struct replica *self, uint64_t token, uint64_t target,
                             uint64_t now_ms);

/* Questions about leases, each answered by one REPLY_LEASE. The leader answers itself; elsewhere
 * they are handed out as lease_forwards and asked again until the request's time is up
 * (ERR_NO_LEADER, ERR_TIMEOUT), but for those that another member sent here and LEASE_LIST, which
 * fail with ERR_NOT_LEADER at once.
 * Also ERR_TIMEOUT_WAIT_APPLIED_INDEX (1 s), ERR_STOPPED; a list: ERR_LIMIT. */
struct replica_lease_ask {
    uint64_t token;
    enum replica_lease_kind kind;
    int64_t lease_id;
    bool from_member;
};
void replica_ask_leases(struct replica *self, const struct replica_lease_ask *asks, size_t count,
                        uint64_t now_ms);
/* What came of a lease_forward. error: nobody answered, or not as the leader. */
void replica_lease_answered(struct replica *self, uint64_t ask, err error,
                            const struct replica_lease_answer *answer, uint64_t now_ms);

/* The leader raises an alarm of a member, once: lost where it does not lead (any more). */
void replica_raise_alarm(struct replica *self, uint64_t member_id, enum alarm_type type);

/* What another part of this member was asked to do by a front has come to its end: one REPLY_TASK,
 * in order with the replica's own replies and after the view of the next pass. */
void replica_task_done(struct replica *self, uint64_t token, err error);

/* All batches up to this one are durable. */
void replica_log_done(struct replica *self, uint64_t batch, uint64_t now_ms);

struct replica_flushed {
    uint64_t written_seq;   /* records that may leave the tail */
    uint64_t written_index; /* newest frame written */
    uint64_t synced_seq;
    uint64_t synced_index; /* newest frame durable: the log may let go of what lies before */
    int64_t size_bytes;
    int64_t size_in_use_bytes;
    bool disk_full; /* no room for a further segment */
};
void replica_flush_done(struct replica *self, const struct replica_flushed *flushed,
                        uint64_t now_ms);
/* The log found no room for another segment, or found it again. Like a full store's, its alarm
 * makes all members refuse what needs room; what the log still holds is for raft's own records. */
void replica_log_full(struct replica *self, bool full, uint64_t now_ms);

enum replica_peer_event {
    PEER_ACTIVE, /* a connection carries its messages */
    PEER_INACTIVE,
    PEER_UNREACHABLE, /* a message was dropped */
    PEER_SNAPSHOT_SENT,
    PEER_SNAPSHOT_FAILED,
    PEER_STATE_UNREADABLE, /* failed: this member's own store is damaged where it was read */
    PEER_VERSION,          /* its /version was read */
};
void replica_peer_report(struct replica *self, uint64_t peer, enum replica_peer_event event,
                         struct cluster_version version, uint64_t now_ms);

/* Hands leadership over, refuses new work, answers what waits with ERR_STOPPED. effects->stopped
 * says when the process may end: leadership is with another, nobody can take it, or half a second
 * has passed. */
void replica_stop(struct replica *self, uint64_t now_ms);

/* --- effects ----------------------------------------------------------------------------- */

/* Runs a pass. What it returns is valid until the next call, but for what effects.h says lives
 * longer. */
const struct replica_effects *replica_pass(struct replica *self, uint64_t now_ms);
void replica_replies_give_back(struct replica *self, struct replica_replies *replies);

/* --- looking in -------------------------------------------------------------------------- */

/* The newest published view. Thread: any, inside a guard of config->epoch. */
const struct replica_view *replica_view_get(const struct replica *self);

/* Whether every compaction has marked what it lets go. */
bool replica_is_swept(const struct replica *self);

struct replica_status {
    uint64_t leader_id;
    uint64_t term;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t durable_index;
    uint64_t last_index;
    bool is_leader;
    unsigned proposals_pending;
    unsigned proposals_failed; /* since start, for the metrics */
    uint64_t proposals_committed;
    unsigned leader_changes;
    unsigned reads_failed;
    unsigned reads_slow; /* rounds whose answer came too late, or never */
    unsigned heartbeats_late;
    unsigned appends_in_flight;
    uint64_t oldest_append_ms;          /* when it was handed out; 0: none */
    const struct raft_conf_state *conf; /* raft's; valid until the next event */
};
void replica_status_get(const struct replica *self, struct replica_status *ret_status);
/* Followers' progress as the leader sees it; false where this member does not lead or does not
 * know the id. */
bool replica_progress_get(const struct replica *self, uint64_t id, uint64_t *ret_match);
/* Whether a quorum of voters has been connected since now − window_ms (itself included). */
bool replica_quorum_connected(const struct replica *self, uint64_t window_ms, uint64_t now_ms);
