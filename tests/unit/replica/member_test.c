/* One member, three members: what is answered, when, and with what. */
#include "world.h"

#include <stdio.h>

static void boot_all(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        world_boot(w, i);
}

static void a_lone_member_leads_at_once_and_serves(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 1);
    boot_all(&w);
    struct node *n = world_lead(&w);
    assert_true(w.now_ms < 1000 + 50); /* no election timeout is waited for */
    const struct answer *a = world_await(&w, node_put(n, "a", "1"), 100);
    assert_int_equal(a->result.error.code, 0);
    assert_int_equal(a->result.revision, 2);
    a = world_await(&w, node_read(n), 100);
    assert_int_equal(a->kind, REPLY_READ);
    assert_int_equal(a->result.error.code, 0);
    char value[16];
    int64_t mod;
    node_get(n, "a", value, sizeof(value), &mod);
    assert_string_equal(value, "1");
    world_end(&w);
}

static void members_publish_themselves_and_the_leader_sets_the_version(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 2);
    boot_all(&w);
    (void)world_lead(&w);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        const struct replica_view *v = replica_view_get(w.nodes[i].replica);
        assert_true(v->is_published);
        assert_int_equal(v->version.major, 3);
        assert_int_equal(v->version.minor, 7);
        assert_int_equal(v->members->count, 3);
        for (size_t j = 0; j < 3; j++) {
            assert_int_equal(v->members->members[j].name[0], 'n');
            assert_int_equal(v->members->members[j].client_urls.count, 1);
        }
        assert_int_equal(v->cluster_id, w.cluster_id);
        assert_false(v->is_learner);
    }
    world_end(&w);
}

static void any_member_takes_writes_and_reads(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 3);
    boot_all(&w);
    (void)world_lead(&w);
    for (unsigned i = 0; i < 3; i++) {
        char text[8];
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(world_await(&w, node_put(&w.nodes[i], "a", text), 500)->result.error.code,
                         0);
        for (unsigned j = 0; j < 3; j++) {
            char value[16];
            int64_t mod;
            assert_int_equal(world_await(&w, node_read(&w.nodes[j]), 500)->result.error.code, 0);
            node_get(&w.nodes[j], "a", value, sizeof(value), &mod);
            assert_string_equal(value, text);
        }
    }
    world_end(&w);
}

static void what_was_acknowledged_is_there_after_all_were_killed(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 4);
    boot_all(&w);
    struct node *n = world_lead(&w);
    for (int i = 0; i < 200; i++) {
        char text[8];
        snprintf(text, sizeof(text), "%d", i);
        assert_int_equal(world_await(&w, node_put(n, text, text), 500)->result.error.code, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        world_kill(&w, i);
    boot_all(&w);
    n = world_lead(&w);
    assert_int_equal(world_await(&w, node_read(n), 500)->result.error.code, 0);
    for (int i = 0; i < 200; i++) {
        char text[8];
        char value[16];
        int64_t mod;
        snprintf(text, sizeof(text), "%d", i);
        node_get(n, text, value, sizeof(value), &mod);
        assert_string_equal(value, text);
        assert_int_equal(mod, i + 2);
    }
    world_end(&w);
}

static void a_new_leader_answers_no_read_before_its_first_commit(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 5);
    boot_all(&w);
    struct node *old = world_lead(&w);
    assert_int_equal(world_await(&w, node_put(old, "a", "1"), 500)->result.error.code, 0);
    world_kill(&w, old->at);
    /* A leader comes up, but nobody's disk takes its first entry. */
    struct node *next = NULL;
    while (!next) {
        world_step(&w);
        next = world_leader(&w);
    }
    for (unsigned i = 0; i < 3; i++)
        w.nodes[i].hold_log = true;
    uint64_t token = node_read(next);
    world_run(&w, 90);
    assert_null(world_answer(&w, token));
    for (unsigned i = 0; i < 3; i++)
        w.nodes[i].hold_log = false;
    const struct answer *a = world_await(&w, token, 7000);
    assert_true(a->result.error.code == 0 || a->result.error.code == ERR_LEADER_CHANGED_);
    world_end(&w);
}

