#include "revlog_fixture.h"

#define CHANGES 2000

static void same(const struct mvcc_record *a, const struct mvcc_record *b)
{
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->prev, b->prev);
    assert_int_equal(a->main, b->main);
    assert_int_equal(a->sub, b->sub);
    assert_int_equal(a->crc, b->crc);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->bucket, b->bucket);
    assert_int_equal(a->birth, b->birth);
    assert_int_equal(a->bucket_key_bytes, b->bucket_key_bytes);
    assert_true(bytes_equal(a->blob, b->blob));
}

static void record_round_trip(void **state)
{
    uint8_t out[128];
    struct mvcc_record record = {.seq = 77,
                                 .prev = 12,
                                 .main = 9,
                                 .sub = 3,
                                 .kind = MVCC_TOMBSTONE,
                                 .blob = BYTES_LIT("\x0a\x03"
                                                   "abc")};
    record.crc = mvcc_record_crc(&record);
    size_t bytes = mvcc_record_bytes(record.blob.len);
    mvcc_record_encode(&record, out);
    struct mvcc_record back;
    assert_true(err_ok(mvcc_record_decode(bytes_of(out, bytes), &back)));
    same(&record, &back);
    struct bytes key;
    assert_true(err_ok(mvcc_record_key(&back, &key)));
    assert_true(bytes_equal(key, BYTES_LIT("abc")));
    /* The right one only, though all checksums are right. */
    assert_true(err_ok(mvcc_record_decode_seq(bytes_of(out, bytes), 77, &back)));
    assert_true(err_is(mvcc_record_decode_seq(bytes_of(out, bytes), 78, &back), ERR_CORRUPT));
    for (size_t n = 1; n < bytes; n++)
        assert_true(err_is(mvcc_record_decode(bytes_of(out, n), &back), ERR_TORN));
    assert_true(err_is(mvcc_record_decode(BYTES_NONE, &back), ERR_NOT_FOUND));
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        err e = mvcc_record_decode(bytes_of(out, bytes), &back);
        assert_true(err_is(e, ERR_CORRUPT) || err_is(e, ERR_TORN));
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static uint64_t seq_of_revision(const struct revlog *log, int64_t revision, uint64_t max_seq)
{
    uint64_t seq;
    assert_true(err_ok(revlog_find_revision(log, revision, max_seq, &seq, NULL)));
    return seq;
}

/* The empty store's hash and the way a tombstone's key is told from a put's are etcd's. */
static void checksum_covers_what_etcd_hashes(void **state)
{
    struct mvcc_record put = {
        .seq = 1, .main = 0x0102030405060708, .sub = 9, .kind = MVCC_PUT, .blob = BYTES_LIT("v")};
    const uint8_t seen[] = {1, 2, 3, 4, 5, 6, 7, 8, '_', 0, 0, 0, 0, 0, 0, 0, 9, 'v'};
    assert_int_equal(mvcc_record_crc_bytes(MVCC_PUT, 1), sizeof(seen));
    struct mvcc_record whole = {.kind = MVCC_BUCKET_PUT, .blob = bytes_of(seen, sizeof(seen))};
    assert_int_equal(mvcc_record_crc(&put), mvcc_record_crc(&whole));
    put.kind = MVCC_TOMBSTONE;
    assert_int_equal(mvcc_record_crc_bytes(MVCC_TOMBSTONE, 1), sizeof(seen) + 1);
    assert_int_not_equal(mvcc_record_crc(&put), mvcc_record_crc(&whole));
}

/* The same log read from the tail alone, from segments alone, and from both. */
static void reads_the_same_wherever_it_lies(void **state)
{
    struct fixture all, some, none;
    fixture_init(&all, 4096);
    fixture_init(&some, 4096);
    fixture_init(&none, 4096);
    for (int i = 0; i < CHANGES; i++) {
        fixture_change(&all);
        fixture_change(&some);
        fixture_change(&none);
        struct mvcc_frame frame = fixture_frame(&all);
        if (i % 7 == 0)
            revlog_memory_flush(all.memory, &frame);
        if (i == CHANGES / 2)
            revlog_memory_flush(some.memory, &frame);
    }
    struct mvcc_frame frame = fixture_frame(&all);
    revlog_memory_flush(all.memory, &frame);
    assert_true(revlog_table(all.log)->count > 10);
    assert_int_equal(revlog_table(none.log)->count, 0);
    assert_int_equal(revlog_written_seq(all.log), CHANGES);
    assert_int_equal(revlog_last_seq(none.log), CHANGES);
    for (uint64_t seq = 1; seq <= CHANGES; seq++) {
        struct mvcc_record a, b, c;
        assert_true(err_ok(revlog_read(all.log, seq, &a, NULL)));
        assert_true(err_ok(revlog_read(some.log, seq, &b, NULL)));
        assert_true(err_ok(revlog_read(none.log, seq, &c, NULL)));
        same(&a, &b);
        same(&a, &c);
    }
    struct mvcc_record record;
    assert_true(err_is(revlog_read(all.log, CHANGES + 1, &record, NULL), ERR_NOT_FOUND));
    assert_true(err_is(revlog_read(all.log, 0, &record, NULL), ERR_NOT_FOUND));
    /* fixture: main is seq + 1 */
    for (int64_t revision = 0; revision <= CHANGES + 3; revision++) {
        uint64_t want = revision < 2 ? 0 : revision > CHANGES ? CHANGES : (uint64_t)revision - 1;
        assert_int_equal(seq_of_revision(all.log, revision, UINT64_MAX), want);
        assert_int_equal(seq_of_revision(some.log, revision, UINT64_MAX), want);
        assert_int_equal(seq_of_revision(none.log, revision, UINT64_MAX), want);
        uint64_t bound = want < 700 ? want : 700;
        assert_int_equal(seq_of_revision(some.log, revision, 700), bound);
        assert_int_equal(seq_of_revision(none.log, revision, 700), bound);
    }
    fixture_done(&all);
    fixture_done(&some);
    fixture_done(&none);
}

/* Many changes of one revision, and gaps as a restore with a raised revision leaves them. */
static void revisions_are_found_however_they_are_spread(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, 1 << 20);
    int64_t mains[CHANGES + 1] = {0};
    for (uint64_t i = 1; i <= CHANGES; i++) {
        uint64_t kind = prng_below(&fixture.prng, 100);
        fixture.main += kind < 40 ? -1 : kind < 95 ? 0 : kind < 99 ? 50 : 1000000000;
        fixture_change(&fixture);
        mains[i] = fixture.main;
    }
    struct mvcc_frame frame = fixture_frame(&fixture);
    revlog_memory_flush(fixture.memory, &frame);
    assert_int_equal(revlog_table(fixture.log)->count, 1);
    for (uint64_t i = 1; i <= CHANGES; i++) {
        for (int64_t by = -1; by <= 1; by++) {
            uint64_t want = by < 0 ? i - 1 : i;
            while (by < 0 && want && mains[want] >= mains[i])
                want--;
            while (by >= 0 && want < CHANGES && mains[want + 1] <= mains[i] + by)
                want++;
            assert_int_equal(seq_of_revision(fixture.log, mains[i] + by, UINT64_MAX), want);
        }
    }
    assert_int_equal(seq_of_revision(fixture.log, INT64_MAX, UINT64_MAX), CHANGES);
    assert_int_equal(seq_of_revision(fixture.log, INT64_MIN, UINT64_MAX), 0);
    fixture_done(&fixture);
}

