/* The client against servers that misbehave: what it repeats and what it must not, whom it turns
 * to, and when it gives up. */
#include "server.h"

#include "client/client.h"
#include "client/page.h"
#include "etcdserverpb.pb-c.h"

#include <stdio.h>
#include <string.h>

#define SERVERS 3

struct fixture {
    struct io_loop *loop;
    struct server servers[SERVERS];
    struct client *client;
    struct arena arena;
};

static struct fixture f;

static int setup(void **state)
{
    arena_init(&f.arena, 4096);
    assert_ok(io_loop_new(&f.loop));
    for (unsigned i = 0; i < SERVERS; i++)
        server_init(&f.servers[i], f.loop);
    return 0;
}

static int teardown(void **state)
{
    client_free(f.client);
    f.client = NULL;
    for (unsigned i = 0; i < SERVERS; i++)
        if (f.servers[i].listener)
            server_done(&f.servers[i]);
    io_loop_run_once(f.loop, 0);
    io_loop_free(f.loop);
    arena_done(&f.arena);
    return 0;
}

static void connect_to(const char *const *endpoints, unsigned count)
{
    const struct client_config config = {.endpoints = endpoints, .endpoint_count = count};
    assert_ok(client_new(f.loop, &config, &f.client));
}

static void connect_to_first(void)
{
    const char *const endpoints[] = {f.servers[0].endpoint};
    connect_to(endpoints, 1);
}

static void connect_to_all(void)
{
    const char *const endpoints[] = {f.servers[0].endpoint, f.servers[1].endpoint,
                                     f.servers[2].endpoint};
    connect_to(endpoints, 3);
}

static struct client_request request_of(const struct client_method *method)
{
    static const Etcdserverpb__RangeRequest message = ETCDSERVERPB__RANGE_REQUEST__INIT;
    return (struct client_request){.method = method,
                                   .message = &message.base,
                                   .timeout_ms = 2000,
                                   .endpoint = CLIENT_ANY_ENDPOINT,
                                   .arena = &f.arena};
}

static struct client_result call(const struct client_method *method)
{
    const struct client_request request = request_of(method);
    return client_call_wait(f.client, &request);
}

#define assert_text(result, want) assert_string_equal(arena_copy_str(&f.arena, (result).text), want)

static void a_call_is_answered(void **state)
{
    connect_to_first();
    struct client_result result = call(&client_kv_range);
    assert_int_equal(result.status, GRPC_OK);
    assert_ptr_equal(result.response->descriptor, &etcdserverpb__range_response__descriptor);
    assert_int_equal(f.servers[0].calls, 1);
    assert_string_equal(f.servers[0].api_version, "3.7");
}

static void errors_come_as_the_server_said_them(void **state)
{
    f.servers[0].then = REFUSE_KEY;
    connect_to_first();
    struct client_result result = call(&client_kv_put);
    assert_int_equal(result.status, GRPC_INVALID_ARGUMENT);
    assert_text(result, "etcdserver: key is not provided");
    assert_false(result.local);
    assert_null(result.response);
    assert_int_equal(f.servers[0].calls, 1);
}

static void reads_are_repeated_where_a_server_is_unavailable(void **state)
{
    f.servers[0].first = UNAVAILABLE;
    f.servers[0].first_count = 3;
    connect_to_first();
    assert_int_equal(call(&client_kv_range).status, GRPC_OK);
    assert_int_equal(f.servers[0].calls, 4);
}

static void writes_are_never_repeated_once_a_server_has_them(void **state)
{
    connect_to_first();
    f.servers[0].then = UNAVAILABLE;
    struct client_result result = call(&client_kv_put);
    assert_int_equal(result.status, GRPC_UNAVAILABLE);
    assert_text(result, "etcdserver: no leader");
    assert_int_equal(f.servers[0].calls, 1);
    f.servers[0].then = CUT;
    assert_int_equal(call(&client_kv_put).status, GRPC_UNAVAILABLE);
    assert_int_equal(f.servers[0].calls, 2);
}

static void a_txn_of_reads_is_a_read(void **state)
{
    f.servers[0].first = UNAVAILABLE;
    f.servers[0].first_count = 1;
    connect_to_first();
    struct client_request request = request_of(&client_kv_txn);
    request.read = true;
    assert_int_equal(client_call_wait(f.client, &request).status, GRPC_OK);
    assert_int_equal(f.servers[0].calls, 2);
}

static void what_no_server_looked_at_is_repeated_even_if_it_writes(void **state)
{
    f.servers[0].first = REJECT;
    f.servers[0].first_count = 2;
    connect_to_first();
    assert_int_equal(call(&client_kv_put).status, GRPC_OK);
    assert_int_equal(f.servers[0].calls, 3);
}

static void a_read_survives_a_connection_that_is_cut(void **state)
{
    f.servers[0].first = CUT;
    f.servers[0].first_count = 1;
    connect_to_first();
    assert_int_equal(call(&client_kv_range).status, GRPC_OK);
    assert_int_equal(f.servers[0].calls, 2);
}

