/* Transactions: every target and result of a compare, branches, nesting, what is checked before
 * anything is changed, sub-revisions, and that slices make no difference. */
#include "fixture.h"

#include "base/prng.h"

enum { EQUAL = 0, GREATER = 1, LESS = 2, NOT_EQUAL = 3 };
enum { VERSION = 0, CREATE = 1, MOD = 2, VALUE = 3, LEASE = 4 };

static Etcdserverpb__Compare *compare_of(struct fixture *f, const char *key, const char *end,
                                         int target, int result, int64_t number, const char *value)
{
    Etcdserverpb__Compare *c = ARENA_NEW(&f->arena, Etcdserverpb__Compare);
    *c = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__PutRequest *texts = put_of(f, key, value);
    c->key = texts->key;
    c->range_end = put_of(f, NULL, end)->value;
    c->target = (Etcdserverpb__Compare__CompareTarget)target;
    c->result = (Etcdserverpb__Compare__CompareResult)result;
    if (target == VALUE && value) {
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        c->value = texts->value;
    } else if (number != INT64_MIN && target <= LEASE && target != VALUE) {
        static const Etcdserverpb__Compare__TargetUnionCase cases[] = {
            [VERSION] = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
            [CREATE] = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
            [MOD] = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
            [LEASE] = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
        };
        c->target_union_case = cases[target];
        c->version = number; /* the union's numbers share their place */
    }
    return c;
}

#define NONE INT64_MIN

static void compares_hold_by_the_table(void **ctx)
{
    (void)ctx;
    /* a: version 2, create 2, mod 3, value "m"; b: version 1, create 4, mod 4, value "n" */
    static const struct {
        const char *key;
        const char *end;
        int target;
        int result;
        int64_t number;
        const char *value;
        bool holds;
    } rows[] = {
        {"a", NULL, VERSION, EQUAL, 2, NULL, true},
        {"a", NULL, VERSION, EQUAL, 1, NULL, false},
        {"a", NULL, VERSION, GREATER, 1, NULL, true},
        {"a", NULL, VERSION, GREATER, 2, NULL, false},
        {"a", NULL, VERSION, LESS, 3, NULL, true},
        {"a", NULL, VERSION, LESS, 2, NULL, false},
        {"a", NULL, VERSION, NOT_EQUAL, 1, NULL, true},
        {"a", NULL, VERSION, NOT_EQUAL, 2, NULL, false},
        {"a", NULL, CREATE, EQUAL, 2, NULL, true},
        {"a", NULL, CREATE, LESS, 2, NULL, false},
        {"a", NULL, MOD, EQUAL, 3, NULL, true},
        {"a", NULL, MOD, GREATER, 3, NULL, false},
        {"a", NULL, VALUE, EQUAL, 0, "m", true},
        {"a", NULL, VALUE, EQUAL, 0, "mm", false},
        {"a", NULL, VALUE, LESS, 0, "mm", true},
        {"a", NULL, VALUE, GREATER, 0, "l", true},
        {"a", NULL, VALUE, NOT_EQUAL, 0, "l", true},
        {"a", NULL, LEASE, EQUAL, 0, NULL, true},
        {"a", NULL, LEASE, GREATER, 0, NULL, false},
        /* no such key: numbers are 0, a value never matches */
        {"x", NULL, VERSION, EQUAL, 0, NULL, true},
        {"x", NULL, CREATE, EQUAL, 0, NULL, true},
        {"x", NULL, CREATE, GREATER, 0, NULL, false},
        {"x", NULL, MOD, LESS, 1, NULL, true},
        {"x", NULL, LEASE, NOT_EQUAL, 0, NULL, false},
        {"x", NULL, VALUE, EQUAL, 0, "", false},
        {"x", NULL, VALUE, NOT_EQUAL, 0, "q", false},
        {"x", NULL, VALUE, LESS, 0, "q", false},
        /* an unset value counts as 0 or empty */
        {"a", NULL, VERSION, GREATER, NONE, NULL, true},
        {"a", NULL, VERSION, EQUAL, NONE, NULL, false},
        {"x", NULL, MOD, EQUAL, NONE, NULL, true},
        {"a", NULL, VALUE, GREATER, 0, NULL, true},
        /* unknown numbers */
        {"a", NULL, 9, EQUAL, 5, NULL, true},
        {"a", NULL, 9, NOT_EQUAL, 5, NULL, false},
        {"a", NULL, VERSION, 9, 77, NULL, true},
        /* ranges: all keys must match */
        {"a", "c", VERSION, GREATER, 0, NULL, true},
        {"a", "c", VERSION, EQUAL, 2, NULL, false},
        {"a", "c", MOD, LESS, 5, NULL, true},
        {"a", "b", VERSION, EQUAL, 2, NULL, true},
        {"a", "c", VALUE, GREATER, 0, "l", true},
        {"a", "c", VALUE, EQUAL, 0, "m", false},
        {"a", "c", CREATE, NOT_EQUAL, 3, NULL, true},
        {"x", "z", VERSION, EQUAL, 0, NULL, true},
        {"x", "z", VALUE, NOT_EQUAL, 0, "q", false},
    };
    for (unsigned slice = 0; slice < 3; slice++) {
        struct fixture f;
        fixture_begin(&f, NULL);
        (void)do_put(&f, put_of(&f, "a", "l"));
        (void)do_put(&f, put_of(&f, "a", "m"));
        (void)do_put(&f, put_of(&f, "b", "n"));
        f.slice = slice;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            Etcdserverpb__Compare *compares[] = {compare_of(&f, rows[i].key, rows[i].end,
                                                            rows[i].target, rows[i].result,
                                                            rows[i].number, rows[i].value),
                                                 NULL};
            const struct state_result *r = do_txn(&f, txn_of(&f, compares, NULL, NULL));
            assert_int_equal(r->error.code, 0);
            if (r->op.succeeded != rows[i].holds)
                fail_msg("row %zu", i);
            assert_int_equal(r->revision, 4);
        }
        fixture_end(&f);
    }
}