static void a_leader_that_was_cut_off_answers_nothing_stale(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 6);
    boot_all(&w);
    struct node *old = world_lead(&w);
    assert_int_equal(world_await(&w, node_put(old, "a", "1"), 500)->result.error.code, 0);
    old->cut = true;
    uint64_t token = node_read(old);
    struct node *next = NULL;
    while (!next || next == old) {
        world_step(&w);
        next = world_leader(&w);
    }
    assert_int_equal(world_await(&w, node_put(next, "a", "2"), 1000)->result.error.code, 0);
    const struct answer *a = world_await(&w, token, 8000);
    assert_int_equal(a->result.error.code, ERR_TIMEOUT_);
    old->cut = false;
    (void)world_lead(&w);
    assert_int_equal(world_await(&w, node_read(old), 1000)->result.error.code, 0);
    char value[16];
    int64_t mod;
    node_get(old, "a", value, sizeof(value), &mod);
    assert_string_equal(value, "2");
    world_end(&w);
}

static void a_leader_that_was_stopped_for_a_while_answers_nothing_stale(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 7);
    boot_all(&w);
    struct node *old = world_lead(&w);
    assert_int_equal(world_await(&w, node_put(old, "a", "1"), 500)->result.error.code, 0);
    old->frozen = true;
    struct node *next = NULL;
    while (!next || next == old) {
        world_step(&w);
        next = world_leader(&w);
    }
    assert_int_equal(world_await(&w, node_put(next, "a", "2"), 1000)->result.error.code, 0);
    uint64_t token = node_read(old); /* it still believes that it leads */
    old->frozen = false;
    const struct answer *a = world_await(&w, token, 8000);
    char value[16];
    int64_t mod;
    node_get(old, "a", value, sizeof(value), &mod);
    if (a->result.error.code == 0)
        assert_string_equal(value, "2");
    world_end(&w);
}

static void without_a_leader_proposals_and_reads_end_as_etcds_do(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 8);
    world_boot(&w, 0);
    uint64_t put = node_put(&w.nodes[0], "a", "1");
    uint64_t read = node_read(&w.nodes[0]);
    uint64_t timeout = 5000 + 2 * WORLD_TICK_MS * WORLD_ELECTION;
    world_run(&w, timeout - 100);
    assert_null(world_answer(&w, put));
    assert_int_equal(world_await(&w, put, 200)->result.error.code, ERR_CONTEXT_DEADLINE_);
    assert_int_equal(world_await(&w, read, 200)->result.error.code, ERR_TIMEOUT_);
    world_end(&w);
}

static void a_proposal_that_a_dead_majority_swallows_names_the_cause(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 9);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        if (&w.nodes[i] != leader)
            world_kill(&w, i);
    }
    uint64_t put = node_put(leader, "a", "1");
    const struct answer *a = world_await(&w, put, 8000);
    assert_int_equal(a->result.error.code, ERR_TIMEOUT_);
    world_end(&w);
}

static void a_write_reads_back_after_one_of_three_died(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 10);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    world_kill(&w, leader->at);
    uint64_t from = w.now_ms;
    struct node *next = NULL;
    while (!next) {
        world_step(&w);
        next = world_leader(&w);
    }
    assert_int_equal(world_await(&w, node_put(next, "a", "1"), 500)->result.error.code, 0);
    assert_true(w.now_ms - from <= 2 * 2 * WORLD_TICK_MS * WORLD_ELECTION);
    world_end(&w);
}

static void backlog_refuses_with_too_many_requests(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 11);
    w.apply_ops_max = 1;
    w.backlog_max = 10;
    w.log_delay_ms = 0;
    boot_all(&w);
    struct node *n = world_lead(&w);
    world_run(&w, 300);
    for (int i = 0; i < 100; i++)
        (void)node_put(n, "a", "1");
    world_step(&w);
    world_step(&w);
    uint64_t token = node_put(n, "a", "2");
    assert_int_equal(world_await(&w, token, 10)->result.error.code, ERR_REQUEST_TOO_MANY_REQUESTS_);
    world_run(&w, 200);
    assert_int_equal(world_await(&w, node_put(n, "a", "3"), 100)->result.error.code, 0);
    world_end(&w);
}

static void a_stalled_disk_hands_leadership_over(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 12);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    world_run(&w, 1000);
    leader->hold_log = true;
    uint64_t token = node_put(leader, "a", "1");
    uint64_t from = w.now_ms;
    struct node *next = leader;
    while (next == leader || !next) {
        world_step(&w);
        assert_true(w.now_ms - from < 2000);
        next = world_leader(&w);
    }
    assert_true(replica_view_get(leader->replica)->disk_stalled);
    /* The others had it on their disks: it stands, and the stalled one hears of it later. */
    assert_int_equal(world_await(&w, node_put(next, "b", "1"), 500)->result.error.code, 0);
    leader->hold_log = false;
    assert_int_equal(world_await(&w, token, 2000)->result.error.code, 0);
    world_run(&w, 100);
    assert_false(replica_view_get(leader->replica)->disk_stalled);
    world_end(&w);
}

