/* Raft as a pure state machine: no clock, thread, descriptor or random source inside.
 *
 *      raft_step, raft_propose, raft_tick ...          raft_ready_take
 *   ------------------------------------------> raft ------------------> struct raft_ready
 *                     ^                                                        |
 *                     |   raft_advance (synchronous)                           v
 *                     +-- raft_step_local (asynchronous) <---- log written, entries applied
 *
 * Synchronous mode: take a ready; install its snapshot, store its entries, then its hard state;
 * send the messages; apply the committed entries; raft_advance. One ready at a time.
 *
 * Asynchronous mode (config.async_storage_writes): the ready's messages hold, besides those to
 * members, at most one MsgStorageAppend (to RAFT_APPEND_THREAD) and one MsgStorageApply (to
 * RAFT_APPLY_THREAD). Messages to members may go at once. A MsgStorageAppend is carried out in the
 * order above. When what a MsgStorageAppend carries is
 * durable, each of its responses is due: those to other members are sent, those to this node are
 * given to raft_step_local; likewise for MsgStorageApply when its entries are applied. Appends are
 * carried out in order, and so are applies; readies may be taken while both are outstanding. An
 * append that installs a snapshot may overtake applies handed out before it: whoever applies skips
 * entries that its state already holds.
 * raft_advance is not called. What vouches for the disk (MsgAppResp, answers to votes) is always
 * among the responses, never among the messages that go at once.
 *
 * Invariants (R: the paper "In Search of an Understandable Consensus Algorithm", figure 3)
 *   R1  at most one leader is elected in a term
 *   R2  a leader never changes or drops an entry of its log
 *   R3  logs that hold an entry with the same index and term are equal up to it
 *   R4  a committed entry is in the log of each later leader
 *   I1  applied <= applying <= committed <= last index; none of them ever falls
 *   I2  of each member: match < next; match only rises within a leadership
 *   I3  entries at unstable.offset and above are in memory, below it in the storage
 *
 * Peers may be hostile: whatever a message says, raft_step either does what Raft says or refuses
 * it with an error; it never aborts. A CHECK that fails here is a bug of ours or of the storage.
 *
 * Memory. What a message given to raft_step points to is borrowed for the call; of the entries that
 * raft keeps it takes references. What a ready points to lives until the next raft_ready_take.
 *
 * Thread: the core's alone. Never blocks but in storage->entries. */
#pragma once

#include "raft/storage.h"
#include "raft/types.h"

struct raft;

enum raft_role {
    RAFT_FOLLOWER = 0,
    RAFT_CANDIDATE = 1,
    RAFT_LEADER = 2,
    RAFT_PRE_CANDIDATE = 3,
};

/* "StateFollower" and so on. */
const char *raft_role_text(enum raft_role role);

enum raft_read_mode {
    RAFT_READ_SAFE = 0,        /* a quorum confirms the leader for each round of reads */
    RAFT_READ_LEASE_BASED = 1, /* the leader trusts its lease; needs check_quorum and sane clocks */
};

enum raft_trace_level { RAFT_TRACE_DEBUG, RAFT_TRACE_INFO, RAFT_TRACE_WARN, RAFT_TRACE_ERROR };

struct raft_config {
    uint64_t id;               /* not RAFT_NONE, not a thread's */
    uint32_t election_ticks;   /* > heartbeat_ticks */
    uint32_t heartbeat_ticks;  /* > 0 */
    uint64_t applied;          /* last index that the state already holds; 0: none */
    uint64_t max_size_per_msg; /* bytes of entries in one MsgApp, at least one entry goes */
    uint64_t max_committed_size_per_ready; /* bytes being applied at a time; 0: max_size_per_msg */
    uint64_t max_uncommitted_size; /* payload bytes proposed, not yet applied; 0: no limit */
    uint32_t max_inflight_msgs;    /* > 0; MsgApps with entries not yet answered, a peer */
    uint64_t max_inflight_bytes;   /* payload bytes of them; 0: no limit */
    enum raft_read_mode read_mode;
    bool check_quorum;
    bool pre_vote;
    bool async_storage_writes;
    bool disable_proposal_forwarding;
    bool disable_conf_change_validation;
    bool step_down_on_removal;
    /* Appends to followers leave when the ready is taken, one chain for all that was proposed and
     * committed since the one before, instead of one for each proposal and each commit; and the
     * acknowledgements of what was received since are one. */
    bool group_appends;
    /* An append without entries that follows on what this member has acknowledged already (it tells
     * of a commit, mostly) is acknowledged at the next tick, unless something else is before. It
     * says nothing new, and with one request at a time such appends are half of all. */
    bool idle_acks_wait;
    /* Who asks for a vote, or answers, says how far its log is committed (commit, and that entry's
     * term as reject_hint; etcd looks at neither). Else a member that holds the removal of another,
     * and has not heard that it is committed, waits for the one that is gone, while those who have
     * heard need its vote, and get none where its log is the longer one. */
    bool commit_in_votes;
    uint64_t seed; /* of the randomized election timeouts; differs between members */
    /* What happens, in words; NULL: nobody asks. text lives for the call. */
    void (*trace)(void *ctx, enum raft_trace_level level, const char *text);
    void *trace_ctx;
};

