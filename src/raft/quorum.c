#include "raft/quorum.h"

uint64_t raft_majority_index(const struct raft_id_set *voters, raft_index_of index_of,
                             const void *ctx)
{
    uint32_t n = voters->count;
    if (n == 0)
        return UINT64_MAX;
    /* Ascending; a voter of whom nothing is known holds nothing. */
    uint64_t sorted[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t index = 0;
        if (!index_of(ctx, voters->ids[i], &index))
            index = 0;
        uint32_t at = i;
        while (at > 0 && sorted[at - 1] > index) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = index;
    }
    /* n/2 + 1 voters hold the one at this place or more. */
    return sorted[n - (n / 2 + 1)];
}

enum raft_vote_result raft_majority_vote(const struct raft_id_set *voters, raft_ballot_of ballot_of,
                                         const void *ctx)
{
    if (voters->count == 0)
        return RAFT_VOTE_WON;
    uint32_t yes = 0;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < voters->count; i++) {
        enum raft_ballot ballot = ballot_of(ctx, voters->ids[i]);
        yes += ballot == RAFT_BALLOT_YES;
        missing += ballot == RAFT_BALLOT_MISSING;
    }
    uint32_t quorum = voters->count / 2 + 1;
    if (yes >= quorum)
        return RAFT_VOTE_WON;
    return yes + missing >= quorum ? RAFT_VOTE_PENDING : RAFT_VOTE_LOST;
}

uint64_t raft_joint_index(const struct raft_conf_state *conf, raft_index_of index_of,
                          const void *ctx)
{
    uint64_t incoming = raft_majority_index(&conf->voters, index_of, ctx);
    uint64_t outgoing = raft_majority_index(&conf->voters_outgoing, index_of, ctx);
    return incoming < outgoing ? incoming : outgoing;
}

enum raft_vote_result raft_joint_vote(const struct raft_conf_state *conf, raft_ballot_of ballot_of,
                                      const void *ctx)
{
    enum raft_vote_result incoming = raft_majority_vote(&conf->voters, ballot_of, ctx);
    enum raft_vote_result outgoing = raft_majority_vote(&conf->voters_outgoing, ballot_of, ctx);
    if (incoming == RAFT_VOTE_LOST || outgoing == RAFT_VOTE_LOST)
        return RAFT_VOTE_LOST;
    if (incoming == RAFT_VOTE_PENDING || outgoing == RAFT_VOTE_PENDING)
        return RAFT_VOTE_PENDING;
    return RAFT_VOTE_WON;
}
