#include "store_fixture.h"

static void empty_store_opens_empty(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    for (int i = 0; i < 2; i++) {
        fixture_open(fixture);
        assert_true(fixture->recovery.is_new);
        assert_int_equal(fixture->recovery.frame.seq, 0);
        assert_int_equal(fixture->recovery.replay_from, 1);
        assert_null(fixture->recovery.checkpoint);
        fixture_run(fixture, true);
        fixture_close(fixture);
    }
    fixture_done(fixture);
    free(fixture);
}

/* What was flushed is read back, before and after a restart, over many segments; new changes go on
 * where the log ended. */
static void flushed_changes_survive(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    for (int life = 0; life < 5; life++) {
        fixture_open(fixture);
        if (life) {
            assert_false(fixture->recovery.is_new);
            assert_int_equal(fixture->recovery.frame.seq, fixture->model.seq);
            assert_int_equal(fixture->recovery.frame.index, fixture->model.index);
            assert_int_equal(fixture->recovery.frame.term, 5);
            assert_int_equal(fixture->recovery.frame.revision, model_main(fixture->model.seq));
            assert_true(bytes_equal(fixture->recovery.frame.conf_state, BYTES_LIT("voters")));
        }
        fixture_assert_log(fixture, fixture->model.seq);
        for (int i = 0; i < 20; i++) {
            fixture_changes(fixture, 50);
            fixture_flush(fixture);
            assert_int_equal(fixture->status.written_seq, fixture->model.seq);
            assert_int_equal(fixture->status.written_index, fixture->model.index);
            assert_true(fixture->status.synced_seq <= fixture->status.written_seq);
            assert_int_equal(tail_unwritten_bytes(fixture->tail), 0);
        }
        fixture_assert_log(fixture, fixture->model.seq);
        fixture_close(fixture);
    }
    fixture_open(fixture);
    assert_true(revlog_table(fixture->log)->count > 10);
    fixture_done(fixture);
    free(fixture);
}

static void records_larger_than_a_segment_find_room(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    fixture_open(fixture);
    for (int i = 0; i < 10; i++) {
        fixture_changes(fixture, 3);
        fixture_change(fixture, i % 2 ? 100000 : 16000);
        if (i % 3 == 0)
            fixture_flush(fixture);
    }
    fixture_flush(fixture);
    fixture_assert_log(fixture, fixture->model.seq);
    fixture_close(fixture);
    fixture_open(fixture);
    fixture_assert_log(fixture, fixture->model.seq);
    fixture_done(fixture);
    free(fixture);
}

/* Frames without changes fill a segment: it is replaced, not kept. */
static void frames_alone_take_one_segment(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 4096);
    fixture_open(fixture);
    for (int i = 0; i < 200; i++)
        fixture_flush(fixture);
    fixture_run(fixture, true);
    fixture_run(fixture, true);
    assert_int_equal(fixture_file_count(fixture, ".seg"), 1);
    fixture_changes(fixture, 10);
    fixture_flush(fixture);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.frame.index, fixture->model.index);
    fixture_assert_log(fixture, 10);
    fixture_done(fixture);
    free(fixture);
}

static void sync_is_answered(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 1 << 20);
    fixture_open(fixture);
    fixture_changes(fixture, 100);
    fixture_flush(fixture);
    assert_int_equal(fixture->synced, 0);
    stage_store_sync(fixture->store);
    fixture_run(fixture, false);
    assert_int_equal(fixture->synced, 1);
    assert_int_equal(fixture->status.synced_seq, 100);
    assert_int_equal(fixture->status.synced_index, fixture->model.index);
    /* Nothing new: answered all the same. */
    stage_store_sync(fixture->store);
    fixture_run(fixture, false);
    assert_int_equal(fixture->synced, 2);
    fixture_done(fixture);
    free(fixture);
}

/* A long entry is spilled over several segments; without its frame it never happened. */
static void an_entry_without_its_frame_is_undone(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    fixture_open(fixture);
    fixture_changes(fixture, 100);
    fixture_flush(fixture);
    struct model *before = malloc(sizeof(*before));
    *before = fixture->model;
    for (int round = 0; round < 2; round++) {
        fixture_changes(fixture, 1000);
        stage_store_spill(fixture->store, fixture->model.seq);
        fixture_run(fixture, false);
        assert_int_equal(fixture->status.written_seq, fixture->model.seq);
        assert_int_equal(fixture->status.written_index, before->index);
        assert_true(revlog_table(fixture->log)->count > 5);
        fixture_close(fixture);
        fixture->model = *before;
        fixture_open(fixture);
        assert_int_equal(fixture->recovery.frame.seq, before->seq);
        assert_int_equal(fixture->recovery.frame.index, before->index);
        assert_int_equal(fixture_file_count(fixture, ".seg"), revlog_table(fixture->log)->count);
        fixture_assert_log(fixture, before->seq);
    }
    /* With its frame it did. */
    fixture_changes(fixture, 1000);
    stage_store_spill(fixture->store, fixture->model.seq);
    fixture_run(fixture, false);
    fixture_changes(fixture, 10);
    fixture_flush(fixture);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.frame.seq, before->seq + 1010);
    fixture_assert_log(fixture, fixture->model.seq);
    free(before);
    fixture_done(fixture);
    free(fixture);
}