static void all_compares_must_hold(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    Etcdserverpb__Compare *yes = compare_of(&f, "x", NULL, VERSION, EQUAL, 0, NULL);
    Etcdserverpb__Compare *no = compare_of(&f, "x", NULL, VERSION, EQUAL, 1, NULL);
    Etcdserverpb__Compare *both[] = {yes, no, NULL};
    Etcdserverpb__RequestOp *then[] = {op_put(&f, put_of(&f, "then", "1")), NULL};
    Etcdserverpb__RequestOp *other[] = {op_put(&f, put_of(&f, "else", "1")), NULL};
    const struct state_result *r = do_txn(&f, txn_of(&f, both, then, other));
    assert_false(r->op.succeeded);
    assert_string_equal(value_now(&f, "else"), "1");
    assert_string_equal(value_now(&f, "then"), "");
    fixture_end(&f);
}

static void ops_see_what_stood_before_them_in_the_txn(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    (void)do_put(&f, put_of(&f, "a", "old"));
    Etcdserverpb__PutRequest *put = put_of(&f, "a", "new");
    put->prev_kv = true;
    Etcdserverpb__DeleteRangeRequest *del = delete_of(&f, "a", NULL);
    del->prev_kv = true;
    Etcdserverpb__RequestOp *ops[] = {op_range(&f, range_of(&f, "a", NULL, 0)),
                                      op_put(&f, put),
                                      op_range(&f, range_of(&f, "a", NULL, 0)),
                                      op_range(&f, range_of(&f, "a", NULL, 2)),
                                      op_delete(&f, del),
                                      op_range(&f, range_of(&f, "a", NULL, -5)),
                                      NULL};
    const struct state_result *r = do_txn(&f, txn_of(&f, NULL, ops, NULL));
    assert_int_equal(r->error.code, ERR_COMPACTED_); /* a negative revision is below -1 */
    ops[5] = op_range(&f, range_of(&f, "a", NULL, -1));
    r = do_txn(&f, txn_of(&f, NULL, ops, NULL));
    assert_int_equal(r->error.code, 0);
    assert_int_equal(r->revision, 3);
    assert_int_equal(r->op.child_count, 6);
    const struct state_op *c = r->op.children;
    static const struct {
        enum state_kind kind;
        int64_t revision;
        const char *sees;
    } rows[] = {{STATE_RANGE, 2, "old"}, {STATE_PUT, 3, "old"},          {STATE_RANGE, 3, "new"},
                {STATE_RANGE, 3, "old"}, {STATE_DELETE_RANGE, 3, "new"}, {STATE_RANGE, 3, ""}};
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(c[i].kind, rows[i].kind);
        assert_int_equal(c[i].revision, rows[i].revision);
        assert_string_equal(value_at(&f, "a", c[i].seq), rows[i].sees);
        least = c[i].seq < least ? c[i].seq : least;
    }
    assert_int_equal(c[4].deleted, 1);
    assert_int_equal(r->seq_min, least);
    fixture_end(&f);
}

