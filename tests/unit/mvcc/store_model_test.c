/* Long random histories against the plain list of all versions: transactions of several puts and
 * deletions, compactions, flushes, cleaning and restarts in any order; ranges with every option,
 * counts and hashes at any readable revision, walked in slices while the history goes on. */
#include "mvcc/hash_job.h"
#include "store_fixture.h"

struct history {
    struct rig rig;
    struct model *model;
    struct prng prng;
    unsigned order[MODEL_KEYS]; /* keys in byte order */
    uint64_t now_ms;
    struct buf checkpoint;      /* the newest; empty where none may be used */
    bool busy;                  /* a walk is under way and holds a pin: no restart */
    struct mvcc_hash_base base; /* what the last hash of everything left */
    unsigned gone_on_count;     /* hashes that went on from another */
};

static uint64_t below(struct history *self, uint64_t bound)
{
    return prng_below(&self->prng, bound);
}

/* ── Changes ────────────────────────────────────────────────────────────────────────────────── */

static void model_put(struct history *self, unsigned key, const char *value, int64_t lease,
                      const struct mvcc_change *change)
{
    const struct model_change *old = model_at(self->model, key, UINT64_MAX);
    struct model_change *added = model_add(self->model, key);
    added->seq = change->seq;
    added->main = change->main;
    added->sub = change->sub;
    added->version = old ? old->version + 1 : 1;
    added->create = old ? old->create : change->main;
    added->lease = lease;
    snprintf(added->value, sizeof(added->value), "%s", value);
    assert_int_equal(mvcc_head_is_live(&change->before), old != NULL);
    if (old) {
        assert_int_equal(change->before.main, old->main);
        assert_int_equal(change->before.lease, old->lease);
        assert_int_equal(change->before.seq, old->seq);
    }
}

static void do_put(struct history *self, unsigned key)
{
    const struct model_change *old = model_at(self->model, key, UINT64_MAX);
    char value[12];
    snprintf(value, sizeof(value), "%u", (unsigned)below(self, 30));
    struct mvcc_put put = {.key = model_key(key),
                           .value = bytes_str(value),
                           .lease = below(self, 4) ? 0 : (int64_t)below(self, 5) - 1,
                           .ignore_value = old && below(self, 8) == 0,
                           .ignore_lease = old && below(self, 8) == 0};
    struct mvcc_change change;
    MUST_OK(mvcc_txn_put(self->rig.store, &put, &change));
    if (put.ignore_value)
        snprintf(value, sizeof(value), "%s", old->value);
    model_put(self, key, value, put.ignore_lease ? old->lease : put.lease, &change);
}

static void model_delete(void *ctx, struct bytes key, const struct mvcc_change *change)
{
    struct history *self = ctx;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (!bytes_equal(model_key(i), key))
            continue;
        const struct model_change *old = model_at(self->model, i, UINT64_MAX);
        assert_non_null(old);
        assert_int_equal(change->before.seq, old->seq);
        struct model_change *added = model_add(self->model, i);
        added->seq = change->seq;
        added->main = change->main;
        added->sub = change->sub;
        added->tombstone = true;
        return;
    }
    fail();
}

static struct mvcc_span any_span(struct history *self)
{
    static const struct bytes zero = {(const uint8_t *)"", 1};
    struct bytes from = model_key((unsigned)below(self, MODEL_KEYS));
    struct bytes to = model_key((unsigned)below(self, MODEL_KEYS));
    switch (below(self, 6)) {
    case 0:
        return mvcc_span_of(from, BYTES_NONE);
    case 1:
        return mvcc_span_of(from, zero);
    case 2:
        return mvcc_span_of(zero, zero);
    case 3:
        return mvcc_span_of(BYTES_LIT("/registry/"), BYTES_LIT("/registry0"));
    default:
        return mvcc_span_of(from, to);
    }
}

