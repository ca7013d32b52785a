/* Reading a log back, whole, torn and damaged. */
#include "base/crc.h"
#include "image.h"

#include <stdio.h>

#define ENTRIES 6u
#define LEN     4096u /* of the image that is read: zeros behind the end */

static const char *const texts[ENTRIES + 1] = {
    "", "first", "second, somewhat longer", "", "fourth", "the fifth entry of the log", "sixth"};

/* Six batches of one entry each, in terms 1, 1, 2, 2, 3, 3. */
static void six_batches(struct image *image)
{
    image_init(image);
    for (uint64_t i = 1; i <= ENTRIES; i++)
        image_batch(image, i, (i + 1) / 2, texts[i]);
}

/* What was read is a beginning of what was written, and nothing else. Returns its length. */
static uint64_t assert_is_prefix(const struct image *image, const struct wal_replay *replay)
{
    uint64_t last = wal_places_last_index(&replay->entries);
    assert_int_equal(replay->entries.base_index, 0);
    assert_in_range(last, 0, ENTRIES);
    for (uint64_t i = 1; i <= last; i++) {
        struct wal_place place;
        struct raft_entry entry;
        uint64_t term;
        assert_ok(wal_places_get(&replay->entries, i, &place));
        assert_ok(wal_places_term(&replay->entries, i, &term));
        assert_int_equal(term, (i + 1) / 2);
        assert_ok(wal_entry_at(bytes_of(image->bytes, LEN), place, i, term, &entry));
        assert_true(bytes_equal(entry.data, bytes_str(texts[i])));
        assert_int_equal(entry.type, RAFT_ENTRY_NORMAL);
    }
    assert_true(replay->state.term <= (last + 1) / 2);
    assert_true(replay->state.commit <= last);
    assert_true(bytes_equal(buf_bytes(&replay->metadata),
                            bytes_of(image_metadata, sizeof(image_metadata))));
    return last;
}

static void a_whole_log_reads_back(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    six_batches(&image);
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_int_equal(assert_is_prefix(&image, &replay), ENTRIES);
    assert_int_equal(replay.state.term, 3);
    assert_int_equal(replay.state.vote, 3);
    assert_int_equal(replay.state.commit, 5);
    assert_int_equal(tail.offset, image.plan.offset);
    assert_int_equal(tail.crc, image.plan.crc);
    assert_false(tail.cut);
    wal_replay_done(&replay);
    image_done(&image);
}

/* Every bit of the log in turn. One before the last mark is seen as corruption; one behind it is
 * corruption or leads to a cut that leaves everything before that batch. */
static void each_single_bit_flip_is_detected_or_cut(void **state)
{
    struct image image;
    six_batches(&image);
    unsigned corrupt = 0, cut = 0;
    for (uint64_t bit = 0; bit < image.plan.offset * 8; bit++) {
        uint8_t mask = (uint8_t)(1u << (bit & 7));
        image.bytes[bit / 8] ^= mask;
        struct wal_replay replay;
        struct wal_tail tail;
        err e = image_replay(&image, LEN, &replay, &tail);
        if (bit / 8 < image.last_batch && err_ok(e))
            fail_msg("bit %llu of byte %llu was not seen", (unsigned long long)(bit & 7),
                     (unsigned long long)(bit / 8));
        if (err_ok(e)) {
            assert_true(tail.cut);
            assert_true(tail.offset >= image.last_batch && tail.offset <= bit / 8);
            assert_true(assert_is_prefix(&image, &replay) >= ENTRIES - 1);
            cut++;
        } else {
            assert_err(e, ERR_CORRUPT);
            assert_true(replay.fault.offset <= bit / 8);
            assert_non_null(replay.fault.what);
            corrupt++;
        }
        wal_replay_done(&replay);
        image.bytes[bit / 8] ^= mask;
    }
    assert_int_equal(corrupt, image.last_batch * 8);
    assert_int_equal(cut, (image.plan.offset - image.last_batch) * 8);
    image_done(&image);
}

/* The last batch reached the disk up to some byte: whole records of it may stay. */
static void a_batch_torn_at_each_byte_is_cut(void **state)
{
    struct image image, torn;
    six_batches(&image);
    for (uint64_t at = image.last_batch; at < image.plan.offset; at++) {
        torn = image;
        memset(torn.bytes + at, 0, LEN - at);
        struct wal_replay replay;
        struct wal_tail tail;
        assert_ok(image_replay(&torn, LEN, &replay, &tail));
        assert_true(assert_is_prefix(&torn, &replay) >= ENTRIES - 1);
        assert_true(tail.offset >= image.last_batch && tail.offset <= at + 7); /* pad */
        wal_replay_done(&replay);
    }
    image_done(&image);
}

