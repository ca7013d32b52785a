/* Known answers of the store: revisions, versions, tombstones, compaction, hashes, buckets, pins.
 */
#include "store_fixture.h"

static struct mvcc_kv read_kv(struct rig *rig, const char *key, int64_t revision, bool *ret_found)
{
    const struct mvcc_view *view = mvcc_store_view(rig->store);
    struct mvcc_kv kv = {0};
    struct mvcc_state state;
    struct mvcc_record record;
    uint64_t seq;
    MUST_OK(mvcc_view_seq_of(view, revision, &seq));
    MUST_OK(mvcc_view_find(view, bytes_str(key), seq, &state, ret_found, NULL));
    if (!*ret_found)
        return kv;
    MUST_OK(mvcc_view_read(view, state.seq, &record, NULL));
    MUST_OK(mvcc_kv_decode(record.blob, &kv));
    assert_int_equal(record.blob.len, state.blob_bytes);
    MUST_OK(mvcc_view_fill(view, &state, NULL));
    assert_int_equal(state.main, kv.mod);
    assert_int_equal(state.create, kv.create);
    assert_int_equal(state.version, kv.version);
    assert_int_equal(state.lease, kv.lease);
    return kv;
}

static void assert_value(struct rig *rig, const char *key, int64_t revision, const char *value,
                         int64_t create, int64_t version)
{
    bool found;
    struct mvcc_kv kv = read_kv(rig, key, revision, &found);
    assert_int_equal(found, value != NULL);
    if (!value)
        return;
    assert_true(bytes_equal(kv.value, bytes_str(value)));
    assert_int_equal(kv.create, create);
    assert_int_equal(kv.version, version);
}

static void test_revisions_and_versions(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    assert_int_equal(mvcc_store_view(rig.store)->revision, 1);
    assert_int_equal(rig_put(&rig, "a", "1"), 2);
    assert_int_equal(rig_put(&rig, "a", "2"), 3);
    assert_int_equal(rig_delete(&rig, "a", ""), 4);
    assert_int_equal(rig_delete(&rig, "a", ""), 4); /* nothing there: no revision */
    assert_int_equal(rig_put(&rig, "a", "3"), 5);
    bool found;
    read_kv(&rig, "a", 0, &found);
    assert_false(found); /* not published */
    rig_publish(&rig);
    assert_value(&rig, "a", 2, "1", 2, 1);
    assert_value(&rig, "a", 3, "2", 2, 2);
    assert_value(&rig, "a", 4, NULL, 0, 0);
    assert_value(&rig, "a", 5, "3", 5, 1);
    assert_value(&rig, "a", -1, "3", 5, 1);
    assert_value(&rig, "a", 1, NULL, 0, 0);
    uint64_t seq;
    assert_true(err_is(mvcc_view_seq_of(mvcc_store_view(rig.store), 6, &seq), ERR_FUTURE_REV));
    rig_flush(&rig);
    assert_value(&rig, "a", 3, "2", 2, 2);
    rig_done(&rig);
}

static void test_ignore_value_and_lease(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    struct mvcc_put put = {.key = BYTES_LIT("a"), .ignore_value = true};
    mvcc_txn_begin(rig.store);
    assert_true(err_is(mvcc_txn_put(rig.store, &put, NULL), ERR_KEY_NOT_FOUND));
    assert_int_equal(mvcc_txn_end(rig.store), 1);
    put = (struct mvcc_put){.key = BYTES_LIT("a"), .value = BYTES_LIT("kept"), .lease = 7};
    struct mvcc_change change;
    mvcc_txn_begin(rig.store);
    MUST_OK(mvcc_txn_put(rig.store, &put, &change));
    assert_false(mvcc_head_is_live(&change.before));
    mvcc_txn_end(rig.store);
    rig_flush(&rig); /* the value must come back from a segment */
    put = (struct mvcc_put){.key = BYTES_LIT("a"), .ignore_value = true, .lease = 8};
    mvcc_txn_begin(rig.store);
    MUST_OK(mvcc_txn_put(rig.store, &put, &change));
    mvcc_txn_end(rig.store);
    assert_int_equal(change.before.lease, 7);
    rig_publish(&rig);
    bool found;
    struct mvcc_kv kv = read_kv(&rig, "a", 0, &found);
    assert_true(bytes_equal(kv.value, BYTES_LIT("kept")));
    assert_int_equal(kv.lease, 8);
    put = (struct mvcc_put){.key = BYTES_LIT("a"), .value = BYTES_LIT("x"), .ignore_lease = true};
    mvcc_txn_begin(rig.store);
    MUST_OK(mvcc_txn_put(rig.store, &put, NULL));
    mvcc_txn_end(rig.store);
    rig_publish(&rig);
    kv = read_kv(&rig, "a", 0, &found);
    assert_true(bytes_equal(kv.value, BYTES_LIT("x")));
    assert_int_equal(kv.lease, 8);
    rig_done(&rig);
}

