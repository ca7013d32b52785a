/* Rafts under chance; see cluster.h. RAFT_SEED=n runs that one seed, RAFT_SEEDS=n so many. */
#include "t.h"

#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEDS 96
#define STEPS 60000

static struct cluster_options options_of(uint64_t seed)
{
    return (struct cluster_options){
        .async = seed & 1,
        .group_appends = seed & 2,
        .idle_acks_wait = seed & 2,
        .commit_in_votes = seed & 64,
        .pre_vote = seed & 4,
        .check_quorum = seed & 8,
        .membership_changes = seed & 16,
        .step_down_on_removal = seed & 32,
    };
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void safety_and_liveness(void **state)
{
    uint64_t first = from_env("RAFT_SEED", 1);
    uint64_t count = getenv("RAFT_SEED") ? 1 : from_env("RAFT_SEEDS", SEEDS);
    uint64_t applied = 0;
    uint64_t reads = 0;
    uint64_t elections = 0;
    uint64_t stranded = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct cluster_options options = options_of(seed);
        struct cluster *cluster = cluster_new(seed, &options);
        for (int i = 0; i < STEPS; i++) {
            cluster_step(cluster);
            if (i % 1000 == 0)
                cluster_check_logs(cluster);
        }
        cluster_settle(cluster);
        cluster_check_logs(cluster);
        applied += cluster->history_end;
        reads += cluster->reads_answered;
        elections += cluster->elections;
        stranded += cluster->stranded;
        cluster_free(cluster);
    }
    print_message("%u seeds: %u entries applied, %u reads answered, %u elections\n",
                  (unsigned)count, (unsigned)applied, (unsigned)reads, (unsigned)elections);
    /* A run in which nothing happens proves nothing. */
    if (count >= SEEDS) {
        assert_true(applied > count * 50);
        assert_true(reads > count * 10);
        assert_true(elections > count * 3);
        assert_true(stranded <= count / 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(safety_and_liveness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
