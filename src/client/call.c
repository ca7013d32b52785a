/* One call: from the request's bytes to the answer, over as many attempts as are harmless. */
#include "base/check.h"
#include "client/client_internal.h"
#include "wire/decode.h"
#include "wire/encode.h"

#include <inttypes.h>
#include <stdlib.h>

#define ATTEMPTS_MAX    100
#define RETRY_MS        25
#define RETRY_JITTER_MS 5

#define PIECE_BLOCK_BYTES 4096

static const char api_version[] = "3.7";

static void move_to(struct client_call *self, struct list *to)
{
    list_remove(&self->node);
    list_push(to, &self->node);
}

void call_end(struct client_call *self, enum grpc_status status, bool local, struct bytes text)
{
    struct client *client = self->client;
    struct client_result *result = &self->result;
    result->status = status;
    result->local = local;
    result->text = arena_copy(self->request.arena, text);
    result->endpoint = self->endpoint;
    if (status != GRPC_OK)
        result->response = NULL;
    if (local)
        result->detail = arena_copy(self->request.arena,
                                    bytes_str(client_failure(client, self->request.endpoint)));
    move_to(self, &client->ended);
    hub_touch(&client->hub);
}

void call_done(struct client_call *self)
{
    if (self->request.done)
        self->request.done(self->request.ctx, &self->result);
    buf_done(&self->message);
    arena_done(&self->piece);
    free(self);
}

static void end_by_deadline(struct client_call *self)
{
    call_end(self, GRPC_DEADLINE_EXCEEDED, true, BYTES_LIT("context deadline exceeded"));
}

/* ---- an attempt's events ---------------------------------------------------------------- */

static void on_message(void *ctx, struct rpc_client_call *rpc, struct bytes message)
{
    struct client_call *self = ctx;
    bool stream = self->request.opened || self->request.pieces_pass;
    struct arena *arena = stream ? &self->piece : self->request.arena;
    ProtobufCMessage *decoded = NULL;
    self->answered = true;
    if (self->garbled || self->cancelled)
        return;
    if (stream)
        arena_reset(arena);
    struct bytes kept = arena_copy(arena, message);
    if (!err_ok(wire_decode(self->request.method->response, kept, arena, NULL, &decoded, NULL))) {
        self->garbled = true;
        if (stream)
            rpc_client_call_cancel(rpc);
        return;
    }
    self->result.response = stream ? NULL : decoded;
    if (self->request.piece)
        self->request.piece(self->request.ctx, decoded);
}

static bool may_repeat(const struct client_call *self, enum grpc_status status)
{
    if (self->answered || self->request.opened || self->client->closing ||
        self->attempts >= ATTEMPTS_MAX)
        return false;
    if (rpc_client_call_unprocessed(self->rpc))
        return true;
    return status == GRPC_UNAVAILABLE && self->read;
}

static void on_closed(void *ctx, struct rpc_client_call *rpc, enum grpc_status status,
                      struct bytes text)
{
    struct client_call *self = ctx;
    struct client *client = self->client;
    uint64_t now_ms = io_loop_now_ms(client->hub.loop);
    if (client->closing || self->cancelled) {
        call_end(self, GRPC_CANCELLED, true, BYTES_LIT("context canceled"));
    } else if (status == GRPC_DEADLINE_EXCEEDED && now_ms >= self->deadline_ms) {
        end_by_deadline(self);
    } else if (status != GRPC_OK && may_repeat(self, status)) {
        self->not_before_ms =
            now_ms + RETRY_MS - RETRY_JITTER_MS / 2 + prng_below(&client->prng, RETRY_JITTER_MS);
        move_to(self, &client->waiting);
        hub_touch(&client->hub);
    } else if (self->garbled && (status == GRPC_OK || self->request.opened)) {
        call_end(self, GRPC_INTERNAL, true,
                 BYTES_LIT("grpc: failed to unmarshal the received message"));
    } else if (status == GRPC_OK && !self->answered && !self->request.piece) {
        call_end(self, GRPC_INTERNAL, true, BYTES_LIT("the server answered without a message"));
    } else {
        call_end(self, status, false, text);
    }
    self->rpc = NULL;
}

static const struct rpc_client_call_handler handler = {.message = on_message, .closed = on_closed};

/* ---- serving ---------------------------------------------------------------------------- */

