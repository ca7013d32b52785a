/* wire/splice.h: bytes written by hand equal those of the encoder, and are read back strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etcdserverpb.pb-c.h"
#include "mvccpb.pb-c.h"
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

static void test_varint(void **state)
{
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (unsigned less = 0; less < 2; less++) {
            uint64_t v = (bits == 64 ? 0 : (uint64_t)1 << bits) - less;
            uint8_t at[WIRE_VARINT_BYTES_MAX];
            const uint8_t *end = wire_put_varint(at, v);
            assert_int_equal(end - at, wire_varint_size(v));
            const uint8_t *p = at;
            uint64_t back;
            assert_true(err_ok(wire_get_varint(&p, end, &back)));
            assert_true(back == v && p == end);
            p = at;
            assert_true(err_is(wire_get_varint(&p, end - 1, &back), ERR_SYNTAX));
            assert_ptr_equal(p, at);
        }
    }
}

static void test_header(void **state)
{
    static const struct wire_header headers[] = {
        {0},
        {.cluster_id = UINT64_MAX,
         .member_id = UINT64_MAX,
         .revision = -1,
         .raft_term = UINT64_MAX},
        {.cluster_id = 0x1122334455667788, .member_id = 1, .revision = 300, .raft_term = 2},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        header.cluster_id = headers[i].cluster_id;
        header.member_id = headers[i].member_id;
        header.revision = headers[i].revision;
        header.raft_term = headers[i].raft_term;
        Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
        put.header = &header;
        uint8_t at[WIRE_HEADER_FIELD_BYTES_MAX];
        size_t size = wire_header_field_size(&headers[i]);
        assert_true(size <= sizeof(at));
        assert_ptr_equal(wire_put_header_field(at, &headers[i]), at + size);
        assert_true(bytes_equal(bytes_of(at, size), wire_encode_arena(&put.base, &arena)));
    }
}

/* A RangeResponse around stored blobs is what the encoder makes of the whole. */
static void test_range_response(void **state)
{
    enum { KVS = 2, MORE = 3, COUNT = 4 };
    struct wire_header header = {.cluster_id = 7, .member_id = 8, .revision = 9, .raft_term = 10};
    struct wire_kv kvs[] = {
        {.key = BYTES_LIT("a"),
         .create_revision = 2,
         .mod_revision = 3,
         .version = 2,
         .value = BYTES_LIT("1"),
         .lease = 5},
        {.key = BYTES_LIT("b"), .create_revision = 4, .mod_revision = 4, .version = 1},
    };
    size_t size = wire_header_field_size(&header) + wire_varint_field_size(MORE, 1) +
                  wire_varint_field_size(COUNT, 1000);
    for (size_t i = 0; i < 2; i++)
        size += wire_message_field_size(KVS, wire_kv_size(&kvs[i]));
    uint8_t *spliced = arena_alloc_bytes(&arena, size);
    uint8_t *at = wire_put_header_field(spliced, &header);
    for (size_t i = 0; i < 2; i++) {
        uint8_t blob[64];
        const uint8_t *end = wire_put_kv(blob, &kvs[i]);
        at = wire_put_message_field(at, KVS, bytes_of(blob, (size_t)(end - blob)));
    }
    at = wire_put_varint_field(at, MORE, 1);
    at = wire_put_varint_field(at, COUNT, 1000);
    assert_ptr_equal(at, spliced + size);

    Etcdserverpb__RangeResponse *response;
    bool canonical;
    assert_true(
        err_ok(wire_decode(&etcdserverpb__range_response__descriptor, bytes_of(spliced, size),
                           &arena, NULL, WIRE_OUT(&response), &canonical)));
    assert_true(canonical);
    assert_int_equal(response->header->raft_term, 10);
    assert_int_equal(response->n_kvs, 2);
    assert_int_equal(response->kvs[0]->lease, 5);
    assert_int_equal(response->kvs[1]->value.len, 0);
    assert_true(response->more);
    assert_int_equal(response->count, 1000);
}

