/* The key index against a plain sorted array: puts, deaths, rebirths, removals, in batches of any
 * size, with the roots of older batches read all the while. */
#include "mvcc/index.h"
#include "mvcc/index_tree.h"

#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the four above it */
#include <cmocka.h>

struct model_key {
    uint8_t bytes[40];
    size_t len;
    uint64_t seq; /* 0: not in the index */
    bool live;
};

#define KEYS_MAX 6000
struct model {
    struct model_key keys[KEYS_MAX]; /* sorted */
    size_t count;
};

static struct bytes key_bytes(const struct model_key *key)
{
    return bytes_of(key->bytes, key->len);
}

static int key_order(const void *a, const void *b)
{
    return bytes_compare(key_bytes(a), key_bytes(b));
}

/* Keys that strain the layout: shared prefixes, zeros, equal heads, one a prefix of the other. */
static void model_fill(struct model *self, struct prng *prng, size_t count)
{
    static const char *const stems[] = {"", "/registry/pods/", "/registry/pods/default/web-",
                                        "\0\0\0\0\0\0\0\0\0", "aaaaaaaaaaaaaaaaaaaaaaaa"};
    static const size_t stem_bytes[] = {0, 15, 27, 9, 24};
    for (size_t i = 0; i < count; i++) {
        struct model_key *key = &self->keys[i];
        *key = (struct model_key){0};
        size_t stem = prng_below(prng, 5);
        size_t n = prng_below(prng, stem_bytes[stem] + 1);
        if (prng_below(prng, 2))
            n = stem_bytes[stem];
        memcpy(key->bytes, stems[stem], n);
        size_t more = prng_below(prng, 12);
        for (size_t j = 0; j < more; j++)
            key->bytes[n + j] =
                (uint8_t)(prng_below(prng, 3) ? prng_below(prng, 4) : prng_next(prng));
        key->len = n + more;
    }
    qsort(self->keys, count, sizeof(self->keys[0]), key_order);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || key_order(&self->keys[i], &self->keys[kept - 1]) != 0)
            self->keys[kept++] = self->keys[i];
    self->count = kept;
}

static void assert_equal_roots(const struct model *model, const struct tree_node *root)
{
    struct mvcc_cursor cursor;
    uint8_t room[64];
    assert_true(tree_is_sound(root));
    mvcc_cursor_seek(&cursor, root, BYTES_NONE);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_key *key = &model->keys[i];
        struct mvcc_head head;
        if (!key->seq) {
            assert_false(mvcc_root_find(root, key_bytes(key), &head));
            continue;
        }
        assert_true(mvcc_root_find(root, key_bytes(key), &head));
        assert_int_equal(head.seq, key->seq);
        assert_int_equal(mvcc_head_is_live(&head), key->live);
        assert_true(mvcc_cursor_valid(&cursor));
        assert_int_equal(mvcc_cursor_key_bytes(&cursor), key->len);
        mvcc_cursor_key(&cursor, room);
        assert_true(bytes_equal(bytes_of(room, key->len), key_bytes(key)));
        mvcc_cursor_next(&cursor);
    }
    assert_false(mvcc_cursor_valid(&cursor));
}

static uint64_t model_count(const struct model *model, const struct mvcc_span *span)
{
    uint64_t count = 0;
    for (size_t i = 0; i < model->count; i++)
        count += model->keys[i].live && mvcc_span_has(span, key_bytes(&model->keys[i]));
    return count;
}

static void assert_equal_counts(const struct model *model, const struct tree_node *root,
                                struct prng *prng)
{
    for (int i = 0; i < 8; i++) {
        const struct model_key *from = &model->keys[prng_below(prng, model->count)];
        const struct model_key *to = &model->keys[prng_below(prng, model->count)];
        struct mvcc_span span = {key_bytes(from), key_bytes(to),
                                 (enum mvcc_span_kind)prng_below(prng, 3)};
        assert_int_equal(mvcc_root_count(root, &span), model_count(model, &span));
        /* A cursor set between keys, both ways. */
        struct mvcc_cursor cursor;
        mvcc_cursor_seek(&cursor, root, key_bytes(from));
        size_t at = (size_t)(from - model->keys);
        while (at < model->count && !model->keys[at].seq)
            at++;
        assert_int_equal(mvcc_cursor_valid(&cursor), at < model->count);
        if (at < model->count)
            assert_int_equal(mvcc_cursor_compare(&cursor, key_bytes(&model->keys[at])), 0);
        mvcc_cursor_seek_before(&cursor, root, key_bytes(to), false);
        for (at = (size_t)(to - model->keys); at > 0 && !model->keys[at - 1].seq;)
            at--;
        assert_int_equal(mvcc_cursor_valid(&cursor), at > 0);
        if (at > 0)
            assert_int_equal(mvcc_cursor_compare(&cursor, key_bytes(&model->keys[at - 1])), 0);
    }
    struct mvcc_span all = MVCC_SPAN_ALL;
    assert_int_equal(mvcc_root_count(root, &all), model_count(model, &all));
}