/* The last batch reached the disk from some byte on, or with a hole: as sectors may. */
static void a_batch_with_a_hole_is_cut(void **state)
{
    struct image image, torn;
    six_batches(&image);
    for (uint64_t at = image.last_batch; at < image.plan.offset; at += 8) {
        for (uint64_t len = 8; at + len <= image.plan.offset; len += 8) {
            torn = image;
            memset(torn.bytes + at, 0, len);
            if (memcmp(torn.bytes, image.bytes, LEN) == 0)
                continue; /* nothing but zeros there anyway */
            struct wal_replay replay;
            struct wal_tail tail;
            assert_ok(image_replay(&torn, LEN, &replay, &tail));
            assert_true(tail.cut || at + len == image.plan.offset);
            assert_true(assert_is_prefix(&torn, &replay) >= ENTRIES - 1);
            wal_replay_done(&replay);
        }
    }
    image_done(&image);
}

/* Synced bytes that vanish are never taken for a torn tail. */
static void a_hole_before_a_mark_is_corruption(void **state)
{
    struct image image, torn;
    six_batches(&image);
    for (uint64_t at = 0; at + 8 <= image.last_batch; at += 8) {
        torn = image;
        memset(torn.bytes + at, 0, 8);
        if (memcmp(torn.bytes, image.bytes, LEN) == 0)
            continue; /* those eight were zero anyway */
        struct wal_replay replay;
        struct wal_tail tail;
        assert_err(image_replay(&torn, LEN, &replay, &tail), ERR_CORRUPT);
        assert_true(replay.fault.offset <= at);
        wal_replay_done(&replay);
    }
    image_done(&image);
}

static void an_idle_mark_protects_the_last_batch(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    six_batches(&image);
    uint64_t batch = image.last_batch;
    image_mark(&image);
    image_flush(&image, true);
    image.bytes[batch + 40] ^= 4;
    assert_err(image_replay(&image, LEN, &replay, &tail), ERR_CORRUPT);
    assert_int_equal(replay.fault.index, ENTRIES - 1);
    wal_replay_done(&replay);
    image_done(&image);
}

static void no_mark_follows_what_was_not_synced(void **state)
{
    struct image image;
    image_init(&image);
    image_mark(&image);
    image_state(&image, 1, 1, 0);
    image_flush(&image, false);
    uint64_t before = image.plan.offset;
    wal_plan_mark(&image.plan);
    assert_int_equal(image.plan.bytes, 0);
    wal_plan_written(&image.plan, true);
    wal_plan_mark(&image.plan);
    assert_int_equal(image.plan.bytes, WAL_MARK_BYTES);
    image_flush(&image, true);
    wal_plan_mark(&image.plan); /* one is enough */
    assert_int_equal(image.plan.bytes, 0);
    assert_int_equal(image.plan.offset, before + WAL_MARK_BYTES);
    image_done(&image);
}

/* ---- logs without marks: etcd's
 * ------------------------------------------------------------------ */

