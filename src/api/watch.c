#include "api/watch_internal.h"

#include "api/kv.h"
#include "base/check.h"
#include "base/clock.h"
#include "wire/encode.h"

#include <stdlib.h>

/* Fields of WatchResponse behind its header. */
enum {
    FIELD_WATCH_ID = 2,
    FIELD_CREATED = 3,
    FIELD_CANCELED = 4,
    FIELD_COMPACT_REVISION = 5,
    FIELD_CANCEL_REASON = 6,
    FIELD_FRAGMENT = 7,
};

/* ── Responses ──────────────────────────────────────────────────────────────────────────────── */

size_t watch_head_put(const struct request *request, const struct watch_head *head,
                      uint8_t out[WATCH_HEAD_BYTES_MAX])
{
    struct wire_header header = request_header(request, front_view(request->front), head->revision);
    uint8_t *at = wire_put_header_field(out, &header);
    at = wire_put_varint_field(at, FIELD_WATCH_ID, (uint64_t)head->watch_id);
    at = wire_put_varint_field(at, FIELD_CREATED, head->created);
    at = wire_put_varint_field(at, FIELD_CANCELED, head->canceled);
    at = wire_put_varint_field(at, FIELD_COMPACT_REVISION, (uint64_t)head->compact_revision);
    if (head->reason)
        at = wire_put_bytes_field(at, FIELD_CANCEL_REASON, bytes_str(head->reason));
    at = wire_put_varint_field(at, FIELD_FRAGMENT, head->fragment);
    return (size_t)(at - out);
}

static void send_control(struct watch_client *self, const struct watch_head *head)
{
    uint8_t bytes[WATCH_HEAD_BYTES_MAX];
    uint64_t begin_ns = clock_mono_ns();
    struct bytes part = bytes_of(bytes, watch_head_put(self->request, head, bytes));
    request_send(self->request, &part, 1);
    watch_metrics_took(WATCH_TIMING_CONTROL, clock_mono_ns() - begin_ns);
}

static int64_t current_revision(const struct watch_client *self)
{
    return front_view(self->request->front)->mvcc->revision;
}

/* Of one message, to those who take it in parts. */
static size_t part_limit(const struct watch_client *self)
{
    return self->request->front->config.max_request_bytes + (512 << 10) - WATCH_HEAD_BYTES_MAX;
}

static bool goes_in_parts(const struct watch_client *self, const struct watch_delivery *delivery)
{
    return (delivery->flags & WATCH_FRAGMENT) && delivery->count > 1 && self->request->call &&
           delivery->bytes >= part_limit(self);
}

static void work_begin(struct watch_client *self)
{
    struct watch_front *watch = self->request->front->watch;
    list_remove(&self->busy_node);
    list_push(&watch->busy, &self->busy_node);
    watch_front_wake(watch);
}

static bool client_deliver(void *owner, const struct watch_delivery *delivery)
{
    struct watch_client *self = owner;
    struct request *request = self->request;
    struct watch_front *watch = request->front->watch;
    if (request->state != REQUEST_OPEN || self->parts || !request_writable(request))
        return false;
    if (goes_in_parts(self, delivery)) {
        self->parts = watch_parts_new(request, delivery, part_limit(self));
        work_begin(self);
    } else if (delivery->events.len == 0) {
        watch_send_large(request, delivery);
    } else {
        uint8_t bytes[WATCH_HEAD_BYTES_MAX];
        struct watch_head head = {.revision = delivery->revision, .watch_id = delivery->watch_id};
        struct bytes parts[] = {bytes_of(bytes, watch_head_put(request, &head, bytes)),
                                delivery->events};
        request_send(request, parts, 2);
    }
    watch->told_responses++;
    watch->told_events += delivery->count;
    return true;
}

static void client_compacted(void *owner, int64_t watch_id, int64_t compact_revision)
{
    struct watch_client *self = owner;
    send_control(self, &(struct watch_head){.watch_id = watch_id,
                                            .canceled = true,
                                            .compact_revision = compact_revision});
}

static void client_progress(void *owner, int64_t watch_id, int64_t revision)
{
    struct watch_client *self = owner;
    if (self->parts) { /* it is said behind them */
        self->progress = watch_id == WATCH_ID_ALL ? revision : self->progress;
        return;
    }
    uint8_t bytes[WATCH_HEAD_BYTES_MAX];
    struct watch_head head = {.revision = revision, .watch_id = watch_id};
    uint64_t begin_ns = clock_mono_ns();
    struct bytes part = bytes_of(bytes, watch_head_put(self->request, &head, bytes));
    request_send(self->request, &part, 1);
    watch_metrics_took(WATCH_TIMING_PROGRESS, clock_mono_ns() - begin_ns);
}

static const struct watch_ops client_ops = {client_deliver, client_compacted, client_progress};

/* ── Work in slices ─────────────────────────────────────────────────────────────────────────── */

static void parts_done(struct watch_client *self)
{
    struct front *front = self->request->front;
    watch_parts_free(self->parts, front);
    self->parts = NULL;
    if (self->progress)
        client_progress(self, WATCH_ID_ALL, self->progress);
    self->progress = 0;
    if (self->owner.stream)
        watch_stream_ready(front->watch->hub, self->owner.stream);
}

