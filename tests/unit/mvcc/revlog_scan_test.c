/* Where a log ends: torn at every byte, flipped at every bit. A small segment made by hand:
 * 8 entries of 3 changes, each closed by a frame; the first 4 frames were synced when the 6th was
 * written. */
#include "base/check.h"
#include "mvcc/segment_format.h"
#include "mvcc/segment_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CAPACITY 8192
#define ENTRIES  8
#define PER      3

static const struct segment_owner owner = {11, 22};
static const struct segment_name open_name = {1, SEGMENT_OPEN, 0};

struct made {
    uint8_t bytes[CAPACITY];
    uint64_t frame_end[ENTRIES + 1]; /* of the frame that closes entry n; [0]: the first one */
};

static struct mvcc_record change(uint64_t seq)
{
    static uint8_t blob[64];
    size_t len = 5 + seq % 7;
    memset(blob, (int)seq, sizeof(blob));
    struct mvcc_record record = {.seq = seq,
                                 .main = (int64_t)seq,
                                 .prev = seq / 2,
                                 .kind = seq % 5 ? MVCC_PUT : MVCC_TOMBSTONE,
                                 .blob = bytes_of(blob, len)};
    record.crc = mvcc_record_crc(&record);
    return record;
}

static void put_planned(struct segment_writer *writer, uint8_t *bytes)
{
    struct bytes planned = segment_writer_planned(writer);
    memcpy(bytes + writer->out_offset, planned.data, planned.len);
    segment_writer_written(writer);
}

static void make(struct made *made)
{
    memset(made, 0, sizeof(*made));
    struct segment_writer writer;
    segment_writer_begin(&writer, open_name, owner, 0, 0x1234, bytes_of(made->bytes, CAPACITY));
    struct mvcc_frame frame = {.conf_state = BYTES_LIT("c")};
    assert_true(segment_writer_frame(&writer, &frame));
    put_planned(&writer, made->bytes);
    made->frame_end[0] = writer.out_offset;
    for (uint64_t entry = 1; entry <= ENTRIES; entry++) {
        for (uint64_t i = 0; i < PER; i++) {
            struct mvcc_record record = change(writer.next_seq);
            assert_true(segment_writer_record(&writer, &record));
        }
        frame.seq = entry * PER;
        frame.index = 100 + entry;
        frame.synced = entry >= 6 ? 4 * PER : 0;
        assert_true(segment_writer_frame(&writer, &frame));
        put_planned(&writer, made->bytes);
        made->frame_end[entry] = writer.out_offset;
    }
    segment_free(writer.segment);
    segment_writer_done(&writer);
}

/* Scans; on success checks that the log is a whole prefix of what was made and returns how many
 * entries it has, else -1. */
static int scan(const uint8_t *bytes, uint64_t synced)
{
    struct segment_writer writer;
    struct segment_scan scan;
    struct segment_fault fault;
    err e = segment_writer_scan(&writer, open_name, owner, synced, bytes_of(bytes, CAPACITY),
                                bytes_of(bytes, CAPACITY), &scan, &fault);
    if (!err_ok(e)) {
        assert_true(err_is(e, ERR_CORRUPT) || err_is(e, ERR_MISMATCH));
        return -1;
    }
    assert_true(scan.has_frame);
    int entries = (int)(scan.frame.seq / PER);
    assert_int_equal(scan.frame.seq % PER, 0);
    assert_int_equal(scan.frame.index, entries ? 100 + entries : 0);
    assert_int_equal(segment_row_count(writer.segment), scan.frame.seq);
    for (uint32_t i = 0; i < scan.frame.seq; i++) {
        struct mvcc_record have, want = change(i + 1);
        assert_true(err_ok(segment_record_read(writer.segment, i, &have)));
        assert_int_equal(have.crc, want.crc);
        assert_true(bytes_equal(have.blob, want.blob));
        assert_int_equal(have.prev, want.prev);
    }
    assert_int_equal(writer.next_seq, scan.frame.seq + 1);
    assert_int_equal(writer.out_offset, scan.frame_end);
    segment_free(writer.segment);
    segment_writer_done(&writer);
    return entries;
}

static int entries_before(const struct made *made, uint64_t at)
{
    int entries = -1;
    for (int i = 0; i <= ENTRIES; i++)
        if (made->frame_end[i] <= at)
            entries = i;
    return entries;
}

