/* Changes of members: what is refused before it is proposed, several at once, learners, a leader
 * that goes, versions on their way up and down. */
#include "world.h"

#include <stdio.h>

#define HEALTHY_MS 5500 /* connected for so long counts as healthy */

static void boot(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        world_boot(w, i);
}

static int outcome(struct world *w, uint64_t token)
{
    return world_await(w, token, 8000)->result.error.code;
}

static uint64_t remove_member(struct node *n, uint64_t id)
{
    return node_change(n, &(struct member_change){MEMBER_REMOVE, {.id = id, .name = ""}});
}

static uint64_t promote(struct node *n, uint64_t id)
{
    return node_change(n, &(struct member_change){MEMBER_PROMOTE, {.id = id, .name = ""}});
}

static const struct membership *members_of(const struct node *n)
{
    return replica_view_get(n->replica)->members;
}

static struct node *other_than(struct world *w, const struct node *n)
{
    return &w->nodes[n->at == 0 ? 1 : 0];
}

static void a_lone_member_takes_one_and_then_waits_until_it_has_started(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 3, 2, 1);
    boot(&w, 1);
    struct node *n = world_lead(&w);
    world_run(&w, 100);
    assert_int_equal(outcome(&w, node_add_member(n, 1, false)), 0);
    assert_int_equal(outcome(&w, node_add_member(n, 2, false)), ERR_MEMBER_NOT_ENOUGH_STARTED_);
    world_boot(&w, 1);
    world_run(&w, 1000);
    assert_int_equal(outcome(&w, node_add_member(n, 2, false)), ERR_UNHEALTHY_); /* just come */
    world_run(&w, HEALTHY_MS);
    assert_int_equal(outcome(&w, node_add_member(n, 2, false)), 0);
    world_boot(&w, 2);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(members_of(&w.nodes[i])->count, 3);
        assert_true(replica_view_get(w.nodes[i].replica)->is_published);
        assert_int_equal(node_hash(&w.nodes[i]), node_hash(n));
    }
    world_end(&w);
}

static void what_would_cost_the_quorum_is_refused(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 2);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, 200);
    uint64_t up = other_than(&w, leader)->id;
    assert_int_equal(outcome(&w, node_add_member(leader, 3, false)), ERR_UNHEALTHY_);
    assert_int_equal(outcome(&w, node_add_member(leader, 3, true)), ERR_UNHEALTHY_);
    assert_int_equal(outcome(&w, remove_member(leader, up)), ERR_UNHEALTHY_);
    world_run(&w, HEALTHY_MS);
    unsigned down = 3 - leader->at - other_than(&w, leader)->at;
    world_kill(&w, down);
    world_run(&w, 10);
    assert_int_equal(outcome(&w, node_add_member(leader, 3, false)), ERR_UNHEALTHY_);
    assert_int_equal(outcome(&w, remove_member(leader, up)), ERR_UNHEALTHY_);
    assert_int_equal(outcome(&w, remove_member(leader, leader->id)), ERR_UNHEALTHY_);
    assert_int_equal(outcome(&w, remove_member(leader, 77)), ERR_MEMBER_NOT_FOUND_);
    /* The one that is down may go. */
    assert_int_equal(outcome(&w, remove_member(leader, w.nodes[down].id)), 0);
    assert_int_equal(outcome(&w, remove_member(leader, w.nodes[down].id)), ERR_MEMBER_NOT_FOUND_);
    world_end(&w);
}

static void without_the_strict_check_members_do_as_they_are_told(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 3);
    w.lenient = true;
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    assert_int_equal(outcome(&w, node_add_member(leader, 3, false)), 0);
    assert_int_equal(outcome(&w, remove_member(leader, w.nodes[3].id)), 0);
    world_end(&w);
}

static void changes_that_come_at_once_are_made_one_after_the_other(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 5, 2, 4);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, HEALTHY_MS);
    struct node *follower = other_than(&w, leader);
    uint64_t tokens[8];
    static const char *const urls[] = {"http://moved0:1", "http://moved1:1", "http://moved2:1"};
    for (unsigned i = 0; i < 8; i++) {
        struct node *n = i % 2 ? follower : leader;
        const struct member_change update = {
            MEMBER_UPDATE, {.id = w.nodes[i % 3].id, .name = "", .peer_urls = {&urls[i % 3], 1}}};
        tokens[i] = i == 0   ? node_add_member(n, 3, true)
                    : i == 1 ? node_add_member(n, 4, true)
                             : node_change(n, &update);
    }
    unsigned added = 0;
    for (unsigned i = 0; i < 8; i++) {
        const struct answer *a = world_await(&w, tokens[i], 2000);
        added += i < 2 && a->result.error.code == 0;
        assert_true(a->result.error.code == 0 ||
                    (i < 2 && a->result.error.code == ERR_TOO_MANY_LEARNERS_));
    }
    assert_int_equal(added, 1);
    world_run(&w, 100);
    for (unsigned i = 0; i < 3; i++) {
        const struct member *m = membership_find(members_of(follower), w.nodes[i].id);
        assert_string_equal(m->peer_urls.items[0], urls[i]);
        assert_int_equal(m->client_urls.count, 1);
    }
    world_end(&w);
}