static void test_kv(void **state)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (unsigned i = 0; i < 2000; i++) {
        Mvccpb__KeyValue *msg =
            (void *)random_message(&mvccpb__key_value__descriptor, &prng, &arena, 1);
        struct bytes blob = wire_encode_arena(&msg->base, &arena);
        struct wire_kv kv;
        struct bytes key;
        assert_true(err_ok(wire_kv_read(blob, &kv)));
        assert_true(err_ok(wire_kv_read_key(blob, &key)));
        assert_true(bytes_equal(kv.key, bytes_of(msg->key.data, msg->key.len)));
        assert_true(bytes_equal(key, kv.key));
        assert_true(bytes_equal(kv.value, bytes_of(msg->value.data, msg->value.len)));
        assert_int_equal(kv.create_revision, msg->create_revision);
        assert_int_equal(kv.mod_revision, msg->mod_revision);
        assert_int_equal(kv.version, msg->version);
        assert_int_equal(kv.lease, msg->lease);
        assert_int_equal(wire_kv_size(&kv), blob.len);
        uint8_t *again = arena_alloc_bytes(&arena, blob.len);
        assert_ptr_equal(wire_put_kv(again, &kv), again + blob.len);
        assert_true(bytes_equal(bytes_of(again, blob.len), blob));
    }
}

static void test_kv_strict(void **state)
{
    static const char *const bad[] = {
        "0a 00",          /* empty key written */
        "10 00",          /* zero written */
        "10 81 00",       /* overlong */
        "18 01 10 01",    /* order */
        "10 01 10 01",    /* twice */
        "0a 02 6b",       /* cut */
        "0a 01 6b 38 01", /* unknown */
        "0a 01 6b 10",    /* no number */
        "8a 00 01 6b",    /* overlong tag */
        "0a 81 00 6b",    /* overlong length */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wire_kv kv = {.version = 77};
        assert_true(err_is(wire_kv_read(hex_bytes(&arena, bad[i]), &kv), ERR_SYNTAX));
        assert_int_equal(kv.version, 77);
    }
    struct wire_kv kv;
    assert_true(err_ok(wire_kv_read(BYTES_NONE, &kv)));
    assert_int_equal(kv.key.len, 0);
    struct bytes key;
    assert_true(err_is(wire_kv_read_key(hex_bytes(&arena, "0a 02 6b"), &key), ERR_SYNTAX));
}

static void test_iter(void **state)
{
    struct bytes in = hex_bytes(&arena,
                                "08 ac02 12 01 6b 1d 01020304 21 0102030405060708 "
                                "2b 08 01 33 34 2c 30 00");
    static const struct {
        uint32_t number;
        enum wire_type type;
        uint64_t value;
        size_t len;
    } expected[] = {
        {1, WIRE_VARINT, 300, 0},
        {2, WIRE_BYTES, 0, 1},
        {3, WIRE_FIXED32, 0x04030201, 0},
        {4, WIRE_FIXED64, 0x0807060504030201, 0},
        {5, WIRE_GROUP, 0, 4},
        {6, WIRE_VARINT, 0, 0},
    };
    struct wire_field_iter iter = wire_field_iter_of(in);
    struct wire_field field;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(wire_field_iter_next(&iter, &field));
        assert_int_equal(field.number, expected[i].number);
        assert_int_equal(field.type, expected[i].type);
        assert_int_equal(field.value, expected[i].value);
        assert_int_equal(field.bytes.len, expected[i].len);
    }
    assert_false(wire_field_iter_next(&iter, &field));
    assert_true(err_ok(wire_field_iter_end(&iter)));

    iter = wire_field_iter_of(hex_bytes(&arena, "08 01 12 05 6b"));
    assert_true(wire_field_iter_next(&iter, &field));
    assert_false(wire_field_iter_next(&iter, &field));
    assert_false(wire_field_iter_next(&iter, &field));
    assert_true(err_is(wire_field_iter_end(&iter), ERR_SYNTAX));

    iter = wire_field_iter_of(BYTES_NONE);
    assert_false(wire_field_iter_next(&iter, &field));
    assert_true(err_ok(wire_field_iter_end(&iter)));

    uint8_t groups[WIRE_GROUP_DEPTH_MAX + 1];
    memset(groups, 0x0b, sizeof(groups));
    iter = wire_field_iter_of(bytes_of(groups, sizeof(groups)));
    assert_false(wire_field_iter_next(&iter, &field));
    assert_true(err_is(wire_field_iter_end(&iter), ERR_LIMIT));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_varint), TEST(test_header),    TEST(test_range_response),
        TEST(test_kv),     TEST(test_kv_strict), TEST(test_iter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
