/* When leases end: at their time, by the leader alone, after pauses and changes of leader not
 * early, many at once not late; and what members answer about them. */
#include "world.h"

#include <stdio.h>

#define ELECTION_MS (WORLD_TICK_MS * WORLD_ELECTION)
/* Ticks, disk and network of the world. */
#define SLACK_MS 60

static void boot_all(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        world_boot(w, i);
}

static void grant_with_key(struct world *w, struct node *n, int64_t id, int64_t ttl_s,
                           const char *key)
{
    assert_int_equal(world_await(w, node_grant(n, id, ttl_s), 500)->result.error.code, 0);
    assert_int_equal(world_await(w, node_put_with(n, key, id), 500)->result.error.code, 0);
}

static bool has(struct node *n, const char *key)
{
    char value[16];
    int64_t mod;
    node_get(n, key, value, sizeof(value), &mod);
    return mod != 0;
}

/* Milliseconds until the key is gone at n. */
static uint64_t until_gone(struct world *w, struct node *n, const char *key, uint64_t limit_ms)
{
    uint64_t begin = w->now_ms;
    while (has(n, key)) {
        assert_true(w->now_ms - begin < limit_ms);
        world_step(w);
    }
    return w->now_ms - begin;
}

static struct node *other_than(struct world *w, const struct node *n)
{
    return &w->nodes[n->at == 0 ? 1 : 0];
}

static void a_lease_ends_at_its_time(void **ctx)
{
    (void)ctx;
    for (unsigned count = 1; count <= 3; count += 2) {
        struct world w;
        world_begin(&w, count, 11);
        boot_all(&w);
        struct node *leader = world_lead(&w);
        uint64_t begin = w.now_ms;
        grant_with_key(&w, leader, 5, 2, "k");
        (void)until_gone(&w, leader, "k", 5000);
        assert_in_range(w.now_ms - begin, 2000, 2000 + 2 * SLACK_MS);
        const struct answer *a = world_await(&w, node_ask(leader, LEASE_TIME_LEFT, 5), 500);
        assert_int_equal(a->lease.ttl_s, -1);
        world_end(&w);
    }
}

static void keeping_alive_gives_the_full_time(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 12);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    struct node *follower = other_than(&w, leader);
    grant_with_key(&w, follower, 5, 2, "k");
    for (unsigned i = 0; i < 6; i++) {
        world_run(&w, 1500);
        struct node *asked = i % 2 ? leader : follower;
        const struct answer *a = world_await(&w, node_ask(asked, LEASE_KEEP_ALIVE, 5), 500);
        assert_int_equal(a->result.error.code, 0);
        assert_int_equal(a->kind, REPLY_LEASE);
        assert_int_equal(a->lease.ttl_s, 2);
    }
    const struct answer *a = world_await(&w, node_ask(follower, LEASE_TIME_LEFT, 5), 500);
    assert_int_equal(a->lease.granted_s, 2);
    assert_int_equal(a->lease.ttl_s, 1);
    assert_in_range(until_gone(&w, leader, "k", 5000), 1800, 2000 + SLACK_MS);
    a = world_await(&w, node_ask(follower, LEASE_KEEP_ALIVE, 5), 500);
    assert_int_equal(a->result.error.code, 0);
    assert_int_equal(a->lease.ttl_s, 0);
    world_end(&w);
}

static void a_new_leader_gives_the_full_time_again(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 13);
    boot_all(&w);
    struct node *old = world_lead(&w);
    grant_with_key(&w, old, 5, 2, "k");
    world_run(&w, 1900);
    world_kill(&w, old->at);
    struct node *leader = world_lead(&w);
    uint64_t led = w.now_ms;
    assert_ptr_not_equal(leader, old);
    (void)until_gone(&w, leader, "k", 5000);
    assert_in_range(w.now_ms - led, 2000, 2000 + ELECTION_MS + 2 * SLACK_MS);
    world_end(&w);
}

/* The one before had applied the grant, and may have kept it alive since; here it is applied with
 * the first entry of the new term. */
