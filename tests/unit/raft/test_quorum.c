/* Quorums against counting by hand, over all small cases. */
#include "t.h"

#include "raft/quorum.h"

#include <string.h>

#define MEMBERS 5
#define INDEXES 4

struct world {
    uint64_t index[MEMBERS + 1]; /* by id; INDEXES: unknown */
    enum raft_ballot ballot[MEMBERS + 1];
};

static bool index_of(const void *ctx, uint64_t id, uint64_t *ret_index)
{
    const struct world *world = ctx;
    if (world->index[id] == INDEXES)
        return false;
    *ret_index = world->index[id];
    return true;
}

static enum raft_ballot ballot_of(const void *ctx, uint64_t id)
{
    const struct world *world = ctx;
    return world->ballot[id];
}

static struct raft_id_set set_of(unsigned mask)
{
    struct raft_id_set set = {0};
    for (uint64_t id = 1; id <= MEMBERS; id++)
        if (mask & (1u << id))
            assert_true(raft_id_set_add(&set, id));
    return set;
}

/* The highest index that more than half of them hold, found by trying all. */
static uint64_t index_by_counting(const struct raft_id_set *set, const struct world *world)
{
    if (set->count == 0)
        return UINT64_MAX;
    uint64_t best = 0;
    for (uint64_t index = 1; index < INDEXES; index++) {
        uint32_t holders = 0;
        for (uint32_t i = 0; i < set->count; i++) {
            uint64_t held = world->index[set->ids[i]];
            holders += held != INDEXES && held >= index;
        }
        if (holders * 2 > set->count)
            best = index;
    }
    return best;
}

static void majority_index_is_the_counted_one(void **state)
{
    for (unsigned mask = 0; mask < 64; mask += 2) {
        struct raft_id_set set = set_of(mask);
        for (unsigned code = 0; code < 5 * 5 * 5 * 5 * 5; code++) {
            struct world world = {0};
            unsigned rest = code;
            for (int id = 1; id <= MEMBERS; id++, rest /= 5)
                world.index[id] = rest % 5;
            assert_int_equal(raft_majority_index(&set, index_of, &world),
                             index_by_counting(&set, &world));
        }
    }
}

static void joint_index_is_the_lower_one(void **state)
{
    struct world world = {.index = {0, 3, 2, 1, INDEXES, 2}};
    for (unsigned a = 0; a < 64; a += 2) {
        for (unsigned b = 0; b < 64; b += 2) {
            struct raft_conf_state conf = {.voters = set_of(a), .voters_outgoing = set_of(b)};
            uint64_t left = index_by_counting(&conf.voters, &world);
            uint64_t right = index_by_counting(&conf.voters_outgoing, &world);
            assert_int_equal(raft_joint_index(&conf, index_of, &world),
                             left < right ? left : right);
        }
    }
}

/* Won or lost when no ballot to come can change it. */
static enum raft_vote_result vote_by_counting(const struct raft_id_set *set,
                                              const struct world *world)
{
    uint32_t yes = 0;
    uint32_t no = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        yes += world->ballot[set->ids[i]] == RAFT_BALLOT_YES;
        no += world->ballot[set->ids[i]] == RAFT_BALLOT_NO;
    }
    if (set->count == 0 || yes * 2 > set->count)
        return RAFT_VOTE_WON;
    return (set->count - no) * 2 > set->count ? RAFT_VOTE_PENDING : RAFT_VOTE_LOST;
}

static void vote_is_the_counted_one(void **state)
{
    for (unsigned code = 0; code < 3 * 3 * 3 * 3 * 3; code++) {
        struct world world = {0};
        unsigned rest = code;
        for (int id = 1; id <= MEMBERS; id++, rest /= 3)
            world.ballot[id] = (enum raft_ballot)(rest % 3);
        for (unsigned a = 0; a < 64; a += 2) {
            for (unsigned b = 0; b < 64; b += 6) {
                struct raft_conf_state conf = {.voters = set_of(a), .voters_outgoing = set_of(b)};
                enum raft_vote_result left = vote_by_counting(&conf.voters, &world);
                enum raft_vote_result right = vote_by_counting(&conf.voters_outgoing, &world);
                enum raft_vote_result want = RAFT_VOTE_PENDING;
                if (left == RAFT_VOTE_LOST || right == RAFT_VOTE_LOST)
                    want = RAFT_VOTE_LOST;
                else if (left == RAFT_VOTE_WON && right == RAFT_VOTE_WON)
                    want = RAFT_VOTE_WON;
                assert_int_equal(raft_joint_vote(&conf, ballot_of, &world), want);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority_index_is_the_counted_one),
        cmocka_unit_test(joint_index_is_the_lower_one),
        cmocka_unit_test(vote_is_the_counted_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
