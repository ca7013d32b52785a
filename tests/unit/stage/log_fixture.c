#include "log_fixture.h"

#include "wal/raft_codec.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* ---- files whose calls can be held up or made to fail -----------------------------------------
 */

struct faults faults = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

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

void faults_set(bool *which, bool value)
{
    pthread_mutex_lock(&faults.lock);
    *which = value;
    pthread_cond_broadcast(&faults.changed);
    pthread_mutex_unlock(&faults.lock);
}

/* ---- a log in a directory of its own ------------------------------------------------------------
 */

jmp_buf fatal_exit;
const char *fatal_what;

static void on_fatal(void *ctx, const char *what, const char *file, err e)
{
    fatal_what = what;
    longjmp(fatal_exit, 1);
}

const uint8_t metadata_bytes[METADATA_BYTES] = {0x08, 0x2a, 0x10, 0x07};

int setup(void **state)
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
    struct stage_log_bootstrap bootstrap = {.metadata = bytes_of(metadata_bytes, METADATA_BYTES),
                                            .state = {.term = 1, .vote = 7, .commit = 0}};
    assert_ok(stage_log_create(&f->config, &bootstrap));
    *state = f;
    return 0;
}

void directory_clear(const char *path)
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

void log_close(struct fixture *f)
{
    stage_log_stop(f->log);
    stage_log_free(f->log);
    f->log = NULL;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->log)
        log_close(f);
    directory_clear(f->dir);
    directory_clear(f->root);
    free(f);
    return 0;
}

void log_open(struct fixture *f)
{
    err e = stage_log_open(&f->config, &f->log, &f->recovery, &f->fault);
    if (err_is(e, ERR_CORRUPT))
        fail_msg("%s at %llu", f->fault.what, (unsigned long long)f->fault.offset);
    assert_ok(e);
    assert_ok(stage_log_prepare(f->log));
}

void submit_entry(struct fixture *f, uint64_t index, uint64_t term, size_t len)
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

void completions_take(struct fixture *f)
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

void steps_run(struct fixture *f)
{
    while (stage_log_begin(f->log))
        stage_log_finish(f->log);
    completions_take(f);
}

void wait_done(struct fixture *f, uint64_t batch)
{
    for (unsigned i = 0; f->done_batch < batch && i < 10000; i++) {
        completions_take(f);
        if (f->done_batch < batch)
            (void)usleep(1000);
    }
    assert_int_equal(f->done_batch, batch);
}

unsigned segments_on_disk(const struct fixture *f)
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

void assert_entry_reads(struct fixture *f, uint64_t index, uint64_t term, size_t len)
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
