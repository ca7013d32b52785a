/* Snapshots: what a store gives as a file another one takes, and all that clients and members can
 * compare is equal; a moment stays that moment whatever happens while it is written. */
#include "store_fixture.h"

#include "bolt/reader.h"
#include "state/snapshot.h"
#include "state/snapshot_load.h"

#define KEYS  60
#define INDEX 4711
#define TERM  7

static struct membership *members_make(void)
{
    struct membership *members;
    MUST_OK(membership_parse_initial(BYTES_LIT("a=http://a:2380,b=http://b:2380"),
                                     BYTES_LIT("token"), &members));
    return members;
}

/* A txn of puts and deletions, now and then one of many small changes. */
static void random_txn(struct rig *rig, struct prng *prng)
{
    unsigned changes = prng_below(prng, 20) ? 1 + (unsigned)prng_below(prng, 4) : 300;
    mvcc_txn_begin(rig->store);
    for (unsigned i = 0; i < changes; i++) {
        static uint8_t value[20000];
        char key[32];
        size_t bytes = (size_t)prng_below(prng, prng_below(prng, 30) ? 200 : sizeof(value));
        unsigned number = changes > 4 ? 1000 + i : (unsigned)prng_below(prng, KEYS);
        (void)snprintf(key, sizeof(key), "/registry/key-%04u", number);
        memset(value, (int)prng_below(prng, 256), bytes);
        if (changes <= 4 && prng_below(prng, 4) == 0) {
            struct mvcc_delete del;
            unsigned budget = 10;
            struct mvcc_span span = mvcc_span_of(bytes_str(key), BYTES_NONE);
            mvcc_delete_init(&del, &span);
            assert_true(mvcc_txn_delete_run(rig->store, &del, &budget));
            mvcc_delete_done(&del);
            continue;
        }
        struct mvcc_put put = {.key = bytes_str(key),
                               .value = bytes_of(value, bytes),
                               .lease = prng_below(prng, 3) ? 0 : 77};
        MUST_OK(mvcc_txn_put(rig->store, &put, NULL));
    }
    (void)mvcc_txn_end(rig->store);
}

static void random_bucket_change(struct rig *rig, struct prng *prng)
{
    static const enum mvcc_bucket some[] = {MVCC_BUCKET_LEASE, MVCC_BUCKET_AUTH_USERS,
                                            MVCC_BUCKET_CLUSTER, MVCC_BUCKET_ALARM};
    enum mvcc_bucket bucket = some[prng_below(prng, 4)];
    char key[16];
    (void)snprintf(key, sizeof(key), "entry%u", (unsigned)prng_below(prng, 400));
    if (prng_below(prng, 4) == 0)
        (void)mvcc_store_bucket_delete(rig->store, bucket, bytes_str(key));
    else
        mvcc_store_bucket_put(rig->store, bucket, bytes_str(key), BYTES_LIT("some value"));
}

static void random_step(struct rig *rig, struct prng *prng)
{
    uint64_t choice = prng_below(prng, 20);
    int64_t revision = mvcc_store_revision(rig->store);
    if (choice < 14)
        random_txn(rig, prng);
    else if (choice < 18)
        random_bucket_change(rig, prng);
    else if (choice == 18 && revision > 20)
        (void)mvcc_store_compact(rig->store, revision - (int64_t)prng_below(prng, 15)).code;
    rig_publish(rig);
    rig_reclaim(rig);
    rig_flush(rig);
    rig_sweep(rig, 1 + (unsigned)prng_below(prng, 60));
    if (choice == 19)
        (void)revlog_memory_clean(rig->memory);
}

static struct snapshot_source *source_begin(struct rig *rig, const struct membership *members)
{
    struct snapshot_source *source;
    struct snapshot_moment moment = {mvcc_store_view(rig->store), members, INDEX, TERM};
    MUST_OK(snapshot_source_new(&moment, mvcc_store_pins(rig->store), 1000, &source));
    return source;
}

/* All of the file; with prng, in slices between which the store goes on. */
static void source_finish(struct rig *rig, struct snapshot_source *source, struct prng *prng,
                          struct buf *ret_file)
{
    bool done = false;
    buf_init(ret_file, 0);
    while (!done) {
        unsigned budget = prng ? 1 + (unsigned)prng_below(prng, 200) : 100000;
        MUST_OK(snapshot_source_measure(source, mvcc_store_view(rig->store), 1000, &budget, &done));
        if (prng)
            random_step(rig, prng);
    }
    for (done = false; !done;) {
        unsigned budget = prng ? 1 + (unsigned)prng_below(prng, 200) : 100000;
        size_t enough = prng ? ret_file->len + 10000 : SIZE_MAX;
        MUST_OK(snapshot_source_read(source, mvcc_store_view(rig->store), 1000, &budget, enough,
                                     ret_file, &done));
        if (prng)
            random_step(rig, prng);
    }
    assert_int_equal(ret_file->len, snapshot_source_bytes(source));
    snapshot_source_free(source);
}

