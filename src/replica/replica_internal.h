/* What the files of src/replica share. Not for other folders.
 *
 *     replica.c     life, events, the pass
 *     log_cache.c   raft's storage: newest entries in memory, older ones through the stage
 *     appends.c     batches with the log, and the messages that wait for them
 *     applying.c    committed entries into the state, and what comes of each
 *     proposals.c   proposals under way, by request id and by age
 *     barriers.c    read rounds
 *     leases.c      deadlines of leases, questions about them, what ends them
 *     compactor.c   automatic compaction
 *     cluster.c     peers, own proposals, disk stalls, handing leadership over
 *     members.c     what must hold before members change; promotions
 *     publish.c     views, replies, flushes
 *     snapshots.c   states that travel whole */
#pragma once

#include "base/array.h"
#include "base/list.h"
#include "base/map.h"
#include "mvcc/store.h"
#include "mvcc/tail.h"
#include "raft/conf_codec.h"
#include "replica/log_cache.h"
#include "replica/replica.h"
#include "state/ids.h"
#include "state/lease.h"
#include "state/request.h"

enum {
    REQUEST_TIMEOUT_MS = 5000, /* and two election timeouts */
    READ_RETRY_MS = 500,
    STOP_MS = 500,
    STOP_LINGER_MS = 10,     /* after leadership has moved */
    PUBLISH_RETRY_MS = 1000, /* sooner than the timeout: a young cluster loses messages */
    VERSION_PERIOD_MS = 4000,
    FAST_START_MS = 5000,
    SNAPSHOT_ENTRIES = 10000,
    KEPT_ENTRIES = 5000,
    FRAMES_MAX = 16,
    SWEEP_ROWS = 1000,
    RECLAIM_MAX = 1024,
    STALL_PAUSE_ELECTIONS = 10,
    HANDOVER_PAUSE_ELECTIONS = 4,
    PIN_CHECK_MS = 1000,
    WAIT_APPLIED_MS = 1000,
    ASK_RETRY_MS = 50, /* what only the leader answers */
    HEALTH_MS = 5000,  /* connected for so long counts as healthy */
    LEARNER_READY_PERCENT = 90,
    LEASE_REVOKE_RETRY_MS = 3000,
    LEASE_REVOKES_MIN = 16, /* in flight, at first */
    LEASE_REVOKES_MAX = 256,
    LEASE_REVOKES_A_MS_MIN = 5, /* where they are due just now */
    LEASE_LATE_MS_A_REVOKE = 20,
    LEASE_REVOKES_A_MS = 200, /* writers find the core and the log free for the rest of it */
    LEASE_SCAN_COUNT = 1000,  /* leases that a pass takes up after a change of leader */
    LEASE_GAP_HEARTBEATS = 3,
    LEASE_NOTE_TURN_MS = 60000, /* all leases are looked at once in such a time */
    LEASE_NOTE_LOST_S = 300,    /* so much must be gone since it was noted last */
};
#define APPEND_BYTES_MAX      ((size_t)64 << 20)
#define APPENDS_MAX           2048 /* that wait for the log, however small */
#define KEPT_BYTES_MAX        (UINT64_C(512) << 20)
#define FORWARD_BYTES_MAX     ((size_t)1 << 20)
#define FORWARD_ENTRIES_MAX   512u
#define MESSAGE_BYTES_MAX     (UINT64_C(1) << 20)
#define INFLIGHT_MESSAGES_MAX 512u
/* Unacknowledged by one member: memory of its queue. Far more than a round trip takes. */
#define INFLIGHT_BYTES_MAX (UINT64_C(16) << 20)

/* --- proposals --- */

enum pending_kind { PENDING_ENTRY, PENDING_CONF_CHANGE };

