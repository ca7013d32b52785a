/* The log stage on the system's files: what a member relies on across restarts, full disks and
 * failed syncs. */
#include "log_fixture.h"

#include "wal/raft_codec.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static void a_new_log_holds_what_it_was_made_with(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    assert_true(bytes_equal(f->recovery.metadata, bytes_of(metadata_bytes, METADATA_BYTES)));
    assert_int_equal(f->recovery.state.term, 1);
    assert_int_equal(f->recovery.state.vote, 7);
    assert_int_equal(f->recovery.first_index, 1);
    assert_int_equal(f->recovery.last_index, 0);
    assert_int_equal(f->recovery.cut_bytes, 0);
    bool exists = false;
    assert_ok(stage_log_exists(&f->fs, f->dir, &exists));
    assert_true(exists);
    assert_err(stage_log_create(&f->config, &(struct stage_log_bootstrap){0}), ERR_EXISTS);
}

static void what_was_completed_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    assert_ok(stage_log_start(f->log));
    for (uint64_t i = 1; i <= 500; i++)
        submit_entry(f, i, 1, 100 + i);
    wait_done(f, 500);
    for (uint64_t i = 1; i <= 500; i++)
        assert_entry_reads(f, i, 1, 100 + i);
    log_close(f);
    assert_true(segments_on_disk(f) > 2);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 500);
    assert_int_equal(f->recovery.last_term, 1);
    assert_int_equal(f->recovery.state.commit, 499);
    assert_int_equal(f->recovery.cut_bytes, 0);
    for (uint64_t i = 1; i <= 500; i++)
        assert_entry_reads(f, i, 1, 100 + i);
    submit_entry(f, 501, 2, 10);
    steps_run(f);
    assert_entry_reads(f, 501, 2, 10);
}

static void batches_that_gather_behind_a_sync_share_the_next(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    assert_ok(stage_log_start(f->log));
    faults_set(&faults.hold_sync, true);
    submit_entry(f, 1, 1, 10);
    pthread_mutex_lock(&faults.lock);
    while (!faults.sync_waits)
        pthread_cond_wait(&faults.changed, &faults.lock);
    unsigned writes = faults.writes, syncs = faults.syncs;
    pthread_mutex_unlock(&faults.lock);
    for (uint64_t i = 2; i <= 100; i++)
        submit_entry(f, i, 1, 10);
    assert_null(mailbox_take(&f->completions)); /* nothing is vouched for before its sync */
    faults_set(&faults.hold_sync, false);
    wait_done(f, 100);
    pthread_mutex_lock(&faults.lock);
    assert_int_equal(faults.writes - writes, 1);
    assert_int_equal(faults.syncs - syncs, 1);
    pthread_mutex_unlock(&faults.lock);
    log_close(f);
}

static void an_overwritten_entry_stays_overwritten(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    f->commit_end = 5;
    for (uint64_t i = 1; i <= 10; i++)
        submit_entry(f, i, 1, 50);
    submit_entry(f, 6, 2, 60);
    steps_run(f);
    assert_int_equal(stage_log_last_index(f->log), 6);
    assert_entry_reads(f, 6, 2, 60);
    log_close(f);
    assert_ok(stage_log_open(&f->config, &f->log, &f->recovery, &f->fault));
    assert_int_equal(f->recovery.last_index, 6);
    assert_int_equal(f->recovery.last_term, 2);
    assert_entry_reads(f, 5, 1, 50); /* what a start decides by is there before it prepares */
    assert_entry_reads(f, 6, 2, 60);
}

static void released_segments_go_when_nothing_is_lent_from_them(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    uint64_t last = 400;
    for (uint64_t i = 1; i <= last; i++)
        submit_entry(f, i, 1, 1000);
    steps_run(f);
    unsigned before = segments_on_disk(f);
    assert_true(before >= 6);
    struct raft_entry lent;
    size_t count;
    assert_ok(stage_log_entries(f->log, 2, 3, 0, 1, &lent, &count));
    stage_log_release(f->log, 300);
    assert_err(stage_log_entries(f->log, 300, 301, 0, 1, &lent + 0, &count), ERR_COMPACTED_LOG);
    steps_run(f);
    assert_int_equal(segments_on_disk(f), before);
    assert_int_equal(lent.data.data[999], 2);
    raft_blob_unref(lent.blob);
    submit_entry(f, last + 1, 1, 10);
    steps_run(f); /* settles, and sees that nothing is lent any more */
    steps_run(f);
    assert_true(segments_on_disk(f) <= before - 4);
    assert_int_equal(stage_log_first_index(f->log), 301);
    uint64_t term = 0;
    assert_ok(stage_log_term(f->log, 300, &term));
    assert_int_equal(term, 1);
    assert_entry_reads(f, 301, 1, 1000);
    log_close(f);
    log_open(f);
    assert_true(f->recovery.first_index <= 301);
    assert_int_equal(f->recovery.last_index, last + 1);
}