/* The core asks for the frame before a long entry each time that it spills more of the entry. */
static void an_entry_is_spilled_in_pieces(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    fixture_open(fixture);
    fixture_changes(fixture, 50);
    struct mvcc_frame before = fixture_frame(fixture);
    for (int i = 0; i < 10; i++) {
        stage_store_flush(fixture->store, &before);
        fixture_changes(fixture, 100);
        stage_store_spill(fixture->store, fixture->model.seq);
        if (i % 3)
            fixture_run(fixture, false);
    }
    assert_int_equal(fixture->status.written_index, before.index);
    fixture_flush(fixture);
    assert_int_equal(fixture->status.written_index, fixture->model.index);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.frame.seq, 1050);
    fixture_assert_log(fixture, 1050);
    fixture_done(fixture);
    free(fixture);
}

static void another_store_is_refused(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 16384);
    fixture_open(fixture);
    fixture_changes(fixture, 500);
    fixture_flush(fixture);
    fixture_close(fixture);
    struct revlog_fault fault;
    fixture->config.owner.member_id++;
    assert_true(err_is(fixture_try_open(fixture, &fault), ERR_MISMATCH));
    epoch_done(&fixture->epoch);
    fixture->config.owner.member_id--;
    fixture_open(fixture);
    fixture_assert_log(fixture, 500);
    fixture_done(fixture);
    free(fixture);
}

/* The thread itself, with the core's half here: everything arrives, in order, and stop loses
 * nothing. */
static void the_thread_writes_and_stops(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 1 << 18);
    fixture->config.checkpoint_bytes = 1 << 18;
    fixture_open(fixture);
    assert_true(err_ok(stage_store_start(fixture->store)));
    for (int i = 0; i < 200; i++) {
        fixture_changes(fixture, 100);
        struct mvcc_frame frame = fixture_frame(fixture);
        stage_store_flush(fixture->store, &frame);
        uint64_t before = fixture->status.written_seq;
        fixture_settle(fixture);
        assert_true(fixture->status.written_seq >= before);
    }
    stage_store_stop(fixture->store);
    fixture_settle(fixture);
    assert_int_equal(fixture->status.written_seq, fixture->model.seq);
    assert_int_equal(fixture->status.synced_index, fixture->model.index);
    fixture_assert_log(fixture, fixture->model.seq);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.frame.index, fixture->model.index);
    fixture_assert_log(fixture, fixture->model.seq);
    fixture_done(fixture);
    free(fixture);
}

static void directories_are_found_by_index(void **state)
{
    char parent[] = "/tmp/store-dirs-XXXXXX";
    assert_non_null(mkdtemp(parent));
    static const char *const names[] = {"0000000000000000", "0000000000000010", "00000000000000ff",
                                        "garbage"};
    for (unsigned i = 0; i < 4; i++) {
        char path[100];
        (void)snprintf(path, sizeof(path), "%s/%s", parent, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        (void)snprintf(path, sizeof(path), "%s/%s/file", parent, names[i]);
        fclose(fopen(path, "w"));
    }
    uint64_t index;
    assert_true(err_ok(stage_store_find(&io_fs_real, parent, UINT64_MAX, &index)));
    assert_int_equal(index, 0xff);
    assert_true(err_ok(stage_store_find(&io_fs_real, parent, 0xfe, &index)));
    assert_int_equal(index, 0x10);
    assert_true(err_ok(stage_store_remove_others(&io_fs_real, parent, 0x10)));
    assert_true(err_ok(stage_store_find(&io_fs_real, parent, UINT64_MAX, &index)));
    assert_int_equal(index, 0x10);
    assert_true(err_is(stage_store_find(&io_fs_real, parent, 0xf, &index), ERR_NOT_FOUND));
    char path[100];
    for (unsigned i = 1; i < 4; i += 2) {
        (void)snprintf(path, sizeof(path), "%s/%s", parent, names[i]);
        fixture_dir_empty(path);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(rmdir(parent), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_store_opens_empty),
        cmocka_unit_test(flushed_changes_survive),
        cmocka_unit_test(records_larger_than_a_segment_find_room),
        cmocka_unit_test(frames_alone_take_one_segment),
        cmocka_unit_test(sync_is_answered),
        cmocka_unit_test(an_entry_without_its_frame_is_undone),
        cmocka_unit_test(an_entry_is_spilled_in_pieces),
        cmocka_unit_test(another_store_is_refused),
        cmocka_unit_test(the_thread_writes_and_stops),
        cmocka_unit_test(directories_are_found_by_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
