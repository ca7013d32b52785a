/* Snapshot: the store of one moment, as a file of etcd's, to a client that may be slow.
 *
 *     begin ──> worker: the moment, lengths ──> worker: pages ─┬─> chunks while the client takes
 * them ▲           └─> digest, end └── once little is left to send
 *
 * The changes are read on a worker, in slices under a guard each, so that neither the size nor a
 * cold disk holds up the loop; what waits to be sent is bounded. Reading rests for as long as it
 * took, so that writers and who receives it on the same machine have the other half of a core. A
 * client that takes nothing for a minute is given up, and with it its pin.
 *
 * Messages: chunks of 32 KiB with what then remains; at the end the SHA-256 alone, remaining 0. */
#include "api/cluster.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "state/snapshot.h"

#include <stdlib.h>

#define CHUNK_BYTES   ((size_t)32 << 10)
#define PAGES_BYTES   ((size_t)256 << 10) /* made ahead by one job, */
#define GUARD_BYTES   ((size_t)64 << 10)  /* under one guard, */
#define GUARD_CHANGES 1000
#define JOB_NS        UINT64_C(2000000) /* and in this time at most */
#define STALL_MS      MVCC_PIN_IDLE_MS_MAX
#define SNAPSHOTS_MAX 8 /* at a time, of one front */
#define HTTP2_CANCEL  8
#define NS_PER_MS     UINT64_C(1000000)

static struct metric snapshot_seconds = {
    .name = "etcd_disk_backend_snapshot_duration_seconds",
    .help = "The latency distribution of backend snapshots.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.01,
    .bucket_factor = 2,
    .bucket_count = 17,
};

void maintenance_snapshot_metrics_init(void)
{
    metric_register(&snapshot_seconds);
}

struct snapshot_call {
    struct io_job job;
    struct mailbox_node node; /* front.snapshot_results */
    struct front *front;
    struct request *request; /* NULL: its client is gone */
    struct snapshot_source *source;
    struct io_timer stall;
    struct io_timer pace;
    struct buf pages;
    size_t sent;        /* of pages */
    uint64_t remaining; /* of the file, once measured */
    uint64_t begin_ns;
    uint64_t worked_ns;  /* by the last job, */
    uint64_t rest_to_ns; /* and until then the next one is not wanted */
    bool measured;
    bool told; /* the log knows of it */
    bool end;  /* pages ends with the file's last */
    bool at_worker;
    err error;
};

/* ── On the worker ──────────────────────────────────────────────────────────────────────────── */

static err snapshot_start(struct snapshot_call *self, const struct replica_view *view,
                          uint64_t now_ms)
{
    struct snapshot_moment moment = {.view = view->mvcc,
                                     .members = view->members,
                                     .index = view->applied_index,
                                     .term = view->applied_term};
    err e = snapshot_source_new(&moment, self->front->config.pins, now_ms, &self->source);
    return err_is(e, ERR_LIMIT) ? ERR_REQUEST_TOO_MANY_REQUESTS : e;
}

/* *ret_done: enough for this time. */
static err snapshot_slice(struct snapshot_call *self, const struct replica_view *view,
                          bool *ret_done)
{
    unsigned budget = GUARD_CHANGES;
    uint64_t now_ms = clock_mono_ms();
    *ret_done = false;
    if (!self->source)
        return snapshot_start(self, view, now_ms);
    if (!self->measured) {
        TRY(snapshot_source_measure(self->source, view->mvcc, now_ms, &budget, &self->measured));
        *ret_done = self->measured;
        return OK;
    }
    size_t enough = self->pages.len + GUARD_BYTES;
    if (enough > PAGES_BYTES)
        enough = PAGES_BYTES;
    TRY(snapshot_source_read(self->source, view->mvcc, now_ms, &budget, enough, &self->pages,
                             &self->end));
    *ret_done = self->end || self->pages.len >= PAGES_BYTES;
    return OK;
}

static void snapshot_work(struct io_job *job)
{
    struct snapshot_call *self = LIST_ENTRY(job, struct snapshot_call, job);
    struct front *front = self->front;
    struct epoch *epoch = front->config.epoch;
    struct epoch_slot *slot = epoch_thread_slot(epoch);
    uint64_t from_ns = clock_mono_ns();
    bool done = false;
    while (!done && !self->error.code && self->worked_ns < JOB_NS) {
        epoch_enter(epoch, slot);
        self->error = snapshot_slice(self, replica_view_get(front->config.replica), &done);
        epoch_leave(slot);
        self->worked_ns = clock_mono_ns() - from_ns;
    }
    mailbox_post(&front->snapshot_results, &self->node);
    CHECK(sem_post(&front->snapshot_returned) == 0);
}

/* ── On the front ───────────────────────────────────────────────────────────────────────────── */

static void snapshot_free(struct snapshot_call *self)
{
    self->front->snapshot_count--;
    io_loop_timer_stop(self->front->config.loop, &self->stall);
    io_loop_timer_stop(self->front->config.loop, &self->pace);
    snapshot_source_free(self->source);
    buf_done(&self->pages);
    free(self);
}

static void snapshot_release(struct request *request)
{
    struct snapshot_call *self = request->data;
    self->request = NULL;
    if (!self->at_worker)
        snapshot_free(self); /* else when it comes back */
}

