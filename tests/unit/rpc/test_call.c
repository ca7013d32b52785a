/* gRPC calls from end to end: an in-memory client and server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

#include <stdio.h>
#include <stdlib.h>

static struct pair pair;

static int setup(void **state)
{
    struct rpc_limits limits = rpc_limits_default();
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
    return 0;
}

static int teardown(void **state)
{
    pair_done(&pair);
    return 0;
}

static void check_reply(const struct reply *reply, enum grpc_status status, const char *text)
{
    assert_true(reply->closed);
    assert_int_equal(reply->status, status);
    assert_string_equal(reply->text, text);
}

static void test_unary(void **state)
{
    struct reply reply;
    for (unsigned i = 0; i < 100; i++) {
        pair_call(&pair, "/test.Echo/Unary", BYTES_LIT("hello"), &reply);
        check_reply(&reply, GRPC_OK, "");
        assert_int_equal(reply.messages, 1);
        assert_int_equal(reply.len, 5);
        assert_memory_equal(reply.message, "hello", 5);
        reply_done(&reply);
    }
    pair_call(&pair, "/test.Echo/Unary", BYTES_NONE, &reply);
    check_reply(&reply, GRPC_OK, "");
    assert_int_equal(reply.messages, 1);
    assert_int_equal(reply.len, 0);
    reply_done(&reply);
    assert_int_equal(pair.begun, 101);
    assert_int_equal(pair.closed, 101);
    assert_int_equal(pair.cancelled, 0);
    assert_int_equal(rpc_conn_open_count(pair.conn), 0);
    assert_int_equal(rpc_conn_unsent_bytes(pair.conn), 0);
}

static void test_byte_at_a_time(void **state)
{
    pair.step = 1;
    struct reply reply;
    uint8_t *big = malloc(200000);
    for (size_t i = 0; i < 200000; i++)
        big[i] = pattern_at(i);
    static const size_t sizes[] = {0, 1, 7, 4000, 70000, 200000};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pair_call(&pair, "/test.Echo/Unary", bytes_of(big, sizes[i]), &reply);
        check_reply(&reply, GRPC_OK, "");
        assert_int_equal(reply.len, sizes[i]);
        assert_memory_equal(reply.message, big, sizes[i]);
        reply_done(&reply);
    }
    pair_call(&pair, "/test.Echo/Fail", BYTES_LIT("\x09no 100% \xc3\xa4\n"), &reply);
    check_reply(&reply, GRPC_FAILED_PRECONDITION, "no 100% \xc3\xa4\n");
    assert_false(reply.headers);
    assert_int_equal(pair.reserved, 2);
    assert_int_equal(pair.unreserved, 2);
    free(big);
}

static void test_parts(void **state)
{
    static const char text[] = "a message that is cut into forty parts..";
    for (size_t n = 0; n <= 40; n++) {
        struct reply reply;
        pair_call(&pair, "/test.Echo/Parts", bytes_of(text, n), &reply);
        check_reply(&reply, GRPC_OK, "");
        assert_int_equal(reply.len, n);
        assert_memory_equal(reply.message, text, n);
        reply_done(&reply);
    }
}

static void test_status_and_texts(void **state)
{
    struct reply reply;
    pair_call(&pair, "/test.Echo/Fail", BYTES_LIT("\x05"), &reply);
    check_reply(&reply, GRPC_NOT_FOUND, "");
    pair_call(&pair, "/test.Nobody/Unary", BYTES_NONE, &reply);
    check_reply(&reply, GRPC_UNIMPLEMENTED, "unknown service test.Nobody");
    pair_call(&pair, "/test.Echo/Nothing", BYTES_NONE, &reply);
    check_reply(&reply, GRPC_UNIMPLEMENTED, "unknown method Nothing for service test.Echo");
    pair_call(&pair, "/nonsense", BYTES_NONE, &reply);
    check_reply(&reply, GRPC_UNIMPLEMENTED, "malformed method name: \"/nonsense\"");
}

static void test_stream(void **state)
{
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Stream", UINT64_MAX, &reply);
    for (unsigned i = 1; i <= 50; i++) {
        char text[16];
        int n = snprintf(text, sizeof(text), "message %u", i);
        struct bytes message = bytes_of(text, (size_t)n);
        rpc_client_call_send(call, &message, 1, false);
        pair_run(&pair);
        assert_int_equal(reply.messages, i);
        assert_true(bytes_equal(bytes_of(reply.message, reply.len), message));
    }
    assert_true(reply.headers);
    assert_false(reply.closed);
    rpc_client_call_half_close(call);
    pair_run(&pair);
    check_reply(&reply, GRPC_OK, "");
    assert_int_equal(pair.half_closed, 1);
    reply_done(&reply);
}

static void test_too_large(void **state)
{
    struct reply reply;
    size_t max = rpc_pool_limits(pair.server_pool)->receive_bytes_max;
    uint8_t *big = calloc(1, max + 1);
    pair_call(&pair, "/test.Echo/Hold", bytes_of(big, max + 1), &reply);
    check_reply(&reply, GRPC_RESOURCE_EXHAUSTED,
                "grpc: received message larger than max (2097153 vs. 2097152)");
    assert_int_equal(pair.messages, 0);
    assert_int_equal(pair.cancelled, 1);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_REFUSED);
    pair_call(&pair, "/test.Echo/Unary", bytes_of(big, max), &reply);
    check_reply(&reply, GRPC_OK, "");
    assert_int_equal(reply.len, max);
    reply_done(&reply);
    free(big);
}

static void test_take_message(void **state)
{
    struct reply reply;
    pair.take = true;
    uint8_t *big = malloc(100000);
    for (size_t i = 0; i < 100000; i++)
        big[i] = pattern_at(i);
    static const size_t sizes[] = {0, 5, 100000};
    for (unsigned i = 0; i < 3; i++) {
        pair_call(&pair, "/test.Echo/Unary", bytes_of(big, sizes[i]), &reply);
        check_reply(&reply, GRPC_OK, "");
        assert_int_equal(pair.taken_message.len, sizes[i]);
        assert_memory_equal(pair.taken_message.data, big, sizes[i]);
        free(pair.taken);
        reply_done(&reply);
    }
    assert_int_equal(pair.reserved, 1);
    assert_int_equal(pair.unreserved, 0);
    free(big);
}

static void test_reservation(void **state)
{
    struct reply reply;
    pair.refuse_reserve = true;
    uint8_t *big = calloc(1, 1000000);
    pair_call(&pair, "/test.Echo/Unary", bytes_of(big, 1000000), &reply);
    /* The client's window is shut until room is granted; others go on meanwhile. */
    assert_false(reply.closed);
    assert_int_equal(pair.reserved, 1);
    assert_true(pair.carried_to_server < 80000);
    struct reply other;
    pair_call(&pair, "/test.Echo/Unary", BYTES_LIT("small"), &other);
    check_reply(&other, GRPC_OK, "");
    reply_done(&other);
    rpc_call_grant(pair.waiting);
    pair_run(&pair);
    check_reply(&reply, GRPC_OK, "");
    assert_int_equal(reply.len, 1000000);
    assert_int_equal(pair.unreserved, 1);
    reply_done(&reply);
    free(big);
}

