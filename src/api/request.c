/* A request's life: slot and token, credit, answer, end.
 *
 *     FREE ─new─> OPEN ─message, no credit─> WAITING ─credit─> OPEN ─┬─> AT_CORE ─reply─> OPEN
 *                                                                    └─> ANSWERED
 *     lost (its call or exchange is over): freed at once, or with the reply that is still to come
 *
 * Credit is what keeps memory bounded. It is taken from the message until the answer, and by
 * nothing that waits for its client: neither by a call whose message has not come, nor by a stream
 * that rests, nor by an answer that nobody takes. So what has credit gives it back by itself, and
 * who waits for it gets it. */
#include "api/room.h"
#include "api/watch_tell.h"

#include "base/check.h"
#include "base/clock.h"
#include "wire/encode.h"
#include "wire/json.h"

#include <stdlib.h>

/* What a request costs beside its message. */
#define REQUEST_BYTES 1024

static void slot_take(struct request *self)
{
    struct front *front = self->front;
    if (front->free_count == 0) {
        uint32_t cap = front->slot_cap ? front->slot_cap * 2 : 256;
        front->slots = realloc(front->slots, cap * sizeof(void *));
        front->free_slots = realloc(front->free_slots, cap * sizeof(front->free_slots[0]));
        front->generations = realloc(front->generations, cap * sizeof(front->generations[0]));
        CHECK(front->slots && front->free_slots && front->generations);
        for (uint32_t i = cap; i-- > front->slot_cap;) {
            front->slots[i] = NULL;
            front->generations[i] = 1;
            front->free_slots[front->free_count++] = i;
        }
        front->slot_cap = cap;
    }
    self->slot = front->free_slots[--front->free_count];
    self->generation = front->generations[self->slot];
    front->slots[self->slot] = self;
}

uint64_t request_token(const struct request *self)
{
    return token_make(self->front->config.index, self->slot, self->generation);
}

struct request *request_of_token(struct front *front, uint64_t token)
{
    uint32_t slot = (uint32_t)(token >> 32) & 0xffffffU;
    if (slot >= front->slot_cap)
        return NULL;
    struct request *request = front->slots[slot];
    return request && request->generation == (uint32_t)token ? request : NULL;
}

struct request *request_new(struct front *front, struct client_conn *conn)
{
    struct request *self = front->spare_requests;
    if (self) {
        front->spare_requests = self->data;
        front->spare_request_count--;
    } else {
        self = calloc(1, sizeof(*self));
        CHECK(self);
        arena_init(&self->arena, REQUEST_BYTES);
        list_init(&self->node);
        list_init(&self->room_node);
    }
    self->data = NULL;
    list_push(&conn->requests, &self->conn_node);
    self->front = front;
    self->conn = conn;
    self->begin_ns = clock_mono_ns();
    self->bytes = REQUEST_BYTES;
    self->state = REQUEST_OPEN;
    slot_take(self);
    return self;
}

/* ── Credit ─────────────────────────────────────────────────────────────────────────────────── */

static void count_of_conn(struct request *self, int sign)
{
    if (!self->conn)
        return;
    self->conn->request_count += (unsigned)sign;
    self->conn->request_bytes += (size_t)sign * self->bytes;
}

/* In or out. */
static void count(struct request *self, int sign)
{
    struct front *front = self->front;
    size_t bytes = (size_t)sign * self->bytes;
    switch (self->credit) {
    case CREDIT_WAITS:
        front->waiting_bytes += bytes;
        count_of_conn(self, sign);
        return;
    case CREDIT_TAKEN:
        front->request_count += (unsigned)sign;
        front->request_bytes += bytes;
        count_of_conn(self, sign);
        return;
    case CREDIT_RESTS:
        front->resting_bytes += bytes;
        return;
    case CREDIT_UNREAD:
        if (self->conn)
            self->conn->unread_bytes += bytes;
        return;
    case CREDIT_NONE:
        return;
    }
}

void request_set_credit(struct request *self, enum request_credit credit)
{
    count(self, -1);
    self->credit = credit;
    count(self, 1);
}

void request_count_as(struct request *self, enum request_credit credit)
{
    count(self, -1);
    self->credit = credit;
    self->bytes = REQUEST_BYTES + self->arena.used_bytes + (self->kept ? self->message_bytes : 0);
    count(self, 1);
}

err request_rest(struct request *self)
{
    if (self->credit == CREDIT_RESTS)
        return OK;
    if (self->front->resting_bytes + self->bytes > FRONT_RESTING_BYTES_MAX)
        return ERR_REQUEST_TOO_MANY_REQUESTS;
    request_set_credit(self, CREDIT_RESTS);
    return OK;
}

/* ── End ────────────────────────────────────────────────────────────────────────────────────── */