static void a_second_process_is_kept_out(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    struct stage_log *other;
    struct stage_log_recovery recovery;
    struct wal_fault fault;
    assert_err(stage_log_open(&f->config, &other, &recovery, &fault), ERR_LOCKED);
}

static void first_segment(const struct fixture *f, char ret_path[256])
{
    char name[WAL_NAME_BYTES];
    wal_name_format((struct wal_name){0, 0}, name);
    (void)snprintf(ret_path, 256, "%s/%s", f->dir, name);
}

static void a_torn_tail_is_cut_and_kept_aside(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    for (uint64_t i = 1; i <= 3; i++) {
        submit_entry(f, i, 1, 2000);
        steps_run(f);
    }
    uint64_t end = stage_log_bytes(f->log);
    stage_log_free(f->log); /* no mark behind the last batch: as after a power cut */
    f->log = NULL;
    char path[256], broken[300];
    first_segment(f, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t zeros[600] = {0};
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), (off_t)(end - 1200)), sizeof(zeros));
    close(fd);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 2);
    assert_true(f->recovery.cut_bytes > 600);
    assert_non_null(f->recovery.cut.what);
    (void)snprintf(broken, sizeof(broken), "%s.broken", path);
    struct stat st;
    assert_int_equal(stat(broken, &st), 0);
    assert_true((uint64_t)st.st_size >= end - 8);
    submit_entry(f, 3, 2, 30);
    steps_run(f);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 3);
    assert_int_equal(f->recovery.cut_bytes, 0);
    assert_entry_reads(f, 3, 2, 30);
}

static void damage_before_a_mark_is_refused_by_file_offset_and_index(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    for (uint64_t i = 1; i <= 3; i++) {
        submit_entry(f, i, 1, 2000);
        steps_run(f);
    }
    uint64_t end = stage_log_bytes(f->log);
    stage_log_mark(f->log);
    stage_log_free(f->log);
    f->log = NULL;
    char path[256];
    first_segment(f, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "\0\0\0\0", 4, (off_t)(end - 1200)), 4);
    close(fd);
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    assert_err(stage_log_open(&f->config, &f->log, &f->recovery, &f->fault), ERR_CORRUPT);
    f->log = NULL;
    assert_int_equal(f->fault.segment.sequence, 0);
    assert_int_equal(f->fault.index, 2);
    assert_true(f->fault.offset > 4000 && f->fault.offset < end);
    assert_non_null(f->fault.what);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec); /* the evidence stays */
}

static void rot_under_an_old_entry_is_seen_when_it_is_read(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    submit_entry(f, 1, 1, 2000);
    submit_entry(f, 2, 1, 2000);
    steps_run(f);
    char path[256];
    first_segment(f, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 1500), 1);
    close(fd);
    struct raft_entry entry;
    size_t count;
    assert_err(stage_log_entries(f->log, 1, 2, 0, 1, &entry, &count), ERR_CORRUPT);
    assert_int_equal(stage_log_read_fault(f->log).index, 1);
    assert_entry_reads(f, 2, 1, 2000);
}

static void a_failed_sync_ends_the_process(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    submit_entry(f, 1, 1, 10);
    assert_true(stage_log_begin(f->log));
    faults_set(&faults.fail_sync, true);
    fatal_what = NULL;
    if (!setjmp(fatal_exit)) {
        stage_log_finish(f->log);
        fail_msg("the stage went on after a failed sync");
    }
    assert_string_equal(fatal_what, "fdatasync");
    assert_null(mailbox_take(&f->completions));
    faults_set(&faults.fail_sync, false);
    stage_log_finish(f->log); /* only so that the batch comes back to be freed */
    completions_take(f);
}

static void a_full_disk_is_said_and_batches_wait_for_room(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    faults_set(&faults.no_room, true);
    uint64_t index = 0;
    while (f->done_batch == index && index < 200) {
        submit_entry(f, ++index, 1, 1000);
        steps_run(f);
    }
    assert_true(index > 50 && index < 80); /* the open segment's room was used up */
    assert_int_equal(f->full_replies, 1);
    assert_true(stage_log_is_full(f->log));
    faults_set(&faults.no_room, false);
    steps_run(f);
    assert_int_equal(f->done_batch, index);
    assert_false(stage_log_is_full(f->log));
    assert_int_equal(f->room_replies, 1);
    assert_entry_reads(f, index, 1, 1000);
}