static void who_cannot_send_its_state_hands_leadership_over(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 17);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    world_run(&w, 1000);
    struct node *next = &w.nodes[(leader->at + 1) % 3];
    replica_peer_report(leader->replica, next->id, PEER_STATE_UNREADABLE,
                        (struct cluster_version){0, 0}, w.now_ms);
    uint64_t from = w.now_ms;
    for (next = leader; next == leader || !next; next = world_leader(&w)) {
        world_step(&w);
        assert_true(w.now_ms - from < 2000);
    }
    /* Alone with a majority that needs it, it still leads. */
    world_kill(&w, next->at);
    assert_int_equal(world_await(&w, node_put(world_lead(&w), "a", "1"), 500)->result.error.code,
                     0);
    world_end(&w);
}

static void stopping_hands_leadership_over_and_refuses_new_work(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 13);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    uint64_t before = node_put(leader, "a", "1");
    replica_stop(leader->replica, w.now_ms);
    uint64_t after = node_put(leader, "a", "2");
    uint64_t read = node_read(leader);
    uint64_t from = w.now_ms;
    while (!leader->stopped) {
        world_step(&w);
        assert_true(w.now_ms - from < 600);
    }
    assert_int_equal(world_await(&w, after, 0)->result.error.code, ERR_STOPPED_);
    assert_int_equal(world_await(&w, read, 0)->result.error.code, ERR_STOPPED_);
    assert_non_null(world_answer(&w, before));
    assert_ptr_not_equal(world_leader(&w), leader);
    assert_non_null(world_leader(&w));
    world_end(&w);
}

static void a_lone_member_stops_at_once(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 14);
    boot_all(&w);
    struct node *n = world_lead(&w);
    replica_stop(n->replica, w.now_ms);
    world_step(&w);
    assert_true(n->stopped);
    world_end(&w);
}

static void leadership_moves_when_asked(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 15);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    struct node *other = &w.nodes[(leader->at + 1) % 3];
    uint64_t token = token_make(0, ++w.next_slot, 3);
    replica_transfer_leader(other->replica, token, other->id, w.now_ms);
    assert_int_equal(world_await(&w, token, 100)->result.error.code, ERR_NOT_LEADER_);
    token = token_make(0, ++w.next_slot, 3);
    replica_transfer_leader(leader->replica, token, 42, w.now_ms);
    assert_int_equal(world_await(&w, token, 100)->result.error.code, ERR_BAD_LEADER_TRANSFEREE_);
    token = token_make(0, ++w.next_slot, 3);
    replica_transfer_leader(leader->replica, token, other->id, w.now_ms);
    assert_int_equal(world_await(&w, token, 500)->result.error.code, 0);
    assert_ptr_equal(world_lead(&w), other);
    world_end(&w);
}

/* With the votes of others it would lead, forget the term in a crash, and lead in it again. */
static void nobody_leads_in_a_term_that_its_own_disk_does_not_have(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 16);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    world_run(&w, 100);
    struct node *other = &w.nodes[(leader->at + 1) % 3];
    other->hold_log = true;
    uint64_t token = token_make(0, ++w.next_slot, 3);
    replica_transfer_leader(leader->replica, token, other->id, w.now_ms);
    for (unsigned ms = 0; ms < 2 * WORLD_ELECTION * WORLD_TICK_MS; ms++) {
        world_step(&w);
        assert_ptr_not_equal(world_leader(&w), other);
    }
    other->hold_log = false;
    (void)world_lead(&w);
    world_end(&w);
}

static void a_member_is_removed_and_knows_it(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 16);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    struct node *gone = &w.nodes[(leader->at + 1) % 3];
    world_run(&w, 6000); /* connected for so long counts as healthy */
    const struct member_change unknown = {MEMBER_REMOVE, {.id = 42}};
    assert_int_equal(world_await(&w, node_change(leader, &unknown), 500)->result.error.code,
                     ERR_MEMBER_NOT_FOUND_);
    const struct member_change removal = {MEMBER_REMOVE, {.id = gone->id}};
    assert_int_equal(world_await(&w, node_change(leader, &removal), 500)->result.error.code, 0);
    world_run(&w, 200);
    assert_int_equal(replica_view_get(leader->replica)->members->count, 2);
    assert_true(membership_was_removed(replica_view_get(leader->replica)->members, gone->id));
    assert_true(replica_view_get(gone->replica)->is_removed);
    assert_int_equal(world_await(&w, node_put(leader, "a", "1"), 500)->result.error.code, 0);
    world_end(&w);
}