static void unmarked(struct image *image)
{
    static const char big[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    image_init(image);
    for (uint64_t i = 1; i <= 12; i++) {
        image->last_batch = image->plan.offset + image->plan.bytes;
        image_entry(image, i, 1, big);
    }
    image_state(image, 1, 1, 3);
    image_flush(image, true);
}

static void without_marks_a_missing_sector_means_torn(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    unmarked(&image);
    uint64_t sector = 1024;
    memset(image.bytes + sector, 0, 512);
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_true(tail.cut);
    assert_true(tail.offset <= sector);
    assert_true(wal_places_last_index(&replay.entries) < 12);
    assert_int_equal(replay.state.term, 0);
    wal_replay_done(&replay);
    image_done(&image);
}

static void without_marks_anything_else_is_corruption(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    unmarked(&image);
    image.bytes[image.last_batch + 60] ^= 1;
    assert_err(image_replay(&image, LEN, &replay, &tail), ERR_CORRUPT);
    assert_int_equal(replay.fault.offset, image.last_batch);
    assert_int_equal(replay.fault.index, 11);
    wal_replay_done(&replay);
    image_done(&image);
}

static void without_marks_a_record_past_the_end_means_torn(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    unmarked(&image);
    assert_ok(image_replay(&image, (size_t)image.last_batch + 50, &replay, &tail));
    assert_int_equal(tail.offset, image.last_batch);
    assert_int_equal(wal_places_last_index(&replay.entries), 11);
    wal_replay_done(&replay);
    image_done(&image);
}

/* ---- what records mean
 * ------------------------------------------------------------------------------- */

static void an_entry_replaces_everything_from_its_index_on(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    image_init(&image);
    for (uint64_t i = 1; i <= 5; i++)
        image_batch(&image, i, 1, "old");
    image_mark(&image);
    image_entry(&image, 3, 2, "new");
    image_state(&image, 2, 3, 4);
    image_flush(&image, true);
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_int_equal(wal_places_last_index(&replay.entries), 3);
    assert_int_equal(wal_places_last_term(&replay.entries), 2);
    wal_replay_done(&replay);
    image_done(&image);
}

static void a_gap_is_corruption(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    image_init(&image);
    image_batch(&image, 1, 1, "one");
    image_batch(&image, 3, 1, "three");
    image_mark(&image);
    image_flush(&image, true);
    assert_err(image_replay(&image, LEN, &replay, &tail), ERR_CORRUPT);
    assert_int_equal(replay.fault.index, 1);
    wal_replay_done(&replay);
    image_done(&image);
}

static void a_contained_snapshot_leaves_the_entries(void **state)
{
    struct image image;
    struct wal_replay replay;
    struct wal_tail tail;
    static const uint8_t conf[] = {0x08, 0x03, 0x28, 0x00};
    image_init(&image);
    for (uint64_t i = 1; i <= 5; i++)
        image_batch(&image, i, 1, "x");
    image_mark(&image);
    assert_ok(
        wal_plan_snapshot(&image.plan, &(struct wal_snapshot){4, 1, bytes_of(conf, sizeof(conf))}));
    image_flush(&image, true);
    /* not yet committed as far as the log knows: does not count */
    image_mark(&image);
    assert_ok(
        wal_plan_snapshot(&image.plan, &(struct wal_snapshot){5, 1, bytes_of(conf, sizeof(conf))}));
    image_flush(&image, true);
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_int_equal(replay.entries.base_index, 0);
    assert_int_equal(wal_places_last_index(&replay.entries), 5);
    assert_int_equal(wal_replay_snapshot(&replay).index, 4);
    assert_true(bytes_equal(wal_replay_snapshot(&replay).conf_state, bytes_of(conf, sizeof(conf))));
    wal_replay_done(&replay);
    image_done(&image);
}

/* An install is one batch: torn between record and state it never happened. */
static void an_install_counts_whole_or_not_at_all(void **state)
{
    static const uint8_t conf[] = {0x08, 0x03, 0x28, 0x00};
    struct image image;
    image_init(&image);
    image_batch(&image, 1, 1, "x");
    image_batch(&image, 2, 1, "x");
    image_mark(&image);
    assert_ok(wal_plan_snapshot(&image.plan,
                                &(struct wal_snapshot){50, 4, bytes_of(conf, sizeof(conf))}));
    uint64_t between = image.plan.offset + image.plan.bytes;
    image_state(&image, 4, 3, 50);
    image_flush(&image, true);

    struct wal_replay replay;
    struct wal_tail tail;
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_int_equal(replay.entries.base_index, 50);
    assert_int_equal(replay.entries.base_term, 4);
    assert_int_equal(wal_places_last_index(&replay.entries), 50);
    assert_int_equal(wal_replay_snapshot(&replay).index, 50);
    wal_replay_done(&replay);

    memset(image.bytes + between, 0, LEN - between);
    assert_ok(image_replay(&image, LEN, &replay, &tail));
    assert_int_equal(replay.entries.base_index, 0);
    assert_int_equal(wal_places_last_index(&replay.entries), 2);
    assert_int_equal(wal_replay_snapshot(&replay).index, 0);
    wal_replay_done(&replay);
    image_done(&image);
}

/* ---- several segments
 * ----------------------------------------------------------------------------------- */

/* Cuts after entry 3; entries 4 and 5 lie in the second segment. */
static void two_segments(struct image *first, struct image *second)
{
    image_init(first);
    for (uint64_t i = 1; i <= 3; i++)
        image_batch(first, i, 1, "x");
    *second = (struct image){.name = {1, 4}};
    second->plan = first->plan;
    first->plan = (struct wal_plan){.offset = first->plan.offset};
    wal_plan_open(&second->plan, 1);
    image_flush(second, true);
    for (uint64_t i = 4; i <= 5; i++)
        image_batch(second, i, 2, "y");
}

static err two_replay(const struct image *first, const struct image *second,
                      struct wal_replay *replay, struct wal_tail *ret_tail)
{
    wal_replay_init(replay);
    TRY(wal_replay_segment(replay, first->name, bytes_of(first->bytes, first->plan.offset), false,
                           NULL));
    return wal_replay_segment(replay, second->name, bytes_of(second->bytes, LEN), true, ret_tail);
}

static void segments_continue_each_other(void **state)
{
    struct image first, second;
    struct wal_replay replay;
    struct wal_tail tail;
    two_segments(&first, &second);
    assert_ok(two_replay(&first, &second, &replay, &tail));
    assert_int_equal(wal_places_last_index(&replay.entries), 5);
    assert_int_equal(replay.state.commit, 4);
    wal_replay_done(&replay);

    /* The second alone: its first entry stands for what was released. */
    wal_replay_init(&replay);
    assert_ok(wal_replay_segment(&replay, second.name, bytes_of(second.bytes, LEN), true, &tail));
    assert_int_equal(replay.entries.base_index, 4);
    assert_int_equal(replay.entries.base_term, 2);
    assert_int_equal(wal_places_last_index(&replay.entries), 5);
    assert_int_equal(replay.state.term, 2);
    wal_replay_done(&replay);
    image_done(&second);
}

static void damage_in_a_closed_segment_is_corruption(void **state)
{
    struct image first, second;
    struct wal_replay replay;
    struct wal_tail tail;
    two_segments(&first, &second);
    for (uint64_t at = 0; at < first.plan.offset; at++) {
        first.bytes[at] ^= 0x10;
        assert_err(two_replay(&first, &second, &replay, &tail), ERR_CORRUPT);
        wal_replay_done(&replay);
        first.bytes[at] ^= 0x10;
    }
    /* A closed segment that lost its end is missed by the next one's checksum. */
    uint64_t end = first.plan.offset;
    first.plan.offset = first.last_batch;
    assert_err(two_replay(&first, &second, &replay, &tail), ERR_CORRUPT);
    wal_replay_done(&replay);
    first.plan.offset = end;
    image_done(&second);
}

static void foreign_metadata_is_corruption(void **state)
{
    struct image first, second;
    struct wal_replay replay;
    struct wal_tail tail;
    static const uint8_t other[] = {0x08, 0x09, 0x10, 0x02};
    two_segments(&first, &second);
    memset(second.bytes, 0, sizeof(second.bytes));
    second.plan.metadata = bytes_of(other, sizeof(other));
    second.plan.bytes = 0;
    wal_plan_open(&second.plan, 1);
    image_flush(&second, true);
    assert_err(two_replay(&first, &second, &replay, &tail), ERR_CORRUPT);
    wal_replay_done(&replay);
    image_done(&second);
}

static void segments_before_a_gap_are_left_out(void **state)
{
    const struct wal_name names[] = {{3, 10}, {4, 20}, {6, 30}, {7, 50}};
    assert_int_equal(wal_names_run(names, 2), 0);
    assert_int_equal(wal_names_run(names, 4), 2);
    assert_int_equal(wal_names_run(names, 1), 0);
    assert_int_equal(wal_names_run(names, 0), 0);
}

static void names_are_etcds(void **state)
{
    char text[WAL_NAME_BYTES];
    struct wal_name name = {0};
    wal_name_format((struct wal_name){0xab, 0x1234567890}, text);
    assert_string_equal(text, "00000000000000ab-0000001234567890.wal");
    assert_true(wal_name_parse(text, &name));
    assert_int_equal(name.sequence, 0xab);
    assert_int_equal(name.first_index, 0x1234567890);
    assert_false(wal_name_parse("00000000000000ab-0000001234567890.wal.broken", &name));
    assert_false(wal_name_parse("00000000000000AB-0000001234567890.wal", &name));
    assert_false(wal_name_parse("0.tmp", &name));
    assert_false(wal_name_parse("", &name));
}

static void a_new_logs_bytes_are_etcds(void **state)
{
    struct image image;
    image_init(&image);
    image_entry(&image, 1, 1, "a");
    image_state(&image, 1, 2, 0);
    image_flush(&image, true);
    static const uint8_t head[] = {/* crc 0 */
                                   4, 0, 0, 0, 0, 0, 0, 0x84, 0x08, 0x04, 0x10, 0x00, 0, 0, 0, 0};
    assert_memory_equal(image.bytes, head, sizeof(head));
    const uint8_t *p = image.bytes + 16;
    /* metadata: 4 bytes of data, five of crc: 2 + 6 + 6 = 14, pad 2 */
    uint32_t crc = crc32c(0, bytes_of(image_metadata, 4));
    assert_int_equal(p[8], 0x08);
    assert_int_equal(p[9], 1);
    assert_int_equal(p[10], 0x10);
    struct wal_record record;
    assert_ok(wal_record_parse(bytes_of(p, 100), &record));
    assert_int_equal(record.crc, crc);
    p += record.frame_bytes;
    assert_ok(wal_record_parse(bytes_of(p, 100), &record));
    static const uint8_t snapshot[] = {0x08, 0, 0x10, 0};
    assert_true(bytes_equal(record.data, bytes_of(snapshot, 4)));
    assert_int_equal(record.type, WAL_SNAPSHOT);
    p += record.frame_bytes;
    assert_ok(wal_record_parse(bytes_of(p, 100), &record));
    static const uint8_t entry[] = {0x08, 0, 0x10, 1, 0x18, 1, 0x22, 1, 'a'};
    assert_true(bytes_equal(record.data, bytes_of(entry, sizeof(entry))));
    p += record.frame_bytes;
    assert_ok(wal_record_parse(bytes_of(p, 100), &record));
    static const uint8_t hard_state[] = {0x08, 1, 0x10, 2, 0x18, 0};
    assert_true(bytes_equal(record.data, bytes_of(hard_state, sizeof(hard_state))));
    assert_int_equal(record.type, WAL_STATE);
    image_done(&image);
}

static void places_follow_truncation_and_release(void **state)
{
    struct wal_places places;
    struct wal_place place = {0};
    uint64_t term;
    wal_places_init(&places, 10, 2);
    assert_err(wal_places_put(&places, 10, 2, place), ERR_CORRUPT);
    assert_err(wal_places_put(&places, 12, 2, place), ERR_CORRUPT);
    for (uint64_t i = 11; i <= 5000; i++)
        assert_ok(wal_places_put(&places, i, 2 + i / 1000,
                                 (struct wal_place){(uint32_t)i, (uint32_t)(i * 8), 0}));
    assert_ok(wal_places_put(&places, 4500, 9, place));
    assert_int_equal(wal_places_last_index(&places), 4500);
    assert_int_equal(wal_places_last_term(&places), 9);
    for (uint64_t i = 11; i < 4500; i++) {
        assert_ok(wal_places_term(&places, i, &term));
        assert_int_equal(term, 2 + i / 1000);
    }
    wal_places_release(&places, 3000);
    assert_int_equal(places.base_index, 3000);
    assert_int_equal(places.base_term, 5);
    assert_err(wal_places_term(&places, 2999, &term), ERR_COMPACTED_LOG);
    assert_ok(wal_places_term(&places, 3000, &term));
    assert_err(wal_places_get(&places, 3000, &place), ERR_COMPACTED_LOG);
    assert_ok(wal_places_get(&places, 3001, &place));
    assert_int_equal(place.segment, 3001);
    assert_err(wal_places_get(&places, 4501, &place), ERR_NOT_FOUND);
    wal_places_release(&places, 4500);
    assert_int_equal(wal_places_last_index(&places), 4500);
    assert_int_equal(wal_places_last_term(&places), 9);
    assert_ok(wal_places_put(&places, 4501, 10, place));
    assert_ok(wal_places_term(&places, 4501, &term));
    assert_int_equal(term, 10);
    wal_places_done(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_reads_back),
        cmocka_unit_test(each_single_bit_flip_is_detected_or_cut),
        cmocka_unit_test(a_batch_torn_at_each_byte_is_cut),
        cmocka_unit_test(a_batch_with_a_hole_is_cut),
        cmocka_unit_test(a_hole_before_a_mark_is_corruption),
        cmocka_unit_test(an_idle_mark_protects_the_last_batch),
        cmocka_unit_test(no_mark_follows_what_was_not_synced),
        cmocka_unit_test(without_marks_a_missing_sector_means_torn),
        cmocka_unit_test(without_marks_anything_else_is_corruption),
        cmocka_unit_test(without_marks_a_record_past_the_end_means_torn),
        cmocka_unit_test(an_entry_replaces_everything_from_its_index_on),
        cmocka_unit_test(a_gap_is_corruption),
        cmocka_unit_test(a_contained_snapshot_leaves_the_entries),
        cmocka_unit_test(an_install_counts_whole_or_not_at_all),
        cmocka_unit_test(segments_continue_each_other),
        cmocka_unit_test(damage_in_a_closed_segment_is_corruption),
        cmocka_unit_test(foreign_metadata_is_corruption),
        cmocka_unit_test(segments_before_a_gap_are_left_out),
        cmocka_unit_test(names_are_etcds),
        cmocka_unit_test(a_new_logs_bytes_are_etcds),
        cmocka_unit_test(places_follow_truncation_and_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