/* One revision, several changes; a promise made inside the txn reads what was true then. */
static void test_changes_within_a_txn(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    rig_put(&rig, "b", "old");
    struct mvcc_put put = {.key = BYTES_LIT("a"), .value = BYTES_LIT("1")};
    struct mvcc_change change;
    mvcc_txn_begin(rig.store);
    assert_int_equal(mvcc_txn_revision(rig.store), 2);
    MUST_OK(mvcc_txn_put(rig.store, &put, &change));
    assert_int_equal(change.main, 3);
    assert_int_equal(change.sub, 0);
    assert_int_equal(mvcc_txn_revision(rig.store), 3);
    uint64_t between = mvcc_store_seq(rig.store);
    put.key = BYTES_LIT("b");
    MUST_OK(mvcc_txn_put(rig.store, &put, &change));
    assert_int_equal(change.sub, 1);
    assert_int_equal(mvcc_txn_end(rig.store), 3);
    rig_publish(&rig);
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    struct mvcc_state seen;
    bool found;
    MUST_OK(mvcc_view_find(view, BYTES_LIT("a"), between, &seen, &found, NULL));
    assert_true(found);
    MUST_OK(mvcc_view_find(view, BYTES_LIT("b"), between, &seen, &found, NULL));
    assert_true(found && seen.main == 2);
    rig_done(&rig);
}

static void test_delete_range_in_slices(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    char key[16];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "k%03d", i);
        rig_put(&rig, key, "v");
    }
    rig_publish(&rig);
    struct mvcc_span span = mvcc_span_of(BYTES_LIT("k100"), BYTES_LIT("k400"));
    struct mvcc_delete del;
    mvcc_delete_init(&del, &span);
    mvcc_txn_begin(rig.store);
    int slices = 0;
    for (unsigned budget = 7; !mvcc_txn_delete_run(rig.store, &del, &budget); budget = 7) {
        slices++;
        /* Nobody sees a part of it. */
        assert_int_equal(mvcc_root_live(mvcc_store_view(rig.store)->root), 500);
        assert_value(&rig, "k100", 0, "v", 102, 1);
    }
    assert_true(slices > 300 / 7 - 2);
    assert_int_equal(del.deleted, 300);
    mvcc_delete_done(&del);
    assert_int_equal(mvcc_txn_end(rig.store), 502);
    rig_publish(&rig);
    assert_int_equal(mvcc_root_live(mvcc_store_view(rig.store)->root), 200);
    assert_value(&rig, "k099", 0, "v", 101, 1);
    assert_value(&rig, "k100", 0, NULL, 0, 0);
    assert_value(&rig, "k399", 0, NULL, 0, 0);
    assert_value(&rig, "k400", 0, "v", 402, 1);
    rig_done(&rig);
}

