/* wire/json.h: what a client of the gateway and a reader of etcdctl's output see, and what the
 * gateway takes and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etcdserverpb.pb-c.h"
#include "etcdserverpb_internal.pb-c.h"
#include "raftpb.pb-c.h"
#include "support.h"
#include "wire/encode.h"
#include "wire/json.h"

static struct arena arena;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

static const char *out_text(void)
{
    return arena_copy_str(&arena, buf_bytes(&out));
}

static void assert_written(const ProtobufCMessage *msg, enum wire_json_form form,
                           const char *expected)
{
    buf_clear(&out);
    assert_true(err_ok(wire_json_write(msg, form, &out)));
    assert_string_equal(out_text(), expected);
}

static err parse(const ProtobufCMessageDescriptor *descriptor, const char *text,
                 ProtobufCMessage **ret_msg)
{
    return wire_json_parse(descriptor, bytes_str(text), &arena, NULL, ret_msg, NULL);
}

/* The text means the message that these bytes encode. */
static void assert_parsed(const ProtobufCMessageDescriptor *descriptor, const char *text,
                          const char *expected)
{
    ProtobufCMessage *msg;
    err e = parse(descriptor, text, &msg);
    if (!err_ok(e))
        print_error("%s: %s\n", err_name(e), text);
    assert_true(err_ok(e));
    struct bytes want = hex_bytes(&arena, expected);
    struct bytes got = wire_encode_arena(msg, &arena);
    if (!bytes_equal(want, got))
        print_error("other bytes: %s\n", text);
    assert_true(bytes_equal(want, got));
}

static void assert_refused(const ProtobufCMessageDescriptor *descriptor, const char *text)
{
    ProtobufCMessage *msg = NULL;
    err e = parse(descriptor, text, &msg);
    if (!err_is(e, ERR_SYNTAX))
        print_error("%s: %s\n", err_name(e), text);
    assert_true(err_is(e, ERR_SYNTAX));
    assert_null(msg);
}

#define RANGE   &etcdserverpb__range_request__descriptor
#define PUT     &etcdserverpb__put_request__descriptor
#define TXN     &etcdserverpb__txn_request__descriptor
#define COMPARE &etcdserverpb__compare__descriptor
#define WATCH   &etcdserverpb__watch_create_request__descriptor
#define USER    &etcdserverpb__auth_user_add_request__descriptor
#define GRANT   &etcdserverpb__lease_grant_request__descriptor
#define HASH    &etcdserverpb__hash_response__descriptor

/* The example of a get with one key, in both forms. */
static void test_write_range(void **state)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.cluster_id = UINT64_MAX;
    header.member_id = 2;
    header.revision = 3;
    header.raft_term = 4;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData){3, (uint8_t *)"foo"};
    kv.value = (ProtobufCBinaryData){3, (uint8_t *)"bar"};
    kv.create_revision = kv.mod_revision = 2;
    kv.version = 1;
    kv.lease = 7;
    Mvccpb__KeyValue *kvs[] = {&kv};
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    range.header = &header;
    range.n_kvs = 1;
    range.kvs = kvs;
    range.more = true;
    range.count = 5;
    assert_written(&range.base, WIRE_JSON_GO,
                   "{\"header\":{\"cluster_id\":18446744073709551615,\"member_id\":2,"
                   "\"revision\":3,\"raft_term\":4},\"kvs\":[{\"key\":\"Zm9v\","
                   "\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"YmFy\","
                   "\"lease\":7}],\"more\":true,\"count\":5}");
    assert_written(&range.base, WIRE_JSON_GATEWAY,
                   "{\"header\":{\"cluster_id\":\"18446744073709551615\",\"member_id\":\"2\","
                   "\"revision\":\"3\",\"raft_term\":\"4\"},\"kvs\":[{\"key\":\"Zm9v\","
                   "\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\","
                   "\"value\":\"YmFy\",\"lease\":\"7\"}],\"more\":true,\"count\":\"5\"}");
}