struct pending {
    struct list by_age; /* in replica.aging, oldest first; or in replica.sweeping */
    struct list unsent; /* in replica.unsent or unsent_changes while no leader has been given it */
    enum pending_kind kind;
    uint64_t request_id;
    uint64_t token; /* TOKEN_NONE: nobody waits any more */
    uint64_t start_ms;
    bool sent;
    bool until_swept;
    struct state_result swept; /* the answer that waits for the sweep; no children */
    struct bytes data;         /* of a conf change its context */
    struct raft_blob *blob;
    enum raft_conf_change_type conf_type;
    uint64_t node_id;
    bool is_promotion;
};

/* --- barriers --- */

struct barrier {
    uint64_t token;
    uint64_t start_ms;
};

struct barriers {
    struct barrier *items;
    size_t count;
    size_t cap;
};

/* Barriers whose index is known, waiting for apply. */
struct read_group {
    struct read_group *next;
    uint64_t index;
    struct barriers waiting;
};

/* --- appends --- */

struct append {
    struct replica_append out; /* first: what the log stage sees */
    struct append *next;
    uint64_t issued_ms;
    size_t bytes;
    struct raft_conf_state snapshot_conf;
    struct raft_message **responses; /* own copies */
    size_t response_count;
    struct raft_entry entries[];
};

/* --- leases --- */

/* A question that could not be answered at once. */
struct lease_ask {
    struct list node; /* replica.lease_waiting or lease_away */
    struct replica_lease_ask what;
    uint64_t number; /* of a forward; 0: not away */
    uint64_t start_ms;
    uint64_t retry_ms;   /* not asked of a leader before */
    uint64_t wait_index; /* answered from a state that has applied so much */
};

struct lease_revoke {
    int64_t id;
    uint64_t retry_ms;
};

/* --- frames that were asked for, until they are durable --- */

struct frame_note {
    uint64_t index;
    uint64_t term;
    struct raft_conf_state conf;
};

struct peer {
    uint64_t id;
    uint64_t active_since_ms; /* 0: not connected */
    struct cluster_version version;
};

struct replica {
    /* config */
    uint64_t member_id;
    uint64_t cluster_id;
    char *name;
    struct text_list client_urls;
    struct arena config_arena;
    struct membership *boot; /* NULL: none */
    struct cluster_version version_max;
    unsigned heartbeat_ms;
    unsigned election_ticks;
    unsigned apply_ops_max;
    unsigned backlog_max;
    unsigned front_count;
    size_t flush_bytes;
    unsigned flush_ms;
    unsigned snapshot_entries;
    unsigned kept_entries;
    bool release_log;
    bool strict_reconfig;
    uint64_t kept_bytes_max;
    struct request_ids *ids;
    struct epoch *epoch;
    void (*trace)(void *ctx, const char *line);
    void *trace_ctx;
    uint64_t (*clock_ns)(void); /* NULL: nothing is timed */

    struct raft *raft;
    struct state *state;
    struct tail *tail;
    struct log_cache log;
    uint64_t now_ms;
    uint64_t start_ms;
    uint64_t next_tick_ms;
    err failure;

    /* leadership as last seen */
    uint64_t leader;
    bool leading;
    uint64_t leader_since_ms;
    uint64_t leaderless_since_ms;
    unsigned leader_changes;
    bool first_election_hastened;

    /* proposals */
    struct map pending; /* request id -> struct pending */
    struct list aging;
    struct list unsent;
    struct list unsent_changes; /* of members: one at a time, and nothing waits behind them */
    struct list sweeping;
    struct raft_message **held; /* of others, see proposals_hold */
    size_t held_count, held_cap, held_bytes;
    unsigned proposals_pending;
    unsigned proposals_failed;
    uint64_t proposals_committed;
    uint64_t transfer_token;
    uint64_t transfer_target;
    uint64_t transfer_start_ms;

    /* barriers */
    struct barriers collecting;
    struct barriers flying;
    bool round_flies;
    uint64_t round_id; /* of the attempt that counts */
    uint64_t round_sent_ms;
    struct read_group *groups; /* oldest first */
    struct read_group **groups_end;
    unsigned reads_failed;
    unsigned reads_slow;
    unsigned heartbeats_late;
    uint64_t ticked_ms; /* when the last tick ran while leading; 0: not leading then */

