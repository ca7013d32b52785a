/* Watches and keepalives against servers of our own that die, refuse and mislead. */
#include "server.h"

#include "client/keepalive.h"
#include "client/watch.h"
#include "wire/decode.h"
#include "wire/encode.h"

#include <string.h>

#define SERVERS 2

static struct {
    struct io_loop *loop;
    struct server servers[SERVERS];
    struct client *client;
    struct client_watch_stream *stream;
    struct arena arena;
} f;

/* What the servers were asked, and what they answer. */
static struct {
    unsigned creates, cancels, progresses, renewals;
    int64_t start_revision; /* of the last create */
    int64_t ttl;            /* of renewals */
    int64_t revision;       /* of headers */
    unsigned events;        /* told after each create, of revisions from its start on */
    bool cut_after_events;
    bool refuse;
    struct rpc_call *call;
} s;

/* ---- the servers ------------------------------------------------------------------------ */

static void answer(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    assert_ok(wire_encode(message, &out));
    const struct bytes bytes = buf_bytes(&out);
    rpc_call_send(call, &bytes, 1);
}

static Etcdserverpb__WatchResponse response_of(Etcdserverpb__ResponseHeader *header, int64_t id)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    etcdserverpb__response_header__init(header);
    header->revision = s.revision;
    response.header = header;
    response.watch_id = id;
    return response;
}

static void send_event(struct rpc_call *call, int64_t id, int64_t revision)
{
    Etcdserverpb__ResponseHeader header;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT, *events[] = {&event};
    Etcdserverpb__WatchResponse response = response_of(&header, id);
    kv.mod_revision = revision;
    event.kv = &kv;
    response.n_events = 1;
    response.events = events;
    answer(call, &response.base);
}

static void on_create(struct server_conn *conn, struct rpc_call *call,
                      const Etcdserverpb__WatchCreateRequest *create)
{
    Etcdserverpb__ResponseHeader header;
    int64_t id = s.creates++;
    Etcdserverpb__WatchResponse response = response_of(&header, id);
    s.start_revision = create->start_revision;
    s.call = call;
    response.created = true;
    if (s.refuse) {
        response.watch_id = -1;
        response.canceled = true;
        response.cancel_reason = (char *)"etcdserver: permission denied";
    }
    answer(call, &response.base);
    for (unsigned i = 0; i < s.events && !s.refuse; i++)
        send_event(call, id, create->start_revision + i);
    if (s.cut_after_events)
        rpc_call_finish(call, GRPC_UNAVAILABLE, BYTES_LIT("going"));
}

static void on_watch(struct server_conn *conn, struct rpc_call *call, struct bytes message)
{
    ProtobufCMessage *decoded = NULL;
    assert_ok(wire_decode(&etcdserverpb__watch_request__descriptor, message, &f.arena, NULL,
                          &decoded, NULL));
    const Etcdserverpb__WatchRequest *request = (const Etcdserverpb__WatchRequest *)decoded;
    if (request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST) {
        on_create(conn, call, request->create_request);
    } else if (request->request_union_case ==
               ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST) {
        s.cancels++;
    } else {
        Etcdserverpb__ResponseHeader header;
        const Etcdserverpb__WatchResponse response = response_of(&header, -1);
        s.progresses++;
        answer(call, &response.base);
    }
}

static void on_keep_alive(struct rpc_call *call)
{
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    s.renewals++;
    response.id = 7;
    response.ttl = s.ttl;
    answer(call, &response.base);
}

static void on_stream(struct server_conn *conn, struct rpc_call *call, struct bytes message)
{
    if (bytes_equal(rpc_call_method(call), BYTES_LIT("Watch")))
        on_watch(conn, call, message);
    else
        on_keep_alive(call);
}

/* ---- the client ------------------------------------------------------------------------- */

static struct {
    int64_t revisions[64];
    unsigned count, created, progress, canceled, ended, renewed, lost;
    enum grpc_status status;
    bool stop_at_cancel;
    struct client_watch *watch;
} t;

static void on_told(void *ctx, const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events; i++)
        t.revisions[t.count++] = response->events[i]->kv->mod_revision;
    t.canceled += response->canceled;
    t.progress += !response->canceled && response->n_events == 0;
    if (response->canceled && t.stop_at_cancel)
        client_watch_cancel(t.watch);
}

