/* Leases as entries make them: grants and their refusals, keys that come and go, revokes in one
 * revision and in slices, checkpoints. */
#include "fixture.h"

#include "base/prng.h"
#include "mvcc/hash.h"
#include "state/lease.h"

#include <stdio.h>

#define TTL_MIN_S 2

static const struct state_config config = {.lease_ttl_min_s = TTL_MIN_S};

static const struct state_result *do_grant(struct fixture *f, int64_t id, int64_t ttl)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = id;
    grant.ttl = ttl;
    r.lease_grant = &grant;
    return apply(f, &r);
}

static const struct state_result *do_revoke(struct fixture *f, int64_t id)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = id;
    r.lease_revoke = &revoke;
    return apply(f, &r);
}

static const struct state_result *do_checkpoint(struct fixture *f, int64_t id, int64_t remaining)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseCheckpointRequest request = ETCDSERVERPB__LEASE_CHECKPOINT_REQUEST__INIT;
    Etcdserverpb__LeaseCheckpoint one = ETCDSERVERPB__LEASE_CHECKPOINT__INIT;
    Etcdserverpb__LeaseCheckpoint *list[] = {&one};
    one.id = id;
    one.remaining_ttl = remaining;
    request.n_checkpoints = 1;
    request.checkpoints = list;
    r.lease_checkpoint = &request;
    return apply(f, &r);
}

static const struct state_result *put_with(struct fixture *f, const char *key, int64_t lease)
{
    Etcdserverpb__PutRequest *put = put_of(f, key, "v");
    put->lease = lease;
    return do_put(f, put);
}

/* "a b c": what the lease holds, as readers of the next view will see it. */
static const char *keys_of(struct fixture *f, int64_t id)
{
    static char text[256];
    struct lease_keys at;
    text[0] = '\0';
    (void)state_publish(f->state);
    lease_keys_seek(&at, state_lease_keys(f->state), id, BYTES_NONE);
    for (; lease_keys_valid(&at); lease_keys_next(&at)) {
        uint8_t scratch[64];
        struct bytes key = lease_keys_key(&at, scratch);
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%.*s", len ? " " : "", (int)key.len,
                 (const char *)key.data);
    }
    state_retire(f->state);
    return text;
}

static void a_grant_is_judged_in_order(void **ctx)
{
    const struct {
        int64_t id, ttl;
        err error;
        int64_t granted;
    } rows[] = {
        {7, 60, OK, 60},
        {7, 60, ERR_LEASE_EXIST, 0},
        {7, LEASE_TTL_MAX_S + 1, ERR_LEASE_TTL_TOO_LARGE, 0}, /* before "exists" */
        {8, LEASE_TTL_MAX_S, OK, LEASE_TTL_MAX_S},
        {9, 1, OK, TTL_MIN_S},
        {10, 0, OK, TTL_MIN_S},
        {11, -5, OK, TTL_MIN_S},
        {-12, 10, OK, 10},
        {0, 10, ERR_LEASE_NOT_FOUND, 0},
    };
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct state_result *r = do_grant(&f, rows[i].id, rows[i].ttl);
        assert_int_equal(r->error.code, rows[i].error.code);
        assert_int_equal(r->op.kind, STATE_LEASE_GRANT);
        assert_int_equal(r->lease_ttl_s, rows[i].granted);
        if (err_ok(r->error)) {
            assert_int_equal(r->lease_id, rows[i].id);
            assert_int_equal(r->revision, 1);
        }
    }
    assert_int_equal(lease_table_count(state_leases(f.state)), 6);
    fixture_end(&f);
}