struct raft_soft_state {
    uint64_t leader; /* RAFT_NONE: unknown */
    enum raft_role role;
};

/* A read that was asked for with raft_read_index may be served once applied >= index. */
struct raft_read_state {
    uint64_t index;
    struct bytes context; /* as given */
};

/* All that there is to do. Arrays, snapshot, contexts and the entries' blobs belong to raft and
 * live until the next raft_ready_take or raft_free (raft_advance and raft_step leave them alone).
 * Whoever keeps an entry longer takes a reference of its own (raft_entries_ref), whoever keeps a
 * message longer copies it (raft_message_copy). */
struct raft_ready {
    bool has_soft_state; /* changed since the last ready; volatile */
    struct raft_soft_state soft_state;
    bool has_hard_state; /* changed since the last ready: to be stored before messages go */
    struct raft_hard_state hard_state;
    /* hard_state's term or vote changed or there are entries: to be synced before messages go. */
    bool must_sync;
    /* NULL: none; to be installed, replaces the log. Before entries, which may follow on it. */
    const struct raft_snapshot *snapshot;
    const struct raft_entry *entries; /* to be stored, replacing what is at and after the first */
    size_t entry_count;
    const struct raft_entry *committed; /* to be applied, all of them durable before (async) or
                                           with this ready's entries (sync) */
    size_t committed_count;
    const struct raft_message *messages; /* sync: to be sent after entries and hard state are
                                            durable; async: see above */
    size_t message_count;
    const struct raft_read_state *read_states;
    size_t read_state_count;
};

/* storage is copied, its ctx must outlive the raft.
 * Fails: ERR_USAGE (config), ERR_CORRUPT (hard state, membership or `applied` contradict the log),
 *        what the storage fails with. */
MUST err raft_new(const struct raft_config *config, const struct raft_storage *storage,
                  struct raft **ret_raft);
/* NULL is legal. */
void raft_free(struct raft *self);

/* One tick of the caller's clock. */
void raft_tick(struct raft *self);
/* Starts an election now, where this member may. */
void raft_campaign(struct raft *self);

/* A message from another member, whose identity the caller has proved to be message->from.
 * Fails: ERR_MISMATCH  not for us, not from a member, or not what Raft allows: refused, nothing
 *                      of it was done (a higher term may have been taken over)
 *        ERR_NOT_FOUND an answer from someone who is no member
 *        ERR_PROPOSAL_DROPPED, ERR_NO_LEADER, ERR_LIMIT  a proposal or a read that a member
 *                      forwarded, as raft_propose and raft_read_index. */
MUST err raft_step(struct raft *self, const struct raft_message *message);
/* A response of a MsgStorageAppend or MsgStorageApply of this node that is addressed to it, after
 * its work is done. Fails: ERR_MISMATCH, ERR_NOT_FOUND as above. */
MUST err raft_step_local(struct raft *self, const struct raft_message *response);

/* Proposes entries (term and index are not looked at); all or none. A follower forwards them to
 * the leader; whether they arrive is not known.
 * Owns: references are taken as needed; data without a blob are copied.
 * Fails: ERR_PROPOSAL_DROPPED  no leader, leadership being transferred, over max_uncommitted_size,
 *                              forwarding disabled, leader removed
 *        ERR_MISMATCH          a membership change among them does not decode */
MUST err raft_propose_entries(struct raft *self, const struct raft_entry *entries, size_t count);
MUST err raft_propose(struct raft *self, struct bytes data, struct raft_blob *blob);
/* v1: as a ConfChange entry (exactly one change, transition auto), which every etcd understands.
 * A change that may not be made now enters the log as an empty entry. */
MUST err raft_propose_conf_change(struct raft *self, const struct raft_conf_change *change,
                                  bool v1);
/* To be called for each committed membership entry, in order, when it is applied, unless the
 * application rejects it. *ret_state: the configuration that now holds.
 * Fails: ERR_MISMATCH  the change is not legal here; nothing changed. */
