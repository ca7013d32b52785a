#include "stage/store.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "stage/store_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define STOP_CHECKPOINT_NS    (UINT64_C(300) * 1000 * 1000)
#define STOP_CHECKPOINT_BYTES ((uint64_t)1 << 20) /* less new log is replayed as fast */
#define RETRY_MS              200
#define REST_NS_MAX           (UINT64_C(16) * 1000 * 1000) /* however slow the disk is */
#define SECOND_NS             UINT64_C(1000000000)
/* Nobody waits for this thread but for room, and on two cores it takes turns with those of the core
 * and the log, for which writers wait. */
#define STORE_NICE 5

static struct metric commit_seconds = {
    .name = "etcd_disk_backend_commit_duration_seconds",
    .help = "The latency distributions of commit called by backend.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.001,
    .bucket_factor = 2,
    .bucket_count = 14,
};

static struct metric write_seconds = {
    .name = "etcd_debugging_disk_backend_commit_write_duration_seconds",
    .help = "Time that handing changes to the disk took, without making and sealing files.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.001,
    .bucket_factor = 2,
    .bucket_count = 14};

void store_note_write(uint64_t took_ns)
{
    metric_observe_ns(&write_seconds, took_ns);
}

void stage_store_register_metrics(void)
{
    metric_register(&commit_seconds);
    metric_register(&write_seconds);
}

void store_fatal(struct stage_store *self, const char *what, const char *file, err e)
{
    char path[PATH_MAX];
    if (strcmp(file, self->dir_name) == 0)
        (void)snprintf(path, sizeof(path), "%s", file);
    else
        (void)snprintf(path, sizeof(path), "%s/%s", self->dir_name, file);
    self->config.fatal(self->config.fatal_ctx, what, path, e);
    abort();
}

uint64_t store_now_ns(const struct stage_store *self)
{
    return self->config.now_ns ? self->config.now_ns(self->config.now_ctx) : clock_mono_ns();
}

void store_conf_state_set(struct mvcc_frame *frame, const struct mvcc_frame *from)
{
    uint8_t *copy = malloc(from->conf_state.len + 1);
    CHECK(copy != NULL);
    if (from->conf_state.len)
        memcpy(copy, from->conf_state.data, from->conf_state.len);
    free((void *)(uintptr_t)frame->conf_state.data);
    *frame = *from;
    frame->conf_state.data = copy;
}

/* ── The core's side ────────────────────────────────────────────────────────────────────────── */

static void post(struct stage_store *self, enum store_job_kind kind, const struct mvcc_frame *frame)
{
    struct store_job *job = malloc(sizeof(*job) + frame->conf_state.len);
    CHECK(job != NULL);
    job->kind = kind;
    job->frame = *frame;
    if (frame->conf_state.len)
        memcpy(job->conf_state, frame->conf_state.data, frame->conf_state.len);
    job->frame.conf_state.data = job->conf_state;
    mailbox_post(&self->jobs, &job->node);
}

void stage_store_flush(struct stage_store *self, const struct mvcc_frame *frame)
{
    CHECK(frame->conf_state.len <= MVCC_FRAME_CONF_STATE_BYTES);
    post(self, STORE_FLUSH, frame);
}

void stage_store_spill(struct stage_store *self, uint64_t seq)
{
    post(self, STORE_SPILL, &(struct mvcc_frame){.seq = seq});
}

void stage_store_sync(struct stage_store *self)
{
    post(self, STORE_SYNC, &(struct mvcc_frame){0});
}

void stage_store_defragment(struct stage_store *self)
{
    post(self, STORE_DEFRAGMENT, &(struct mvcc_frame){0});
}

void stage_store_swept(struct stage_store *self, uint64_t floor_seq)
{
    post(self, STORE_SWEPT, &(struct mvcc_frame){.seq = floor_seq});
}