static void all_changes_of_a_txn_share_a_revision_and_count_subs(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    Etcdserverpb__RequestOp *inner[] = {op_put(&f, put_of(&f, "b", "1")),
                                        op_delete(&f, delete_of(&f, "a", NULL)), NULL};
    Etcdserverpb__RequestOp *ops[] = {op_put(&f, put_of(&f, "a", "1")),
                                      op_txn(&f, txn_of(&f, NULL, inner, NULL)),
                                      op_put(&f, put_of(&f, "c", "1")), NULL};
    const struct state_result *r = do_txn(&f, txn_of(&f, NULL, ops, NULL));
    assert_int_equal(r->revision, 2);
    assert_int_equal(r->op.children[1].kind, STATE_TXN);
    assert_int_equal(r->op.children[1].revision, 0); /* a nested header is empty */
    assert_int_equal(r->op.children[1].child_count, 2);
    assert_int_equal(r->op.children[1].children[1].deleted, 1);
    static const enum mvcc_kind kinds[] = {MVCC_PUT, MVCC_PUT, MVCC_TOMBSTONE, MVCC_PUT};
    for (uint32_t i = 0; i < 4; i++) {
        const struct mvcc_record *record = tail_find(f.tail, i + 1);
        assert_int_equal(record->kind, kinds[i]);
        assert_int_equal(record->main, 2);
        assert_int_equal(record->sub, i);
    }
    fixture_end(&f);
}

static void a_txn_that_changes_nothing_keeps_the_revision(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    Etcdserverpb__RequestOp *ops[] = {op_delete(&f, delete_of(&f, "a", "z")),
                                      op_range(&f, range_of(&f, "a", "z", 0)), NULL};
    const struct state_result *r = do_txn(&f, txn_of(&f, NULL, ops, NULL));
    assert_int_equal(r->revision, 1);
    assert_int_equal(r->op.children[0].revision, 1);
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, NULL, NULL))->revision, 1);
    assert_int_equal(do_put(&f, put_of(&f, "a", "1"))->revision, 2);
    fixture_end(&f);
}

static void nested_compares_are_judged_on_the_state_before(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    Etcdserverpb__Compare *absent[] = {compare_of(&f, "a", NULL, VERSION, EQUAL, 0, NULL), NULL};
    Etcdserverpb__RequestOp *then[] = {op_put(&f, put_of(&f, "inner", "absent")), NULL};
    Etcdserverpb__RequestOp *other[] = {op_put(&f, put_of(&f, "inner", "present")), NULL};
    Etcdserverpb__RequestOp *ops[] = {op_put(&f, put_of(&f, "a", "1")),
                                      op_txn(&f, txn_of(&f, absent, then, other)), NULL};
    (void)do_txn(&f, txn_of(&f, NULL, ops, NULL));
    assert_string_equal(value_now(&f, "inner"), "absent");
    fixture_end(&f);
}

