#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pages.h"

#include <stdio.h>
#include <stdlib.h>

struct pages pages;

static bool target_is(const struct http_exchange *exchange, const char *target)
{
    return bytes_equal(http_exchange_target(exchange), bytes_str(target));
}

static void on_active(void *ctx, struct rpc_conn *conn)
{
    struct pair *pair = ctx;
    pair->server_active = true;
}

static void on_begin(void *ctx, struct http_exchange *exchange)
{
    pages.begun++;
    if (target_is(exchange, "/count"))
        http_exchange_stream_body(exchange);
    if (target_is(exchange, "/early"))
        http_response(exchange, 403, NULL, BYTES_NONE);
}

static void what(struct http_exchange *exchange)
{
    char text[512];
    struct bytes method = http_exchange_method(exchange);
    struct bytes target = http_exchange_target(exchange);
    struct bytes host = http_exchange_host(exchange);
    struct bytes header = http_exchange_header(exchange, "X-Test");
    size_t count;
    (void)http_exchange_headers(exchange, &count);
    int n = snprintf(text, sizeof(text), "%.*s %.*s %.*s %.*s %u", (int)method.len, method.data,
                     (int)target.len, target.data, (int)host.len, host.data, (int)header.len,
                     header.data, http_exchange_version(exchange));
    const struct http_header extra = {BYTES_LIT("X-Etcd-Cluster-ID"),
                                      BYTES_LIT("cdf818194e3a8c32")};
    http_response_begin(exchange, 200, &extra, 1, (uint64_t)n);
    http_response_body(exchange, bytes_of(text, (size_t)n));
    http_response_end(exchange);
}

static void on_request(void *ctx, struct http_exchange *exchange, struct bytes body)
{
    struct bytes target = http_exchange_target(exchange);
    struct bytes list = BYTES_LIT("/list?");
    if (target_is(exchange, "/hello")) {
        http_response(exchange, 200, "text/plain", BYTES_LIT("hello\n"));
    } else if (target_is(exchange, "/echo")) {
        http_response(exchange, 200, "application/octet-stream", body);
    } else if (target_is(exchange, "/none")) {
        http_response(exchange, 204, NULL, BYTES_NONE);
    } else if (target_is(exchange, "/what")) {
        what(exchange);
    } else if (target_is(exchange, "/hold")) {
        pages.held = exchange;
    } else if (target_is(exchange, "/chunks")) {
        http_response_begin(exchange, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        http_response_body(exchange, BYTES_LIT("one "));
        http_response_body(exchange, BYTES_LIT("two "));
        http_response_body(exchange, BYTES_LIT("three"));
        http_response_end(exchange);
    } else if (target_is(exchange, "/short")) {
        http_response_begin(exchange, 200, NULL, 0, 10);
        http_response_body(exchange, BYTES_LIT("abc"));
        http_response_end(exchange);
    } else if (bytes_has_prefix(target, list)) {
        char digits[24] = {0};
        struct bytes number = bytes_skip(target, list.len);
        memcpy(digits, number.data, number.len < 23 ? number.len : 23);
        struct rpc_promise promise =
            pattern_promise(strtoul(digits, NULL, 10), 700, &pages.released);
        http_response_begin(exchange, 200, NULL, 0,
                            promise.len % 2 ? HTTP_LENGTH_UNKNOWN : promise.len);
        http_response_body_promise(exchange, &promise);
        http_response_end(exchange);
    } else {
        http_response(exchange, 404, "text/plain", BYTES_LIT("404 page not found\n"));
    }
}

static void on_body(void *ctx, struct http_exchange *exchange, struct bytes piece)
{
    pages.counted += piece.len;
    pages.pieces++;
    if (pages.pause) {
        http_exchange_pause(exchange);
        pages.held = exchange;
    }
}

static void on_body_end(void *ctx, struct http_exchange *exchange)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%zu", pages.counted);
    http_response(exchange, 200, "text/plain", bytes_of(text, (size_t)n));
}

static void on_writable(void *ctx, struct http_exchange *exchange)
{
    pages.writable++;
}

static void on_closed(void *ctx, struct http_exchange *exchange, bool complete)
{
    pages.closed++;
    pages.complete += complete;
    if (pages.held == exchange)
        pages.held = NULL;
}

const struct rpc_handler pages_handler = {
    .conn_active = on_active,
    .http_begin = on_begin,
    .http_request = on_request,
    .http_body = on_body,
    .http_body_end = on_body_end,
    .http_writable = on_writable,
    .http_closed = on_closed,
};