void stage_store_settle(struct stage_store *self, struct stage_store_reply *reply,
                        struct stage_store_status *ret_status)
{
    struct store_reply *full = LIST_ENTRY(reply, struct store_reply, base);
    for (unsigned i = 0; i < full->install_count; i++) {
        const struct store_install *install = &full->installs[i];
        revlog_install(self->log, install->first, install->last, &install->segment, 1);
    }
    tail_trim(self->tail, full->status.written_seq);
    *ret_status = full->status;
    free(full->installs);
    free(full);
}

/* ── The store's side ───────────────────────────────────────────────────────────────────────── */

struct store_reply *store_reply(struct stage_store *self)
{
    if (!self->reply) {
        self->reply = calloc(1, sizeof(*self->reply));
        CHECK(self->reply != NULL);
    }
    return self->reply;
}

static void list_replace(struct stage_store *self, uint64_t first, uint64_t last,
                         struct segment *segment)
{
    unsigned begin = 0, end;
    while (begin < self->segment_count && self->segments[begin]->name.first < first)
        begin++;
    for (end = begin; end < self->segment_count && self->segments[end]->name.last <= last;)
        end++;
    if (self->segment_count + 1 > self->segment_capacity) {
        self->segment_capacity = self->segment_capacity ? self->segment_capacity * 2 : 64;
        self->segments = realloc(self->segments, self->segment_capacity * sizeof(struct segment *));
        CHECK(self->segments != NULL);
    }
    memmove(&self->segments[begin + 1], &self->segments[end],
            (self->segment_count - end) * sizeof(struct segment *));
    self->segments[begin] = segment;
    self->segment_count = self->segment_count - (end - begin) + 1;
}

void store_publish(struct stage_store *self, uint64_t first, uint64_t last, struct segment *segment)
{
    struct store_reply *reply = store_reply(self);
    if (reply->install_count == reply->install_capacity) {
        reply->install_capacity = reply->install_capacity ? reply->install_capacity * 2 : 4;
        reply->installs =
            realloc(reply->installs, reply->install_capacity * sizeof(reply->installs[0]));
        CHECK(reply->installs != NULL);
    }
    reply->installs[reply->install_count++] = (struct store_install){first, last, segment};
    list_replace(self, first, last, segment);
}

static void want_frame(struct stage_store *self, const struct mvcc_frame *frame)
{
    if (frame->seq < self->want_seq) {
        /* A later entry is being spilled: this frame was asked for before that began. */
        CHECK(frame->index <= (self->has_want ? self->want.index : self->frame.index));
        return;
    }
    store_conf_state_set(&self->want, frame);
    self->has_want = true;
    self->want_seq = frame->seq;
}

/* True: there was something. */
static bool take_jobs(struct stage_store *self)
{
    struct mailbox_node *node = mailbox_take(&self->jobs);
    bool any = node != NULL;
    while (node) {
        struct store_job *job = LIST_ENTRY(node, struct store_job, node);
        node = node->next;
        switch (job->kind) {
        case STORE_FLUSH:
            want_frame(self, &job->frame);
            break;
        case STORE_SPILL:
            if (job->frame.seq > self->want_seq)
                self->want_seq = job->frame.seq;
            break;
        case STORE_SYNC:
            self->want_sync = true;
            break;
        case STORE_DEFRAGMENT:
            self->want_defragment = true;
            break;
        case STORE_SWEPT:
            if (job->frame.seq > self->floor)
                self->floor = job->frame.seq;
            self->clean.due = true;
            break;
        }
        free(job);
    }
    return any;
}

bool stage_store_begin(struct stage_store *self)
{
    bool any = take_jobs(self);
    if (store_files_reclaim(self))
        any = true;
    if (self->disk_full)
        store_rooms_drop(self);
    if (!store_wants_write(self))
        return any || self->want_sync || self->want_defragment;
    uint64_t from_ns = store_now_ns(self);
    uint64_t before = self->written_seq, index_before = self->frame.index;
    bool full_before = self->disk_full;
    bool room = store_write(self);
    bool moved = self->written_seq != before || self->frame.index != index_before ||
                 self->disk_full != full_before;
    if (moved) {
        store_reply(self);
        metric_observe_ns(&commit_seconds, store_now_ns(self) - from_ns);
    }
    return any || room || moved;
}