/* A second store out of the file. */
static void rig_load(struct rig *rig, struct bytes bytes)
{
    struct bolt_file file;
    struct bolt_fault fault = {0};
    struct snapshot_load load;
    MUST_OK(bolt_file_open(&file, bytes, &fault));
    MUST_OK(bolt_file_check(&file, &fault));
    rig_init(rig, 1 << 16);
    mvcc_store_free(rig->store);
    struct mvcc_store_config config = {&rig->epoch, rig->log, rig->tail};
    rig->store = mvcc_store_new(&config);
    snapshot_load_begin(&load, &file);
    for (bool done = false; !done;) {
        unsigned budget = 100;
        err e = snapshot_load_run(&load, rig->store, &budget, &done, &fault);
        if (e.code)
            fail_msg("%s", fault.what);
    }
    MUST_OK(mvcc_store_import_end(rig->store));
    rig_sweep_all(rig);
}

static uint32_t hash_at(struct rig *rig, int64_t revision)
{
    struct mvcc_hash hash;
    MUST_OK(mvcc_hash_begin(&hash, mvcc_store_view(rig->store), revision));
    for (bool done = false; !done;) {
        unsigned budget = 1000;
        MUST_OK(mvcc_hash_run(&hash, mvcc_store_view(rig->store), &budget, &done));
    }
    mvcc_hash_done(&hash);
    return hash.hash;
}

static void assert_same_keys(struct rig *a, struct rig *b)
{
    assert_int_equal(mvcc_store_revision(a->store), mvcc_store_revision(b->store));
    assert_int_equal(mvcc_store_compact_revision(a->store), mvcc_store_compact_revision(b->store));
    const struct mvcc_view *va = mvcc_store_view(a->store), *vb = mvcc_store_view(b->store);
    assert_int_equal(mvcc_root_live(va->root), mvcc_root_live(vb->root));
    int64_t from = mvcc_store_compact_revision(a->store);
    /* At the compacted revision itself the one store answers what its compaction left. */
    for (int64_t r = (from < 1 ? 1 : from + 1); r <= mvcc_store_revision(a->store); r++) {
        struct mvcc_range range;
        struct mvcc_range_options options = {.span = MVCC_SPAN_ALL, .count_only = true};
        uint64_t counts[2];
        assert_int_equal(hash_at(a, r), hash_at(b, r));
        for (int i = 0; i < 2; i++) {
            const struct mvcc_view *view = i ? vb : va;
            uint64_t seq;
            enum mvcc_range_step step = MVCC_RANGE_MORE;
            MUST_OK(mvcc_view_seq_of(view, r, &seq));
            mvcc_range_init(&range, &options, seq);
            while (step != MVCC_RANGE_END) {
                unsigned budget = 100000;
                MUST_OK(mvcc_range_run(&range, view, &budget, &step));
            }
            counts[i] = range.count;
            mvcc_range_done(&range);
        }
        assert_int_equal(counts[0], counts[1]);
    }
}

static void there_and_back(uint64_t seed, unsigned steps)
{
    struct prng prng;
    struct rig rig, copy;
    struct buf file, again;
    struct membership *members = members_make();
    prng_init(&prng, seed);
    rig_init(&rig, 1 << 16);
    for (unsigned i = 0; i < steps; i++)
        random_step(&rig, &prng);
    source_finish(&rig, source_begin(&rig, members), NULL, &file);
    rig_load(&copy, buf_bytes(&file));
    assert_same_keys(&rig, &copy);
    source_finish(&copy, source_begin(&copy, members), NULL, &again);
    assert_true(bytes_equal(buf_bytes(&file), buf_bytes(&again)));
    buf_done(&file);
    buf_done(&again);
    membership_free(members);
    rig_done(&copy);
    rig_done(&rig);
}

static void files_go_there_and_back(void **state)
{
    static const unsigned steps[] = {0, 1, 2, 30, 100, 300};
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            there_and_back(seed * 10 + i, steps[i]);
}

static void a_moment_stays_that_moment(void **state)
{
    struct membership *members = members_make();
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct prng prng;
        struct rig rig;
        struct buf at_once, later;
        prng_init(&prng, seed);
        rig_init(&rig, 1 << 16);
        for (unsigned i = 0; i < 20 * seed; i++)
            random_step(&rig, &prng);
        struct snapshot_source *source = source_begin(&rig, members);
        source_finish(&rig, source_begin(&rig, members), NULL, &at_once);
        source_finish(&rig, source, &prng, &later);
        assert_true(bytes_equal(buf_bytes(&at_once), buf_bytes(&later)));
        buf_done(&at_once);
        buf_done(&later);
        rig_done(&rig);
    }
    membership_free(members);
}