static void test_write_txn(void **state)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.revision = 5;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    put.header = &header;
    Etcdserverpb__ResponseOp op = ETCDSERVERPB__RESPONSE_OP__INIT;
    op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    op.response_put = &put;
    Etcdserverpb__ResponseOp *ops[] = {&op};
    Etcdserverpb__TxnResponse txn = ETCDSERVERPB__TXN_RESPONSE__INIT;
    txn.n_responses = 1;
    txn.responses = ops;
    assert_written(&txn.base, WIRE_JSON_GO,
                   "{\"responses\":[{\"Response\":{\"response_put\":{\"header\":"
                   "{\"revision\":5}}}}]}");
    assert_written(&txn.base, WIRE_JSON_GATEWAY,
                   "{\"responses\":[{\"response_put\":{\"header\":{\"revision\":\"5\"}}}]}");
    put.header = NULL;
    assert_written(&txn.base, WIRE_JSON_GATEWAY, "{\"responses\":[{\"response_put\":{}}]}");
}

static void test_write_kinds(void **state)
{
    Etcdserverpb__StatusResponse status = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    assert_written(&status.base, WIRE_JSON_GATEWAY, "{}");
    assert_written(&status.base, WIRE_JSON_GO, "{}");
    char *errors[] = {"a", ""};
    status.n_errors = 2;
    status.errors = errors;
    status.dbsize = INT64_MIN;
    assert_written(&status.base, WIRE_JSON_GATEWAY,
                   "{\"dbSize\":\"-9223372036854775808\",\"errors\":[\"a\",\"\"]}");

    Etcdserverpb__AlarmMember alarm = ETCDSERVERPB__ALARM_MEMBER__INIT;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    assert_written(&alarm.base, WIRE_JSON_GATEWAY, "{\"alarm\":\"NOSPACE\"}");
    assert_written(&alarm.base, WIRE_JSON_GO, "{\"alarm\":1}");
    alarm.alarm = 99;
    assert_written(&alarm.base, WIRE_JSON_GATEWAY, "{\"alarm\":99}");

    Etcdserverpb__HashResponse hash = ETCDSERVERPB__HASH_RESPONSE__INIT;
    hash.hash = UINT32_MAX;
    assert_written(&hash.base, WIRE_JSON_GATEWAY, "{\"hash\":4294967295}");

    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    assert_written(&compare.base, WIRE_JSON_GATEWAY, "{\"version\":\"0\"}");
    assert_written(&compare.base, WIRE_JSON_GO, "{\"TargetUnion\":{}}");
}

static void test_write_strings(void **state)
{
    Etcdserverpb__AuthUserAddRequest user = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    user.name = "\"\\\b\f\n\r\t\x01\x1f\x7f/<>&\xE2\x80\xA8\xE2\x80\xA9\xC3\xA9\xC0\x80";
    assert_written(&user.base, WIRE_JSON_GATEWAY,
                   "{\"name\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/<>&"
                   "\xE2\x80\xA8\xE2\x80\xA9\xC3\xA9\\u0000\"}");
    assert_written(&user.base, WIRE_JSON_GO,
                   "{\"name\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\\u003c\\u003e\\u0026"
                   "\\u2028\\u2029\xC3\xA9\\u0000\"}");
    buf_clear(&out);
    assert_true(err_ok(wire_json_write_string(bytes_of("a\xff\0b", 4), WIRE_JSON_GO, &out)));
    assert_string_equal(out_text(), "\"a\\ufffd\\u0000b\"");
    buf_clear(&out);
    assert_true(err_ok(wire_json_write_string(bytes_of("\xff", 1), WIRE_JSON_GATEWAY, &out)));
    assert_string_equal(out_text(), "\"\xEF\xBF\xBD\"");
}

static void test_write_limit(void **state)
{
    struct buf small;
    buf_init(&small, 10);
    Etcdserverpb__AuthUserAddRequest user = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    user.name = "a name longer than that";
    assert_true(err_is(wire_json_write(&user.base, WIRE_JSON_GO, &small), ERR_LIMIT));
    buf_done(&small);
}

