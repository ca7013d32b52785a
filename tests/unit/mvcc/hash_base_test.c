/* A HashKV that goes on from the last one's base against one from scratch, over random histories of
 * many keys: transactions, leases, deletions, compactions, flushes, cleaning, between the slices of
 * the hash too. That a hash from scratch is right is shown by store_model_test. */
#include "mvcc/hash_job.h"
#include "store_fixture.h"

#define KEYS 3000

struct history {
    struct rig rig;
    struct prng prng;
    struct mvcc_hash_base base;
    unsigned hot_keys; /* those that are written most */
    unsigned asked, gone_on, folded_again;
};

static uint64_t below(struct history *self, uint64_t bound)
{
    return prng_below(&self->prng, bound);
}

static void do_put(struct history *self)
{
    char key[16], value[16];
    snprintf(key, sizeof(key), "k%05u",
             (unsigned)below(self, below(self, 10) ? self->hot_keys : KEYS));
    snprintf(value, sizeof(value), "%u", (unsigned)below(self, 1000));
    struct mvcc_put put = {.key = bytes_str(key),
                           .value = bytes_str(value),
                           .lease = below(self, 3) ? 0 : (int64_t)below(self, 9) + 1};
    MUST_OK(mvcc_txn_put(self->rig.store, &put, NULL));
}

static void do_delete(struct history *self)
{
    char from[16], to[16];
    unsigned first = (unsigned)below(self, KEYS);
    snprintf(from, sizeof(from), "k%05u", first);
    snprintf(to, sizeof(to), "k%05u", first + 1 + (unsigned)below(self, 20));
    struct mvcc_span span = mvcc_span_of(bytes_str(from), bytes_str(to));
    struct mvcc_delete del;
    unsigned budget = 1000;
    mvcc_delete_init(&del, &span);
    assert_true(mvcc_txn_delete_run(self->rig.store, &del, &budget));
    mvcc_delete_done(&del);
}

/* A deletion may come before puts of the same keys, as in nested transactions. */
static void do_txn(struct history *self)
{
    mvcc_txn_begin(self->rig.store);
    for (uint64_t n = below(self, 4) + 1; n > 0; n--)
        if (below(self, 12))
            do_put(self);
        else
            do_delete(self);
    (void)mvcc_txn_end(self->rig.store);
}

static void do_something(struct history *self)
{
    struct rig *rig = &self->rig;
    switch (below(self, 60)) {
    case 0:
        rig_flush(rig);
        break;
    case 1:
        rig_flush(rig);
        if (revlog_memory_seal(rig->memory))
            (void)revlog_memory_clean(rig->memory);
        break;
    case 2:
    case 3:
        rig_sweep(rig, (unsigned)below(self, 400) + 1);
        break;
    case 4:
        rig_reclaim(rig);
        break;
    case 5:
        mvcc_store_bucket_put(rig->store, MVCC_BUCKET_LEASE, BYTES_LIT("lease"),
                              BYTES_LIT("granted"));
        break;
    default:
        do_txn(self);
        break;
    }
    rig_publish(rig);
}

static void do_compact(struct history *self)
{
    struct mvcc_store *store = self->rig.store;
    int64_t low = mvcc_store_compact_revision(store);
    int64_t span = mvcc_store_revision(store) - low;
    if (span <= 0)
        return;
    MUST_OK(mvcc_store_compact(store, low + 1 + (int64_t)below(self, (uint64_t)span)));
    rig_publish(&self->rig);
}

static unsigned due_blocks(const struct mvcc_hash_base *base)
{
    unsigned count = 0;
    for (size_t i = 0; i < base->block_count; i++)
        count += base->blocks[i].is_due;
    return count;
}

static void ask(struct history *self, int64_t revision)
{
    struct rig *rig = &self->rig;
    struct mvcc_pins *pins = mvcc_store_pins(rig->store);
    struct mvcc_hash scratch = {0};
    struct mvcc_hash_job job;
    MUST_OK(rig_hash(rig, revision, 1000, &scratch));
    MUST_OK(
        mvcc_hash_job_begin_on(&job, mvcc_store_view(rig->store), revision, &self->base, pins, 1));
    for (bool done = false; !done;) {
        unsigned budget = (unsigned)below(self, 4000) + 1;
        epoch_enter(&rig->epoch, rig->slot);
        MUST_OK(mvcc_hash_run(&job.hash, mvcc_store_view(rig->store), &budget, &done));
        epoch_leave(rig->slot);
        if (job.hash.block == 0)
            self->folded_again += due_blocks(&job.hash.base) > 0;
        if (!done && below(self, 200) == 0)
            do_compact(self); /* from here on to a later one */
        do_something(self);
    }
    assert_int_equal(job.hash.hash, scratch.hash);
    assert_int_equal(job.hash.hash_revision, scratch.hash_revision);
    assert_int_equal(job.hash.compact_revision, scratch.compact_revision);
    self->asked++;
    self->gone_on += job.hash.base_revision > 0;
    mvcc_hash_leave(&job.hash, &self->base);
    mvcc_hash_job_done(&job);
}

