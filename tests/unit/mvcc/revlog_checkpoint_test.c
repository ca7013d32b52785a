#include "base/check.h"
#include "mvcc/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct segment_owner owner = {1, 2};
static const struct checkpoint_info info = {
    .seq = 5000, .floor = 4000, .revision = 77, .compact_revision = 60};

static struct checkpoint_head head_of(unsigned i, char key[64], uint64_t rungs[8])
{
    int n = snprintf(key, 64, "/registry/pods/%s/%08u", i % 3 ? "default" : "kube-system", i);
    struct checkpoint_head head = {
        .seq = 100 + (i * 37) % 6000,
        .main = (int64_t)i + 2,
        .create = i % 5 ? (int64_t)i + 1 : 0,
        .version = i % 5 ? 7 : 0,
        .lease = i % 4 ? 0 : 0x694d5765fc71500b,
        .blob_bytes = i * 11,
        .steps = i % 16,
        .rung_count = i % 8,
        .rungs = rungs,
    };
    for (unsigned r = 0; r < head.rung_count; r++)
        rungs[r] = 3 + r * 12;
    head.key = bytes_of(key, (size_t)n);
    return head;
}

/* Keys ascend: first all of one namespace, then of the other. */
static unsigned order(unsigned at, unsigned count)
{
    unsigned defaults = count - (count + 2) / 3;
    return at < defaults ? at + at / 2 + 1 : (at - defaults) * 3;
}

static void write_all(struct checkpoint_writer *writer, unsigned heads)
{
    checkpoint_writer_init(writer, owner, &info);
    struct segment segment = {.name = {1, 900, 2}};
    atomic_init(&segment.row_count, 200);
    segment.dead = segment_dead_new(200);
    segment_dead_set(segment.dead, 3, 100);
    segment_dead_set(segment.dead, 199, 100);
    checkpoint_writer_segment(writer, &segment);
    free(segment.dead);
    for (unsigned at = 0; at < heads; at++) {
        char key[64];
        uint64_t rungs[8];
        struct checkpoint_head head = head_of(order(at, heads), key, rungs);
        checkpoint_writer_head(writer, &head);
    }
    struct checkpoint_entry entries[] = {
        {MVCC_BUCKET_AUTH, BYTES_LIT("authEnabled"), BYTES_LIT("\1")},
        {MVCC_BUCKET_LEASE, BYTES_LIT("\0\0\0\0\0\0\0\1"), BYTES_LIT("")},
        {MVCC_BUCKET_LEASE, BYTES_LIT("\0\0\0\0\0\0\0\2"), BYTES_LIT("lease")},
    };
    for (unsigned i = 0; i < 3; i++)
        checkpoint_writer_entry(writer, &entries[i]);
    checkpoint_writer_end(writer);
}