static void a_new_leader_adds_as_much_to_what_it_applies_late(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 27);
    boot_all(&w);
    struct node *old = world_lead(&w);
    world_run(&w, 1000); /* what a new leader proposes by itself is through */
    uint64_t before = node_applied(old);
    (void)node_grant(old, 5, 2);
    while (node_applied(old) == before) {
        assert_true(w.now_ms < 60000);
        world_step(&w);
    }
    /* What tells the others that it is committed is lost. */
    old->cut = true;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned at = 0; at < 3; at++)
            w.nodes[at].frozen = &w.nodes[at] != old && i == 0;
        world_run(&w, 5);
    }
    assert_int_equal(node_applied(other_than(&w, old)), before);
    struct node *leader = world_lead(&w);
    uint64_t led = w.now_ms;
    assert_ptr_not_equal(leader, old);
    assert_int_equal(world_await(&w, node_put_with(leader, "k", 5), 500)->result.error.code, 0);
    (void)until_gone(&w, leader, "k", 5000);
    assert_in_range(w.now_ms - led, 2000 + ELECTION_MS - SLACK_MS,
                    2000 + ELECTION_MS + 2 * SLACK_MS);
    world_end(&w);
}

/* It hears late answers of the others for a while, which say nothing of now. */
static void a_leader_that_is_cut_off_keeps_nothing_alive_for_long(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 28);
    boot_all(&w);
    struct node *old = world_lead(&w);
    grant_with_key(&w, old, 5, 2, "k");
    assert_int_equal(world_await(&w, node_ask(old, LEASE_KEEP_ALIVE, 5), 500)->lease.ttl_s, 2);
    uint64_t cut = w.now_ms;
    old->cut = true;
    uint64_t last = cut;
    while (w.now_ms < cut + 2 * ELECTION_MS) {
        uint64_t token = node_ask(old, LEASE_KEEP_ALIVE, 5);
        world_step(&w);
        const struct answer *a = world_answer(&w, token);
        if (a && a->result.error.code == 0)
            last = w.now_ms;
    }
    assert_in_range(last - cut, ELECTION_MS / 2, ELECTION_MS);
    world_end(&w);
}

static void a_restarted_member_still_knows_its_leases(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 14);
    boot_all(&w);
    struct node *n = world_lead(&w);
    grant_with_key(&w, n, 5, 3, "k");
    world_run(&w, 500); /* flushed */
    world_kill(&w, 0);
    world_boot(&w, 0);
    (void)world_lead(&w);
    const struct answer *a = world_await(&w, node_ask(n, LEASE_TIME_LEFT, 5), 500);
    assert_int_equal(a->lease.granted_s, 3);
    assert_in_range(until_gone(&w, n, "k", 5000), 2900, 3000 + ELECTION_MS + SLACK_MS);
    world_end(&w);
}

/* It wakes up with all of its deadlines passed, while another leads who keeps the lease alive. */
static void a_paused_leader_ends_nothing(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 15);
    boot_all(&w);
    struct node *old = world_lead(&w);
    grant_with_key(&w, old, 5, 2, "k");
    old->frozen = true;
    struct node *leader = world_lead(&w);
    for (unsigned i = 0; i < 4; i++) {
        world_run(&w, 1000);
        assert_int_equal(world_await(&w, node_ask(leader, LEASE_KEEP_ALIVE, 5), 500)->lease.ttl_s,
                         2);
    }
    old->frozen = false;
    for (unsigned i = 0; i < 4; i++) {
        world_run(&w, 1000);
        assert_true(has(leader, "k"));
        const struct answer *a = world_await(&w, node_ask(old, LEASE_KEEP_ALIVE, 5), 500);
        assert_int_equal(a->result.error.code, 0);
        assert_int_equal(a->lease.ttl_s, 2);
    }
    world_end(&w);
}

/* Cut off from the others it cannot end a lease, nor say that it was kept alive for ever. */
static void a_leader_that_is_cut_off_ends_nothing(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 16);
    boot_all(&w);
    struct node *old = world_lead(&w);
    grant_with_key(&w, old, 5, 2, "k");
    old->cut = true;
    struct node *leader = world_lead(&w);
    for (unsigned i = 0; i < 3; i++) {
        world_run(&w, 1500);
        assert_int_equal(world_await(&w, node_ask(leader, LEASE_KEEP_ALIVE, 5), 500)->lease.ttl_s,
                         2);
        assert_true(has(old, "k"));
    }
    old->cut = false;
    world_run(&w, 1000);
    assert_true(has(leader, "k"));
    world_end(&w);
}

