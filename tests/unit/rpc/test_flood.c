/* Hostile HTTP/2 clients: each flood ends as it should, with memory flat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "raw.h"

#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>

#define ENHANCE_YOUR_CALM 0xb
#define REFUSED           0x7
#define FRAME_SIZE_ERROR  0x6

static struct pair pair;
static struct raw raw;
static struct rpc_limits limits;

static int setup(void **state)
{
    limits = rpc_limits_default();
    raw_init(&raw);
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
    return 0;
}

static int teardown(void **state)
{
    pair_done(&pair);
    raw_done(&raw);
    return 0;
}

/* With limits of its own. */
static void again(void)
{
    pair_done(&pair);
    raw_again(&raw);
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
}

static void expect_goaway(uint32_t error, const char *why)
{
    struct raw_seen seen;
    assert_true(raw_next(&raw, GOAWAY, &seen));
    assert_int_equal(raw_u32(&seen, 4), error);
    if (why)
        assert_true(bytes_equal(bytes_skip(seen.payload, 8), bytes_str(why)));
    assert_true(rpc_conn_finished(pair.conn));
}

/* The flood may have gone on after the end. */
static void expect_ended(void)
{
    raw_take(&raw, &pair);
    assert_true(rpc_conn_finished(pair.conn));
}

static size_t memory_at_most;
static void watch_memory(void)
{
    size_t bytes = rpc_pool_bytes(pair.server_pool);
    if (bytes > memory_at_most)
        memory_at_most = bytes;
}

static void test_rapid_reset(void **state)
{
    raw_preface(&raw, 0, 0);
    memory_at_most = 0;
    unsigned id = 1;
    for (; id < 2 * 60000 && !rpc_conn_finished(pair.conn); id += 2) {
        raw_request(&raw, END_HEADERS, id, "/test.Echo/Hold", BYTES_NONE);
        raw_u32_frame(&raw, RST_STREAM, id, 8);
        if (raw.to.len > 60000) {
            raw_feed(&raw, &pair, true);
            watch_memory();
        }
    }
    /* The burst is allowed: a client's calls may all hit their deadline at once. */
    assert_in_range(id / 2, 20000, 40000);
    expect_goaway(2 /* INTERNAL_ERROR */, NULL);
    assert_int_equal(pair.begun, pair.closed);
    assert_true(memory_at_most < 1 << 20);
}

static void test_ping_strikes(void **state)
{
    uint8_t opaque[8] = "whoareu";
    raw_preface(&raw, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        raw_frame(&raw, PING, 0, 0, bytes_of(opaque, 8));
        raw_feed(&raw, &pair, true);
        struct raw_seen seen;
        assert_true(raw_next(&raw, PING, &seen));
        assert_int_equal(seen.flags, ACK);
        assert_memory_equal(seen.payload.data, opaque, 8);
        assert_false(rpc_conn_finished(pair.conn));
        pair.now_ms += 60000;
    }
    raw_frame(&raw, PING, 0, 0, bytes_of(opaque, 8));
    raw_feed(&raw, &pair, true);
    expect_goaway(ENHANCE_YOUR_CALM, "too_many_pings");
}

static void test_pings_after_data(void **state)
{
    /* Bandwidth probes follow what we send, and calls that are open allow one each 5 s. */
    uint8_t opaque[8] = {0};
    raw_preface(&raw, 0, 0);
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Stream", BYTES_NONE);
    for (unsigned i = 0; i < 50; i++) {
        raw_frame(&raw, DATA, 0, 1, BYTES_LIT("\0\0\0\0\4ping"));
        raw_feed(&raw, &pair, true);
        raw_frame(&raw, PING, 0, 0, bytes_of(opaque, 8));
        raw_feed(&raw, &pair, true);
        assert_false(rpc_conn_finished(pair.conn));
    }
    for (unsigned i = 0; i < 50; i++) {
        pair.now_ms += 5000;
        raw_frame(&raw, PING, 0, 0, bytes_of(opaque, 8));
        raw_feed(&raw, &pair, true);
        assert_false(rpc_conn_finished(pair.conn));
    }
    pair.now_ms += 1000;
    for (unsigned i = 0; i < 3; i++)
        raw_frame(&raw, PING, 0, 0, bytes_of(opaque, 8));
    raw_feed(&raw, &pair, true);
    expect_goaway(ENHANCE_YOUR_CALM, "too_many_pings");
}

