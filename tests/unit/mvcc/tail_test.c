#include "base/check.h"
#include "mvcc/tail.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A record whose blob tells its seq, so that a reader can see a mix-up. */
static struct mvcc_record make(uint64_t seq, uint8_t *blob, size_t len)
{
    memset(blob, (int)(seq % 251), len);
    if (len >= 8)
        bytes_put_le64(blob, seq);
    return (struct mvcc_record){
        .seq = seq, .main = (int64_t)seq, .kind = MVCC_PUT, .blob = bytes_of(blob, len)};
}

static void append_many(struct tail *tail, uint64_t from, uint64_t to, size_t len)
{
    uint8_t *blob = malloc(len + 1);
    for (uint64_t seq = from; seq <= to; seq++) {
        struct mvcc_record record = make(seq, blob, len);
        tail_append(tail, &record);
    }
    free(blob);
}

static void assert_found(const struct tail *tail, uint64_t seq)
{
    const struct mvcc_record *record = tail_find(tail, seq);
    assert_non_null(record);
    assert_int_equal(record->seq, seq);
    if (record->blob.len >= 8)
        assert_int_equal(bytes_get_le64(record->blob.data), seq);
    assert_int_equal(record->crc, mvcc_record_crc(record));
}

static void finds_what_was_appended(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct tail *tail = tail_new(&epoch, 1000, NULL);
    assert_int_equal(tail_first(tail), 1001);
    assert_int_equal(tail_last(tail), 1000);
    assert_null(tail_find(tail, 1000));
    assert_null(tail_find(tail, 1001));
    /* Small, empty and large blobs; more than the first directory holds. */
    append_many(tail, 1001, 30000, 40);
    append_many(tail, 30001, 30010, 0);
    append_many(tail, 30011, 30013, 300000);
    for (uint64_t seq = 1001; seq <= 30013; seq++)
        assert_found(tail, seq);
    assert_null(tail_find(tail, 1000));
    assert_null(tail_find(tail, 30014));
    tail_free(tail);
    epoch_done(&epoch);
}

static void encodes_in_place(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct tail *tail = tail_new(&epoch, 0, NULL);
    for (uint64_t seq = 1; seq <= 5000; seq++) {
        uint8_t *room = tail_blob_reserve(tail, 100);
        struct mvcc_record record = make(seq, room, 60 + seq % 40);
        const struct mvcc_record *stored = tail_append(tail, &record);
        assert_ptr_equal(stored->blob.data, room);
    }
    for (uint64_t seq = 1; seq <= 5000; seq++)
        assert_found(tail, seq);
    tail_free(tail);
    epoch_done(&epoch);
}

static void keeps_written_changes_within_its_bound(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct tail_limits limits = {.keep_bytes = 10000, .max_bytes = 50000};
    struct tail *tail = tail_new(&epoch, 0, &limits);
    append_many(tail, 1, 100, 100);
    size_t all = tail_bytes(tail);
    assert_int_equal(tail_unwritten_bytes(tail), all);
    tail_trim(tail, 0);
    assert_int_equal(tail_first(tail), 1); /* nothing is written yet */
    tail_trim(tail, 50);
    assert_int_equal(tail_unwritten_bytes(tail), all / 2);
    assert_true(tail_bytes(tail) <= 10000);
    uint64_t first = tail_first(tail);
    assert_true(first > 1 && first <= 51);
    assert_null(tail_find(tail, first - 1));
    assert_found(tail, first);
    tail_trim(tail, 100);
    tail_trim(tail, 100);
    assert_int_equal(tail_unwritten_bytes(tail), 0);
    assert_true(tail_bytes(tail) <= 10000 && tail_bytes(tail) > 9000);
    assert_found(tail, 100);
    /* What is kept gives way to what comes. */
    append_many(tail, 101, 170, 100);
    tail_trim(tail, 170);
    assert_true(tail_bytes(tail) <= 10000);
    assert_null(tail_find(tail, 100));
    assert_found(tail, 170);
    tail_free(tail);
    epoch_done(&epoch);
}

static void is_full_at_its_bound_until_written(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct tail_limits limits = {.keep_bytes = 1000, .max_bytes = 50000};
    struct tail *tail = tail_new(&epoch, 0, &limits);
    uint64_t seq = 0;
    while (!tail_is_full(tail)) {
        seq++;
        append_many(tail, seq, seq, 1000);
    }
    assert_true(tail_unwritten_bytes(tail) >= 50000 && tail_unwritten_bytes(tail) < 52000);
    append_many(tail, seq + 1, seq + 1, 100000); /* never refused */
    assert_true(tail_is_full(tail));
    tail_trim(tail, seq);
    assert_true(tail_is_full(tail));
    tail_trim(tail, seq + 1);
    assert_false(tail_is_full(tail));
    tail_free(tail);
    epoch_done(&epoch);
}

/* One writer that appends and trims, two readers under guards: whatever a reader finds is whole
 * and stays so for the guard, and nothing is missing between first and last. */
struct race {
    struct epoch epoch;
    struct tail *tail;
    _Atomic uint64_t shown; /* the newest that readers may ask for */
    _Atomic uint64_t written;
    atomic_bool stop;
    _Atomic uint64_t found;
};

static void *race_read(void *arg)
{
    struct race *race = arg;
    struct epoch_slot *slot = epoch_register(&race->epoch);
    uint64_t x = (uint64_t)(uintptr_t)slot, found = 0;
    while (!atomic_load(&race->stop)) {
        epoch_enter(&race->epoch, slot);
        uint64_t last = atomic_load(&race->shown);
        for (int i = 0; i < 64 && last; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            uint64_t back = (x >> 33) % 4096;
            uint64_t seq = back < last ? last - back : 1;
            const struct mvcc_record *record = tail_find(race->tail, seq);
            if (!record) {
                CHECK(seq <= atomic_load(&race->written));
                continue;
            }
            CHECK(record->seq == seq && bytes_get_le64(record->blob.data) == seq);
            CHECK(record->crc == mvcc_record_crc(record));
            found++;
        }
        epoch_leave(slot);
    }
    atomic_fetch_add(&race->found, found);
    return NULL;
}

static void readers_never_see_a_move(void **state)
{
    static struct race race;
    epoch_init(&race.epoch);
    struct tail_limits limits = {.keep_bytes = 50000};
    race.tail = tail_new(&race.epoch, 0, &limits);
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, race_read, &race), 0);
    uint8_t blob[2000];
    for (uint64_t seq = 1; seq <= 100000; seq++) {
        struct mvcc_record record = make(seq, blob, seq % 97 ? 40 : sizeof(blob));
        tail_append(race.tail, &record);
        atomic_store(&race.shown, seq);
        /* Long stretches without a trim make the directory grow. */
        if (seq % 40000 == 0 || (seq % 40000 < 20000 && seq % 100 == 0)) {
            atomic_store(&race.written, seq);
            tail_trim(race.tail, seq);
            epoch_reclaim(&race.epoch, 100);
        }
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    assert_true(atomic_load(&race.found) > 0);
    tail_free(race.tail);
    epoch_done(&race.epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_appended),
        cmocka_unit_test(encodes_in_place),
        cmocka_unit_test(keeps_written_changes_within_its_bound),
        cmocka_unit_test(is_full_at_its_bound_until_written),
        cmocka_unit_test(readers_never_see_a_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
