/* A cluster of rafts under chance: messages are lost, doubled and reordered, links cut, nodes
 * crash with their writes torn, members come and go; everything follows from one seed.
 *
 * Checked at every step
 *   S1  a term has at most one leader
 *   S2  what is applied at an index is the same everywhere and for ever
 *   S3  whoever becomes a leader holds everything that was applied anywhere
 *   S4  a node's commit index never falls while it lives
 *   S5  a read is answered with an index not below what was committed when it was asked for
 * and at times
 *   S6  two logs with an equal entry are equal before it
 * and at the end, with all links up
 *   L1  something proposed is applied by every member within a bound of ticks, unless the removal
 *       of a voter stranded the rest (cluster.c) */
#pragma once

#include "base/prng.h"
#include "raft/memory_storage.h"
#include "raft/raft.h"

#define CLUSTER_NODES 6
#define HISTORY_MAX   20000
#define TERMS_MAX     4000

struct cluster_options {
    bool async;
    bool pre_vote;
    bool check_quorum;
    bool group_appends;
    bool idle_acks_wait;
    bool commit_in_votes;
    bool step_down_on_removal;
    bool membership_changes;
};

struct mail {
    struct raft_message **items;
    size_t count;
    size_t cap;
};

struct pending_read {
    uint64_t id;
    uint64_t committed; /* anywhere, when it was asked for */
};

struct member {
    uint64_t id;
    bool alive;
    bool removed; /* it applied its own removal, and stays down until it is added again */
    struct raft *raft;
    struct raft_memory_storage *storage; /* what survives a crash */
    struct raft_hard_state durable;
    struct raft_snapshot state; /* place and members of the state machine */
    struct mail appends;
    struct mail applies;
    uint64_t commit; /* of this life */
    struct pending_read reads[64];
    size_t read_count;
};

struct applied {
    uint64_t term;
    uint64_t digest; /* of type and data */
};

struct cluster {
    struct cluster_options options;
    struct prng prng;
    uint64_t seed;
    struct member members[CLUSTER_NODES]; /* members[i] has id i + 1 */
    struct mail wire;
    bool cut[CLUSTER_NODES][CLUSTER_NODES];
    uint64_t leaders[TERMS_MAX]; /* by term */
    struct applied history[HISTORY_MAX];
    uint64_t history_end;        /* the last index that anybody applied */
    struct raft_conf_state conf; /* as of the last membership entry that anybody applied */
    uint64_t conf_index;
    uint64_t next_value;
    uint64_t reads_answered;
    uint64_t elections;
    bool stranded; /* the removal of voters left the rest without a quorum */
};

struct cluster *cluster_new(uint64_t seed, const struct cluster_options *options);
void cluster_free(struct cluster *self);
/* One event, drawn by chance. */
void cluster_step(struct cluster *self);
void cluster_check_logs(struct cluster *self);
/* Heals everything and proves L1. */
void cluster_settle(struct cluster *self);
