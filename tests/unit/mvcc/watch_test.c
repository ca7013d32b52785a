/* What the random histories of watch_model_test do not reach: revisions of thousands of changes, a
 * store that is another one, ids, and that a response in the making survives what happens to its
 * watchers. */
#include "store_fixture.h"

#include "mvcc/watch.h"

struct log {
    uint64_t events, responses, progresses;
    int64_t last_revision, compacted;
    bool refuses, frees;
    struct watch_hub *hub;
    struct watch_stream *stream;
    struct rig *rig;
};

static bool deliver(void *owner, const struct watch_delivery *delivery)
{
    struct log *self = owner;
    if (self->refuses)
        return false;
    struct watch_reader reader = delivery->reader;
    uint64_t count = 0;
    size_t bytes = 0;
    while (reader.next <= reader.last) {
        unsigned budget = 100;
        struct watch_event event;
        bool found;
        MUST_OK(
            watch_reader_next(&reader, mvcc_store_view(self->rig->store), &budget, &event, &found));
        if (!found)
            continue;
        bytes += watch_event_size(&event, event.kv.len, event.before.len);
        self->last_revision = event.revision;
        count++;
    }
    assert_int_equal(count, delivery->count);
    assert_int_equal(bytes, delivery->bytes);
    self->events += count;
    self->responses++;
    if (self->frees)
        watch_stream_free(self->hub, self->stream);
    return true;
}

static void compacted(void *owner, int64_t id, int64_t revision)
{
    struct log *self = owner;
    (void)id;
    self->compacted = revision;
}

static void progress(void *owner, int64_t id, int64_t revision)
{
    struct log *self = owner;
    (void)id;
    (void)revision;
    self->progresses++;
}

static const struct watch_ops ops = {deliver, compacted, progress};

static void set_up(struct rig *rig, struct log *log)
{
    rig_init(rig, 1 << 20);
    rig_publish(rig);
    struct watch_hub_config config = {.seed = 3, .ops = &ops, .pins = mvcc_store_pins(rig->store)};
    *log = (struct log){.hub = watch_hub_new(&config), .rig = rig};
    log->stream = watch_stream_new(log->hub, log);
}

static void tear_down(struct rig *rig, struct log *log)
{
    watch_hub_free(log->hub);
    rig_done(rig);
}

static void run(struct log *self)
{
    bool more = true;
    for (unsigned i = 0; more; i++) {
        unsigned budget = 50;
        assert_true(i < 100000);
        more = watch_hub_run(self->hub, mvcc_store_view(self->rig->store), 1, &budget);
    }
}

static int64_t watch_all(struct log *self, int64_t start, int64_t id)
{
    struct watch_spec spec = {.range_end = BYTES_LIT("\0"), .start_revision = start, .id = id};
    int64_t chosen;
    MUST_OK(
        watch_create(self->hub, self->stream, &spec, mvcc_store_view(self->rig->store), &chosen));
    return chosen;
}

static void put_many(struct rig *rig, unsigned count)
{
    mvcc_txn_begin(rig->store);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key/%u", i);
        struct mvcc_put put = {.key = bytes_str(key), .value = BYTES_LIT("value")};
        MUST_OK(mvcc_txn_put(rig->store, &put, NULL));
    }
    mvcc_txn_end(rig->store);
}

/* 5,000 keys put, and deleted, at once, small revisions between: each revision comes whole, live
 * and out of the past. */
static void test_large_revisions(void **state)
{
    (void)state;
    struct rig rig;
    struct log log;
    set_up(&rig, &log);
    watch_all(&log, 0, 0);
    rig_put(&rig, "a", "1");
    put_many(&rig, 5000);
    rig_put(&rig, "a", "2");
    rig_delete(&rig, "a", "b");
    put_many(&rig, 1500);
    rig_publish(&rig);
    run(&log);
    assert_int_equal(log.events, 1 + 5000 + 2 + 1500);
    assert_int_equal(log.last_revision, 6);
    assert_true(log.responses >= 4); /* a large revision comes alone */
    uint64_t before = log.events;
    watch_all(&log, 3, 0);
    run(&log);
    assert_int_equal(log.events - before, 5000 + 2 + 1500);
    before = log.events;
    watch_all(&log, 4, 0);
    run(&log);
    assert_int_equal(log.events - before, 2 + 1500);
    tear_down(&rig, &log);
}

