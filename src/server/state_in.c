#include "server/state_in.h"

#include "base/bug.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/bulk.h"

#include <stdio.h>
#include <stdlib.h>

#define FILE_NAME  "received.tmp"
#define FULL_BYTES ((size_t)1 << 20)

static struct metric save_seconds = {.name = "etcd_snap_db_save_total_duration_seconds",
                                     .help = "Time from a received state's begin to its last sync.",
                                     .kind = METRIC_HISTOGRAM,
                                     .bucket_start = 0.1,
                                     .bucket_factor = 2,
                                     .bucket_count = 10};
static struct metric sync_seconds = {.name = "etcd_snap_db_fsync_duration_seconds",
                                     .help = "Time that the sync of a received state took.",
                                     .kind = METRIC_HISTOGRAM,
                                     .bucket_start = 0.001,
                                     .bucket_factor = 2,
                                     .bucket_count = 14};
static struct metric in_progress = {.name = "etcd_server_snapshot_apply_in_progress_total",
                                    .help = "Received states that are becoming this member's.",
                                    .kind = METRIC_GAUGE};

void state_in_register_metrics(void)
{
    metric_register(&save_seconds);
    metric_register(&sync_seconds);
    metric_register(&in_progress);
}

/* One state on its way. Lives until no worker is busy with it. */
struct incoming {
    struct state_in *home;
    struct peer_snapshot_in *from; /* NULL: answered or gone */
    struct raft_message *message;
    const struct state_in_config *config;
    struct stage_build_config build;
    char *path;
    struct io_bulk file; /* .file < 0: removed */
    struct buf filling, writing;
    uint64_t written;
    uint64_t begin_ns;
    bool ended;  /* all has come */
    bool staged; /* by the worker */
    struct io_job job;
    bool busy; /* the job is with a worker */
    err error;
    struct arena arena;
    const char *reason;
    atomic_bool given_up;
};

struct state_in {
    struct state_in_config config;
    struct state_in_wire wire;
    char *parent;
    struct incoming *current;
    bool taken; /* one is being noted in the log, and this life ends with that */
};

/* ── Ends ───────────────────────────────────────────────────────────────────────────────────── */

static void file_drop(struct incoming *self)
{
    const struct io_fs *fs = self->build.fs;
    if (self->file.file < 0)
        return;
    (void)io_unlink(fs, IO_CWD, self->path).code; /* else the next start does */
    io_bulk_give_back(fs, self->file.file);
    self->file.file = -1;
}

static void incoming_free(struct incoming *self)
{
    CHECK(!self->busy);
    file_drop(self);
    raft_message_free(self->message);
    buf_done(&self->filling);
    buf_done(&self->writing);
    arena_done(&self->arena);
    free(self->path);
    free(self);
}

/* Nobody waits for it any more. While a worker is busy with its file the place stays taken: the
 * next one goes to a file of the same name. */
static void leave(struct incoming *self)
{
    self->from = NULL;
    atomic_store(&self->given_up, true);
    if (BUG(snapshot_file_shared) && self->home->current == self)
        self->home->current = NULL;
    if (self->busy)
        return;
    if (self->home->current == self)
        self->home->current = NULL;
    incoming_free(self);
}

static void post(struct incoming *self, void (*work)(struct io_job *),
                 void (*done)(struct io_job *))
{
    const struct state_in_wire *wire = self->config->wire;
    self->busy = true;
    self->job = (struct io_job){.work = work, .done = done, .loop = self->config->loop};
    if (wire)
        wire->post(wire->ctx, &self->job);
    else
        io_workers_post(self->config->bulk, &self->job);
}

static uint64_t now_ms(const struct state_in *self)
{
    const struct state_in_wire *wire = self->config.wire;
    return wire ? wire->now_ms(wire->ctx) : io_loop_now_ms(self->config.loop);
}

static void answer(struct incoming *self, err why)
{
    const struct state_in_wire *wire = self->config->wire;
    (wire ? wire->answer : peers_snapshot_answer)(TAKE(self->from), why);
}

static void fail(struct incoming *self, err why)
{
    if (self->from)
        answer(self, why);
    leave(self);
}

/* ── Staging ────────────────────────────────────────────────────────────────────────────────── */

static void stage_work(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    const struct raft_snapshot *snapshot = self->message->snapshot;
    struct bytes bytes;
    struct staged_store staged = {.build = self->build,
                                  .config = self->config->config,
                                  .term = snapshot->term,
                                  .conf = &snapshot->conf_state,
                                  .v2_store = snapshot->data};
    self->reason = "";
    self->error = staged_file_map(self->build.fs, self->path, &bytes);
    if (self->error.code)
        return;
    self->error = staged_store_make(&staged, bytes, &self->arena, &self->reason);
    io_unmap(self->build.fs, (void *)(uintptr_t)bytes.data, bytes.len);
    self->staged = err_ok(self->error);
    file_drop(self); /* here, where it may take its time */
}

static void drop_work(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    const struct stage_build_config *build = &self->build;
    (void)stage_store_remove(build->fs, build->parent, build->index, ".staged").code;
}

static void drop_done(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    self->busy = false;
    leave(self);
}