    /* appends */
    struct append *appends; /* oldest first, with the log */
    struct append **appends_end;
    uint64_t next_batch;
    size_t append_bytes;
    unsigned append_count;
    uint64_t snapshot_recorded; /* index of the newest snapshot record given to the log */
    uint64_t released;          /* index given as release_index */

    /* snapshots */
    struct raft_message **snapshots; /* own copies */
    size_t snapshot_count;
    size_t snapshot_cap;
    size_t snapshots_given;
    uint64_t installing; /* a snapshot's index that is with the log, or durable; 0: none */
    bool installed;      /* it is durable: no later append is finished any more */
    bool staging;        /* a state is on its way here */

    /* apply */
    struct raft_entry *committed; /* queue: [committed_at, committed_count), referenced */
    size_t committed_at;
    size_t committed_count;
    size_t committed_cap;
    bool entry_begun; /* the queue's first is with the state */
    uint64_t entry_begin_ms;
    uint64_t entry_took_ns; /* in the passes before this one */
    uint64_t clock_seen_ns; /* the last look while applying */
    unsigned entry_passes;  /* that did not end it */
    uint64_t entry_id;      /* its request id */
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t skip_until; /* the store already holds these */
    bool unpublished;    /* something was applied that no view shows */
    uint64_t published_index;
    uint64_t published_term; /* of the entry with that index */
    struct raft_conf_state published_conf;
    bool members_changed;
    bool conf_applied; /* a change of members was, whatever came of it */
    bool is_removed;
    bool empty_applied; /* a term's first entry was applied in this pass */
    bool sweep_more;
    uint64_t swept_ms;            /* the last slice */
    uint64_t compaction_begin_ms; /* of the one under way; 0: none */
    uint64_t compaction_done_ms;
    uint64_t sweep_retry_ms;

    /* flush */
    struct replica_flush flushable; /* as of the entry applied last */
    struct replica_flush flush;     /* handed out */
    bool flush_pending;
    bool sync_pending;
    uint64_t written_seq;
    uint64_t written_index;
    uint64_t synced_seq;
    uint64_t dirty_since_ms; /* first change not asked for; 0: none */
    struct frame_note frames[FRAMES_MAX];
    size_t frame_first;
    size_t frame_count;
    struct frame_note synced; /* newest durable frame */
    int64_t size_bytes;
    int64_t size_in_use_bytes;
    bool log_full, store_full;

    /* cluster */
    struct peer peers[MEMBERS_MAX];
    size_t peer_count;
    uint64_t publish_retry_ms;
    uint64_t alarm_retry_ms;
    bool alarm_is_ours; /* this member's NOSPACE was raised for a full disk */
    uint64_t version_check_ms;
    bool stalled;
    bool unreadable;            /* a follower could not be sent what the store holds */
    uint64_t stall_transfer_ms; /* when leadership was last handed over for either; 0: never */
    uint64_t handover_ms;       /* when it was for our own removal; 0: never */
    bool stopping;
    uint64_t stop_ms;
    bool stop_led;
    uint64_t stop_handed_ms; /* when another led; 0: none yet */

    /* members */
    struct list promotions;
    uint64_t promotion_number;
    err *promoted; /* of this pass: what came of each, as the leader */
    size_t promoted_count;
    size_t promoted_cap;
    struct replica_promote_forward *promote_forwards;
    size_t promote_forward_count;
    size_t promote_forward_cap;

