/* GET with wait of the v2 API: the head at once, then the next event of the path, or with stream
 * one after the other. What is watched is the API's own history, the key of the last change; what
 * deletes nodes without a change of the API is the end of a lease. */
#include "api/v2_internal.h"

#include "api/watch_tell.h"
#include "base/check.h"
#include "base/clock.h"

#include <stdlib.h>

/* A client that reads nothing loses its stream rather than the member its memory. */
#define UNSENT_BYTES_MAX ((size_t)1 << 20)

struct v2_wait {
    struct v2_params params; /* its bytes are the request's */
    int64_t begin;           /* the store's revision when it began */
    int64_t change;          /* the last revision that was a change of the API */
    struct arena scratch;
};

static void wait_release(struct request *request)
{
    struct v2_wait *self = request->data;
    v2_count(V2_WATCHERS, -1);
    arena_done(&self->scratch);
    free(self);
}

/* Is one path the other, or above it? */
static bool is_above(struct bytes above, struct bytes path)
{
    return above.len == 1 || (bytes_has_prefix(path, above) &&
                              (path.len == above.len || path.data[above.len] == '/'));
}

static bool has_hidden(struct bytes path)
{
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.data[i] == '/' && path.data[i + 1] == '_')
            return true;
    return false;
}

static bool is_told(const struct v2_wait *self, const struct v2_event *event)
{
    struct bytes watched = self->params.path, path = event->path;
    if (event->refresh)
        return false;
    if (bytes_equal(watched, path))
        return true;
    /* What is hidden is found in the history, and not told when it happens: so it is in etcd. */
    if (is_above(watched, path))
        return self->params.recursive &&
               (event->node.modified <= self->begin ||
                !has_hidden(bytes_skip(path, watched.len == 1 ? 0 : watched.len)));
    /* A directory has gone, and with it what is watched. */
    bool goes = event->action == V2_DELETE || event->action == V2_EXPIRE;
    return goes && is_above(path, watched);
}

/* The event of a change that the store tells of; false: none, or none that can be read. */
static bool event_of(struct v2_wait *self, const struct watch_event *change,
                     struct v2_event *ret_event)
{
    struct mvcc_kv kv;
    struct bytes path;
    if (mvcc_kv_decode(change->kv, &kv).code)
        return false;
    if (!v2_path_of(&self->scratch, kv.key, &path)) {
        self->change = change->revision;
        return !change->is_delete && err_ok(v2_event_decode(kv.value, change->revision, ret_event));
    }
    if (!change->is_delete || change->revision == self->change)
        return false;
    *ret_event = (struct v2_event){.action = V2_EXPIRE, .path = path};
    if (change->before.len && err_ok(v2_node_of_kv(change->before, &ret_event->before))) {
        ret_event->has_before = true;
        ret_event->node.dir = ret_event->before.dir;
        ret_event->node.created = v2_node_created(&ret_event->before);
    }
    ret_event->node.modified = change->revision;
    return true;
}

static bool told(struct request *request, const struct watch_event *change, err why)
{
    struct v2_wait *self = request->data;
    if (!change) {
        http_exchange_abort(request->exchange);
        return false;
    }
    struct v2_event event;
    arena_reset(&self->scratch);
    if (!event_of(self, change, &event) || !is_told(self, &event))
        return true;
    struct buf out;
    buf_init(&out, 0);
    err e = v2_put_event(&out, &event, (int64_t)clock_wall_ns());
    if (err_ok(e))
        http_response_body(request->exchange, buf_bytes(&out));
    buf_done(&out);
    if (self->params.stream && err_ok(e)) {
        if (http_exchange_unsent_bytes(request->exchange) <= UNSENT_BYTES_MAX)
            return true;
        http_exchange_abort(request->exchange);
        return false;
    }
    request->state = REQUEST_ANSWERED;
    http_response_end(request->exchange);
    return false;
}

void v2_watch(struct request *request, const struct v2_params *params)
{
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    int64_t from = params->wait_index < INT64_MAX ? (int64_t)params->wait_index : INT64_MAX;
    if (from && from <= view->compact_revision) {
        v2_refuse(
            request,
            (struct v2_refusal){
                V2_CLEARED,
                arena_printf(&request->arena, "the requested history has been cleared [%lld/%lld]",
                             (long long)view->compact_revision + 1, (long long)from)},
            view->revision);
        return;
    }
    err e = request_rest(request);
    if (e.code) {
        v2_fail(request, e);
        return;
    }
    struct v2_wait *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->params = *params;
    self->begin = view->revision;
    arena_init(&self->scratch, 512);
    v2_count(V2_WATCHERS, 1);
    v2_count(V2_WATCH_REQUESTS, 1);
    request->data = self;
    request->release = wait_release;
    struct bytes log = v2_key(&request->arena, BYTES_LIT("/"));
    const struct watch_tale_spec spec = {.key = log,
                                         .range_end = v2_key_end(&request->arena, log),
                                         .revision = from,
                                         .flags = WATCH_PREV_KV};
    e = watch_tell(request, &spec, told);
    if (e.code) {
        v2_fail(request, e);
        return;
    }
    v2_answer_begin(request, 200, view->revision, HTTP_LENGTH_UNKNOWN);
}
