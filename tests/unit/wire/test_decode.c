/* wire/decode.h: what comes out of good bytes, of odd but legal ones, and of hostile ones. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etcdserverpb.pb-c.h"
#include "etcdserverpb_internal.pb-c.h"
#include "etcdserverpb_v2.pb-c.h"
#include "raftpb.pb-c.h"
#include "support.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/splice.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

#define DECODE(descriptor, text, pp, canonical) \
    wire_decode(&(descriptor), hex_bytes(&arena, text), &arena, NULL, WIRE_OUT(pp), canonical)

#define assert_refused(expected, descriptor, text)                                              \
    do {                                                                                        \
        ProtobufCMessage *refused_ = NULL;                                                      \
        err e_ =                                                                                \
            wire_decode(&(descriptor), hex_bytes(&arena, text), &arena, NULL, &refused_, NULL); \
        assert_string_equal(err_name(e_), err_name(expected));                                  \
        assert_null(refused_);                                                                  \
    } while (0)

#define RANGE   etcdserverpb__range_request__descriptor
#define PUT     etcdserverpb__put_request__descriptor
#define TXN     etcdserverpb__txn_request__descriptor
#define COMPARE etcdserverpb__compare__descriptor
#define WATCH   etcdserverpb__watch_create_request__descriptor

static void test_put(void **state)
{
    Etcdserverpb__PutRequest *put;
    bool canonical;
    struct bytes in = hex_bytes(&arena, "0a 03 666f6f 12 03 626172 18 ac02 20 01");
    assert_true(err_ok(wire_decode(&PUT, in, &arena, NULL, WIRE_OUT(&put), &canonical)));
    assert_true(canonical);
    assert_int_equal(put->key.len, 3);
    assert_memory_equal(put->value.data, "bar", 3);
    assert_int_equal(put->lease, 300);
    assert_true(put->prev_kv);
    assert_false(put->ignore_value);
    /* Lent, not copied. */
    assert_ptr_equal(put->key.data, in.data + 2);
}

static void test_empty(void **state)
{
    Etcdserverpb__StatusResponse *status;
    bool canonical;
    assert_true(err_ok(wire_decode(&etcdserverpb__status_response__descriptor, BYTES_NONE, &arena,
                                   NULL, WIRE_OUT(&status), &canonical)));
    assert_true(canonical);
    assert_null(status->header);
    assert_string_equal(status->version, "");
    assert_int_equal(status->n_errors, 0);
}

static void test_presence(void **state)
{
    Raftpb__Entry *entry;
    bool canonical;
    /* Type 0 and Data "" given, Term and Index not. */
    assert_true(err_ok(DECODE(raftpb__entry__descriptor, "08 00 22 00", &entry, &canonical)));
    assert_true(canonical);
    assert_true(entry->has_type && entry->has_data);
    assert_false(entry->has_term || entry->has_index);

    Etcdserverpb__Request *request;
    assert_true(err_ok(DECODE(etcdserverpb__request__descriptor, "12 00 40 00", &request, NULL)));
    assert_string_equal(request->method, "");
    assert_null(request->path);
    assert_true(request->has_prevexist && !request->prevexist);
}

static void test_oneof(void **state)
{
    Etcdserverpb__Compare *compare;
    bool canonical;
    assert_true(err_ok(DECODE(COMPARE, "1a 01 6b 20 00", &compare, &canonical)));
    assert_true(canonical);
    assert_int_equal(compare->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION);
    assert_int_equal(compare->version, 0);

    /* Two members: the last one wins. */
    assert_true(err_ok(DECODE(COMPARE, "20 05 3a 01 76", &compare, &canonical)));
    assert_false(canonical);
    assert_int_equal(compare->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE);
    assert_int_equal(compare->value.len, 1);

    /* The same message twice: merged. Another one between: begun anew. */
    Etcdserverpb__RequestOp *op;
    assert_true(err_ok(DECODE(etcdserverpb__request_op__descriptor, "12 03 0a016b 12 03 120176",
                              &op, &canonical)));
    assert_false(canonical);
    assert_int_equal(op->request_put->key.len, 1);
    assert_int_equal(op->request_put->value.len, 1);
    assert_true(err_ok(DECODE(etcdserverpb__request_op__descriptor,
                              "12 03 0a016b 0a 00 12 03 120176", &op, &canonical)));
    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_int_equal(op->request_put->key.len, 0);
    assert_int_equal(op->request_put->value.len, 1);
}