    /* leases */
    uint64_t lease_term;   /* of the leadership whose deadlines hold; 0: none of ours */
    uint64_t lease_led_ms; /* since when */
    uint64_t lease_scan_from;
    bool lease_scanned;         /* all have been queued */
    struct lease **lease_queue; /* heap by scheduled_ms, id */
    size_t lease_queue_count;
    size_t lease_queue_cap;
    struct lease_revoke lease_revokes[LEASE_REVOKES_MAX];
    size_t lease_revoke_count;
    size_t lease_revoke_window;
    uint64_t lease_paced_ms; /* so many were proposed in this millisecond */
    size_t lease_paced, lease_pace;
    bool lease_unconfirmed; /* time stood still, or went on: a quorum must say that we still lead */
    bool lease_confirming;
    uint64_t lease_asked_ms;     /* a quorum, last */
    uint64_t lease_confirmed_ms; /* asked then, it has confirmed us; 0: not yet */
    uint64_t pass_ms;            /* of the last pass */
    struct list lease_waiting;
    struct list lease_away;
    uint64_t lease_ask_number;
    struct replica_lease_forward *lease_forwards;
    size_t lease_forward_count;
    size_t lease_forward_given; /* of them handed out by the last pass */
    size_t lease_forward_cap;
    uint64_t leases_granted;
    uint64_t leases_revoked;
    uint64_t leases_renewed;
    uint64_t leases_expired;
    bool lease_checkpoints;
    uint64_t lease_note_from; /* the first lease that was not looked at in this turn */
    uint64_t lease_note_ms;

    /* automatic compaction */
    struct replica_compaction compaction;
    uint64_t compactor_next_ms;
    uint64_t compactor_interval_ms;
    uint64_t compactor_success_ms; /* at first: of the start */
    bool compactor_began;          /* the first whole period is over */
    int64_t compactor_asked;       /* the revision proposed last; 0: it has been seen applied */
    int64_t compactor_done;
    int64_t *compactor_samples; /* of the revision, oldest first */
    size_t compactor_count, compactor_cap;

    /* what a pass gives out */
    struct replica_effects effects;
    const struct replica_append **append_out;
    size_t append_out_count;
    size_t append_out_cap;
    struct raft_message *send_out;
    size_t send_count;
    size_t send_cap;
    size_t send_given;           /* of them lent out by the last pass */
    struct raft_message **spent; /* copies that send_out lends from */
    size_t spent_count;
    size_t spent_cap;
    size_t spent_given;
    struct replica_replies **open_replies; /* one a front, or NULL */
    struct replica_replies *spare_replies;
    _Atomic(struct replica_view *) view;
};

static inline uint64_t election_ms(const struct replica *self)
{
    return (uint64_t)self->heartbeat_ms * self->election_ticks;
}

static inline uint64_t request_timeout_ms(const struct replica *self)
{
    return REQUEST_TIMEOUT_MS + 2 * election_ms(self);
}

/* appends.c */
/* The log has as much to write as it should be given. */
bool appends_are_many(const struct replica *self);
void appends_issue(struct replica *self, const struct raft_message *storage_append, bool must_sync);
/* Makes the hard state that was issued last durable. */
void appends_sync_state(struct replica *self);
void appends_send(struct replica *self, const struct raft_message *message);
void appends_note_frame(struct replica *self);
/* Whether a snapshot record at index would be worth its sync. */
bool appends_record_due(const struct replica *self, uint64_t index);
void appends_done(struct replica *self, uint64_t batch);
void appends_free(struct replica *self);

/* snapshots.c */
/* raft's storage call. */
MUST err snapshots_offer(void *ctx, struct raft_snapshot *ret_snapshot);
void snapshots_take(struct replica *self, const struct raft_message *message);
void snapshots_hand_out(struct replica *self);
void snapshots_free_spent(struct replica *self);
void snapshots_free(struct replica *self);

/* applying.c */
void applying_register_metrics(void);
void applying_queue(struct replica *self, const struct raft_entry *entries, size_t count);
/* True: there is more that could be applied now. */
bool applying_run(struct replica *self);
/* One slice in a millisecond, so that requests find the core free for most of it. */
void applying_sweep(struct replica *self);
uint64_t applying_deadline_ms(const struct replica *self);
void applying_free(struct replica *self);

