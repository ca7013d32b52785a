#include "client/watch.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>

#define RETRY_MS_MIN 25
#define RETRY_MS_MAX 1000
#define ARENA_BYTES  1024

struct client_watch {
    struct client_watch_stream *stream;
    struct list node; /* waiting, creating or live */
    struct client_watch_request request;
    struct buf key, range_end; /* what request.key and range_end lie in */
    int64_t next;              /* rule 2; 0: from now on */
    int64_t id;                /* live */
    bool live;
    bool told_created;
    bool cancelled; /* while creating or ending: goes in silence */
    bool ending;    /* its cancellation is being told */
};

struct client_watch_stream {
    struct client *client;
    struct client_call *call; /* NULL: none is open or opening */
    bool open;
    bool paused;
    bool has_leader;
    bool progress; /* wanted when it opens */
    bool closing;
    struct list waiting, creating, live;
    struct map by_id; /* live; the key is id + 1, since ids begin at 0 */
    uint64_t retry_ms;
    struct arena arena; /* of the call */
};

static void watch_free(struct client_watch *self)
{
    list_remove(&self->node);
    if (self->live)
        (void)map_remove(&self->stream->by_id, (uint64_t)self->id + 1);
    buf_done(&self->key);
    buf_done(&self->range_end);
    free(self);
}

static void watch_end(struct client_watch *self, const struct client_result *result)
{
    const struct client_watch_request request = self->request;
    bool silent = self->cancelled;
    watch_free(self);
    if (!silent)
        request.ended(request.ctx, result);
}

/* ---- asking ----------------------------------------------------------------------------- */

static ProtobufCBinaryData field_of(const struct buf *buf)
{
    return (ProtobufCBinaryData){.len = buf->len, .data = buf->data};
}

static void send_create(struct client_watch_stream *self, struct client_watch *watch)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    create.key = field_of(&watch->key);
    create.range_end = field_of(&watch->range_end);
    create.start_revision = watch->next;
    create.prev_kv = watch->request.prev_kv;
    create.progress_notify = watch->request.progress_notify;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    list_remove(&watch->node);
    list_push(&self->creating, &watch->node);
    client_call_send(self->call, &request.base);
}

static void send_cancel(struct client_watch_stream *self, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    client_call_send(self->call, &request.base);
}

static void send_progress(struct client_watch_stream *self)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    client_call_send(self->call, &request.base);
}

static void on_opened(void *ctx)
{
    struct client_watch_stream *self = ctx;
    self->open = true;
    if (self->paused)
        client_call_pause(self->call);
    LIST_FOREACH_SAFE (node, after, &self->waiting)
        send_create(self, LIST_ENTRY(node, struct client_watch, node));
    if (self->progress)
        send_progress(self);
    self->progress = false;
}

/* ---- what is told ----------------------------------------------------------------------- */

static int64_t header_revision(const Etcdserverpb__WatchResponse *response)
{
    return response->header ? response->header->revision : 0;
}

static void tell_end(struct client_watch *self, const Etcdserverpb__WatchResponse *response)
{
    self->ending = true;
    if (!self->cancelled)
        self->request.told(self->request.ctx, response);
    watch_end(self, NULL);
}

static void on_created(struct client_watch_stream *self,
                       const Etcdserverpb__WatchResponse *response)
{
    if (list_empty(&self->creating)) /* nobody asked */
        return;
    struct client_watch *watch = LIST_ENTRY(self->creating.next, struct client_watch, node);
    bool taken = map_get(&self->by_id, (uint64_t)response->watch_id + 1) != NULL;
    if (response->canceled || response->watch_id < 0 || taken) {
        tell_end(watch, response);
        return;
    }
    if (watch->cancelled) {
        send_cancel(self, response->watch_id);
        watch_free(watch);
        return;
    }
    watch->id = response->watch_id;
    watch->live = true;
    list_remove(&watch->node);
    list_push(&self->live, &watch->node);
    (void)map_put(&self->by_id, (uint64_t)watch->id + 1, watch);
    if (watch->next == 0)
        watch->next = header_revision(response) + 1;
    if (!watch->told_created && watch->request.created)
        watch->request.created(watch->request.ctx, header_revision(response));
    watch->told_created = true;
}

static void tell(struct client_watch *self, const Etcdserverpb__WatchResponse *response)
{
    int64_t seen = header_revision(response);
    if (response->n_events > 0) {
        const Mvccpb__KeyValue *kv = response->events[response->n_events - 1]->kv;
        seen = kv ? kv->mod_revision : 0;
    }
    if (seen >= self->next)
        self->next = seen + 1;
    self->request.told(self->request.ctx, response);
}

static void on_response(void *ctx, const ProtobufCMessage *message)
{
    struct client_watch_stream *self = ctx;
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)message;
    self->retry_ms = 0;
    if (response->created) {
        on_created(self, response);
        return;
    }
    if (response->watch_id < 0) { /* how far all of them are */
        LIST_FOREACH_SAFE (node, after, &self->live)
            tell(LIST_ENTRY(node, struct client_watch, node), response);
        return;
    }
    struct client_watch *watch = map_get(&self->by_id, (uint64_t)response->watch_id + 1);
    if (!watch) /* cancelled here in the meantime */
        return;
    if (!response->canceled) {
        tell(watch, response);
        return;
    }
    tell_end(watch, response);
}