static void test_merge(void **state)
{
    Etcdserverpb__InternalRaftRequest *request;
    bool canonical;
    assert_true(err_ok(DECODE(etcdserverpb__internal_raft_request__descriptor,
                              "22 03 0a016b 22 03 120176", &request, &canonical)));
    assert_false(canonical);
    assert_int_equal(request->put->key.len, 1);
    assert_int_equal(request->put->value.len, 1);
}

static void test_packed(void **state)
{
    Etcdserverpb__WatchCreateRequest *watch;
    Raftpb__ConfState *conf;
    bool canonical;
    assert_true(err_ok(DECODE(WATCH, "2a 02 00 01", &watch, &canonical)));
    assert_true(canonical);
    assert_int_equal(watch->n_filters, 2);
    assert_int_equal(watch->filters[1], 1);
    assert_true(err_ok(DECODE(WATCH, "28 00 28 01 2a 01 01", &watch, &canonical)));
    assert_false(canonical);
    assert_int_equal(watch->n_filters, 3);

    assert_true(
        err_ok(DECODE(raftpb__conf_state__descriptor, "08 01 08 02 08 03", &conf, &canonical)));
    assert_true(canonical);
    assert_int_equal(conf->n_voters, 3);
    assert_int_equal(conf->voters[2], 3);
    assert_true(
        err_ok(DECODE(raftpb__conf_state__descriptor, "0a 03 01 ac 02", &conf, &canonical)));
    assert_false(canonical);
    assert_int_equal(conf->n_voters, 2);
    assert_int_equal(conf->voters[1], 300);
}

/* Elements scattered between others: all of them, in their order. */
static void test_scattered(void **state)
{
    struct buf in;
    buf_init(&in, 0);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t op[] = {0x0a, 0x02, 0x20, (uint8_t)(i & 0x7f), 0x12, 0x00};
        assert_true(err_ok(buf_append(&in, bytes_of(op, sizeof(op)))));
    }
    Etcdserverpb__TxnRequest *txn;
    bool canonical;
    assert_true(
        err_ok(wire_decode(&TXN, buf_bytes(&in), &arena, NULL, WIRE_OUT(&txn), &canonical)));
    assert_false(canonical);
    assert_int_equal(txn->n_compare, 1000);
    assert_int_equal(txn->n_success, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(txn->compare[i]->version, i & 0x7f);
    buf_done(&in);
}

static void test_strings(void **state)
{
    Etcdserverpb__AuthUserGetRequest *user;
    bool canonical;
    const char *with_nul = "0a 04 61 00 62 00";
    assert_true(err_ok(
        DECODE(etcdserverpb__auth_user_get_request__descriptor, with_nul, &user, &canonical)));
    assert_true(canonical);
    assert_string_equal(user->name,
                        "a\xC0\x80"
                        "b\xC0\x80");
    assert_true(bytes_equal(wire_string_bytes(&arena, user->name), bytes_of("a\0b\0", 4)));
    assert_string_equal(wire_string_of(&arena, bytes_of("a\0b\0", 4)), user->name);
    assert_true(bytes_equal(wire_encode_arena(&user->base, &arena), hex_bytes(&arena, with_nul)));
    assert_int_equal(wire_string_bytes(&arena, NULL).len, 0);

    static const char *const bad[] = {
        "0a 01 80",       "0a 01 ff",       "0a 02 c0 80",    "0a 02 c3 28", "0a 03 e2 82 28",
        "0a 03 ed a0 80", "0a 03 e0 80 80", "0a 04 f4908080", "0a 02 e2 82", "0a 04 f08080af",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(ERR_NOT_UTF8, etcdserverpb__auth_user_get_request__descriptor, bad[i]);

    struct wire_decode_opts any = {.from_log = true};
    assert_true(err_ok(wire_decode(&etcdserverpb__auth_user_get_request__descriptor,
                                   hex_bytes(&arena, "0a 02 61 ff"), &arena, &any, WIRE_OUT(&user),
                                   &canonical)));
    assert_true(canonical);
    assert_string_equal(user->name, "a\xff");
    assert_true(err_ok(wire_decode(&etcdserverpb__auth_user_get_request__descriptor,
                                   hex_bytes(&arena, "0a 02 c0 80"), &arena, &any, WIRE_OUT(&user),
                                   &canonical)));
    assert_false(canonical);
}

/* Each decodes, and encoding gives other bytes. */
static void test_not_canonical(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *text;
    } cases[] = {
        {&PUT, "12 00"},             /* an empty value */
        {&PUT, "18 00"},             /* a zero */
        {&PUT, "12 01 76 0a 01 6b"}, /* out of order */
        {&PUT, "0a 01 6b 0a 01 6b"}, /* twice */
        {&PUT, "0a 81 00 6b"},       /* a length too long */
        {&PUT, "8a 00 01 6b"},       /* a tag too long */
        {&PUT, "18 81 00"},          /* a number too long */
        {&PUT, "20 02"},             /* a bool that is not 1 */
        {&PUT, "20 ffffffffffffffffff01"},
        {&PUT, "38 01"},               /* unknown, varint */
        {&PUT, "3d 01020304"},         /* unknown, four bytes */
        {&PUT, "39 0102030405060708"}, /* unknown, eight bytes */
        {&PUT, "3a 01 00"},            /* unknown, bytes */
        {&PUT, "3b 08 01 43 44 3c"},   /* unknown, a group with a group in it */
        {&PUT, "08 01"},               /* key as a number */
        {&PUT, "1a 01 01"},            /* lease as bytes */
        {&RANGE, "28 8080808010"},     /* an enum of more than 32 bits */
        {&RANGE, "28 ffffffff0f"},     /* -1 as 32 bits */
        {&WATCH, "2a 00"},             /* no filters */
        {&etcdserverpb__hash_response__descriptor, "10 8080808010"},
        {&etcdserverpb__watch_request__descriptor, "0a 00 12 00"}, /* two of a oneof */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ProtobufCMessage *msg;
        bool canonical = true;
        struct bytes in = hex_bytes(&arena, cases[i].text);
        assert_true(err_ok(wire_decode(cases[i].descriptor, in, &arena, NULL, &msg, &canonical)));
        assert_false(canonical);
        assert_false(bytes_equal(wire_encode_arena(msg, &arena), in));
    }
}