static void only_the_leader_judges_a_learner_and_others_ask_it(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 5);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, HEALTHY_MS);
    for (int i = 0; i < 50; i++)
        assert_int_equal(outcome(&w, node_put(leader, "a", "1")), 0);
    uint64_t learner = w.nodes[3].id;
    struct node *follower = other_than(&w, leader);
    assert_int_equal(outcome(&w, promote(follower, learner)), ERR_MEMBER_NOT_FOUND_);
    assert_int_equal(outcome(&w, node_add_member(follower, 3, true)), 0);
    struct node *nodes[] = {leader, follower};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(outcome(&w, promote(nodes[i], learner)), ERR_LEARNER_NOT_READY_);
        assert_int_equal(outcome(&w, promote(nodes[i], leader->id)), ERR_MEMBER_NOT_LEARNER_);
        assert_int_equal(outcome(&w, promote(nodes[i], 99)), ERR_MEMBER_NOT_FOUND_);
    }
    assert_int_equal(w.promoted.code, ERR_MEMBER_NOT_FOUND_);
    assert_int_equal(w.promoted_count, 7);
    world_boot(&w, 3);
    world_run(&w, 1000);
    assert_true(replica_view_get(w.nodes[3].replica)->is_learner);
    assert_int_equal(outcome(&w, promote(follower, learner)), 0);
    assert_int_equal(w.promoted.code, 0);
    world_run(&w, 100);
    assert_false(replica_view_get(w.nodes[3].replica)->is_learner);
    /* With nobody to ask it ends as the request's time does. */
    for (unsigned i = 0; i < 4; i++) {
        if (&w.nodes[i] != follower)
            world_kill(&w, i);
    }
    uint64_t begin = w.now_ms;
    assert_int_equal(outcome(&w, promote(follower, learner)), ERR_NO_LEADER_);
    assert_in_range(w.now_ms - begin, 5000, 5400);
    world_end(&w);
}

/* Milliseconds that puts through n have to wait at most, while `token` is answered. */
static uint64_t longest_put(struct world *w, struct node *n, uint64_t token, uint64_t ms)
{
    uint64_t longest = 0;
    uint64_t end = w->now_ms + ms;
    while (w->now_ms < end || !world_answer(w, token)) {
        uint64_t begin = w->now_ms;
        assert_int_equal(outcome(w, node_put(n, "a", "1")), 0);
        if (w->now_ms - begin > longest)
            longest = w->now_ms - begin;
    }
    return longest;
}

static void a_leader_that_is_removed_lets_another_lead_first(void **ctx)
{
    (void)ctx;
    for (unsigned asked_at = 0; asked_at < 2; asked_at++) {
        struct world w;
        world_begin(&w, 3, 6 + asked_at);
        boot(&w, 3);
        struct node *leader = world_lead(&w);
        world_run(&w, HEALTHY_MS);
        struct node *other = other_than(&w, leader);
        uint64_t token = remove_member(asked_at ? other : leader, leader->id);
        uint64_t longest = longest_put(&w, other, token, 300);
        assert_int_equal(outcome(&w, token), 0);
        assert_true(longest < WORLD_TICK_MS * WORLD_ELECTION); /* no election times out */
        assert_true(replica_view_get(leader->replica)->is_removed);
        assert_ptr_not_equal(world_leader(&w), leader);
        assert_int_equal(members_of(other)->count, 2);
        world_end(&w);
    }
}

/* A follower may hear that a change is committed while it still writes it: it is asked for a sync
 * when it applies it, though raft has nothing new to store then. */