void request_free(struct request *self)
{
    struct front *front = self->front;
    CHECK(self->state != REQUEST_FREE);
    watch_tell_stop(self);
    front->leader_wishes -= self->wants_leader;
    if (self->release)
        self->release(self);
    list_remove(&self->node);
    list_remove(&self->conn_node);
    request_set_credit(self, CREDIT_NONE);
    free(self->kept);
    front->slots[self->slot] = NULL;
    front->generations[self->slot]++;
    front->free_slots[front->free_count++] = self->slot;
    struct arena arena = self->arena;
    arena_reset(&arena);
    memset(self, 0, sizeof(*self));
    list_init(&self->node);
    list_init(&self->room_node);
    self->arena = arena;
    if (front->spare_request_count < REQUEST_SPARES_MAX) {
        self->data = front->spare_requests;
        front->spare_requests = self;
        front->spare_request_count++;
    } else {
        arena_done(&self->arena);
        free(self);
    }
}

void request_lost(struct request *self)
{
    room_release(self);
    self->call = NULL;
    self->exchange = NULL;
    self->job = NULL;
    list_remove(&self->node);
    if (self->state != REQUEST_AT_CORE && !self->promised)
        request_free(self); /* else with the reply, or with the promise */
}

void request_kept_promise(struct request *self)
{
    self->promised = false;
    if (!self->call)
        request_free(self);
}

void requests_done(struct front *front)
{
    for (uint32_t i = 0; i < front->slot_cap; i++)
        if (front->slots[i])
            request_free(front->slots[i]);
    while (front->spare_requests) {
        struct request *request = front->spare_requests;
        front->spare_requests = request->data;
        arena_done(&request->arena);
        free(request);
    }
    free(front->slots);
    free(front->free_slots);
    free(front->generations);
}

static void tell_slow(const struct request *self, unsigned code, uint64_t took_ns)
{
    const struct front_config *config = &self->front->config;
    const struct method *method = self->method;
    if (!config->warning_unary_ns || took_ns <= config->warning_unary_ns ||
        method->client_streams || method->server_streams)
        return;
    struct io_address remote;
    bool known = self->conn && err_ok(io_socket_peer(&self->conn->socket, &remote));
    const struct front_slow_call call = {.service = method->service,
                                         .method = method->name,
                                         .remote = known ? &remote : NULL,
                                         .took_ns = took_ns,
                                         .request_bytes = self->message_bytes,
                                         .code = code};
    config->slow(&call);
}

static void count_end(struct request *self, unsigned code)
{
    if (self->method && self->state != REQUEST_ANSWERED) {
        uint64_t now_ns = clock_mono_ns();
        uint64_t took_ns = now_ns - self->begin_ns;
        call_metrics_handled(self->method, code, took_ns);
        if (code == GRPC_OK || self->asked)
            call_metrics_request(self->method, self->only_reads, code, took_ns);
        if (self->range_ns)
            call_metrics_range(code == GRPC_OK, now_ns - self->range_ns);
        tell_slow(self, code, took_ns);
    }
    self->state = REQUEST_ANSWERED;
    request_set_credit(self, CREDIT_UNREAD);
    self->job = NULL;
    list_remove(&self->node);
}

/* gRPC codes as the gateway maps them. */
static unsigned http_status_of(unsigned code)
{
    static const uint16_t statuses[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                        400, 409, 400, 501, 500, 503, 500, 401};
    return code < sizeof(statuses) / sizeof(statuses[0]) ? statuses[code] : 500;
}

static void exchange_fail(struct request *self, unsigned code, struct bytes text)
{
    struct buf body;
    buf_init(&body, 0);
    struct bytes quoted = arena_copy(&self->arena, text);
    err e = buf_printf(&body, "%s{\"code\":%u,\"message\":", self->streaming ? "{\"error\":" : "",
                       code);
    if (err_ok(e))
        e = wire_json_write_string(quoted, WIRE_JSON_GATEWAY, &body);
    if (err_ok(e))
        e = buf_append(&body, self->streaming ? BYTES_LIT("}}\n") : BYTES_LIT("}"));
    CHECK(err_ok(e));
    if (self->streaming) {
        http_response_body(self->exchange, buf_bytes(&body));
        http_response_end(self->exchange);
    } else {
        http_response(self->exchange, http_status_of(code), "application/json", buf_bytes(&body));
    }
    buf_done(&body);
}

void request_fail_text(struct request *self, enum grpc_status status, struct bytes text)
{
    count_end(self, status);
    if (self->call)
        rpc_call_finish(self->call, status, text);
    else if (self->exchange)
        exchange_fail(self, status, text);
}

void request_fail(struct request *self, err e)
{
    if (self->fail) {
        if (self->exchange)
            self->fail(self, e);
        return;
    }
    enum grpc_status status = self->hides_codes ? GRPC_UNKNOWN : (enum grpc_status)err_grpc_code(e);
    request_fail_text(self, status, bytes_str(err_text(e)));
}

/* A gateway's answer: the message again, decoded by its own schema, as JSON. */
static err exchange_json(struct request *self, const struct bytes *parts, unsigned part_count,
                         struct buf *out)
{
    struct buf whole;
    buf_init(&whole, 0);
    err e = OK;
    for (unsigned i = 0; i < part_count && err_ok(e); i++)
        e = buf_append(&whole, parts[i]);
    struct arena arena;
    arena_init(&arena, 65536);
    ProtobufCMessage *message;
    if (err_ok(e))
        e = wire_decode(self->method->output, buf_bytes(&whole), &arena, NULL, &message, NULL);
    if (err_ok(e))
        e = wire_json_write(message, WIRE_JSON_GATEWAY, out);
    arena_done(&arena);
    buf_done(&whole);
    return e;
}