static void do_delete(struct history *self, const struct mvcc_span *span)
{
    size_t before = self->model->count;
    int64_t expected = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        expected += mvcc_span_has(span, model_key(i)) && model_at(self->model, i, UINT64_MAX);
    struct mvcc_delete del;
    mvcc_delete_init(&del, span);
    del.on_deleted = model_delete;
    del.ctx = self;
    unsigned budget = (unsigned)below(self, 5) + 1;
    while (!mvcc_txn_delete_run(self->rig.store, &del, &budget))
        budget = (unsigned)below(self, 5) + 1;
    assert_int_equal(del.deleted, expected);
    /* In byte order. */
    for (size_t i = before + 1; i < self->model->count; i++)
        assert_true(bytes_compare(model_key(self->model->changes[i - 1].key),
                                  model_key(self->model->changes[i].key)) < 0);
    mvcc_delete_done(&del);
}

static void do_txn(struct history *self)
{
    size_t before = self->model->count;
    mvcc_txn_begin(self->rig.store);
    for (uint64_t n = below(self, 4) + 1; n > 0; n--)
        do_put(self, (unsigned)below(self, below(self, 3) ? MODEL_KEYS : 3));
    /* etcd refuses a put behind a deletion of the same key in one txn; so deletions come last. */
    if (below(self, 3) == 0) {
        struct mvcc_span span = any_span(self);
        if (below(self, 4))
            span = mvcc_span_of(model_key((unsigned)below(self, MODEL_KEYS)), BYTES_NONE);
        do_delete(self, &span);
    }
    bool changed = self->model->count > before;
    self->model->revision += changed;
    assert_int_equal(mvcc_txn_end(self->rig.store), self->model->revision);
    if (changed)
        assert_int_equal(self->model->changes[self->model->count - 1].main, self->model->revision);
}

static void do_compact(struct history *self)
{
    struct model *model = self->model;
    int64_t revision = (int64_t)below(self, (uint64_t)model->revision + 2);
    err e = mvcc_store_compact(self->rig.store, revision);
    if (revision <= model->compact_revision) {
        assert_true(err_is(e, ERR_COMPACTED));
    } else if (revision > model->revision) {
        assert_true(err_is(e, ERR_FUTURE_REV));
    } else {
        MUST_OK(e);
        model->compact_hashes[revision] =
            model_hash(model, revision, model->compact_revision, true);
        model->compact_revision = revision;
    }
}

static void do_something(struct history *self);

/* Fuzzy: the history goes on between its slices. */
static void do_checkpoint(struct history *self)
{
    struct rig *rig = &self->rig;
    struct mvcc_checkpoint_source source;
    struct checkpoint_writer writer;
    struct checkpoint_info info;
    mvcc_checkpoint_source_init(&source, rig->store, &rig->epoch);
    assert_true(source.source.begin(source.source.ctx, rig->slot, &info));
    checkpoint_writer_init(&writer, rig_owner, &info);
    const struct segment_table *table = revlog_table(rig->log);
    for (unsigned i = 0; i < table->count; i++)
        checkpoint_writer_segment(&writer, table->segments[i]);
    self->busy = true;
    buf_clear(&self->checkpoint);
    bool cleaned = false;
    while (
        source.source.fill(source.source.ctx, rig->slot, &writer, (unsigned)below(self, 10) + 1)) {
        self->checkpoint.len = 0;
        MUST_OK(buf_append(&self->checkpoint, BYTES_LIT("x")));
        do_something(self);
        cleaned = cleaned || self->checkpoint.len == 0;
    }
    self->busy = false;
    /* What it lacks because it was removed must be in the log before it counts. */
    assert_true(writer.greatest_seq >= mvcc_store_view(rig->store)->seq);
    checkpoint_writer_end(&writer);
    buf_clear(&self->checkpoint);
    if (!cleaned)
        MUST_OK(buf_append(&self->checkpoint, buf_bytes(&writer.out)));
    checkpoint_writer_done(&writer);
    mvcc_checkpoint_source_done(&source);
}

static void reopen(struct history *self)
{
    rig_reopen_from(&self->rig, buf_bytes(&self->checkpoint));
    mvcc_hash_base_done(&self->base); /* a process ends with what it holds */
}

