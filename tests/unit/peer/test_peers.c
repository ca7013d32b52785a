/* Two members of ours over loopback: streams, falling back, cuts of one direction, refusals,
 * bounds, order, and what strangers get. */
#include "pair.h"

#include "messages.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

static void test_streams(void **state)
{
    struct pair *pair = pair_up(NULL);
    NET_WAIT(&net, pair->a.reports[PEER_ACTIVE] && pair->b.reports[PEER_ACTIVE]);
    assert_int_equal(peers_active_count(pair->a.peers), 1);
    assert_true(node_noticed(&pair->a, PEER_NOTICE_ACTIVE));
    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    message = heartbeat(B, A);
    peers_send(pair->b.peers, &message, 1);
    NET_WAIT(&net, pair->a.stepped_count == 1 && pair->b.stepped_count == 1);
    assert_int_equal(pair->b.stepped[0]->from, A);
    assert_int_equal(pair->a.stepped[0]->term, 3);
    /* Its version is asked for as soon as a stream stands. */
    NET_WAIT(&net, pair->a.reports[PEER_VERSION]);
    assert_int_equal(pair->a.version.major, 3);
    assert_int_equal(pair->a.version.minor, 7);
    pair_free(pair);
}

/* In order on each way, intact, in both directions at once. */
static void test_many_messages(void **state)
{
    enum { COUNT = 10000, BATCH = 50 };
    struct pair *pair = pair_up(NULL);
    struct prng prng;
    prng_init(&prng, 7);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct raft_message *sent = calloc(COUNT, sizeof(*sent));
    uint64_t term = 1;
    uint64_t index = 0;
    for (size_t i = 0; i < COUNT; i += BATCH) {
        for (size_t j = i; j < i + BATCH; j++)
            sent[j] = prng_below(&prng, 2) ? random_append(&prng, &arena, A, B, &term, &index)
                                           : random_other(&prng, &arena, A, B);
        peers_send(pair->a.peers, &sent[i], BATCH);
        struct raft_message back = heartbeat(B, A);
        peers_send(pair->b.peers, &back, 1);
        io_loop_run_once(net.loop, 0);
    }
    NET_WAIT(&net, pair->b.stepped_count == COUNT && pair->a.stepped_count == COUNT / BATCH);
    /* Each way keeps its order; between them there is none. */
    size_t at[2] = {0, 0};
    for (size_t i = 0; i < COUNT; i++) {
        const struct raft_message *got = pair->b.stepped[i];
        bool append = got->type == RAFT_MSG_APP;
        while ((sent[at[append]].type == RAFT_MSG_APP) != append)
            at[append]++;
        assert_true(messages_equal(&sent[at[append]], got));
        at[append]++;
    }
    assert_false(node_noticed(&pair->a, PEER_NOTICE_BUFFER_FULL));
    assert_int_equal(pair->a.reports[PEER_UNREACHABLE], 0);
    struct peer_status status;
    assert_true(peers_status(pair->a.peers, B, &status));
    NET_WAIT(&net, peers_status(pair->a.peers, B, &status) && status.queued_messages == 0);
    assert_int_equal(status.queued_bytes, 0);
    free(sent);
    arena_done(&arena);
    pair_free(pair);
}

/* A cannot dial B any more: A hears nothing and B has no stream to say it on. What A says still
 * goes by B's GETs; what B says goes by POST. */