static void a_server_that_says_goodbye_is_connected_anew(void **state)
{
    f.servers[0].then = LEAVE;
    connect_to_first();
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(&client_kv_put).status, GRPC_OK);
    assert_int_equal(f.servers[0].calls, 3);
}

static void eager_clients_connect_everywhere_without_a_call(void **state)
{
    const char *const endpoints[] = {f.servers[0].endpoint, f.servers[1].endpoint,
                                     f.servers[2].endpoint};
    const struct client_config config = {
        .endpoints = endpoints, .endpoint_count = 3, .eager = true};
    assert_ok(client_new(f.loop, &config, &f.client));
    for (int i = 0; i < 100; i++) {
        io_loop_run_once(f.loop, 20);
        if (f.servers[0].conns[0].rpc && f.servers[1].conns[0].rpc && f.servers[2].conns[0].rpc)
            return;
    }
    fail_msg("not all endpoints were connected");
}

static void a_silent_server_costs_the_deadline_and_no_more(void **state)
{
    f.servers[0].then = SILENT;
    connect_to_first();
    struct client_request request = request_of(&client_kv_put);
    request.timeout_ms = 100;
    uint64_t begun_ms = io_loop_now_ms(f.loop);
    struct client_result result = client_call_wait(f.client, &request);
    assert_int_equal(result.status, GRPC_DEADLINE_EXCEEDED);
    assert_true(result.local);
    assert_text(result, "context deadline exceeded");
    assert_in_range(io_loop_now_ms(f.loop) - begun_ms, 100, 1500);
}

static void where_nobody_listens_the_deadline_says_why(void **state)
{
    connect_to_first();
    server_done(&f.servers[0]);
    struct client_request request = request_of(&client_kv_put);
    request.timeout_ms = 300;
    struct client_result result = client_call_wait(f.client, &request);
    assert_int_equal(result.status, GRPC_DEADLINE_EXCEEDED);
    assert_true(result.local);
    char want[128];
    (void)snprintf(want, sizeof(want), "dial tcp %.60s: connect: connection refused",
                   f.servers[0].endpoint);
    assert_string_equal(arena_copy_str(&f.arena, result.detail), want);
    assert_string_equal(client_endpoint_failure(f.client, 0), want);
}

static void dead_endpoints_are_passed_over(void **state)
{
    connect_to_all();
    server_done(&f.servers[0]);
    server_done(&f.servers[2]);
    for (int i = 0; i < 5; i++) {
        struct client_result result = call(&client_kv_put);
        assert_int_equal(result.status, GRPC_OK);
        assert_int_equal(result.endpoint, 1);
    }
    assert_int_equal(f.servers[1].calls, 5);
}

static void bad_endpoints_among_good_ones_are_passed_over(void **state)
{
    const char *const endpoints[] = {"no port", f.servers[0].endpoint};
    connect_to(endpoints, 2);
    assert_int_equal(call(&client_kv_put).status, GRPC_OK);
}

static void a_named_endpoint_is_asked_and_no_other(void **state)
{
    connect_to_all();
    for (int i = 2; i >= 0; i--) {
        struct client_request request = request_of(&client_maintenance_status);
        request.endpoint = i;
        struct client_result result = client_call_wait(f.client, &request);
        assert_int_equal(result.status, GRPC_OK);
        assert_int_equal(result.endpoint, i);
        assert_int_equal(f.servers[i].calls, 1);
    }
    /* All are connected now: the others take turns. */
    for (int i = 0; i < 6; i++)
        assert_int_equal(call(&client_kv_range).status, GRPC_OK);
    for (int i = 0; i < SERVERS; i++)
        assert_int_equal(f.servers[i].calls, 3);
    server_done(&f.servers[1]);
    struct client_request request = request_of(&client_maintenance_status);
    request.endpoint = 1;
    request.timeout_ms = 150;
    assert_int_equal(client_call_wait(f.client, &request).status, GRPC_DEADLINE_EXCEEDED);
}

static void a_message_that_is_none_is_an_internal_error(void **state)
{
    f.servers[0].then = GARBLE;
    connect_to_first();
    struct client_result result = call(&client_kv_range);
    assert_int_equal(result.status, GRPC_INTERNAL);
    assert_true(result.local);
    assert_null(result.response);
}

static void count_piece(void *ctx, const ProtobufCMessage *message)
{
    assert_ptr_equal(message->descriptor, &etcdserverpb__range_stream_response__descriptor);
    ++*(unsigned *)ctx;
}

static void pieces_come_in_turn(void **state)
{
    unsigned pieces = 0;
    f.servers[0].then = THREE;
    connect_to_first();
    struct client_request request = request_of(&client_kv_range_stream);
    request.piece = count_piece;
    request.ctx = &pieces;
    assert_int_equal(client_call_wait(f.client, &request).status, GRPC_OK);
    assert_int_equal(pieces, 3);
}