static void test_canonical(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *text;
    } cases[] = {
        {&PUT, ""},
        {&TXN, "0a 00 0a 00 12 00 1a 00"},
        {&RANGE, "18 ffffffffffffffffff01 28 ffffffffffffffffff01"},
        {&etcdserverpb__watch_request__descriptor, "0a 00"},
        {&etcdserverpb__internal_raft_request__descriptor, "08 01 22 03 0a016b a206 02 0801"},
        {&etcdserverpb__lease_time_to_live_response__descriptor, "2a 00 2a 01 6b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ProtobufCMessage *msg;
        bool canonical = false;
        struct bytes in = hex_bytes(&arena, cases[i].text);
        assert_true(err_ok(wire_decode(cases[i].descriptor, in, &arena, NULL, &msg, &canonical)));
        assert_true(canonical);
        assert_true(bytes_equal(wire_encode_arena(msg, &arena), in));
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "00",                         /* field 0 */
        "0e",                         /* wire type 6 */
        "0f",                         /* wire type 7 */
        "8080808010 00",              /* field 2^29 */
        "0c",                         /* the end of no group */
        "3b 08 01",                   /* a group without its end */
        "3b 44",                      /* another group's end */
        "0a",                         /* no length */
        "0a 02 6b",                   /* a length past the end */
        "0a ffffffffffffffffff01 6b", /* far past it */
        "0a ffffffff0f 6b",           /* 4 GiB past it */
        "18",                         /* no number */
        "18 80",                      /* half a number */
        "18 ffffffffffffffffff02",    /* 65 bits */
        "18 8080808080808080808000",  /* eleven bytes */
        "39 01020304",                /* half of eight bytes */
        "3d 0102",                    /* half of four */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(ERR_SYNTAX, PUT, bad[i]);
    assert_refused(ERR_SYNTAX, WATCH, "2a 01 80");    /* packed, half a number */
    assert_refused(ERR_SYNTAX, WATCH, "2a 03 01 80"); /* packed past the end */
    assert_refused(ERR_SYNTAX, TXN, "0a 02 0a 05");   /* past the end of the message around it */
}

/* What etcd up to 3.6 lets a client write into the log, beside a key that is applied. */
static void test_from_log(void **state)
{
    static const char *const taken[] = {
        "8080808010 01",              /* field 2^29 */
        "80908080808002 01",          /* a number whose bits above the 32nd are lost: field 256 */
        "48 ffffffffffffffffff7f",    /* a number of 70 bits */
        "48 ffffffffffffffffff02",    /* of 65 */
        "4a 81808080808080808002 78", /* a length whose bits above the 64th are lost: 1 */
        "4b 44",                      /* a group that another's end ends */
        "4b 53 08 01 54 4c",          /* groups within groups */
        "4b 00 05 4c",                /* a field of number 0 within one */
    };
    static const char *const refused[] = {
        "8080808040 00", /* field -2^31 */
        "4c",            /* the end of no group */
        "4b",            /* a group without its end */
        "4e",            /* wire type 6 */
        "4b 4e 4c",      /* within a group too */
        "48 8080808080808080808001",
        "4a 05 01",
        "4d 0102",
        "49 01020304",
    };
    const struct wire_decode_opts opts = {.from_log = true};
    ProtobufCMessage *msg;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        Etcdserverpb__PutRequest *put;
        bool canonical;
        char text[128];
        snprintf(text, sizeof(text), "%s 0a 01 6b", taken[i]);
        assert_true(err_ok(
            wire_decode(&PUT, hex_bytes(&arena, text), &arena, &opts, WIRE_OUT(&put), &canonical)));
        assert_false(canonical);
        assert_int_equal(put->key.len, 1);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_true(
            err_is(wire_decode(&PUT, hex_bytes(&arena, refused[i]), &arena, &opts, &msg, NULL),
                   ERR_SYNTAX));
    /* Groups of any depth take no stack. */
    struct buf in = {0};
    for (int i = 0; i < 20000; i++)
        assert_true(err_ok(buf_append(&in, BYTES_LIT("\x4b"))));
    for (int i = 0; i < 20000; i++)
        assert_true(err_ok(buf_append(&in, BYTES_LIT("\x4c"))));
    assert_true(err_ok(wire_decode(&PUT, buf_bytes(&in), &arena, &opts, &msg, NULL)));
    buf_done(&in);
}

/* A message cut at any byte is a shorter one or refused; nothing beyond the cut is read (the
 * sanitizer watches: each cut is a copy of its own). */
static void test_cut(void **state)
{
    struct prng prng;
    prng_init(&prng, 7);
    for (size_t i = 0; i < schema_message_count; i++) {
        struct arena inner;
        arena_init(&inner, 0);
        const ProtobufCMessageDescriptor *descriptor = schema_messages[i];
        struct bytes whole =
            wire_encode_arena(random_message(descriptor, &prng, &inner, 4), &inner);
        size_t step = whole.len / 200 + 1;
        for (size_t len = 0; len < whole.len; len += step) {
            uint8_t *cut = malloc(len ? len : 1);
            if (len)
                memcpy(cut, whole.data, len);
            ProtobufCMessage *msg;
            bool canonical;
            err e = wire_decode(descriptor, bytes_of(cut, len), &inner, NULL, &msg, &canonical);
            assert_true(err_ok(e) || err_is(e, ERR_SYNTAX) || err_is(e, ERR_NOT_UTF8));
            if (err_ok(e) && canonical)
                assert_int_equal(wire_encoded_size(msg), len);
            free(cut);
        }
        arena_done(&inner);
    }
}

/* A TxnRequest in a RequestOp in a TxnRequest …: `levels` messages, an odd number, so that the
 * innermost is an empty TxnRequest. Written from the back. */
static struct bytes nested_txn(unsigned levels, struct buf *out)
{
    enum { SUCCESS = 2, REQUEST_TXN = 4 };
    size_t room = (size_t)levels * 8;
    buf_clear(out);
    assert_true(err_ok(buf_reserve(out, room)));
    uint8_t *end = out->data + room;
    uint8_t *at = end;
    for (unsigned i = 1; i < levels; i++) {
        uint32_t number = i % 2 ? REQUEST_TXN : SUCCESS;
        size_t len = (size_t)(end - at);
        at -= wire_prefix_size(number, len);
        wire_put_prefix(at, number, len);
    }
    return bytes_of(at, (size_t)(end - at));
}

static void test_depth(void **state)
{
    struct buf in;
    buf_init(&in, 0);
    Etcdserverpb__TxnRequest *txn = NULL;
    assert_true(err_ok(wire_decode(&TXN, nested_txn(99, &in), &arena, NULL, WIRE_OUT(&txn), NULL)));
    unsigned depth = 1;
    for (; txn->n_success; depth += 2)
        txn = txn->success[0]->request_txn;
    assert_int_equal(depth, 99);
    assert_true(err_is(wire_decode(&TXN, nested_txn(101, &in), &arena, NULL, WIRE_OUT(&txn), NULL),
                       ERR_LIMIT));
    assert_true(err_is(
        wire_decode(&TXN, nested_txn(100001, &in), &arena, NULL, WIRE_OUT(&txn), NULL), ERR_LIMIT));
    buf_done(&in);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void *decode_deepest(void *arg)
{
    struct bytes *in = arg;
    struct wire_decode_opts deep = {.depth_max = WIRE_DEPTH_MAX_LIMIT};
    Etcdserverpb__TxnRequest *txn;
    err e = wire_decode(&TXN, *in, &arena, &deep, WIRE_OUT(&txn), NULL);
    return err_ok(e) && bytes_equal(wire_encode_arena(&txn->base, &arena), *in) ? in : NULL;
}

/* The deepest that may be asked for fits the stack that the header promises: on one of just that
 * size. The sanitizer's frames are larger. */
static void test_stack(void **state)
{
    struct buf in;
    buf_init(&in, 0);
    struct bytes deepest = nested_txn(WIRE_DEPTH_MAX_LIMIT - 1, &in);
    size_t promised = (size_t)WIRE_DEPTH_MAX_LIMIT * WIRE_DECODE_FRAME_BYTES_MAX + 64 * 1024;
    pthread_attr_t attr;
    pthread_t thread;
    void *result = NULL;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, SANITIZED ? promised * 16 : promised), 0);
    assert_int_equal(pthread_create(&thread, &attr, decode_deepest, &deepest), 0);
    pthread_join(thread, &result);
    pthread_attr_destroy(&attr);
    assert_ptr_equal(result, &deepest);
    buf_done(&in);
}