static void rows_run_over_segments_and_tail(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, 4096);
    for (int i = 0; i < CHANGES; i++) {
        fixture_change(&fixture);
        struct mvcc_frame frame = fixture_frame(&fixture);
        if (i == CHANGES / 2)
            revlog_memory_flush(fixture.memory, &frame);
    }
    for (uint64_t from = 0; from < CHANGES; from += 331) {
        struct revlog_rows rows;
        revlog_rows_begin(&rows, fixture.log, from, CHANGES - 3);
        for (uint64_t want = from ? from : 1;; want++) {
            struct revlog_row row, single;
            bool found;
            assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
            assert_true(found == (want <= CHANGES - 3));
            if (!found)
                break;
            struct mvcc_record record;
            assert_true(err_ok(revlog_read(fixture.log, want, &record, NULL)));
            assert_true(err_ok(revlog_row(fixture.log, want, &single, NULL)));
            assert_int_equal(row.seq, want);
            assert_int_equal(row.prev, record.prev);
            assert_int_equal(row.main, record.main);
            assert_int_equal(row.crc, record.crc);
            assert_int_equal(row.blob_bytes, record.blob.len);
            assert_int_equal(row.kind, record.kind);
            assert_int_equal(row.bucket, record.bucket);
            assert_int_equal(row.birth, record.birth);
            assert_int_equal(row.death, record.kind == MVCC_TOMBSTONE);
            assert_int_equal(single.seq, want);
            assert_int_equal(single.crc, row.crc);
            assert_int_equal(single.dead, row.dead);
        }
    }
    fixture_done(&fixture);
}