static void round_trip(void **state)
{
    const unsigned heads = 3000;
    struct checkpoint_writer writer;
    write_all(&writer, heads);
    struct checkpoint_reader reader;
    assert_true(err_ok(checkpoint_reader_init(&reader, owner, buf_bytes(&writer.out))));
    assert_memory_equal(&reader.info, &info, sizeof(info));
    assert_int_equal(reader.head_count, heads);
    assert_int_equal(reader.entry_count, 3);
    assert_int_equal(reader.greatest_seq, writer.greatest_seq);
    bool found;
    for (int twice = 0; twice < 2; twice++) {
        struct checkpoint_segment segment;
        checkpoint_reader_segments(&reader);
        assert_true(err_ok(checkpoint_reader_segment(&reader, &segment, &found)));
        assert_true(found);
        assert_int_equal(segment.rows, 200);
        assert_int_equal(segment.name.last, 900);
        assert_int_equal(segment.dead.len, 32);
        assert_int_equal(segment.dead.data[0], 8);
        assert_true(err_ok(checkpoint_reader_segment(&reader, &segment, &found)));
        assert_false(found);

        checkpoint_reader_heads(&reader);
        for (unsigned at = 0; at < heads; at++) {
            char key[64];
            uint64_t rungs[8];
            struct checkpoint_head want = head_of(order(at, heads), key, rungs), have;
            assert_true(err_ok(checkpoint_reader_head(&reader, &have, &found)));
            assert_true(found);
            assert_true(bytes_equal(want.key, have.key));
            assert_int_equal(want.seq, have.seq);
            assert_int_equal(want.main, have.main);
            assert_int_equal(want.create, have.create);
            assert_int_equal(want.version, have.version);
            assert_int_equal(want.lease, have.lease);
            assert_int_equal(want.blob_bytes, have.blob_bytes);
            assert_int_equal(want.steps, have.steps);
            assert_int_equal(want.rung_count, have.rung_count);
            for (unsigned r = 0; r < want.rung_count; r++)
                assert_int_equal(want.rungs[r], have.rungs[r]);
        }
        struct checkpoint_head head;
        assert_true(err_ok(checkpoint_reader_head(&reader, &head, &found)));
        assert_false(found);

        checkpoint_reader_entries(&reader);
        struct checkpoint_entry entry;
        unsigned entries = 0;
        while (err_ok(checkpoint_reader_entry(&reader, &entry, &found)) && found)
            entries++;
        assert_int_equal(entries, 3);
    }
    checkpoint_reader_done(&reader);
    checkpoint_writer_done(&writer);
}

/* Blocks as they are, 1 MiB of heads is 1/3 of what the index holds or less. */
static void keys_share_their_prefixes(void **state)
{
    struct checkpoint_writer writer;
    write_all(&writer, 3000);
    assert_true(writer.out.len / 3000 < 40);
    checkpoint_writer_done(&writer);
}

static void every_flipped_bit_and_cut_is_refused(void **state)
{
    struct checkpoint_writer writer;
    write_all(&writer, 40);
    struct checkpoint_reader reader;
    uint8_t *bytes = writer.out.data;
    for (size_t bit = 0; bit < writer.out.len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(
            err_is(checkpoint_reader_init(&reader, owner, buf_bytes(&writer.out)), ERR_CORRUPT));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < writer.out.len; len++)
        assert_true(
            err_is(checkpoint_reader_init(&reader, owner, bytes_of(bytes, len)), ERR_CORRUPT));
    assert_true(err_ok(buf_append(&writer.out, BYTES_LIT("\0"))));
    assert_true(
        err_is(checkpoint_reader_init(&reader, owner, buf_bytes(&writer.out)), ERR_CORRUPT));
    checkpoint_writer_done(&writer);
}

static void another_members_is_refused(void **state)
{
    struct checkpoint_writer writer;
    write_all(&writer, 3);
    struct checkpoint_reader reader;
    struct segment_owner other = {1, 3};
    assert_true(
        err_is(checkpoint_reader_init(&reader, other, buf_bytes(&writer.out)), ERR_MISMATCH));
    checkpoint_writer_done(&writer);
}

static void empty_store_has_one_too(void **state)
{
    struct checkpoint_writer writer;
    checkpoint_writer_init(&writer, owner, &info);
    checkpoint_writer_end(&writer);
    struct checkpoint_reader reader;
    assert_true(err_ok(checkpoint_reader_init(&reader, owner, buf_bytes(&writer.out))));
    checkpoint_reader_heads(&reader);
    struct checkpoint_head head;
    bool found;
    assert_true(err_ok(checkpoint_reader_head(&reader, &head, &found)));
    assert_false(found);
    checkpoint_reader_done(&reader);
    checkpoint_writer_done(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(keys_share_their_prefixes),
        cmocka_unit_test(every_flipped_bit_and_cut_is_refused),
        cmocka_unit_test(another_members_is_refused),
        cmocka_unit_test(empty_store_has_one_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
