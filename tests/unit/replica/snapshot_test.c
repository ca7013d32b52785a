/* Members that lack what no log has any more are given the state, and go on from it; whoever dies
 * at whatever moment, all come to the same (the world compares hashes at each index). */
#include "world.h"

#include <stdio.h>

static void begin(struct world *w, uint64_t seed)
{
    world_begin(w, 3, seed);
    w->snapshot_entries = 30;
    w->kept_entries = 10;
    for (unsigned i = 0; i < 3; i++)
        world_boot(w, i);
}

static void put_many(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i % 7);
        uint64_t token = node_put(world_lead(w), key, "v");
        assert_int_equal(world_await(w, token, 2000)->result.error.code, 0);
    }
}

static struct node *other_than(struct world *w, const struct node *leader)
{
    return &w->nodes[(leader->at + 1) % 3];
}

static void assert_equal_soon(struct world *w, struct node *a, struct node *b)
{
    for (unsigned i = 0; i < 5000 && node_applied(a) != node_applied(b); i++)
        world_step(w);
    assert_int_equal(node_applied(a), node_applied(b));
    assert_int_equal(node_hash(a), node_hash(b));
}

static void a_member_far_behind_goes_on_from_the_state(void **ctx)
{
    struct world w;
    begin(&w, 1);
    struct node *leader = world_lead(&w);
    struct node *behind = other_than(&w, leader);
    put_many(&w, 5);
    world_kill(&w, behind->at);
    put_many(&w, 150);
    assert_true(world_lead(&w)->disk.released > behind->disk.entry_count);
    world_boot(&w, behind->at);
    put_many(&w, 20); /* under load */
    assert_equal_soon(&w, behind, world_lead(&w));
    assert_int_equal(behind->installs, 1);
    /* It is a member like any other: it survives a kill, and can lead. */
    world_kill(&w, behind->at);
    world_boot(&w, behind->at);
    put_many(&w, 40);
    assert_equal_soon(&w, behind, world_lead(&w));
    assert_int_equal(behind->installs, 1);
    world_kill(&w, world_lead(&w)->at);
    put_many(&w, 5);
    world_end(&w);
}

/* Members of etcd wait for it before they serve. */
static void an_entry_follows_on_a_state_though_nobody_writes(void **ctx)
{
    struct world w;
    begin(&w, 5);
    put_many(&w, 5);
    struct node *behind = other_than(&w, world_lead(&w));
    world_kill(&w, behind->at);
    put_many(&w, 150);
    struct node *leader = world_lead(&w);
    uint64_t applied = node_applied(leader);
    world_boot(&w, behind->at);
    world_run(&w, 3000);
    assert_int_equal(behind->installs, 1);
    assert_ptr_equal(world_lead(&w), leader);
    assert_int_equal(node_applied(behind), applied + 1);
    world_end(&w);
}

static void a_new_member_begins_with_the_state(void **ctx)
{
    struct world w;
    world_begin_joining(&w, 3, 1, 2);
    w.snapshot_entries = 30;
    w.kept_entries = 10;
    world_boot(&w, 0);
    world_boot(&w, 1);
    put_many(&w, 100);
    assert_true(world_lead(&w)->disk.released > 0);
    world_run(&w, 6000); /* connected for so long counts as healthy */
    uint64_t token = node_add_member(world_lead(&w), 2, true);
    assert_int_equal(world_await(&w, token, 2000)->result.error.code, 0);
    world_boot(&w, 2);
    put_many(&w, 20);
    assert_equal_soon(&w, &w.nodes[2], world_lead(&w));
    assert_int_equal(w.nodes[2].installs, 1);
    assert_true(replica_view_get(w.nodes[2].replica)->is_learner);
    world_end(&w);
}

/* A state that brings nothing is not installed, and a member that is being staged does not refuse
 * what follows on it. */
static void what_follows_on_a_state_that_is_arriving_is_not_refused(void **ctx)
{
    struct world w;
    begin(&w, 3);
    struct node *leader = world_lead(&w);
    put_many(&w, 5);
    struct node *behind = other_than(&w, leader);
    struct raft_message append = {.type = RAFT_MSG_APP,
                                  .from = leader->id,
                                  .to = behind->id,
                                  .term = 9,
                                  .log_term = 9,
                                  .index = 1000,
                                  .commit = 1000};
    replica_set_staging(behind->replica, true);
    replica_step(behind->replica, &append, w.now_ms);
    const struct replica_effects *e = replica_pass(behind->replica, w.now_ms);
    for (size_t i = 0; i < e->send_count; i++)
        assert_int_not_equal(e->sends[i].type, RAFT_MSG_APP_RESP);
    replica_set_staging(behind->replica, false);
    struct raft_snapshot old = {.index = 2, .term = 1, .conf_state = behind->disk.frame.conf};
    struct raft_message snapshot = {
        .type = RAFT_MSG_SNAP, .from = leader->id, .to = behind->id, .term = 9, .snapshot = &old};
    assert_false(replica_step_snapshot(behind->replica, &snapshot, w.now_ms));
    snapshot.snapshot = NULL;
    assert_false(replica_step_snapshot(behind->replica, &snapshot, w.now_ms));
    world_end(&w);
}

static void whoever_dies_meanwhile_all_come_to_the_same(void **ctx)
{
    unsigned installs = 0;
    for (uint64_t seed = 10; seed < 40; seed++) {
        struct world w;
        begin(&w, seed);
        w.delay_ms = 5;
        w.log_delay_ms = 20;
        w.loss_percent = seed % 3 ? 0 : 5;
        w.snapshot_loss_percent = 30;
        for (unsigned round = 0; round < 6; round++) {
            unsigned at = (unsigned)prng_below(&w.prng, 3);
            world_kill(&w, at);
            put_many(&w, 50 + (unsigned)prng_below(&w.prng, 50));
            world_boot(&w, at);
            /* Somebody dies while the state is on its way, or just after. */
            world_run(&w, prng_below(&w.prng, 250));
            unsigned second = prng_below(&w.prng, 2) ? at : (unsigned)prng_below(&w.prng, 3);
            if (w.nodes[second].running) {
                world_kill(&w, second);
                world_boot(&w, second);
            }
        }
        put_many(&w, 5);
        for (unsigned i = 0; i < 3; i++) {
            assert_equal_soon(&w, &w.nodes[i], world_lead(&w));
            installs += w.nodes[i].installs;
        }
        world_end(&w);
    }
    print_message("%u states were installed\n", installs);
    assert_true(installs > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_far_behind_goes_on_from_the_state),
        cmocka_unit_test(an_entry_follows_on_a_state_though_nobody_writes),
        cmocka_unit_test(a_new_member_begins_with_the_state),
        cmocka_unit_test(what_follows_on_a_state_that_is_arriving_is_not_refused),
        cmocka_unit_test(whoever_dies_meanwhile_all_come_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