static void test_deadline(void **state)
{
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Hold", 250, &reply);
    rpc_client_call_half_close(call);
    pair_run(&pair);
    assert_int_equal(rpc_call_deadline_ms(pair.held[0]), 1250);
    assert_int_equal(rpc_pool_next_ms(pair.server_pool) <= 1250, 1);
    pair_pass(&pair, 249);
    pair_run(&pair);
    assert_false(reply.closed);
    /* The server alone sees it pass: RST CANCEL, no trailers. */
    pair.now_ms += 1;
    rpc_pool_tick(pair.server_pool, pair.now_ms);
    pair_run(&pair);
    assert_true(reply.closed);
    assert_int_equal(reply.status, GRPC_CANCELLED);
    assert_int_equal(pair.cancelled, 1);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_DEADLINE);
    assert_int_equal(pair.closed, 1);

    /* The client alone: DeadlineExceeded, and the server hears of the reset. */
    pair_start(&pair, "/test.Echo/Hold", 100, &reply);
    pair_run(&pair);
    pair.now_ms += 100;
    rpc_pool_tick(pair.client_pool, pair.now_ms);
    pair_to_server(&pair, SIZE_MAX);
    check_reply(&reply, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_int_equal(pair.cancelled, 2);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_RESET);

    /* A deadline of 0 is answered with trailers. */
    pair_start(&pair, "/test.Echo/Hold", 0, &reply);
    pair_to_server(&pair, SIZE_MAX);
    pair_to_client(&pair, SIZE_MAX);
    check_reply(&reply, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_int_equal(pair.begun, 2);
}

