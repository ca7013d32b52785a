/* HTTP/1.1: the server against hand-written requests, and both ends together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pages.h"

#include "base/buf.h"
#include <stdio.h>
#include <stdlib.h>

static struct pair pair;
static struct rpc_limits limits;
static struct buf heard;

static void begin(void)
{
    memset(&pages, 0, sizeof(pages));
    buf_init(&heard, 0);
    pair_init_with(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP1, &pages_handler);
}

static int setup(void **state)
{
    limits = rpc_limits_default();
    begin();
    return 0;
}

static int teardown(void **state)
{
    pair_done(&pair);
    buf_done(&heard);
    assert_int_equal(pages.begun, pages.closed);
    return 0;
}

static void again(void)
{
    teardown(NULL);
    begin();
}

/* ---- by hand ---------------------------------------------------------------------------- */

static void hear(size_t at_a_time)
{
    for (;;) {
        struct iovec iov[16];
        unsigned count;
        size_t n = rpc_conn_output(pair.conn, iov, 16, &count);
        size_t took = 0;
        for (unsigned i = 0; i < count && took < at_a_time; i++) {
            size_t here = iov[i].iov_len < at_a_time - took ? iov[i].iov_len : at_a_time - took;
            assert_true(err_ok(buf_append(&heard, bytes_of(iov[i].iov_base, here))));
            took += here;
        }
        rpc_conn_wrote(pair.conn, took);
        if (n == 0)
            return;
    }
}

static void say(struct bytes request, size_t step)
{
    for (size_t at = 0; at < request.len; at += step) {
        size_t n = step < request.len - at ? step : request.len - at;
        uint8_t *copy = malloc(n);
        memcpy(copy, request.data + at, n);
        rpc_conn_read(pair.conn, bytes_of(copy, n), pair.now_ms);
        free(copy);
    }
    hear(SIZE_MAX);
}

/* Compares all that was heard, and forgets it. */
static void expect(const char *text)
{
    assert_true(err_ok(buf_append(&heard, bytes_of("", 1))));
    assert_string_equal((const char *)heard.data, text);
    buf_clear(&heard);
}

static void expect_start(const char *text)
{
    assert_true(bytes_has_prefix(buf_bytes(&heard), bytes_str(text)));
    buf_clear(&heard);
}

#define HELLO "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"

static void test_get(void **state)
{
    struct bytes request = BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    for (size_t step = 1; step <= request.len; step++) {
        say(request, step);
        expect(HELLO);
    }
    assert_int_equal(pages.complete, request.len);
    assert_false(rpc_conn_finished(pair.conn));
    assert_int_equal(rpc_conn_open_count(pair.conn), 0);
}

static void test_pipelined(void **state)
{
    say(BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
                  "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                  "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                  "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"),
        1000);
    expect(HELLO
           "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
           "Content-Length: 3\r\n\r\nabc"
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
           "Connection: close\r\n\r\nhello\n");
    assert_true(rpc_conn_finished(pair.conn));
    assert_int_equal(pages.begun, 3);
}

