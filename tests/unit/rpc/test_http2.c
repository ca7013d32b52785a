/* Pages over HTTP/2, as on a TLS port: what is not gRPC becomes an exchange. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pages.h"
#include "raw.h"

#include <stdlib.h>

static struct pair pair;
static struct raw raw;
static struct buf body;

static int setup(void **state)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.body_bytes_max = 100000;
    memset(&pages, 0, sizeof(pages));
    raw_init(&raw);
    buf_init(&body, 0);
    pair_init_with(&pair, &limits, RPC_TLS_HTTP2, RPC_CLIENT_HTTP2, &pages_handler);
    raw_preface(&raw, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    pair_done(&pair);
    raw_done(&raw);
    buf_done(&body);
    assert_int_equal(pages.begun, pages.closed);
    return 0;
}

/* The whole answer to that stream: its header fields, its body into `body`. */
static void expect(uint32_t stream, const char *fields)
{
    struct raw_seen seen;
    raw_feed(&raw, &pair, true);
    buf_clear(&body);
    do {
        assert_true(raw_next(&raw, HEADERS, &seen));
    } while (seen.stream != stream);
    assert_string_equal(seen.fields, fields);
    while (!(seen.flags & END_STREAM)) {
        if (!raw_next(&raw, DATA, &seen)) {
            fail_msg("no end of the stream");
            return;
        }
        assert_int_equal(seen.stream, stream);
        assert_true(err_ok(buf_append(&body, seen.payload)));
    }
}

