/* The store thread, the core and two readers at once: for the thread sanitizer, and to show that a
 * reader under a guard always finds every change that is not dead, wherever it lies by then. */
#include "store_fixture.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>

#define CHANGES 30000

struct race {
    struct fixture *fixture;
    _Atomic uint64_t shown;
    _Atomic uint64_t floor;
    atomic_bool stop;
    _Atomic uint64_t reads;
};

static void *race_read(void *arg)
{
    struct race *race = arg;
    struct fixture *fixture = race->fixture;
    struct epoch_slot *slot = epoch_register(&fixture->epoch);
    struct prng prng;
    prng_init(&prng, (uint64_t)(uintptr_t)slot);
    uint64_t reads = 0;
    while (!atomic_load(&race->stop)) {
        uint64_t floor = atomic_load(&race->floor);
        epoch_enter(&fixture->epoch, slot);
        uint64_t shown = atomic_load(&race->shown);
        for (int i = 0; i < 32 && shown; i++) {
            uint64_t seq = 1 + prng_below(&prng, shown);
            struct mvcc_record record;
            err e = revlog_read(fixture->log, seq, &record, NULL);
            if (err_ok(e))
                CHECK(record.seq == seq && record.main == model_main(seq));
            else /* dead at the floor, which has moved on at most since it was looked at */
                CHECK(err_is(e, ERR_NOT_FOUND) && seq <= atomic_load(&race->floor));
            reads++;
        }
        struct revlog_rows rows;
        uint64_t from = floor + 1, seen = from;
        revlog_rows_begin(&rows, fixture->log, from, shown < from + 200 ? shown : from + 200);
        for (;;) {
            struct revlog_row row;
            bool found;
            CHECK(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
            if (!found)
                break;
            CHECK(row.seq >= seen);
            /* None is left out above the floor. */
            CHECK(row.seq == seen || seen <= atomic_load(&race->floor));
            seen = row.seq + 1;
        }
        uint64_t at = 1 + prng_below(&prng, shown + 1);
        uint64_t found;
        CHECK(err_ok(revlog_find_revision(fixture->log, model_main(at), UINT64_MAX, &found, NULL)));
        CHECK(found <= at);
        epoch_leave(slot);
    }
    atomic_fetch_add(&race->reads, reads);
    return NULL;
}

static void settle_and_sweep(struct race *race)
{
    struct fixture *fixture = race->fixture;
    fixture_settle(fixture);
    uint64_t floor = fixture->status.synced_seq;
    if (floor > fixture->model.floor + 1000) {
        atomic_store(&race->floor, floor);
        fixture_sweep(fixture, floor);
    }
}

/* A cleaning has left something out of it. */
static bool is_cleaned(const struct segment *segment)
{
    const struct segment_name *name = &segment->name;
    return name->generation > 0 && name->last != SEGMENT_OPEN &&
           segment_row_count(segment) < name->last - name->first + 1;
}

/* Settles until so many cleanings were published, or 20 s have gone by. */
static void wait_for_cleaned(struct race *race, unsigned segments)
{
    const struct fixture *fixture = race->fixture;
    uint64_t deadline = clock_mono_ms() + 20000;
    for (;;) {
        settle_and_sweep(race);
        const struct segment_table *table = revlog_table(fixture->log);
        unsigned cleaned = 0;
        for (unsigned i = 0; i < table->count; i++)
            cleaned += is_cleaned(table->segments[i]);
        if (cleaned >= segments)
            return;
        assert_true(clock_mono_ms() < deadline);
        sched_yield();
    }
}

static void readers_find_everything_meanwhile(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 1 << 16);
    fixture_open(fixture);
    assert_true(err_ok(stage_store_start(fixture->store)));
    static struct race race;
    race.fixture = fixture;
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, race_read, &race), 0);
    while (fixture->model.seq < CHANGES) {
        fixture_changes(fixture, 100);
        atomic_store(&race.shown, fixture->model.seq);
        struct mvcc_frame frame = fixture_frame(fixture);
        stage_store_flush(fixture->store, &frame);
        settle_and_sweep(&race);
        if (fixture->model.seq % 3000 == 0)
            stage_store_sync(fixture->store);
        if (fixture->model.seq % 10000 == 0) {
            stage_store_sync(fixture->store);
            stage_store_defragment(fixture->store);
            wait_for_cleaned(&race, 1);
        }
    }
    stage_store_stop(fixture->store);
    fixture_settle(fixture);
    atomic_store(&race.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    assert_true(atomic_load(&race.reads) > 0);
    fixture_assert_log(fixture, fixture->model.seq);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(fixture->recovery.frame.seq, CHANGES);
    assert_true(fixture_assert_log(fixture, CHANGES) > 0);
    fixture_done(fixture);
    free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_find_everything_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
