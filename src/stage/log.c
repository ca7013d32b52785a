#include "stage/log.h"
#include "base/bug.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "stage/log_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* At most what an entry's and a batch's records add to their data. */
#define ENTRY_EXTRA_BYTES 72u
#define BATCH_EXTRA_BYTES 256u
/* Between two tries to make a file on a full disk. */
#define RETRY_MS    1000u
#define FOR_EVER_MS 3600000u

static struct metric fsync_seconds = {
    .name = "etcd_disk_wal_fsync_duration_seconds",
    .help = "The latency distributions of fsync called by WAL.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.001,
    .bucket_factor = 2,
    .bucket_count = 14,
};

static struct metric write_seconds = {
    .name = "etcd_disk_wal_write_duration_seconds",
    .help = "The latency distributions of write called by WAL.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.001,
    .bucket_factor = 2,
    .bucket_count = 14,
};

static struct metric write_bytes = {
    .name = "etcd_disk_wal_write_bytes_total",
    .help = "Total number of bytes written in WAL.",
    .kind = METRIC_GAUGE,
};

/* etcd makes a file of its own for what is but a record in the log here. */
static struct metric snapshot_seconds = {
    .name = "etcd_debugging_snap_save_total_duration_seconds",
    .help = "Time that writing a snapshot's record took, with the entries beside it.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.001,
    .bucket_factor = 2,
    .bucket_count = 14};
static struct metric snapshot_sync_seconds = {.name = "etcd_snap_fsync_duration_seconds",
                                              .help =
                                                  "Time that the sync of a snapshot's record took.",
                                              .kind = METRIC_HISTOGRAM,
                                              .bucket_start = 0.001,
                                              .bucket_factor = 2,
                                              .bucket_count = 14};

void stage_log_register_metrics(void)
{
    metric_register(&fsync_seconds);
    metric_register(&write_seconds);
    metric_register(&write_bytes);
    metric_register(&snapshot_seconds);
    metric_register(&snapshot_sync_seconds);
}

void log_fatal(struct stage_log *self, const char *what, const char *name, err e)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s%s%s", self->dir_path, name ? "/" : "", name ? name : "");
    self->config.fatal(self->config.fatal_ctx, what, path, e);
    abort();
}

void log_fatal_open(struct stage_log *self, const char *what, err e)
{
    char name[WAL_NAME_BYTES];
    wal_name_format(self->held[self->held_count - 1].name, name);
    log_fatal(self, what, name, e);
}

uint64_t log_now_ns(struct stage_log *self)
{
    return self->config.now_ns ? self->config.now_ns(self->config.now_ctx) : clock_mono_ns();
}

/* ---- batches ------------------------------------------------------------------------------ */

struct stage_log_batch *stage_log_batch_new(size_t entries_max)
{
    size_t entries_bytes = entries_max * sizeof(struct raft_entry);
    struct stage_log_batch *self =
        malloc(sizeof(*self) + entries_bytes + entries_max * sizeof(struct wal_place));
    CHECK(self);
    *self = (struct stage_log_batch){.reply.kind = STAGE_LOG_DONE};
    self->entries = (struct raft_entry *)(self + 1);
    self->places = (struct wal_place *)(void *)((char *)(self + 1) + entries_bytes);
    return self;
}

void stage_log_batch_add(struct stage_log_batch *self, const struct raft_entry *entry)
{
    struct raft_entry *mine = &self->entries[self->entry_count++];
    *mine = *entry;
    (void)raft_blob_ref(mine->blob);
}

void stage_log_batch_free(struct stage_log_batch *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->entry_count; i++)
        raft_blob_unref(self->entries[i].blob);
    free(self);
}

/* Keeps what is newest of the states that were not written. True: the batch waits for another. */
static bool state_late(struct stage_log *self, struct stage_log_batch *batch)
{
    if (batch->has_state && (!batch->must_sync || BUG(log_state_dropped)) && !batch->has_snapshot &&
        !batch->entry_count && !self->out_count) {
        self->late_state = batch->state;
        self->has_late = true;
        return true;
    }
    if (self->has_late && !batch->has_state) {
        batch->state = self->late_state;
        batch->has_state = true;
    }
    self->has_late = false;
    return false;
}