static void change_one(struct model *model, struct mvcc_index *index, struct prng *prng,
                       uint64_t *seq, unsigned removals)
{
    struct model_key *key = &model->keys[prng_below(prng, model->count)];
    if (prng_below(prng, 100) < removals) {
        assert_int_equal(mvcc_index_remove(index, key_bytes(key)), key->seq != 0);
        key->seq = 0;
        key->live = false;
        return;
    }
    key->live = !key->live || prng_below(prng, 100) >= 20;
    key->seq = ++*seq;
    struct mvcc_head head = {.seq = *seq,
                             .main = 7,
                             .create = key->live ? 5 : 0,
                             .version = key->live ? 1 : 0,
                             .lease = prng_below(prng, 10) ? 0 : 99,
                             .blob_bytes = 11};
    mvcc_index_put(index, key_bytes(key), &head, 0);
}

/* Sizes go up and down; the view of the last batch, and the one before under a guard, stay true. */
static void run_history(uint64_t seed, size_t keys, unsigned batches, unsigned batch_max)
{
    struct prng prng;
    prng_init(&prng, seed);
    struct model *model = calloc(1, sizeof(*model));
    struct model *before = calloc(1, sizeof(*before));
    assert_true(model && before);
    model_fill(model, &prng, keys);
    struct epoch epoch;
    epoch_init(&epoch);
    struct epoch_slot *reader = epoch_register(&epoch);
    struct mvcc_index *index = mvcc_index_new(&epoch);
    uint64_t seq = 0;
    const struct tree_node *old_root = NULL;
    for (unsigned batch = 0; batch < batches; batch++) {
        unsigned removals = batch / 10 % 3 == 2 ? 80 : 10;
        epoch_enter(&epoch, reader);
        *before = *model;
        for (uint64_t n = prng_below(&prng, batch_max) + 1; n > 0; n--)
            change_one(model, index, &prng, &seq, removals);
        /* The old root: the same keys are alive, whatever their newest change is. */
        struct mvcc_span all = MVCC_SPAN_ALL;
        assert_int_equal(mvcc_root_count(old_root, &all), model_count(before, &all));
        for (int i = 0; i < 20; i++) {
            const struct model_key *key = &before->keys[prng_below(&prng, before->count)];
            struct mvcc_head head;
            bool found = mvcc_root_find(old_root, key_bytes(key), &head);
            assert_int_equal(found, key->seq != 0);
            if (found) {
                assert_int_equal(mvcc_head_is_live(&head), key->live);
                assert_true(head.seq >= key->seq);
            }
        }
        old_root = mvcc_index_publish(index);
        mvcc_index_retire(index);
        epoch_reclaim(&epoch, 1000);
        epoch_leave(reader);
        epoch_reclaim(&epoch, 1000);
        assert_equal_counts(model, old_root, &prng);
        if (batch % 7 == 0)
            assert_equal_roots(model, old_root);
    }
    assert_equal_roots(model, old_root);
    mvcc_index_free(index);
    epoch_done(&epoch);
    free(model);
    free(before);
}

static void test_histories_equal_the_model(void **state)
{
    run_history(1, 50, 120, 10);
    run_history(2, 700, 90, 200);
    run_history(3, 6000, 60, 3000);
    run_history(4, 6000, 200, 3);
}

static void test_removing_all_leaves_nothing(void **state)
{
    struct prng prng;
    prng_init(&prng, 5);
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model_fill(model, &prng, 5000);
    struct epoch epoch;
    epoch_init(&epoch);
    struct mvcc_index *index = mvcc_index_new(&epoch);
    for (size_t i = 0; i < model->count; i++) {
        struct mvcc_head head = {.seq = i + 1, .main = 2, .create = 2, .version = 1};
        mvcc_index_put(index, key_bytes(&model->keys[i]), &head, 0);
        model->keys[i].seq = i + 1;
        model->keys[i].live = true;
    }
    assert_equal_roots(model, mvcc_index_publish(index));
    for (size_t i = 0; i < model->count; i++)
        assert_true(mvcc_index_remove(index, key_bytes(&model->keys[i * 7 % model->count])) ||
                    model->count % 7 == 0);
    if (model->count % 7 != 0)
        assert_null(mvcc_index_root(index));
    mvcc_index_publish(index);
    mvcc_index_retire(index);
    while (epoch_reclaim(&epoch, 1000))
        ;
    if (model->count % 7 != 0)
        assert_int_equal(mvcc_index_bytes(index), 0);
    mvcc_index_free(index);
    epoch_done(&epoch);
    free(model);
}

