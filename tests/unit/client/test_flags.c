/* The command line: what is taken, what is refused and in which words. */
#include "t.h"

#include "etcdctl/flags.h"

struct options {
    bool all, quiet;
    const char *form;
    int64_t limit, wait_ns;
    struct strings names;
};

#define O struct options
static const struct flag flags[] = {
    {"all", 'a', FLAG_BOOL, "false", offsetof(O, all), "everything"},
    {"quiet", 'q', FLAG_BOOL, "true", offsetof(O, quiet), "say nothing"},
    {"form", 'w', FLAG_STRING, "simple", offsetof(O, form), "how"},
    INT_FLAG(O, limit, "limit", "0", "at most"),
    DURATION_FLAG(O, wait_ns, "wait", "5s", "how long"),
    {"names", 0, FLAG_STRINGS, "x,y", offsetof(O, names), "who"},
    {0},
};
#undef O

struct parse {
    unsigned dash;
    struct arena arena;
    struct options options;
    struct flag_set set;
    struct strings rest;
    bool help;
    const char *why;
    err result;
};

static struct parse parse(const char *const *args, unsigned count)
{
    struct parse self = {.why = ""};
    arena_init(&self.arena, 4096);
    flag_set_init(&self.set, flags, &self.options, &self.arena);
    self.result = flags_parse(&self.set, 1, (struct strings){args, count}, &self.arena, &self.rest,
                              &self.dash, &self.help, &self.why);
    return self;
}

#define PARSE(...)                                      \
    __extension__({                                     \
        const char *const args_[] = {__VA_ARGS__};      \
        parse(args_, sizeof(args_) / sizeof(args_[0])); \
    })

#define assert_refused(want, ...)             \
    do {                                      \
        struct parse p_ = PARSE(__VA_ARGS__); \
        assert_err(p_.result, ERR_SYNTAX);    \
        assert_string_equal(p_.why, want);    \
        arena_done(&p_.arena);                \
    } while (0)

static void defaults_hold_until_something_is_given(void **state)
{
    struct parse p = PARSE("one", "two");
    assert_ok(p.result);
    assert_false(p.options.all);
    assert_true(p.options.quiet);
    assert_string_equal(p.options.form, "simple");
    assert_true(p.options.wait_ns == 5000000000);
    assert_int_equal(p.options.names.count, 2);
    assert_int_equal(p.rest.count, 2);
    assert_false(flag_given(&p.set, "form"));
    arena_done(&p.arena);
}

static void flags_are_taken_in_every_form_and_place(void **state)
{
    struct parse p =
        PARSE("key", "--all", "--limit=0x10", "end", "-wjson", "--wait", "1m30s", "--quiet=f", "-");
    assert_ok(p.result);
    assert_true(p.options.all);
    assert_false(p.options.quiet);
    assert_int_equal(p.options.limit, 16);
    assert_string_equal(p.options.form, "json");
    assert_true(p.options.wait_ns == 90000000000);
    assert_int_equal(p.rest.count, 3);
    assert_string_equal(p.rest.items[1], "end");
    assert_string_equal(p.rest.items[2], "-");
    assert_true(flag_given(&p.set, "limit"));
    arena_done(&p.arena);
}

static void shorthands_may_stand_together(void **state)
{
    struct parse p = PARSE("-aw", "table", "-q=false");
    assert_ok(p.result);
    assert_true(p.options.all);
    assert_false(p.options.quiet);
    assert_string_equal(p.options.form, "table");
    arena_done(&p.arena);
    p = PARSE("-aw=fields");
    assert_ok(p.result);
    assert_string_equal(p.options.form, "fields");
    arena_done(&p.arena);
}

static void two_dashes_end_the_flags(void **state)
{
    struct parse p = PARSE("--", "--all", "-5");
    assert_ok(p.result);
    assert_false(p.options.all);
    assert_int_equal(p.rest.count, 2);
    assert_string_equal(p.rest.items[1], "-5");
    arena_done(&p.arena);
}

static void lists_replace_their_default_and_then_grow(void **state)
{
    struct parse p = PARSE("--names=a,b", "--names", "c");
    assert_ok(p.result);
    assert_int_equal(p.options.names.count, 3);
    assert_string_equal(p.options.names.items[0], "a");
    assert_string_equal(p.options.names.items[2], "c");
    assert_null(p.options.names.items[3]);
    arena_done(&p.arena);
    p = PARSE("--names=");
    assert_ok(p.result);
    assert_int_equal(p.options.names.count, 0);
    arena_done(&p.arena);
}