/* Who leads next answers what the one that stands still was asked. */
static void a_question_is_not_left_with_a_paused_leader(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 24);
    boot_all(&w);
    struct node *old = world_lead(&w);
    struct node *follower = other_than(&w, old);
    grant_with_key(&w, follower, 5, 2, "k");
    world_run(&w, SLACK_MS);
    old->frozen = true;
    uint64_t token = node_ask(follower, LEASE_KEEP_ALIVE, 5);
    world_run(&w, 5); /* it is on its way before anybody knows */
    const struct answer *a = world_await(&w, token, 4 * ELECTION_MS);
    assert_int_equal(a->result.error.code, 0);
    assert_int_equal(a->lease.ttl_s, 2);
    world_end(&w);
}

static void unknown_leases_are_named_so_everywhere(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 17);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    for (unsigned i = 0; i < 3; i++) {
        const struct answer *a = world_await(&w, node_ask(&w.nodes[i], LEASE_KEEP_ALIVE, 9), 500);
        assert_int_equal(a->result.error.code, 0);
        assert_int_equal(a->lease.ttl_s, 0);
        a = world_await(&w, node_ask(&w.nodes[i], LEASE_TIME_LEFT, 9), 500);
        assert_int_equal(a->result.error.code, 0);
        assert_int_equal(a->lease.ttl_s, -1);
        bool leads = &w.nodes[i] == leader;
        a = world_await(&w, node_ask(&w.nodes[i], LEASE_LIST, 0), 500);
        assert_int_equal(a->result.error.code, leads ? 0 : ERR_NOT_LEADER.code);
    }
    world_end(&w);
}

static void without_a_leader_the_question_ends(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 18);
    boot_all(&w);
    (void)world_lead(&w);
    world_kill(&w, 0);
    world_kill(&w, 1);
    struct node *n = &w.nodes[2];
    world_run(&w, 3 * ELECTION_MS); /* whoever led has noticed */
    const struct answer *a = world_await(&w, node_ask(n, LEASE_KEEP_ALIVE, 5), 8000);
    assert_int_equal(a->result.error.code, ERR_NO_LEADER.code);
    world_end(&w);
}

static void the_leader_lists_the_soonest_first(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 19);
    boot_all(&w);
    struct node *n = world_lead(&w);
    static const int64_t ttls[] = {50, 20, 40, 30};
    for (int64_t id = 0; id < 4; id++)
        assert_int_equal(world_await(&w, node_grant(n, id + 1, ttls[id]), 500)->result.error.code,
                         0);
    const struct answer *a = world_await(&w, node_ask(n, LEASE_LIST, 0), 500);
    assert_int_equal(a->lease.id_count, 4);
    assert_int_equal(a->first_id, 2);
    world_end(&w);
}

/* All end within a second of their time, and no write waits for them. */
static void many_that_end_at_once_hold_nobody_up(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 20);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    enum { COUNT = 3000 };
    uint64_t last = 0;
    for (int64_t id = 1; id <= COUNT; id++) {
        last = node_grant(leader, id, 5);
        if (id % 100 == 0)
            (void)world_await(&w, last, 500);
    }
    uint64_t granted = w.now_ms;
    const struct replica_view *v = replica_view_get(leader->replica);
    assert_int_equal(v->lease_count, COUNT);
    unsigned writes = 0;
    while (replica_view_get(leader->replica)->lease_count) {
        assert_true(w.now_ms < granted + 6000);
        uint64_t asked = w.now_ms;
        const struct answer *a = world_await(&w, node_put(leader, "w", "1"), 200);
        assert_int_equal(a->result.error.code, 0);
        assert_true(a->at_ms - asked < 100);
        writes++;
    }
    assert_true(writes > 100);
    world_end(&w);
}

