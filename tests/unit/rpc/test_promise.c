/* Promises: lists that are made at write time, through short writes at every offset. */
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

static void expect_pattern(const struct reply *reply, size_t len)
{
    assert_true(reply->closed);
    assert_int_equal(reply->status, GRPC_OK);
    assert_int_equal(reply->len, len);
    for (size_t i = 0; i < len; i++) {
        if (reply->message[i] != pattern_at(i))
            fail_msg("byte %zu differs", i);
    }
}

static void start_list(const char *len, struct reply *reply)
{
    struct rpc_client_call *call = pair_start(&pair, "/test.Echo/List", UINT64_MAX, reply);
    struct bytes message = bytes_str(len);
    rpc_client_call_send(call, &message, 1, true);
    while (pair_to_server(&pair, SIZE_MAX) > 0) {
    }
}

static void test_sizes(void **state)
{
    static const char *const sizes[] = {"0",     "1",     "511",   "512",    "16379",
                                        "16384", "65535", "65536", "300000", "5000000"};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct reply reply;
        pair_call(&pair, "/test.Echo/List", bytes_str(sizes[i]), &reply);
        expect_pattern(&reply, strtoul(sizes[i], NULL, 10));
        assert_int_equal(pair.promises_released, i + 1);
        reply_done(&reply);
    }
}

/* The socket takes n bytes at a time, for every n up to more than a frame. */
static void test_short_writes(void **state)
{
    for (size_t n = 1; n < 20000; n += n < 300 ? 1 : 977) {
        struct reply reply;
        start_list("17500", &reply);
        while (!reply.closed) {
            (void)pair_to_client(&pair, n);
            (void)pair_to_server(&pair, SIZE_MAX);
        }
        expect_pattern(&reply, 17500);
        reply_done(&reply);
    }
    assert_int_equal(pair.promises_released, pair.begun);
}

/* The first write is cut at every offset, what follows goes whole. */
static void test_cut_once_everywhere(void **state)
{
    for (size_t n = 0; n < 4000; n++) {
        struct reply reply;
        start_list("3500", &reply);
        (void)pair_to_client(&pair, n);
        pair_run(&pair);
        expect_pattern(&reply, 3500);
        reply_done(&reply);
    }
}

static void test_many_lists_at_once(void **state)
{
    static struct reply replies[20];
    for (unsigned i = 0; i < 20; i++)
        start_list("400000", &replies[i]);
    size_t most = 0;
    for (unsigned turn = 0; turn < 5000; turn++) {
        (void)pair_to_client(&pair, 3000);
        (void)pair_to_server(&pair, SIZE_MAX);
        size_t bytes = rpc_pool_bytes(pair.server_pool);
        most = bytes > most ? bytes : most;
    }
    for (unsigned i = 0; i < 20; i++) {
        expect_pattern(&replies[i], 400000);
        reply_done(&replies[i]);
    }
    /* 8 MB were promised; nobody held them but the cursors. */
    assert_true(most < 700000);
}

static void test_reset_in_the_middle(void **state)
{
    /* The client gives up while frames of the promise are in the output: they still go, as
     * zeros, and the connection lives. */
    for (size_t cut = 0; cut < 60000; cut += 4999) {
        struct reply reply, after;
        struct rpc_client_call *call = pair_start(&pair, "/test.Echo/List", UINT64_MAX, &reply);
        struct bytes message = BYTES_LIT("900000");
        rpc_client_call_send(call, &message, 1, true);
        (void)pair_to_server(&pair, SIZE_MAX);
        (void)pair_to_server(&pair, SIZE_MAX);
        (void)pair_to_client(&pair, cut);
        unsigned released = pair.promises_released;
        rpc_client_call_cancel(call);
        (void)pair_to_server(&pair, SIZE_MAX);
        pair_run(&pair);
        assert_true(reply.closed);
        assert_int_equal(pair.promises_released, released + 1);
        reply_done(&reply);
        pair_call(&pair, "/test.Echo/List", BYTES_LIT("5000"), &after);
        expect_pattern(&after, 5000);
        reply_done(&after);
    }
    assert_int_equal(rpc_conn_unsent_bytes(pair.conn), 0);
}

static void test_broken_promise(void **state)
{
    /* More than what is framed is missing: the call alone ends. */
    struct reply reply, after;
    pair.pattern_break_at = 20000;
    pair_call(&pair, "/test.Echo/List", BYTES_LIT("3000000"), &reply);
    assert_true(reply.closed);
    assert_int_equal(reply.status, GRPC_INTERNAL);
    assert_int_equal(reply.messages, 0);
    assert_int_equal(pair.promises_released, 1);
    assert_false(rpc_conn_finished(pair.conn));
    pair.pattern_break_at = SIZE_MAX;
    pair_call(&pair, "/test.Echo/List", BYTES_LIT("5000"), &after);
    expect_pattern(&after, 5000);
    reply_done(&after);
    /* The end is framed already: zeros would look like a whole message, so all ends. */
    pair.pattern_break_at = 2000;
    pair_call(&pair, "/test.Echo/List", BYTES_LIT("3000"), &reply);
    assert_int_equal(reply.messages, 0);
    assert_true(rpc_conn_finished(pair.conn));
    rpc_client_read_end(pair.client, pair.now_ms);
    assert_int_equal(reply.status, GRPC_UNAVAILABLE);
}

static void test_connection_ends_in_the_middle(void **state)
{
    struct reply reply;
    start_list("900000", &reply);
    (void)pair_to_client(&pair, 40000);
    rpc_conn_free(pair.conn);
    pair.conn = NULL;
    assert_int_equal(pair.promises_released, 1);
    rpc_client_read_end(pair.client, pair.now_ms);
    assert_int_equal(reply.status, GRPC_UNAVAILABLE);
}

static void test_few_iovecs(void **state)
{
    struct reply reply;
    start_list("100000", &reply);
    uint8_t copy[4096];
    while (rpc_conn_wants_write(pair.conn)) {
        struct iovec iov[2];
        unsigned count;
        size_t n = rpc_conn_output(pair.conn, iov, 2, &count);
        assert_true(count <= 2);
        if (n == 0)
            break;
        size_t took = 0;
        for (unsigned i = 0; i < count; i++) {
            size_t here =
                iov[i].iov_len < sizeof(copy) - took ? iov[i].iov_len : sizeof(copy) - took;
            memcpy(copy + took, iov[i].iov_base, here);
            took += here;
        }
        rpc_conn_wrote(pair.conn, took);
        rpc_client_read(pair.client, bytes_of(copy, took), pair.now_ms);
    }
    expect_pattern(&reply, 100000);
    reply_done(&reply);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_short_writes),
        TEST(test_cut_once_everywhere),
        TEST(test_many_lists_at_once),
        TEST(test_reset_in_the_middle),
        TEST(test_broken_promise),
        TEST(test_connection_ends_in_the_middle),
        TEST(test_few_iovecs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