/* Control frames of one kind until the end comes. */
static void flood(uint8_t type, uint32_t stream, struct bytes payload, bool take, unsigned most)
{
    memory_at_most = 0;
    unsigned sent = 0;
    for (; sent < most && !rpc_conn_finished(pair.conn); sent += 100) {
        for (unsigned i = 0; i < 100; i++)
            raw_frame(&raw, type, 0, stream, payload);
        raw_feed(&raw, &pair, take);
        watch_memory();
        if (!rpc_conn_wants_read(pair.conn))
            break;
    }
    assert_true(sent < most);
    assert_true(memory_at_most < 1 << 20);
    expect_ended();
}

static void test_control_floods(void **state)
{
    limits.ping_policing = false;
    static const uint8_t zeros[8];
    const struct {
        uint8_t type;
        uint32_t stream;
        struct bytes payload;
    } floods[] = {
        {PING, 0, bytes_of(zeros, 8)},
        {SETTINGS, 0, BYTES_NONE},
        {PRIORITY, 7, bytes_of(zeros, 5)},
        {DATA, 1, BYTES_NONE},
    };
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned take = 0; take < 2; take++) {
            again();
            raw_preface(&raw, 0, 0);
            raw_request(&raw, END_HEADERS, 1, "/test.Echo/Stream", BYTES_NONE);
            flood(floods[i].type, floods[i].stream, floods[i].payload, take, 20000);
        }
    }
}

static void test_settings_entries(void **state)
{
    static const uint8_t entry[6] = {0, 5 /* MAX_FRAME_SIZE */, 0, 0, 0x40, 0};
    uint8_t entries[33 * 6];
    for (unsigned i = 0; i < 33; i++)
        memcpy(entries + i * 6, entry, sizeof(entry));
    raw_preface(&raw, 0, 0);
    raw_frame(&raw, SETTINGS, 0, 0, bytes_of(entries, sizeof(entries)));
    raw_feed(&raw, &pair, true);
    expect_ended();
}

static void test_continuations(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_request(&raw, 0, 1, "/test.Echo/Unary", BYTES_NONE);
    uint8_t space[64];
    for (unsigned i = 0; i < 9; i++)
        raw_frame(&raw, CONTINUATION, 0, 1, raw_field(space, "x-more", BYTES_LIT("and more")));
    raw_feed(&raw, &pair, true);
    expect_ended();
    assert_int_equal(pair.begun, 0);
}

static void test_header_list(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_feed(&raw, &pair, true);
    /* One field of 4000 bytes is put into HPACK's table, then named a hundred times. */
    uint8_t *block = malloc(1 << 16);
    uint8_t *value = malloc(4000);
    memset(value, 'v', 4000);
    size_t n = raw_field(block, "bomb", bytes_of(value, 4000)).len;
    block[0] = 0x40;
    memset(block + n, 0x80 | 62, 100);
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Unary", bytes_of(block, n + 100));
    raw_feed(&raw, &pair, true);
    struct raw_seen seen;
    assert_true(raw_next(&raw, RST_STREAM, &seen));
    assert_int_equal(raw_u32(&seen, 0), FRAME_SIZE_ERROR);
    assert_int_equal(pair.begun, 0);
    assert_false(rpc_conn_finished(pair.conn));
    assert_true(rpc_pool_bytes(pair.server_pool) < 1 << 20);
    free(block);
    free(value);
}