static void run_history(uint64_t seed)
{
    struct history *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    prng_init(&self->prng, seed);
    self->hot_keys = (unsigned)below(self, KEYS) + 1;
    rig_init(&self->rig, 1 << 16);
    for (unsigned i = 0; i < 2 * KEYS; i++)
        do_txn(self);
    do_compact(self);
    for (unsigned i = 0; i < 150; i++) {
        for (uint64_t n = below(self, 60); n > 0; n--)
            do_something(self);
        const struct mvcc_view *view = mvcc_store_view(self->rig.store);
        int64_t first = view->compact_revision > 1 ? view->compact_revision : 1;
        int64_t any = first + (int64_t)below(self, (uint64_t)(view->revision - first) + 1);
        ask(self, below(self, 8) ? 0 : any);
        if (below(self, 25) == 0)
            do_compact(self);
    }
    print_message("seed %llu: %u asked, %u gone on, %u with blocks folded again\n",
                  (unsigned long long)seed, self->asked, self->gone_on, self->folded_again);
    assert_true(self->gone_on * 2 > self->asked);
    assert_true(self->folded_again > 0);
    mvcc_hash_base_done(&self->base);
    rig_done(&self->rig);
    free(self);
}

static void test_going_on_equals_from_scratch(void **state)
{
    const char *seed = getenv("CORACLE_SEED");
    if (seed) {
        run_history(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= 4; i++)
        run_history(i);
}

/* The same revision, an older one, another compaction, all that was kept superseded: from scratch.
 */
static void test_what_begins_from_scratch(void **state)
{
    static const int64_t asked[] = {0, 7, 6, 0};
    struct history self = {.hot_keys = KEYS};
    struct rig *rig = &self.rig;
    prng_init(&self.prng, 1);
    rig_init(rig, 1 << 16);
    rig_put(rig, "a", "1"); /* 2 */
    rig_put(rig, "b", "1");
    rig_put(rig, "a", "2");
    MUST_OK(mvcc_store_compact(rig->store, 3));
    for (int i = 0; i < 3; i++)
        rig_put(rig, "c", "1"); /* up to 7 */
    rig_publish(rig);
    int64_t expected_base[] = {0, 0, 0, 6};
    for (unsigned i = 0; i < 4; i++) {
        struct mvcc_hash_job job;
        bool done = false;
        unsigned budget = 1000;
        MUST_OK(mvcc_hash_job_begin_on(&job, mvcc_store_view(rig->store), asked[i], &self.base,
                                       mvcc_store_pins(rig->store), 1));
        MUST_OK(mvcc_hash_run(&job.hash, mvcc_store_view(rig->store), &budget, &done));
        assert_true(done);
        assert_int_equal(job.hash.base_revision, expected_base[i]);
        mvcc_hash_leave(&job.hash, &self.base);
        mvcc_hash_job_done(&job);
    }
    rig_put(rig, "b", "2"); /* nothing up to the compaction is left */
    rig_publish(rig);
    ask(&self, 0);
    assert_int_equal(self.gone_on, 0);
    rig_put(rig, "c", "2");
    MUST_OK(mvcc_store_compact(rig->store, 5));
    rig_publish(rig);
    ask(&self, 0);
    assert_int_equal(self.gone_on, 0);
    MUST_OK(mvcc_store_compact(rig->store, mvcc_store_revision(rig->store)));
    rig_publish(rig);
    mvcc_hash_base_done(&self.base);
    ask(&self, 0); /* at the compacted revision nothing is left */
    assert_int_equal(self.base.revision, 0);
    mvcc_hash_base_done(&self.base);
    rig_done(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_going_on_equals_from_scratch),
        cmocka_unit_test(test_what_begins_from_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