static void test_cancel(void **state)
{
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &reply);
    pair_run(&pair);
    rpc_client_call_cancel(call);
    pair_run(&pair);
    check_reply(&reply, GRPC_CANCELLED, "context canceled");
    assert_int_equal(pair.cancelled, 1);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_RESET);
    assert_int_equal(pair.closed, 1);

    pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &reply);
    pair_run(&pair);
    rpc_call_reset(pair.held[1], 0x2 /* INTERNAL_ERROR */);
    pair_run(&pair);
    assert_int_equal(reply.status, GRPC_INTERNAL);
    assert_int_equal(pair.cancelled, 1);
    assert_int_equal(pair.closed, 2);
}

static void test_early_answer_resets_sender(void **state)
{
    /* Trailers while the client still sends: it learns the status, and stops. */
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &reply);
    struct bytes message = BYTES_LIT("one of many");
    rpc_client_call_send(call, &message, 1, false);
    pair_run(&pair);
    rpc_call_finish(pair.held[0], GRPC_UNAVAILABLE, BYTES_LIT("etcdserver: no leader"));
    pair_run(&pair);
    check_reply(&reply, GRPC_UNAVAILABLE, "etcdserver: no leader");
    assert_int_equal(pair.closed, 1);
    assert_int_equal(pair.cancelled, 0);
}

static void test_pause(void **state)
{
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Flow", UINT64_MAX, &reply);
    uint8_t block[1000] = {0};
    struct bytes message = bytes_of(block, sizeof(block));
    for (unsigned i = 0; i < 500; i++)
        rpc_client_call_send(call, &message, 1, i == 499);
    pair_run(&pair);
    assert_int_equal(pair.messages, 0);
    assert_true(pair.carried_to_server < 70000);
    assert_true(rpc_client_call_unsent_bytes(call) > 400000);
    rpc_call_resume(pair.held[0]);
    pair_run(&pair);
    assert_int_equal(pair.messages, 500);
    assert_int_equal(pair.half_closed, 1);
    rpc_call_finish(pair.held[0], GRPC_OK, BYTES_NONE);
    pair_run(&pair);
    check_reply(&reply, GRPC_OK, "");
}

static void test_writable(void **state)
{
    struct reply reply;
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &reply);
    pair_run(&pair);
    rpc_client_call_pause(call);
    uint8_t block[10000] = {0};
    struct bytes message = bytes_of(block, sizeof(block));
    unsigned sent = 0;
    /* The client reads nothing: its 1 MiB window fills, then the call's own bound. */
    for (; sent < 1000 && rpc_call_writable(pair.held[0]); sent++) {
        rpc_call_send(pair.held[0], &message, 1);
        pair_run(&pair);
    }
    assert_in_range(sent, 100, 150);
    assert_int_equal(pair.writable, 0);
    assert_true(rpc_call_unsent_bytes(pair.held[0]) >= 256 << 10);
    rpc_client_call_resume(call);
    pair_run(&pair);
    assert_int_equal(pair.writable, 1);
    assert_true(rpc_call_writable(pair.held[0]));
    rpc_call_finish(pair.held[0], GRPC_OK, BYTES_NONE);
    pair_run(&pair);
    check_reply(&reply, GRPC_OK, "");
    assert_int_equal(reply.messages, sent);
    reply_done(&reply);
}

/* Number i has its own length and bytes; every 64th is made at write time. */
static size_t numbered_bytes(unsigned i)
{
    return i % 64 == 63 ? 3000 : (i * 37) % 1500;
}