/* Seals what is written, so that cleaning may take all of it. */
static void defragment(struct stage_store *self)
{
    if (self->is_open && self->writer.rows > 0 && !err_ok(store_roll(self, 0, &self->frame)) &&
        self->is_open)
        return; /* no room: asked again with the next begin */
    self->want_defragment = false;
    self->clean.defragment = true;
    self->clean.due = true;
    store_reply(self)->status.defragmented = true;
}

void stage_store_finish(struct stage_store *self)
{
    bool behind = store_wants_write(self); /* the rest comes with the next begin */
    if (self->want_sync && !behind) {
        store_sync_now(self);
        store_reply(self)->status.synced = true;
        self->want_sync = false;
    }
    if (self->want_defragment && !behind)
        defragment(self);
    if (self->disk_full != self->disk_full_told)
        store_reply(self);
    struct store_reply *reply = self->reply;
    if (!reply)
        return;
    self->reply = NULL;
    self->disk_full_told = self->disk_full;
    reply->status.written_seq = self->written_seq;
    reply->status.written_index = self->frame.index;
    reply->status.synced_seq = self->synced_seq;
    reply->status.synced_index = self->synced_index;
    reply->status.disk_full = self->disk_full;
    mailbox_post(self->config.completions, &reply->base.node);
}

bool stage_store_work(struct stage_store *self)
{
    if (store_room_return(self) || store_spare_make(self))
        return true;
    if (store_checkpoint_work(self))
        return true;
    return store_clean_work(self);
}

/* ── The thread ─────────────────────────────────────────────────────────────────────────────── */

void store_wake(void *ctx)
{
    struct stage_store *self = ctx;
    CHECK(sem_post(&self->wake) == 0);
}

static void sleep_until_woken(struct stage_store *self, bool retry)
{
    if (!mailbox_sleep(&self->jobs))
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    /* Something to be tried again (a full disk), or something that others bring about. */
    bool again = retry || self->checkpoint.step != CHECKPOINT_IDLE ||
                 self->clean.step != CLEAN_IDLE || self->spare_count < STORE_SPARES;
    uint64_t now_ns = clock_mono_ns(), wait_ns = RETRY_MS * UINT64_C(1000000);
    if (self->rest_to_ns > now_ns) {
        again = true;
        wait_ns = self->rest_to_ns - now_ns;
    }
    until.tv_sec += (time_t)((until.tv_nsec + wait_ns) / SECOND_NS);
    until.tv_nsec = (long)((until.tv_nsec + wait_ns) % SECOND_NS);
    int r;
    do
        r = again ? sem_clockwait(&self->wake, CLOCK_MONOTONIC, &until) : sem_wait(&self->wake);
    while (r != 0 && errno == EINTR);
    mailbox_awake(&self->jobs);
}

/* The last checkpoint is worth its time only where much would be replayed. */
static void checkpoint_at_stop(struct stage_store *self)
{
    uint64_t until = store_now_ns(self) + STOP_CHECKPOINT_NS;
    if (self->checkpoint.step == CHECKPOINT_IDLE && self->log_bytes < STOP_CHECKPOINT_BYTES)
        return;
    self->checkpoint.wanted = true;
    while (store_now_ns(self) < until && store_checkpoint_work(self))
        ;
    store_checkpoint_abandon(self);
}

/* A slice of work, unless the one before is being rested from: the disk and a core are others' for
 * as long as they were ours. */
static bool work(struct stage_store *self)
{
    uint64_t from_ns = clock_mono_ns();
    if (from_ns < self->rest_to_ns || !stage_store_work(self))
        return false;
    stage_store_finish(self);
    uint64_t now_ns = clock_mono_ns(), rest_ns = now_ns - from_ns;
    self->rest_to_ns = now_ns + (rest_ns < REST_NS_MAX ? rest_ns : REST_NS_MAX);
    return true;
}

