/* One writer and two readers that never wait for each other. Each transaction keeps two invariants
 * that a reader checks at every seq that ends one: exactly TOKENS of the token keys are alive (one
 * dies, another is born), and the two halves of a pair hold the same number. */
#include "store_fixture.h"

#include "base/clock.h"

#include <pthread.h>

#define TOKEN_KEYS 400
#define TOKENS     200
#define PAIRS      20
#define BATCHES    6000
#define DEADLINE_S 60

struct shared {
    struct rig rig;
    atomic_bool stop;
    atomic_uint walks;
};

static void token_name(char *name, unsigned i)
{
    snprintf(name, 24, "token/%04u", i);
}

static void put_number(struct rig *rig, const char *format, unsigned i, unsigned number)
{
    char key[24];
    char value[24];
    snprintf(key, sizeof(key), format, i);
    snprintf(value, sizeof(value), "%u", number);
    struct mvcc_put put = {.key = bytes_str(key), .value = bytes_str(value)};
    MUST_OK(mvcc_txn_put(rig->store, &put, NULL));
}

static void move_token(struct rig *rig, struct prng *prng, bool *alive)
{
    unsigned from = (unsigned)prng_below(prng, TOKEN_KEYS);
    unsigned to = (unsigned)prng_below(prng, TOKEN_KEYS);
    if (!alive[from] || alive[to])
        return;
    char key[24];
    token_name(key, from);
    struct mvcc_span span = mvcc_span_of(bytes_str(key), BYTES_NONE);
    struct mvcc_delete del;
    unsigned budget = 10;
    mvcc_delete_init(&del, &span);
    assert_true(mvcc_txn_delete_run(rig->store, &del, &budget));
    mvcc_delete_done(&del);
    put_number(rig, "token/%04u", to, 0);
    alive[from] = false;
    alive[to] = true;
}

static void write_batches(struct shared *shared)
{
    struct rig *rig = &shared->rig;
    struct prng prng;
    bool alive[TOKEN_KEYS] = {false};
    prng_init(&prng, 3);
    mvcc_txn_begin(rig->store);
    for (unsigned i = 0; i < TOKENS; i++) {
        put_number(rig, "token/%04u", i, 0);
        alive[i] = true;
    }
    mvcc_txn_end(rig->store);
    uint64_t deadline_ms = clock_mono_ms() + DEADLINE_S * 1000;
    for (unsigned batch = 0; batch < BATCHES || atomic_load(&shared->walks) < 40; batch++) {
        assert_true(clock_mono_ms() < deadline_ms);
        for (uint64_t n = prng_below(&prng, 5); n > 0; n--) {
            unsigned pair = (unsigned)prng_below(&prng, PAIRS);
            mvcc_txn_begin(rig->store);
            put_number(rig, "pair/%04u/a", pair, batch);
            put_number(rig, "pair/%04u/b", pair, batch);
            move_token(rig, &prng, alive);
            mvcc_txn_end(rig->store);
        }
        if (prng_below(&prng, 100) == 0 && mvcc_store_is_swept(rig->store))
            (void)!err_ok(mvcc_store_compact(rig->store, mvcc_store_revision(rig->store) - 20));
        rig_publish(rig);
        if (prng_below(&prng, 4) == 0)
            rig_flush(rig);
        if (prng_below(&prng, 50) == 0 && revlog_memory_seal(rig->memory))
            revlog_memory_clean(rig->memory);
        rig_sweep(rig, 50);
        epoch_reclaim(&rig->epoch, 50);
    }
    atomic_store(&shared->stop, true);
}