static void a_grant_is_stored_as_etcd_stores_it(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 0x0102, 60);
    struct mvcc_view view;
    struct bytes value;
    mvcc_store_peek(state_store(f.state), &view);
    static const uint8_t key[] = {0, 0, 0, 0, 0, 0, 1, 2};
    static const uint8_t stored[] = {0x08, 0x82, 0x02, 0x10, 60};
    assert_true(mvcc_view_bucket_find(&view, MVCC_BUCKET_LEASE, bytes_of(key, 8), &value));
    assert_true(bytes_equal(value, bytes_of(stored, sizeof(stored))));
    (void)do_revoke(&f, 0x0102);
    mvcc_store_peek(state_store(f.state), &view);
    assert_false(mvcc_view_bucket_find(&view, MVCC_BUCKET_LEASE, bytes_of(key, 8), &value));
    fixture_end(&f);
}

static void a_put_needs_its_lease(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    assert_int_equal(put_with(&f, "a", 5)->error.code, ERR_LEASE_NOT_FOUND.code);
    assert_string_equal(value_now(&f, "a"), "");
    (void)do_grant(&f, 5, 10);
    assert_int_equal(put_with(&f, "a", 5)->error.code, 0);
    assert_string_equal(keys_of(&f, 5), "a");
    fixture_end(&f);
}

static void keys_move_between_leases(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 5, 10);
    (void)do_grant(&f, -6, 10);
    (void)put_with(&f, "b", 5);
    (void)put_with(&f, "a", 5);
    (void)put_with(&f, "c", -6);
    assert_string_equal(keys_of(&f, 5), "a b");
    (void)put_with(&f, "a", -6);
    assert_string_equal(keys_of(&f, 5), "b");
    assert_string_equal(keys_of(&f, -6), "a c");
    Etcdserverpb__PutRequest *put = put_of(&f, "a", "w");
    put->ignore_lease = true;
    assert_int_equal(do_put(&f, put)->error.code, 0);
    assert_string_equal(keys_of(&f, -6), "a c");
    (void)do_put(&f, put_of(&f, "a", "x")); /* no lease: let go */
    assert_string_equal(keys_of(&f, -6), "c");
    (void)do_delete(&f, delete_of(&f, "b", "d"));
    assert_string_equal(keys_of(&f, 5), "");
    assert_string_equal(keys_of(&f, -6), "");
    fixture_end(&f);
}

static void a_txn_moves_keys_too(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 5, 10);
    (void)put_with(&f, "old", 5);
    Etcdserverpb__PutRequest *put = put_of(&f, "new", "1");
    put->lease = 5;
    Etcdserverpb__RequestOp *ops[] = {op_put(&f, put), op_delete(&f, delete_of(&f, "old", NULL)),
                                      NULL};
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, ops, NULL))->error.code, 0);
    assert_string_equal(keys_of(&f, 5), "new");
    put->lease = 6;
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, ops, NULL))->error.code, ERR_LEASE_NOT_FOUND.code);
    assert_string_equal(keys_of(&f, 5), "new");
    fixture_end(&f);
}

static void a_revoke_deletes_in_one_revision(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 5, 10);
    (void)put_with(&f, "b", 5);
    (void)put_with(&f, "a", 5);
    (void)put_with(&f, "keep", 0);
    const struct state_result *r = do_revoke(&f, 5);
    assert_int_equal(r->error.code, 0);
    assert_int_equal(r->revision, 5);
    assert_int_equal(r->lease_id, 5);
    assert_string_equal(value_now(&f, "a"), "");
    assert_string_equal(value_now(&f, "b"), "");
    assert_string_equal(value_now(&f, "keep"), "v");
    assert_int_equal(do_revoke(&f, 5)->error.code, ERR_LEASE_NOT_FOUND.code);
    (void)do_grant(&f, 5, 10);
    r = do_revoke(&f, 5); /* without keys there is no new revision */
    assert_int_equal(r->revision, 5);
    fixture_end(&f);
}

static void alarms_refuse_what_they_should(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 5, 10);
    (void)do_alarm(&f, 1, 1, ALARM_NOSPACE);
    assert_int_equal(do_grant(&f, 6, 10)->error.code, ERR_NO_SPACE.code);
    assert_int_equal(do_revoke(&f, 5)->error.code, 0);
    (void)do_alarm(&f, 2, 1, ALARM_NOSPACE);
    (void)do_grant(&f, 5, 10);
    (void)do_alarm(&f, 1, 1, ALARM_CORRUPT);
    assert_int_equal(do_grant(&f, 6, 10)->error.code, ERR_CORRUPT_CLUSTER.code);
    assert_int_equal(do_revoke(&f, 5)->error.code, ERR_CORRUPT_CLUSTER.code);
    assert_int_equal(do_checkpoint(&f, 5, 3)->error.code, 0);
    fixture_end(&f);
}