MUST err raft_apply_conf_change(struct raft *self, const struct raft_conf_change *change,
                                struct raft_conf_state *ret_state);

/* Asks for an index that a linearizable read must wait for; the answer is a read state with this
 * context, of at most RAFT_CONTEXT_BYTES_MAX bytes. Reads get lost with messages and leaders: the
 * caller asks again, with a new context. All reads asked for since the last ready share a round.
 * Fails: ERR_NO_LEADER, ERR_LIMIT (context too long, or too many reads waiting). */
MUST err raft_read_index(struct raft *self, struct bytes context);

/* Asks the leader to hand over; given up after an election timeout. */
void raft_transfer_leader(struct raft *self, uint64_t to);
/* Follows nobody in this term until the leader is heard of again. Not with lease-based reads. */
void raft_forget_leader(struct raft *self);
void raft_report_unreachable(struct raft *self, uint64_t peer);
/* The snapshot that was being sent to peer has arrived, or failed. */
void raft_report_snapshot(struct raft *self, uint64_t peer, bool ok);

bool raft_has_ready(const struct raft *self);
/* Fails: what storage->entries fails with; then nothing was taken. */
MUST err raft_ready_take(struct raft *self, struct raft_ready *ret_ready);
/* Synchronous mode: all that the last ready asks for is done. */
void raft_advance(struct raft *self);
/* Asynchronous mode, instead of giving MsgStorageApplyResp to raft_step_local: all committed
 * entries up to index are applied. */
void raft_applied(struct raft *self, uint64_t index);

/* ---- what others want to know ---- */
uint64_t raft_id(const struct raft *self);
enum raft_role raft_role(const struct raft *self);
uint64_t raft_leader(const struct raft *self);
uint64_t raft_term(const struct raft *self);
uint64_t raft_vote(const struct raft *self);
uint64_t raft_commit(const struct raft *self);
uint64_t raft_applied_index(const struct raft *self);
uint64_t raft_last_index(const struct raft *self);
uint64_t raft_first_index(const struct raft *self);
/* The index of a snapshot that was taken and is not installed yet; 0: none. */
uint64_t raft_pending_snapshot(const struct raft *self);
/* RAFT_NONE while no transfer is under way. */
uint64_t raft_transferee(const struct raft *self);
/* The configuration that was applied last; lives until it changes. */
const struct raft_conf_state *raft_conf(const struct raft *self);
/* Leader: has an entry of this term been committed? */
bool raft_committed_in_term(const struct raft *self);
/* Leader: a membership change may be in the log that is not applied yet; another one proposed now
 * would become an empty entry. */
bool raft_conf_change_pending(const struct raft *self);
/* Leader: the highest index that the member is known to hold. False: not a leader or no member. */
bool raft_peer_match(const struct raft *self, uint64_t peer, uint64_t *ret_index);
/* Leader: the lowest match among members that were heard of lately (self included), for one that
 * is being sent a snapshot that one's index: what the log should keep for them. */
uint64_t raft_active_match_min(const struct raft *self);
/* Leader: would the voters heard of lately be a quorum if this member were dead? */
bool raft_quorum_without_self(const struct raft *self);
/* Leader: the voter to hand over to: heard of lately, replicating, with the highest match.
 * RAFT_NONE: there is none. */
uint64_t raft_heir(const struct raft *self);
/* While held, this member does not campaign, whatever times out (its disk is stalled). */
void raft_hold_elections(struct raft *self, bool hold);

enum raft_progress_state { RAFT_PROBE = 0, RAFT_REPLICATE = 1, RAFT_SNAPSHOT = 2 };

struct raft_peer_status {
    uint64_t id;
    uint64_t match;
    uint64_t next;
    uint64_t pending_snapshot;
    enum raft_progress_state state;
    bool is_learner;
    bool is_voter;
    bool recent_active;
    bool paused;
    uint32_t inflight_count;
    uint64_t inflight_bytes;
    bool inflight_full;
};

struct raft_status {
    uint64_t id;
    struct raft_hard_state hard_state;
    struct raft_soft_state soft_state;
    uint64_t applied;
    uint64_t last_index;
    uint64_t transferee;
    uint32_t peer_count; /* 0 where not leader */
    struct raft_peer_status peers[RAFT_MEMBERS_MAX];
};

void raft_status(const struct raft *self, struct raft_status *ret_status);
/* "StateReplicate match=5 next=6 paused inflight=2[full]": for people and traces. */
void raft_peer_status_text(const struct raft_peer_status *self, char *ret_text, size_t size);

/* For transcripts and tests, which need to know when an election starts. */
void raft_set_election_timeout(struct raft *self, uint32_t ticks);