static void test_compaction(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    MUST_OK(mvcc_store_compact(rig.store, 0)); /* the mark is -1 at first */
    assert_true(err_is(mvcc_store_compact(rig.store, 0), ERR_COMPACTED));
    assert_true(err_is(mvcc_store_compact(rig.store, 2), ERR_FUTURE_REV));
    rig_put(&rig, "a", "1");   /* 2 */
    rig_put(&rig, "b", "1");   /* 3 */
    rig_delete(&rig, "a", ""); /* 4 */
    rig_put(&rig, "b", "2");   /* 5 */
    rig_delete(&rig, "b", ""); /* 6 */
    rig_sweep_all(&rig);
    MUST_OK(mvcc_store_compact(rig.store, 6));
    assert_true(err_is(mvcc_store_compact(rig.store, 6), ERR_COMPACTED));
    assert_true(err_is(mvcc_store_compact(rig.store, 7), ERR_FUTURE_REV));
    assert_false(mvcc_store_is_swept(rig.store));
    rig_sweep_all(&rig);
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    uint64_t seq;
    MUST_OK(mvcc_view_seq_of(view, 6, &seq));
    assert_true(err_is(mvcc_view_seq_of(view, 5, &seq), ERR_COMPACTED));
    /* The tombstone at the compacted revision stays until the next compaction; a's is gone. */
    struct mvcc_head head;
    assert_false(mvcc_root_find(view->root, BYTES_LIT("a"), &head));
    assert_true(mvcc_root_find(view->root, BYTES_LIT("b"), &head));
    rig_put(&rig, "c", "1"); /* 7 */
    MUST_OK(mvcc_store_compact(rig.store, 7));
    rig_sweep_all(&rig);
    rig_publish(&rig);
    view = mvcc_store_view(rig.store);
    assert_false(mvcc_root_find(view->root, BYTES_LIT("b"), &head));
    assert_true(mvcc_root_find(view->root, BYTES_LIT("c"), &head));
    struct bytes value;
    assert_true(
        mvcc_view_bucket_find(view, MVCC_BUCKET_META, BYTES_LIT("finishedCompactRev"), &value));
    assert_int_equal(value.len, 17);
    assert_int_equal(bytes_get_be64(value.data), 7);
    rig_done(&rig);
}

/* Values that etcd answers. */
static void test_known_hashes(void **state)
{
    struct rig rig;
    struct mvcc_hash hash;
    rig_init(&rig, 4096);
    MUST_OK(rig_hash(&rig, 0, 10, &hash));
    assert_int_equal(hash.hash, 1084519789u);
    assert_int_equal(hash.hash_revision, 1);
    assert_int_equal(hash.compact_revision, -1);
    rig_put(&rig, "a", "1");
    MUST_OK(mvcc_store_compact(rig.store, 2));
    rig_sweep_all(&rig);
    rig_delete(&rig, "a", "");
    rig_publish(&rig);
    MUST_OK(rig_hash(&rig, 3, 1, &hash));
    assert_int_equal(hash.hash, 3520211144u);
    assert_int_equal(hash.compact_revision, 2);
    MUST_OK(mvcc_store_compact(rig.store, 3));
    rig_sweep_all(&rig);
    rig_publish(&rig);
    MUST_OK(rig_hash(&rig, 3, 1, &hash));
    assert_int_equal(hash.hash, 3681333679u);
    assert_int_equal(hash.compact_revision, 2);
    MUST_OK(rig_hash(&rig, 0, 1, &hash));
    assert_int_equal(hash.hash, 1084519789u);
    assert_int_equal(hash.compact_revision, 3);
    MUST_OK(rig_hash(&rig, -5, 1, &hash));
    assert_int_equal(hash.hash, 1084519789u);
    assert_int_equal(hash.hash_revision, -5);
    assert_int_equal(hash.compact_revision, 3);
    MUST_OK(rig_hash(&rig, 2, 1, &hash)); /* what the compaction before left */
    assert_int_equal(hash.hash, 2587454935u);
    assert_int_equal(hash.compact_revision, -1);
    assert_true(err_is(rig_hash(&rig, 1, 1, &hash), ERR_COMPACTED));
    assert_true(err_is(rig_hash(&rig, 4, 1, &hash), ERR_FUTURE_REV));
    rig_done(&rig);
}

/* etcd accepts a put behind a deletion of its key in one transaction where the deletion is of "from
 * this key on", and its hash then takes the key for dead at that revision. */
