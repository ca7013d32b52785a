/* Frames of the streams: their bytes, any cut of them, and what a hostile peer may announce. */
#include "../base/t.h"

#include "messages.h"

#include "peer/fetch.h"
#include "peer/stream.h"

#include <stdlib.h>

#define MESSAGES 3000

struct sink {
    struct raft_message *messages[MESSAGES];
    size_t count;
};

static void on_message(void *ctx, const struct raft_message *message, size_t frame_bytes)
{
    struct sink *sink = ctx;
    assert_true(sink->count < MESSAGES);
    sink->messages[sink->count++] = raft_message_copy(message);
}

static void sink_done(struct sink *sink)
{
    for (size_t i = 0; i < sink->count; i++)
        raft_message_free(sink->messages[i]);
    sink->count = 0;
}

static struct stream_decoder *decoder_of(enum peer_way way, struct sink *sink)
{
    return stream_decoder_new(&(struct stream_decoder_config){
        .way = way, .local = 2, .remote = 1, .message = on_message, .ctx = sink});
}

static struct bytes from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (const char *p = hex; *p; p++) {
        if (*p == ' ')
            continue;
        char pair[3] = {p[0], p[1], 0};
        out[n++] = (uint8_t)strtoul(pair, NULL, 16);
        p++;
    }
    return bytes_of(out, n);
}

static void assert_hex(const struct buf *buf, const char *hex)
{
    uint8_t want[1024];
    struct bytes bytes = from_hex(hex, want);
    assert_int_equal(buf->len, bytes.len);
    assert_memory_equal(buf->data, bytes.data, bytes.len);
}

static struct raft_entry entry_hello(uint64_t index)
{
    return (struct raft_entry){.term = 5, .index = index, .data = BYTES_LIT("hello")};
}

static struct raft_message append_at(uint64_t index, uint64_t log_term,
                                     const struct raft_entry *entries, size_t count)
{
    return (struct raft_message){.type = RAFT_MSG_APP,
                                 .from = 1,
                                 .to = 2,
                                 .term = 5,
                                 .log_term = log_term,
                                 .index = index,
                                 .commit = 3,
                                 .entries = entries,
                                 .entry_count = count};
}

/* What the frames of etcd's interface look like, by hand. */
static void test_golden_append(void **state)
{
    struct stream_encoder encoder;
    stream_encoder_init(&encoder, PEER_WAY_APPEND);
    struct buf out;
    buf_init(&out, 0);
    assert_ok(stream_encoder_put_heartbeat(&encoder, &out));
    assert_hex(&out, "00");
    buf_clear(&out);

    /* The place is (0, 0): a whole message, and the place becomes (5, 4). */
    struct raft_entry first = entry_hello(4);
    struct raft_message message = append_at(3, 5, &first, 1);
    assert_ok(stream_encoder_put(&encoder, &message, &out));
    assert_hex(&out,
               "02 0000000000000023"
               "0803 1002 1801 2005 2805 3003"
               "3a0d 0800 1005 1804 2205 68656c6c6f"
               "4003 5000 5800 6800");
    buf_clear(&out);

    /* It goes on: entries alone. */
    struct raft_entry more[2] = {entry_hello(5), entry_hello(6)};
    message = append_at(4, 5, more, 2);
    assert_ok(stream_encoder_put(&encoder, &message, &out));
    assert_hex(&out,
               "01 0000000000000002"
               "000000000000000d 0800 1005 1805 2205 68656c6c6f"
               "000000000000000d 0800 1005 1806 2205 68656c6c6f"
               "0000000000000003");
    buf_clear(&out);

    /* Nothing but a commit, at the place. */
    message = append_at(6, 5, NULL, 0);
    assert_ok(stream_encoder_put(&encoder, &message, &out));
    assert_hex(&out, "01 0000000000000000 0000000000000003");
    buf_clear(&out);

    /* Another log term than the message's: whole again. */
    message = append_at(6, 4, NULL, 0);
    assert_ok(stream_encoder_put(&encoder, &message, &out));
    assert_hex(&out, "02 0000000000000014 0803 1002 1801 2005 2804 3006 4003 5000 5800 6800");
    buf_done(&out);
}

static void test_golden_message(void **state)
{
    struct stream_encoder encoder;
    stream_encoder_init(&encoder, PEER_WAY_MESSAGE);
    struct buf out;
    buf_init(&out, 0);
    assert_ok(stream_encoder_put_heartbeat(&encoder, &out));
    assert_hex(&out, "0000000000000014 0808 1000 1800 2000 2800 3000 4000 5000 5800 6800");
    struct sink sink = {0};
    struct stream_decoder *decoder = decoder_of(PEER_WAY_MESSAGE, &sink);
    assert_ok(stream_decoder_feed(decoder, buf_bytes(&out)));
    assert_int_equal(sink.count, 0); /* a link heartbeat is nobody's message */
    stream_decoder_free(decoder);
    buf_done(&out);
}

