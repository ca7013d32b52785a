/* Checkpoints and cleaning: contents stay, what is dead goes, deletions are never undone. */
#include "store_fixture.h"

static struct fixture *fixture_new(uint64_t segment_bytes)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, segment_bytes);
    fixture->config.source = &fixture->source;
    fixture_open(fixture);
    return fixture;
}

static void sync_now(struct fixture *fixture)
{
    fixture_flush(fixture);
    stage_store_sync(fixture->store);
    fixture_run(fixture, false);
    assert_int_equal(fixture->status.synced_seq, fixture->model.seq);
}

static void restart(struct fixture *fixture)
{
    fixture_close(fixture);
    fixture_open(fixture);
}

/* Compacts again as the core does after a start, from where its checkpoint stood. */
static void resweep(struct fixture *fixture, uint64_t from)
{
    uint64_t floor = fixture->model.floor;
    fixture->model.floor = from;
    fixture_sweep(fixture, floor);
}

static unsigned deletions_there(struct fixture *fixture)
{
    unsigned count = 0;
    struct revlog_rows rows;
    revlog_rows_begin(&rows, fixture->log, 1, fixture->model.floor);
    for (;;) {
        struct revlog_row row;
        bool found;
        assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
        if (!found)
            return count;
        count += row.death;
    }
}

static unsigned deletions_made(const struct fixture *fixture)
{
    unsigned count = 0;
    for (uint64_t seq = 1; seq <= fixture->model.floor; seq++)
        count += fixture->model.changes[seq].kind == MVCC_TOMBSTONE;
    return count;
}

/* The next checkpoint is due after so little. */
static void checkpoint_now(struct fixture *fixture)
{
    fixture_close(fixture);
    fixture->config.checkpoint_bytes = 1;
    fixture_open(fixture);
    resweep(fixture, 0);
    fixture_changes(fixture, 5);
    sync_now(fixture);
    unsigned before = fixture_file_count(fixture, ".checkpoint");
    while (stage_store_work(fixture->store) && fixture_file_count(fixture, ".checkpoint") == before)
        stage_store_finish(fixture->store);
    stage_store_finish(fixture->store);
    fixture_settle(fixture);
    fixture_close(fixture);
    fixture->config.checkpoint_bytes = (uint64_t)1 << 40;
    fixture_open(fixture);
}

static void cleaning_drops_only_what_is_dead(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    unsigned gone = 0;
    for (int round = 0; round < 6; round++) {
        fixture_changes(fixture, 1500);
        sync_now(fixture);
        fixture_sweep(fixture, fixture->model.seq - 200);
        fixture_run(fixture, true);
        unsigned now = fixture_assert_log(fixture, fixture->model.seq);
        assert_true(now > gone + 500);
        gone = now;
        fixture_assert_dead(fixture, fixture->model.seq);
        struct revlog_sizes sizes;
        revlog_sizes(fixture->log, &sizes);
        assert_true(sizes.size_bytes <=
                    2 * sizes.in_use_bytes + 4 * 16384 + 48 * deletions_there(fixture) * 2);
        assert_true(sizes.in_use_bytes <= sizes.size_bytes);
        restart(fixture);
        assert_int_equal(fixture_assert_log(fixture, fixture->model.seq), gone);
        resweep(fixture, 0);
        fixture_assert_dead(fixture, fixture->model.seq);
    }
    /* The files are those of the table, nothing is left behind. */
    assert_int_equal(fixture_file_count(fixture, ".seg"), revlog_table(fixture->log)->count);
    assert_int_equal(fixture_file_count(fixture, ".row"), revlog_table(fixture->log)->count - 1);
    fixture_done(fixture);
    free(fixture);
}