static void what_the_file_says(void **state)
{
    struct rig rig;
    struct buf bytes;
    struct bolt_file file;
    struct snapshot_facts facts;
    struct membership *members = members_make();
    rig_init(&rig, 1 << 16);
    struct prng prng;
    prng_init(&prng, 3);
    for (unsigned i = 0; i < 30; i++)
        random_txn(&rig, &prng);
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_META, BYTES_LIT("storageVersion"),
                          BYTES_LIT("3.7.0"));
    MUST_OK(mvcc_store_compact(rig.store, 10));
    rig_publish(&rig);
    struct snapshot_source *source = source_begin(&rig, members);
    assert_string_equal(snapshot_source_version(source), "3.7.0");
    source_finish(&rig, source, NULL, &bytes);
    MUST_OK(bolt_file_open(&file, buf_bytes(&bytes), NULL));
    MUST_OK(snapshot_facts_read(&file, &facts, NULL));
    assert_int_equal(facts.index, INDEX);
    assert_int_equal(facts.term, TERM);
    assert_int_equal(facts.scheduled, 10);
    assert_int_equal(facts.finished, 10);
    assert_true(bytes_equal(facts.version, BYTES_LIT("3.7.0")));
    char conf[128];
    (void)snprintf(conf, sizeof(conf), "{\"voters\":[%llu,%llu],\"auto_leave\":false}",
                   (unsigned long long)members->members[0].id,
                   (unsigned long long)members->members[1].id);
    assert_true(bytes_equal(facts.conf_state, bytes_str(conf)));
    buf_done(&bytes);
    membership_free(members);
    rig_done(&rig);
}

static void a_broken_pin_ends_it(void **state)
{
    struct rig rig;
    struct membership *members = members_make();
    rig_init(&rig, 1 << 16);
    struct prng prng;
    prng_init(&prng, 3);
    random_txn(&rig, &prng);
    rig_publish(&rig);
    struct snapshot_source *source = source_begin(&rig, members);
    unsigned budget = 1;
    bool done;
    MUST_OK(snapshot_source_measure(source, mvcc_store_view(rig.store), 2000, &budget, &done));
    assert_int_equal(mvcc_pins_count(mvcc_store_pins(rig.store)), 1);
    assert_int_equal(mvcc_pins_expire(mvcc_store_pins(rig.store), 70000), 1);
    budget = 100;
    assert_true(
        err_is(snapshot_source_measure(source, mvcc_store_view(rig.store), 70001, &budget, &done),
               ERR_TIMED_OUT));
    snapshot_source_free(source);
    assert_int_equal(mvcc_pins_count(mvcc_store_pins(rig.store)), 0);
    membership_free(members);
    rig_done(&rig);
}

/* ── What a store must not take ─────────────────────────────────────────────────────────────── */

struct change {
    int64_t main;
    uint64_t sub;
    bool tombstone;
    struct mvcc_kv kv;
};

static err import(struct mvcc_store *store, const struct change *change)
{
    uint8_t blob[128];
    mvcc_kv_encode(&change->kv, blob);
    struct mvcc_import one = {.main = change->main,
                              .sub = change->sub,
                              .tombstone = change->tombstone,
                              .blob = bytes_of(blob, mvcc_kv_bytes(&change->kv))};
    return mvcc_store_import(store, &one);
}

static void impossible_changes(void **state)
{
    const struct bytes key = BYTES_LIT("k");
    const struct change bad[] = {
        {5, 0, false, {.key = key, .create = 4, .mod = 4, .version = 1}}, /* before the last */
        {6, 1, false, {.key = key, .create = 6, .mod = 6, .version = 1}}, /* the same again */
        {7, 0, false, {.key = key, .create = 6, .mod = 6, .version = 1}}, /* another revision */
        {7, 0, false, {.key = key, .create = 8, .mod = 7, .version = 1}},
        {7, 0, false, {.key = key, .create = 7, .mod = 7, .version = 0}},
        {7, 0, false, {.create = 7, .mod = 7, .version = 1}},
        {7, UINT64_C(1) << 32, false, {.key = key, .create = 7, .mod = 7, .version = 1}},
        {7, 0, true, {.create = 7}},
        {-1, 0, false, {.key = key, .create = 7, .mod = 7, .version = 1}},
    };
    struct rig rig;
    rig_init(&rig, 1 << 16);
    mvcc_store_free(rig.store);
    struct mvcc_store_config config = {&rig.epoch, rig.log, rig.tail};
    rig.store = mvcc_store_new(&config);
    const struct change good = {6, 1, false, {.key = key, .create = 6, .mod = 6, .version = 1}};
    MUST_OK(import(rig.store, &good));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(err_is(import(rig.store, &bad[i]), ERR_CORRUPT));
    /* A raised revision without a key. */
    struct mvcc_import raised = {.main = 100};
    MUST_OK(mvcc_store_import(rig.store, &raised));
    MUST_OK(mvcc_store_import_end(rig.store));
    assert_int_equal(mvcc_store_revision(rig.store), 100);
    assert_int_equal(mvcc_root_live(mvcc_store_view(rig.store)->root), 1);
    rig_flush(&rig);
    rig_reopen_from(&rig, BYTES_NONE);
    assert_int_equal(mvcc_store_revision(rig.store), 100);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_go_there_and_back), cmocka_unit_test(a_moment_stays_that_moment),
        cmocka_unit_test(what_the_file_says),      cmocka_unit_test(a_broken_pin_ends_it),
        cmocka_unit_test(impossible_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
