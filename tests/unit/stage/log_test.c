/* The log stage on the system's files: what a member relies on across restarts, full disks and
 * failed syncs. */
#include "stage/log.h"

#include "base/check.h"
#include "wal/raft_codec.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))

/* ---- files whose calls can be held up or made to fail -----------------------------------------
 */

struct faults {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold_sync;  /* sync_data waits while this is set */
    bool sync_waits; /* one does */
    bool fail_sync;  /* ERR_IO */
    bool no_room;    /* allocate fails */
    unsigned writes, syncs;
    /* A cut and a release are interleaved: the release's first removal waits for the cut to write
     * the new segment's head, and that waits for the release's next step. */
    bool interleave;
    bool cuts;
    unsigned removals;
};

static struct faults faults = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

static err faulty_write(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset)
{
    pthread_mutex_lock(&faults.lock);
    faults.writes++;
    pthread_mutex_unlock(&faults.lock);
    return io_fs_real.write(ctx, file, iov, count, offset);
}

static err faulty_sync_data(void *ctx, int file)
{
    pthread_mutex_lock(&faults.lock);
    faults.syncs++;
    bool fail = faults.fail_sync;
    faults.sync_waits = faults.hold_sync;
    pthread_cond_broadcast(&faults.changed);
    while (faults.hold_sync)
        pthread_cond_wait(&faults.changed, &faults.lock);
    faults.sync_waits = false;
    pthread_mutex_unlock(&faults.lock);
    return fail ? ERR_IO : io_fs_real.sync_data(ctx, file);
}

static err faulty_allocate(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    pthread_mutex_lock(&faults.lock);
    bool fail = faults.no_room;
    pthread_mutex_unlock(&faults.lock);
    return fail ? ERR_DISK_FULL : io_fs_real.allocate(ctx, file, flags, offset, len);
}

static bool is_log_thread(void)
{
    char name[16];
    return pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 && strcmp(name, "log") == 0;
}

static void removal_step(void)
{
    pthread_mutex_lock(&faults.lock);
    if (faults.interleave) {
        faults.removals++;
        pthread_cond_broadcast(&faults.changed);
        while (faults.interleave && !faults.cuts)
            pthread_cond_wait(&faults.changed, &faults.lock);
    }
    pthread_mutex_unlock(&faults.lock);
}

static err faulty_unlink(void *ctx, int dir, const char *path)
{
    removal_step();
    return io_fs_real.unlink(ctx, dir, path);
}

static err faulty_rename(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    err e = io_fs_real.rename(ctx, from_dir, from, to_dir, to);
    if (!is_log_thread())
        removal_step();
    return e;
}

static err faulty_sync(void *ctx, int file)
{
    pthread_mutex_lock(&faults.lock);
    if (faults.interleave && is_log_thread()) {
        faults.cuts = true;
        pthread_cond_broadcast(&faults.changed);
        while (faults.removals < 2)
            pthread_cond_wait(&faults.changed, &faults.lock);
        faults.interleave = false;
    }
    pthread_mutex_unlock(&faults.lock);
    return io_fs_real.sync(ctx, file);
}

static void faults_set(bool *which, bool value)
{
    pthread_mutex_lock(&faults.lock);
    *which = value;
    pthread_cond_broadcast(&faults.changed);
    pthread_mutex_unlock(&faults.lock);
}

/* ---- a log in a directory of its own ------------------------------------------------------------
 */

static jmp_buf fatal_exit;
static const char *fatal_what;

static void on_fatal(void *ctx, const char *what, const char *file, err e)
{
    fatal_what = what;
    longjmp(fatal_exit, 1);
}

struct fixture {
    char root[64];
    char dir[128];
    struct io_fs fs;
    struct mailbox completions;
    struct stage_log_config config;
    struct stage_log *log;
    struct stage_log_recovery recovery;
    struct wal_fault fault;
    uint64_t commit;     /* of the last state */
    uint64_t commit_end; /* entries from here on commit nothing */
    uint64_t next_batch;
    uint64_t done_batch;
    unsigned full_replies, room_replies;
};