static void checkpoint_round_trip_over_restarts(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    for (int round = 0; round < 4; round++) {
        fixture_changes(fixture, 1000);
        sync_now(fixture);
        fixture_sweep(fixture, fixture->model.seq - 100);
        fixture_run(fixture, true);
        checkpoint_now(fixture);
        assert_non_null(fixture->recovery.checkpoint);
        assert_int_equal(fixture->recovery.replay_from, fixture->model.seq + 1);
        unsigned want = round < 1 ? 1 : 2;
        assert_int_equal(fixture_file_count(fixture, ".checkpoint"), want);
        /* All marks of the sweep are back without sweeping. */
        fixture_assert_dead(fixture, fixture->model.floor);
    }
    fixture_done(fixture);
    free(fixture);
}

/* A start behind a fresh checkpoint has next to nothing new, however long the last segment is. */
static void a_start_writes_no_checkpoint_for_what_has_one(void **state)
{
    struct fixture *fixture = fixture_new(1 << 20);
    fixture_changes(fixture, 2000);
    sync_now(fixture);
    checkpoint_now(fixture);
    uint64_t seq = fixture->model.seq;
    fixture_changes(fixture, 1);
    sync_now(fixture);
    fixture_close(fixture);
    fixture->config.checkpoint_bytes = 10000;
    fixture_open(fixture);
    while (stage_store_work(fixture->store))
        ;
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.replay_from, seq + 1);
    assert_int_equal(fixture_file_count(fixture, ".checkpoint"), 1);
    fixture_done(fixture);
    free(fixture);
}

static void checkpoint_gives_back_the_heads(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    fixture_changes(fixture, 1000);
    sync_now(fixture);
    checkpoint_now(fixture);
    fixture_close(fixture);
    struct revlog_fault fault;
    assert_true(err_ok(fixture_try_open(fixture, &fault)));
    struct checkpoint_reader *reader = fixture->recovery.checkpoint;
    assert_non_null(reader);
    checkpoint_reader_heads(reader);
    unsigned count = 0;
    for (;;) {
        struct checkpoint_head head;
        bool found;
        assert_true(err_ok(checkpoint_reader_head(reader, &head, &found)));
        if (!found)
            break;
        unsigned key = (unsigned)strtoul((const char *)head.key.data + 4, NULL, 10);
        assert_int_equal(head.seq, fixture->model.keys[key]);
        assert_int_equal(head.version, fixture->model.live[key]);
        count++;
    }
    assert_int_equal(count, MODEL_KEYS);
    fixture_loaded(fixture);
    fixture_done(fixture);
    free(fixture);
}

/* Deletions go only behind two checkpoints; and whatever goes, a rebuild from the segments alone
 * brings no deleted key back. */
static void deletions_are_never_undone(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    for (int round = 0; round < 10; round++) {
        fixture_changes(fixture, 1200);
        sync_now(fixture);
        uint64_t floor = fixture->model.seq - prng_below(&fixture->model.prng, 600);
        fixture_sweep(fixture, floor);
        fixture_run(fixture, true);
        if (fixture_file_count(fixture, ".checkpoint") < 2)
            assert_int_equal(deletions_there(fixture), deletions_made(fixture));
        if (round % 2)
            checkpoint_now(fixture);
        /* Both checkpoints lost: seen on a copy of the directory. */
        fixture_close(fixture);
        char copy[] = "/tmp/store-copy-XXXXXX";
        char own[sizeof(fixture->dir)];
        memcpy(own, fixture->dir, sizeof(own));
        assert_non_null(mkdtemp(copy));
        fixture_copy(own, copy, ".checkpoint");
        memcpy(fixture->dir, copy, sizeof(copy));
        fixture_open(fixture);
        assert_null(fixture->recovery.checkpoint);
        fixture_assert_rebuild(fixture);
        fixture_close(fixture);
        fixture_dir_empty(copy);
        rmdir(copy);
        memcpy(fixture->dir, own, sizeof(own));
        fixture_open(fixture);
        resweep(fixture, 0);
    }
    assert_true(deletions_there(fixture) < deletions_made(fixture) / 2); /* they do go */
    fixture_done(fixture);
    free(fixture);
}