static void do_something(struct history *self)
{
    struct rig *rig = &self->rig;
    switch (below(self, 24)) {
    case 0:
        rig_flush(rig);
        break;
    case 1:
        /* Cleaning in memory drops deletions that an old checkpoint does not reflect. */
        if (revlog_memory_seal(rig->memory) && revlog_memory_clean(rig->memory))
            buf_clear(&self->checkpoint);
        break;
    case 2:
        do_compact(self);
        break;
    case 3:
    case 4:
        rig_sweep(rig, (unsigned)below(self, 40) + 1);
        break;
    case 5:
        epoch_reclaim(&rig->epoch, 100);
        break;
    case 6:
        mvcc_store_bucket_put(rig->store, MVCC_BUCKET_LEASE, model_key((unsigned)below(self, 5)),
                              model_key((unsigned)below(self, 5)));
        break;
    case 7:
        if (!self->busy && below(self, 4) == 0)
            reopen(self);
        break;
    case 8:
        if (!self->busy && below(self, 4) == 0)
            do_checkpoint(self);
        break;
    default:
        do_txn(self);
        break;
    }
    rig_publish(rig);
}

/* ── Questions ──────────────────────────────────────────────────────────────────────────────── */

struct expected {
    const struct model_change *items[MODEL_KEYS];
    size_t count;
    uint64_t total;
    bool more;
};

static int64_t sort_number(const struct model_change *change, enum mvcc_target target)
{
    switch (target) {
    case MVCC_TARGET_VERSION:
        return change->version;
    case MVCC_TARGET_CREATE:
        return change->create;
    case MVCC_TARGET_MOD:
        return change->main;
    case MVCC_TARGET_KEY:
    case MVCC_TARGET_VALUE:
        break;
    }
    return 0;
}

static int sort_order(const struct model_change *a, const struct model_change *b,
                      enum mvcc_target target)
{
    if (target == MVCC_TARGET_VALUE)
        return bytes_compare(bytes_str(a->value), bytes_str(b->value));
    if (target == MVCC_TARGET_KEY)
        return bytes_compare(model_key(a->key), model_key(b->key));
    int64_t x = sort_number(a, target);
    int64_t y = sort_number(b, target);
    return (x > y) - (x < y);
}

static bool model_passes(const struct model_change *change,
                         const struct mvcc_range_options *options)
{
    return (!options->min_mod_revision || change->main >= options->min_mod_revision) &&
           (!options->max_mod_revision || change->main <= options->max_mod_revision) &&
           (!options->min_create_revision || change->create >= options->min_create_revision) &&
           (!options->max_create_revision || change->create <= options->max_create_revision);
}

static void expect(const struct history *self, const struct mvcc_range_options *options,
                   uint64_t seq, struct expected *expected)
{
    *expected = (struct expected){0};
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        unsigned key = self->order[i];
        const struct model_change *change = model_at(self->model, key, seq);
        if (!change || !mvcc_span_has(&options->span, model_key(key)))
            continue;
        expected->total++;
        if (options->count_only || !model_passes(change, options))
            continue;
        /* Stable insertion. */
        size_t at = expected->count++;
        for (; at > 0; at--) {
            int c = sort_order(expected->items[at - 1], change, options->target);
            bool after = options->order == MVCC_ORDER_DESCEND ? c < 0 : c > 0;
            if (options->order == MVCC_ORDER_NONE && options->target == MVCC_TARGET_KEY)
                after = false;
            if (!after)
                break;
            expected->items[at] = expected->items[at - 1];
        }
        expected->items[at] = change;
    }
    if (options->limit > 0 && expected->count > (size_t)options->limit) {
        expected->count = (size_t)options->limit;
        expected->more = true;
    }
}