static void checks_run_before_any_effect(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    for (int i = 0; i < 3; i++)
        (void)do_put(&f, put_of(&f, "a", "1"));
    (void)do_compact(&f, 3);
    Etcdserverpb__PutRequest *leased = put_of(&f, "b", "1");
    leased->lease = 5;
    Etcdserverpb__PutRequest *ignoring = put_of(&f, "b", NULL);
    ignoring->ignore_value = true;
    Etcdserverpb__RequestOp *future = op_range(&f, range_of(&f, "a", NULL, 99));
    Etcdserverpb__RequestOp *compacted = op_range(&f, range_of(&f, "a", NULL, 2));
    Etcdserverpb__RequestOp *at_mark = op_range(&f, range_of(&f, "a", NULL, 3));
    Etcdserverpb__RequestOp *unset = op_range(&f, NULL);
    unset->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET;
    const struct {
        Etcdserverpb__RequestOp *first;
        Etcdserverpb__RequestOp *last;
        enum err_code error;
    } rows[] = {
        {future, op_put(&f, leased), ERR_FUTURE_REV_}, /* in the order of the request */
        {op_put(&f, leased), future, ERR_LEASE_NOT_FOUND_},
        {compacted, op_put(&f, ignoring), ERR_COMPACTED_},
        {op_put(&f, ignoring), compacted, ERR_KEY_NOT_FOUND_},
        {compacted, future, ERR_COMPACTED_},
        {future, compacted, ERR_FUTURE_REV_},
        {future, unset, ERR_FUTURE_REV_},
        {unset, op_put(&f, put_of(&f, NULL, "1")), ERR_EMPTY_KEY_},
        {unset, op_delete(&f, delete_of(&f, NULL, NULL)), ERR_EMPTY_KEY_},
        {at_mark, unset, ERR_NONE_},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Etcdserverpb__RequestOp *inner[] = {rows[i].last, NULL};
        Etcdserverpb__RequestOp *ops[] = {op_put(&f, put_of(&f, "c", "1")), rows[i].first,
                                          op_txn(&f, txn_of(&f, NULL, inner, NULL)), NULL};
        int64_t before = mvcc_store_revision(state_store(f.state));
        const struct state_result *r = do_txn(&f, txn_of(&f, NULL, ops, NULL));
        assert_int_equal(r->error.code, rows[i].error);
        bool changed = rows[i].error == ERR_NONE_;
        assert_int_equal(mvcc_store_revision(state_store(f.state)), before + changed);
        assert_string_equal(value_now(&f, "c"), changed ? "1" : "");
    }
    /* What stands in the branch not taken is not checked. */
    Etcdserverpb__RequestOp *bad[] = {future, NULL};
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, NULL, bad))->error.code, 0);
    fixture_end(&f);
}

/* --- random ones, in slices of every size ------------------------------------------------ */

static const char *random_key(struct fixture *f, struct prng *prng)
{
    return arena_printf(&f->arena, "k%u", (unsigned)prng_below(prng, 12));
}

static Etcdserverpb__TxnRequest *random_txn(struct fixture *f, struct prng *prng, unsigned depth);

static Etcdserverpb__RequestOp *random_op(struct fixture *f, struct prng *prng, unsigned depth)
{
    switch (prng_below(prng, depth ? 5 : 4)) {
    case 0:
        return op_delete(f, delete_of(f, random_key(f, prng), random_key(f, prng)));
    case 1:
        return op_range(f, range_of(f, random_key(f, prng), "z", 0));
    case 4:
        return op_txn(f, random_txn(f, prng, depth - 1));
    default:
        return op_put(f, put_of(f, random_key(f, prng),
                                arena_printf(&f->arena, "%u", (unsigned)prng_below(prng, 50))));
    }
}