static void test_hash_where_a_key_came_back_at_once(void **state)
{
    static const char from_zero[] = {0};
    struct rig rig;
    struct mvcc_hash hash;
    rig_init(&rig, 4096);
    rig_put(&rig, "a", "1");
    rig_put(&rig, "b", "2");
    rig_delete(&rig, "a", "");
    MUST_OK(mvcc_store_compact(rig.store, 3));
    rig_sweep_all(&rig);
    struct mvcc_span all = mvcc_span_of(bytes_of(from_zero, 1), bytes_of(from_zero, 1));
    struct mvcc_put put = {.key = BYTES_LIT("b"), .value = BYTES_LIT("3")};
    struct mvcc_delete del;
    unsigned budget = 1000;
    mvcc_txn_begin(rig.store);
    mvcc_delete_init(&del, &all);
    assert_true(mvcc_txn_delete_run(rig.store, &del, &budget));
    mvcc_delete_done(&del);
    MUST_OK(mvcc_txn_put(rig.store, &put, NULL));
    assert_int_equal(mvcc_txn_end(rig.store), 5);
    rig_publish(&rig);
    MUST_OK(rig_hash(&rig, 4, 1, &hash));
    assert_int_equal(hash.hash, 776148148u);
    MUST_OK(rig_hash(&rig, 5, 1, &hash));
    assert_int_equal(hash.hash, 2365368685u);
    rig_done(&rig);
}

/* A first compaction, and a cleaning behind it, while a hash goes on. */
static void test_hash_pins_what_it_needs(void **state)
{
    struct rig rig;
    struct mvcc_hash hash, slow;
    struct mvcc_pin pin;
    bool done = false;
    rig_init(&rig, 4096);
    for (int i = 0; i < 40; i++)
        rig_put(&rig, i % 2 ? "a" : "b", "value");
    rig_publish(&rig);
    rig_flush(&rig);
    MUST_OK(rig_hash(&rig, 20, 100, &hash));
    MUST_OK(mvcc_hash_begin(&slow, mvcc_store_view(rig.store), 20));
    MUST_OK(mvcc_pin_take(mvcc_store_pins(rig.store), slow.pin_seq, 1, &pin));
    MUST_OK(mvcc_store_compact(rig.store, 40));
    while (!done) {
        unsigned budget = 3;
        rig_publish(&rig);
        rig_reclaim(&rig);
        rig_flush(&rig);
        rig_sweep(&rig, 100);
        (void)revlog_memory_seal(rig.memory);
        (void)revlog_memory_clean(rig.memory);
        MUST_OK(mvcc_hash_run(&slow, mvcc_store_view(rig.store), &budget, &done));
    }
    assert_int_equal(slow.hash, hash.hash);
    mvcc_hash_done(&slow);
    mvcc_pin_drop(mvcc_store_pins(rig.store), &pin);
    rig_done(&rig);
}

/* The rpc Hash, against the same bytes hashed plainly. */
static void test_hash_of_all_buckets(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    rig_put(&rig, "a", "1");
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_META, BYTES_LIT("term"), BYTES_LIT("x"));
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_META, BYTES_LIT("confState"), BYTES_LIT("{}"));
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_ALARM, BYTES_LIT("one"), BYTES_NONE);
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_MEMBERS, BYTES_LIT("1f"), BYTES_LIT("{m}"));
    rig_publish(&rig);
    static const uint8_t row[] = {0, 0, 0,  0, 0,   0,  0, 2,  '_', 0,  0, 0,    0, 0,  0,
                                  0, 0, 10, 1, 'a', 16, 2, 24, 2,   32, 1, 0x2a, 1, '1'};
    uint32_t expected = crc32c(0, BYTES_LIT("alarmoneauthauthRolesauthUsersclusterkey"));
    expected = crc32c(expected, bytes_of(row, sizeof(row)));
    expected = crc32c(expected, BYTES_LIT("leasemembers1f{m}members_removedmetaconfState{}"));
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    struct mvcc_hash hash;
    mvcc_hash_begin_all(&hash, view);
    unsigned budget = 1000;
    bool done;
    MUST_OK(mvcc_hash_run(&hash, view, &budget, &done));
    assert_true(done);
    assert_int_equal(hash.hash, expected);
    mvcc_hash_done(&hash);
    rig_done(&rig);
}