static void test_pipeline_is_bounded(void **state)
{
    say(BYTES_LIT("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    struct bytes more = BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    unsigned sent = 0;
    for (; rpc_conn_wants_read(pair.conn) && sent < 10000; sent++)
        rpc_conn_read(pair.conn, more, pair.now_ms);
    assert_in_range(sent, 1, limits.pipeline_bytes_max / more.len + 1);
    assert_int_equal(pages.begun, 1);
    http_response(pages.held, 200, NULL, BYTES_NONE);
    hear(SIZE_MAX);
    assert_true(rpc_conn_wants_read(pair.conn));
    assert_int_equal(pages.begun, sent + 1);
    assert_int_equal(pages.complete, sent + 1);
}

/* Who asks and does not read the answers is no longer read from; nothing is lost. */
static void test_unread_answers_are_bounded(void **state)
{
    struct bytes ask = BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    struct buf asks;
    buf_init(&asks, 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(err_ok(buf_append(&asks, ask)));
    unsigned sent = 0;
    for (; rpc_conn_wants_read(pair.conn) && sent < 1000000; sent += 1000)
        rpc_conn_read(pair.conn, buf_bytes(&asks), pair.now_ms);
    assert_in_range(sent, 1000, 10000);
    assert_true(rpc_conn_unsent_bytes(pair.conn) < limits.call_unsent_bytes_max + 4096);
    hear(SIZE_MAX);
    assert_true(rpc_conn_wants_read(pair.conn));
    assert_int_equal(pages.complete, sent);
    assert_int_equal(heard.len, sent * strlen(HELLO));
    buf_done(&asks);
}

/* What has arrived of bodies is bounded over all connections of a pool. */
static void test_all_bodies_are_bounded(void **state)
{
    limits.bodies_bytes_max = 1000;
    again();
    static const char part[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 800\r\n\r\n";
    char body[800];
    memset(body, 'b', sizeof(body));
    struct rpc_conn *other = rpc_conn_new(pair.server_pool, RPC_PLAIN, &pages_handler, &pair);
    rpc_conn_read(other, bytes_str(part), pair.now_ms);
    rpc_conn_read(other, bytes_of(body, 700), pair.now_ms);
    say(bytes_str(part), 1000);
    say(bytes_of(body, sizeof(body)), 1000);
    expect_start("HTTP/1.1 503 Service Unavailable\r\n");
    assert_true(rpc_conn_finished(pair.conn));
    rpc_conn_free(other);
    again();
    for (unsigned i = 0; i < 3; i++) { /* one after the other they fit */
        say(bytes_str(part), 1000);
        say(bytes_of(body, sizeof(body)), 1000);
        expect_start("HTTP/1.1 200 OK\r\n");
    }
}

static void test_bodies(void **state)
{
    struct bytes chunked = BYTES_LIT(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "\r\n4\r\nwiki\r\n6;a=b\r\npedia \r\n0\r\n\r\n");
    for (size_t step = 1; step <= chunked.len; step++) {
        say(chunked, step);
        expect(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: 10\r\n\r\nwikipedia ");
    }
    pages.counted = 0;
    say(BYTES_LIT("POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"), 1);
    expect_start("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n5");
    assert_int_equal(pages.pieces, 5);
    /* The client waits to be asked for the body. */
    say(BYTES_LIT(
            "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        1000);
    expect("HTTP/1.1 100 Continue\r\n\r\n");
    say(BYTES_LIT("ok"), 1000);
    expect_start("HTTP/1.1 200 OK\r\n");
    say(BYTES_LIT(
            "POST /early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        1000);
    expect("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_true(rpc_conn_finished(pair.conn));
}

static void test_heads(void **state)
{
    say(BYTES_LIT("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n");
    say(BYTES_LIT("HEAD /chunks HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    say(BYTES_LIT("HEAD /list?1000 HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_int_equal(pages.released, 1);
    say(BYTES_LIT("GET /none HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect("HTTP/1.1 204 No Content\r\n\r\n");
    say(BYTES_LIT("GET http://other:1/what HTTP/1.1\r\nhost: h\r\nx-TEST:  some value \r\n\r\n"),
        1000);
    expect(
        "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: cdf818194e3a8c32\r\nContent-Length: 24\r\n\r\n"
        "GET /what h some value 1");
    assert_false(rpc_conn_finished(pair.conn));
}

static void test_chunks(void **state)
{
    say(BYTES_LIT("GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n");
    /* HTTP/1.0 knows no chunks: the end is that of the connection. */
    say(BYTES_LIT("GET /chunks HTTP/1.0\r\n\r\n"), 1000);
    expect("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none two three");
    assert_true(rpc_conn_finished(pair.conn));
    again();
    say(BYTES_LIT("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 1000);
    expect(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
        "Connection: keep-alive\r\n\r\nhello\n");
    assert_false(rpc_conn_finished(pair.conn));
}

static void test_refusals(void **state)
{
    char *long_head = malloc(100000);
    static const struct {
        const char *request, *status;
    } refused[] = {
        {"nonsense\r\n\r\n", "400 Bad Request"},
        {"GET /hello HTTP/1.1\r\n\r\n", "400 Bad Request"},
        {"GET /hello HTTP/2.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
        {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "501 Not Implemented"},
        {"GET / HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n", "417 Expectation Failed"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
         "413 Request Entity Too Large"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
         "400 Bad Request"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
         "400 Bad Request"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         "400 Bad Request"},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char start[64];
        (void)snprintf(start, sizeof(start), "HTTP/1.1 %s\r\n", refused[i].status);
        say(bytes_str(refused[i].request), 1000);
        expect_start(start);
        assert_true(rpc_conn_finished(pair.conn));
        again();
    }
    int n = snprintf(long_head, 100000, "GET /%*d HTTP/1.1\r\n", 20000, 1);
    say(bytes_of(long_head, (size_t)n), 4096);
    expect_start("HTTP/1.1 4");
    again();
    n = snprintf(long_head, 100000, "GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: %070000d\r\n\r\n",
                 1);
    say(bytes_of(long_head, (size_t)n), 4096);
    expect_start("HTTP/1.1 431 Request Header Fields Too Large\r\n");
    assert_true(rpc_conn_finished(pair.conn));
    again();
    n = snprintf(long_head, 100000, "GET /hello HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 0; i < 200; i++)
        n += snprintf(long_head + n, 100, "X-%u: y\r\n", i);
    say(bytes_of(long_head, (size_t)n), 4096);
    expect_start("HTTP/1.1 431 Request Header Fields Too Large\r\n");
    assert_true(rpc_conn_finished(pair.conn));
    again();
    const struct bytes start_line = BYTES_LIT("GET /");
    memset(long_head, 'a', 20000);
    memcpy(long_head, start_line.data, start_line.len);
    say(bytes_of(long_head, 20000), 4096);
    expect_start("HTTP/1.1 414 Request URI Too Long\r\n");
    assert_true(rpc_conn_finished(pair.conn));
    free(long_head);
}

static void test_body_too_long(void **state)
{
    limits.body_bytes_max = 1000;
    again();
    say(BYTES_LIT("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 1000);
    for (unsigned i = 0; i < 10; i++)
        say(BYTES_LIT("80\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"),
            1000);
    expect_start("HTTP/1.1 413 Request Entity Too Large\r\n");
    assert_true(rpc_conn_finished(pair.conn));
}

static void test_upgrade_is_ignored(void **state)
{
    say(BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                  "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n\r\n"),
        1000);
    expect(HELLO);
    say(BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect(HELLO);
}

static void test_slow_header(void **state)
{
    say(BYTES_LIT("GET /hello HT"), 1000);
    for (unsigned i = 0; i < 100 && !rpc_conn_finished(pair.conn); i++) {
        pair_pass(&pair, limits.header_timeout_ms / 50);
        say(BYTES_LIT("T"), 1);
    }
    expect_start("HTTP/1.1 4");
    assert_true(rpc_conn_finished(pair.conn));
    again();
    say(BYTES_LIT("GET /hello HTTP/1.1\r\nX-A"), 1000);
    pair_pass(&pair, limits.header_timeout_ms - 1);
    assert_false(rpc_conn_finished(pair.conn));
    pair_pass(&pair, 2);
    hear(SIZE_MAX);
    expect_start("HTTP/1.1 408 Request Timeout\r\n");
    assert_true(rpc_conn_finished(pair.conn));
    again();
    say(BYTES_LIT("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12"), 1000);
    pair_pass(&pair, limits.body_timeout_ms + 1);
    hear(SIZE_MAX);
    expect_start("HTTP/1.1 408 Request Timeout\r\n");
    assert_true(rpc_conn_finished(pair.conn));
}

static void test_endless(void **state)
{
    say(BYTES_LIT("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    struct http_exchange *stream = pages.held;
    http_response_begin(stream, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
    hear(SIZE_MAX);
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    uint8_t block[4096] = {0};
    unsigned sent = 0;
    for (; sent < 1000 && http_exchange_writable(stream); sent++)
        http_response_body(stream, bytes_of(block, sizeof(block)));
    assert_in_range(sent, 60, 66);
    assert_int_equal(pages.writable, 0);
    hear(10000);
    assert_int_equal(pages.writable, 1);
    assert_int_equal(heard.len, sent * (sizeof(block) + 8));
    assert_true(rpc_conn_wants_read(pair.conn));
    /* The other side goes: the stream is over. */
    rpc_conn_read_end(pair.conn, pair.now_ms);
    assert_true(rpc_conn_finished(pair.conn));
    assert_int_equal(pages.closed, 1);
    assert_int_equal(pages.complete, 0);
}

static void test_half_closed_client(void **state)
{
    say(BYTES_LIT("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    rpc_conn_read_end(pair.conn, pair.now_ms);
    assert_false(rpc_conn_finished(pair.conn));
    http_response(pages.held, 200, NULL, BYTES_LIT("late"));
    hear(SIZE_MAX);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
    assert_true(rpc_conn_finished(pair.conn));
}

static void test_short_answer_cuts(void **state)
{
    say(BYTES_LIT("GET /short HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    assert_true(rpc_conn_finished(pair.conn));
    assert_int_equal(pages.complete, 0);
}

static void test_shutdown(void **state)
{
    say(BYTES_LIT("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    expect(HELLO);
    rpc_conn_shutdown(pair.conn);
    assert_true(rpc_conn_finished(pair.conn));
    again();
    say(BYTES_LIT("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"), 1000);
    rpc_conn_shutdown(pair.conn);
    assert_false(rpc_conn_finished(pair.conn));
    http_response(pages.held, 200, NULL, BYTES_NONE);
    hear(SIZE_MAX);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_true(rpc_conn_finished(pair.conn));
}

static void test_promise_with_short_writes(void **state)
{
    for (size_t n = 1; n < 3000; n += n < 50 ? 1 : 113) {
        say(BYTES_LIT("GET /list?2500 HTTP/1.1\r\nHost: x\r\n"), 1000);
        rpc_conn_read(pair.conn, BYTES_LIT("\r\n"), pair.now_ms);
        hear(n);
        struct bytes head = BYTES_LIT("HTTP/1.1 200 OK\r\nContent-Length: 2500\r\n\r\n");
        assert_int_equal(heard.len, head.len + 2500);
        assert_memory_equal(heard.data, head.data, head.len);
        for (size_t i = 0; i < 2500; i++)
            assert_int_equal(heard.data[head.len + i], pattern_at(i));
        buf_clear(&heard);
    }
    assert_int_equal(pages.released, pages.begun);
}

/* ---- both ends -------------------------------------------------------------------------- */

struct got {
    unsigned status, bodies, writable;
    struct buf body;
    bool closed;
    err result;
    char header[64];
};

static void got_response(void *ctx, struct http_fetch *fetch, unsigned status)
{
    struct got *self = ctx;
    self->status = status;
    struct bytes id = http_fetch_header(fetch, "x-etcd-cluster-id");
    (void)snprintf(self->header, sizeof(self->header), "%.*s", (int)id.len,
                   id.len ? (const char *)id.data : "");
}

static void got_body(void *ctx, struct http_fetch *fetch, struct bytes piece)
{
    struct got *self = ctx;
    self->bodies++;
    assert_true(err_ok(buf_append(&self->body, piece)));
}

static void got_writable(void *ctx, struct http_fetch *fetch)
{
    ((struct got *)ctx)->writable++;
}

static void got_closed(void *ctx, struct http_fetch *fetch, err result)
{
    struct got *self = ctx;
    assert_false(self->closed);
    self->closed = true;
    self->result = result;
}

static const struct http_fetch_handler got_handler = {got_response, got_body, got_writable,
                                                      got_closed};

static struct http_fetch *fetch(struct http_fetch_start start, struct got *got)
{
    memset(got, 0, sizeof(*got));
    buf_init(&got->body, 0);
    if (!start.timeout_ms)
        start.timeout_ms = UINT64_MAX;
    struct http_fetch *fetch;
    assert_true(err_ok(http_fetch_start(pair.client, &start, &got_handler, got, &fetch)));
    assert_false(rpc_client_usable(pair.client));
    return fetch;
}

static void expect_got(struct got *got, unsigned status, struct bytes body)
{
    assert_true(got->closed);
    assert_true(err_ok(got->result));
    assert_int_equal(got->status, status);
    assert_true(bytes_equal(buf_bytes(&got->body), body));
    buf_done(&got->body);
}

static void test_fetches(void **state)
{
    struct got got;
    for (unsigned step = 0; step < 2; step++) {
        pair.step = step;
        fetch((struct http_fetch_start){.method = BYTES_LIT("GET"), .target = BYTES_LIT("/hello")},
              &got);
        pair_run(&pair);
        expect_got(&got, 200, BYTES_LIT("hello\n"));
        const struct http_header test = {BYTES_LIT("X-Test"), BYTES_LIT("1")};
        fetch((struct http_fetch_start){.method = BYTES_LIT("GET"),
                                        .target = BYTES_LIT("/what"),
                                        .headers = &test,
                                        .header_count = 1,
                                        .collect_bytes_max = 1000},
              &got);
        pair_run(&pair);
        assert_string_equal(got.header, "cdf818194e3a8c32");
        assert_int_equal(got.bodies, 1);
        expect_got(&got, 200, BYTES_LIT("GET /what localhost:2379 1 1"));
        fetch((struct http_fetch_start){.method = BYTES_LIT("HEAD"), .target = BYTES_LIT("/hello")},
              &got);
        pair_run(&pair);
        expect_got(&got, 200, BYTES_NONE);
        fetch((struct http_fetch_start){.method = BYTES_LIT("GET"), .target = BYTES_LIT("/none")},
              &got);
        pair_run(&pair);
        expect_got(&got, 204, BYTES_NONE);
        fetch((struct http_fetch_start){.method = BYTES_LIT("GET"), .target = BYTES_LIT("/chunks")},
              &got);
        pair_run(&pair);
        expect_got(&got, 200, BYTES_LIT("one two three"));
        fetch((struct http_fetch_start){.method = BYTES_LIT("POST"),
                                        .target = BYTES_LIT("/echo"),
                                        .body = BYTES_LIT("there and back")},
              &got);
        pair_run(&pair);
        expect_got(&got, 200, BYTES_LIT("there and back"));
        /* A body that follows, its length known or not. */
        for (unsigned known = 0; known < 2; known++) {
            pages.counted = 0;
            struct http_fetch *post =
                fetch((struct http_fetch_start){.method = BYTES_LIT("POST"),
                                                .target = BYTES_LIT("/count"),
                                                .body_length = known ? 6000 : HTTP_LENGTH_UNKNOWN},
                      &got);
            http_fetch_send(post, BYTES_LIT("0123456789"));
            pair_run(&pair);
            struct rpc_promise promise = pattern_promise(5990, 300, &pages.released);
            http_fetch_send_promise(post, &promise);
            http_fetch_send_end(post);
            pair_run(&pair);
            expect_got(&got, 200, BYTES_LIT("6000"));
        }
    }
    assert_int_equal(pages.released, 4);
    assert_true(rpc_client_usable(pair.client));
}

static void test_fetch_large(void **state)
{
    struct got got;
    for (size_t len = 2000000; len <= 2000001; len++) {
        char target[32];
        (void)snprintf(target, sizeof(target), "/list?%zu", len);
        fetch((struct http_fetch_start){.method = BYTES_LIT("GET"), .target = bytes_str(target)},
              &got);
        while (!got.closed) {
            (void)pair_to_server(&pair, SIZE_MAX);
            (void)pair_to_client(&pair, 50001);
        }
        assert_int_equal(got.body.len, len);
        for (size_t i = 0; i < len; i++) {
            if (got.body.data[i] != pattern_at(i))
                fail_msg("byte %zu differs", i);
        }
        buf_done(&got.body);
    }
    assert_true(rpc_pool_bytes(pair.server_pool) < 700000);
}

static void test_fetch_fails(void **state)
{
    struct got got;
    struct http_fetch_start hold = {.method = BYTES_LIT("GET"), .target = BYTES_LIT("/hold")};
    hold.timeout_ms = 1000;
    fetch(hold, &got);
    pair_run(&pair);
    pair_pass(&pair, 1000);
    pair_run(&pair);
    assert_true(got.closed);
    assert_true(err_is(got.result, ERR_TIMED_OUT));
    assert_true(rpc_client_finished(pair.client));
    again();
    /* No byte for the connection's read timeout. */
    hold.timeout_ms = 0;
    fetch(hold, &got);
    pair_run(&pair);
    pair_pass(&pair, 5001);
    pair_run(&pair);
    assert_true(err_is(got.result, ERR_TIMED_OUT));
    again();
    struct http_fetch *aborted = fetch(hold, &got);
    http_fetch_abort(aborted);
    assert_false(got.closed);
    pair_run(&pair);
    assert_true(err_is(got.result, ERR_CLOSED));
    again();
    fetch(hold, &got);
    rpc_client_read(pair.client, BYTES_LIT("SSH-2.0-OpenSSH_9.2p1\r\n"), pair.now_ms);
    assert_true(err_is(got.result, ERR_SYNTAX));
    again();
    fetch(hold, &got);
    rpc_client_read(pair.client, BYTES_LIT("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
                    pair.now_ms);
    rpc_client_read_end(pair.client, pair.now_ms);
    assert_true(err_is(got.result, ERR_CLOSED));
    buf_done(&got.body);
    again();
    /* Without a length the end of the connection is the end of the body. */
    fetch(hold, &got);
    rpc_client_read(pair.client,
                    BYTES_LIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc"),
                    pair.now_ms);
    rpc_client_read_end(pair.client, pair.now_ms);
    expect_got(&got, 200, BYTES_LIT("abc"));
    assert_true(rpc_client_finished(pair.client));
    again();
    hold.collect_bytes_max = 5;
    fetch(hold, &got);
    rpc_client_read(pair.client, BYTES_LIT("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdef"),
                    pair.now_ms);
    assert_true(err_is(got.result, ERR_LIMIT));
    assert_int_equal(got.bodies, 0);
    again();
    /* Bytes that nobody asked for. */
    rpc_client_read(pair.client, BYTES_LIT("HTTP/1.1 200 OK\r\n\r\n"), pair.now_ms);
    assert_true(rpc_client_finished(pair.client));
}

static void test_endless_between_both(void **state)
{
    struct got got;
    fetch((struct http_fetch_start){.method = BYTES_LIT("GET"), .target = BYTES_LIT("/hold")},
          &got);
    pair_run(&pair);
    http_response_begin(pages.held, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
    for (unsigned i = 1; i <= 100; i++) {
        http_response_body(pages.held, BYTES_LIT("heartbeat"));
        pair_run(&pair);
        assert_int_equal(got.body.len, 9 * i);
        pair_pass(&pair, 1000);
    }
    assert_false(got.closed);
    http_response_end(pages.held);
    pair_run(&pair);
    assert_true(got.closed);
    assert_true(err_ok(got.result));
    buf_done(&got.body);
    assert_true(rpc_client_usable(pair.client));
}

static void test_paused_upload(void **state)
{
    struct got got;
    pages.pause = true;
    struct http_fetch *post = fetch((struct http_fetch_start){.method = BYTES_LIT("POST"),
                                                              .target = BYTES_LIT("/count"),
                                                              .body_length = 100000},
                                    &got);
    static uint8_t block[100000];
    http_fetch_send(post, bytes_of(block, sizeof(block)));
    pair.step = 1000;
    while (rpc_conn_wants_read(pair.conn))
        (void)pair_to_server(&pair, 5000);
    assert_true(pages.counted < 10000);
    assert_true(http_fetch_unsent_bytes(post) > 80000);
    while (pages.held && !got.closed) {
        http_exchange_resume(pages.held);
        if (rpc_conn_wants_read(pair.conn))
            (void)pair_to_server(&pair, 5000);
        (void)pair_to_client(&pair, SIZE_MAX);
    }
    pair_run(&pair);
    expect_got(&got, 200, BYTES_LIT("100000"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_get),
        TEST(test_pipelined),
        TEST(test_pipeline_is_bounded),
        TEST(test_unread_answers_are_bounded),
        TEST(test_all_bodies_are_bounded),
        TEST(test_bodies),
        TEST(test_heads),
        TEST(test_chunks),
        TEST(test_refusals),
        TEST(test_body_too_long),
        TEST(test_upgrade_is_ignored),
        TEST(test_slow_header),
        TEST(test_endless),
        TEST(test_half_closed_client),
        TEST(test_short_answer_cuts),
        TEST(test_shutdown),
        TEST(test_promise_with_short_writes),
        TEST(test_fetches),
        TEST(test_fetch_large),
        TEST(test_fetch_fails),
        TEST(test_endless_between_both),
        TEST(test_paused_upload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