void request_begin_json(struct request *self, uint64_t length)
{
    static const struct http_header headers[] = {
        {{(const uint8_t *)"Content-Type", 12}, {(const uint8_t *)"application/json", 16}},
        {{(const uint8_t *)"Grpc-Metadata-Content-Type", 26},
         {(const uint8_t *)"application/grpc", 16}},
    };
    http_response_begin(self->exchange, 200, headers, 2, length);
}

/* One message of a stream, as a line. */
static void exchange_send(struct request *self, const struct bytes *parts, unsigned part_count)
{
    struct buf line;
    buf_init(&line, 0);
    if (!self->streaming)
        request_begin_json(self, HTTP_LENGTH_UNKNOWN);
    self->streaming = true;
    err e = buf_append(&line, BYTES_LIT("{\"result\":"));
    if (err_ok(e))
        e = exchange_json(self, parts, part_count, &line);
    if (err_ok(e))
        e = buf_append(&line, BYTES_LIT("}\n"));
    CHECK(err_ok(e)); /* our own message */
    http_response_body(self->exchange, buf_bytes(&line));
    buf_done(&line);
}

static void exchange_answer(struct request *self, const struct bytes *parts, unsigned part_count)
{
    struct buf json;
    buf_init(&json, 0);
    err e = exchange_json(self, parts, part_count, &json);
    if (err_ok(e)) {
        request_begin_json(self, json.len);
        http_response_body(self->exchange, buf_bytes(&json));
        http_response_end(self->exchange);
    } else {
        exchange_fail(self, GRPC_INTERNAL, bytes_str(err_text(e)));
    }
    buf_done(&json);
}

void request_answer(struct request *self, const struct bytes *parts, unsigned part_count)
{
    count_end(self, GRPC_OK);
    if (self->call) {
        call_metrics_message(self->method, true);
        rpc_call_answer(self->call, parts, part_count);
    } else if (self->exchange) {
        exchange_answer(self, parts, part_count);
    }
}

void request_answer_promise(struct request *self, const struct rpc_promise *promise)
{
    count_end(self, GRPC_OK);
    self->promised = true;
    if (!self->call) {
        promise->ops->release(promise->ctx);
        return;
    }
    call_metrics_message(self->method, true);
    rpc_call_answer_promise(self->call, promise);
}

void request_answer_message(struct request *self, const ProtobufCMessage *message)
{
    struct bytes encoded = wire_encode_arena(message, &self->arena);
    request_answer(self, &encoded, 1);
}

void request_send(struct request *self, const struct bytes *parts, unsigned part_count)
{
    call_metrics_message(self->method, true);
    if (self->call)
        rpc_call_send(self->call, parts, part_count);
    else if (self->exchange)
        exchange_send(self, parts, part_count);
}

void request_end_json(struct request *self)
{
    count_end(self, GRPC_OK);
    http_response_end(self->exchange);
}

void request_break_json(struct request *self, err why)
{
    count_end(self, err_grpc_code(why));
    http_exchange_abort(self->exchange);
}

bool request_writable(const struct request *self)
{
    if (self->call)
        return rpc_call_writable(self->call);
    return !self->exchange || http_exchange_writable(self->exchange);
}

void request_forget_message(struct request *self)
{
    self->message = NULL;
    self->raw = BYTES_NONE;
    free(TAKE(self->kept));
    arena_reset(&self->arena);
    request_count_as(self, self->credit);
}

void request_finish(struct request *self)
{
    count_end(self, GRPC_OK);
    if (self->call) {
        rpc_call_finish(self->call, GRPC_OK, BYTES_NONE);
    } else if (self->exchange) {
        if (!self->streaming)
            request_begin_json(self, 0);
        http_response_end(self->exchange);
    }
}

static bool utf8_plain(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] >= 0x80)
            return false;
    return true;
}

err request_admissible(struct request *self, const struct replica_view *view)
{
    if (view->is_learner && !self->method->on_learner)
        return ERR_NOT_SUPPORTED_FOR_LEARNER;
    if (!self->call)
        return OK;
    if (!utf8_plain(rpc_call_metadata(self->call, RPC_METADATA_CLIENT_API_VERSION)))
        return ERR_INVALID_CLIENT_API_VERSION;
    if (bytes_equal(rpc_call_metadata(self->call, RPC_METADATA_HASLEADER), BYTES_LIT("true")) &&
        view->leader_id == 0)
        return ERR_NO_LEADER;
    return OK;
}

struct wire_header request_header(const struct request *self, const struct replica_view *view,
                                  int64_t revision)
{
    return (struct wire_header){.cluster_id = self->front->config.cluster_id,
                                .member_id = self->front->config.member_id,
                                .revision = revision,
                                .raft_term = view->term};
}