static void test_buckets(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    struct bytes value;
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_LEASE, BYTES_LIT("b"), BYTES_LIT("2"));
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_LEASE, BYTES_LIT("a"), BYTES_LIT("1"));
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_MEMBERS, BYTES_LIT("a"), BYTES_LIT("m"));
    assert_false(mvcc_view_bucket_find(mvcc_store_view(rig.store), MVCC_BUCKET_LEASE,
                                       BYTES_LIT("a"), &value));
    rig_publish(&rig);
    epoch_enter(&rig.epoch, rig.slot);
    const struct mvcc_view *old = mvcc_store_view(rig.store);
    assert_int_equal(old->revision, 1);
    mvcc_store_bucket_put(rig.store, MVCC_BUCKET_LEASE, BYTES_LIT("a"), BYTES_LIT("changed"));
    assert_true(mvcc_store_bucket_delete(rig.store, MVCC_BUCKET_LEASE, BYTES_LIT("b")));
    assert_false(mvcc_store_bucket_delete(rig.store, MVCC_BUCKET_LEASE, BYTES_LIT("b")));
    rig_publish(&rig);
    rig_reclaim(&rig);
    /* The old view shows the old contents, in order, and no other bucket's. */
    struct mvcc_bucket_cursor cursor;
    mvcc_bucket_cursor_seek(&cursor, old, MVCC_BUCKET_LEASE, BYTES_NONE);
    for (int i = 0; i < 2; i++, mvcc_bucket_cursor_next(&cursor)) {
        uint8_t key[1];
        assert_true(mvcc_bucket_cursor_valid(&cursor));
        assert_int_equal(mvcc_bucket_cursor_key_bytes(&cursor), 1);
        mvcc_bucket_cursor_key(&cursor, key);
        assert_int_equal(key[0], "ab"[i]);
        assert_int_equal(mvcc_bucket_cursor_value(&cursor).data[0], "12"[i]);
    }
    assert_false(mvcc_bucket_cursor_valid(&cursor));
    epoch_leave(rig.slot);
    rig_reopen(&rig);
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    assert_true(mvcc_view_bucket_find(view, MVCC_BUCKET_LEASE, BYTES_LIT("a"), &value));
    assert_true(bytes_equal(value, BYTES_LIT("changed")));
    assert_false(mvcc_view_bucket_find(view, MVCC_BUCKET_LEASE, BYTES_LIT("b"), &value));
    rig_done(&rig);
}

/* A pin holds the floor; once it is broken its holder hears of it. */
static void test_pins(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    rig_put(&rig, "a", "1"); /* 2 */
    rig_put(&rig, "a", "2"); /* 3 */
    rig_put(&rig, "a", "3"); /* 4 */
    rig_publish(&rig);
    struct mvcc_pins *pins = mvcc_store_pins(rig.store);
    struct mvcc_pin pin;
    uint64_t seq;
    MUST_OK(mvcc_view_seq_of(mvcc_store_view(rig.store), 2, &seq));
    MUST_OK(mvcc_pin_take(pins, seq, 1000, &pin));
    assert_int_equal(mvcc_pins_count(pins), 1);
    MUST_OK(mvcc_store_compact(rig.store, 4));
    for (int i = 0; i < 10; i++) {
        rig_publish(&rig);
        rig_reclaim(&rig);
        rig_flush(&rig);
        rig_sweep(&rig, 100);
    }
    assert_false(mvcc_store_is_swept(rig.store));
    assert_int_equal(mvcc_store_floor(rig.store), seq);
    assert_false(revlog_is_dead(rig.log, seq));
    struct mvcc_state seen;
    bool found;
    MUST_OK(mvcc_view_find(mvcc_store_view(rig.store), BYTES_LIT("a"), seq, &seen, &found, NULL));
    assert_true(found && seen.main == 2);
    MUST_OK(mvcc_pin_touch(&pin, 30000));
    assert_int_equal(mvcc_pins_expire(pins, 30000 + MVCC_PIN_IDLE_MS_MAX - 1), 0);
    assert_int_equal(mvcc_pins_expire(pins, 30000 + MVCC_PIN_IDLE_MS_MAX), 1);
    assert_true(err_is(mvcc_pin_touch(&pin, 100000), ERR_TIMED_OUT));
    rig_sweep_all(&rig);
    assert_true(revlog_is_dead(rig.log, seq));
    mvcc_pin_drop(pins, &pin);
    mvcc_pin_drop(pins, &pin);
    assert_int_equal(mvcc_pins_count(pins), 0);
    struct mvcc_pin many[MVCC_PINS_MAX];
    for (unsigned i = 0; i < MVCC_PINS_MAX; i++)
        MUST_OK(mvcc_pin_take(pins, 4, 0, &many[i]));
    assert_true(err_is(mvcc_pin_take(pins, 4, 0, &pin), ERR_LIMIT));
    for (unsigned i = 0; i < MVCC_PINS_MAX; i++)
        mvcc_pin_drop(pins, &many[i]);
    rig_done(&rig);
}

