/* What the fuzz targets of rpc share: a handler that answers everything at once, in a way that
 * the method or target picks, and a loop that takes all output. */
#pragma once

#include "base/check.h"
#include "rpc/client.h"
#include "rpc/conn.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned fuzz_open;

/* ---- a promise of 'x's ------------------------------------------------------------------ */

static uint8_t fuzz_page[4096];
static size_t fuzz_shown, fuzz_len, fuzz_committed;
static unsigned fuzz_promises;

static err fuzz_produce(void *ctx, struct rpc_slice *slice)
{
    while (fuzz_shown < fuzz_len && rpc_slice_room(slice) > 0) {
        size_t n = fuzz_len - fuzz_shown < 700 ? fuzz_len - fuzz_shown : 700;
        size_t took = rpc_slice_put(slice, bytes_of(fuzz_page, n));
        fuzz_shown += took;
        if (took < n)
            break;
    }
    return OK;
}

static void fuzz_advance(void *ctx, size_t n)
{
    fuzz_committed += n;
    fuzz_shown = fuzz_committed;
    CHECK(fuzz_committed <= fuzz_len);
}

static void fuzz_release(void *ctx)
{
    fuzz_promises--;
}

static const struct rpc_promise_ops fuzz_ops = {fuzz_produce, fuzz_advance, fuzz_release};

/* One at a time, as the cursor is shared. */
static bool fuzz_promise(struct rpc_promise *ret_promise)
{
    if (fuzz_promises > 0)
        return false;
    fuzz_promises = 1;
    fuzz_len = 20000;
    fuzz_shown = fuzz_committed = 0;
    *ret_promise = (struct rpc_promise){.len = fuzz_len, .ops = &fuzz_ops};
    return true;
}

/* ---- handlers --------------------------------------------------------------------------- */

static void fuzz_begin(void *ctx, struct rpc_call *call)
{
    fuzz_open++;
    struct bytes method = rpc_call_method(call);
    uint8_t first = method.len ? method.data[0] : 0;
    if (first == 'U' || first == 'L')
        rpc_call_set_unary(call);
    if (first == 'P')
        rpc_call_pause(call);
    if (first == 'E')
        rpc_call_finish(call, GRPC_UNAVAILABLE, BYTES_LIT("early"));
    if (first == 'R')
        rpc_call_reset(call, 2);
}

static void fuzz_message(void *ctx, struct rpc_call *call, struct bytes message)
{
    struct bytes method = rpc_call_method(call);
    uint8_t first = method.len ? method.data[0] : 0;
    struct rpc_promise promise;
    if (first == 'L' && fuzz_promise(&promise))
        rpc_call_answer_promise(call, &promise);
    else if (first == 'U')
        rpc_call_answer(call, &message, 1);
    else
        rpc_call_send(call, &message, 1);
}

static void fuzz_half_closed(void *ctx, struct rpc_call *call)
{
    rpc_call_finish(call, GRPC_OK, BYTES_NONE);
}

static void fuzz_call_closed(void *ctx, struct rpc_call *call)
{
    fuzz_open--;
}

static void fuzz_http_begin(void *ctx, struct http_exchange *exchange)
{
    fuzz_open++;
    struct bytes target = http_exchange_target(exchange);
    if (target.len > 1 && target.data[1] == 's')
        http_exchange_stream_body(exchange);
    if (target.len > 1 && target.data[1] == 'e')
        http_response(exchange, 403, "text/plain", BYTES_LIT("early"));
}

static void fuzz_http_request(void *ctx, struct http_exchange *exchange, struct bytes body)
{
    struct bytes target = http_exchange_target(exchange);
    struct rpc_promise promise;
    if (target.len > 1 && target.data[1] == 'l' && fuzz_promise(&promise)) {
        http_response_begin(exchange, 200, NULL, 0, body.len % 2 ? promise.len : UINT64_MAX);
        http_response_body_promise(exchange, &promise);
        http_response_end(exchange);
    } else {
        http_response(exchange, 200, "text/plain", body);
    }
}

static void fuzz_http_body_end(void *ctx, struct http_exchange *exchange)
{
    http_response(exchange, 204, NULL, BYTES_NONE);
}

static void fuzz_http_closed(void *ctx, struct http_exchange *exchange, bool complete)
{
    fuzz_open--;
}

static const struct rpc_handler fuzz_handler = {
    .call_begin = fuzz_begin,
    .call_message = fuzz_message,
    .call_half_closed = fuzz_half_closed,
    .call_closed = fuzz_call_closed,
    .http_begin = fuzz_http_begin,
    .http_request = fuzz_http_request,
    .http_body_end = fuzz_http_body_end,
    .http_closed = fuzz_http_closed,
};

/* ---- feeding ---------------------------------------------------------------------------- */

#define FUZZ_POOL_BYTES_MAX (8u << 20)

static struct rpc_limits fuzz_limits(void)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.receive_bytes_max = 100000;
    limits.body_bytes_max = 100000;
    return limits;
}

/* The socket takes `most` bytes at a time. */
static void fuzz_output(struct rpc_conn *conn, size_t most)
{
    for (unsigned i = 0; i < 10000; i++) {
        struct iovec iov[8];
        unsigned count;
        size_t n = rpc_conn_output(conn, iov, 8, &count);
        for (unsigned j = 0; j < count; j++) {
            /* Every byte is looked at, so that a dangling one is seen. */
            const volatile uint8_t *bytes = iov[j].iov_base;
            for (size_t k = 0; k < iov[j].iov_len; k++)
                (void)bytes[k];
        }
        rpc_conn_wrote(conn, n < most ? n : most);
        if (n == 0)
            return;
    }
}

/* Feeds a connection in steps, then frees all and checks that nothing is left. */
static inline void fuzz_serve(struct rpc_pool *pool, struct rpc_conn *conn, struct bytes in,
                              size_t step, size_t most, uint64_t now_ms)
{
    for (size_t at = 0; at < in.len && !rpc_conn_finished(conn);) {
        size_t n = step < in.len - at ? step : in.len - at;
        rpc_conn_read(conn, bytes_of(in.data + at, n), now_ms);
        at += n;
        if (at % 3 == 0)
            fuzz_output(conn, most);
        CHECK(rpc_pool_bytes(pool) < FUZZ_POOL_BYTES_MAX);
    }
    fuzz_output(conn, most);
    rpc_pool_tick(pool, now_ms + 1000 * 1000);
    fuzz_output(conn, most);
    rpc_conn_read_end(conn, now_ms + 1000 * 1000);
    rpc_conn_free(conn);
    rpc_pool_free(pool);
    CHECK(fuzz_open == 0);
    CHECK(fuzz_promises == 0);
}
