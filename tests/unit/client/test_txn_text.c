/* The language of txn: compares, and a request's words. */
#include "t.h"

#include "etcdctl/txn_text.h"

#include <string.h>

static struct arena arena;

static int setup(void **state)
{
    arena_init(&arena, 4096);
    return 0;
}

static int teardown(void **state)
{
    arena_done(&arena);
    return 0;
}

static Etcdserverpb__Compare *good(const char *line)
{
    Etcdserverpb__Compare *compare = NULL;
    const char *why = NULL;
    err e = txn_compare_parse(&arena, line, &compare, &why);
    if (!err_ok(e))
        fail_msg("%s", why);
    return compare;
}

static const char *bad(const char *line)
{
    Etcdserverpb__Compare *compare;
    const char *why = NULL;
    assert_err(txn_compare_parse(&arena, line, &compare, &why), ERR_SYNTAX);
    return why;
}

static void every_target_is_compared_with_its_own_kind(void **state)
{
    Etcdserverpb__Compare *c = good("mod(\"k1\") > \"12\"");
    assert_int_equal(c->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
    assert_int_equal(c->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
    assert_int_equal(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
    assert_true(c->mod_revision == 12);
    assert_memory_equal(c->key.data, "k1", 2);
    c = good("m(\"k\") = \"-1\"");
    assert_true(c->mod_revision == -1);
    c = good("c(\"k\") < \"3\"");
    assert_true(c->create_revision == 3);
    assert_int_equal(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS);
    c = good("create(\"k\") != \"3\"");
    assert_int_equal(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    c = good("ver(\"k\") = \"1\"");
    assert_int_equal(c->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION);
    c = good("version(\"k\") = \"1\"");
    assert_true(c->version == 1);
    c = good("lease(\"k\") = \"694d77aa9e38260f\"");
    assert_true(c->lease == 0x694d77aa9e38260f);
    c = good("val(\"k\") = \"a b\"");
    assert_int_equal(c->value.len, 3);
    c = good("value(`k\"`) = `\\n`");
    assert_memory_equal(c->key.data, "k\"", 2);
    assert_memory_equal(c->value.data, "\\n", 2);
}

static void strings_have_gos_escapes(void **state)
{
    Etcdserverpb__Compare *c = good("val(\"\\x00\\377\\u00e9\\U0001f642\") = \"\\a\\\"\\\\\\t\"");
    assert_int_equal(c->key.len, 8);
    assert_memory_equal(c->key.data, "\0\xff\xc3\xa9\xf0\x9f\x99\x82", 8);
    assert_int_equal(c->value.len, 4);
    assert_memory_equal(c->value.data, "\a\"\\\t", 4);
    (void)bad("val(\"\\z\") = \"1\"");
    (void)bad("val(\"\\ud800\") = \"1\"");
    (void)bad("val(\"\\400\") = \"1\"");
    (void)bad("val(\"a\\'\") = \"1\"");
}

static void what_is_malformed_is_shown_as_far_as_it_was_read(void **state)
{
    assert_string_equal(bad("mod"), "malformed comparison: mod");
    assert_string_equal(bad("mod(a) > 0"), "malformed comparison: mod(a) > 0; got mod(\"\")  \"\"");
    assert_string_equal(bad("mod(\"k\")=\"0\""),
                        "malformed comparison: mod(\"k\")=\"0\"; got mod(\"k\")  \"\"");
    assert_string_equal(bad("mod(\"k\") =\"0\""),
                        "malformed comparison: mod(\"k\") =\"0\"; got mod(\"k\") =\"0\" \"\"");
    assert_string_equal(bad("c(\"a\") = 0"),
                        "malformed comparison: c(\"a\") = 0; got c(\"a\") = \"\"");
    assert_string_equal(bad("foo(\"a\") > \"1\""),
                        "malformed comparison: foo(\"a\") > \"1\" (unknown target foo)");
    assert_string_equal(bad("mod(\"a\") >= \"1\""),
                        "malformed comparison: mod(\"a\") >= \"1\" (unknown operator >=)");
    assert_string_equal(bad("mod(\"a\") > \"x\""),
                        "invalid txn compare request: mod(\"a\") > \"x\"");
    assert_string_equal(bad("mod(\"a\") > \"0x1\""),
                        "invalid txn compare request: mod(\"a\") > \"0x1\"");
}

static void assert_words(const char *line, unsigned count, const char *const *want)
{
    struct strings words;
    assert_ok(txn_words(&arena, line, &words));
    assert_int_equal(words.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_string_equal(words.items[i], want[i]);
}
#define WORDS(line, ...)                                             \
    do {                                                             \
        const char *const want_[] = {__VA_ARGS__};                   \
        assert_words(line, sizeof(want_) / sizeof(want_[0]), want_); \
    } while (0)

static void words_are_divided_by_blanks_and_quotes_hold_them(void **state)
{
    WORDS("put a b", "put", "a", "b");
    WORDS("  put\t\"a b\"  'c d' ", "put", "a b", "c d");
    WORDS("put \"c\\\"d\" \"f\\ng\" \"\\x41\"", "put", "c\"d", "f\ng", "A");
    WORDS("put 'a\"b' 'a\\'", "put", "a\"b", "a\\");
    WORDS("put \"\" ''", "put", "", "");
    WORDS("put a\\nb x\"y z\"", "put", "a\\nb", "x\"y", "z\"");
    WORDS("get \"abc", "get", "abc");
    WORDS("get 'abc", "get", "abc");
    WORDS("get \"a\"b", "get", "a", "b");
    WORDS("get \"\\z\"", "get", "\\z");
    struct strings words;
    assert_err(txn_words(&arena, "put k \"a\\x00b\"", &words), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_target_is_compared_with_its_own_kind, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(strings_have_gos_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_malformed_is_shown_as_far_as_it_was_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(words_are_divided_by_blanks_and_quotes_hold_them, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