/* Who reads as of before the first change holds no pin, and finds nothing whatever becomes of what
 * came later. */
static void test_before_the_first_change(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    rig_put(&rig, "a", "1"); /* 2 */
    rig_put(&rig, "a", "2"); /* 3 */
    rig_flush(&rig);
    MUST_OK(mvcc_store_compact(rig.store, 3));
    rig_sweep_all(&rig);
    rig_put(&rig, "a", "3"); /* 4 */
    rig_flush(&rig);
    assert_true(revlog_memory_seal(rig.memory) && revlog_memory_clean(rig.memory));
    rig_publish(&rig);
    struct mvcc_state seen;
    bool found = true;
    MUST_OK(mvcc_view_find(mvcc_store_view(rig.store), BYTES_LIT("a"), 0, &seen, &found, NULL));
    assert_false(found);
    rig_done(&rig);
}

/* A scheduled compaction that had not finished goes on after a restart, without a hash. */
static void test_compaction_goes_on_after_a_restart(void **state)
{
    struct rig rig;
    rig_init(&rig, 4096);
    rig_put(&rig, "a", "1");   /* 2 */
    rig_delete(&rig, "a", ""); /* 3 */
    rig_put(&rig, "b", "1");   /* 4 */
    MUST_OK(mvcc_store_compact(rig.store, 4));
    rig_reopen(&rig);
    assert_int_equal(mvcc_store_compact_revision(rig.store), 4);
    assert_int_equal(mvcc_store_revision(rig.store), 4);
    uint64_t seq;
    assert_true(err_is(mvcc_view_seq_of(mvcc_store_view(rig.store), 3, &seq), ERR_COMPACTED));
    assert_false(mvcc_store_is_swept(rig.store));
    rig_sweep_all(&rig);
    rig_publish(&rig);
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    struct mvcc_head head;
    struct bytes value;
    assert_int_equal(view->hash_count, 0);
    assert_false(mvcc_root_find(view->root, BYTES_LIT("a"), &head));
    assert_true(
        mvcc_view_bucket_find(view, MVCC_BUCKET_META, BYTES_LIT("finishedCompactRev"), &value));
    /* What had finished is not noted again. */
    rig_flush(&rig);
    uint64_t before = mvcc_store_seq(rig.store);
    rig_reopen(&rig);
    rig_sweep_all(&rig);
    assert_int_equal(mvcc_store_seq(rig.store), before);
    /* The log still holds a's tombstone; the replayed index lets go of it again. */
    assert_false(mvcc_root_find(mvcc_store_view(rig.store)->root, BYTES_LIT("a"), &head));
    rig_done(&rig);
}

static void test_kv_bytes(void **state)
{
    uint8_t out[256];
    struct mvcc_kv kv = {.key = BYTES_LIT("k"),
                         .value = BYTES_LIT("v"),
                         .create = 300,
                         .mod = INT64_MAX,
                         .version = -1,
                         .lease = 1};
    struct mvcc_kv back;
    size_t n = mvcc_kv_bytes(&kv);
    mvcc_kv_encode(&kv, out);
    MUST_OK(mvcc_kv_decode(bytes_of(out, n), &back));
    assert_true(bytes_equal(back.key, kv.key) && bytes_equal(back.value, kv.value));
    assert_true(back.create == 300 && back.mod == INT64_MAX && back.version == -1 &&
                back.lease == 1);
    for (size_t cut = 1; cut < n; cut++) { /* no prefix reads beyond its end */
        uint8_t *exact = malloc(cut);
        assert_non_null(exact);
        memcpy(exact, out, cut);
        (void)!err_ok(mvcc_kv_decode(bytes_of(exact, cut), &back));
        free(exact);
    }
    static const uint8_t bad[][12] = {
        {0x0a, 0x05, 'x'},
        {0x00, 0x01},
        {0x13},
        {0x80},
        {0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}};
    static const size_t bad_bytes[] = {3, 2, 1, 1, 12};
    for (size_t i = 0; i < 5; i++)
        assert_true(err_is(mvcc_kv_decode(bytes_of(bad[i], bad_bytes[i]), &back), ERR_CORRUPT));
}