static void send_numbered(struct rpc_call *call, unsigned i)
{
    uint8_t bytes[1500];
    struct bytes message = bytes_of(bytes, numbered_bytes(i));
    if (i % 64 == 63) {
        struct rpc_promise promise = pattern_promise(3000, 1000, &pair.promises_released);
        rpc_call_send_promise(call, &promise);
        return;
    }
    memset(bytes, (int)(i & 0xff), message.len);
    rpc_call_send(call, &message, 1);
}

static void expect_numbered(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    unsigned *next = ctx;
    unsigned i = (*next)++;
    (void)call;
    assert_int_equal(message.len, numbered_bytes(i));
    for (size_t at = 0; at < message.len; at++)
        assert_int_equal(message.data[at], i % 64 == 63 ? pattern_at(at) : (uint8_t)(i & 0xff));
}

static void expect_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                          struct bytes text)
{
    assert_int_equal(status, GRPC_OK);
}

/* Messages of all sizes that wait for a client come whole and in order, however the connection cuts
 * them. */
static void test_many_small_messages_wait(void **state)
{
    static const struct rpc_client_call_handler handler = {.message = expect_numbered,
                                                           .closed = expect_closed};
    const struct rpc_client_start start = {.path = BYTES_LIT("/test.Echo/Hold"),
                                           .timeout_ms = UINT64_MAX};
    unsigned came = 0, sent = 0;
    struct rpc_client_call *call;
    assert_true(err_ok(rpc_client_call_start(pair.client, &start, &handler, &came, &call)));
    pair_run(&pair);
    for (size_t step = 1; sent < 6000; step = step * 3 + 1) {
        for (unsigned end = sent + 400; sent < end; sent++)
            send_numbered(pair.held[0], sent);
        /* A part of it leaves, and more comes behind what is left. */
        (void)pair_to_client(&pair, step % 70001);
        (void)pair_to_server(&pair, SIZE_MAX);
    }
    pair_run(&pair);
    rpc_call_finish(pair.held[0], GRPC_OK, BYTES_NONE);
    pair_run(&pair);
    assert_int_equal(came, sent);
    assert_int_equal(pair.promises_released, sent / 64);
}

static void test_metadata(void **state)
{
    const struct http_header metadata[] = {
        {BYTES_LIT("token"), BYTES_LIT("abc.7")},
        {BYTES_LIT("hasleader"), BYTES_LIT("true")},
        {BYTES_LIT("client-api-version"), BYTES_LIT("3.7")},
        {BYTES_LIT("x-else"), BYTES_LIT("nobody looks")},
    };
    static struct reply reply; /* still open when the connection goes */
    struct rpc_client_call *call;
    const struct rpc_client_start start = {.path = BYTES_LIT("/test.Echo/Hold"),
                                           .metadata = metadata,
                                           .metadata_count = 4,
                                           .timeout_ms = UINT64_MAX};
    assert_true(err_ok(rpc_client_call_start(pair.client, &start, &reply_handler, &reply, &call)));
    pair_run(&pair);
    struct rpc_call *held = pair.held[0];
    assert_true(bytes_equal(rpc_call_metadata(held, RPC_METADATA_TOKEN), BYTES_LIT("abc.7")));
    assert_true(bytes_equal(rpc_call_metadata(held, RPC_METADATA_HASLEADER), BYTES_LIT("true")));
    assert_true(
        bytes_equal(rpc_call_metadata(held, RPC_METADATA_CLIENT_API_VERSION), BYTES_LIT("3.7")));
    assert_true(bytes_equal(rpc_call_metadata(held, RPC_METADATA_USER_AGENT), BYTES_LIT("pair/1")));
    assert_null(rpc_call_metadata(held, RPC_METADATA_AUTHORIZATION).data);
    assert_int_equal(rpc_call_deadline_ms(held), UINT64_MAX);
}

static void test_connection_ends(void **state)
{
    struct reply replies[3];
    for (unsigned i = 0; i < 3; i++)
        pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &replies[i]);
    pair_run(&pair);
    rpc_client_read_end(pair.client, pair.now_ms);
    rpc_conn_read_end(pair.conn, pair.now_ms);
    assert_true(rpc_client_finished(pair.client));
    assert_true(rpc_conn_finished(pair.conn));
    for (unsigned i = 0; i < 3; i++) {
        assert_true(replies[i].closed);
        assert_int_equal(replies[i].status, GRPC_UNAVAILABLE);
    }
    rpc_conn_free(pair.conn);
    assert_int_equal(pair.cancelled, 3);
    assert_int_equal(pair.cancel_why, RPC_CANCEL_GONE);
    assert_int_equal(pair.closed, 3);
    pair.conn = NULL;
}