static const uint8_t metadata_bytes[] = {0x08, 0x2a, 0x10, 0x07};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->root, sizeof(f->root), "/tmp/coracle-log-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    (void)snprintf(f->dir, sizeof(f->dir), "%s/wal", f->root);
    faults.hold_sync = faults.fail_sync = faults.no_room = false;
    faults.writes = faults.syncs = faults.removals = 0;
    faults.interleave = faults.cuts = false;
    f->commit_end = UINT64_MAX;
    f->fs = io_fs_real;
    f->fs.write = faulty_write;
    f->fs.sync_data = faulty_sync_data;
    f->fs.allocate = faulty_allocate;
    f->fs.unlink = faulty_unlink;
    f->fs.rename = faulty_rename;
    f->fs.sync = faulty_sync;
    mailbox_init(&f->completions, NULL, NULL);
    f->config = (struct stage_log_config){.fs = &f->fs,
                                          .dir = f->dir,
                                          .segment_bytes = 64 << 10,
                                          .completions = &f->completions,
                                          .fatal = on_fatal};
    struct stage_log_bootstrap bootstrap = {.metadata =
                                                bytes_of(metadata_bytes, sizeof(metadata_bytes)),
                                            .state = {.term = 1, .vote = 7, .commit = 0}};
    assert_ok(stage_log_create(&f->config, &bootstrap));
    *state = f;
    return 0;
}

static void directory_clear(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' || (entry->d_name[1] && entry->d_name[1] != '.'))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    (void)rmdir(path);
}

static void log_close(struct fixture *f)
{
    stage_log_stop(f->log);
    stage_log_free(f->log);
    f->log = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->log)
        log_close(f);
    directory_clear(f->dir);
    directory_clear(f->root);
    free(f);
    return 0;
}

static void log_open(struct fixture *f)
{
    err e = stage_log_open(&f->config, &f->log, &f->recovery, &f->fault);
    if (err_is(e, ERR_CORRUPT))
        fail_msg("%s at %llu", f->fault.what, (unsigned long long)f->fault.offset);
    assert_ok(e);
    assert_ok(stage_log_prepare(f->log));
}

/* A batch of one entry whose bytes follow from its index. */
static void submit_entry(struct fixture *f, uint64_t index, uint64_t term, size_t len)
{
    struct stage_log_batch *batch = stage_log_batch_new(1);
    uint8_t *data = malloc(len ? len : 1);
    assert_non_null(data);
    memset(data, (int)(index & 0xff), len);
    struct raft_entry entry = {.term = term, .index = index};
    entry.blob = raft_blob_copy(bytes_of(data, len), &entry.data);
    free(data);
    stage_log_batch_add(batch, &entry);
    raft_blob_unref(entry.blob);
    batch->id = ++f->next_batch;
    batch->must_sync = true;
    batch->has_state = true;
    if (index - 1 > f->commit && index <= f->commit_end)
        f->commit = index - 1;
    batch->state = (struct raft_hard_state){.term = term, .vote = 7, .commit = f->commit};
    stage_log_submit(f->log, batch);
}

static void completions_take(struct fixture *f)
{
    struct mailbox_node *node = mailbox_take(&f->completions);
    while (node) {
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        node = node->next;
        stage_log_settle(f->log, reply);
        if (reply->kind == STAGE_LOG_DONE) {
            struct stage_log_batch *batch = LIST_ENTRY(reply, struct stage_log_batch, reply);
            assert_int_equal(batch->id, f->done_batch + 1); /* in order, each once */
            f->done_batch = batch->id;
            stage_log_batch_free(batch);
        } else if (reply->kind == STAGE_LOG_FULL) {
            f->full_replies++;
        } else {
            f->room_replies++;
        }
    }
}