static void test_one_direction(void **state)
{
    struct pair *pair = pair_up(NULL);
    node_forget(&pair->a);
    node_forget(&pair->b);
    relay_cut(pair->to_b, true);
    struct peer_status of_b;
    struct peer_status of_a;
    NET_WAIT(&net, peers_status(pair->a.peers, B, &of_b) && !of_b.receiving[0] &&
                       !of_b.receiving[1] && peers_status(pair->b.peers, A, &of_a) &&
                       !of_a.sending[0] && !of_a.sending[1]);
    assert_true(of_b.sending[0] && of_b.sending[1]);
    assert_true(of_a.receiving[0] && of_a.receiving[1]);
    NET_WAIT(&net, pair->a.reports[PEER_INACTIVE] && pair->b.reports[PEER_INACTIVE]);
    const struct peer_notice *lost = node_notice(&pair->a, PEER_NOTICE_INACTIVE);
    assert_non_null(lost);
    assert_int_equal(lost->direction, PEER_RECEIVING);
    assert_true(lost->peer == B);
    lost = node_notice(&pair->b, PEER_NOTICE_INACTIVE);
    assert_non_null(lost);
    assert_int_equal(lost->direction, PEER_SENDING);
    /* What was on its way may be lost: raft is told to look. */
    assert_true(pair->b.reports[PEER_UNREACHABLE] > 0);
    assert_int_equal(pair->a.reports[PEER_UNREACHABLE], 0);
    node_forget(&pair->b);

    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    message = heartbeat(B, A);
    peers_send(pair->b.peers, &message, 1);
    struct raft_entry entry = {.term = 3, .index = 8, .data = BYTES_LIT("by post")};
    message = (struct raft_message){.type = RAFT_MSG_APP,
                                    .from = B,
                                    .to = A,
                                    .term = 3,
                                    .log_term = 3,
                                    .index = 7,
                                    .entries = &entry,
                                    .entry_count = 1};
    peers_send(pair->b.peers, &message, 1);
    NET_WAIT(&net, pair->a.stepped_count == 2 && pair->b.stepped_count == 1);
    const struct raft_message *append =
        pair->a.stepped[pair->a.stepped[1]->type == RAFT_MSG_APP]; /* posts may overtake */
    assert_true(messages_equal(append, &message));
    assert_int_equal(pair->b.reports[PEER_UNREACHABLE], 0);

    relay_cut(pair->to_b, false);
    NET_WAIT(&net, node_streams_up(&pair->a, B) && node_streams_up(&pair->b, A));
    NET_WAIT(&net, pair->a.reports[PEER_ACTIVE] && pair->b.reports[PEER_ACTIVE]);
    pair_free(pair);
}

static void test_nobody_there(void **state)
{
    struct pair *pair = pair_up(NULL);
    node_forget(&pair->a);
    relay_cut(pair->to_a, true);
    relay_cut(pair->to_b, true);
    struct peer_status status;
    NET_WAIT(&net,
             peers_status(pair->a.peers, B, &status) && !status.sending[1] && !status.receiving[1]);
    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE]);
    assert_true(node_noticed(&pair->a, PEER_NOTICE_UNREACHABLE));
    /* However often it fails, it is said once. */
    size_t said = pair->a.notice_count;
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = pair->a.reports[PEER_UNREACHABLE];
        peers_send(pair->a.peers, &message, 1);
        NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE] > before);
    }
    assert_int_equal(pair->a.notice_count, said);
    pair_free(pair);
}

static void test_full(void **state)
{
    enum { MIB = 1 << 20, COUNT = 32 };
    struct pair *pair = pair_up(&(struct node_config){.queue_bytes_max = 4 * MIB});
    relay_stall(pair->to_a, true); /* B dials A here: it reads A's streams no more */
    uint8_t *data = calloc(1, MIB);
    struct raft_entry entry = {.term = 3, .index = 8, .data = bytes_of(data, MIB)};
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .from = A,
                                   .to = B,
                                   .term = 3,
                                   .log_term = 2,
                                   .index = 7,
                                   .entries = &entry,
                                   .entry_count = 1};
    struct peer_status status;
    for (unsigned i = 0; i < COUNT; i++) {
        peers_send(pair->a.peers, &message, 1);
        assert_true(peers_status(pair->a.peers, B, &status));
        assert_true(status.queued_bytes < 6 * MIB);
    }
    NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE]);
    assert_true(node_noticed(&pair->a, PEER_NOTICE_BUFFER_FULL));
    size_t lost = 0;
    for (size_t i = 0; i < pair->a.notice_count; i++)
        lost += pair->a.notices[i].kind == PEER_NOTICE_BUFFER_FULL;
    assert_int_equal(lost, 1);
    /* It reads again: what was queued arrives, the rest was dropped. */
    relay_stall(pair->to_a, false);
    NET_WAIT(&net, peers_status(pair->a.peers, B, &status) && status.queued_messages == 0);
    NET_WAIT(&net, pair->b.stepped_count >= 4);
    assert_true(pair->b.stepped_count < COUNT);
    for (size_t i = 0; i < pair->b.stepped_count; i++)
        assert_true(messages_equal(pair->b.stepped[i], &message));
    free(data);
    pair_free(pair);
}

