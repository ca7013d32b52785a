/* What a majority, or two at once, has decided: the highest index that it holds, and the outcome
 * of a vote. An empty set decides everything, which makes it the neutral half of a joint pair.
 * Thread: any.  Owns: nothing. */
#pragma once

#include "raft/types.h"

/* The index that id is known to hold; false: nothing is known. */
typedef bool (*raft_index_of)(const void *ctx, uint64_t id, uint64_t *ret_index);

enum raft_ballot { RAFT_BALLOT_MISSING = 0, RAFT_BALLOT_YES, RAFT_BALLOT_NO };
typedef enum raft_ballot (*raft_ballot_of)(const void *ctx, uint64_t id);

enum raft_vote_result { RAFT_VOTE_PENDING = 1, RAFT_VOTE_LOST, RAFT_VOTE_WON };

/* The highest index that a majority of the set holds; UINT64_MAX for the empty set. */
uint64_t raft_majority_index(const struct raft_id_set *voters, raft_index_of index_of,
                             const void *ctx);
enum raft_vote_result raft_majority_vote(const struct raft_id_set *voters, raft_ballot_of ballot_of,
                                         const void *ctx);

/* The same for both halves of the configuration together. */
uint64_t raft_joint_index(const struct raft_conf_state *conf, raft_index_of index_of,
                          const void *ctx);
enum raft_vote_result raft_joint_vote(const struct raft_conf_state *conf, raft_ballot_of ballot_of,
                                      const void *ctx);