static void replies_before_a_long_deletion_do_not_wait_for_it(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 17);
    w.apply_ops_max = 16;
    w.log_delay_ms = 0;
    boot_all(&w);
    struct node *n = world_lead(&w);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%04d", i);
        uint64_t t = node_put(n, key, "v");
        if (i % 100 == 99)
            (void)world_await(&w, t, 1000);
    }
    uint64_t put = node_put(n, "z", "1");
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
    del.range_end = (ProtobufCBinaryData){1, (uint8_t *)"l"};
    r.delete_range = &del;
    uint64_t deletion = node_propose(n, &r);
    const struct answer *a = world_await(&w, put, 10);
    assert_null(world_answer(&w, deletion));
    int64_t put_revision = a->result.revision;
    char value[16];
    int64_t mod;
    /* As long as it runs nobody sees any of it. */
    world_step(&w);
    node_get(n, "k0000", value, sizeof(value), &mod);
    assert_string_equal(value, "v");
    a = world_await(&w, deletion, 1000);
    assert_int_equal(a->result.op.deleted, 1000);
    assert_int_equal(a->result.revision, put_revision + 1);
    node_get(n, "k0000", value, sizeof(value), &mod);
    assert_string_equal(value, "");
    world_end(&w);
}

static void a_physical_compaction_is_answered_once_it_is_done(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 18);
    boot_all(&w);
    struct node *n = world_lead(&w);
    for (int i = 0; i < 10; i++)
        (void)world_await(&w, node_put(n, "a", "1"), 100);
    const struct answer *a = world_await(&w, node_compact(n, 10), 500);
    assert_int_equal(a->result.error.code, 0);
    assert_int_equal(a->result.revision, 11);
    assert_true(mvcc_store_is_swept(state_store(n->state)));
    assert_int_equal(world_await(&w, node_compact(n, 10), 500)->result.error.code, ERR_COMPACTED_);
    world_end(&w);
}

static void a_full_tail_pauses_apply_until_it_is_flushed(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 19);
    w.tail_max_bytes = 2000;
    boot_all(&w);
    struct node *n = world_lead(&w);
    uint64_t last = 0;
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%04d", i);
        last = node_put(n, key, "value");
    }
    world_run(&w, 5);
    assert_true(tail_is_full(n->tail));
    assert_null(world_answer(&w, last));
    assert_int_equal(world_await(&w, last, 7000)->result.error.code, 0);
    /* One entry that is larger than the tail gets through too. */
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
    del.range_end = (ProtobufCBinaryData){1, (uint8_t *)"l"};
    r.delete_range = &del;
    w.apply_ops_max = 0;
    assert_int_equal(world_await(&w, node_propose(n, &r), 7000)->result.op.deleted, 500);
    world_end(&w);
}

static void the_only_voter_is_not_removed(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 20);
    w.lenient = true;
    boot_all(&w);
    struct node *n = world_lead(&w);
    const struct member_change removal = {MEMBER_REMOVE, {.id = n->id}};
    assert_int_equal(world_await(&w, node_change(n, &removal), 500)->result.error.code,
                     ERR_MEMBER_NOT_ENOUGH_STARTED_);
    assert_int_equal(world_await(&w, node_put(n, "a", "1"), 500)->result.error.code, 0);
    world_end(&w);
}