/* It takes nothing for longer than the timeouts: both ends give the stream up. */
static void test_silence(void **state)
{
    struct pair *pair = pair_up(&(struct node_config){.read_timeout_ms = 300});
    node_forget(&pair->a);
    relay_stall(pair->to_b, true); /* A hears nothing of B */
    NET_WAIT(&net, node_noticed(&pair->a, PEER_NOTICE_INACTIVE));
    assert_int_equal(node_notice(&pair->a, PEER_NOTICE_INACTIVE)->direction, PEER_RECEIVING);
    relay_stall(pair->to_b, false);
    NET_WAIT(&net, node_streams_up(&pair->a, B));
    pair_free(pair);
}

/* A state of so many bytes, each of them its own number; and how it is given back. */
struct sent_state {
    size_t bytes, given;
    err error; /* of reading, in the middle */
    bool freed;
};

/* The moment is a later one than raft knew of. */
static err state_open(void *ctx, struct raft_snapshot *snapshot)
{
    snapshot->index += 2;
    return OK;
}

static err state_read(void *ctx, size_t enough, struct buf *out, bool *ret_end)
{
    struct sent_state *self = ctx;
    if (self->error.code && self->given > self->bytes / 2)
        return self->error;
    for (; out->len < enough && self->given < self->bytes; self->given++) {
        uint8_t byte = (uint8_t)(self->given * 7);
        TRY(buf_append(out, bytes_of(&byte, 1)));
    }
    *ret_end = self->given == self->bytes;
    return OK;
}

static void state_free_(void *ctx)
{
    ((struct sent_state *)ctx)->freed = true;
}

static void send_state(struct pair *pair, struct sent_state *state)
{
    static const uint8_t data[1000] = {1, 2, 3};
    const struct raft_snapshot snapshot = {.index = 5,
                                           .term = 1,
                                           .data = bytes_of(data, sizeof(data)),
                                           .conf_state.voters = {.count = 2, .ids = {A, B}}};
    const struct raft_message message = {
        .type = RAFT_MSG_SNAP, .from = A, .to = B, .term = 1, .snapshot = &snapshot};
    const struct peer_snapshot_body body = {state, state_open, state_read, state_free_};
    peers_send_snapshot(pair->a.peers, &message, &body);
}

static void test_snapshot(void **state)
{
    struct pair *pair = pair_up(NULL);
    struct sent_state sent = {.bytes = 3000000};
    send_state(pair, &sent);
    NET_WAIT(&net, pair->b.state_ended);
    assert_int_equal(pair->a.reports[PEER_SNAPSHOT_SENT], 0); /* not before it is kept */
    assert_int_equal(pair->b.state_index, 7);
    assert_int_equal(pair->b.state.len, sent.bytes);
    for (size_t i = 0; i < sent.bytes; i++)
        assert_true(pair->b.state.data[i] == (uint8_t)(i * 7));
    peers_snapshot_answer(pair->b.state_from, OK);
    NET_WAIT(&net, pair->a.reports[PEER_SNAPSHOT_SENT] && sent.freed);
    assert_int_equal(pair->a.reports[PEER_SNAPSHOT_FAILED], 0);
    assert_false(pair->b.state_cut);
    /* A second one, of nothing. */
    struct sent_state none = {0};
    pair->b.state_ended = false;
    send_state(pair, &none);
    NET_WAIT(&net, pair->b.state_ended);
    peers_snapshot_answer(pair->b.state_from, ERR_DISK_FULL);
    NET_WAIT(&net, pair->a.reports[PEER_SNAPSHOT_FAILED] && none.freed);
    pair_free(pair);
}

static void test_snapshot_paused(void **state)
{
    struct pair *pair = pair_up(NULL);
    struct sent_state sent = {.bytes = 8000000};
    pair->b.state_room = 500000;
    send_state(pair, &sent);
    NET_WAIT(&net, pair->b.state.len >= pair->b.state_room);
    for (int i = 0; i < 20; i++)
        io_loop_run_once(net.loop, 5);
    /* What is on its way when the other side pauses is bounded: buffers of ours and of sockets. */
    assert_true(sent.given < sent.bytes);
    pair->b.state_room = SIZE_MAX;
    peers_snapshot_resume(pair->b.state_from);
    NET_WAIT(&net, pair->b.state_ended);
    assert_int_equal(pair->b.state.len, sent.bytes);
    peers_snapshot_answer(pair->b.state_from, OK);
    NET_WAIT(&net, pair->a.reports[PEER_SNAPSHOT_SENT]);
    pair_free(pair);
}