void stage_log_submit(struct stage_log *self, struct stage_log_batch *batch)
{
    batch->submitted_ns = log_now_ns(self);
    bool late = state_late(self, batch);
    self->out_count++;
    mailbox_post(late ? self->config.completions : &self->inbox, &batch->reply.node);
}

void stage_log_settle(struct stage_log *self, struct stage_log_reply *reply)
{
    if (reply->kind == STAGE_LOG_DONE) {
        const struct stage_log_batch *batch = LIST_ENTRY(reply, struct stage_log_batch, reply);
        self->out_count--;
        if (batch->end_offset)
            log_read_settle(self, batch);
    } else {
        self->full = reply->kind == STAGE_LOG_FULL;
        atomic_store(reply->kind == STAGE_LOG_FULL ? &self->full_out : &self->room_out, false);
    }
}

bool stage_log_is_full(const struct stage_log *self)
{
    return self->full;
}

/* ---- the two steps ------------------------------------------------------------------------- */

static struct stage_log_batch *batch_of(struct mailbox_node *node)
{
    return LIST_ENTRY(LIST_ENTRY(node, struct stage_log_reply, node), struct stage_log_batch,
                      reply);
}

static uint64_t batch_bytes_most(const struct stage_log_batch *batch)
{
    uint64_t bytes = BATCH_EXTRA_BYTES + batch->snapshot.conf_state.len;
    for (size_t i = 0; i < batch->entry_count; i++)
        bytes += batch->entries[i].data.len + ENTRY_EXTRA_BYTES;
    return bytes;
}

/* Moves what was posted: batches wait for their write, orders are seen to at once. */
static void inbox_take(struct stage_log *self)
{
    struct mailbox_node *node = mailbox_take(&self->inbox);
    while (node) {
        struct mailbox_node *next = node->next;
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        if ((int)reply->kind == LOG_ORDER_RELEASE) {
            log_files_release(self, LIST_ENTRY(reply, struct log_release, order));
        } else if ((int)reply->kind == LOG_ORDER_STOP) {
            self->stop_ordered = true;
            free(reply);
        } else {
            node->next = NULL;
            *self->waiting_end = node;
            self->waiting_end = &node->next;
        }
        node = next;
    }
}

/* The core hears of a full disk once, and once of its end. */
static void full_say(struct stage_log *self, bool full)
{
    /* The last one of its kind may not have been seen yet; then it is said later. */
    if (full == self->full_said || atomic_exchange(full ? &self->full_out : &self->room_out, true))
        return;
    self->full_said = full;
    struct stage_log_reply *reply = full ? &self->full_reply : &self->room_reply;
    reply->kind = full ? STAGE_LOG_FULL : STAGE_LOG_ROOM;
    mailbox_post(self->config.completions, &reply->node);
}

static void spare_look_after(struct stage_log *self)
{
    int state = atomic_load(&self->spare_state);
    if (state == LOG_SPARE_NO_ROOM) {
        full_say(self, true);
        if (log_now_ns(self) < self->retry_at_ns)
            return;
        self->retry_at_ns = log_now_ns(self) + RETRY_MS * UINT64_C(1000000);
        atomic_store(&self->spare_state, LOG_SPARE_NONE);
    } else if (state == LOG_SPARE_READY) {
        full_say(self, false);
    }
    log_files_spare_want(self);
}

/* Room for the first waiting batch: in this segment or, once that is synced, in the next. */
static bool room_make(struct stage_log *self, uint64_t bytes)
{
    if (log_files_fit(self, bytes))
        return true;
    if (!self->plan.synced) {
        err e = io_sync_data(self->config.fs, self->held[self->held_count - 1].file);
        if (!err_ok(e))
            log_fatal_open(self, "fdatasync", e);
        wal_plan_written(&self->plan, true);
    }
    err e = log_files_cut(self);
    if (err_ok(e) && !log_files_fit(self, bytes))
        e = log_files_grow(self, bytes);
    if (!err_ok(e)) {
        full_say(self, true);
        return false;
    }
    int no_room = LOG_SPARE_NO_ROOM; /* there is some again */
    (void)atomic_compare_exchange_strong(&self->spare_state, &no_room, LOG_SPARE_NONE);
    full_say(self, false);
    return true;
}