/* A flush that overtakes a reader between two rows loses none. */
static void rows_go_on_when_the_tail_is_trimmed(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, 4096);
    struct epoch_slot *slot = epoch_register(&fixture.epoch);
    for (int i = 0; i < 500; i++)
        fixture_change(&fixture);
    epoch_enter(&fixture.epoch, slot);
    struct revlog_rows rows;
    revlog_rows_begin(&rows, fixture.log, 1, UINT64_MAX);
    for (uint64_t want = 1; want <= 500; want++) {
        struct revlog_row row;
        bool found;
        assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
        assert_true(found);
        assert_int_equal(row.seq, want);
        if (want == 200) {
            struct mvcc_frame frame = fixture_frame(&fixture);
            revlog_memory_flush(fixture.memory, &frame);
            assert_null(tail_find(fixture.tail, 201));
        }
    }
    epoch_leave(slot);
    fixture_done(&fixture);
}

static void sizes_count_what_is_not_dead(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, 4096);
    struct revlog_sizes sizes;
    revlog_sizes(fixture.log, &sizes);
    assert_true(sizes.size_bytes > 0);
    assert_int_equal(sizes.in_use_bytes, 0);
    for (int i = 0; i < 400; i++)
        fixture_change(&fixture);
    struct mvcc_frame frame = fixture_frame(&fixture);
    revlog_memory_flush(fixture.memory, &frame);
    struct revlog_sizes before, after;
    revlog_sizes(fixture.log, &before);
    assert_true(before.in_use_bytes > 0 && before.in_use_bytes < before.size_bytes);
    uint64_t dead_bytes = 0;
    for (uint64_t seq = 1; seq <= 400; seq += 2) {
        struct revlog_row row;
        assert_true(err_ok(revlog_row(fixture.log, seq, &row, NULL)));
        assert_false(row.dead);
        assert_true(revlog_mark_dead(fixture.log, seq));
        assert_false(revlog_mark_dead(fixture.log, seq));
        assert_true(revlog_is_dead(fixture.log, seq));
        dead_bytes += mvcc_record_bytes(row.blob_bytes);
    }
    revlog_sizes(fixture.log, &after);
    assert_int_equal(after.in_use_bytes, before.in_use_bytes - dead_bytes);
    assert_int_equal(after.size_bytes, before.size_bytes);
    /* Dead bits go with the segment when it is sealed, and what they mark goes when it is cleaned.
     */
    assert_true(revlog_memory_seal(fixture.memory));
    revlog_sizes(fixture.log, &before);
    assert_int_equal(after.in_use_bytes, before.in_use_bytes);
    assert_true(revlog_memory_clean(fixture.memory));
    assert_int_equal(revlog_table(fixture.log)->count, 1);
    revlog_sizes(fixture.log, &after);
    assert_int_equal(after.in_use_bytes, before.in_use_bytes);
    assert_true(after.size_bytes < before.size_bytes - dead_bytes);
    for (uint64_t seq = 1; seq <= 400; seq++) {
        struct mvcc_record record;
        err e = revlog_read(fixture.log, seq, &record, NULL);
        assert_true(seq % 2 ? err_is(e, ERR_NOT_FOUND) : err_ok(e));
        assert_int_equal(seq_of_revision(fixture.log, (int64_t)seq + 1, UINT64_MAX), seq / 2 * 2);
    }
    fixture_done(&fixture);
}

