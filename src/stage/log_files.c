/* The log's files: the spare, the cut from one segment to the next, the end of old ones. */
#include "base/bug.h"
#include "stage/log_priv.h"

#include "base/check.h"
#include "io/bulk.h"

#include <stdio.h>
#include <stdlib.h>

void log_held_add(struct stage_log *self, struct wal_name name, int file)
{
    if (self->held_count == self->held_cap) {
        self->held_cap = self->held_cap ? self->held_cap * 2 : 8;
        self->held = realloc(self->held, self->held_cap * sizeof(*self->held));
        CHECK(self->held);
    }
    self->held[self->held_count++] = (struct log_held){name, file};
}

err log_files_zero(const struct io_fs *fs, int file, uint64_t from, uint64_t to)
{
    struct io_bulk bulk = {.file = file, .started = from, .waited = from};
    uint8_t *zeros = calloc(1, IO_BULK_PIECE_BYTES);
    CHECK(zeros);
    err e = OK;
    for (uint64_t at = from, len; err_ok(e) && at < to; at += len) {
        len = to - at < IO_BULK_PIECE_BYTES ? to - at : IO_BULK_PIECE_BYTES;
        e = io_bulk_write(fs, &bulk, bytes_of(zeros, (size_t)len), at);
    }
    free(zeros);
    return e;
}

/* A job's last touch of the log is under the lock, so that freeing may follow at once. */
static void job_begin(struct stage_log *self)
{
    pthread_mutex_lock(&self->jobs_lock);
    self->jobs_out++;
    pthread_mutex_unlock(&self->jobs_lock);
}

static void job_end(struct stage_log *self)
{
    pthread_mutex_lock(&self->jobs_lock);
    self->jobs_out--;
    pthread_cond_signal(&self->jobs_ended);
    pthread_mutex_unlock(&self->jobs_lock);
}

void log_files_done(struct stage_log *self)
{
    pthread_mutex_lock(&self->jobs_lock);
    while (self->jobs_out)
        pthread_cond_wait(&self->jobs_ended, &self->jobs_lock);
    pthread_mutex_unlock(&self->jobs_lock);
}

/* ---- the spare ----------------------------------------------------------------------------- */

/* Whatever the file held before, it is a fresh segment's zeros when this returns OK. */
static err spare_zero(struct stage_log *self, int file)
{
    const struct io_fs *fs = self->config.fs;
    struct io_stat stat;
    TRY(io_lock(fs, file));
    TRY(io_stat(fs, file, &stat));
    if (stat.size_bytes > self->room_bytes)
        TRY(io_truncate(fs, file, self->room_bytes));
    err e = io_allocate(fs, file, IO_ALLOCATE_GROW, 0, self->room_bytes);
    if (!err_ok(e) && !err_is(e, ERR_UNSUPPORTED))
        return e;
    if (!BUG(log_spare_not_zeroed))
        TRY(log_files_zero(fs, file, 0, self->room_bytes));
    return io_sync(fs, file);
}

static err spare_make(struct stage_log *self, int *ret_file)
{
    const struct io_fs *fs = self->config.fs;
    int file;
    TRY(io_open(fs, self->dir, LOG_SPARE_NAME, IO_READ | IO_WRITE | IO_CREATE, 0600, &file));
    err e = spare_zero(self, file);
    if (!err_ok(e)) {
        io_close(fs, file);
        /* Room that is not there is not held either. */
        if (err_is(e, ERR_DISK_FULL))
            (void)io_unlink(fs, self->dir, LOG_SPARE_NAME).code;
        return e;
    }
    *ret_file = file;
    return OK;
}

static void spare_work(struct io_job *job)
{
    struct stage_log *self = LIST_ENTRY(job, struct stage_log, spare_job);
    int file;
    err e = spare_make(self, &file);
    if (err_ok(e)) {
        self->spare_file = file;
        atomic_store(&self->spare_state, LOG_SPARE_READY);
    } else if (err_is(e, ERR_DISK_FULL)) {
        atomic_store(&self->spare_state, LOG_SPARE_NO_ROOM);
    } else {
        log_fatal(self, "making a spare segment", LOG_SPARE_NAME, e);
    }
    job_end(self);
}

void log_files_spare_want(struct stage_log *self)
{
    int none = LOG_SPARE_NONE;
    if (self->plan.offset < self->config.segment_bytes / 4 ||
        !atomic_compare_exchange_strong(&self->spare_state, &none, LOG_SPARE_MAKING))
        return;
    job_begin(self);
    self->spare_job.work = spare_work;
    if (self->config.workers)
        io_workers_post(self->config.workers, &self->spare_job);
    else
        spare_work(&self->spare_job);
}

/* ---- from one segment to the next ------------------------------------------------------------ */

bool log_files_fit(const struct stage_log *self, uint64_t bytes)
{
    return self->plan.offset + bytes <= self->file_bytes;
}

err log_files_grow(struct stage_log *self, uint64_t bytes)
{
    uint64_t size_bytes = self->plan.offset + bytes;
    err e = io_allocate(self->config.fs, self->held[self->held_count - 1].file, IO_ALLOCATE_GROW, 0,
                        size_bytes);
    if (!err_ok(e) && !err_is(e, ERR_UNSUPPORTED))
        return e;
    self->file_bytes = size_bytes;
    return OK;
}

