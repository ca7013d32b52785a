#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- pattern promises ------------------------------------------------------------------- */

uint8_t pattern_at(size_t i)
{
    return (uint8_t)(i * 131 + (i >> 8) * 17);
}

static err pattern_produce(void *ctx, struct rpc_slice *slice)
{
    struct pattern *self = ctx;
    while (self->shown < self->len && rpc_slice_room(slice) > 0) {
        if (self->shown >= self->break_at)
            return ERR_IO;
        size_t left_in_run = self->run - self->shown % self->run;
        size_t n = self->len - self->shown < left_in_run ? self->len - self->shown : left_in_run;
        size_t took = rpc_slice_put(slice, bytes_of(self->bytes + self->shown, n));
        self->shown += took;
        if (took < n)
            break;
    }
    return OK;
}

static void pattern_advance(void *ctx, size_t n)
{
    struct pattern *self = ctx;
    self->committed += n;
    assert_true(self->committed <= self->len);
    self->shown = self->committed;
}

static void pattern_release(void *ctx)
{
    struct pattern *self = ctx;
    (*self->released)++;
    free(self->bytes);
    free(self);
}

static const struct rpc_promise_ops pattern_ops = {pattern_produce, pattern_advance,
                                                   pattern_release};

struct rpc_promise pattern_promise(size_t len, size_t run, unsigned *released)
{
    struct pattern *self = calloc(1, sizeof(*self));
    *self = (struct pattern){.len = len, .run = run, .break_at = SIZE_MAX, .released = released};
    self->bytes = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        self->bytes[i] = pattern_at(i);
    return (struct rpc_promise){.len = len, .ops = &pattern_ops, .ctx = self};
}

struct pattern *pattern_of(const struct rpc_promise *promise)
{
    return promise->ctx;
}

/* ---- the server ------------------------------------------------------------------------- */

static void on_active(void *ctx, struct rpc_conn *conn)
{
    struct pair *self = ctx;
    self->server_active = true;
}

static bool method_is(struct rpc_call *call, const char *name)
{
    return bytes_equal(rpc_call_method(call), bytes_str(name));
}

static void on_begin(void *ctx, struct rpc_call *call)
{
    struct pair *self = ctx;
    self->begun++;
    if (!bytes_equal(rpc_call_service(call), BYTES_LIT("test.Echo"))) {
        rpc_call_finish_unknown(call, false);
        return;
    }
    static const char *const known[] = {"Unary", "Parts", "Fail", "List", "Stream", "Hold", "Flow"};
    bool found = false;
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        found |= method_is(call, known[i]);
    if (!found)
        rpc_call_finish_unknown(call, true);
    else if (method_is(call, "Flow"))
        rpc_call_pause(call);
    else if (!method_is(call, "Stream") && !method_is(call, "Hold"))
        rpc_call_set_unary(call);
    if (method_is(call, "Hold") || method_is(call, "Flow")) {
        assert_true(self->held_count < PAIR_HELD_MAX);
        self->held[self->held_count++] = call;
    }
}

static void on_message(void *ctx, struct rpc_call *call, struct bytes message)
{
    struct pair *self = ctx;
    self->messages++;
    if (message.len > self->message_bytes_max)
        self->message_bytes_max = message.len;
    if (self->take) {
        self->taken = rpc_call_take_message(call, &self->taken_message);
        message = self->taken_message;
    }
    if (method_is(call, "Unary")) {
        rpc_call_answer(call, &message, 1);
    } else if (method_is(call, "Parts")) {
        struct bytes parts[40];
        unsigned n = message.len < 40 ? (unsigned)message.len : 40;
        for (unsigned i = 0; i < n; i++)
            parts[i] = bytes_of(message.data + i, 1);
        rpc_call_answer(call, parts, n);
    } else if (method_is(call, "Fail")) {
        rpc_call_finish(call, (enum grpc_status)message.data[0], bytes_skip(message, 1));
    } else if (method_is(call, "List")) {
        char digits[24] = {0};
        memcpy(digits, message.data, message.len < 23 ? message.len : 23);
        struct rpc_promise promise =
            pattern_promise(strtoul(digits, NULL, 10), 1000, &self->promises_released);
        pattern_of(&promise)->break_at = self->pattern_break_at;
        rpc_call_answer_promise(call, &promise);
    } else if (method_is(call, "Stream")) {
        rpc_call_send(call, &message, 1);
    }
}

static void on_half_closed(void *ctx, struct rpc_call *call)
{
    struct pair *self = ctx;
    self->half_closed++;
    if (method_is(call, "Stream"))
        rpc_call_finish(call, GRPC_OK, BYTES_NONE);
}

static void on_cancelled(void *ctx, struct rpc_call *call, enum rpc_cancel why)
{
    struct pair *self = ctx;
    self->cancelled++;
    self->cancel_why = why;
}

static void on_writable(void *ctx, struct rpc_call *call)
{
    struct pair *self = ctx;
    self->writable++;
}

static void on_closed(void *ctx, struct rpc_call *call)
{
    struct pair *self = ctx;
    self->closed++;
    for (unsigned i = 0; i < self->held_count; i++) {
        if (self->held[i] == call)
            self->held[i] = NULL;
    }
}

static bool on_reserve(void *ctx, struct rpc_call *call, size_t len)
{
    struct pair *self = ctx;
    self->reserved++;
    self->waiting = call;
    return !self->refuse_reserve;
}

static void on_unreserve(void *ctx, struct rpc_call *call, size_t len)
{
    struct pair *self = ctx;
    self->unreserved++;
}

const struct rpc_handler pair_handler = {
    .conn_active = on_active,
    .call_begin = on_begin,
    .call_message = on_message,
    .call_half_closed = on_half_closed,
    .call_cancelled = on_cancelled,
    .call_writable = on_writable,
    .call_closed = on_closed,
    .reserve = on_reserve,
    .unreserve = on_unreserve,
};

