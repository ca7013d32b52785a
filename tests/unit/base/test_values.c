/* err, crc, prng, duration, check: numbers in, numbers and texts out. */
#include "t.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/crc.h"
#include "base/duration.h"
#include "base/prng.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void err_knows_its_table(void **state)
{
    assert_string_equal(err_text(ERR_COMPACTED),
                        "etcdserver: mvcc: required revision has been compacted");
    assert_string_equal(err_name(ERR_COMPACTED), "ERR_COMPACTED");
    assert_int_equal(err_grpc_code(ERR_COMPACTED), 11);
    assert_true(err_ok(OK));
    assert_int_equal(err_grpc_code(OK), 0);
    assert_false(err_ok(ERR_IO));
    assert_true(err_is(ERR_IO, ERR_IO));
    for (int code = 1; code < ERR_COUNT_; code++) {
        assert_true(strlen(err_text((err){code})) > 0);
        assert_in_range(err_grpc_code((err){code}), 1, 16);
    }
    assert_string_equal(err_text((err){ERR_COUNT_}), "unknown error");
    assert_string_equal(err_text((err){-1}), "unknown error");
    assert_int_equal(err_grpc_code((err){1 << 30}), 2);
}

static void err_names_what_the_system_says(void **state)
{
    assert_err(err_from_errno(ENOSPC), ERR_DISK_FULL);
    assert_err(err_from_errno(EDQUOT), ERR_DISK_FULL);
    assert_err(err_from_errno(EACCES), ERR_ACCESS);
    assert_err(err_from_errno(EPERM), ERR_ACCESS);
    assert_err(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_err(err_from_errno(EIO), ERR_IO);
    assert_err(err_from_errno(EBADF), ERR_IO);
}

static err fails_on_odd(int n)
{
    return n % 2 ? ERR_MISMATCH : OK;
}

static err tries(int n, int *ret_reached)
{
    TRY(fails_on_odd(n));
    *ret_reached = n;
    return OK;
}

static void try_returns_the_first_failure(void **state)
{
    int reached = 0;
    assert_err(tries(1, &reached), ERR_MISMATCH);
    assert_int_equal(reached, 0);
    assert_ok(tries(2, &reached));
    assert_int_equal(reached, 2);
    char *p = (char *)&reached;
    assert_ptr_equal(TAKE(p), &reached);
    assert_null(p);
}

static void crc_has_the_known_values(void **state)
{
    assert_int_equal(crc32c(0, BYTES_NONE), 0);
    assert_int_equal(crc32c(0, BYTES_LIT("123456789")), 0xE3069283);
    assert_int_equal(crc32c(0, BYTES_LIT("key")), 1084519789);
    uint8_t zeros[32] = {0}; /* RFC 3720 appendix B.4 */
    assert_int_equal(crc32c(0, bytes_of(zeros, 32)), 0x8a9136aa);
    uint8_t ones[32];
    memset(ones, 0xff, sizeof(ones));
    assert_int_equal(crc32c(0, bytes_of(ones, 32)), 0x62a8ab43);
}

static void crc_continues_and_combines(void **state)
{
    static uint8_t data[300000];
    struct prng prng;
    prng_init(&prng, 3);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)prng_next(&prng);
    for (int i = 0; i < 2000; i++) {
        size_t n = prng_below(&prng, i % 10 ? 600 : sizeof(data));
        size_t cut = prng_below(&prng, n + 1);
        struct bytes a = bytes_of(data, cut);
        struct bytes b = bytes_of(data + cut, n - cut);
        uint32_t whole = crc32c(0, bytes_of(data, n));
        assert_int_equal(crc32c(crc32c(0, a), b), whole);
        assert_int_equal(crc32c_combine(crc32c(0, a), crc32c(0, b), b.len), whole);
    }
}

/* A length of 2^40 cannot be laid out: a run of zeros is folded by doubling instead. */
static void crc_combines_long_lengths(void **state)
{
    uint8_t zero = 0;
    uint32_t crc = crc32c(0, bytes_of(&zero, 1));
    uint64_t len = 1;
    for (int i = 0; i < 40; i++, len *= 2)
        crc = crc32c_combine(crc, crc, len);
    uint32_t other = crc32c(0, bytes_of(&zero, 1));
    uint64_t step = len - 1;
    uint32_t rest = 0;
    uint64_t have = 0;
    uint32_t power = other;
    for (uint64_t bit = 1; bit <= step; bit *= 2) {
        rest = crc32c_combine(rest, power, bit);
        have += bit;
        power = crc32c_combine(power, power, bit);
    }
    assert_int_equal(have, step);
    assert_int_equal(crc32c_combine(other, rest, step), crc);
}

