/* wire/encode.h: Go's bytes. Known ones by hand; random ones of every message against
 * protobuf-c's packer, and back through the decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etcdserverpb_internal.pb-c.h"
#include "raftpb.pb-c.h"
#include "support.h"
#include "wire/decode.h"
#include "wire/encode.h"

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

static void assert_bytes(const ProtobufCMessage *msg, const char *expected)
{
    struct bytes want = hex_bytes(&arena, expected);
    struct bytes got = wire_encode_arena(msg, &arena);
    assert_int_equal(got.len, want.len);
    if (want.len)
        assert_memory_equal(got.data, want.data, want.len);
}

static void test_known(void **state)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    assert_bytes(&range.base, "");
    range.key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
    range.revision = -1;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    range.serializable = true;
    assert_bytes(&range.base, "0a 01 6b 20 ffffffffffffffffff01 28 02 38 01");

    range = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.sort_order = -1;
    assert_bytes(&range.base, "28 ffffffffffffffffff01");

    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    header.username = "root";
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.header = &header;
    request.compaction = &compaction;
    assert_bytes(&request.base, "3a 00 a206 06 12 04 726f6f74");

    Raftpb__HardState hard = RAFTPB__HARD_STATE__INIT;
    assert_bytes(&hard.base, "");
    hard.has_term = hard.has_vote = hard.has_commit = true;
    hard.commit = 300;
    assert_bytes(&hard.base, "08 00 10 00 18 ac02");

    uint64_t voters[] = {1, UINT64_MAX};
    Raftpb__ConfState conf = RAFTPB__CONF_STATE__INIT;
    conf.n_voters = 2;
    conf.voters = voters;
    conf.has_auto_leave = true;
    assert_bytes(&conf.base, "08 01 08 ffffffffffffffffff01 28 00");
}

/* Members differ here; ours is ascending, and takes the other for what it means. */
static void test_compare_of_range(void **state)
{
    const char *ascending = "1a 01 6b 3a 01 76 8204 01 7a";
    const char *oneof_last = "1a 01 6b 8204 01 7a 3a 01 76";
    Etcdserverpb__Compare *compare;
    bool canonical;
    assert_true(err_ok(wire_decode(&etcdserverpb__compare__descriptor, hex_bytes(&arena, ascending),
                                   &arena, NULL, WIRE_OUT(&compare), &canonical)));
    assert_true(canonical);
    assert_true(
        err_ok(wire_decode(&etcdserverpb__compare__descriptor, hex_bytes(&arena, oneof_last),
                           &arena, NULL, WIRE_OUT(&compare), &canonical)));
    assert_false(canonical);
    assert_bytes(&compare->base, ascending);
}

static void test_append(void **state)
{
    struct buf out;
    buf_init(&out, 8);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){3, (uint8_t *)"key"};
    assert_true(err_ok(wire_encode(&put.base, &out)));
    assert_true(bytes_equal(buf_bytes(&out), hex_bytes(&arena, "0a 03 6b6579")));
    assert_true(err_is(wire_encode(&put.base, &out), ERR_LIMIT));
    assert_int_equal(out.len, 5);
    buf_done(&out);
}

/* A second opinion: protobuf-c packs the same structs to the same bytes. */
static void test_same_as_protobuf_c(void **state)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (size_t i = 0; i < schema_message_count * 40; i++) {
        struct arena inner;
        arena_init(&inner, 0);
        ProtobufCMessage *msg =
            random_message(schema_messages[i % schema_message_count], &prng, &inner, 5);
        size_t size = protobuf_c_message_get_packed_size(msg);
        uint8_t *packed = malloc(size ? size : 1);
        assert_int_equal(protobuf_c_message_pack(msg, packed), size);
        struct bytes ours = wire_encode_arena(msg, &inner);
        assert_true(bytes_equal(ours, bytes_of(packed, size)));
        free(packed);
        arena_done(&inner);
    }
}

/* What was encoded is canonical, and decodes to what encodes to the same. */
static void test_there_and_back(void **state)
{
    struct prng prng;
    prng_init(&prng, 2);
    for (size_t i = 0; i < schema_message_count * 40; i++) {
        struct arena inner;
        arena_init(&inner, 0);
        const ProtobufCMessageDescriptor *descriptor = schema_messages[i % schema_message_count];
        struct bytes in = wire_encode_arena(random_message(descriptor, &prng, &inner, 5), &inner);
        ProtobufCMessage *msg;
        bool canonical = false;
        assert_true(err_ok(wire_decode(descriptor, in, &inner, NULL, &msg, &canonical)));
        assert_true(canonical);
        assert_true(bytes_equal(wire_encode_arena(msg, &inner), in));
        arena_done(&inner);
    }
}

static void mutate(struct prng *prng, uint8_t *data, size_t *len)
{
    for (uint64_t edits = 1 + prng_below(prng, 3); edits && *len; edits--) {
        size_t at = prng_below(prng, *len);
        switch (prng_below(prng, 3)) {
        case 0:
            data[at] ^= (uint8_t)(1U << prng_below(prng, 8));
            break;
        case 1:
            data[at] = (uint8_t)prng_next(prng);
            break;
        default:
            memmove(data + at, data + at + 1, *len - at - 1);
            (*len)--;
        }
    }
}

/* Whatever decodes: canonical is exactly that encoding gives the same bytes, and what encoding
 * gives is canonical in any case. */
static void test_canonical_means_same_bytes(void **state)
{
    struct prng prng;
    prng_init(&prng, 3);
    unsigned canonical_count = 0;
    unsigned other_count = 0;
    for (size_t i = 0; i < schema_message_count * 200; i++) {
        struct arena inner;
        arena_init(&inner, 0);
        const ProtobufCMessageDescriptor *descriptor = schema_messages[i % schema_message_count];
        struct bytes in = wire_encode_arena(random_message(descriptor, &prng, &inner, 3), &inner);
        size_t len = in.len;
        mutate(&prng, (uint8_t *)in.data, &len);
        in.len = len;
        ProtobufCMessage *msg;
        bool canonical = false;
        if (err_ok(wire_decode(descriptor, in, &inner, NULL, &msg, &canonical))) {
            struct bytes out = wire_encode_arena(msg, &inner);
            assert_int_equal(canonical, bytes_equal(in, out));
            canonical_count += canonical;
            other_count += !canonical;
            assert_true(err_ok(wire_decode(descriptor, out, &inner, NULL, &msg, &canonical)));
            assert_true(canonical);
            assert_true(bytes_equal(out, wire_encode_arena(msg, &inner)));
        }
        arena_done(&inner);
    }
    assert_true(canonical_count > 500 && other_count > 500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_known),          TEST(test_compare_of_range),
        TEST(test_append),         TEST(test_same_as_protobuf_c),
        TEST(test_there_and_back), TEST(test_canonical_means_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