static void snapshot_to_worker(struct snapshot_call *self)
{
    struct front *front = self->front;
    CHECK(self->request && !self->at_worker);
    self->at_worker = true;
    front->snapshots_at_worker++;
    list_remove(&self->request->node);
    io_loop_timer_stop(front->config.loop, &self->pace);
    buf_consume(&self->pages, self->sent);
    self->sent = 0;
    self->worked_ns = 0;
    self->job = (struct io_job){.work = snapshot_work};
    io_workers_post(front->config.workers, &self->job);
}

/* The next pages are wanted, once the last ones' rest is over. */
static void snapshot_want(struct snapshot_call *self)
{
    uint64_t now_ns = clock_mono_ns();
    if (now_ns >= self->rest_to_ns) {
        snapshot_to_worker(self);
        return;
    }
    list_remove(&self->request->node);
    io_loop_timer_after(self->front->config.loop, &self->pace,
                        (self->rest_to_ns - now_ns) / NS_PER_MS + 1);
}

/* The client took something: the next minute begins. */
static void snapshot_moved(struct snapshot_call *self)
{
    io_loop_timer_after(self->front->config.loop, &self->stall, STALL_MS);
}

static void snapshot_stalled(void *ctx)
{
    struct snapshot_call *self = ctx;
    struct request *request = self->request;
    if (self->at_worker)
        snapshot_moved(self); /* it is the disk that is slow */
    else if (request->call)
        rpc_call_reset(request->call, HTTP2_CANCEL);
    else if (request->exchange)
        http_exchange_abort(request->exchange);
}

static void send_message(struct snapshot_call *self, struct bytes blob)
{
    uint8_t head[1 + WIRE_VARINT_BYTES_MAX + 16], tail[16];
    struct bytes version = bytes_str(snapshot_source_version(self->source));
    uint8_t *at = wire_put_varint_field(head, 2, self->remaining);
    at = wire_put_prefix(at, 3, blob.len);
    size_t tail_len = version.len ? (size_t)(wire_put_prefix(tail, 4, version.len) - tail) : 0;
    struct bytes parts[] = {bytes_of(head, (size_t)(at - head)), blob, bytes_of(tail, tail_len),
                            version};
    request_send(self->request, parts, 4);
    snapshot_moved(self);
}

static bool snapshot_finish(struct snapshot_call *self)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    snapshot_source_digest(self->source, digest);
    send_message(self, bytes_of(digest, sizeof(digest)));
    metric_observe_ns(&snapshot_seconds, clock_mono_ns() - self->begin_ns);
    request_finish(self->request);
    return false;
}

/* The request's job while there are pages: false once it rests or is over. */
static bool snapshot_send(struct request *request)
{
    struct snapshot_call *self = request->data;
    size_t left = self->pages.len - self->sent;
    if (self->at_worker || !request_writable(request)) {
        list_remove(&request->node); /* until it is back, or writable again */
        return true;
    }
    if (left == 0 && self->end)
        return snapshot_finish(self);
    if (left < CHUNK_BYTES && !self->end) {
        snapshot_want(self);
        return true;
    }
    size_t chunk = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    CHECK(chunk <= self->remaining);
    self->remaining -= chunk;
    send_message(self, bytes_of(self->pages.data + self->sent, chunk));
    self->sent += chunk;
    return true;
}

static void snapshot_came_back(struct snapshot_call *self)
{
    struct front *front = self->front;
    self->at_worker = false;
    self->rest_to_ns = clock_mono_ns() + self->worked_ns;
    front->snapshots_at_worker--;
    if (!self->request) {
        snapshot_free(self);
        return;
    }
    if (self->request->state == REQUEST_ANSWERED)
        return; /* failed meanwhile: the server stops */
    if (self->error.code) {
        request_fail(self->request, self->error);
        return;
    }
    if (self->measured && !self->told) {
        self->told = true;
        self->remaining = snapshot_source_bytes(self->source);
        front->config.snapshot(self->remaining, snapshot_source_version(self->source));
    }
    front_add_job(self->request, snapshot_send);
}

static void snapshot_rested(void *ctx)
{
    struct snapshot_call *self = ctx;
    if (self->request && self->request->state != REQUEST_ANSWERED)
        front_add_job(self->request, snapshot_send);
}

void maintenance_snapshot_results(struct front *front)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&front->snapshot_results); node; node = next) {
        next = node->next;
        /* The worker has done with the front too. */
        while (sem_wait(&front->snapshot_returned) != 0)
            ;
        snapshot_came_back(LIST_ENTRY(node, struct snapshot_call, node));
    }
}

void maintenance_snapshots_close(struct front *front)
{
    while (front->snapshots_at_worker > 0) {
        while (sem_wait(&front->snapshot_returned) != 0)
            ;
        CHECK(sem_post(&front->snapshot_returned) == 0);
        maintenance_snapshot_results(front);
    }
}

void maintenance_snapshot(struct request *request, const ProtobufCMessage *message)
{
    struct front *front = request->front;
    if (front->snapshot_count >= SNAPSHOTS_MAX) {
        request_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
        return;
    }
    struct snapshot_call *self = calloc(1, sizeof(*self));
    CHECK(self);
    front->snapshot_count++;
    self->front = front;
    self->request = request;
    self->begin_ns = clock_mono_ns();
    io_timer_init(&self->stall, snapshot_stalled, self);
    io_timer_init(&self->pace, snapshot_rested, self);
    request->data = self;
    request->release = snapshot_release;
    snapshot_moved(self);
    snapshot_to_worker(self);
}