bool watch_client_work(struct watch_client *self, unsigned *budget)
{
    if (!self->owner.stream || self->request->state != REQUEST_OPEN)
        return true;
    if (self->parts) {
        bool waits, done;
        err e = watch_parts_run(self->parts, self->request, budget, &waits, &done);
        if (e.code) {
            call_metrics_stream_failed(self->request->method, true);
            request_fail(self->request, ERR_UNHEALTHY);
        } else if (done) {
            parts_done(self);
        }
        return e.code || waits || (done && !self->notifies);
    }
    if (!request_writable(self->request)) {
        self->notifies = true; /* until on_writable */
        return true;
    }
    self->notifies = !watch_stream_notify(self->request->front->watch->hub, self->owner.stream,
                                          &self->notify_place, budget);
    return !self->notifies;
}

static void notify_timer(void *ctx)
{
    struct watch_client *self = ctx;
    io_loop_timer_after(self->request->front->config.loop, &self->timer, self->notify_ms);
    if (!self->notifies)
        self->notify_place = 0;
    self->notifies = true;
    work_begin(self);
}

/* Up to a tenth more, each stream its own, so that they do not all speak at once. */
static void notify_arm(struct watch_client *self)
{
    struct front *front = self->request->front;
    if (self->notify_ms)
        return;
    uint64_t interval_ms = front->config.watch_progress_ms;
    self->notify_ms = interval_ms + prng_below(&front->watch->prng, interval_ms / 10 + 1);
    io_loop_timer_after(front->config.loop, &self->timer, self->notify_ms);
}

/* ── Life of a stream ───────────────────────────────────────────────────────────────────────── */

static void client_release(struct request *request)
{
    struct watch_client *self = request->data;
    io_loop_timer_stop(request->front->config.loop, &self->timer);
    list_remove(&self->busy_node);
    watch_parts_free(self->parts, request->front);
    watch_owner_done(&self->owner, request->front->watch);
    free(self);
}

static void client_lost(struct watch_owner *owner, err why)
{
    struct request *request = ((struct watch_client *)owner)->request;
    (void)why;
    call_metrics_stream_failed(request->method, true);
    request_fail(request, ERR_UNHEALTHY);
}

static void client_writable(struct request *request)
{
    struct watch_client *self = request->data;
    if (self->paused && request->call)
        rpc_call_resume(request->call);
    self->paused = false;
    if (!self->owner.stream)
        return;
    if (!self->parts)
        watch_stream_ready(request->front->watch->hub, self->owner.stream);
    if (self->parts || self->notifies)
        work_begin(self);
    watch_front_wake(request->front->watch);
}

static void client_half_closed(struct request *request)
{
    (void)request; /* it listens on */
}

static struct watch_client *client_new(struct request *request)
{
    struct watch_client *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->request = request;
    self->owner.ops = &client_ops;
    self->owner.lost = client_lost;
    list_init(&self->busy_node);
    io_timer_init(&self->timer, notify_timer, self);
    watch_owner_init(&self->owner, request->front->watch);
    request->data = self;
    request->release = client_release;
    request->on_writable = client_writable;
    request->on_half_closed = client_half_closed;
    if (request->call)
        rpc_call_headers(request->call);
    return self;
}

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

static unsigned flags_of(const Etcdserverpb__WatchCreateRequest *create)
{
    unsigned flags = (create->prev_kv ? WATCH_PREV_KV : 0) |
                     (create->fragment ? WATCH_FRAGMENT : 0) |
                     (create->progress_notify ? WATCH_NOTIFY : 0);
    for (size_t i = 0; i < create->n_filters; i++) {
        int filter = (int)create->filters[i];
        if (filter == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT)
            flags |= WATCH_NO_PUT;
        else if (filter == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE)
            flags |= WATCH_NO_DELETE;
    }
    return flags;
}

static void serve_create(struct watch_client *self, const Etcdserverpb__WatchCreateRequest *create)
{
    struct front *front = self->request->front;
    struct watch_spec spec = {.key = bytes_pb(create->key),
                              .range_end = bytes_pb(create->range_end),
                              .start_revision = create->start_revision,
                              .id = create->watch_id,
                              .flags = flags_of(create)};
    struct watch_head head = {.revision = current_revision(self), .created = true};
    err e = watch_create(front->watch->hub, self->owner.stream, &spec, front_view(front)->mvcc,
                         &head.watch_id);
    if (e.code) {
        head.watch_id = WATCH_ID_ALL;
        head.canceled = true;
        head.reason = err_text(e);
    } else if (create->progress_notify) {
        notify_arm(self);
    }
    send_control(self, &head);
}

static void serve_cancel(struct watch_client *self, int64_t id)
{
    if (!watch_cancel(self->request->front->watch->hub, self->owner.stream, id))
        return;
    send_control(self, &(struct watch_head){
                           .revision = current_revision(self), .watch_id = id, .canceled = true});
}

void watch_serve(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchRequest *watch = (const void *)message;
    err e = request_rest(request);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    struct watch_client *self = request->data ? request->data : client_new(request);
    if (!self->owner.stream)
        return; /* it is ending */
    switch (watch->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        serve_create(self, watch->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        serve_cancel(self, watch->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        watch_stream_ask_progress(request->front->watch->hub, self->owner.stream);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__NOT_SET:
    case _ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__CASE_IS_INT_SIZE:
    default:
        break;
    }
    watch_front_wake(request->front->watch);
    request_forget_message(request);
    if (request->call && request->state == REQUEST_OPEN && !request_writable(request)) {
        self->paused = true;
        rpc_call_pause(request->call);
    }
}