/* proposals.c */
void proposals_send(struct replica *self);
/* Others' proposals that come while leadership is handed over, and their changes of members while
 * one is under way: raft would drop them, and who sent them would never know. They go on to whoever
 * leads then. False: it is raft's. */
bool proposals_hold(struct replica *self, const struct raft_message *message);
void proposals_unhold(struct replica *self);
void proposals_free(struct replica *self);
void proposals_expire(struct replica *self);
/* The entry with this id was applied; takes it off. NULL where nobody here proposed it. */
struct pending *proposals_take(struct replica *self, uint64_t request_id);
void proposals_answer(struct replica *self, struct pending *pending,
                      const struct state_result *result);
/* As its entry's proposer; answered like any. */
void proposals_change_members(struct replica *self, uint64_t token,
                              const struct member_change *change);
void proposals_fail_all(struct replica *self, err error);
void proposals_drop_first(struct replica *self);
void proposals_sweep_done(struct replica *self);

/* barriers.c */
void barriers_start_round(struct replica *self);
void barriers_confirmed(struct replica *self, struct bytes context, uint64_t index);
void barriers_leader_changed(struct replica *self);
void barriers_release(struct replica *self);
void barriers_expire(struct replica *self);
void barriers_fail_all(struct replica *self, err error);
void barriers_free(struct replica *self);
/* A barrier of the core's own; ends in leases_confirmed. */
void barriers_confirm_leases(struct replica *self);

/* leases.c */
void leases_init(struct replica *self);
void leases_free(struct replica *self);
void leases_on_removed(void *ctx, struct lease *lease);
/* An entry of leases was applied. */
void leases_applied(struct replica *self, const struct state_result *result);
void leases_confirmed(struct replica *self, err error);
/* True: call again soon. */
bool leases_run(struct replica *self);
/* When more may be ended than this pass did; UINT64_MAX: nothing waits for that. */
uint64_t leases_deadline_ms(const struct replica *self);
/* What the leader alone may propose now, and the members will take in their stride. */
bool leases_may_propose(const struct replica *self);
void leases_fail_all(struct replica *self, err error);
/* Questions that are with the leader of before are asked anew: it may stand still. */
void leases_leader_changed(struct replica *self);

/* compactor.c */
void compactor_init(struct replica *self);
void compactor_free(struct replica *self);
void compactor_tick(struct replica *self);

/* cluster.c */
const struct membership *cluster_members(const struct replica *self);
void cluster_tick(struct replica *self);
void cluster_run(struct replica *self);
void cluster_hasten_election(struct replica *self);
/* Only for what raft takes as it is now: a follower would forward it. */
MUST err cluster_propose_own(struct replica *self, struct bytes data);
/* This member is to be removed: where it leads another shall lead first, or nobody would until an
 * election times out. True: that is under way; false: it cannot be helped, or we do not lead. */
bool cluster_hands_over(struct replica *self);
/* It was removed: the table has room for those who come. */
void cluster_forget(struct replica *self, uint64_t id);
bool cluster_is_published(const struct replica *self);
bool cluster_connected_since(const struct replica *self, uint64_t id, uint64_t since_ms);
bool cluster_quorum_connected_since(const struct replica *self, uint64_t since_ms);

/* members.c */
void members_run(struct replica *self);
/* A promotion that was judged here has come to this end. */
void members_promoted(struct replica *self, err error);
void members_free(struct replica *self);

/* publish.c */
void publish_view(struct replica *self);
void publish_reply(struct replica *self, uint64_t token, enum replica_reply_kind kind,
                   const struct state_result *result);
void publish_error(struct replica *self, uint64_t token, enum replica_reply_kind kind, err error);
/* ids lie wherever; they are copied. */
void publish_lease(struct replica *self, uint64_t token, err error,
                   const struct replica_lease_answer *answer);
void publish_flush(struct replica *self);
/* The pass's replies go out, unless something that they rest on is not published. */
void publish_hand_out(struct replica *self);
void publish_free(struct replica *self);