/* Runs the stage's steps until nothing is left to do. */
static void steps_run(struct fixture *f)
{
    while (stage_log_begin(f->log))
        stage_log_finish(f->log);
    completions_take(f);
}

static void wait_done(struct fixture *f, uint64_t batch)
{
    for (unsigned i = 0; f->done_batch < batch && i < 10000; i++) {
        completions_take(f);
        if (f->done_batch < batch)
            (void)usleep(1000);
    }
    assert_int_equal(f->done_batch, batch);
}

static unsigned segments_on_disk(const struct fixture *f)
{
    DIR *dir = opendir(f->dir);
    assert_non_null(dir);
    unsigned n = 0;
    struct wal_name name;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += wal_name_parse(entry->d_name, &name);
    closedir(dir);
    return n;
}

static void assert_entry_reads(struct fixture *f, uint64_t index, uint64_t term, size_t len)
{
    struct raft_entry entry;
    size_t count;
    assert_ok(stage_log_entries(f->log, index, index + 1, 0, 1, &entry, &count));
    assert_int_equal(count, 1);
    assert_int_equal(entry.index, index);
    assert_int_equal(entry.term, term);
    assert_int_equal(entry.data.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(entry.data.data[i], index & 0xff);
    raft_blob_unref(entry.blob);
}

/* ---- tests
 * ---------------------------------------------------------------------------------------- */

static void a_new_log_holds_what_it_was_made_with(void **state)
{
    struct fixture *f = *state;
    log_open(f);
    assert_true(
        bytes_equal(f->recovery.metadata, bytes_of(metadata_bytes, sizeof(metadata_bytes))));
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

/* ---- files that earlier lives left behind -------------------------------------------------------
 */

static void junk_write(const char *path, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(fputc((int)(i * 37 % 251) + 1, file), (int)(i * 37 % 251) + 1);
    assert_int_equal(fclose(file), 0);
}

/* A crash while a log is made leaves none, and the next try makes a whole one. */
static void an_unfinished_creation_leaves_no_log(void **state)
{
    struct fixture *f = *state;
    char tmp[160], path[256];
    directory_clear(f->dir);
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", f->dir);
    assert_int_equal(mkdir(tmp, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/0000000000000000-0000000000000000.wal", tmp);
    junk_write(path, 5000);
    bool exists = true;
    assert_ok(stage_log_exists(&f->fs, f->dir, &exists));
    assert_false(exists);
    assert_err(stage_log_open(&f->config, &f->log, &f->recovery, &f->fault), ERR_NOT_FOUND);
    struct raft_entry first = {
        .type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 1, .data = BYTES_LIT("x")};
    struct stage_log_bootstrap bootstrap = {.metadata =
                                                bytes_of(metadata_bytes, sizeof(metadata_bytes)),
                                            .entries = &first,
                                            .entry_count = 1,
                                            .state = {.term = 1, .commit = 1}};
    assert_ok(stage_log_create(&f->config, &bootstrap));
    assert_int_equal(access(tmp, F_OK), -1);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 1);
    assert_int_equal(f->recovery.state.commit, 1);
}

static void assert_zeros_behind(const char *path, uint64_t from)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)from, SEEK_SET), 0);
    for (int c; (c = fgetc(file)) != EOF;)
        assert_int_equal(c, 0);
    assert_int_equal(fclose(file), 0);
}

/* Old bytes behind a tail make etcd refuse the whole log. */
static void an_old_spare_is_zeroed_before_it_is_used(void **state)
{
    struct fixture *f = *state;
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/0.tmp", f->dir);
    junk_write(path, 90000);
    (void)snprintf(path, sizeof(path), "%s/1.tmp", f->dir);
    junk_write(path, 90000);
    log_open(f);
    for (uint64_t i = 1; i <= 70; i++)
        submit_entry(f, i, 1, 1000);
    steps_run(f);
    assert_int_equal(segments_on_disk(f), 2);
    assert_entry_reads(f, 70, 1, 1000);
    DIR *dir = opendir(f->dir);
    assert_non_null(dir);
    for (struct dirent *file; (file = readdir(dir));) {
        struct wal_name found;
        if (!wal_name_parse(file->d_name, &found) || found.sequence != 1)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%.40s", f->dir, file->d_name);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 69632); /* room for a segment and its last batch */
        assert_zeros_behind(path, 64 * 1024);
    }
    closedir(dir);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 70);
    assert_int_equal(f->recovery.cut_bytes, 0);
}