/* The later they are the more at once, so that a flood neither starves writers nor lasts. */
static void a_flood_of_ends_gathers_pace(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 23);
    boot_all(&w);
    struct node *n = world_lead(&w);
    enum { COUNT = 10000 };
    uint64_t last = 0;
    for (int64_t id = 1; id <= COUNT; id++) {
        last = node_grant(n, id, 5);
        if (id % 500 == 0)
            (void)world_await(&w, last, 500);
    }
    world_run(&w, 4500);
    assert_int_equal(replica_view_get(n->replica)->lease_count, COUNT);
    while (replica_view_get(n->replica)->lease_count == COUNT)
        world_step(&w);
    uint64_t begin = w.now_ms;
    while (replica_view_get(n->replica)->lease_count)
        world_step(&w);
    assert_in_range(w.now_ms - begin, 400, 700); /* 5 t + t² / 40 = COUNT */
    world_end(&w);
}

/* Far from its end, after five minutes; what was kept alive is not noted. */
static void a_new_leader_knows_what_remained(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 21);
    w.lease_checkpoints = true;
    boot_all(&w);
    struct node *old = world_lead(&w);
    uint64_t begin = w.now_ms;
    grant_with_key(&w, old, 5, 500, "k");
    grant_with_key(&w, old, 6, 500, "kept");
    for (unsigned i = 0; i < 4; i++) {
        world_run(&w, 95000);
        assert_int_equal(world_await(&w, node_ask(old, LEASE_KEEP_ALIVE, 6), 500)->lease.ttl_s,
                         500);
    }
    world_kill(&w, old->at);
    struct node *leader = world_lead(&w);
    const struct answer *a = world_await(&w, node_ask(leader, LEASE_TIME_LEFT, 5), 500);
    uint64_t gone_s = (w.now_ms - begin) / 1000;
    assert_int_equal(a->lease.granted_s, 500);
    /* Noted when 300 s had gone, and at most a turn later. */
    assert_in_range(a->lease.ttl_s, 500 - gone_s, 500 - 300 + 1);
    a = world_await(&w, node_ask(leader, LEASE_TIME_LEFT, 6), 500);
    assert_in_range(a->lease.ttl_s, 495, 500);
    /* A renewal gives it the full time again, also for the leader after this one. */
    assert_int_equal(world_await(&w, node_ask(leader, LEASE_KEEP_ALIVE, 5), 500)->lease.ttl_s, 500);
    world_boot(&w, old->at);
    world_run(&w, 1000);
    world_kill(&w, leader->at);
    leader = world_lead(&w);
    a = world_await(&w, node_ask(leader, LEASE_TIME_LEFT, 5), 500);
    assert_in_range(a->lease.ttl_s, 495, 500);
    world_end(&w);
}

/* With nothing else to do, a new leader has taken all of them up within a moment. */
static void a_new_leader_takes_up_many_at_once(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 22);
    boot_all(&w);
    struct node *n = world_lead(&w);
    enum { COUNT = 20000 };
    uint64_t last = 0;
    for (int64_t id = 1; id <= COUNT; id++) {
        last = node_grant(n, id, 3);
        if (id % 200 == 0)
            (void)world_await(&w, last, 500);
    }
    world_run(&w, 500);
    world_kill(&w, 0);
    world_boot(&w, 0);
    n = world_lead(&w);
    uint64_t led = w.now_ms;
    while (replica_view_get(n->replica)->lease_count)
        world_step(&w);
    assert_in_range(w.now_ms - led, 3000, 3000 + ELECTION_MS + 2000);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_ends_at_its_time),
        cmocka_unit_test(keeping_alive_gives_the_full_time),
        cmocka_unit_test(a_new_leader_gives_the_full_time_again),
        cmocka_unit_test(a_new_leader_adds_as_much_to_what_it_applies_late),
        cmocka_unit_test(a_leader_that_is_cut_off_keeps_nothing_alive_for_long),
        cmocka_unit_test(a_restarted_member_still_knows_its_leases),
        cmocka_unit_test(a_paused_leader_ends_nothing),
        cmocka_unit_test(a_leader_that_is_cut_off_ends_nothing),
        cmocka_unit_test(a_question_is_not_left_with_a_paused_leader),
        cmocka_unit_test(unknown_leases_are_named_so_everywhere),
        cmocka_unit_test(without_a_leader_the_question_ends),
        cmocka_unit_test(the_leader_lists_the_soonest_first),
        cmocka_unit_test(many_that_end_at_once_hold_nobody_up),
        cmocka_unit_test(a_flood_of_ends_gathers_pace),
        cmocka_unit_test(a_new_leader_knows_what_remained),
        cmocka_unit_test(a_new_leader_takes_up_many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