static void too_long_a_request_is_not_sent(void **state)
{
    static uint8_t value[1000];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    const char *const endpoints[] = {f.servers[0].endpoint};
    const struct client_config config = {
        .endpoints = endpoints, .endpoint_count = 1, .send_bytes_max = 1000};
    assert_ok(client_new(f.loop, &config, &f.client));
    put.value.data = value;
    put.value.len = sizeof(value);
    struct client_request request = request_of(&client_kv_put);
    request.message = &put.base;
    struct client_result result = client_call_wait(f.client, &request);
    assert_int_equal(result.status, GRPC_RESOURCE_EXHAUSTED);
    assert_text(result, "trying to send message larger than max (1003 vs. 1000)");
    assert_int_equal(f.servers[0].calls, 0);
}

struct outcome {
    unsigned done;
    enum grpc_status status;
};

static void note(void *ctx, const struct client_result *result)
{
    struct outcome *outcome = ctx;
    outcome->done++;
    outcome->status = result->status;
    io_loop_stop(f.loop);
}

static void cancelled_calls_end_once(void **state)
{
    struct outcome waiting = {0}, sent = {0};
    f.servers[0].then = SILENT;
    connect_to_first();
    struct client_request request = request_of(&client_kv_put);
    request.done = note;
    request.ctx = &waiting;
    client_call_cancel(client_call_start(f.client, &request));
    assert_int_equal(waiting.done, 0);
    while (!waiting.done)
        io_loop_run(f.loop);
    assert_int_equal(waiting.status, GRPC_CANCELLED);
    request.ctx = &sent;
    struct client_call *call = client_call_start(f.client, &request);
    while (f.servers[0].calls == 0)
        io_loop_run_once(f.loop, 100);
    client_call_cancel(call);
    while (!sent.done)
        io_loop_run(f.loop);
    assert_int_equal(sent.status, GRPC_CANCELLED);
    assert_int_equal(waiting.done + sent.done, 2);
}

static void freeing_the_client_ends_its_calls(void **state)
{
    struct outcome waiting = {0}, sent = {0};
    f.servers[0].then = SILENT;
    connect_to_first();
    struct client_request request = request_of(&client_kv_put);
    request.done = note;
    request.ctx = &sent;
    (void)client_call_start(f.client, &request);
    while (f.servers[0].calls == 0)
        io_loop_run_once(f.loop, 100);
    request.ctx = &waiting;
    (void)client_call_start(f.client, &request);
    client_free(f.client);
    f.client = NULL;
    assert_int_equal(sent.done, 1);
    assert_int_equal(sent.status, GRPC_CANCELLED);
    assert_int_equal(waiting.done, 1);
    assert_int_equal(waiting.status, GRPC_CANCELLED);
}

static void what_cannot_be_connected_is_refused_by_name(void **state)
{
    const char *const tls[] = {"https://127.0.0.1:1"}, *const bad[] = {"x", "y"};
    struct client *client = NULL;
    assert_err(client_new(f.loop, &(struct client_config){0}, &client), ERR_USAGE);
    assert_err(
        client_new(f.loop, &(struct client_config){.endpoints = tls, .endpoint_count = 1}, &client),
        ERR_UNSUPPORTED);
    assert_err(
        client_new(f.loop, &(struct client_config){.endpoints = bad, .endpoint_count = 2}, &client),
        ERR_SYNTAX);
    assert_null(client);
}

static err page_get(const char *base, struct client_page *page)
{
    const struct client_page_request request = {
        .base = base, .path = "/", .method = "GET", .timeout_ms = 500};
    return client_page_fetch(&request, &f.arena, page);
}

static void pages_say_why_they_cannot_be_had(void **state)
{
    struct client_page page;
    assert_err(page_get("https://127.0.0.1:1", &page), ERR_UNSUPPORTED);
    assert_err(page_get("nowhere", &page), ERR_SYNTAX);
    assert_non_null(page.failure);
    server_done(&f.servers[0]);
    assert_err(page_get(f.servers[0].endpoint, &page), ERR_REFUSED);
    assert_non_null(strstr(page.failure, "connection refused"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered),
        TEST(errors_come_as_the_server_said_them),
        TEST(reads_are_repeated_where_a_server_is_unavailable),
        TEST(writes_are_never_repeated_once_a_server_has_them),
        TEST(a_txn_of_reads_is_a_read),
        TEST(what_no_server_looked_at_is_repeated_even_if_it_writes),
        TEST(a_read_survives_a_connection_that_is_cut),
        TEST(a_server_that_says_goodbye_is_connected_anew),
        TEST(eager_clients_connect_everywhere_without_a_call),
        TEST(a_silent_server_costs_the_deadline_and_no_more),
        TEST(where_nobody_listens_the_deadline_says_why),
        TEST(dead_endpoints_are_passed_over),
        TEST(bad_endpoints_among_good_ones_are_passed_over),
        TEST(a_named_endpoint_is_asked_and_no_other),
        TEST(a_message_that_is_none_is_an_internal_error),
        TEST(pieces_come_in_turn),
        TEST(too_long_a_request_is_not_sent),
        TEST(cancelled_calls_end_once),
        TEST(freeing_the_client_ends_its_calls),
        TEST(what_cannot_be_connected_is_refused_by_name),
        TEST(pages_say_why_they_cannot_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