static void test_snapshot_fails(void **state)
{
    struct pair *pair = pair_up(NULL);
    /* Reading fails in the middle: the other side sees it cut. */
    struct sent_state bad = {.bytes = 2000000, .error = ERR_CORRUPT};
    send_state(pair, &bad);
    NET_WAIT(&net, pair->a.reports[PEER_STATE_UNREADABLE] && bad.freed && pair->b.state_cut);
    assert_false(pair->b.state_ended);
    /* One at a time: the second is refused before it travels, the first goes on. */
    node_forget(&pair->a);
    node_forget(&pair->b);
    struct sent_state first = {.bytes = 4000000}, second = {.bytes = 10};
    pair->b.state_room = 1000;
    send_state(pair, &first);
    NET_WAIT(&net, pair->b.state.len >= 1000);
    send_state(pair, &second);
    NET_WAIT(&net, pair->a.reports[PEER_SNAPSHOT_FAILED] == 1 && second.freed);
    /* The connection goes. */
    relay_cut(pair->to_b, true);
    NET_WAIT(&net, pair->a.reports[PEER_SNAPSHOT_FAILED] == 2 && first.freed && pair->b.state_cut);
    relay_cut(pair->to_b, false);
    pair_free(pair);
}

static void test_snapshot_malformed(void **state)
{
    struct pair *pair = pair_up(NULL);
    static const char head[] =
        "POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nX-Server-From: a1\r\n"
        "X-Server-Version: 3.7.1\r\nX-Min-Cluster-Version: 3.0.0\r\n"
        "X-Etcd-Cluster-ID: cafe\r\nContent-Length: ";
    static const struct {
        const char *length, *body;
        size_t len;
        const char *status;
    } cases[] = {
        {"8", "\0\0\0\0\0\0\0\0", 8, " 400 "},                     /* no message */
        {"8", "\377\377\377\377\377\377\377\377", 8, " 400 "},     /* one without end */
        {"10", "\0\0\0\0\0\0\0\2\377\377", 10, " 400 "},           /* no protobuf */
        {"10", "\0\0\0\0\0\0\0\2\x08\x03", 10, " 400 "},           /* another type */
        {"3", "\0\0\0", 3, " 400 "},                               /* too short for a length */
        {"12", "\0\0\0\0\0\0\0\x20\x08\x07\x10\x0b", 12, " 400 "}, /* cut in the message */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf request;
        buf_init(&request, 0);
        assert_true(err_ok(
            buf_printf(&request, "%s%s\r\nConnection: close\r\n\r\n", head, cases[i].length)));
        assert_true(err_ok(buf_append(&request, bytes_of(cases[i].body, cases[i].len))));
        char *answer = net_ask(&net, &pair->b, buf_bytes(&request), NULL);
        if (!strstr(answer, cases[i].status))
            fail_msg("case %zu: %s", i, answer);
        free(answer);
        buf_done(&request);
    }
    assert_false(pair->b.state_begun);
    pair_free(pair);
}

static void test_removed(void **state)
{
    struct pair *pair = pair_up(NULL);
    node_set_members(&pair->b, (uint64_t[]){B}, (const char *[]){pair->b.url}, 1, A);
    NET_WAIT(&net, node_noticed(&pair->a, PEER_NOTICE_REMOVED));
    assert_true(node_notice(&pair->a, PEER_NOTICE_REMOVED)->peer == B);
    assert_int_equal(peers_active_count(pair->a.peers), 0);
    /* A post is refused, too, and its message is not stepped. */
    node_forget(&pair->b);
    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE]);
    assert_int_equal(pair->b.stepped_count, 0);
    pair_free(pair);
}

static void test_other_cluster(void **state)
{
    struct pair *pair = pair_new(&(struct node_config){.id = A, .cluster_id = CLUSTER},
                                 &(struct node_config){.id = B, .cluster_id = CLUSTER + 1});
    pair_members(pair);
    NET_WAIT(&net, node_noticed(&pair->a, PEER_NOTICE_CLUSTER_MISMATCH) &&
                       node_noticed(&pair->b, PEER_NOTICE_CLUSTER_MISMATCH));
    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE]);
    assert_int_equal(pair->b.stepped_count, 0);
    assert_false(node_streams_up(&pair->a, B));
    /* Nobody of another cluster tells us that we are removed. */
    node_set_members(&pair->b, (uint64_t[]){B}, (const char *[]){pair->b.url}, 1, A);
    unsigned before = pair->a.reports[PEER_UNREACHABLE];
    peers_send(pair->a.peers, &message, 1);
    NET_WAIT(&net, pair->a.reports[PEER_UNREACHABLE] > before);
    assert_false(node_noticed(&pair->a, PEER_NOTICE_REMOVED));
    pair_free(pair);
}