static bool attempt(struct client_call *self, struct link *link, uint64_t now_ms)
{
    const struct http_header metadata[] = {
        {BYTES_LIT("client-api-version"), bytes_str(api_version)},
        {BYTES_LIT("hasleader"), BYTES_LIT("true")},
    };
    const struct rpc_client_start start = {
        .path = bytes_str(self->request.method->path),
        .metadata = metadata,
        .metadata_count = self->request.has_leader ? 2 : 1,
        .timeout_ms = self->deadline_ms == UINT64_MAX ? UINT64_MAX : self->deadline_ms - now_ms,
    };
    if (!err_ok(rpc_client_call_start(link->rpc, &start, &handler, self, &self->rpc)))
        return false;
    struct bytes message = buf_bytes(&self->message);
    self->endpoint = (unsigned)(link - self->client->links);
    self->attempts++;
    move_to(self, &self->client->sent);
    if (self->request.opened)
        self->request.opened(self->request.ctx);
    else
        rpc_client_call_send(self->rpc, &message, 1, true);
    return true;
}

bool call_serve(struct client_call *self, uint64_t now_ms)
{
    struct hub *hub = &self->client->hub;
    if (self->cancelled) {
        call_end(self, GRPC_CANCELLED, true, BYTES_LIT("context canceled"));
        return true;
    }
    if (now_ms >= self->deadline_ms) {
        end_by_deadline(self);
        return true;
    }
    hub_wake_at(hub, self->deadline_ms);
    if (now_ms < self->not_before_ms) {
        hub_wake_at(hub, self->not_before_ms);
        return true;
    }
    struct link *link = client_pick(self->client, self->request.endpoint);
    return link && attempt(self, link, now_ms);
}

/* ---- the holder's side ------------------------------------------------------------------ */

struct client_call *client_call_start(struct client *self, const struct client_request *request)
{
    struct client_call *call = calloc(1, sizeof(*call));
    CHECK(call && !self->closing);
    CHECK(request->endpoint == CLIENT_ANY_ENDPOINT ||
          (request->endpoint >= 0 && (unsigned)request->endpoint < self->link_count));
    CHECK(request->opened ? !request->message && request->piece : request->message != NULL);
    uint64_t now_ms = io_loop_now_ms(self->hub.loop);
    call->client = self;
    call->request = *request;
    call->read = request->read || request->method->read;
    call->deadline_ms =
        request->timeout_ms == CLIENT_NO_TIMEOUT ? UINT64_MAX : now_ms + request->timeout_ms;
    call->not_before_ms = request->delay_ms ? now_ms + request->delay_ms : 0;
    buf_init(&call->message, 0);
    arena_init(&call->piece, PIECE_BLOCK_BYTES);
    list_init(&call->node);
    list_push(&self->waiting, &call->node);
    hub_touch(&self->hub);
    if (request->opened)
        return call;
    size_t size = wire_encoded_size(request->message);
    if (size > self->send_bytes_max) {
        const char *text =
            arena_printf(request->arena, "trying to send message larger than max (%zu vs. %zu)",
                         size, self->send_bytes_max);
        call_end(call, GRPC_RESOURCE_EXHAUSTED, true, bytes_str(text));
        return call;
    }
    CHECK(err_ok(wire_encode(request->message, &call->message)));
    call->request.message = NULL;
    return call;
}

void client_call_send(struct client_call *self, const ProtobufCMessage *message)
{
    struct buf AUTO(buf_done) out;
    CHECK(self->rpc && self->request.opened);
    buf_init(&out, self->client->send_bytes_max);
    CHECK(err_ok(wire_encode(message, &out)));
    struct bytes bytes = buf_bytes(&out);
    rpc_client_call_send(self->rpc, &bytes, 1, false);
}

void client_call_pause(struct client_call *self)
{
    CHECK(self->rpc && self->request.opened);
    rpc_client_call_pause(self->rpc);
}

void client_call_resume(struct client_call *self)
{
    CHECK(self->rpc && self->request.opened);
    rpc_client_call_resume(self->rpc);
    hub_touch(&self->client->hub);
}

void client_call_cancel(struct client_call *self)
{
    self->cancelled = true;
    if (self->rpc)
        rpc_client_call_cancel(self->rpc);
    hub_touch(&self->client->hub);
}

struct wait {
    struct io_loop *loop;
    const struct client_request *request;
    struct client_result result;
    bool over;
};

static void wait_piece(void *ctx, const ProtobufCMessage *message)
{
    struct wait *self = ctx;
    self->request->piece(self->request->ctx, message);
}

static void wait_done(void *ctx, const struct client_result *result)
{
    struct wait *self = ctx;
    self->result = *result;
    self->over = true;
    io_loop_stop(self->loop);
    if (self->request->done)
        self->request->done(self->request->ctx, result);
}

struct client_result client_call_wait(struct client *self, const struct client_request *request)
{
    struct wait wait = {.loop = self->hub.loop, .request = request};
    struct client_request waited = *request;
    waited.piece = request->piece ? wait_piece : NULL;
    waited.done = wait_done;
    waited.ctx = &wait;
    io_loop_refresh(wait.loop);
    (void)client_call_start(self, &waited);
    while (!wait.over)
        io_loop_run(wait.loop);
    return wait.result;
}