static bool is_there(struct fixture *fixture, uint64_t seq)
{
    struct revlog_rows rows;
    struct revlog_row row;
    bool found;
    revlog_rows_begin(&rows, fixture->log, seq, seq);
    assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
    return found;
}

static uint64_t follower_of(const struct fixture *fixture, uint64_t seq)
{
    for (uint64_t next = seq + 1; next <= fixture->model.seq; next++)
        if (fixture->model.changes[next].key == fixture->model.changes[seq].key)
            return next;
    return 0;
}

/* Where what superseded a change is gone, nothing but the change's own bit says that it is dead;
 * so the bit is there after a start that sweeps nothing. */
static void what_cleaning_dropped_is_still_superseded(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    unsigned orphans = 0;
    for (int round = 0; round < 6; round++) {
        fixture_changes(fixture, 800);
        sync_now(fixture);
        fixture_sweep(fixture, fixture->model.seq - prng_below(&fixture->model.prng, 300));
        fixture_run(fixture, true);
        restart(fixture);
        for (uint64_t seq = 1; seq <= fixture->model.seq; seq++) {
            uint64_t next = follower_of(fixture, seq);
            if (!next || is_there(fixture, next) || !is_there(fixture, seq))
                continue;
            struct revlog_rows rows;
            struct revlog_row row;
            bool found;
            revlog_rows_begin(&rows, fixture->log, seq, seq);
            assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
            assert_true(row.dead);
            orphans++;
        }
        resweep(fixture, 0);
    }
    assert_true(orphans > 0);
    fixture_done(fixture);
    free(fixture);
}

/* A segment that has nothing but its end mark is as small as it gets. */
static void cleaning_comes_to_rest(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    for (int round = 0; round < 4; round++) {
        fixture_changes(fixture, 700);
        sync_now(fixture);
        fixture_sweep(fixture, fixture->model.seq);
        unsigned works = 0;
        while (stage_store_begin(fixture->store) || stage_store_work(fixture->store)) {
            stage_store_finish(fixture->store);
            fixture_settle(fixture);
            assert_true(++works < 3000);
        }
        stage_store_finish(fixture->store);
        fixture_settle(fixture);
    }
    fixture_done(fixture);
    free(fixture);
}

static void defragment_seals_and_cleans(void **state)
{
    struct fixture *fixture = fixture_new(1 << 20);
    fixture_changes(fixture, 2000);
    sync_now(fixture);
    fixture_sweep(fixture, 400); /* far less than half is dead */
    fixture_run(fixture, true);
    assert_int_equal(fixture_assert_log(fixture, 2000), 0);
    struct revlog_sizes before, after;
    revlog_sizes(fixture->log, &before);
    stage_store_defragment(fixture->store);
    fixture_run(fixture, true);
    assert_int_equal(fixture->defragmented, 1);
    assert_int_equal(fixture->cleaned, 1);
    assert_true(fixture_assert_log(fixture, 2000) > 100);
    revlog_sizes(fixture->log, &after);
    assert_true(after.size_bytes < before.size_bytes);
    stage_store_defragment(fixture->store); /* nothing to do: answered all the same */
    fixture_run(fixture, true);
    assert_int_equal(fixture->cleaned, 2);
    fixture_changes(fixture, 10);
    fixture_flush(fixture);
    restart(fixture);
    fixture_assert_log(fixture, 2010);
    fixture_done(fixture);
    free(fixture);
}

