/* Automatic compaction: when, up to which revision, and by whom. */
#include "world.h"

#define SECOND_MS UINT64_C(1000)

static void boot_all(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        world_boot(w, i);
}

static const struct mvcc_view *view_of(struct node *n)
{
    return replica_view_get(n->replica)->mvcc;
}

/* A put a second. */
static void write_for(struct world *w, struct node *n, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        uint64_t until = w->now_ms + SECOND_MS;
        assert_int_equal(world_await(w, node_put(n, "k", "v"), 900)->result.error.code, 0);
        world_run(w, until - w->now_ms);
    }
}

/* Period 20 s: samples each 2 s, the first compaction after 20 s, the next 20 s later. */
static void a_period_is_kept(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 31);
    w.compaction.period_ms = 20 * SECOND_MS;
    boot_all(&w);
    struct node *leader = world_lead(&w);
    int64_t begin = view_of(leader)->revision;
    write_for(&w, leader, 17);
    assert_true(view_of(leader)->compact_revision < 0);
    write_for(&w, leader, 22);
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(view_of(&w.nodes[i])->compact_revision, begin, begin + 2);
    write_for(&w, leader, 5);
    assert_in_range(view_of(leader)->compact_revision, begin + 12, begin + 24);
    int64_t kept = view_of(leader)->revision - view_of(leader)->compact_revision;
    assert_in_range(kept, 20, 27);
    world_end(&w);
}

/* Who leads next has sampled all the while, and goes on without starting a period anew. */
static void the_next_leader_goes_on(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 32);
    w.compaction.period_ms = 20 * SECOND_MS;
    boot_all(&w);
    struct node *leader = world_lead(&w);
    write_for(&w, leader, 16);
    world_kill(&w, leader->at);
    leader = world_lead(&w);
    assert_true(view_of(leader)->compact_revision < 0);
    write_for(&w, leader, 9);
    assert_true(view_of(leader)->compact_revision > 0);
    world_end(&w);
}

static void a_number_of_revisions_is_kept(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 33);
    w.compaction.revisions = 10;
    boot_all(&w);
    struct node *n = world_lead(&w);
    write_for(&w, n, 30);
    int64_t revision = view_of(n)->revision;
    world_run(&w, 265 * SECOND_MS);
    assert_true(view_of(n)->compact_revision < 0);
    world_run(&w, 6 * SECOND_MS);
    assert_int_equal(view_of(n)->compact_revision, revision - 10);
    world_run(&w, 300 * SECOND_MS);
    assert_int_equal(view_of(n)->compact_revision, revision - 10);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_period_is_kept),
        cmocka_unit_test(the_next_leader_goes_on),
        cmocka_unit_test(a_number_of_revisions_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