static void assert_item(struct history *self, struct mvcc_range *range,
                        const struct mvcc_view *view, const struct model_change *change)
{
    struct mvcc_record record;
    uint8_t blob[128];
    struct mvcc_kv kv = model_kv(change);
    assert_int_equal(range->item.seq, change->seq);
    assert_int_equal(range->item.main, change->main);
    MUST_OK(mvcc_view_read(view, range->item.seq, &record, NULL));
    mvcc_kv_encode(&kv, blob);
    assert_true(bytes_equal(record.blob, bytes_of(blob, mvcc_kv_bytes(&kv))));
    assert_int_equal(range->item.blob_bytes, record.blob.len);
    if (range->options.keys_only)
        assert_true(range->item.has_meta);
    if (range->item.has_meta) {
        assert_int_equal(range->item.create, change->create);
        assert_int_equal(range->item.version, change->version);
        assert_int_equal(range->item.lease, change->lease);
    }
    if (range->options.target == MVCC_TARGET_KEY && below(self, 2))
        assert_true(bytes_equal(mvcc_range_key(range), kv.key));
}

/* Walks a range in slices; between them the history may go on, under a pin. */
static void ask_range(struct history *self, const struct mvcc_range_options *options, uint64_t seq,
                      bool go_on)
{
    struct rig *rig = &self->rig;
    struct expected expected;
    struct mvcc_range range;
    struct mvcc_pin pin;
    size_t given = 0;
    expect(self, options, seq, &expected);
    MUST_OK(mvcc_pin_take(mvcc_store_pins(rig->store), seq, self->now_ms, &pin));
    mvcc_range_init(&range, options, seq);
    self->busy = true;
    for (enum mvcc_range_step step = MVCC_RANGE_MORE; step != MVCC_RANGE_END;) {
        unsigned budget = (unsigned)below(self, 12) + 1;
        epoch_enter(&rig->epoch, rig->slot);
        const struct mvcc_view *view = mvcc_store_view(rig->store);
        do {
            MUST_OK(mvcc_range_run(&range, view, &budget, &step));
            if (step != MVCC_RANGE_ITEM)
                break;
            assert_true(given < expected.count);
            assert_item(self, &range, view, expected.items[given++]);
        } while (budget > 0);
        mvcc_range_pause(&range);
        epoch_leave(rig->slot);
        if (go_on && below(self, 2))
            do_something(self);
        epoch_reclaim(&rig->epoch, 100);
    }
    self->busy = false;
    assert_int_equal(given, expected.count);
    assert_int_equal(range.more, expected.more);
    if (!options->skip_count)
        assert_int_equal(range.count, expected.total);
    mvcc_range_done(&range);
    mvcc_pin_drop(mvcc_store_pins(rig->store), &pin);
}

static int64_t any_revision(struct history *self)
{
    int64_t first = self->model->compact_revision < 1 ? 1 : self->model->compact_revision;
    return first + (int64_t)below(self, (uint64_t)(self->model->revision - first + 1));
}

static void ask_something(struct history *self, bool go_on)
{
    struct rig *rig = &self->rig;
    int64_t revision = below(self, 3) ? any_revision(self) : 0;
    struct mvcc_range_options options = {
        .span = any_span(self),
        .limit = below(self, 2) ? (int64_t)below(self, 12) - 1 : 0,
        .order = (enum mvcc_order)below(self, 3),
        .target = below(self, 2) ? MVCC_TARGET_KEY : (enum mvcc_target)below(self, 5),
        .keys_only = below(self, 3) == 0,
        .count_only = below(self, 5) == 0,
        .skip_count = below(self, 6) == 0,
    };
    if (below(self, 3) == 0) {
        options.min_mod_revision = below(self, 2) ? 0 : any_revision(self);
        options.max_mod_revision = below(self, 2) ? 0 : any_revision(self);
        options.min_create_revision = below(self, 2) ? 0 : any_revision(self);
        options.max_create_revision = below(self, 2) ? 0 : any_revision(self);
    }
    uint64_t seq;
    MUST_OK(mvcc_view_seq_of(mvcc_store_view(rig->store), revision, &seq));
    ask_range(self, &options, seq, go_on);
    /* Also at a moment inside a revision, as the ops of a txn saw it. */
    uint64_t low = model_seq_of(self->model, self->model->compact_revision);
    if (self->model->count > 0 && below(self, 4) == 0) {
        const struct model_change *change = &self->model->changes[below(self, self->model->count)];
        if (change->seq >= low && change->main >= self->model->compact_revision)
            ask_range(self, &options, change->seq, go_on);
    }
}