static void help_is_no_error(void **state)
{
    struct parse p = PARSE("key", "--help", "--no-such-flag");
    assert_ok(p.result);
    assert_true(p.help);
    arena_done(&p.arena);
    p = PARSE("-h");
    assert_ok(p.result);
    assert_true(p.help);
    arena_done(&p.arena);
}

static void what_is_wrong_is_said_in_gos_words(void **state)
{
    assert_refused("unknown flag: --foo", "--foo");
    assert_refused("unknown flag: --foo", "--foo=1");
    assert_refused("unknown shorthand flag: 'x' in -xw", "-xw", "json");
    assert_refused("unknown shorthand flag: '5' in -5", "-5");
    assert_refused("flag needs an argument: --limit", "key", "--limit");
    assert_refused("flag needs an argument: 'w' in -w", "-w");
    assert_refused("bad flag syntax: ---x", "---x");
    assert_refused("bad flag syntax: --=x", "--=x");
    assert_refused(
        "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": "
        "invalid syntax",
        "--limit=x");
    assert_refused(
        "invalid argument \"99999999999999999999\" for \"--limit\" flag: "
        "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        "--limit=99999999999999999999");
    assert_refused(
        "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing "
        "\"maybe\": invalid syntax",
        "--all=maybe");
    assert_refused(
        "invalid argument \"5\" for \"--wait\" flag: time: missing unit in duration \"5\"",
        "--wait=5");
    assert_refused(
        "invalid argument \"5q\" for \"--wait\" flag: time: unknown unit \"q\" in "
        "duration \"5q\"",
        "--wait=5q");
    assert_refused("invalid argument \"x\" for \"--wait\" flag: time: invalid duration \"x\"",
                   "--wait=x");
}

static void numbers_are_read_as_go_reads_them(void **state)
{
    static const struct {
        const char *text;
        int base;
        int64_t number;
    } good[] = {
        {"0", 0, 0},
        {"-1", 0, -1},
        {"+7", 10, 7},
        {"010", 0, 8},
        {"0b101", 0, 5},
        {"0o17", 0, 15},
        {"1_000", 0, 1000},
        {"7f", 16, 127},
        {"FF", 16, 255},
        {"9223372036854775807", 10, INT64_MAX},
        {"-9223372036854775808", 10, INT64_MIN},
        {"-8000000000000000", 16, INT64_MIN},
    };
    static const struct {
        const char *text;
        int base;
    } bad[] = {
        {"", 10},    {"-", 10},   {"1 ", 10},  {"0x10", 10}, {"0x", 0},
        {"1__0", 0}, {"_1", 0},   {"1_", 0},   {"g", 16},    {"9223372036854775808", 10},
        {"08", 0},   {"1_0", 10}, {"--1", 10},
    };
    struct arena AUTO(arena_done) arena;
    const char *why;
    int64_t number;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_ok(number_parse(good[i].text, good[i].base, &arena, &number, &why));
        assert_true(number == good[i].number);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_err(number_parse(bad[i].text, bad[i].base, &arena, &number, &why), ERR_SYNTAX);
}

static void the_commands_name_is_found_behind_flags(void **state)
{
    static const char *const args[] = {"--form", "json", "-a",  "--limit=3",
                                       "-w",     "x",    "get", "key"};
    static const char *const none[] = {"--all", "--", "get"};
    const struct flag_set set = flag_set_of(flags);
    assert_int_equal(flags_first_argument(&set, 1, (struct strings){args, 8}), 6);
    assert_int_equal(flags_first_argument(&set, 1, (struct strings){none, 3}), 3);
}

static void usage_names_kinds_and_defaults_that_say_something(void **state)
{
    const struct flag_set set = flag_set_of(flags);
    struct text text;
    flags_print(text_begin(&text), &set, 1, "get");
    char *got = text_end(&text);
    assert_string_equal(got,
                        "  -a, --all             everything\n"
                        "  -w, --form string     how (default \"simple\")\n"
                        "  -h, --help            help for get\n"
                        "      --limit int       at most\n"
                        "      --names strings   who (default [x,y])\n"
                        "  -q, --quiet           say nothing (default true)\n"
                        "      --wait duration   how long (default 5s)\n");
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_until_something_is_given),
        cmocka_unit_test(flags_are_taken_in_every_form_and_place),
        cmocka_unit_test(shorthands_may_stand_together),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(lists_replace_their_default_and_then_grow),
        cmocka_unit_test(help_is_no_error),
        cmocka_unit_test(what_is_wrong_is_said_in_gos_words),
        cmocka_unit_test(numbers_are_read_as_go_reads_them),
        cmocka_unit_test(the_commands_name_is_found_behind_flags),
        cmocka_unit_test(usage_names_kinds_and_defaults_that_say_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
