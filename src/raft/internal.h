/* The inside of struct raft, and what its files offer one another. Nobody else includes this.
 *
 *   node.c          birth, death, the clock, what others want to know
 *   step.c          a message's way: shape, term, then the role's table of handlers
 *   role.c          becoming follower, candidate, leader
 *   election.c      campaigns and votes
 *   propose.c       proposals, and which membership changes may enter the log
 *   replication.c   the leader's sending and what its followers answer
 *   recv_append.c   a follower's side of it: appends, heartbeats
 *   recv_snapshot.c ... and snapshots
 *   read_index.c    linearizable reads
 *   transfer.c      handing over and forgetting leadership
 *   membership.c    applying membership changes
 *   outbox.c        messages and the memory they live in
 *   ready.c         what there is to do
 *   status.c        what people ask */
#pragma once

#include "base/arena.h"
#include "base/prng.h"
#include "raft/log.h"
#include "raft/raft.h"
#include "raft/read_only.h"
#include "raft/tracker.h"

/* Memory that outgoing things live in: one collects, the other is what the last ready shows. */
struct raft_generation {
    struct arena arena;
    struct raft_blob **blobs; /* references held for entries and snapshots shown from here */
    size_t blob_count;
    size_t blob_cap;
};

struct raft_outbox {
    struct raft_message *messages;
    size_t count;
    size_t cap;
};

/* What a follower has told a leader that it holds, in that leader's term. */
struct raft_acknowledged {
    uint64_t to, term, index;
    bool due; /* to be said again at the next tick */
};

struct raft {
    struct raft_config config;
    struct raft_log log;
    struct raft_tracker tracker;
    struct raft_read_only reads;
    bool committed_in_term; /* leader: an entry of this term is committed */
    struct prng prng;

    enum raft_role role;
    uint64_t term;
    uint64_t vote;
    uint64_t leader;
    uint64_t transferee;
    /* At most one membership change is unapplied: this is an upper bound of its index (R 6). */
    uint64_t pending_conf_index;
    uint64_t uncommitted_bytes;

    uint32_t election_elapsed;
    uint32_t heartbeat_elapsed;
    uint32_t randomized_election_ticks;
    bool elections_held;
    bool append_due; /* group_appends: some peer's append_due */
    struct raft_acknowledged acked;
    struct raft_entry *proposal_scratch; /* RAFT_ENTRIES_MAX */

    struct raft_generation generations[2];
    unsigned generation;         /* the one that collects */
    struct raft_outbox messages; /* may go at once */
    struct raft_outbox vouching; /* go when what they vouch for is durable; also to ourselves */
    struct raft_read_state *read_states;
    size_t read_state_count;
    size_t read_state_cap;

    struct raft_soft_state last_soft_state; /* as the last ready said */
    struct raft_hard_state last_hard_state;
    /* Synchronous mode: what raft_advance has to do. */
    bool advance_due;
    const struct raft_message *advance_steps;
    size_t advance_step_count;
    uint64_t advance_applied; /* 0: nothing */
};

/* outbox.c */
struct raft_generation *raft_collecting(struct raft *self);
void raft_generation_init(struct raft_generation *self);
void raft_generation_reset(struct raft_generation *self);
void raft_generation_done(struct raft_generation *self);
/* A copy of the entries whose blobs live as long as it. adopt: the references are the caller's and
 * pass over; else new ones are taken. Data without a blob are copied. */
const struct raft_entry *raft_keep_entries(struct raft *self, const struct raft_entry *entries,
                                           size_t count, bool adopt);
const struct raft_snapshot *raft_keep_snapshot(struct raft *self,
                                               const struct raft_snapshot *snapshot, bool adopt);
struct bytes raft_keep_bytes(struct raft *self, struct bytes bytes);
void raft_outbox_push(struct raft_outbox *self, const struct raft_message *message);
/* Fills in from and term, and files it under messages or vouching. What it points to is kept. */
void raft_send(struct raft *self, struct raft_message message);
void raft_push_read_state(struct raft *self, uint64_t index, struct bytes context);

/* role.c */
void raft_become_follower(struct raft *self, uint64_t term, uint64_t leader);
void raft_become_pre_candidate(struct raft *self);
void raft_become_candidate(struct raft *self);
void raft_become_leader(struct raft *self);
bool raft_promotable(const struct raft *self);