static void prng_repeats_and_stays_within_bounds(void **state)
{
    struct prng a;
    struct prng b;
    prng_init(&a, 42);
    prng_init(&b, 42);
    unsigned counts[10] = {0};
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(prng_next(&a), prng_next(&b));
        uint64_t n = prng_below(&a, 10);
        assert_int_equal(n, prng_below(&b, 10));
        assert_true(n < 10);
        counts[n]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 800, 1200);
    assert_int_equal(prng_below(&a, 1), 0);
    prng_init(&b, 43);
    assert_int_not_equal(prng_next(&a), prng_next(&b));
}

static void duration_reads_as_go_writes_it(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {1, "1ns"},
        {-999, "-999ns"},
        {1500, "1.5\xc2\xb5s"},
        {100000000, "100ms"},
        {1500000000, "1.5s"},
        {7000000000, "7s"},
        {1001, "1.001\xc2\xb5s"},
        {1000000, "1ms"},
        {123456789, "123.456789ms"},
        {60000000000, "1m0s"},
        {90500000000, "1m30.5s"},
        {3600000000000, "1h0m0s"},
        {-5400000000000, "-1h30m0s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[DURATION_TEXT_MAX];
        assert_int_equal(duration_text(rows[i].ns, text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
        int64_t back = 1;
        assert_ok(duration_parse(rows[i].text, &back));
        assert_int_equal(back, rows[i].ns);
    }
}

static void duration_parses_what_flags_say(void **state)
{
    int64_t ns = -1;
    assert_ok(duration_parse("1h15m30.918s", &ns));
    assert_int_equal(ns, 4530918000000);
    assert_ok(duration_parse("+.5s", &ns));
    assert_int_equal(ns, 500000000);
    assert_ok(duration_parse("1.s", &ns));
    assert_int_equal(ns, 1000000000);
    assert_ok(duration_parse("0", &ns));
    assert_int_equal(ns, 0);
    assert_ok(duration_parse("3us", &ns));
    assert_int_equal(ns, 3000);
    assert_ok(duration_parse("0.3333333333333333333333h", &ns));
    assert_int_equal(ns, 1199999999999);
    ns = 77;
    const char *bad[] = {"", "-", "5", "s", ".s", "1x", "1.2.3s", "5 s", "1sm", "ms1", "--1s"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_err(duration_parse(bad[i], &ns), ERR_SYNTAX);
    assert_err(duration_parse("99999999999999999999s", &ns), ERR_LIMIT);
    assert_err(duration_parse("2562048h", &ns), ERR_LIMIT);
    assert_err(duration_parse("9223372036854775808ns", &ns), ERR_LIMIT);
    assert_int_equal(ns, 77);
}

static void clocks_move_forward(void **state)
{
    uint64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before);
    assert_true(clock_mono_ms() >= before / 1000000);
    assert_true(clock_wall_ns() > 1600000000ULL * 1000000000ULL);
}

static void a_failed_check_ends_the_process_with_its_place(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], 2);
        CHECK(1 + 1 == 3);
        _exit(0);
    }
    close(fds[1]);
    char text[256] = {0};
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_values.c:"));
    assert_non_null(strstr(text, "check failed: 1 + 1 == 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_knows_its_table),
        cmocka_unit_test(err_names_what_the_system_says),
        cmocka_unit_test(try_returns_the_first_failure),
        cmocka_unit_test(crc_has_the_known_values),
        cmocka_unit_test(crc_continues_and_combines),
        cmocka_unit_test(crc_combines_long_lengths),
        cmocka_unit_test(prng_repeats_and_stays_within_bounds),
        cmocka_unit_test(duration_reads_as_go_writes_it),
        cmocka_unit_test(duration_parses_what_flags_say),
        cmocka_unit_test(clocks_move_forward),
        cmocka_unit_test(a_failed_check_ends_the_process_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