static void *run(void *arg)
{
    struct stage_store *self = arg;
    (void)!setpriority(PRIO_PROCESS, 0, STORE_NICE); /* Linux: of this thread */
    for (;;) {
        bool stopping = atomic_load(&self->stop);
        bool any = stage_store_begin(self);
        stage_store_finish(self);
        if (stopping && !any)
            break;
        if (stopping)
            continue;
        /* A slice after each write, so that steady load starves neither spares nor cleaning; none
         * while more waits to be written. */
        bool behind = store_wants_write(self);
        bool worked = !behind && work(self);
        if (!any && !worked)
            sleep_until_woken(self, behind);
    }
    store_sync_now(self);
    store_frame_again(self);
    store_clean_abandon(self);
    checkpoint_at_stop(self);
    store_reply(self);
    stage_store_finish(self);
    return NULL;
}

err stage_store_complete(struct stage_store *self)
{
    CHECK(!self->started);
    while (stage_store_begin(self) || store_wants_write(self)) {
        stage_store_finish(self);
        if (self->disk_full && store_wants_write(self))
            return ERR_DISK_FULL;
    }
    store_sync_now(self);
    store_frame_again(self);
    self->checkpoint.wanted = true;
    while (store_checkpoint_work(self))
        ;
    bool full = self->disk_full;
    store_checkpoint_abandon(self);
    store_reply(self);
    stage_store_finish(self);
    return full ? ERR_DISK_FULL : OK;
}

err stage_store_start(struct stage_store *self)
{
    CHECK(self->tail != NULL && !self->started);
    if (pthread_create(&self->thread, NULL, run, self) != 0)
        return ERR_LIMIT;
    self->started = true;
    (void)pthread_setname_np(self->thread, "store");
    return OK;
}

void stage_store_stop(struct stage_store *self)
{
    if (!self->started)
        return;
    atomic_store(&self->stop, true);
    store_wake(self);
    CHECK(pthread_join(self->thread, NULL) == 0);
    self->started = false;
}

void stage_store_set_source(struct stage_store *self, const struct checkpoint_source *source)
{
    self->source = source;
}

void stage_store_loaded(struct stage_store *self, struct tail *tail)
{
    CHECK(tail_last(tail) == self->written_seq);
    self->tail = tail;
    revlog_set_tail(self->log, tail);
    if (self->has_reader) {
        checkpoint_reader_done(&self->reader);
        store_unmap(self, bytes_of(self->reader_map, self->reader_map_bytes));
        self->has_reader = false;
    }
}

/* ── Birth and death: see store_open.c for the former ───────────────────────────────────────── */

static void jobs_drop(struct stage_store *self)
{
    struct mailbox_node *node = mailbox_take(&self->jobs);
    while (node) {
        struct store_job *job = LIST_ENTRY(node, struct store_job, node);
        node = node->next;
        free(job);
    }
}

void stage_store_free(struct stage_store *self)
{
    if (!self)
        return;
    CHECK(!self->started);
    store_clean_abandon(self);
    store_checkpoint_abandon(self);
    jobs_drop(self);
    (void)store_files_reclaim(self);
    store_clean_inputs_free(self);
    store_rooms_drop(self);
    if (self->has_reader) {
        checkpoint_reader_done(&self->reader);
        store_unmap(self, bytes_of(self->reader_map, self->reader_map_bytes));
    }
    if (self->is_open)
        segment_writer_done(&self->writer);
    if (self->open_file.file >= 0)
        io_close(self->fs, self->open_file.file);
    if (self->dir >= 0)
        io_close(self->fs, self->dir);
    free((void *)(uintptr_t)self->frame.conf_state.data);
    free((void *)(uintptr_t)self->want.conf_state.data);
    free(self->segments);
    free(self->dir_name);
    sem_destroy(&self->wake);
    free(self);
}