static void test_pages(void **state)
{
    raw_page(&raw, END_HEADERS | END_STREAM, 1, "GET", "/hello", BYTES_NONE);
    expect(1, ":status: 200\ncontent-type: text/plain\ncontent-length: 6\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("hello\n")));
    raw_page(&raw, END_HEADERS | END_STREAM, 3, "HEAD", "/hello", BYTES_NONE);
    expect(3, ":status: 200\ncontent-type: text/plain\ncontent-length: 6\n");
    assert_int_equal(body.len, 0);
    raw_page(&raw, END_HEADERS | END_STREAM, 5, "GET", "/none", BYTES_NONE);
    expect(5, ":status: 204\n");
    raw_page(&raw, END_HEADERS | END_STREAM, 7, "GET", "/chunks", BYTES_NONE);
    expect(7, ":status: 200\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("one two three")));
    uint8_t space[64];
    raw_page(&raw, END_HEADERS | END_STREAM, 9, "PUT", "/what",
             raw_field(space, "x-test", BYTES_LIT("yes")));
    expect(9, ":status: 200\nx-etcd-cluster-id: cdf818194e3a8c32\ncontent-length: 17\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("PUT /what x yes 2")));
    assert_int_equal(pages.complete, 5);
}

static void test_bodies(void **state)
{
    raw_page(&raw, END_HEADERS, 1, "POST", "/echo", BYTES_NONE);
    raw_frame(&raw, DATA, 0, 1, BYTES_LIT("there "));
    raw_feed(&raw, &pair, true);
    raw_frame(&raw, DATA, 0, 1, BYTES_LIT("and "));
    raw_frame(&raw, DATA, END_STREAM, 1, BYTES_LIT("back"));
    expect(1, ":status: 200\ncontent-type: application/octet-stream\ncontent-length: 14\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("there and back")));

    static uint8_t block[16000];
    raw_page(&raw, END_HEADERS, 3, "POST", "/count", BYTES_NONE);
    for (unsigned i = 0; i < 20; i++) {
        raw_frame(&raw, DATA, i == 19 ? END_STREAM : 0, 3, bytes_of(block, sizeof(block)));
        raw_feed(&raw, &pair, true);
    }
    expect(3, ":status: 200\ncontent-type: text/plain\ncontent-length: 6\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("320000")));

    raw_page(&raw, END_HEADERS, 5, "POST", "/echo", BYTES_NONE);
    for (unsigned i = 0; i < 7; i++)
        raw_frame(&raw, DATA, 0, 5, bytes_of(block, sizeof(block)));
    expect(5, ":status: 413\ncontent-type: text/plain; charset=utf-8\ncontent-length: 28\n");
    struct raw_seen seen;
    assert_true(raw_next(&raw, RST_STREAM, &seen));
    assert_int_equal(raw_u32(&seen, 0), 0);

    raw_page(&raw, END_HEADERS, 7, "POST", "/early", BYTES_NONE);
    expect(7, ":status: 403\ncontent-length: 0\n");
}

static void test_paused_body(void **state)
{
    static uint8_t block[16000];
    pages.pause = true;
    raw_page(&raw, END_HEADERS, 1, "POST", "/count", BYTES_NONE);
    for (unsigned i = 0; i < 4; i++)
        raw_frame(&raw, DATA, i == 3 ? END_STREAM : 0, 1, bytes_of(block, sizeof(block)));
    raw_feed(&raw, &pair, true);
    assert_in_range(pages.counted, 1, 16000 * 2);
    struct raw_seen seen;
    assert_false(raw_next(&raw, WINDOW_UPDATE, &seen) && seen.stream == 1);
    while (pages.held) {
        http_exchange_resume(pages.held);
        raw_take(&raw, &pair);
    }
    expect(1, ":status: 200\ncontent-type: text/plain\ncontent-length: 5\n");
    assert_true(bytes_equal(buf_bytes(&body), BYTES_LIT("64000")));
}

static void test_promise_within_windows(void **state)
{
    for (uint32_t id = 1; id <= 3; id += 2) {
        raw_page(&raw, END_HEADERS | END_STREAM, id, "GET",
                 id == 1 ? "/list?200000" : "/list?200001", BYTES_NONE);
        raw_feed(&raw, &pair, true);
        size_t before = raw.from.len;
        assert_in_range(before, 0, 66000 * 2);
        raw_u32_frame(&raw, WINDOW_UPDATE, 0, 200000);
        raw_u32_frame(&raw, WINDOW_UPDATE, id, 200000);
        expect(id, id == 1 ? ":status: 200\ncontent-length: 200000\n" : ":status: 200\n");
        assert_int_equal(body.len, 200000 + id / 2);
        for (size_t i = 0; i < body.len; i++)
            assert_int_equal(body.data[i], pattern_at(i));
    }
    assert_int_equal(pages.released, 2);
}

static void test_client_gives_up(void **state)
{
    raw_page(&raw, END_HEADERS | END_STREAM, 1, "GET", "/hold", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_non_null(pages.held);
    raw_u32_frame(&raw, RST_STREAM, 1, 8);
    raw_feed(&raw, &pair, true);
    assert_null(pages.held);
    assert_int_equal(pages.complete, 0);
    raw_page(&raw, END_HEADERS | END_STREAM, 3, "GET", "/short", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    struct raw_seen seen;
    assert_true(raw_next(&raw, RST_STREAM, &seen));
    assert_int_equal(raw_u32(&seen, 0), 2 /* INTERNAL_ERROR */);
    assert_int_equal(pages.complete, 0);
    /* One that is open when the connection goes. */
    raw_page(&raw, END_HEADERS | END_STREAM, 5, "GET", "/hold", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_int_equal(rpc_conn_open_count(pair.conn), 1);
}

static void test_grpc_beside_pages(void **state)
{
    raw_request(&raw, END_HEADERS, 1, "/etcdserverpb.KV/Range", BYTES_NONE);
    expect(1,
           ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
           "grpc-message: unknown service etcdserverpb.KV\n");
    assert_int_equal(pages.begun, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pages),           TEST(test_bodies),
        TEST(test_paused_body),     TEST(test_promise_within_windows),
        TEST(test_client_gives_up), TEST(test_grpc_beside_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