static bool spare_is_there(const struct fixture *f)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/0.tmp", f->dir);
    return access(path, F_OK) == 0;
}

struct marker {
    struct io_job job;
    sem_t reached;
};

static void marker_work(struct io_job *job)
{
    struct marker *self = LIST_ENTRY(job, struct marker, job);
    assert_int_equal(sem_post(&self->reached), 0);
}

/* The spare is ready: the only worker has begun with it, and then done something else. */
static void wait_spare(struct fixture *f)
{
    for (unsigned i = 0; !spare_is_there(f) && i < 10000; i++)
        (void)usleep(1000);
    struct marker marker = {.job.work = marker_work};
    assert_int_equal(sem_init(&marker.reached, 0, 0), 0);
    io_workers_post(f->config.workers, &marker.job);
    while (sem_wait(&marker.reached) != 0)
        ;
    assert_int_equal(sem_destroy(&marker.reached), 0);
}

/* Once a segment that ended took the name of the spare that was about to become the next one. */
static void a_segment_that_ends_does_not_take_the_place_of_one_that_begins(void **state)
{
    struct fixture *f = *state;
    assert_ok(io_workers_new(1, &f->config.workers));
    log_open(f);
    assert_ok(stage_log_start(f->log));
    uint64_t index = 0;
    while (segments_on_disk(f) < 4) {
        submit_entry(f, ++index, 1, 10000);
        wait_done(f, index);
    }
    for (unsigned i = 0; i < 3; i++) /* more than a quarter of it */
        submit_entry(f, ++index, 1, 10000);
    wait_done(f, index);
    wait_spare(f);
    uint64_t last_kept = index;
    faults_set(&faults.interleave, true);
    stage_log_release(f->log, index);
    for (unsigned i = 0; i < 10; i++)
        submit_entry(f, ++index, 1, 10000);
    wait_done(f, index);
    assert_true(faults.cuts && faults.removals >= 2);
    for (uint64_t i = last_kept + 1; i <= index; i++)
        assert_entry_reads(f, i, 1, 10000);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.last_index, index);
    log_close(f);
    io_workers_free(f->config.workers);
    f->config.workers = NULL;
}

/* The log's thread, a worker and the core at once, over many segments. */
static void a_long_life_with_workers(void **state)
{
    struct fixture *f = *state;
    assert_ok(io_workers_new(2, &f->config.workers));
    log_open(f);
    assert_ok(stage_log_start(f->log));
    uint64_t index = 0;
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 50; i++)
            submit_entry(f, ++index, 1, 700);
        wait_done(f, index);
        uint64_t first = stage_log_first_index(f->log);
        for (uint64_t i = first; i <= index; i += 17)
            assert_entry_reads(f, i, 1, 700);
        if (index > 200)
            stage_log_release(f->log, index - 200);
    }
    for (unsigned i = 0; segments_on_disk(f) >= 10 && i < 10000; i++)
        (void)usleep(1000); /* workers remove them */
    unsigned left = segments_on_disk(f);
    log_close(f);
    assert_true(left < 10);
    log_open(f);
    assert_int_equal(f->recovery.last_index, index);
    assert_true(f->recovery.first_index <= index - 199);
    log_close(f);
    io_workers_free(f->config.workers);
    f->config.workers = NULL;
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
        T(an_unfinished_creation_leaves_no_log),
        T(an_old_spare_is_zeroed_before_it_is_used),
        T(a_segment_that_ends_does_not_take_the_place_of_one_that_begins),
        T(a_long_life_with_workers),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