static void check_pair(const struct mvcc_view *view, uint64_t seq, unsigned pair)
{
    struct bytes values[2];
    bool there[2];
    for (int half = 0; half < 2; half++) {
        char key[24];
        struct mvcc_state state;
        struct mvcc_record record;
        struct mvcc_kv kv;
        snprintf(key, sizeof(key), "pair/%04u/%c", pair, 'a' + half);
        MUST_OK(mvcc_view_find(view, bytes_str(key), seq, &state, &there[half], NULL));
        if (!there[half])
            continue;
        MUST_OK(mvcc_view_read(view, state.seq, &record, NULL));
        MUST_OK(mvcc_kv_decode(record.blob, &kv));
        values[half] = kv.value;
    }
    assert_int_equal(there[0], there[1]);
    if (there[0])
        assert_true(bytes_equal(values[0], values[1]));
}

/* A walk over all tokens at one seq, in as many guards as it takes. */
static void walk_tokens(struct shared *shared, struct epoch_slot *slot, struct prng *prng)
{
    struct rig *rig = &shared->rig;
    struct mvcc_range_options options = {
        .span = mvcc_span_of(BYTES_LIT("token/"), BYTES_LIT("token0")),
        .order = (enum mvcc_order)prng_below(prng, 3),
        .target = prng_below(prng, 4) ? MVCC_TARGET_KEY : MVCC_TARGET_MOD,
        .count_only = prng_below(prng, 4) == 0,
    };
    struct mvcc_pins *pins = mvcc_store_pins(rig->store);
    struct mvcc_pin pin;
    struct mvcc_range range;
    epoch_enter(&rig->epoch, slot);
    const struct mvcc_view *view = mvcc_store_view(rig->store);
    int64_t first = view->compact_revision > 2 ? view->compact_revision : 2;
    if (view->revision < 2) {
        epoch_leave(slot);
        return;
    }
    int64_t revision = first + (int64_t)prng_below(prng, (uint64_t)(view->revision - first + 1));
    uint64_t seq;
    MUST_OK(mvcc_view_seq_of(view, revision, &seq));
    MUST_OK(mvcc_pin_take(pins, seq, 0, &pin));
    epoch_leave(slot);
    mvcc_range_init(&range, &options, seq);
    unsigned items = 0;
    for (enum mvcc_range_step step = MVCC_RANGE_MORE; step != MVCC_RANGE_END;) {
        epoch_enter(&rig->epoch, slot);
        view = mvcc_store_view(rig->store);
        MUST_OK(mvcc_pin_touch(&pin, 0));
        for (unsigned budget = 60; budget > 0;) {
            MUST_OK(mvcc_range_run(&range, view, &budget, &step));
            if (step != MVCC_RANGE_ITEM)
                break;
            items++;
        }
        check_pair(view, seq, (unsigned)prng_below(prng, PAIRS));
        mvcc_range_pause(&range);
        epoch_leave(slot);
    }
    assert_int_equal(range.count, TOKENS);
    assert_int_equal(items, options.count_only ? 0 : TOKENS);
    mvcc_range_done(&range);
    mvcc_pin_drop(pins, &pin);
    atomic_fetch_add(&shared->walks, 1);
}

static void *read_views(void *arg)
{
    struct shared *shared = arg;
    struct rig *rig = &shared->rig;
    struct epoch_slot *slot = epoch_register(&rig->epoch);
    struct prng prng;
    prng_init(&prng, (uint64_t)(uintptr_t)slot);
    while (!atomic_load(&shared->stop)) {
        epoch_enter(&rig->epoch, slot);
        const struct mvcc_view *view = mvcc_store_view(rig->store);
        struct mvcc_span tokens = mvcc_span_of(BYTES_LIT("token/"), BYTES_LIT("token0"));
        uint64_t count = mvcc_root_count(view->root, &tokens);
        assert_int_equal(count, view->revision > 1 ? TOKENS : 0);
        check_pair(view, view->seq, (unsigned)prng_below(&prng, PAIRS));
        epoch_leave(slot);
        if (prng_below(&prng, 20) == 0)
            walk_tokens(shared, slot, &prng);
    }
    return NULL;
}

static void test_readers_beside_a_writer(void **state)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    assert_non_null(shared);
    rig_init(&shared->rig, 65536);
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_views, shared), 0);
    write_batches(shared);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    rig_done(&shared->rig);
    free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
