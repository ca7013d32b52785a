/* The cache against a plain array that forgets nothing: whatever is appended, replaced and dropped,
 * raft reads what the log holds, from the cache or, for what that has let go of, by place. */
#include "base/prng.h"
#include "replica/log_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LAST_MAX  40000
#define FIRST     101 /* behind a snapshot */
#define BATCH_MAX 700
#define PAYLOAD   100

static const uint8_t payload[PAYLOAD];

struct world {
    struct log_cache cache;
    struct raft_storage storage;
    struct raft_entry log[LAST_MAX + BATCH_MAX + 1]; /* by index */
    uint64_t last;
    uint64_t term;
    uint64_t read_by_place; /* so many */
    struct prng prng;
};

static err older_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                         struct raft_entry *ret_entries, size_t *ret_count)
{
    struct world *self = ctx;
    assert_true(lo >= FIRST && lo < hi && hi <= self->last + 1);
    ret_entries[0] = self->log[lo];
    *ret_count = 1;
    self->read_by_place++;
    return OK;
}

static err older_term(void *ctx, uint64_t index, uint64_t *ret_term)
{
    struct world *self = ctx;
    assert_true(index >= FIRST && index <= self->last);
    *ret_term = self->log[index].term;
    self->read_by_place++;
    return OK;
}

static uint64_t older_first(void *ctx)
{
    return FIRST;
}

/* Now and then from within the log, as a new leader's are. */
static void append(struct world *self)
{
    uint64_t from = self->last + 1, most = 0;
    if (prng_below(&self->prng, 4) == 0) {
        self->term++;
        most = self->last - (FIRST - 1) < 600 ? self->last - (FIRST - 1) : 600;
        from -= prng_below(&self->prng, most + 1);
    }
    size_t count = 1 + (size_t)prng_below(&self->prng, BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        self->log[from + i] = (struct raft_entry){
            .term = self->term,
            .index = from + i,
            .data = bytes_of(payload, prng_below(&self->prng, PAYLOAD)),
        };
    self->last = from + count - 1;
    log_cache_append(&self->cache, &self->log[from], count);
}

static void assert_entry(const struct world *self, const struct raft_entry *entry, uint64_t index)
{
    assert_int_equal(entry->index, index);
    assert_int_equal(entry->term, self->log[index].term);
    assert_int_equal(entry->data.len, self->log[index].data.len);
}

static void assert_all(struct world *self)
{
    struct raft_entry entries[50];
    assert_int_equal(self->storage.last_index(self->storage.ctx), self->last);
    assert_int_equal(self->storage.first_index(self->storage.ctx), FIRST);
    for (uint64_t index = FIRST; index <= self->last; index++) {
        uint64_t term;
        assert_true(err_ok(self->storage.term(self->storage.ctx, index, &term)));
        assert_int_equal(term, self->log[index].term);
    }
    size_t count;
    for (uint64_t lo = FIRST; lo <= self->last; lo += count) {
        assert_true(err_ok(self->storage.entries(self->storage.ctx, lo, self->last + 1, UINT64_MAX,
                                                 50, entries, &count)));
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++)
            assert_entry(self, &entries[i], lo + i);
    }
    uint64_t term;
    assert_true(
        err_is(self->storage.term(self->storage.ctx, self->last + 1, &term), ERR_NOT_FOUND));
    assert_true(err_is(
        self->storage.entries(self->storage.ctx, FIRST - 1, FIRST, UINT64_MAX, 50, entries, &count),
        ERR_COMPACTED_LOG));
}

/* Bounds of nothing to speak of, of some chunks, and of everything. */
static void reads_what_the_log_holds(void **state)
{
    static const size_t bounds[] = {1, 20000, 500000, 100000000};
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        struct world *self = calloc(1, sizeof(*self));
        assert_non_null(self);
        prng_init(&self->prng, b + 1);
        self->last = FIRST - 1;
        const struct replica_log older = {
            .ctx = self, .entries = older_entries, .term = older_term, .first_index = older_first};
        const struct replica_start start = {.snapshot_index = FIRST - 1, .last_index = FIRST - 1};
        assert_true(err_ok(log_cache_init(&self->cache, &older, &start, bounds[b])));
        self->storage = log_cache_storage(&self->cache);
        for (unsigned round = 0; self->last < LAST_MAX; round++) {
            append(self);
            assert_true(self->cache.bytes <= bounds[b] || self->cache.count == 1);
            if (round % 16 == 0)
                assert_all(self);
        }
        self->read_by_place = 0;
        assert_all(self);
        bool all_cached = bounds[b] == 100000000;
        assert_true((self->read_by_place == 0) == all_cached);
        log_cache_done(&self->cache);
        free(self);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_what_the_log_holds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
