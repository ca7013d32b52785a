/* Each row of the start table. */
#include "wal/start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A member in good health: store at 90, log 51..100, newest record 80. */
static struct wal_start_facts healthy(void)
{
    return (struct wal_start_facts){.has_log = true,
                                    .has_store = true,
                                    .frame_index = 90,
                                    .frame_term = 3,
                                    .commit = 95,
                                    .snapshot_index = 80,
                                    .first_index = 51,
                                    .last_index = 100,
                                    .last_term = 4,
                                    .has_term_at_frame = true,
                                    .term_at_frame = 3};
}

static void assert_refused(const struct wal_start_facts *facts, enum wal_refusal refusal)
{
    struct wal_start start = wal_start_decide(facts);
    assert_int_equal(start.action, WAL_START_REFUSE);
    assert_int_equal(start.refusal, refusal);
    assert_true(wal_refusal_text(refusal)[0] != 0);
}

static void a_healthy_member_goes_on_at_its_frame(void **state)
{
    struct wal_start_facts facts = healthy();
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_FRAME);
    assert_int_equal(start.applied, 90);
    assert_int_equal(start.commit, 95);
    assert_int_equal(start.skip_apply, 90);
    assert_false(start.cut_store);
}

static void a_frame_beyond_the_commit_raises_it(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.commit = 85;
    assert_int_equal(wal_start_decide(&facts).commit, 90);
}

static void edges_of_the_log_are_enough(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.frame_index = facts.last_index = 100;
    facts.frame_term = facts.term_at_frame = 4;
    assert_int_equal(wal_start_decide(&facts).action, WAL_START_FRAME);
    facts = healthy();
    facts.first_index = 91;
    assert_int_equal(wal_start_decide(&facts).action, WAL_START_FRAME);
    facts = healthy();
    facts.frame_index = facts.snapshot_index;
    assert_int_equal(wal_start_decide(&facts).action, WAL_START_FRAME);
}

static void terms_that_disagree_are_refused(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.term_at_frame = 2;
    assert_refused(&facts, WAL_REFUSAL_TERMS_DISAGREE);
}

static void an_unfinished_install_is_finished_from_the_staged_store(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.frame_index = 10;
    assert_refused(&facts, WAL_REFUSAL_STAGED_STORE_MISSING);
    facts.staged = true;
    facts.first_index = 81;
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_FINISH_INSTALL);
    assert_int_equal(start.applied, 80);
    assert_int_equal(start.commit, 95);
    facts.has_store = false; /* a member's very first store */
    assert_int_equal(wal_start_decide(&facts).action, WAL_START_FINISH_INSTALL);
}

/* Its store was lost, and what is made in its place is not as far yet. */
static void a_whole_log_makes_up_for_an_older_store(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.frame_index = 10;
    facts.first_index = 1;
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_FRAME);
    assert_int_equal(start.applied, 10);
    assert_int_equal(start.commit, 95);
    facts.term_at_frame = 2;
    assert_refused(&facts, WAL_REFUSAL_TERMS_DISAGREE);
}

static void a_frame_beyond_the_log_is_lost_data_unless_imported(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.frame_index = 120;
    facts.has_term_at_frame = false;
    assert_refused(&facts, WAL_REFUSAL_LOG_LOST_ENTRIES);
    facts.store_imported = true;
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_SKIP_TO_FRAME);
    assert_int_equal(start.applied, 100);
    assert_int_equal(start.commit, 100);
    assert_int_equal(start.skip_apply, 120);
}

static void a_commit_beyond_the_log_is_lost_data(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.commit = 101;
    assert_refused(&facts, WAL_REFUSAL_LOG_LOST_ENTRIES);
}

static void a_log_that_starts_late_is_refused(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.first_index = 92;
    assert_refused(&facts, WAL_REFUSAL_LOG_STARTS_LATE);
}

static void a_torn_store_is_cut_to_its_frame(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.store_torn = true;
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_FRAME);
    assert_true(start.cut_store);
    facts.frame_index = 79; /* what was synced is gone */
    assert_refused(&facts, WAL_REFUSAL_STAGED_STORE_MISSING);
}

static void a_log_alone_is_replayed_from_its_first_entry(void **state)
{
    struct wal_start_facts facts = healthy();
    facts.has_store = false;
    assert_refused(&facts, WAL_REFUSAL_LOG_WITHOUT_STORE);
    facts.first_index = 1;
    struct wal_start start = wal_start_decide(&facts);
    assert_int_equal(start.action, WAL_START_REPLAY_ALL);
    assert_int_equal(start.applied, 0);
    assert_int_equal(start.commit, 95);
}

static void a_store_alone_is_refused(void **state)
{
    struct wal_start_facts facts = {.has_store = true, .frame_index = 5};
    assert_refused(&facts, WAL_REFUSAL_STORE_WITHOUT_LOG);
}

static void nothing_at_all_is_a_new_member(void **state)
{
    struct wal_start_facts facts = {0};
    assert_int_equal(wal_start_decide(&facts).action, WAL_START_NEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_member_goes_on_at_its_frame),
        cmocka_unit_test(a_frame_beyond_the_commit_raises_it),
        cmocka_unit_test(edges_of_the_log_are_enough),
        cmocka_unit_test(terms_that_disagree_are_refused),
        cmocka_unit_test(an_unfinished_install_is_finished_from_the_staged_store),
        cmocka_unit_test(a_whole_log_makes_up_for_an_older_store),
        cmocka_unit_test(a_frame_beyond_the_log_is_lost_data_unless_imported),
        cmocka_unit_test(a_commit_beyond_the_log_is_lost_data),
        cmocka_unit_test(a_log_that_starts_late_is_refused),
        cmocka_unit_test(a_torn_store_is_cut_to_its_frame),
        cmocka_unit_test(a_log_alone_is_replayed_from_its_first_entry),
        cmocka_unit_test(a_store_alone_is_refused),
        cmocka_unit_test(nothing_at_all_is_a_new_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