/* ---- carrying --------------------------------------------------------------------------- */

static void on_client_active(void *ctx, struct rpc_client *client)
{
    struct pair *self = ctx;
    self->client_active = true;
}

static const struct rpc_client_handler client_handler = {.active = on_client_active};

void pair_init(struct pair *self, const struct rpc_limits *limits, enum rpc_transport transport,
               enum rpc_client_protocol protocol)
{
    pair_init_with(self, limits, transport, protocol, &pair_handler);
}

void pair_init_with(struct pair *self, const struct rpc_limits *limits,
                    enum rpc_transport transport, enum rpc_client_protocol protocol,
                    const struct rpc_handler *handler)
{
    memset(self, 0, sizeof(*self));
    self->now_ms = 1000;
    self->pattern_break_at = SIZE_MAX;
    struct rpc_limits client_limits = rpc_limits_default();
    client_limits.receive_bytes_max = 1u << 30;
    self->server_pool = rpc_pool_new(limits, self->now_ms);
    self->client_pool = rpc_pool_new(&client_limits, self->now_ms);
    self->conn = rpc_conn_new(self->server_pool, transport, handler, self);
    const struct rpc_client_config config = {
        .protocol = protocol,
        .authority = BYTES_LIT("localhost:2379"),
        .user_agent = BYTES_LIT("pair/1"),
        .read_timeout_ms = 5000,
    };
    self->client = rpc_client_new(self->client_pool, &config, &client_handler, self);
}

void pair_done(struct pair *self)
{
    rpc_client_free(self->client);
    rpc_conn_free(self->conn);
    assert_int_equal(self->begun, self->closed);
    rpc_pool_free(self->client_pool);
    rpc_pool_free(self->server_pool);
}

static size_t gather(const struct iovec *iov, unsigned count, size_t max, uint8_t **ret_bytes)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total > max)
        total = max;
    /* A malloc of its own, so that reading past the input is seen. */
    uint8_t *bytes = malloc(total + 1);
    size_t at = 0;
    for (unsigned i = 0; i < count && at < total; i++) {
        size_t n = iov[i].iov_len < total - at ? iov[i].iov_len : total - at;
        memcpy(bytes + at, iov[i].iov_base, n);
        at += n;
    }
    *ret_bytes = realloc(bytes, total ? total : 1);
    return total;
}

size_t pair_to_server(struct pair *self, size_t max)
{
    struct iovec iov[64];
    unsigned count;
    uint8_t *bytes;
    rpc_client_output(self->client, iov, 64, &count);
    size_t n = gather(iov, count, max, &bytes);
    rpc_client_wrote(self->client, n);
    for (size_t at = 0, step; at < n; at += step) {
        step = self->step && self->step < n - at ? self->step : n - at;
        rpc_conn_read(self->conn, bytes_of(bytes + at, step), self->now_ms);
    }
    free(bytes);
    self->carried_to_server += n;
    return n;
}

size_t pair_to_client(struct pair *self, size_t max)
{
    struct iovec iov[64];
    unsigned count;
    uint8_t *bytes;
    rpc_conn_output(self->conn, iov, 64, &count);
    size_t n = gather(iov, count, max, &bytes);
    rpc_conn_wrote(self->conn, n);
    for (size_t at = 0, step; at < n; at += step) {
        step = self->step && self->step < n - at ? self->step : n - at;
        rpc_client_read(self->client, bytes_of(bytes + at, step), self->now_ms);
    }
    free(bytes);
    self->carried_to_client += n;
    return n;
}

void pair_run(struct pair *self)
{
    for (unsigned idle = 0; idle < 3;) {
        size_t n = pair_to_server(self, SIZE_MAX) + pair_to_client(self, SIZE_MAX);
        idle = n ? 0 : idle + 1;
    }
}

void pair_pass(struct pair *self, uint64_t ms)
{
    self->now_ms += ms;
    rpc_pool_tick(self->server_pool, self->now_ms);
    rpc_pool_tick(self->client_pool, self->now_ms);
}

/* ---- client calls ----------------------------------------------------------------------- */

static void reply_headers(void *ctx, struct rpc_client_call *call)
{
    struct reply *self = ctx;
    self->headers = true;
}

static void reply_message(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    struct reply *self = ctx;
    self->messages++;
    free(self->message);
    self->message = malloc(message.len + 1);
    memcpy(self->message, message.data, message.len);
    self->len = message.len;
}

static void reply_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                         struct bytes text)
{
    struct reply *self = ctx;
    assert_false(self->closed);
    self->closed = true;
    self->status = status;
    self->unprocessed = rpc_client_call_unprocessed(call);
    (void)snprintf(self->text, sizeof(self->text), "%.*s", (int)text.len, (const char *)text.data);
}

const struct rpc_client_call_handler reply_handler = {
    .headers = reply_headers, .message = reply_message, .closed = reply_closed};

void reply_done(struct reply *self)
{
    free(self->message);
    memset(self, 0, sizeof(*self));
}

struct rpc_client_call *pair_start(struct pair *self, const char *path, uint64_t timeout_ms,
                                   struct reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    struct rpc_client_call *call = NULL;
    const struct rpc_client_start start = {.path = bytes_str(path), .timeout_ms = timeout_ms};
    assert_true(err_ok(rpc_client_call_start(self->client, &start, &reply_handler, reply, &call)));
    return call;
}

void pair_call(struct pair *self, const char *path, struct bytes message, struct reply *reply)
{
    struct rpc_client_call *call = pair_start(self, path, UINT64_MAX, reply);
    rpc_client_call_send(call, &message, 1, true);
    pair_run(self);
}