static void that_a_change_is_committed_is_durable_wherever_it_is_applied(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 6);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, HEALTHY_MS);
    struct node *slow = other_than(&w, leader);
    slow->hold_log = true;
    assert_int_equal(outcome(&w, node_add_member(leader, 3, true)), 0);
    world_run(&w, 300);
    assert_int_equal(members_of(slow)->count, 3);
    slow->hold_log = false;
    for (unsigned i = 0; i < 100 && members_of(slow)->count == 3; i++)
        world_step(&w);
    assert_int_equal(members_of(slow)->count, 4);
    uint64_t applied = replica_view_get(slow->replica)->applied_index;
    while (slow->jobs)
        world_step(&w);
    assert_true(slow->disk.synced_commit >= applied);
    world_end(&w);
}

/* The entry never comes, since nobody sends to a removed member; but somebody says so. */
static void who_is_told_of_its_removal_answers_whoever_asked_for_it(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 10);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, HEALTHY_MS);
    struct node *gone = other_than(&w, leader);
    uint64_t other = node_put(gone, "a", "1");
    uint64_t token = remove_member(gone, gone->id);
    world_step(&w);
    gone->cut = true;
    world_run(&w, 300);
    assert_null(world_answer(&w, token));
    replica_told_removed(gone->replica, w.now_ms);
    assert_int_equal(world_await(&w, token, 10)->result.error.code, 0);
    assert_null(world_answer(&w, other));
    world_end(&w);
}

static void propose_downgrade(struct world *w, struct node *n, bool enabled, char *target)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    set.enabled = enabled;
    set.ver = target;
    r.downgrade_info_set = &set;
    assert_int_equal(outcome(w, node_propose(n, &r)), 0);
}

static void the_cluster_version_goes_down_and_up_again_by_the_leaders_word(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 8);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, 500);
    assert_int_equal(members_of(leader)->version.minor, 7);
    propose_downgrade(&w, leader, true, "3.5.0"); /* two below: kept, and never reached */
    world_run(&w, 5000);
    assert_int_equal(members_of(leader)->version.minor, 7);
    propose_downgrade(&w, leader, true, "3.6.0");
    world_run(&w, 5000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(members_of(&w.nodes[i])->version.minor, 6);
        assert_int_equal(members_of(&w.nodes[i])->downgrade_to.minor, 6);
        assert_int_equal(replica_view_get(w.nodes[i].replica)->storage_version.minor, 6);
    }
    /* It is in the store: a restart knows it. */
    world_kill(&w, leader->at);
    world_boot(&w, leader->at);
    leader = world_lead(&w);
    world_run(&w, 5000);
    assert_int_equal(members_of(leader)->version.minor, 6);
    propose_downgrade(&w, leader, false, "");
    world_run(&w, 5000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(members_of(&w.nodes[i])->downgrade_to.major, 0);
        assert_int_equal(members_of(&w.nodes[i])->version.minor, 7);
    }
    world_end(&w);
}

static void a_joiner_is_ready_once_it_is_a_member_in_its_own_eyes(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 9);
    boot(&w, 3);
    struct node *leader = world_lead(&w);
    world_run(&w, HEALTHY_MS);
    for (int i = 0; i < 300; i++)
        assert_int_equal(outcome(&w, node_put(leader, "a", "1")), 0);
    assert_int_equal(outcome(&w, node_add_member(leader, 3, false)), 0);
    world_boot(&w, 3);
    struct node *joiner = &w.nodes[3];
    bool was_behind = false;
    for (int i = 0; i < 1000; i++) {
        const struct replica_view *v = replica_view_get(joiner->replica);
        was_behind |= v->applied_index > 0 && !v->is_member;
        if (!v->is_member)
            assert_false(replica_view_is_ready(v, w.now_ms + 60000));
        world_step(&w);
    }
    assert_true(was_behind);
    assert_true(replica_view_is_ready(replica_view_get(joiner->replica), w.now_ms));
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_member_takes_one_and_then_waits_until_it_has_started),
        cmocka_unit_test(what_would_cost_the_quorum_is_refused),
        cmocka_unit_test(without_the_strict_check_members_do_as_they_are_told),
        cmocka_unit_test(changes_that_come_at_once_are_made_one_after_the_other),
        cmocka_unit_test(only_the_leader_judges_a_learner_and_others_ask_it),
        cmocka_unit_test(a_leader_that_is_removed_lets_another_lead_first),
        cmocka_unit_test(that_a_change_is_committed_is_durable_wherever_it_is_applied),
        cmocka_unit_test(who_is_told_of_its_removal_answers_whoever_asked_for_it),
        cmocka_unit_test(the_cluster_version_goes_down_and_up_again_by_the_leaders_word),
        cmocka_unit_test(a_joiner_is_ready_once_it_is_a_member_in_its_own_eyes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