/* The spare, or a file that is only allocated where none is ready: a wait for a worker would
 * stretch a commit by the time that 64 MB take. */
static err fresh_file(struct stage_log *self, char ret_name[WAL_NAME_BYTES], int *ret_file)
{
    const struct io_fs *fs = self->config.fs;
    int ready = LOG_SPARE_READY;
    if (atomic_compare_exchange_strong(&self->spare_state, &ready, LOG_SPARE_TAKEN)) {
        (void)snprintf(ret_name, WAL_NAME_BYTES, "%s", LOG_SPARE_NAME);
        *ret_file = self->spare_file;
        return OK;
    }
    (void)snprintf(ret_name, WAL_NAME_BYTES, "1.tmp");
    int file;
    TRY(io_open(fs, self->dir, ret_name, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE, 0600,
                &file));
    err e = io_lock(fs, file);
    if (err_ok(e)) {
        e = io_allocate(fs, file, IO_ALLOCATE_GROW, 0, self->room_bytes);
        if (err_is(e, ERR_UNSUPPORTED))
            e = io_truncate(fs, file, self->room_bytes);
    }
    if (!err_ok(e)) {
        io_close(fs, file);
        (void)io_unlink(fs, self->dir, ret_name).code;
        return e;
    }
    *ret_file = file;
    return OK;
}

err log_files_cut(struct stage_log *self)
{
    const struct io_fs *fs = self->config.fs;
    CHECK(self->plan.synced && self->plan.bytes == 0 && self->held_count);
    struct log_held old = self->held[self->held_count - 1];
    uint64_t end = self->plan.offset;
    char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];
    int file;
    TRY(fresh_file(self, from, &file));

    struct wal_name name = {old.name.sequence + 1, self->last_index + 1};
    wal_name_format(name, to);
    wal_plan_open(&self->plan, name.sequence);
    size_t count;
    struct iovec *pieces = wal_plan_pieces(&self->plan, &count);
    err e = io_write(fs, file, pieces, count, 0);
    if (err_ok(e))
        e = io_sync(fs, file);
    if (!err_ok(e))
        log_fatal(self, "writing the head of a segment", to, e);
    wal_plan_written(&self->plan, true);
    e = io_rename(fs, self->dir, from, self->dir, to);
    if (err_ok(e) && !BUG(log_segment_name_unsynced))
        e = io_sync_dir(fs, self->dir);
    if (!err_ok(e))
        log_fatal(self, "naming a segment", to, e);
    /* Until now another file by the spare's name would have become the segment. */
    int taken = LOG_SPARE_TAKEN;
    (void)atomic_compare_exchange_strong(&self->spare_state, &taken, LOG_SPARE_NONE);
    log_held_add(self, name, file);
    self->file_bytes = self->room_bytes;
    /* The old file ends where its records do, as etcd leaves it. The zeros it loses mean nothing,
     * so nothing waits for this to be durable. */
    e = io_truncate(fs, old.file, end);
    if (!err_ok(e)) {
        wal_name_format(old.name, from);
        log_fatal(self, "truncating a closed segment", from, e);
    }
    return OK;
}

/* ---- the end of old segments ------------------------------------------------------------------
 */

/* The first to go becomes the spare where there is none: its blocks need no allocation. Any other
 * one stays open, and has room to give back. */
static err segment_end(struct stage_log *self, struct log_held *held)
{
    const struct io_fs *fs = self->config.fs;
    char name[WAL_NAME_BYTES];
    wal_name_format(held->name, name);
    int none = LOG_SPARE_NONE;
    if (!atomic_compare_exchange_strong(&self->spare_state, &none, LOG_SPARE_MAKING))
        return io_unlink(fs, self->dir, name);
    io_close(fs, held->file);
    held->file = -1;
    TRY(io_rename(fs, self->dir, name, self->dir, LOG_SPARE_NAME));
    TRY(io_sync_dir(fs, self->dir));
    job_begin(self);
    self->spare_job.work = spare_work;
    spare_work(&self->spare_job);
    return OK;
}

static void release_work(struct io_job *job)
{
    struct log_release *release = LIST_ENTRY(job, struct log_release, job);
    struct stage_log *self = release->log;
    err e = OK;
    for (size_t i = 0; err_ok(e) && i < release->held_count; i++)
        e = segment_end(self, &release->held[i]);
    if (err_ok(e))
        e = io_sync_dir(self->config.fs, self->dir);
    if (!err_ok(e))
        log_fatal(self, "removing old segments", NULL, e);
    for (size_t i = 0; i < release->held_count; i++)
        if (release->held[i].file >= 0)
            io_bulk_give_back(self->config.fs, release->held[i].file);
    free(release->held);
    free(release);
    job_end(self);
}

void log_files_release(struct stage_log *self, struct log_release *release)
{
    size_t count = 0;
    while (count + 1 < self->held_count &&
           self->held[count].name.sequence <= release->last_sequence)
        count++;
    release->held = calloc(count ? count : 1, sizeof(*release->held));
    CHECK(release->held);
    memcpy(release->held, self->held, count * sizeof(*release->held));
    release->held_count = count;
    memmove(self->held, self->held + count, (self->held_count - count) * sizeof(*self->held));
    self->held_count -= count;
    release->log = self;
    release->job.work = release_work;
    job_begin(self);
    if (self->config.workers)
        io_workers_post(self->config.workers, &release->job);
    else
        release_work(&release->job);
}