/* As etcd 3.7 writes: only what was set; and in another order of fields. */
static void test_sparse_message(void **state)
{
    uint8_t bytes[64];
    struct sink sink = {0};
    struct stream_decoder *decoder = decoder_of(PEER_WAY_MESSAGE, &sink);
    assert_ok(
        stream_decoder_feed(decoder, from_hex("0000000000000008 2007 1801 1002 0804", bytes)));
    assert_int_equal(sink.count, 1);
    assert_int_equal(sink.messages[0]->type, RAFT_MSG_APP_RESP);
    assert_int_equal(sink.messages[0]->term, 7);
    assert_int_equal(sink.messages[0]->from, 1);
    stream_decoder_free(decoder);
    sink_done(&sink);
}

/* Many messages, in pieces of random length (1 among them), arrive as they were. */
static void round_trip(enum peer_way way, uint64_t seed, size_t piece_max)
{
    struct prng prng;
    prng_init(&prng, seed);
    struct arena arena;
    arena_init(&arena, 1 << 16);
    struct raft_message *sent = calloc(MESSAGES, sizeof(*sent));
    struct sink *sink = calloc(1, sizeof(*sink));
    struct stream_encoder encoder;
    stream_encoder_init(&encoder, way);
    struct stream_decoder *decoder = decoder_of(way, sink);
    struct buf out;
    buf_init(&out, 0);
    uint64_t term = 1;
    uint64_t index = 0;
    for (size_t i = 0; i < MESSAGES; i++) {
        sent[i] = way == PEER_WAY_APPEND ? random_append(&prng, &arena, 1, 2, &term, &index)
                                         : random_other(&prng, &arena, 1, 2);
        assert_ok(stream_encoder_put(&encoder, &sent[i], &out));
        if (prng_below(&prng, 10) == 0)
            assert_ok(stream_encoder_put_heartbeat(&encoder, &out));
    }
    for (size_t at = 0; at < out.len;) {
        size_t n = 1 + prng_below(&prng, piece_max);
        if (n > out.len - at)
            n = out.len - at;
        assert_ok(stream_decoder_feed(decoder, bytes_of(out.data + at, n)));
        at += n;
    }
    assert_int_equal(sink->count, MESSAGES);
    for (size_t i = 0; i < MESSAGES; i++)
        assert_true(messages_equal(&sent[i], sink->messages[i]));
    assert_true(stream_decoder_held_bytes(decoder) == 0);
    stream_decoder_free(decoder);
    sink_done(sink);
    free(sink);
    free(sent);
    buf_done(&out);
    arena_done(&arena);
}

static void test_round_trips(void **state)
{
    for (enum peer_way way = PEER_WAY_APPEND; way <= PEER_WAY_MESSAGE; way++) {
        round_trip(way, 1, 1);
        round_trip(way, 2, 7);
        round_trip(way, 3, 4096);
        round_trip(way, 4, 1 << 20);
    }
}

static err feed_hex(enum peer_way way, const char *hex, size_t *ret_held)
{
    uint8_t bytes[256];
    struct sink sink = {0};
    struct stream_decoder *decoder = decoder_of(way, &sink);
    err e = stream_decoder_feed(decoder, from_hex(hex, bytes));
    *ret_held = stream_decoder_held_bytes(decoder);
    stream_decoder_free(decoder);
    sink_done(&sink);
    return e;
}

static void test_malformed(void **state)
{
    size_t held;
    assert_err(feed_hex(PEER_WAY_APPEND, "03", &held), ERR_SYNTAX);
    /* 0x02 with what is no MsgApp. */
    assert_err(feed_hex(PEER_WAY_APPEND, "02 0000000000000002 0804", &held), ERR_SYNTAX);
    /* Lengths beyond any frame, counts beyond any message. */
    assert_err(feed_hex(PEER_WAY_MESSAGE, "0000000020000001", &held), ERR_LIMIT);
    assert_err(feed_hex(PEER_WAY_MESSAGE, "ffffffffffffffff", &held), ERR_LIMIT);
    assert_err(feed_hex(PEER_WAY_APPEND, "01 0000000000020001", &held), ERR_LIMIT);
    assert_err(feed_hex(PEER_WAY_APPEND, "01 0000000000000001 ffffffffffffffff", &held), ERR_LIMIT);
    assert_err(feed_hex(PEER_WAY_APPEND, "02 ffffffffffffffff", &held), ERR_LIMIT);
    /* Two entries of which each is within the limit, and both are not. */
    assert_err(feed_hex(PEER_WAY_APPEND, "01 0000000000000002 0000000000000001 08 0000000020000000",
                        &held),
               ERR_LIMIT);
    /* A commit that no log can have. */
    assert_err(feed_hex(PEER_WAY_APPEND, "01 0000000000000000 ffffffffffffffff", &held), ERR_LIMIT);
    /* What was only announced takes no memory. */
    assert_ok(feed_hex(PEER_WAY_MESSAGE, "0000000020000000 0803", &held));
    assert_true(held < 1024);
    assert_ok(feed_hex(PEER_WAY_APPEND, "01 0000000000020000 0000000010000000 08", &held));
    assert_true(held < 1024);
}