static void test_base64(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        buf_clear(&out);
        assert_true(err_ok(wire_json_write_base64(bytes_str(pairs[i][0]), &out)));
        assert_string_equal(out_text(), pairs[i][1]);
        ProtobufCMessage *msg;
        assert_true(
            err_ok(parse(PUT, arena_printf(&arena, "{\"key\":\"%s\"}", pairs[i][1]), &msg)));
        const Etcdserverpb__PutRequest *put = (void *)msg;
        assert_true(bytes_equal(bytes_of(put->key.data, put->key.len), bytes_str(pairs[i][0])));
    }
    assert_parsed(PUT, "{\"key\":\"_-8\"}", "0a 02 ffef");
    assert_parsed(PUT, "{\"key\":\"_-8=\"}", "0a 02 ffef");
    assert_parsed(PUT, "{\"key\":\"/+8\"}", "0a 02 ffef");
    assert_parsed(PUT, "{\"key\":\"Zm9v\\nYmFy\\r\\n\"}", "0a 06 666f6f626172");
    static const char *const bad[] = {"Z",     "Zg=",  "Zg===", "Z===",     "=",
                                      "Zm9v!", "Zm 9", "/_88",  "Zg==Zg==", "Zm9vY"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(PUT, arena_printf(&arena, "{\"key\":\"%s\"}", bad[i]));
}

static void test_parse_names(void **state)
{
    assert_parsed(RANGE, "{\"key\":\"aw==\",\"range_end\":\"bA==\"}", "0a 01 6b 12 01 6c");
    assert_parsed(RANGE, " {\n\"rangeEnd\" :\t\"bA==\" , \"keysOnly\":true}\r\n", "12 01 6c 40 01");
    assert_parsed(GRANT, "{\"TTL\":5,\"ID\":\"7\"}", "08 05 10 07");
    assert_parsed(GRANT, "{\"ttl\":5,\"Id\":\"7\"}", ""); /* unknown: the case counts */
    assert_parsed(RANGE, "{\"\\u006bey\":\"aw==\"}", "0a 01 6b");
    assert_parsed(RANGE,
                  "{\"x\":{\"y\":[1,2.5e-3,\"\\ud83d\\udea3\",null,true,false,{}]},"
                  "\"limit\":1}",
                  "18 01");
    assert_parsed(RANGE, "{}", "");
}