static void on_created(void *ctx, int64_t revision)
{
    t.created++;
}

static void on_ended(void *ctx, const struct client_result *result)
{
    t.ended++;
    t.status = result ? result->status : GRPC_OK;
}

static void on_renewed(void *ctx, const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    t.renewed++;
}

static void on_lost(void *ctx)
{
    t.lost++;
}

static struct client_watch_request request_of(int64_t start_revision)
{
    return (struct client_watch_request){.key = BYTES_LIT("k"),
                                         .start_revision = start_revision,
                                         .told = on_told,
                                         .created = on_created,
                                         .ended = on_ended};
}

static void run_until(const unsigned *what, unsigned count)
{
    for (unsigned i = 0; *what < count && i < 2000; i++)
        io_loop_run_once(f.loop, 10);
    assert_true(*what >= count);
}

static int setup(void **state)
{
    const char *endpoints[SERVERS];
    arena_init(&f.arena, 4096);
    assert_ok(io_loop_new(&f.loop));
    memset(&s, 0, sizeof(s));
    memset(&t, 0, sizeof(t));
    s.revision = 100;
    s.ttl = 1;
    for (unsigned i = 0; i < SERVERS; i++) {
        server_init(&f.servers[i], f.loop);
        f.servers[i].stream = on_stream;
        endpoints[i] = f.servers[i].endpoint;
    }
    const struct client_config config = {.endpoints = endpoints, .endpoint_count = SERVERS};
    assert_ok(client_new(f.loop, &config, &f.client));
    f.stream = client_watch_stream_new(f.client, true);
    return 0;
}