/* ---- the stream's life ------------------------------------------------------------------ */

static void all_wait(struct client_watch_stream *self)
{
    struct list *const lists[] = {&self->creating, &self->live};
    for (unsigned i = 0; i < 2; i++)
        LIST_FOREACH_SAFE (node, after, lists[i]) {
            struct client_watch *watch = LIST_ENTRY(node, struct client_watch, node);
            if (watch->live)
                (void)map_remove(&self->by_id, (uint64_t)watch->id + 1);
            watch->live = false;
            list_remove(node);
            if (watch->cancelled)
                watch_free(watch);
            else
                list_push(&self->waiting, node);
        }
}

static bool worth_another(const struct client_watch_stream *self,
                          const struct client_result *result)
{
    static const struct bytes no_leader = BYTES_LIT("etcdserver: no leader");
    if (result->local && result->status == GRPC_CANCELLED) /* the client is going */
        return false;
    if (self->has_leader && bytes_equal(result->text, no_leader))
        return false;
    return result->status == GRPC_UNAVAILABLE || result->status == GRPC_INTERNAL ||
           result->status == GRPC_CANCELLED || result->status == GRPC_OK;
}

static void stream_open(struct client_watch_stream *self);

static void on_done(void *ctx, const struct client_result *result)
{
    struct client_watch_stream *self = ctx;
    self->call = NULL;
    self->open = false;
    if (self->closing) {
        arena_done(&self->arena);
        map_done(&self->by_id);
        free(self);
        return;
    }
    all_wait(self);
    if (worth_another(self, result)) {
        self->retry_ms = self->retry_ms ? self->retry_ms * 2 : RETRY_MS_MIN;
        if (self->retry_ms > RETRY_MS_MAX)
            self->retry_ms = RETRY_MS_MAX;
        if (!list_empty(&self->waiting))
            stream_open(self);
        return;
    }
    LIST_FOREACH_SAFE (node, after, &self->waiting)
        watch_end(LIST_ENTRY(node, struct client_watch, node), result);
}

static void stream_open(struct client_watch_stream *self)
{
    arena_reset(&self->arena);
    const struct client_request request = {
        .method = &client_watch_watch,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .delay_ms = self->retry_ms,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .has_leader = self->has_leader,
        .arena = &self->arena,
        .piece = on_response,
        .opened = on_opened,
        .done = on_done,
        .ctx = self,
    };
    self->call = client_call_start(self->client, &request);
}

struct client_watch_stream *client_watch_stream_new(struct client *client, bool has_leader)
{
    struct client_watch_stream *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->client = client;
    self->has_leader = has_leader;
    list_init(&self->waiting);
    list_init(&self->creating);
    list_init(&self->live);
    map_init(&self->by_id);
    arena_init(&self->arena, ARENA_BYTES);
    return self;
}

static void free_all(struct list *watches)
{
    LIST_FOREACH_SAFE (node, after, watches)
        watch_free(LIST_ENTRY(node, struct client_watch, node));
}

void client_watch_stream_free(struct client_watch_stream *self)
{
    if (!self)
        return;
    free_all(&self->waiting);
    free_all(&self->creating);
    free_all(&self->live);
    self->closing = true;
    if (self->call) /* on_done frees it */
        client_call_cancel(self->call);
    else
        on_done(self, NULL);
}

void client_watch_stream_progress(struct client_watch_stream *self)
{
    if (self->open)
        send_progress(self);
    else
        self->progress = true;
}

void client_watch_stream_pause(struct client_watch_stream *self)
{
    if (self->open && !self->paused)
        client_call_pause(self->call);
    self->paused = true;
}

void client_watch_stream_resume(struct client_watch_stream *self)
{
    if (self->open && self->paused)
        client_call_resume(self->call);
    self->paused = false;
}

static void buf_set(struct buf *self, struct bytes what)
{
    buf_init(self, 0);
    CHECK(err_ok(buf_append(self, what)));
}

struct client_watch *client_watch_start(struct client_watch_stream *self,
                                        const struct client_watch_request *request)
{
    struct client_watch *watch = calloc(1, sizeof(*watch));
    CHECK(watch && !self->closing);
    watch->stream = self;
    watch->request = *request;
    watch->next = request->start_revision;
    buf_set(&watch->key, request->key);
    buf_set(&watch->range_end, request->range_end);
    list_init(&watch->node);
    list_push(&self->waiting, &watch->node);
    if (self->open)
        send_create(self, watch);
    else if (!self->call)
        stream_open(self);
    return watch;
}

void client_watch_cancel(struct client_watch *self)
{
    struct client_watch_stream *stream = self->stream;
    if (!self->ending && (!stream->open || self->live)) {
        if (self->live)
            send_cancel(stream, self->id);
        watch_free(self);
        return;
    }
    /* Of what is being created the turn in the order of answers is still to come. */
    self->cancelled = true;
}