/* Entries outlive the decoder by their references. */
static void test_entries_outlive(void **state)
{
    struct stream_encoder encoder;
    stream_encoder_init(&encoder, PEER_WAY_APPEND);
    struct buf out;
    buf_init(&out, 0);
    struct raft_entry entry = entry_hello(4);
    struct raft_message message = append_at(3, 5, &entry, 1);
    assert_ok(stream_encoder_put(&encoder, &message, &out));
    struct sink sink = {0};
    struct stream_decoder *decoder = decoder_of(PEER_WAY_APPEND, &sink);
    assert_ok(stream_decoder_feed(decoder, buf_bytes(&out)));
    memset(out.data, 0xff, out.len);
    stream_decoder_free(decoder);
    assert_non_null(sink.messages[0]->entries[0].blob);
    assert_true(bytes_equal(sink.messages[0]->entries[0].data, BYTES_LIT("hello")));
    sink_done(&sink);
    buf_done(&out);
}

static void test_collector(void **state)
{
    uint8_t bytes[64];
    struct bytes body = from_hex("0804 1002 1801 2007", bytes);
    struct message_collector *collector = message_collector_new(8);
    const struct raft_message *message;
    for (size_t i = 0; i < body.len; i++)
        assert_ok(message_collector_feed(collector, bytes_of(body.data + i, 1)));
    assert_err(message_collector_feed(collector, bytes_of(body.data, 1)), ERR_LIMIT);
    assert_ok(message_collector_end(collector, &message));
    assert_int_equal(message->type, RAFT_MSG_APP_RESP);
    assert_int_equal(message->term, 7);
    message_collector_free(collector);

    collector = message_collector_new(8);
    assert_ok(message_collector_feed(collector, BYTES_LIT("\x08")));
    assert_err(message_collector_end(collector, &message), ERR_SYNTAX);
    message_collector_free(collector);
}

static void test_members_answer(void **state)
{
    struct arena arena;
    arena_init(&arena, 4096);
    const struct member *members;
    size_t count;
    assert_ok(peer_members_parse(
        BYTES_LIT("[{\"id\":18249187646912138824,\"peerURLs\":[\"http://b:2380\"],\"name\":\"b\","
                  "\"clientURLs\":[\"http://b:2379\"]},"
                  "{\"id\":9372538179322589801,\"peerURLs\":[\"http://a:2380\"],"
                  "\"isLearner\":true}]\n"),
        &arena, &members, &count));
    assert_int_equal(count, 2);
    assert_true(members[0].id == UINT64_C(9372538179322589801));
    assert_true(members[0].learner);
    assert_true(members[1].id == UINT64_C(18249187646912138824));
    assert_string_equal(members[1].name, "b");
    assert_string_equal(members[1].client_urls.items[0], "http://b:2379");
    assert_ok(peer_members_parse(BYTES_LIT("[]\n"), &arena, &members, &count));
    assert_int_equal(count, 0);
    static const char *const bad[] = {"",
                                      "{}",
                                      "null",
                                      "[{]",
                                      "[1]",
                                      "[{\"id\":0}]",
                                      "[{\"id\":1},{\"id\":1}]",
                                      "[] x",
                                      "[[[[[[[[[[1]]]]]]]]]]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(err_ok(peer_members_parse(bytes_str(bad[i]), &arena, &members, &count)));
    arena_done(&arena);
}

static void test_version_answer(void **state)
{
    struct peer_fetch_result result = {0};
    assert_ok(peer_version_parse(
        BYTES_LIT("{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"not_decided\"}"), &result));
    assert_string_equal(result.server_version, "3.7.1");
    assert_string_equal(result.cluster_version, "not_decided");
    assert_err(peer_version_parse(BYTES_LIT("{\"etcdserver\":3}"), &result), ERR_SYNTAX);
    assert_err(peer_version_parse(BYTES_LIT("{}"), &result), ERR_SYNTAX);
    assert_err(
        peer_version_parse(
            BYTES_LIT("{\"etcdserver\":\"3.7.1.3.7.1.3.7.1.3.7.1.3.7.1.3.7.1.3.7\"}"), &result),
        ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_append),  cmocka_unit_test(test_golden_message),
        cmocka_unit_test(test_sparse_message), cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_entries_outlive),
        cmocka_unit_test(test_collector),      cmocka_unit_test(test_members_answer),
        cmocka_unit_test(test_version_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