/* Everything from a byte on is lost: what was never written, or zeros. */
static void torn_at_every_byte(void **state)
{
    struct made made;
    make(&made);
    assert_int_equal(scan(made.bytes, 0), ENTRIES);
    uint8_t *bytes = malloc(CAPACITY);
    for (uint64_t at = 0; at < made.frame_end[ENTRIES]; at++) {
        memcpy(bytes, made.bytes, CAPACITY);
        memset(bytes + at, 0, CAPACITY - at);
        /* Zeros of the frame's own padding are no loss. */
        bool same = memcmp(bytes, made.bytes, CAPACITY) == 0;
        int want = same ? ENTRIES : entries_before(&made, at);
        int have = scan(bytes, 0);
        if (have != want) /* cut within zeros at a frame's end */
            assert_true(have == want + 1 && memcmp(bytes, made.bytes, made.frame_end[have]) == 0);
    }
    free(bytes);
}

/* A hole with good bytes behind it: torn where nothing there says that it was synced, corrupt
 * where a frame does. */
static void a_hole_is_corrupt_where_it_was_synced(void **state)
{
    struct made made;
    make(&made);
    uint8_t *bytes = malloc(CAPACITY);
    for (int entry = 1; entry <= ENTRIES; entry++) {
        for (int fill = 0; fill < 256; fill += 255) {
            memcpy(bytes, made.bytes, CAPACITY);
            memset(bytes + made.frame_end[entry - 1], fill,
                   made.frame_end[entry] - made.frame_end[entry - 1]);
            assert_int_equal(scan(bytes, 0), entry <= 4 ? -1 : entry - 1);
        }
    }
    free(bytes);
}

static void what_is_known_synced_must_be_there(void **state)
{
    struct made made;
    make(&made);
    for (uint64_t synced = 0; synced <= ENTRIES * PER; synced++)
        assert_int_equal(scan(made.bytes, synced), ENTRIES);
    assert_int_equal(scan(made.bytes, ENTRIES * PER + 1), -1);
    /* The last frame is lost, all records are there. */
    made.bytes[made.frame_end[ENTRIES] - 9] ^= 1;
    assert_int_equal(scan(made.bytes, (ENTRIES - 1) * PER), ENTRIES - 1);
    assert_int_equal(scan(made.bytes, (ENTRIES - 1) * PER + 1), -1);
}

/* Each flipped bit is either refused or ends the log before it; never is anything else read. What
 * was counted synced by a later frame is always refused. */
static void every_flipped_bit_is_seen(void **state)
{
    struct made made;
    make(&made);
    for (uint64_t bit = 0; bit < made.frame_end[ENTRIES] * 8; bit++) {
        uint64_t at = bit / 8;
        made.bytes[at] ^= (uint8_t)(1 << bit % 8);
        int have = scan(made.bytes, 0);
        int before = entries_before(&made, at);
        if (at < made.frame_end[4])
            assert_int_equal(have, -1);
        else
            assert_int_equal(have, before);
        made.bytes[at] ^= (uint8_t)(1 << bit % 8);
    }
    /* Behind the end: ignored, to be zeroed. */
    made.bytes[made.frame_end[ENTRIES] + 100] ^= 1;
    assert_int_equal(scan(made.bytes, 0), ENTRIES);
}

/* A value that looks like a frame does not pass for one: it lacks the nonce. */
static void a_forged_frame_in_a_torn_value_is_no_frame(void **state)
{
    struct made made;
    make(&made);
    struct mvcc_frame forged = {
        .seq = 1000, .index = 5, .synced = 1000, .nonce = 0x4321, .conf_state = BYTES_LIT("c")};
    uint64_t at = made.frame_end[ENTRIES] + 64;
    mvcc_frame_encode(&forged, made.bytes + at);
    assert_int_equal(scan(made.bytes, 0), ENTRIES);
    forged.nonce = 0x1234; /* a real one would say that something was lost */
    mvcc_frame_encode(&forged, made.bytes + at);
    assert_int_equal(scan(made.bytes, 0), -1);
}

static void a_misdirected_record_is_seen(void **state)
{
    struct made made;
    make(&made);
    struct segment_writer writer;
    struct segment_scan found;
    struct segment_fault fault;
    assert_true(
        err_ok(segment_writer_scan(&writer, open_name, owner, 0, bytes_of(made.bytes, CAPACITY),
                                   bytes_of(made.bytes, CAPACITY), &found, &fault)));
    /* Records 7 and 14 are of one length: one's bytes in the other's place, all checksums right. */
    const struct segment_row *row7 = segment_row_at(writer.segment, 6);
    const struct segment_row *row14 = segment_row_at(writer.segment, 13);
    assert_int_equal(row7->blob_bytes, row14->blob_bytes);
    memcpy(made.bytes + row7->offset8 * 8u, made.bytes + row14->offset8 * 8u,
           mvcc_record_bytes(row7->blob_bytes));
    struct mvcc_record record;
    assert_true(err_is(segment_record_read(writer.segment, 6, &record), ERR_CORRUPT));
    assert_true(err_ok(segment_record_read(writer.segment, 13, &record)));
    segment_free(writer.segment);
    segment_writer_done(&writer);
    assert_int_equal(scan(made.bytes, 0), -1);
}