static void a_grant_over_quota_is_done_and_refused(void **ctx)
{
    (void)ctx;
    struct fixture f;
    const struct state_config small = {.lease_ttl_min_s = TTL_MIN_S, .quota_bytes = 100};
    fixture_begin(&f, &small);
    state_set_size(f.state, 35);
    assert_int_equal(do_grant(&f, 5, 10)->error.code, 0);
    state_set_size(f.state, 36);
    assert_int_equal(do_grant(&f, 6, 10)->error.code, ERR_NO_SPACE.code);
    assert_non_null(lease_table_find(state_leases(f.state), 6));
    fixture_end(&f);
}

static void a_checkpoint_is_kept(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    assert_int_equal(do_checkpoint(&f, 5, 3)->error.code, ERR_LEASE_NOT_FOUND.code);
    (void)do_grant(&f, 5, 100);
    assert_int_equal(do_checkpoint(&f, 5, 3)->error.code, 0);
    assert_int_equal(lease_table_find(state_leases(f.state), 5)->remaining_s, 3);
    fixture_end(&f);
}

/* A history of all kinds of entries; the same whatever the slices are. */
static uint32_t random_history(unsigned slice, uint64_t seed)
{
    struct fixture f;
    struct prng prng;
    fixture_begin(&f, &config);
    f.slice = slice;
    prng_init(&prng, seed);
    for (unsigned i = 0; i < 1500; i++) {
        char key[16];
        int64_t id = (int64_t)prng_below(&prng, 6) - 2;
        snprintf(key, sizeof(key), "k%03u", (unsigned)prng_below(&prng, 200));
        switch (prng_below(&prng, 8)) {
        case 0:
            (void)do_grant(&f, id, 10);
            break;
        case 1:
            if (prng_below(&prng, 8) == 0)
                (void)do_revoke(&f, id);
            break;
        case 2:
            (void)do_delete(&f, delete_of(&f, key, prng_below(&prng, 4) ? NULL : "k15"));
            break;
        default:
            (void)put_with(&f, key, prng_below(&prng, 3) ? id : 0);
            break;
        }
    }
    for (int64_t id = -2; id < 4; id++) {
        (void)do_revoke(&f, id);
        assert_string_equal(keys_of(&f, id), "");
    }
    uint32_t hash = hash_now(&f);
    fixture_end(&f);
    return hash;
}

static void slices_do_not_show(void **ctx)
{
    (void)ctx;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint32_t whole = random_history(0, seed);
        assert_int_equal(random_history(1, seed), whole);
        assert_int_equal(random_history(7, seed), whole);
    }
}

static void a_large_lease_goes_in_slices(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, &config);
    (void)do_grant(&f, 5, 10);
    for (unsigned i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        (void)put_with(&f, key, 5);
    }
    f.slice = 100;
    assert_int_equal(do_revoke(&f, 5)->revision, 1002);
    assert_true(f.runs >= 10);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_is_judged_in_order),
        cmocka_unit_test(a_grant_is_stored_as_etcd_stores_it),
        cmocka_unit_test(a_put_needs_its_lease),
        cmocka_unit_test(keys_move_between_leases),
        cmocka_unit_test(a_txn_moves_keys_too),
        cmocka_unit_test(a_revoke_deletes_in_one_revision),
        cmocka_unit_test(alarms_refuse_what_they_should),
        cmocka_unit_test(a_grant_over_quota_is_done_and_refused),
        cmocka_unit_test(a_checkpoint_is_kept),
        cmocka_unit_test(slices_do_not_show),
        cmocka_unit_test(a_large_lease_goes_in_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