static err sorted_range(struct rig *rig, struct mvcc_range *range, struct mvcc_range_room *room)
{
    const struct mvcc_view *view = mvcc_store_view(rig->store);
    struct mvcc_range_options options = {.span = mvcc_span_of(BYTES_LIT("k"), BYTES_LIT("l")),
                                         .target = MVCC_TARGET_MOD,
                                         .room = room};
    mvcc_range_init(range, &options, view->seq);
    enum mvcc_range_step step = MVCC_RANGE_MORE;
    err e = OK;
    while (step == MVCC_RANGE_MORE && err_ok(e)) {
        unsigned budget = 50;
        e = mvcc_range_run(range, view, &budget, &step);
    }
    return e;
}

/* Large values that are compared take as many slices as their bytes want, not their number. */
static void test_large_values_are_sorted_in_slices(void **state)
{
    struct rig rig;
    rig_init(&rig, 16 << 20);
    static char value[100001];
    memset(value, 'v', sizeof(value) - 1);
    for (unsigned i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%02u", i);
        rig_put(&rig, key, value);
    }
    rig_publish(&rig);
    const struct mvcc_view *view = mvcc_store_view(rig.store);
    struct mvcc_range_options options = {.span = mvcc_span_of(BYTES_LIT("k"), BYTES_LIT("l")),
                                         .target = MVCC_TARGET_VALUE,
                                         .order = MVCC_ORDER_DESCEND};
    struct mvcc_range range;
    mvcc_range_init(&range, &options, view->seq);
    unsigned slices = 0, items = 0;
    for (enum mvcc_range_step step = MVCC_RANGE_MORE; step != MVCC_RANGE_END; slices++) {
        unsigned budget = 1000;
        MUST_OK(mvcc_range_run(&range, view, &budget, &step));
        items += step == MVCC_RANGE_ITEM;
    }
    mvcc_range_done(&range);
    assert_int_equal(items, 40);
    /* 24 a comparison, a few of them for each key, twice; an item a run besides. */
    assert_true(slices > 40 + 3);
    rig_done(&rig);
}

/* What walks collect to sort it is bounded over all of them. */
static void test_sorted_ranges_share_their_room(void **state)
{
    struct rig rig;
    rig_init(&rig, 65536);
    for (unsigned i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        rig_put(&rig, key, "v");
    }
    rig_publish(&rig);
    struct mvcc_range_room room = {.max_bytes = 1 << 20};
    struct mvcc_range one;
    MUST_OK(sorted_range(&rig, &one, &room));
    room.max_bytes = 2 * room.used_bytes; /* for two at a time */
    struct mvcc_range two, three;
    MUST_OK(sorted_range(&rig, &two, &room));
    assert_true(err_is(sorted_range(&rig, &three, &room), ERR_LIMIT));
    mvcc_range_done(&three);
    mvcc_range_done(&one);
    MUST_OK(sorted_range(&rig, &three, &room));
    mvcc_range_done(&three);
    mvcc_range_done(&two);
    assert_int_equal(room.used_bytes, 0);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revisions_and_versions),
        cmocka_unit_test(test_ignore_value_and_lease),
        cmocka_unit_test(test_changes_within_a_txn),
        cmocka_unit_test(test_delete_range_in_slices),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_known_hashes),
        cmocka_unit_test(test_hash_where_a_key_came_back_at_once),
        cmocka_unit_test(test_hash_pins_what_it_needs),
        cmocka_unit_test(test_hash_of_all_buckets),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_large_values_are_sorted_in_slices),
        cmocka_unit_test(test_sorted_ranges_share_their_room),
        cmocka_unit_test(test_before_the_first_change),
        cmocka_unit_test(test_compaction_goes_on_after_a_restart),
        cmocka_unit_test(test_kv_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