static void test_other_version(void **state)
{
    struct pair *pair = pair_new(
        &(struct node_config){.id = A, .cluster_id = CLUSTER},
        &(struct node_config){.id = B, .cluster_id = CLUSTER, .min_cluster_version = "4.0.0"});
    pair_members(pair);
    NET_WAIT(&net, node_noticed(&pair->a, PEER_NOTICE_VERSION_MISMATCH) &&
                       node_noticed(&pair->b, PEER_NOTICE_VERSION_MISMATCH));
    assert_int_equal(peers_active_count(pair->a.peers), 0);
    pair_free(pair);
}

static void test_probe(void **state)
{
    struct pair *pair = pair_up(&(struct node_config){.probe_ms = 20});
    struct peer_status status;
    NET_WAIT(&net, peers_status(pair->a.peers, B, &status) && status.round_trip_ns > 0);
    assert_true(llabs(status.clock_difference_ns) < 1000000000);
    NET_WAIT(&net, pair->a.reports[PEER_VERSION] >= 3);
    assert_false(node_noticed(&pair->a, PEER_NOTICE_CLOCK));
    struct buf text;
    buf_init(&text, 0);
    assert_ok(metrics_text(&text));
    assert_ok(buf_append(&text, bytes_of("", 1)));
    assert_non_null(
        strstr((char *)text.data, "etcd_network_active_peers{Local=\"a1\",Remote=\"b2\"} 1\n"));
    assert_non_null(strstr((char *)text.data, "etcd_network_peer_round_trip_time_seconds_count"));
    buf_done(&text);
    pair_free(pair);
}

/* B is behind and does not know A; A tells its URLs, so B hears it and can answer by POST. */
static void test_remote(void **state)
{
    struct pair *pair = pair_new(&(struct node_config){.id = A, .cluster_id = CLUSTER},
                                 &(struct node_config){.id = B, .cluster_id = CLUSTER});
    node_set_members(&pair->a, (uint64_t[]){A, B},
                     (const char *[]){pair->a.url, relay_url(pair->to_b)}, 2, 0);
    node_set_members(&pair->b, (uint64_t[]){B}, (const char *[]){pair->b.url}, 1, 0);
    struct raft_message message = heartbeat(A, B);
    peers_send(pair->a.peers, &message, 1);
    NET_WAIT(&net, pair->b.stepped_count == 1);
    message = heartbeat(B, A);
    peers_send(pair->b.peers, &message, 1);
    NET_WAIT(&net, pair->a.stepped_count == 1);
    pair_free(pair);
}

static void test_urls_in_turn(void **state)
{
    struct pair *pair = pair_new(&(struct node_config){.id = A, .cluster_id = CLUSTER},
                                 &(struct node_config){.id = B, .cluster_id = CLUSTER});
    struct relay *dead = relay_new(&net, &pair->b);
    relay_cut(dead, true);
    struct membership *empty = membership_new();
    const char *urls[] = {"https://127.0.0.1:1", relay_url(dead), relay_url(pair->to_b)};
    struct member member = {.id = B, .name = "", .peer_urls = {urls, 3}};
    struct membership *members = membership_with_member(empty, &member);
    peers_set_members(pair->a.peers, members);
    node_set_members(&pair->b, (uint64_t[]){A, B},
                     (const char *[]){relay_url(pair->to_a), pair->b.url}, 2, 0);
    NET_WAIT(&net, node_streams_up(&pair->a, B));
    assert_true(node_noticed(&pair->a, PEER_NOTICE_URL_UNSUPPORTED));
    membership_free(members);
    membership_free(empty);
    relay_free(dead);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),        cmocka_unit_test(test_many_messages),
        cmocka_unit_test(test_one_direction),  cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_full),           cmocka_unit_test(test_silence),
        cmocka_unit_test(test_snapshot),       cmocka_unit_test(test_snapshot_paused),
        cmocka_unit_test(test_snapshot_fails), cmocka_unit_test(test_snapshot_malformed),
        cmocka_unit_test(test_removed),        cmocka_unit_test(test_other_cluster),
        cmocka_unit_test(test_other_version),  cmocka_unit_test(test_probe),
        cmocka_unit_test(test_remote),         cmocka_unit_test(test_urls_in_turn),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