static Etcdserverpb__TxnRequest *random_txn(struct fixture *f, struct prng *prng, unsigned depth)
{
    Etcdserverpb__RequestOp *then[6] = {0};
    Etcdserverpb__RequestOp *other[6] = {0};
    Etcdserverpb__Compare *compares[3] = {0};
    for (uint64_t i = 0, n = prng_below(prng, 3); i < n; i++)
        compares[i] = compare_of(f, random_key(f, prng), prng_below(prng, 2) ? "z" : NULL,
                                 (int)prng_below(prng, 4), (int)prng_below(prng, 4),
                                 (int64_t)prng_below(prng, 4), "25");
    for (uint64_t i = 0, n = prng_below(prng, 6); i < n; i++)
        then[i] = random_op(f, prng, depth);
    for (uint64_t i = 0, n = prng_below(prng, 6); i < n; i++)
        other[i] = random_op(f, prng, depth);
    return txn_of(f, compares, then, other);
}

static void slices_make_no_difference(void **ctx)
{
    (void)ctx;
    uint32_t hashes[5];
    int64_t revisions[5];
    static const unsigned slices[5] = {0, 1, 2, 3, 7};
    for (int i = 0; i < 5; i++) {
        struct fixture f;
        struct prng prng;
        fixture_begin(&f, NULL);
        prng_init(&prng, 42);
        unsigned runs = 0;
        f.slice = slices[i];
        for (int j = 0; j < 300; j++) {
            (void)do_txn(&f, random_txn(&f, &prng, 4));
            runs += f.runs;
        }
        assert_true(slices[i] == 0 ? runs == 300 : runs > 400);
        hashes[i] = hash_now(&f);
        revisions[i] = mvcc_store_revision(state_store(f.state));
        assert_int_equal(hashes[i], hashes[0]);
        assert_int_equal(revisions[i], revisions[0]);
        fixture_end(&f);
    }
    assert_true(revisions[0] > 100);
}

/* A compare of many large values takes as many slices as its bytes want, not its keys. */
static void large_values_are_compared_in_slices(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    char *value = arena_alloc(&f.arena, 400001);
    memset(value, 'v', 400000);
    for (unsigned i = 0; i < 20; i++)
        do_put(&f, put_of(&f, arena_printf(&f.arena, "k%02u", i), value));
    f.slice = 100;
    Etcdserverpb__Compare *small[] = {compare_of(&f, "k", "l", VALUE, GREATER, NONE, "v"), NULL};
    assert_true(do_txn(&f, txn_of(&f, small, NULL, NULL))->op.succeeded);
    unsigned few = f.runs;
    Etcdserverpb__Compare *large[] = {compare_of(&f, "k", "l", VALUE, EQUAL, NONE, value), NULL};
    assert_true(do_txn(&f, txn_of(&f, large, NULL, NULL))->op.succeeded);
    assert_true(f.runs >= few + 8);
    fixture_end(&f);
}

static void deep_nesting_is_walked_without_a_stack(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    Etcdserverpb__RequestOp *innermost[] = {op_put(&f, put_of(&f, "deep", "1")), NULL};
    Etcdserverpb__TxnRequest *txn = txn_of(&f, NULL, innermost, NULL);
    for (int i = 0; i < 1000; i++) {
        Etcdserverpb__RequestOp *ops[] = {op_txn(&f, txn), NULL};
        txn = txn_of(&f, NULL, ops, NULL);
    }
    assert_int_equal(do_txn(&f, txn)->error.code, 0);
    assert_string_equal(value_now(&f, "deep"), "1");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_hold_by_the_table),
        cmocka_unit_test(all_compares_must_hold),
        cmocka_unit_test(ops_see_what_stood_before_them_in_the_txn),
        cmocka_unit_test(all_changes_of_a_txn_share_a_revision_and_count_subs),
        cmocka_unit_test(a_txn_that_changes_nothing_keeps_the_revision),
        cmocka_unit_test(nested_compares_are_judged_on_the_state_before),
        cmocka_unit_test(checks_run_before_any_effect),
        cmocka_unit_test(slices_make_no_difference),
        cmocka_unit_test(large_values_are_compared_in_slices),
        cmocka_unit_test(deep_nesting_is_walked_without_a_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