/* Forgets which pages were found right. */
static void pages_unchecked(const struct segment_table *table)
{
    for (unsigned i = 0; i < table->count; i++)
        if (table->segments[i]->rows)
            table->segments[i]->pages_checked[0] = 0; /* they have fewer than 64 */
}

static void right_or_corrupt(const struct revlog *log, int64_t revision, bool *corrupt)
{
    struct revlog_rows rows;
    struct revlog_row row;
    bool found;
    uint64_t seq, want = (uint64_t)revision - 1;
    pages_unchecked(revlog_table(log));
    err e = revlog_find_revision(log, revision, UINT64_MAX, &seq, NULL);
    *corrupt |= err_is(e, ERR_CORRUPT);
    if (err_ok(e))
        assert_int_equal(seq, want);
    pages_unchecked(revlog_table(log));
    revlog_rows_begin(&rows, log, want, want + 1);
    e = revlog_rows_next(&rows, &row, &found, NULL);
    *corrupt |= err_is(e, ERR_CORRUPT);
    if (err_ok(e)) {
        assert_true(found);
        assert_int_equal(row.seq, want);
    }
    pages_unchecked(revlog_table(log));
    e = revlog_row(log, want, &row, NULL);
    *corrupt |= err_is(e, ERR_CORRUPT);
    assert_true(err_ok(e) ? row.seq == want : err_is(e, ERR_CORRUPT));
}

/* Whichever bit of whichever row is flipped: a search ends where it should, or says so. */
static void no_flipped_bit_of_a_row_misleads_a_search(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, 32 << 10);
    for (int i = 0; i < 900; i++)
        fixture_change(&fixture);
    struct mvcc_frame frame = fixture_frame(&fixture);
    revlog_memory_flush(fixture.memory, &frame);
    assert_true(revlog_memory_seal(fixture.memory));
    tail_trim(fixture.tail, fixture.seq);
    const struct segment_table *table = revlog_table(fixture.log);
    assert_in_range(table->count, 2, 10);
    unsigned seen = 0;
    for (unsigned at = 0; at < table->count; at++) {
        const struct segment *segment = table->segments[at];
        uint32_t count = segment_row_count(segment);
        for (uint32_t row = 0; row < count; row += row % 128 == 126 || row % 128 == 127 ? 1 : 3) {
            uint8_t *bytes = (uint8_t *)(uintptr_t)segment_row_at(segment, row);
            int64_t main = segment_row_at(segment, row)->main;
            for (unsigned bit = 0; bit < 8 * sizeof(struct segment_row); bit++) {
                bool corrupt = false;
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                for (int64_t revision = 2; revision < 900; revision += 211)
                    right_or_corrupt(fixture.log, revision, &corrupt);
                right_or_corrupt(fixture.log, main, &corrupt);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                seen += corrupt;
            }
        }
    }
    assert_true(seen > 10000);
    fixture_done(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_round_trip),
        cmocka_unit_test(checksum_covers_what_etcd_hashes),
        cmocka_unit_test(reads_the_same_wherever_it_lies),
        cmocka_unit_test(revisions_are_found_however_they_are_spread),
        cmocka_unit_test(rows_run_over_segments_and_tail),
        cmocka_unit_test(rows_go_on_when_the_tail_is_trimmed),
        cmocka_unit_test(sizes_count_what_is_not_dead),
        cmocka_unit_test(no_flipped_bit_of_a_row_misleads_a_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