static void test_shutdown(void **state)
{
    struct reply running, late;
    pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &running);
    pair_run(&pair);
    rpc_conn_shutdown(pair.conn);
    pair_run(&pair);
    assert_false(rpc_client_usable(pair.client));
    assert_false(running.closed);
    assert_false(rpc_conn_finished(pair.conn));
    struct bytes message = BYTES_LIT("the last word");
    rpc_call_answer(pair.held[0], &message, 1);
    pair_run(&pair);
    check_reply(&running, GRPC_OK, "");
    assert_int_equal(running.len, message.len);
    reply_done(&running);
    assert_true(rpc_conn_finished(pair.conn));
    assert_true(rpc_client_finished(pair.client));
    struct rpc_client_call *call;
    const struct rpc_client_start start = {.path = BYTES_LIT("/test.Echo/Unary"),
                                           .timeout_ms = UINT64_MAX};
    assert_true(err_is(rpc_client_call_start(pair.client, &start, &reply_handler, &late, &call),
                       ERR_CLOSED));
}

static void test_limited_streams(void **state)
{
    pair_done(&pair);
    struct rpc_limits limits = rpc_limits_default();
    limits.streams_announced = 2;
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
    /* Before SETTINGS have come the client knows no limit: the third is refused, unprocessed. */
    static struct reply replies[3];
    for (unsigned i = 0; i < 3; i++)
        pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &replies[i]);
    pair_run(&pair);
    assert_int_equal(pair.held_count, 2);
    assert_true(replies[2].closed);
    assert_true(replies[2].unprocessed);
    assert_int_equal(replies[2].status, GRPC_UNAVAILABLE);
    /* Then it queues. */
    pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &replies[2]);
    pair_run(&pair);
    assert_int_equal(pair.held_count, 2);
    assert_false(replies[2].closed);
    rpc_call_finish(pair.held[0], GRPC_OK, BYTES_NONE);
    pair_run(&pair);
    check_reply(&replies[0], GRPC_OK, "");
    assert_int_equal(pair.held_count, 3);
    /* One that gives up while it queues never leaves. */
    struct rpc_client_call *queued = pair_start(&pair, "/test.Echo/Hold", UINT64_MAX, &replies[0]);
    pair_run(&pair);
    rpc_client_call_cancel(queued);
    pair_run(&pair);
    check_reply(&replies[0], GRPC_CANCELLED, "context canceled");
    rpc_call_finish(pair.held[1], GRPC_OK, BYTES_NONE);
    rpc_call_finish(pair.held[2], GRPC_OK, BYTES_NONE);
    pair_run(&pair);
    assert_int_equal(pair.held_count, 3);
    struct reply reply;
    pair_call(&pair, "/test.Echo/Unary", BYTES_LIT("room again"), &reply);
    check_reply(&reply, GRPC_OK, "");
    reply_done(&reply);
}

static void test_keepalive(void **state)
{
    pair_done(&pair);
    struct rpc_limits limits = rpc_limits_default();
    limits.ping_interval_ms = 60000;
    limits.ping_timeout_ms = 5000;
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
    struct reply reply;
    pair_call(&pair, "/test.Echo/Unary", BYTES_LIT("x"), &reply);
    reply_done(&reply);
    for (unsigned i = 0; i < 5; i++) {
        pair_pass(&pair, 60001);
        assert_true(rpc_conn_wants_write(pair.conn));
        pair_run(&pair);
        pair_pass(&pair, 5001);
        assert_false(rpc_conn_finished(pair.conn));
    }
    /* A peer that is gone does not ack. */
    pair_pass(&pair, 60001);
    assert_false(rpc_conn_finished(pair.conn));
    pair_pass(&pair, 5001);
    assert_true(rpc_conn_finished(pair.conn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unary, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_and_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_take_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reservation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early_answer_resets_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_small_messages_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shutdown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limited_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keepalive, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
