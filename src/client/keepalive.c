#include "client/keepalive.h"

#include "base/check.h"
#include "client/client_internal.h"

#include <stdlib.h>

#define RETRY_MS    100
#define ARENA_BYTES 1024

struct client_keepalive {
    struct client *client;
    struct client_keepalive_request request;
    struct client_call *call; /* NULL: none is open or opening */
    bool open;
    bool over; /* lost, or being freed */
    bool freed;
    struct io_timer next; /* the next request */
    struct io_timer end;  /* without another answer it is lost then */
    struct arena arena;   /* of the call */
};

static void lose(struct client_keepalive *self)
{
    if (self->over)
        return;
    self->over = true;
    if (self->call)
        client_call_cancel(self->call);
    self->request.lost(self->request.ctx);
}

static void on_end(void *ctx)
{
    lose(ctx);
}

static void renew(struct client_keepalive *self)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = self->request.lease;
    client_call_send(self->call, &request.base);
}

static void on_next(void *ctx)
{
    struct client_keepalive *self = ctx;
    if (self->open && !self->over)
        renew(self);
}

static void on_opened(void *ctx)
{
    struct client_keepalive *self = ctx;
    self->open = true;
    renew(self);
}

static void on_response(void *ctx, const ProtobufCMessage *message)
{
    struct client_keepalive *self = ctx;
    const Etcdserverpb__LeaseKeepAliveResponse *response =
        (const Etcdserverpb__LeaseKeepAliveResponse *)message;
    struct io_loop *loop = self->client->hub.loop;
    if (self->over || response->id != self->request.lease)
        return;
    if (response->ttl <= 0) {
        lose(self);
        return;
    }
    uint64_t ttl_ms = response->ttl > INT64_MAX / 1000 ? INT64_MAX : (uint64_t)response->ttl * 1000;
    io_loop_timer_after(loop, &self->next, ttl_ms / 3);
    io_loop_timer_after(loop, &self->end, ttl_ms);
    if (self->request.renewed)
        self->request.renewed(self->request.ctx, response);
}

static void keepalive_delete(struct client_keepalive *self)
{
    struct io_loop *loop = self->client->hub.loop;
    io_loop_timer_stop(loop, &self->next);
    io_loop_timer_stop(loop, &self->end);
    arena_done(&self->arena);
    free(self);
}

static void stream_open(struct client_keepalive *self, uint64_t delay_ms);

static void on_done(void *ctx, const struct client_result *result)
{
    struct client_keepalive *self = ctx;
    self->call = NULL;
    self->open = false;
    if (self->freed)
        keepalive_delete(self);
    else if (!self->over && !self->client->closing)
        stream_open(self, RETRY_MS);
}

static void stream_open(struct client_keepalive *self, uint64_t delay_ms)
{
    arena_reset(&self->arena);
    const struct client_request request = {
        .method = &client_lease_keep_alive,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .delay_ms = delay_ms,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .arena = &self->arena,
        .piece = on_response,
        .opened = on_opened,
        .done = on_done,
        .ctx = self,
    };
    self->call = client_call_start(self->client, &request);
}

struct client_keepalive *client_keepalive_new(struct client *client,
                                              const struct client_keepalive_request *request)
{
    struct client_keepalive *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->client = client;
    self->request = *request;
    arena_init(&self->arena, ARENA_BYTES);
    io_timer_init(&self->next, on_next, self);
    io_timer_init(&self->end, on_end, self);
    io_loop_timer_after(client->hub.loop, &self->end, request->patience_ms);
    stream_open(self, 0);
    return self;
}

void client_keepalive_free(struct client_keepalive *self)
{
    if (!self)
        return;
    self->over = true;
    self->freed = true;
    if (self->call) /* on_done frees it */
        client_call_cancel(self->call);
    else
        keepalive_delete(self);
}