static void batch_plan(struct stage_log *self, struct stage_log_batch *batch)
{
    struct wal_plan *plan = &self->plan;
    batch->segment = self->held[self->held_count - 1].name;
    err e = OK;
    if (batch->has_snapshot)
        e = wal_plan_snapshot(plan, &batch->snapshot);
    for (size_t i = 0; err_ok(e) && i < batch->entry_count; i++)
        e = wal_plan_entry(plan, &batch->entries[i], &batch->places[i]);
    if (!err_ok(e))
        log_fatal_open(self, "an entry is larger than a record may be", e);
    if (batch->has_state)
        wal_plan_state(plan, &batch->state);
    /* A snapshot that the log does not reach replaces it. */
    if (batch->installs || (batch->has_snapshot && batch->snapshot.index > self->last_index))
        self->last_index = batch->snapshot.index;
    if (batch->entry_count) {
        batch->last_index = batch->entries[batch->entry_count - 1].index;
        batch->last_term = batch->entries[batch->entry_count - 1].term;
        self->last_index = batch->last_index;
    }
    batch->end_offset = plan->offset + plan->bytes;
}

static void pieces_write(struct stage_log *self)
{
    size_t count;
    uint64_t bytes = self->plan.bytes;
    struct iovec *pieces = wal_plan_pieces(&self->plan, &count);
    uint64_t from_ns = log_now_ns(self);
    err e = io_write(self->config.fs, self->held[self->held_count - 1].file, pieces, count,
                     self->plan.offset);
    if (!err_ok(e))
        log_fatal_open(self, "write", e);
    metric_observe_ns(&write_seconds, log_now_ns(self) - from_ns);
    metric_add(&write_bytes, (int64_t)bytes);
    wal_plan_written(&self->plan, false);
}

static void data_sync(struct stage_log *self)
{
    uint64_t from_ns = log_now_ns(self);
    err e = io_sync_data(self->config.fs, self->held[self->held_count - 1].file);
    if (!err_ok(e) && !BUG(failed_sync_ignored))
        log_fatal_open(self, "fdatasync", e);
    metric_observe_ns(&fsync_seconds, log_now_ns(self) - from_ns);
    wal_plan_written(&self->plan, true);
}

bool stage_log_begin(struct stage_log *self)
{
    CHECK(!self->flying);
    inbox_take(self);
    spare_look_after(self);
    if (!self->waiting)
        return false;
    uint64_t bytes = batch_bytes_most(batch_of(self->waiting));
    if (!room_make(self, bytes))
        return false;
    wal_plan_mark(&self->plan);
    self->flying = NULL;
    self->flying_end = &self->flying;
    self->sync_wanted = self->snapshot_flies = false;
    for (uint64_t sum = 0; self->waiting;) {
        struct mailbox_node *node = self->waiting;
        struct stage_log_batch *batch = batch_of(node);
        bytes = batch_bytes_most(batch);
        if (sum && (sum + bytes > self->config.batch_bytes_max ||
                    !log_files_fit(self, self->plan.bytes + bytes)))
            break;
        sum += bytes;
        self->waiting = node->next;
        node->next = NULL;
        *self->flying_end = node;
        self->flying_end = &node->next;
        batch_plan(self, batch);
        self->sync_wanted |= batch->must_sync || batch->has_snapshot;
        self->snapshot_flies |= batch->has_snapshot;
    }
    if (!self->waiting)
        self->waiting_end = &self->waiting;
    if (self->snapshot_flies)
        self->write_ns = log_now_ns(self);
    pieces_write(self);
    return true;
}