static void test_parse_numbers(void **state)
{
    assert_parsed(RANGE, "{\"limit\":1e2}", "18 64");
    assert_parsed(RANGE, "{\"limit\":\"1e2\"}", "18 64");
    assert_parsed(RANGE, "{\"limit\":2.0}", "18 02");
    assert_parsed(RANGE, "{\"limit\":0.25E+2}", "18 19");
    assert_parsed(RANGE, "{\"limit\":1200e-2}", "18 0c");
    assert_parsed(RANGE, "{\"limit\":-1}", "18 ffffffffffffffffff01");
    assert_parsed(RANGE, "{\"limit\":-0}", "");
    assert_parsed(RANGE, "{\"limit\":0e999999999999999999999}", "");
    assert_parsed(RANGE, "{\"limit\":\"9223372036854775807\"}", "18 ffffffffffffffff7f");
    assert_parsed(RANGE, "{\"limit\":-9223372036854775808}", "18 80808080808080808001");
    assert_parsed(&etcdserverpb__member_remove_request__descriptor, "{\"ID\":18446744073709551615}",
                  "08 ffffffffffffffffff01");
    assert_parsed(HASH, "{\"hash\":\"4294967295\"}", "10 ffffffff0f");
    assert_parsed(RANGE, "{\"limit\":\"12,5\"}", "18 0c");
    static const char *const bad[] = {
        "\"12 \"",
        "\"12\\n\"",
        "\",12\"",
        "1.5",
        "\"1.5\"",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "\" 1\"",
        "\"1 \"",
        "\"\"",
        "\"0x1\"",
        "true",
        "{}",
        "[]",
        "1e19",
        "0.1e0",
        "\"1e400000000000000000000\"",
        "9223372036854775808",
        "-9223372036854775809",
        "1e-1",
        "--1",
        "-",
        "1a",
        "NaN",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(RANGE, arena_printf(&arena, "{\"limit\":%s}", bad[i]));
    assert_refused(HASH, "{\"hash\":4294967296}");
    assert_refused(HASH, "{\"hash\":-1}");
    assert_refused(&etcdserverpb__member_remove_request__descriptor, "{\"ID\":-1}");
    assert_refused(&etcdserverpb__member_remove_request__descriptor,
                   "{\"ID\":18446744073709551616}");
}

static void test_parse_enums(void **state)
{
    assert_parsed(RANGE, "{\"sort_order\":\"DESCEND\",\"sort_target\":3}", "28 02 30 03");
    assert_parsed(RANGE, "{\"sort_order\":99}", "28 63");
    assert_parsed(RANGE, "{\"sort_order\":-1}", "28 ffffffffffffffffff01");
    assert_parsed(RANGE, "{\"sort_order\":\"SIDEWAYS\"}", "");
    assert_parsed(RANGE, "{\"sort_order\":\"descend\"}", "");
    assert_parsed(WATCH, "{\"filters\":[\"NODELETE\",\"NONE\",0]}", "2a 02 01 00");
    assert_refused(RANGE, "{\"sort_order\":2147483648}");
    assert_refused(RANGE, "{\"sort_order\":true}");
}

static void test_parse_null(void **state)
{
    assert_parsed(RANGE, "{\"key\":null,\"limit\":null,\"sort_order\":null}", "");
    assert_parsed(TXN, "{\"compare\":null,\"success\":[]}", "");
    assert_parsed(&etcdserverpb__watch_request__descriptor,
                  "{\"create_request\":null,\"progress_request\":{}}", "1a 00");
    assert_refused(TXN, "{\"compare\":[null]}");
    assert_refused(WATCH, "{\"filters\":[null]}");
    assert_refused(RANGE, "null");
}

static void test_parse_nested(void **state)
{
    assert_parsed(TXN,
                  "{\"compare\":[{\"target\":\"VALUE\",\"key\":\"aw==\",\"value\":\"\"}],"
                  "\"success\":[{\"requestPut\":{\"key\":\"aw==\"}},{\"request_txn\":{}}]}",
                  "0a 07 10 03 1a 01 6b 3a 00 12 05 12 03 0a 01 6b 12 02 22 00");
    assert_parsed(COMPARE, "{\"version\":0}", "20 00");
    assert_refused(COMPARE, "{\"version\":1,\"value\":\"\"}"); /* two of a oneof */
    assert_refused(COMPARE, "{\"key\":\"\",\"key\":\"\"}");
    assert_refused(RANGE, "{\"range_end\":\"\",\"rangeEnd\":\"\"}");
    assert_refused(TXN, "{\"compare\":{}}");
    assert_refused(TXN, "{\"compare\":[[]]}");
    assert_refused(TXN, "{\"compare\":[{},]}");
}

static void test_parse_strings(void **state)
{
    assert_parsed(USER, "{\"name\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDEA3\\u0000\"}",
                  "0a 0f 22 5c 2f 08 0c 0a 0d 09 c3a9 f09f9aa3 00");
    static const char *const bad[] = {
        "\\",      "\\x",  "\\u12",        "\\u12g4", "\\ud83d", "\\ud83dx",   "\\ud83d\\u0041",
        "\\udea3", "\xff", "\xed\xa0\x80", "\n",      "\x01",    "\\ud83d\\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(USER, arena_printf(&arena, "{\"name\":\"%s\"}", bad[i]));
    assert_refused(USER, "{\"name\":5}");
    assert_refused(USER, "{\"name\":abc}");
    assert_refused(PUT, "{\"prev_kv\":\"true\"}");
    assert_refused(PUT, "{\"prev_kv\":1}");
    assert_refused(PUT, "{\"prev_kv\":truest}");
}

static void test_parse_broken(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "1",
        "\"a\"",
        "{]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{} {}",
        "{}x",
        "{\"x\":tru}",
        "{\"x\":[1 2]}",
        "{\"x\":{\"y\"}}",
        "{\"x\":[}",
        "{\"x\":01}",
        "{\"limit\":1",
        "/**/{}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(RANGE, bad[i]);
}

/* Several objects one after the other, coming in byte by byte. */
static void test_parse_stream(void **state)
{
    struct bytes text = BYTES_LIT(
        " {\"create_request\":{\"key\":\"aw==\",\"start_revision\":12}}\n"
        "{\"cancel_request\":{\"watch_id\":\"3\"}} ");
    size_t first = 0;
    ProtobufCMessage *msg = NULL;
    for (size_t len = 0; len <= text.len; len++) {
        size_t consumed = 0;
        err e = wire_json_parse(&etcdserverpb__watch_request__descriptor, bytes_of(text.data, len),
                                &arena, NULL, &msg, &consumed);
        if (err_ok(e)) {
            assert_int_equal(consumed, first ? first : len);
            first = consumed;
        } else {
            assert_true(err_is(e, ERR_TORN));
            assert_int_equal(first, 0);
        }
    }
    const Etcdserverpb__WatchRequest *request = (void *)msg;
    assert_int_equal(request->create_request->start_revision, 12);

    struct bytes rest = bytes_skip(text, first);
    size_t consumed;
    assert_true(err_ok(wire_json_parse(&etcdserverpb__watch_request__descriptor, rest, &arena, NULL,
                                       &msg, &consumed)));
    request = (void *)msg;
    assert_int_equal(request->cancel_request->watch_id, 3);
    rest = bytes_skip(rest, consumed);
    assert_true(err_is(wire_json_parse(&etcdserverpb__watch_request__descriptor, rest, &arena, NULL,
                                       &msg, &consumed),
                       ERR_TORN));
}

static char *repeat(const char *what, size_t times)
{
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < times; i++)
        assert_true(err_ok(buf_append(&text, bytes_str(what))));
    char *copy = arena_copy_str(&arena, buf_bytes(&text));
    buf_done(&text);
    return copy;
}

