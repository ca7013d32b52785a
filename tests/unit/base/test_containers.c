/* buf, arena, map, list, bytes: what holds things. */
#include "t.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/prng.h"

#include <stdlib.h>

static void buf_grows_to_its_limit_and_no_further(void **state)
{
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 100);
    for (int i = 0; i < 10; i++)
        assert_ok(buf_append(&buf, BYTES_LIT("0123456789")));
    assert_err(buf_append(&buf, BYTES_LIT("x")), ERR_LIMIT);
    assert_int_equal(buf.len, 100);
    assert_memory_equal(buf.data + 90, "0123456789", 10);
    assert_ok(buf_append(&buf, BYTES_NONE));
    assert_err(buf_reserve(&buf, SIZE_MAX), ERR_LIMIT);
    buf_clear(&buf);
    assert_ok(buf_reserve(&buf, 100));
}

static void buf_without_limit_refuses_only_what_no_memory_holds(void **state)
{
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 0);
    assert_ok(buf_append(&buf, BYTES_LIT("a")));
    assert_err(buf_reserve(&buf, SIZE_MAX), ERR_LIMIT);
    assert_err(buf_reserve(&buf, SIZE_MAX / 2), ERR_LIMIT);
    assert_ok(buf_reserve(&buf, 1 << 20));
    assert_int_equal(buf.data[0], 'a');
}

static void buf_prints_and_consumes(void **state)
{
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 8);
    assert_ok(buf_printf(&buf, "%d-%s", 42, "abc"));
    assert_string_equal((char *)buf.data, "42-abc");
    assert_int_equal(buf.len, 6);
    assert_err(buf_printf(&buf, "xx"), ERR_LIMIT);
    assert_ok(buf_printf(&buf, "x"));
    buf_consume(&buf, 3);
    assert_true(bytes_equal(buf_bytes(&buf), BYTES_LIT("abcx")));
    buf_consume(&buf, 4);
    assert_int_equal(buf.len, 0);
}

static void arena_gives_apart_aligned_zeroed_memory(void **state)
{
    struct arena AUTO(arena_done) arena;
    arena_init(&arena, 256);
    struct prng prng;
    prng_init(&prng, 1);
    enum { N = 500 };
    uint8_t *given[N];
    size_t sizes[N];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            sizes[i] = prng_below(&prng, prng_below(&prng, 10) == 0 ? 2000 : 60);
            if (prng_below(&prng, 2)) {
                given[i] = arena_alloc(&arena, sizes[i]);
                assert_int_equal((uintptr_t)given[i] % 16, 0);
                for (size_t b = 0; b < sizes[i]; b++)
                    assert_int_equal(given[i][b], 0);
            } else {
                given[i] = arena_alloc_bytes(&arena, sizes[i]);
            }
            assert_non_null(given[i]);
            memset(given[i], i & 0xff, sizes[i]);
        }
        for (int i = 0; i < N; i++)
            for (size_t b = 0; b < sizes[i]; b++)
                assert_int_equal(given[i][b], i & 0xff);
        assert_true(arena.used_bytes > 0);
        arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 0);
    }
}

static void arena_copies_and_prints(void **state)
{
    struct arena AUTO(arena_done) arena;
    arena_init(&arena, 64);
    char text[] = "some text";
    struct bytes copy = arena_copy(&arena, bytes_str(text));
    char *str = arena_copy_str(&arena, bytes_str(text));
    text[0] = 'X';
    assert_true(bytes_equal(copy, BYTES_LIT("some text")));
    assert_string_equal(str, "some text");
    assert_string_equal(arena_printf(&arena, "%0100d", 7) + 98, "07");
    assert_string_equal(arena_copy_str(&arena, BYTES_NONE), "");
    assert_int_equal(arena_copy(&arena, BYTES_NONE).len, 0);
}

/* Against an array that is searched from end to end. */
static void map_agrees_with_a_plain_array(void **state)
{
    struct map AUTO(map_done) map;
    map_init(&map);
    assert_null(map_get(&map, 1));
    assert_null(map_remove(&map, 1));
    struct prng prng;
    prng_init(&prng, 7);
    enum { KEYS = 700 };
    static char values[2];
    void *model[KEYS] = {0};
    size_t count = 0;
    for (int i = 0; i < 200000; i++) {
        size_t k = prng_below(&prng, KEYS);
        /* Keys that are close, and keys that differ in their upper half alone. */
        uint64_t key = k % 2 ? k : (uint64_t)k << 40;
        switch (prng_below(&prng, 3)) {
        case 0: {
            void *value = &values[prng_below(&prng, 2)];
            assert_ptr_equal(map_put(&map, key, value), model[k]);
            count += model[k] == NULL;
            model[k] = value;
            break;
        }
        case 1:
            assert_ptr_equal(map_remove(&map, key), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
            break;
        default:
            assert_ptr_equal(map_get(&map, key), model[k]);
        }
        assert_int_equal(map.count, count);
    }
    size_t seen = 0;
    MAP_FOREACH (slot, &map)
        seen++;
    assert_int_equal(seen, count);
}

struct item {
    int number;
    struct list node;
};

static void list_keeps_order_and_survives_removal_in_the_loop(void **state)
{
    struct list head;
    list_init(&head);
    struct item items[5];
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_push(&head, &items[i].node);
    }
    LIST_FOREACH_SAFE (node, after, &head)
        if (LIST_ENTRY(node, struct item, node)->number % 2)
            list_remove(node);
    list_remove(&items[1].node); /* a second time: harmless */
    list_push_front(&head, &items[3].node);
    int want[] = {3, 0, 2, 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(LIST_ENTRY(list_pop(&head), struct item, node)->number, want[i]);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
}

static void bytes_order_as_keys_do(void **state)
{
    assert_true(bytes_compare(BYTES_LIT("a"), BYTES_LIT("b")) < 0);
    assert_true(bytes_compare(BYTES_LIT("a"), BYTES_LIT("aa")) < 0);
    assert_true(bytes_compare(BYTES_LIT("a\xff"), BYTES_LIT("b")) < 0);
    assert_true(bytes_compare(BYTES_LIT("\xff"), BYTES_LIT("a")) > 0);
    assert_int_equal(bytes_compare(BYTES_NONE, BYTES_LIT("")), 0);
    assert_true(bytes_has_prefix(BYTES_LIT("abc"), BYTES_LIT("ab")));
    assert_true(bytes_has_prefix(BYTES_LIT("abc"), BYTES_NONE));
    assert_false(bytes_has_prefix(BYTES_LIT("ab"), BYTES_LIT("abc")));
    uint8_t raw[8];
    bytes_put_be64(raw, 0x0102030405060708);
    assert_int_equal(raw[0], 1);
    assert_int_equal(bytes_get_be64(raw), 0x0102030405060708);
    bytes_put_le64(raw, 0x0102030405060708);
    assert_int_equal(raw[0], 8);
    assert_int_equal(bytes_get_le64(raw), 0x0102030405060708);
    bytes_put_le32(raw, 0xfffffffe);
    assert_int_equal(bytes_get_le32(raw), 0xfffffffe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_to_its_limit_and_no_further),
        cmocka_unit_test(buf_without_limit_refuses_only_what_no_memory_holds),
        cmocka_unit_test(buf_prints_and_consumes),
        cmocka_unit_test(arena_gives_apart_aligned_zeroed_memory),
        cmocka_unit_test(arena_copies_and_prints),
        cmocka_unit_test(map_agrees_with_a_plain_array),
        cmocka_unit_test(list_keeps_order_and_survives_removal_in_the_loop),
        cmocka_unit_test(bytes_order_as_keys_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