static void stage_done(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    struct state_in *home = self->home;
    self->busy = false;
    if (atomic_load(&self->given_up)) { /* what was staged is removed by the next start */
        leave(self);
        return;
    }
    struct replica *replica = home->config.replica;
    replica_set_staging(replica, false);
    const struct state_in_wire *wire = self->config->wire;
    if (self->error.code && wire)
        wire->useless(wire->ctx, self->error, self->reason);
    else if (self->error.code)
        LOGW("a received snapshot is of no use", LOG_UINT("snapshot-index", self->build.index),
             LOG_STR("reason", self->reason), LOG_ERR(self->error));
    bool taken = self->staged && (BUG(snapshot_recorded_early) ||
                                  replica_step_snapshot(replica, self->message, now_ms(home)));
    if (!taken)
        metric_set(&in_progress, 0); /* else until the life that begins with it */
    core_wake(home->config.core);
    home->taken = taken;
    if (self->staged && !taken)
        post(self, drop_work, drop_done);
    else
        leave(self);
}

/* ── Receiving ──────────────────────────────────────────────────────────────────────────────── */

static void write_work(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    const struct io_fs *fs = self->build.fs;
    self->error = io_bulk_write(fs, &self->file, buf_bytes(&self->writing), self->written);
    self->written += self->writing.len;
    buf_clear(&self->writing);
}

static void sync_work(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    uint64_t from_ns = clock_mono_ns();
    self->error = io_sync(self->build.fs, self->file.file);
    metric_observe_ns(&sync_seconds, clock_mono_ns() - from_ns);
}

static void sync_done(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    self->busy = false;
    if (atomic_load(&self->given_up)) {
        leave(self);
        return;
    }
    if (self->error.code) {
        fail(self, self->error);
        return;
    }
    metric_observe_ns(&save_seconds, clock_mono_ns() - self->begin_ns);
    metric_set(&in_progress, 1);
    /* First: the leader may go on at once. */
    replica_set_staging(self->home->config.replica, true);
    answer(self, OK);
    if (BUG(snapshot_recorded_early))
        (void)replica_step_snapshot(self->home->config.replica, self->message, now_ms(self->home));
    post(self, stage_work, stage_done);
}

static void write_done(struct io_job *job);

static void write_next(struct incoming *self)
{
    if (self->busy)
        return;
    if (self->filling.len) {
        struct buf empty = self->writing;
        self->writing = self->filling;
        self->filling = empty;
        post(self, write_work, write_done);
    } else if (self->ended) {
        post(self, sync_work, sync_done);
    }
}

static void write_done(struct io_job *job)
{
    struct incoming *self = LIST_ENTRY(job, struct incoming, job);
    self->busy = false;
    if (atomic_load(&self->given_up)) {
        leave(self);
        return;
    }
    if (self->error.code) {
        fail(self, self->error);
        return;
    }
    write_next(self);
    const struct state_in_wire *wire = self->config->wire;
    (wire ? wire->resume : peers_snapshot_resume)(self->from);
}

void *state_in_begin(struct state_in *self, const struct raft_message *message,
                     struct peer_snapshot_in *from)
{
    const struct replica_view *view = replica_view_get(self->config.replica);
    /* Another copy of the one that is taken would be staged in its place, and be dropped as of no
     * use: the log would name a store that is not there. */
    if (self->current || self->taken)
        return NULL;
    /* The answer to the one that was installed may have been lost. Raft says what is here, or the
     * leader would send it for ever. */
    if (message->snapshot->index <= view->applied_index) {
        (void)replica_step_snapshot(self->config.replica, message, now_ms(self));
        core_wake(self->config.core);
        return NULL;
    }
    struct incoming *in = calloc(1, sizeof(*in));
    CHECK(in);
    in->home = self;
    in->begin_ns = clock_mono_ns();
    in->from = from;
    in->config = &self->config;
    in->build = self->config.build;
    in->build.index = message->snapshot->index;
    in->build.given_up = &in->given_up;
    in->message = raft_message_copy(message);
    arena_init(&in->arena, 4096);
    buf_init(&in->filling, 0);
    buf_init(&in->writing, 0);
    int n = asprintf(&in->path, "%s/" FILE_NAME, self->parent);
    CHECK(n > 0);
    err e = io_open(in->build.fs, IO_CWD, in->path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE,
                    0600, &in->file.file);
    if (e.code) {
        LOGW("a snapshot cannot be received", LOG_STR("path", in->path), LOG_ERR(e));
        in->file.file = -1;
        incoming_free(in);
        return NULL;
    }
    self->current = in;
    return in;
}

bool state_in_piece(void *snapshot, struct bytes piece)
{
    struct incoming *self = snapshot;
    CHECK(err_ok(buf_append(&self->filling, piece))); /* without a bound: the pauses are it */
    write_next(self);
    return self->filling.len < FULL_BYTES;
}

void state_in_end(void *snapshot)
{
    struct incoming *self = snapshot;
    self->ended = true;
    write_next(self);
}

void state_in_cut(void *snapshot)
{
    leave(snapshot);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct state_in *state_in_new(const struct state_in_config *config)
{
    struct state_in *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    if (config->wire) {
        self->wire = *config->wire;
        self->config.wire = &self->wire;
    }
    self->parent = strdup(config->build.parent);
    CHECK(self->parent);
    self->config.build.parent = self->parent;
    metric_set(&in_progress, 0); /* a life begins with what the last one has received */
    return self;
}

void state_in_give_up(struct state_in *self)
{
    if (self && self->current)
        atomic_store(&self->current->given_up, true);
}

void state_in_free(struct state_in *self)
{
    if (!self)
        return;
    if (self->current)
        leave(self->current);
    free(self->parent);
    free(self);
}