static void test_parse_bombs(void **state)
{
    ProtobufCMessage *msg;
    assert_true(err_is(parse(RANGE, repeat("[", 100000), &msg), ERR_SYNTAX));
    char *known = repeat("{\"success\":[{\"request_txn\":", 100000);
    assert_true(err_is(parse(TXN, known, &msg), ERR_LIMIT));
    char *unknown = arena_printf(&arena, "{\"x\":%s", repeat("[", 100000));
    assert_true(err_is(parse(TXN, unknown, &msg), ERR_LIMIT));
    unknown = arena_printf(&arena, "{\"x\":%s", repeat("{\"x\":", 100000));
    assert_true(err_is(parse(TXN, unknown, &msg), ERR_LIMIT));

    char *empties = arena_printf(&arena, "{\"compare\":[%s{}]}", repeat("{},", 1000000));
    struct arena inner;
    arena_init(&inner, 0);
    struct wire_decode_opts tight = {.arena_factor = 8};
    assert_true(
        err_is(wire_json_parse(TXN, bytes_str(empties), &inner, &tight, &msg, NULL), ERR_LIMIT));
    assert_true(inner.used_bytes <= strlen(empties) * 8 + WIRE_ARENA_SLACK_BYTES_DEFAULT);
    arena_done(&inner);
}

/* What the gateway writes, it reads; every message, presence and oneofs included. */
static void test_there_and_back(void **state)
{
    struct prng prng;
    prng_init(&prng, 4);
    for (size_t i = 0; i < schema_message_count * 40; i++) {
        const ProtobufCMessageDescriptor *descriptor = schema_messages[i % schema_message_count];
        struct arena inner;
        arena_init(&inner, 0);
        ProtobufCMessage *msg = random_message(descriptor, &prng, &inner, 4);
        ProtobufCMessage *back;
        buf_clear(&out);
        assert_true(err_ok(wire_json_write(msg, WIRE_JSON_GATEWAY, &out)));
        assert_true(
            err_ok(wire_json_parse(descriptor, buf_bytes(&out), &inner, NULL, &back, NULL)));
        assert_true(bytes_equal(wire_encode_arena(msg, &inner), wire_encode_arena(back, &inner)));
        arena_done(&inner);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_write_range),    TEST(test_write_txn),     TEST(test_write_kinds),
        TEST(test_write_strings),  TEST(test_write_limit),   TEST(test_base64),
        TEST(test_parse_names),    TEST(test_parse_numbers), TEST(test_parse_enums),
        TEST(test_parse_null),     TEST(test_parse_nested),  TEST(test_parse_strings),
        TEST(test_parse_broken),   TEST(test_parse_stream),  TEST(test_parse_bombs),
        TEST(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