/* Loading gives what putting gives, and goes on being edited. */
static void test_loaded_equals_put(void **state)
{
    for (size_t keys = 0; keys <= 4000; keys = keys * 2 + 1) {
        struct prng prng;
        prng_init(&prng, keys);
        struct model *model = calloc(1, sizeof(*model));
        assert_non_null(model);
        model_fill(model, &prng, keys + 1);
        struct epoch epoch;
        epoch_init(&epoch);
        struct mvcc_index *index = mvcc_index_new(&epoch);
        uint64_t seq = 0;
        for (size_t i = 0; i < keys && i < model->count; i++) {
            struct model_key *key = &model->keys[i];
            key->seq = ++seq;
            key->live = i % 5 != 0;
            struct mvcc_head head = {.seq = seq, .main = 2, .version = key->live};
            mvcc_index_load(index, key_bytes(key), &head);
        }
        mvcc_index_load_done(index);
        assert_equal_roots(model, mvcc_index_publish(index));
        for (int i = 0; i < 2000; i++)
            change_one(model, index, &prng, &seq, 30);
        assert_equal_roots(model, mvcc_index_publish(index));
        mvcc_index_retire(index);
        mvcc_index_free(index);
        epoch_done(&epoch);
        free(model);
    }
}

/* Keys up to a megabyte: nodes stay small, so that a birth does not copy many of them. */
static void test_huge_keys(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct mvcc_index *index = mvcc_index_new(&epoch);
    size_t len = 1 << 18;
    uint8_t *key = malloc(len + 1);
    assert_non_null(key);
    memset(key, 'k', len + 1);
    for (uint64_t i = 0; i < 60; i++) {
        key[i * 1000] = (uint8_t)i;
        struct mvcc_head head = {.seq = i + 1, .version = 1};
        mvcc_index_put(index, bytes_of(key, len - i % 3), &head, 0);
        key[i * 1000] = 'k';
        assert_true(tree_is_sound(mvcc_index_root(index)));
    }
    const struct tree_node *root = mvcc_index_publish(index);
    mvcc_index_retire(index);
    while (epoch_reclaim(&epoch, 1000))
        ;
    assert_int_equal(mvcc_root_live(root), 60);
    assert_true(mvcc_index_bytes(index) < 6 * 60 * len);
    for (uint64_t i = 0; i < 60; i++) {
        key[i * 1000] = (uint8_t)i;
        assert_true(mvcc_index_remove(index, bytes_of(key, len - i % 3)));
        key[i * 1000] = 'k';
    }
    assert_null(mvcc_index_root(index));
    free(key);
    mvcc_index_retire(index);
    mvcc_index_free(index);
    epoch_done(&epoch);
}

/* Every 16th change is noted, what the floor passed is cut, and a useless ladder goes. */
static void test_ladder(void **state)
{
    struct epoch epoch;
    epoch_init(&epoch);
    struct mvcc_index *index = mvcc_index_new(&epoch);
    struct bytes key = BYTES_LIT("/registry/leases/node-1");
    struct mvcc_head head = {0};
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        struct mvcc_head next = {.seq = seq, .main = (int64_t)seq, .version = (int64_t)seq};
        mvcc_index_put(index, key, &next, 0);
    }
    assert_true(mvcc_index_find(index, key, &head));
    assert_int_equal(head.rung_count, 999 / MVCC_LADDER_STEP);
    for (uint32_t i = 0; i < head.rung_count; i++)
        assert_int_equal(head.rungs[i], 1 + (i + 1) * MVCC_LADDER_STEP);
    struct mvcc_head next = {.seq = 1001, .main = 1001, .version = 1001};
    mvcc_index_put(index, key, &next, 500);
    assert_true(mvcc_index_find(index, key, &head));
    assert_true(head.rungs[0] > 500 && head.rungs[0] <= 500 + MVCC_LADDER_STEP);
    unsigned budget = 100;
    assert_true(mvcc_index_trim(index, 500, true, &budget));
    assert_true(mvcc_index_find(index, key, &head) && head.rung_count > 0);
    assert_true(mvcc_index_trim(index, 1001, true, &budget));
    assert_true(mvcc_index_find(index, key, &head));
    assert_int_equal(head.rung_count, 0);
    assert_int_equal(head.seq, 1001);
    assert_int_equal(head.version, 1001);
    mvcc_index_publish(index);
    mvcc_index_retire(index);
    mvcc_index_free(index);
    epoch_done(&epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories_equal_the_model),
        cmocka_unit_test(test_removing_all_leaves_nothing),
        cmocka_unit_test(test_loaded_equals_put),
        cmocka_unit_test(test_huge_keys),
        cmocka_unit_test(test_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