static void a_learner_joins_late_gets_all_entries_and_is_promoted(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin_joining(&w, 4, 1, 23);
    for (unsigned i = 0; i < 3; i++)
        world_boot(&w, i);
    struct node *leader = world_lead(&w);
    for (int i = 0; i < 300; i++) /* more than the cache holds: they come from the disk */
        assert_int_equal(world_await(&w, node_put(leader, "a", "1"), 500)->result.error.code, 0);
    world_run(&w, 6000); /* connected for so long counts as healthy */
    assert_int_equal(world_await(&w, node_add_member(leader, 3, true), 500)->result.error.code, 0);
    struct node *joiner = &w.nodes[3];
    world_boot(&w, 3);
    assert_int_equal(replica_view_get(joiner->replica)->members->count, 3); /* those it was told */
    world_run(&w, 1000);
    const struct replica_view *v = replica_view_get(joiner->replica);
    assert_int_equal(v->members->count, 4);
    assert_true(v->is_learner && v->is_published);
    assert_int_equal(node_hash(joiner), node_hash(leader));
    uint64_t match = 0;
    assert_true(replica_progress_get(leader->replica, joiner->id, &match));
    assert_int_equal(match, node_applied(leader));

    const struct member_change promotion = {MEMBER_PROMOTE, {.id = joiner->id}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(world_await(&w, node_change(leader, &promotion), 500)->result.error.code,
                         i ? ERR_MEMBER_NOT_LEARNER_ : 0);
    world_run(&w, 100);
    assert_false(replica_view_get(joiner->replica)->is_learner);
    /* Four voters: three are a majority. */
    world_kill(&w, leader->at);
    leader = world_lead(&w);
    assert_int_equal(world_await(&w, node_put(leader, "a", "2"), 500)->result.error.code, 0);
    world_end(&w);
}

static void a_full_disk_raises_the_alarm_on_all_members(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 3, 21);
    boot_all(&w);
    struct node *leader = world_lead(&w);
    struct node *full = &w.nodes[(leader->at + 1) % 3];
    full->disk_full = true;
    assert_int_equal(world_await(&w, node_put(leader, "a", "1"), 500)->result.error.code, 0);
    world_run(&w, 500);
    assert_int_equal(world_await(&w, node_put(leader, "a", "2"), 500)->result.error.code,
                     ERR_NO_SPACE_);
    for (unsigned i = 0; i < 3; i++) {
        const struct alarms *alarms = replica_view_get(w.nodes[i].replica)->alarms;
        assert_int_equal(alarms->count, 1);
        assert_int_equal(alarms->items[0].member_id, full->id);
        assert_int_equal(alarms->items[0].type, ALARM_NOSPACE);
    }
    full->disk_full = false; /* there is room again */
    world_run(&w, 10000);
    assert_int_equal(world_await(&w, node_put(leader, "a", "3"), 500)->result.error.code, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(replica_view_get(w.nodes[i].replica)->alarms->count, 0);
    world_end(&w);
}

static void a_log_that_contradicts_itself_is_refused(void **ctx)
{
    (void)ctx;
    struct world w;
    world_begin(&w, 1, 22);
    boot_all(&w);
    (void)world_lead(&w);
    world_run(&w, 500);
    world_kill(&w, 0);
    struct node *n = &w.nodes[0];
    assert_int_equal(world_try(&w, 0).code, 0);
    world_kill(&w, 0);
    n->disk.hard_state.commit = n->disk.entry_count + 5;
    assert_int_equal(world_try(&w, 0).code, ERR_CORRUPT_);
    n->disk.hard_state.commit = 1;
    world_boot(&w, 0);
    (void)world_lead(&w);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_member_leads_at_once_and_serves),
        cmocka_unit_test(members_publish_themselves_and_the_leader_sets_the_version),
        cmocka_unit_test(any_member_takes_writes_and_reads),
        cmocka_unit_test(what_was_acknowledged_is_there_after_all_were_killed),
        cmocka_unit_test(a_new_leader_answers_no_read_before_its_first_commit),
        cmocka_unit_test(a_leader_that_was_cut_off_answers_nothing_stale),
        cmocka_unit_test(a_leader_that_was_stopped_for_a_while_answers_nothing_stale),
        cmocka_unit_test(without_a_leader_proposals_and_reads_end_as_etcds_do),
        cmocka_unit_test(a_proposal_that_a_dead_majority_swallows_names_the_cause),
        cmocka_unit_test(a_write_reads_back_after_one_of_three_died),
        cmocka_unit_test(backlog_refuses_with_too_many_requests),
        cmocka_unit_test(a_stalled_disk_hands_leadership_over),
        cmocka_unit_test(who_cannot_send_its_state_hands_leadership_over),
        cmocka_unit_test(stopping_hands_leadership_over_and_refuses_new_work),
        cmocka_unit_test(a_lone_member_stops_at_once),
        cmocka_unit_test(leadership_moves_when_asked),
        cmocka_unit_test(nobody_leads_in_a_term_that_its_own_disk_does_not_have),
        cmocka_unit_test(a_member_is_removed_and_knows_it),
        cmocka_unit_test(replies_before_a_long_deletion_do_not_wait_for_it),
        cmocka_unit_test(a_physical_compaction_is_answered_once_it_is_done),
        cmocka_unit_test(a_full_tail_pauses_apply_until_it_is_flushed),
        cmocka_unit_test(the_only_voter_is_not_removed),
        cmocka_unit_test(a_learner_joins_late_gets_all_entries_and_is_promoted),
        cmocka_unit_test(a_full_disk_raises_the_alarm_on_all_members),
        cmocka_unit_test(a_log_that_contradicts_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