static void an_installed_snapshot_replaces_the_log(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    for (uint64_t i = 1; i <= 5; i++)
        submit_entry(f, i, 1, 100);
    struct stage_log_batch *batch = stage_log_batch_new(0);
    uint8_t conf[] = {0x08, 0x07, 0x28, 0x00};
    batch->id = ++f->next_batch;
    batch->has_snapshot = true;
    batch->snapshot = (struct wal_snapshot){100, 3, bytes_of(conf, sizeof(conf))};
    batch->has_state = true;
    batch->state = (struct raft_hard_state){3, 7, 100};
    stage_log_submit(f->log, batch);
    submit_entry(f, 101, 3, 100);
    steps_run(f);
    assert_int_equal(stage_log_first_index(f->log), 101);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.first_index, 101);
    assert_int_equal(f->recovery.last_index, 101);
    assert_int_equal(f->recovery.snapshot.index, 100);
    assert_int_equal(f->recovery.snapshot.term, 3);
    assert_true(bytes_equal(f->recovery.snapshot.conf_state, bytes_of(conf, sizeof(conf))));
    assert_entry_reads(f, 101, 3, 100);
}

static void submit_commit(struct fixture *f, uint64_t term, uint64_t commit)
{
    struct stage_log_batch *batch = stage_log_batch_new(0);
    batch->id = ++f->next_batch;
    batch->has_state = true;
    batch->state = (struct raft_hard_state){.term = term, .vote = 7, .commit = commit};
    stage_log_submit(f->log, batch);
}

static void a_commit_alone_waits_for_the_next_batch(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    f->commit_end = 0;
    submit_entry(f, 1, 1, 100);
    steps_run(f);
    unsigned writes = faults.writes;
    submit_commit(f, 1, 1);
    completions_take(f);
    assert_int_equal(f->done_batch, 2);
    assert_false(stage_log_begin(f->log));
    assert_int_equal(faults.writes, writes);

    /* One that brings no state of its own takes it along. */
    struct stage_log_batch *batch = stage_log_batch_new(1);
    struct raft_entry entry = {.term = 1, .index = 2};
    entry.blob = raft_blob_copy(BYTES_LIT("two"), &entry.data);
    stage_log_batch_add(batch, &entry);
    raft_blob_unref(entry.blob);
    batch->id = ++f->next_batch;
    batch->must_sync = true;
    stage_log_submit(f->log, batch);
    /* Behind one that is under way it keeps its place. */
    submit_commit(f, 1, 2);
    completions_take(f);
    assert_int_equal(f->done_batch, 2);
    steps_run(f);
    assert_int_equal(f->done_batch, 4);
    stage_log_free(f->log);
    log_open(f);
    assert_int_equal(f->recovery.state.commit, 2);
}

static void a_late_commit_is_lost_by_a_crash_alone(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    f->commit_end = 0;
    submit_entry(f, 1, 1, 100);
    steps_run(f);
    submit_commit(f, 1, 1);
    completions_take(f);
    stage_log_free(f->log); /* as after a crash */
    log_open(f);
    assert_int_equal(f->recovery.state.commit, 0);
    assert_int_equal(f->recovery.last_index, 1);

    submit_commit(f, 1, 1);
    completions_take(f);
    assert_ok(stage_log_start(f->log));
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.state.commit, 1);
}

static void many_entries_are_bounded_by_bytes_and_room(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    for (uint64_t i = 1; i <= 20; i++)
        submit_entry(f, i, 1, 1000);
    steps_run(f);
    struct raft_entry entries[20];
    size_t count;
    assert_ok(stage_log_entries(f->log, 1, 21, 5 * 1100, 20, entries, &count));
    assert_int_equal(count, 5);
    raft_entries_unref(entries, count);
    assert_ok(stage_log_entries(f->log, 1, 21, UINT64_MAX, 7, entries, &count));
    assert_int_equal(count, 7);
    raft_entries_unref(entries, count);
    assert_ok(stage_log_entries(f->log, 3, 21, 0, 20, entries, &count));
    assert_int_equal(count, 1);
    raft_entries_unref(entries, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_new_log_holds_what_it_was_made_with),
        T(what_was_completed_is_there_after_a_restart),
        T(batches_that_gather_behind_a_sync_share_the_next),
        T(an_overwritten_entry_stays_overwritten),
        T(released_segments_go_when_nothing_is_lent_from_them),
        T(a_second_process_is_kept_out),
        T(a_torn_tail_is_cut_and_kept_aside),
        T(damage_before_a_mark_is_refused_by_file_offset_and_index),
        T(rot_under_an_old_entry_is_seen_when_it_is_read),
        T(a_failed_sync_ends_the_process),
        T(a_full_disk_is_said_and_batches_wait_for_room),
        T(an_installed_snapshot_replaces_the_log),
        T(a_commit_alone_waits_for_the_next_batch),
        T(a_late_commit_is_lost_by_a_crash_alone),
        T(many_entries_are_bounded_by_bytes_and_room),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