/* Flips a bit in a record; its file's name is given back. */
static void record_rots(const struct fixture *fixture, const struct segment *segment, uint32_t row,
                        char name[SEGMENT_NAME_BYTES])
{
    char path[200];
    segment_name_print(&segment->name, ".seg", name);
    (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    long at = (long)segment_row_at(segment, row)->offset8 * 8 + 50;
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
    assert_int_equal(fclose(file), 0);
}

/* A damaged record in what is cleaned: said with its place, nothing lost or laundered. */
static void cleaning_does_not_launder_rot(void **state)
{
    struct fixture *fixture = fixture_new(16384);
    fixture_changes(fixture, 1500);
    sync_now(fixture);
    const struct segment *first = revlog_table(fixture->log)->segments[0];
    char name[SEGMENT_NAME_BYTES];
    fixture_sweep(fixture, 1400);
    /* the last record of it that is not dead */
    uint64_t seq = first->name.last;
    while (fixture->model.changes[seq].dead && fixture->model.changes[seq].kind == MVCC_PUT)
        seq--;
    assert_true(seq >= first->name.first);
    record_rots(fixture, first, segment_row_find(first, seq), name);
    bool told = false;
    for (bool more = true; more;) {
        more = stage_store_begin(fixture->store) || stage_store_work(fixture->store);
        stage_store_finish(fixture->store);
        fixture_settle(fixture);
        if (fixture->status.fault.seq) {
            assert_int_equal(fixture->status.fault.seq, seq);
            assert_string_equal(fixture->status.fault.file, name);
            told = true;
        }
    }
    assert_true(told);
    stage_store_defragment(fixture->store);
    fixture_run(fixture, true);
    assert_int_equal(fixture->cleaned, 1);
    struct mvcc_record record;
    struct revlog_fault fault;
    assert_true(err_is(revlog_read(fixture->log, seq, &record, &fault), ERR_CORRUPT));
    assert_int_equal(fault.seq, seq);
    assert_string_equal(fault.file, name);
    assert_true(err_ok(revlog_read(fixture->log, 1500, &record, &fault)));
    fixture_done(fixture);
    free(fixture);
}

/* No frame says that the newest flush was durable, so that damage in it passes for a torn write,
 * and the log replays what is lost: but not where a cleaning has let go of what that superseded. */
static void rot_in_what_a_cleaning_relied_on_is_refused(void **state)
{
    for (unsigned cleans = 0; cleans < 2; cleans++) {
        struct fixture *fixture = fixture_new(16384);
        fixture_changes(fixture, 1500);
        sync_now(fixture);
        uint64_t before = fixture->model.seq;
        fixture_changes(fixture, 3);
        sync_now(fixture);
        if (cleans) {
            fixture_sweep(fixture, fixture->model.seq);
            fixture_run(fixture, true);
            assert_true(fixture_assert_log(fixture, fixture->model.seq) > 500);
        }
        char name[SEGMENT_NAME_BYTES];
        const struct segment_table *table = revlog_table(fixture->log);
        const struct segment *last = table->segments[table->count - 1];
        uint32_t newest = segment_row_count(last) - 1;
        assert_int_equal(segment_row_seq(last, newest), fixture->model.seq);
        record_rots(fixture, last, newest, name);
        fixture_close(fixture);
        struct revlog_fault fault;
        err e = fixture_try_open(fixture, &fault);
        if (cleans) {
            assert_true(err_is(e, ERR_CORRUPT));
            assert_string_equal(fault.file, name);
            assert_int_equal(fault.seq, before + 1);
            epoch_done(&fixture->epoch);
        } else {
            assert_true(err_ok(e));
            assert_int_equal(fixture->recovery.frame.seq, before);
            fixture_loaded(fixture);
        }
        fixture_done(fixture);
        free(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaning_drops_only_what_is_dead),
        cmocka_unit_test(checkpoint_round_trip_over_restarts),
        cmocka_unit_test(a_start_writes_no_checkpoint_for_what_has_one),
        cmocka_unit_test(checkpoint_gives_back_the_heads),
        cmocka_unit_test(deletions_are_never_undone),
        cmocka_unit_test(what_cleaning_dropped_is_still_superseded),
        cmocka_unit_test(cleaning_comes_to_rest),
        cmocka_unit_test(defragment_seals_and_cleans),
        cmocka_unit_test(cleaning_does_not_launder_rot),
        cmocka_unit_test(rot_in_what_a_cleaning_relied_on_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