/* Refused in the middle: what was refused is told once the stream is ready, and nothing twice. */
static void test_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct log log;
    set_up(&rig, &log);
    watch_all(&log, 0, 0);
    put_many(&rig, 3000);
    log.refuses = true;
    rig_publish(&rig);
    run(&log);
    rig_put(&rig, "b", "1");
    rig_publish(&rig);
    run(&log);
    struct watch_counts counts;
    watch_hub_counts(log.hub, &counts);
    assert_int_equal(counts.behind, 1);
    assert_int_equal(log.events, 0);
    watch_stream_ask_progress(log.hub, log.stream);
    run(&log);
    assert_int_equal(log.progresses, 0); /* it is behind */
    log.refuses = false;
    watch_stream_ready(log.hub, log.stream);
    run(&log);
    assert_int_equal(log.events, 3001);
    watch_stream_ask_progress(log.hub, log.stream);
    run(&log);
    assert_int_equal(log.progresses, 1);
    /* Parked over a compaction it is told so, when it can be. */
    log.refuses = true;
    rig_put(&rig, "b", "2");
    rig_publish(&rig);
    run(&log);
    rig_put(&rig, "b", "3");
    MUST_OK(mvcc_store_compact(rig.store, mvcc_store_revision(rig.store)));
    rig_sweep_all(&rig);
    assert_int_equal(log.compacted, 0);
    log.refuses = false;
    watch_stream_ready(log.hub, log.stream);
    run(&log);
    assert_int_equal(log.compacted, mvcc_store_compact_revision(rig.store));
    assert_int_equal(watch_stream_watchers(log.stream), 0);
    tear_down(&rig, &log);
}

/* The stream goes away inside of a delivery, others of its watchers being next. */
static void test_freed_inside(void **state)
{
    (void)state;
    struct rig rig;
    struct log log;
    set_up(&rig, &log);
    for (int i = 0; i < 10; i++)
        watch_all(&log, 0, 0);
    rig_put(&rig, "a", "1");
    rig_publish(&rig);
    log.frees = true;
    run(&log);
    assert_int_equal(log.responses, 1);
    struct watch_counts counts;
    watch_hub_counts(log.hub, &counts);
    assert_int_equal(counts.watchers, 0);
    assert_int_equal(counts.streams, 0);
    tear_down(&rig, &log);
}

static void test_ids(void **state)
{
    (void)state;
    struct rig rig;
    struct log log;
    set_up(&rig, &log);
    assert_int_equal(watch_all(&log, 0, 0), 0);
    assert_int_equal(watch_all(&log, 0, 2), 2);
    assert_int_equal(watch_all(&log, 0, 0), 1);
    assert_int_equal(watch_all(&log, 0, 0), 3);
    assert_int_equal(watch_all(&log, 0, -7), -7);
    assert_true(watch_cancel(log.hub, log.stream, 2));
    assert_false(watch_cancel(log.hub, log.stream, 2));
    assert_int_equal(watch_all(&log, 0, 2), 2);
    assert_int_equal(watch_all(&log, INT64_MAX, 0), 4); /* a revision that never comes */
    rig_put(&rig, "a", "1");
    rig_publish(&rig);
    run(&log);
    assert_int_equal(log.events, 5);
    tear_down(&rig, &log);
}

/* Views of another store: nothing is told, the streams are to begin again. */
static void test_another_store(void **state)
{
    (void)state;
    struct rig rig, other;
    struct log log;
    set_up(&rig, &log);
    rig_init(&other, 1 << 20);
    watch_all(&log, 0, 0);
    rig_put(&other, "a", "1");
    rig_publish(&other);
    unsigned budget = 100;
    assert_false(watch_hub_run(log.hub, mvcc_store_view(other.store), 1, &budget));
    assert_true(err_is(watch_hub_fault(log.hub), ERR_AGAIN));
    assert_int_equal(log.events, 0);
    tear_down(&rig, &log);
    rig_done(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_revisions), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_freed_inside), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_another_store)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