void stage_log_finish(struct stage_log *self)
{
    CHECK(self->flying);
    uint64_t sync_ns = self->snapshot_flies ? log_now_ns(self) : 0;
    if (self->sync_wanted && !BUG(log_not_synced))
        data_sync(self);
    uint64_t now_ns = log_now_ns(self);
    if (self->snapshot_flies) {
        metric_observe_ns(&snapshot_seconds, now_ns - self->write_ns);
        metric_observe_ns(&snapshot_sync_seconds, now_ns - sync_ns);
    }
    struct mailbox_node *node = self->flying;
    self->flying = NULL;
    while (node) {
        struct mailbox_node *next = node->next;
        struct stage_log_batch *batch = batch_of(node);
        batch->duration_ns = now_ns - batch->submitted_ns;
        mailbox_post(self->config.completions, node); /* the core's again */
        node = next;
    }
    if (self->plan.offset >= self->config.segment_bytes && self->plan.synced &&
        !err_ok(log_files_cut(self)))
        full_say(self, true);
}

void stage_log_mark(struct stage_log *self)
{
    CHECK(!self->flying);
    if (!self->plan.synced)
        data_sync(self);
    if (!log_files_fit(self, WAL_MARK_BYTES))
        return;
    wal_plan_mark(&self->plan);
    if (self->plan.bytes) {
        pieces_write(self);
        data_sync(self);
    }
}

/* ---- the thread ---------------------------------------------------------------------------- */

void log_thread_wake(void *ctx)
{
    struct stage_log *self = ctx;
    (void)sem_post(&self->wake);
}

/* Waits until something is posted or `wait_ms` have passed. False: the time has passed. */
static bool thread_wait(struct stage_log *self, uint64_t wait_ms)
{
    if (!mailbox_sleep(&self->inbox))
        return true;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int r;
    do
        r = sem_clockwait(&self->wake, CLOCK_MONOTONIC, &until);
    while (r && errno == EINTR);
    mailbox_awake(&self->inbox);
    return r == 0;
}

/* The core has stopped to submit: what is late is ours. */
static void late_write(struct stage_log *self)
{
    if (!self->has_late || self->waiting || !room_make(self, BATCH_EXTRA_BYTES))
        return;
    wal_plan_mark(&self->plan);
    wal_plan_state(&self->plan, &self->late_state);
    pieces_write(self);
    self->has_late = false;
}

static void *thread_main(void *ctx)
{
    struct stage_log *self = ctx;
    while (!self->stop_ordered || self->waiting) {
        if (stage_log_begin(self)) {
            stage_log_finish(self);
            continue;
        }
        if (self->stop_ordered)
            break; /* what waits for room waits in vain */
        bool wants_room = self->waiting || self->full_said;
        uint64_t wait_ms = wants_room          ? RETRY_MS
                           : self->plan.marked ? FOR_EVER_MS
                                               : self->config.idle_mark_ms;
        if (!thread_wait(self, wait_ms) && !wants_room)
            stage_log_mark(self);
    }
    late_write(self);
    stage_log_mark(self);
    return NULL;
}

err stage_log_start(struct stage_log *self)
{
    CHECK(!self->thread_runs);
    if (pthread_create(&self->thread, NULL, thread_main, self))
        return ERR_LIMIT;
    self->thread_runs = true;
    (void)pthread_setname_np(self->thread, "log");
    return OK;
}

void stage_log_stop(struct stage_log *self)
{
    if (!self->thread_runs)
        return;
    struct stage_log_reply *order = calloc(1, sizeof(*order));
    CHECK(order);
    order->kind = (enum stage_log_reply_kind)LOG_ORDER_STOP;
    mailbox_post(&self->inbox, &order->node);
    CHECK(pthread_join(self->thread, NULL) == 0);
    self->thread_runs = false;
}

void stage_log_write_now(struct stage_log *self, struct stage_log_batch *batch,
                         struct mailbox *completions)
{
    bool done = false;
    stage_log_submit(self, batch);
    while (!done) {
        if (stage_log_begin(self))
            stage_log_finish(self);
        struct mailbox_node *next;
        for (struct mailbox_node *node = mailbox_take(completions); node; node = next) {
            next = node->next;
            struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
            stage_log_settle(self, reply);
            if (reply->kind != STAGE_LOG_DONE)
                continue;
            stage_log_batch_free(LIST_ENTRY(reply, struct stage_log_batch, reply));
            done = true;
        }
    }
}