static void test_group_depth(void **state)
{
    uint8_t in[400];
    Etcdserverpb__PutRequest *put;
    memset(in, 0x3b, 99);
    memset(in + 99, 0x3c, 99);
    assert_true(err_ok(wire_decode(&PUT, bytes_of(in, 198), &arena, NULL, WIRE_OUT(&put), NULL)));
    memset(in, 0x3b, 200);
    memset(in + 200, 0x3c, 200);
    assert_true(err_is(wire_decode(&PUT, bytes_of(in, 400), &arena, NULL, WIRE_OUT(&put), NULL),
                       ERR_LIMIT));
}

/* Two bytes an element, 96 and more in memory: refused by the bound, whatever is repeated. */
static void test_amplification(void **state)
{
    enum { N = 1000000 };
    uint8_t *in = malloc(2 * N);
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        uint8_t tags[2];
    } cases[] = {
        {&TXN, {0x0a, 0x0a}},                                      /* compares */
        {&etcdserverpb__range_response__descriptor, {0x12, 0x12}}, /* kvs */
        {&etcdserverpb__request_op__descriptor, {0x0a, 0x12}},     /* a oneof to and fro */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t j = 0; j < N; j++) {
            in[2 * j] = cases[i].tags[j % 2];
            in[2 * j + 1] = 0;
        }
        struct arena inner;
        arena_init(&inner, 0);
        ProtobufCMessage *msg = NULL;
        err e = wire_decode(cases[i].descriptor, bytes_of(in, 2 * N), &inner, NULL, &msg, NULL);
        assert_string_equal(err_name(e), err_name(ERR_LIMIT));
        size_t bound = (size_t)2 * N * WIRE_ARENA_FACTOR_DEFAULT + WIRE_ARENA_SLACK_BYTES_DEFAULT;
        assert_true(inner.used_bytes <= bound);
        arena_done(&inner);
    }
    free(in);
}

/* The densest request that can be legal: thousands of operations on keys of one byte. */
static void test_dense_is_taken(void **state)
{
    struct buf in;
    buf_init(&in, 0);
    for (unsigned i = 0; i < 20000; i++) {
        static const uint8_t put[] = {0x12, 0x05, 0x12, 0x03, 0x0a, 0x01, 'k'};
        assert_true(err_ok(buf_append(&in, bytes_of(put, sizeof(put)))));
    }
    Etcdserverpb__TxnRequest *txn;
    bool canonical;
    assert_true(
        err_ok(wire_decode(&TXN, buf_bytes(&in), &arena, NULL, WIRE_OUT(&txn), &canonical)));
    assert_true(canonical);
    assert_int_equal(txn->n_success, 20000);
    buf_done(&in);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_put),           TEST(test_empty),         TEST(test_presence),
        TEST(test_oneof),         TEST(test_merge),         TEST(test_packed),
        TEST(test_scattered),     TEST(test_strings),       TEST(test_canonical),
        TEST(test_not_canonical), TEST(test_refused),       TEST(test_cut),
        TEST(test_from_log),      TEST(test_depth),         TEST(test_stack),
        TEST(test_group_depth),   TEST(test_amplification), TEST(test_dense_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