static void test_slow_header(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_request(&raw, 0, 1, "/test.Echo/Unary", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    pair_pass(&pair, limits.header_timeout_ms - 1);
    assert_false(rpc_conn_finished(pair.conn));
    pair_pass(&pair, 2);
    raw_take(&raw, &pair);
    expect_goaway(ENHANCE_YOUR_CALM, "header_timeout");
}

static void test_slow_preface(void **state)
{
    rpc_conn_read(pair.conn, BYTES_LIT("PRI * HT"), pair.now_ms);
    pair_pass(&pair, limits.preface_timeout_ms - 1);
    assert_false(rpc_conn_finished(pair.conn));
    pair_pass(&pair, 2);
    assert_true(rpc_conn_finished(pair.conn));
}

/* Nothing happened for long, then somebody comes: its time begins when it has come. */
static void test_idle_pool(void **state)
{
    const struct rpc_handler none = {0};
    uint64_t later_ms = pair.now_ms + 10 * (uint64_t)limits.preface_timeout_ms;
    rpc_pool_set_now(pair.server_pool, later_ms);
    struct rpc_conn *conn = rpc_conn_new(pair.server_pool, RPC_PLAIN, &none, NULL);
    rpc_pool_tick(pair.server_pool, later_ms + 1);
    assert_false(rpc_conn_finished(conn));
    rpc_pool_tick(pair.server_pool, later_ms + limits.preface_timeout_ms + 1);
    assert_true(rpc_conn_finished(conn));
    rpc_conn_free(conn);
}

static void test_zero_window(void **state)
{
    limits.conn_unsent_bytes_max = 1 << 20;
    again();
    raw_preface(&raw, 4 /* INITIAL_WINDOW_SIZE */, 0);
    static uint8_t message[10005] = {0, 0, 0, 0x27, 0x10};
    unsigned id = 1;
    for (; id < 2 * 1000; id += 2) {
        raw_request(&raw, END_HEADERS, id, "/test.Echo/Unary", BYTES_NONE);
        raw_frame(&raw, DATA, END_STREAM, id, bytes_of(message, sizeof(message)));
        raw_feed(&raw, &pair, true);
    }
    /* Answers pile up to the bound, then calls are refused before anyone looked at them. */
    struct raw_seen seen;
    unsigned refused = 0;
    while (raw_next(&raw, RST_STREAM, &seen))
        refused += raw_u32(&seen, 0) == REFUSED;
    assert_in_range(pair.begun, 100, 110);
    assert_int_equal(pair.begun + refused, 1000);
    assert_true(rpc_conn_unsent_bytes(pair.conn) < (1 << 20) + 2 * sizeof(message));
    /* What stands still too long is dropped. */
    pair_pass(&pair, limits.stall_timeout_ms);
    pair_pass(&pair, limits.stall_timeout_ms);
    raw_take(&raw, &pair);
    assert_int_equal(rpc_conn_unsent_bytes(pair.conn), 0);
    assert_int_equal(rpc_conn_open_count(pair.conn), 0);
    assert_false(rpc_conn_finished(pair.conn));
    raw_request(&raw, END_HEADERS, id, "/test.Echo/Unary", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_int_equal(rpc_conn_open_count(pair.conn), 1);
}

static void test_half_messages(void **state)
{
    limits.partial_bytes_max = 1 << 20;
    again();
    raw_preface(&raw, 0, 0);
    /* 60,000 bytes of 60,001: each within its window, a thousand of them. */
    static uint8_t message[15000] = {0, 0, 0, 0xea, 0x61};
    for (unsigned id = 1; id < 2 * 1000; id += 2) {
        raw_request(&raw, END_HEADERS, id, "/test.Echo/Stream", BYTES_NONE);
        for (unsigned i = 0; i < 4; i++)
            raw_frame(&raw, DATA, 0, id, bytes_of(message, sizeof(message)));
        raw_feed(&raw, &pair, true);
    }
    assert_int_equal(pair.begun, 1000);
    assert_true(pair.cancelled > 950);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_REFUSED);
    assert_false(rpc_conn_finished(pair.conn));
}

static void test_many_streams(void **state)
{
    limits.streams_max = 50;
    again();
    raw_preface(&raw, 0, 0);
    for (unsigned id = 1; id < 2 * 100; id += 2)
        raw_request(&raw, END_HEADERS, id, "/test.Echo/Hold", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    struct raw_seen seen;
    unsigned refused = 0;
    while (raw_next(&raw, RST_STREAM, &seen))
        refused += raw_u32(&seen, 0) == REFUSED;
    assert_int_equal(refused, 50);
    assert_int_equal(pair.begun, 50);
}

/* Who asks and does not read what comes back is no longer read from. */
static void ask_without_reading(const char *path)
{
    again();
    raw_preface(&raw, 0, 0);
    memory_at_most = 0;
    unsigned id = 1;
    for (; id < 2 * 300000 && rpc_conn_wants_read(pair.conn); id += 2) {
        raw_request(&raw, END_HEADERS | END_STREAM, id, path, BYTES_NONE);
        if (raw.to.len > 60000) {
            raw_feed(&raw, &pair, false);
            watch_memory();
        }
    }
    assert_false(rpc_conn_wants_read(pair.conn));
    assert_false(rpc_conn_finished(pair.conn));
    assert_true(memory_at_most < 20 << 20);
    raw_take(&raw, &pair);
    assert_true(rpc_conn_wants_read(pair.conn));
    assert_int_equal(rpc_conn_open_count(pair.conn), limits.streams_max == 50 ? 50 : 0);
}

static void test_refused_and_unread(void **state)
{
    limits.streams_max = 50;
    ask_without_reading("/test.Echo/Hold");
    limits.streams_max = 100000;
    ask_without_reading("/test.Echo/Nothing");
}

static void test_large_heads(void **state)
{
    raw_preface(&raw, 0, 0);
    uint8_t *block = malloc(1 << 16);
    uint8_t *agent = calloc(1, 60000);
    memset(agent, 'a', 60000);
    struct bytes field = raw_field(block, "user-agent", bytes_of(agent, 60000));
    memory_at_most = 0;
    unsigned id = 1;
    for (; id < 2 * 2000; id += 2) {
        /* A frame takes 16 KiB. */
        raw_request(&raw, 0, id, "/test.Echo/Stream", bytes_of(field.data, 16000));
        for (size_t at = 16000; at < field.len; at += 16000) {
            struct bytes rest = bytes_skip(field, at);
            bool last = rest.len <= 16000;
            raw_frame(&raw, CONTINUATION, last ? END_HEADERS : 0, id,
                      bytes_of(rest.data, last ? rest.len : 16000));
        }
        raw_feed(&raw, &pair, true);
        watch_memory();
    }
    struct raw_seen seen;
    unsigned refused = 0;
    while (raw_next(&raw, RST_STREAM, &seen))
        refused += raw_u32(&seen, 0) == REFUSED;
    assert_in_range(refused, 850, 950);
    assert_int_equal(pair.begun + refused, 2000);
    assert_true(memory_at_most < limits.heads_bytes_max + (8 << 20));
    /* Who goes makes room. */
    raw_u32_frame(&raw, RST_STREAM, 1, 8);
    raw_u32_frame(&raw, RST_STREAM, 3, 8);
    raw_feed(&raw, &pair, true);
    raw_request(&raw, END_HEADERS, id, "/test.Echo/Stream", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_int_equal(pair.begun + refused, 2001);
    free(block);
    free(agent);
}

/* Each change of the windows' size is work for all open streams. */
static void test_settings_of_many_streams(void **state)
{
    raw_preface(&raw, 0, 0);
    for (unsigned id = 1; id < 2 * 8000; id += 2)
        raw_request(&raw, END_HEADERS, id, "/test.Echo/Stream", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_int_equal(rpc_conn_open_count(pair.conn), 8000);
    uint8_t entry[6] = {0, 4 /* INITIAL_WINDOW_SIZE */};
    unsigned sent = 0;
    for (; sent < 20000 && !rpc_conn_finished(pair.conn); sent++) {
        entry[5] = (uint8_t)sent;
        raw_frame(&raw, SETTINGS, 0, 0, bytes_of(entry, sizeof(entry)));
        raw_feed(&raw, &pair, true);
    }
    /* A client that measures its bandwidth changes it some twenty times. */
    assert_in_range(sent, 50, 500);
    expect_goaway(ENHANCE_YOUR_CALM, "too_many_control_frames");
}

static struct bytes gzip_message(size_t len, uint8_t *space, size_t cap)
{
    struct libdeflate_compressor *gzip = libdeflate_alloc_compressor(9);
    uint8_t *plain = calloc(1, len);
    size_t n = libdeflate_gzip_compress(gzip, plain, len, space + 5, cap - 5);
    assert_true(n > 0);
    space[0] = 1;
    space[1] = 0;
    space[2] = (uint8_t)(n >> 16);
    space[3] = (uint8_t)(n >> 8);
    space[4] = (uint8_t)n;
    free(plain);
    libdeflate_free_compressor(gzip);
    return bytes_of(space, n + 5);
}

/* The header block with which the server answers that stream, trailers-only. */
static void expect_refusal(uint32_t stream, const char *fields)
{
    struct raw_seen seen;
    raw_take(&raw, &pair);
    assert_true(raw_next(&raw, HEADERS, &seen));
    assert_int_equal(seen.stream, stream);
    assert_true(seen.flags & END_STREAM);
    assert_string_equal(seen.fields, fields);
}

static void test_gzip(void **state)
{
    static uint8_t space[100000];
    uint8_t field[64];
    struct raw_seen seen;
    raw_preface(&raw, 0, 0);
    struct bytes encoding = raw_field(field, "grpc-encoding", BYTES_LIT("gzip"));
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/List", encoding);
    raw_frame(&raw, DATA, END_STREAM, 1, gzip_message(1000000, space, sizeof(space)));
    raw_feed(&raw, &pair, true);
    assert_int_equal(pair.messages, 1);
    assert_int_equal(pair.message_bytes_max, 1000000);
    while (raw_next(&raw, HEADERS, &seen)) {
    }

    /* A bomb: 50 MB in less than 100 kB. */
    struct bytes bomb = gzip_message(50u << 20, space, sizeof(space));
    raw_request(&raw, END_HEADERS, 3, "/test.Echo/Unary", encoding);
    for (size_t at = 0; at < bomb.len; at += 16000) {
        size_t n = bomb.len - at < 16000 ? bomb.len - at : 16000;
        raw_frame(&raw, DATA, 0, 3, bytes_of(bomb.data + at, n));
    }
    raw_feed(&raw, &pair, true);
    expect_refusal(3,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 8\n"
                   "grpc-message: grpc: received message after decompression larger than max "
                   "2097152\n");
    assert_int_equal(pair.messages, 1);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_REFUSED);

    raw_request(&raw, END_HEADERS, 9, "/test.Echo/Unary", encoding);
    raw_frame(&raw, DATA, END_STREAM, 9, BYTES_LIT("\1\0\0\0\4abcd"));
    raw_feed(&raw, &pair, true);
    expect_refusal(9,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 13\n"
                   "grpc-message: grpc: failed to decompress the received message: gzip: "
                   "invalid data\n");
    assert_int_equal(pair.messages, 1);
}

static void test_refused_heads(void **state)
{
    uint8_t field[64];
    raw_preface(&raw, 0, 0);
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Unary",
                raw_field(field, "grpc-encoding", BYTES_LIT("snappy")));
    raw_feed(&raw, &pair, true);
    expect_refusal(1,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
                   "grpc-message: grpc: Decompressor is not installed for grpc-encoding "
                   "\"snappy\"\ngrpc-accept-encoding: gzip\n");
    raw_request(&raw, END_HEADERS, 3, "/test.Echo/Unary",
                raw_field(field, "grpc-timeout", BYTES_LIT("12x")));
    raw_feed(&raw, &pair, true);
    expect_refusal(3,
                   ":status: 400\ncontent-type: application/grpc\ngrpc-status: 13\n"
                   "grpc-message: malformed grpc-timeout: \"12x\"\n");
    raw_request(&raw, END_HEADERS, 5, "/test.Echo/Unary",
                raw_field(field, "grpc-timeout", BYTES_LIT("0m")));
    raw_feed(&raw, &pair, true);
    expect_refusal(5,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 4\n"
                   "grpc-message: context deadline exceeded\n");
    raw_request(&raw, END_HEADERS, 7, "/nobody", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    expect_refusal(7,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
                   "grpc-message: malformed method name: \"/nobody\"\n");
    /* :method GET, and no content-type. */
    raw_frame(&raw, HEADERS, END_HEADERS | END_STREAM, 9, BYTES_LIT("\x82\x86\x84\x01\1x"));
    raw_feed(&raw, &pair, true);
    expect_refusal(9,
                   ":status: 415\ncontent-type: application/grpc\ngrpc-status: 3\n"
                   "grpc-message: invalid gRPC request content-type \"\"\n");
    assert_int_equal(pair.begun, 0);
    /* What a message's prefix gives away. */
    raw_request(&raw, END_HEADERS, 11, "/test.Echo/Unary", BYTES_NONE);
    raw_frame(&raw, DATA, END_STREAM, 11, BYTES_LIT("\1\0\0\0\4abcd"));
    raw_feed(&raw, &pair, true);
    expect_refusal(11,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 13\n"
                   "grpc-message: grpc: compressed flag set with identity or empty "
                   "encoding\n");
    raw_request(&raw, END_HEADERS, 13, "/test.Echo/Unary", BYTES_NONE);
    raw_frame(&raw, DATA, END_STREAM, 13, BYTES_LIT("\2\0\0\0\4abcd"));
    raw_feed(&raw, &pair, true);
    expect_refusal(13,
                   ":status: 200\ncontent-type: application/grpc\ngrpc-status: 13\n"
                   "grpc-message: grpc: received unexpected payload format 2\n");
    assert_int_equal(pair.messages, 0);
    assert_int_equal(pair.cancelled, 2);
}

static void test_torn_message(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Unary", BYTES_NONE);
    raw_frame(&raw, DATA, END_STREAM, 1, BYTES_LIT("\0\0\0\0\11half"));
    raw_request(&raw, END_HEADERS | END_STREAM, 3, "/test.Echo/Unary", BYTES_NONE);
    raw_feed(&raw, &pair, true);
    assert_int_equal(pair.messages, 0);
    assert_int_equal(pair.cancelled, 2);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_REFUSED);
    assert_int_equal(rpc_conn_open_count(pair.conn), 0);
    assert_false(rpc_conn_finished(pair.conn));
}

static void test_unary_runs_before_half_close(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Unary", BYTES_NONE);
    raw_frame(&raw, DATA, 0, 1, BYTES_LIT("\0\0\0\0\4ping"));
    raw_feed(&raw, &pair, true);
    assert_int_equal(pair.messages, 1);
    struct raw_seen seen;
    assert_true(raw_next(&raw, HEADERS, &seen));
    assert_true(raw_next(&raw, DATA, &seen));
    assert_true(bytes_equal(seen.payload, BYTES_LIT("\0\0\0\0\4ping")));
    assert_true(raw_next(&raw, HEADERS, &seen));
    assert_true(seen.flags & END_STREAM);
    /* It had not half-closed: it is told to stop. */
    assert_true(raw_next(&raw, RST_STREAM, &seen));
    assert_int_equal(raw_u32(&seen, 0), 0);
}

static void test_garbage(void **state)
{
    raw_preface(&raw, 0, 0);
    raw_frame(&raw, WINDOW_UPDATE, 0, 0, BYTES_LIT("\x7f\xff\xff\xff"));
    raw_frame(&raw, WINDOW_UPDATE, 0, 0, BYTES_LIT("\x7f\xff\xff\xff"));
    raw_feed(&raw, &pair, true);
    expect_ended();
    again();
    raw_preface(&raw, 0, 0);
    raw_frame(&raw, HEADERS, END_HEADERS, 1, BYTES_LIT("\xff\xff\xff\xff\xff\xff\xff\xff"));
    raw_feed(&raw, &pair, true);
    expect_ended();
    again();
    raw_preface(&raw, 0, 0);
    raw_frame(&raw, DATA, 0, 0, BYTES_LIT("for no stream"));
    raw_feed(&raw, &pair, true);
    expect_ended();
    again();
    raw_preface(&raw, 0, 0);
    raw_frame(&raw, 77, 0, 0, BYTES_LIT("an unknown type is skipped"));
    raw_request(&raw, END_HEADERS, 1, "/test.Echo/Unary", BYTES_NONE);
    raw_frame(&raw, DATA, END_STREAM, 1, BYTES_LIT("\0\0\0\0\4ping"));
    raw_feed(&raw, &pair, true);
    assert_int_equal(pair.messages, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rapid_reset),
        TEST(test_ping_strikes),
        TEST(test_pings_after_data),
        TEST(test_control_floods),
        TEST(test_settings_entries),
        TEST(test_continuations),
        TEST(test_header_list),
        TEST(test_slow_header),
        TEST(test_slow_preface),
        TEST(test_idle_pool),
        TEST(test_zero_window),
        TEST(test_half_messages),
        TEST(test_many_streams),
        TEST(test_refused_and_unread),
        TEST(test_large_heads),
        TEST(test_settings_of_many_streams),
        TEST(test_gzip),
        TEST(test_refused_heads),
        TEST(test_torn_message),
        TEST(test_garbage),
        TEST(test_unary_runs_before_half_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
