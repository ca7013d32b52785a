/* What may go of the log: never what the store does not hold durably (the world checks that at each
 * release), nor what a member that is heard of still lacks, but for the bound in bytes. */
#include "world.h"

#include <stdio.h>

static void begin(struct world *w, uint64_t seed)
{
    world_begin(w, 3, seed);
    w->snapshot_entries = 50;
    w->kept_entries = 20;
    for (unsigned i = 0; i < 3; i++)
        world_boot(w, i);
}

static void put_many(struct world *w, struct node *n, unsigned count, size_t value_bytes)
{
    char value[4096];
    memset(value, 'v', sizeof(value));
    value[value_bytes] = 0;
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i % 7);
        assert_int_equal(world_await(w, node_put(n, key, value), 2000)->result.error.code, 0);
    }
}

static struct node *follower_of(struct world *w, const struct node *leader)
{
    return &w->nodes[(leader->at + 1) % 3];
}

static void old_entries_go_and_the_newest_stay(void **ctx)
{
    (void)ctx;
    struct world w;
    begin(&w, 1);
    put_many(&w, world_lead(&w), 200, 5);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        const struct disk *d = &w.nodes[i].disk;
        assert_in_range(d->snapshot_index, d->entry_count - 60, d->entry_count);
        assert_int_equal(d->released, d->snapshot_index - 20);
    }
    /* A start goes on from there, and writes no record for what has one. */
    uint64_t recorded = w.nodes[0].disk.snapshot_index;
    for (unsigned i = 0; i < 3; i++)
        world_kill(&w, i);
    for (unsigned i = 0; i < 3; i++)
        world_boot(&w, i);
    put_many(&w, world_lead(&w), 1, 5);
    assert_int_equal(w.nodes[0].disk.snapshot_index, recorded);
    world_end(&w);
}

static void a_slow_member_is_waited_for(void **ctx)
{
    (void)ctx;
    struct world w;
    begin(&w, 2);
    struct node *leader = world_lead(&w);
    put_many(&w, leader, 10, 5);
    struct node *slow = follower_of(&w, leader);
    slow->hold_log = true; /* it answers heartbeats, and acknowledges nothing */
    uint64_t has = slow->disk.entry_count;
    put_many(&w, leader, 200, 5);
    assert_true(leader->disk.snapshot_index > has);
    assert_true(leader->disk.released <= has);
    slow->hold_log = false;
    put_many(&w, leader, 60, 5);
    world_run(&w, 1000);
    assert_int_equal(node_hash(slow), node_hash(leader));
    assert_true(leader->disk.released > has);
    world_end(&w);
}

static void a_silent_member_is_not_waited_for(void **ctx)
{
    (void)ctx;
    struct world w;
    begin(&w, 3);
    struct node *leader = world_lead(&w);
    put_many(&w, leader, 10, 5);
    struct node *dead = follower_of(&w, leader);
    uint64_t has = dead->disk.entry_count;
    world_kill(&w, dead->at);
    world_run(&w, 1000);
    put_many(&w, leader, 200, 5);
    assert_true(leader->disk.released > has);
    world_end(&w);
}

static void nobody_is_waited_for_beyond_the_bound_in_bytes(void **ctx)
{
    (void)ctx;
    struct world w;
    begin(&w, 4);
    for (unsigned i = 0; i < 3; i++)
        world_kill(&w, i);
    w.kept_bytes_max = 40000;
    for (unsigned i = 0; i < 3; i++)
        world_boot(&w, i);
    struct node *leader = world_lead(&w);
    put_many(&w, leader, 10, 5);
    struct node *slow = follower_of(&w, leader);
    slow->hold_log = true;
    uint64_t has = slow->disk.entry_count;
    put_many(&w, leader, 40, 3000); /* fewer than snapshot_entries: the bytes ask for the record */
    world_run(&w, 500);
    put_many(&w, leader, 3, 5);
    world_run(&w, 500);
    assert_true(leader->disk.released > has);
    assert_true(leader->disk.released + 30 > leader->disk.entry_count);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_entries_go_and_the_newest_stay),
        cmocka_unit_test(a_slow_member_is_waited_for),
        cmocka_unit_test(a_silent_member_is_not_waited_for),
        cmocka_unit_test(nobody_is_waited_for_beyond_the_bound_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