static int teardown(void **state)
{
    client_watch_stream_free(f.stream);
    client_free(f.client);
    for (unsigned i = 0; i < SERVERS; i++)
        if (f.servers[i].listener)
            server_done(&f.servers[i]);
    io_loop_run_once(f.loop, 0);
    io_loop_free(f.loop);
    arena_done(&f.arena);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void a_watch_goes_on_behind_what_it_has_told(void **state)
{
    const struct client_watch_request request = request_of(5);
    s.events = 3;
    s.cut_after_events = true;
    t.watch = client_watch_start(f.stream, &request);
    run_until(&t.count, 9);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(t.revisions[i], 5 + i);
    assert_int_equal(t.created, 1);
    assert_int_equal(t.ended, 0);
    assert_true(s.creates >= 3);
}

static void a_watch_from_now_on_begins_behind_its_creation(void **state)
{
    const struct client_watch_request request = request_of(0);
    s.cut_after_events = true;
    (void)client_watch_start(f.stream, &request);
    run_until(&s.creates, 2);
    assert_int_equal(s.start_revision, 101);
}

static void progress_counts_as_told(void **state)
{
    const struct client_watch_request request = request_of(5);
    (void)client_watch_start(f.stream, &request);
    (void)client_watch_start(f.stream, &request);
    client_watch_stream_progress(f.stream);
    run_until(&t.progress, 2);
    assert_int_equal(s.progresses, 1);
    rpc_call_finish(s.call, GRPC_UNAVAILABLE, BYTES_LIT("going"));
    run_until(&s.creates, 4);
    assert_int_equal(s.start_revision, 101);
}

static void what_the_server_cancels_ends(void **state)
{
    const struct client_watch_request request = request_of(5);
    s.refuse = true;
    (void)client_watch_start(f.stream, &request);
    run_until(&t.ended, 1);
    assert_int_equal(t.canceled, 1);
    assert_int_equal(t.status, GRPC_OK);
    t.stop_at_cancel = true;
    t.watch = client_watch_start(f.stream, &request);
    run_until(&t.canceled, 2);
    assert_int_equal(t.ended, 1); /* cancelled from inside: no word more */
}

static void a_member_without_leader_ends_them(void **state)
{
    const struct client_watch_request request = request_of(5);
    (void)client_watch_start(f.stream, &request);
    run_until(&t.created, 1);
    rpc_call_finish(s.call, GRPC_UNAVAILABLE, BYTES_LIT("etcdserver: no leader"));
    run_until(&t.ended, 1);
    assert_int_equal(t.status, GRPC_UNAVAILABLE);
}

static void what_another_member_would_refuse_too_ends_them(void **state)
{
    const struct client_watch_request request = request_of(5);
    (void)client_watch_start(f.stream, &request);
    run_until(&t.created, 1);
    rpc_call_finish(s.call, GRPC_PERMISSION_DENIED, BYTES_LIT("etcdserver: permission denied"));
    run_until(&t.ended, 1);
    assert_int_equal(t.status, GRPC_PERMISSION_DENIED);
}

static void cancelled_watches_say_nothing(void **state)
{
    const struct client_watch_request request = request_of(5);
    s.events = 2;
    client_watch_cancel(client_watch_start(f.stream, &request)); /* before it is asked for */
    t.watch = client_watch_start(f.stream, &request);
    run_until(&t.created, 1);
    run_until(&t.count, 2);
    client_watch_cancel(t.watch);
    run_until(&s.cancels, 1);
    assert_int_equal(t.ended, 0);
    assert_int_equal(t.count, 2);
}

static void events_of_nobody_are_dropped(void **state)
{
    const struct client_watch_request request = request_of(5);
    (void)client_watch_start(f.stream, &request);
    run_until(&t.created, 1);
    send_event(s.call, 77, 9);
    send_event(s.call, 0, 9);
    run_until(&t.count, 1);
    Etcdserverpb__ResponseHeader header;
    Etcdserverpb__WatchResponse unasked = response_of(&header, 5);
    unasked.created = true;
    answer(s.call, &unasked.base);
    send_event(s.call, 0, 10);
    run_until(&t.count, 2);
    assert_int_equal(t.created, 1);
}

static void a_paused_stream_tells_nothing(void **state)
{
    const struct client_watch_request request = request_of(5);
    (void)client_watch_start(f.stream, &request);
    run_until(&t.created, 1);
    client_watch_stream_pause(f.stream);
    send_event(s.call, 0, 9);
    for (unsigned i = 0; i < 20; i++)
        io_loop_run_once(f.loop, 2);
    assert_int_equal(t.count, 0);
    client_watch_stream_resume(f.stream);
    run_until(&t.count, 1);
}

static struct client_keepalive *keep(void)
{
    const struct client_keepalive_request request = {
        .lease = 7, .patience_ms = 300, .renewed = on_renewed, .lost = on_lost};
    io_loop_refresh(f.loop);
    return client_keepalive_new(f.client, &request);
}

static void a_lease_is_renewed_over_a_dead_member(void **state)
{
    struct client_keepalive *keepalive = keep();
    run_until(&t.renewed, 2);
    server_done(&f.servers[0]);
    run_until(&t.renewed, 5);
    assert_int_equal(t.lost, 0);
    client_keepalive_free(keepalive);
}

static void a_lease_that_is_gone_is_lost(void **state)
{
    struct client_keepalive *keepalive = keep();
    run_until(&t.renewed, 1);
    s.ttl = 0;
    run_until(&t.lost, 1);
    client_keepalive_free(keepalive);
}

static void a_lease_is_lost_where_nobody_answers_in_its_time(void **state)
{
    struct client_keepalive *keepalive = keep();
    run_until(&t.renewed, 1);
    server_done(&f.servers[0]);
    server_done(&f.servers[1]);
    uint64_t begun_ms = io_loop_now_ms(f.loop);
    run_until(&t.lost, 1);
    assert_in_range(io_loop_now_ms(f.loop) - begun_ms, 500, 30000);
    client_keepalive_free(keepalive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_watch_goes_on_behind_what_it_has_told),
        TEST(a_watch_from_now_on_begins_behind_its_creation),
        TEST(progress_counts_as_told),
        TEST(what_the_server_cancels_ends),
        TEST(a_member_without_leader_ends_them),
        TEST(what_another_member_would_refuse_too_ends_them),
        TEST(cancelled_watches_say_nothing),
        TEST(events_of_nobody_are_dropped),
        TEST(a_paused_stream_tells_nothing),
        TEST(a_lease_is_renewed_over_a_dead_member),
        TEST(a_lease_that_is_gone_is_lost),
        TEST(a_lease_is_lost_where_nobody_answers_in_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