/* Sealed, with its rows: every flipped bit of the row file is seen when the file is opened or when
 * the row is used. */
static void every_flipped_bit_of_rows_is_seen(void **state)
{
    struct made made;
    make(&made);
    struct segment_writer writer;
    struct segment_scan found;
    struct segment_fault fault;
    assert_true(
        err_ok(segment_writer_scan(&writer, open_name, owner, 0, bytes_of(made.bytes, CAPACITY),
                                   bytes_of(made.bytes, CAPACITY), &found, &fault)));
    struct segment_name sealed = {1, ENTRIES * PER, 0};
    struct buf rows;
    buf_init(&rows, 0);
    segment_row_file_encode(writer.segment, &sealed, &rows);
    segment_free(writer.segment);
    segment_writer_done(&writer);
    uint8_t *copy = aligned_alloc(64, (rows.len + 63) & ~(size_t)63);
    memcpy(copy, rows.data, rows.len);
    unsigned seen_late = 0;
    for (size_t bit = 0; bit < rows.len * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct segment *segment;
        err e = segment_open_sealed(sealed, owner, bytes_of(made.bytes, CAPACITY),
                                    bytes_of(copy, rows.len), NULL, &segment);
        if (err_ok(e)) {
            assert_true(err_is(segment_row_check_page(segment, 0), ERR_CORRUPT));
            size_t in_rows = bit / 8 - SEGMENT_ROW_HEADER_BYTES;
            if (in_rows < (size_t)ENTRIES * PER * sizeof(struct segment_row)) {
                struct mvcc_record record;
                uint32_t row = (uint32_t)(in_rows / sizeof(struct segment_row));
                assert_true(err_is(segment_record_read(segment, row, &record), ERR_CORRUPT));
            }
            seen_late++;
            segment_free(segment);
        }
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(seen_late, SEGMENT_ROW_PAGE_BYTES * 8);
    free(copy);
    buf_done(&rows);
}

/* Rows that are lost are made again; a sealed segment in which anything is bad is refused. */
static void sealed_segments_are_scanned_strictly(void **state)
{
    struct made made;
    make(&made);
    struct segment_name sealed = {1, ENTRIES * PER, 0};
    for (uint64_t bit = 0; bit <= made.frame_end[ENTRIES] * 8; bit++) {
        bool flip = bit < made.frame_end[ENTRIES] * 8;
        if (flip)
            made.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct segment_writer writer;
        struct segment_scan found;
        struct segment_fault fault;
        struct bytes bytes = bytes_of(made.bytes, made.frame_end[ENTRIES]);
        err e = segment_writer_scan(&writer, sealed, owner, 0, bytes, bytes, &found, &fault);
        assert_true(err_ok(e) == !flip);
        if (err_ok(e)) {
            assert_int_equal(segment_row_count(writer.segment), ENTRIES * PER);
            segment_free(writer.segment);
            segment_writer_done(&writer);
        } else {
            made.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void names_round_trip(void **state)
{
    struct segment_name name = {0x12, 0xabc, 3}, back;
    char text[SEGMENT_NAME_BYTES];
    segment_name_print(&name, ".seg", text);
    assert_string_equal(text, "0000000000000012-0000000000000abc-00000003.seg");
    assert_true(segment_name_parse(text, ".seg", &back));
    assert_true(back.first == name.first && back.last == name.last && back.generation == 3);
    static const char *const bad[] = {
        "",
        "0000000000000012-0000000000000abc-00000003.row",
        "0000000000000012-0000000000000abc-00000003.seg.tmp",
        "0000000000000012-0000000000000abc-3.seg",
        "000000000000001G-0000000000000abc-00000003.seg",
        "0000000000000000-0000000000000abc-00000003.seg",
        "0000000000000abd-0000000000000abc-00000003.seg",
        "0000000000000012-0fffffffffffffff-00000003.seg",
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(segment_name_parse(bad[i], ".seg", &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_at_every_byte),
        cmocka_unit_test(a_hole_is_corrupt_where_it_was_synced),
        cmocka_unit_test(what_is_known_synced_must_be_there),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(a_forged_frame_in_a_torn_value_is_no_frame),
        cmocka_unit_test(a_misdirected_record_is_seen),
        cmocka_unit_test(every_flipped_bit_of_rows_is_seen),
        cmocka_unit_test(sealed_segments_are_scanned_strictly),
        cmocka_unit_test(names_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