/* election.c */
enum raft_campaign { RAFT_CAMPAIGN_PRE, RAFT_CAMPAIGN_ELECTION, RAFT_CAMPAIGN_TRANSFER };
void raft_hup(struct raft *self, enum raft_campaign kind);
err raft_recv_hup(struct raft *self, const struct raft_message *m);
err raft_recv_vote_request(struct raft *self, const struct raft_message *m);
err raft_recv_vote_answer(struct raft *self, const struct raft_message *m);
/* Does a leader that we heard of lately forbid this vote? */
bool raft_vote_is_disruptive(const struct raft *self, const struct raft_message *m);

/* propose.c */
err raft_recv_proposal(struct raft *self, const struct raft_message *m);
err raft_forward_proposal(struct raft *self, const struct raft_message *m);
err raft_drop_proposal(struct raft *self, const struct raft_message *m);
/* Leader: gives them term and index and appends them. False: over max_uncommitted_size. entries is
 * memory of ours. */
bool raft_append_own(struct raft *self, struct raft_entry *entries, size_t count);
void raft_reduce_uncommitted(struct raft *self, uint64_t payload);

/* replication.c */
/* Sends the member what it lacks, or a snapshot. even_empty: an append without entries too. False:
 * nothing was sent. */
bool raft_send_append_to(struct raft *self, struct raft_progress *peer, bool even_empty);
/* The same for all; with group_appends when the ready is taken. */
void raft_broadcast_append(struct raft *self);
void raft_flush_appends(struct raft *self);
void raft_broadcast_heartbeat(struct raft *self);
/* Commits what a quorum holds, if it is of this term (R 5.4.2). */
bool raft_try_commit(struct raft *self);
err raft_recv_beat(struct raft *self, const struct raft_message *m);
err raft_recv_check_quorum(struct raft *self, const struct raft_message *m);
err raft_recv_append_answer(struct raft *self, const struct raft_message *m);
err raft_recv_heartbeat_answer(struct raft *self, const struct raft_message *m);
err raft_recv_snapshot_status(struct raft *self, const struct raft_message *m);
err raft_recv_unreachable(struct raft *self, const struct raft_message *m);

/* recv_append.c */
err raft_recv_append(struct raft *self, const struct raft_message *m);
err raft_recv_heartbeat(struct raft *self, const struct raft_message *m);
/* A follower's, at a tick: the acknowledgement that waited (idle_acks_wait). */
void raft_acknowledge_due(struct raft *self);
/* The sender leads this term: follow it. Fails: ERR_MISMATCH  somebody else does. */
MUST err raft_follow(struct raft *self, const struct raft_message *m);

/* recv_snapshot.c */
err raft_recv_snapshot(struct raft *self, const struct raft_message *m);
void raft_snapshot_stable(struct raft *self, uint64_t index);

/* read_index.c */
err raft_recv_read_index(struct raft *self, const struct raft_message *m);
err raft_forward_read_index(struct raft *self, const struct raft_message *m);
err raft_recv_read_index_answer(struct raft *self, const struct raft_message *m);
void raft_release_reads(struct raft *self);
/* Whether an index that we name covers all that was committed before our term. */
bool raft_may_answer_reads(const struct raft *self);
void raft_answer_confirmed_reads(struct raft *self);

/* transfer.c */
err raft_recv_transfer(struct raft *self, const struct raft_message *m);
err raft_forward_transfer(struct raft *self, const struct raft_message *m);
err raft_recv_timeout_now(struct raft *self, const struct raft_message *m);
err raft_recv_forget_leader(struct raft *self, const struct raft_message *m);
void raft_send_timeout_now(struct raft *self, uint64_t to);

/* membership.c */
/* Uses the configuration, which is sound. */
void raft_switch_conf(struct raft *self, const struct raft_conf_state *conf, uint64_t next);
/* Everything up to `applied` is applied: leave a joint configuration that says so. */
void raft_auto_leave(struct raft *self, uint64_t applied);

/* step.c */
MUST err raft_step_any(struct raft *self, const struct raft_message *m);

/* ready.c */
void raft_entries_applied(struct raft *self, uint64_t index);

/* node.c */
struct raft_hard_state raft_hard_state(const struct raft *self);
struct raft_soft_state raft_soft_state(const struct raft *self);
void raft_trace(const struct raft *self, enum raft_trace_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