static void ask_hash(struct history *self)
{
    struct model *model = self->model;
    const struct mvcc_view *view = mvcc_store_view(self->rig.store);
    int64_t revision = below(self, 2) ? any_revision(self) : 0;
    if (revision == 1 && model->compact_revision > 1)
        return;
    struct mvcc_hash hash;
    MUST_OK(rig_hash(&self->rig, revision, (unsigned)below(self, 50) + 1, &hash));
    bool stored = false;
    for (unsigned i = 0; i < view->hash_count; i++)
        stored = stored || (revision > 0 && view->hashes[i].revision == revision);
    if (stored) {
        assert_int_equal(hash.hash, model->compact_hashes[revision]);
        return;
    }
    int64_t r = revision ? revision : model->revision;
    assert_int_equal(hash.compact_revision, model->compact_revision);
    assert_int_equal(hash.hash_revision, r);
    assert_int_equal(hash.hash, model_hash(model, r, model->compact_revision, false));
}

/* One that goes on from the last such, in slices, the history going on between them. */
static void ask_hash_on(struct history *self)
{
    struct model *model = self->model;
    struct rig *rig = &self->rig;
    int64_t revision = below(self, 4) ? 0 : any_revision(self);
    if (revision == 1 && model->compact_revision > 1)
        return;
    struct mvcc_hash_job job;
    MUST_OK(mvcc_hash_job_begin_on(&job, mvcc_store_view(rig->store), revision, &self->base,
                                   mvcc_store_pins(rig->store), self->now_ms));
    bool is_stored = job.hash.compact_revision != model->compact_revision;
    uint32_t expected =
        is_stored ? model->compact_hashes[revision]
                  : model_hash(model, job.hash.hash_revision, model->compact_revision, false);
    self->busy = true;
    for (bool done = false; !done;) {
        unsigned budget = (unsigned)below(self, 60) + 1;
        epoch_enter(&rig->epoch, rig->slot);
        MUST_OK(mvcc_hash_run(&job.hash, mvcc_store_view(rig->store), &budget, &done));
        epoch_leave(rig->slot);
        if (!done && below(self, 4) == 0)
            do_something(self);
    }
    self->busy = false;
    assert_int_equal(job.hash.hash, expected);
    self->gone_on_count += job.hash.base_revision > 0;
    mvcc_hash_leave(&job.hash, &self->base);
    mvcc_hash_job_done(&job);
}

/* Hashes that went on from another. */
static unsigned run_history(uint64_t seed, unsigned steps)
{
    struct history *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    self->model = calloc(1, sizeof(*self->model));
    assert_non_null(self->model);
    self->model->revision = 1;
    self->model->compact_revision = -1;
    prng_init(&self->prng, seed);
    model_sorted_keys(self->order);
    rig_init(&self->rig, 8192);
    for (unsigned i = 0; i < steps && self->model->count + 3000 < MODEL_CHANGES; i++) {
        do_something(self);
        if (below(self, 3) == 0)
            ask_something(self, below(self, 2));
        if (below(self, 40) == 0)
            ask_hash(self);
        if (below(self, 40) == 0)
            ask_hash_on(self);
    }
    rig_sweep_all(&self->rig);
    ask_hash(self);
    for (int i = 0; i < 50; i++)
        ask_something(self, false);
    unsigned gone_on_count = self->gone_on_count;
    mvcc_hash_base_done(&self->base);
    rig_done(&self->rig);
    buf_done(&self->checkpoint);
    free(self->model);
    free(self);
    return gone_on_count;
}

static void test_histories_equal_the_model(void **state)
{
    const char *seed = getenv("CORACLE_SEED");
    if (seed) {
        (void)run_history(strtoull(seed, NULL, 10), 3000);
        return;
    }
    unsigned gone_on_count = 0;
    for (uint64_t i = 1; i <= 8; i++) {
        print_message("seed %llu\n", (unsigned long long)i);
        gone_on_count += run_history(i, 1500);
    }
    assert_true(gone_on_count > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories_equal_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
