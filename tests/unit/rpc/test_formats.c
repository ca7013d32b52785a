/* gRPC's small formats, and the timers of a pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/grpc.h"
#include "rpc/wheel.h"

#include "base/prng.h"
#include <cmocka.h>
#include <stdlib.h>

static void test_timeout(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0n", 0},
        {"1n", 1},
        {"1000000n", 1},
        {"1000001n", 2},
        {"0m", 0},
        {"250m", 250},
        {"7S", 7000},
        {"2M", 120000},
        {"1H", 3600000},
        {"99999999u", 100000},
        {"99999999H", 99999999ULL * 3600000},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t ms = UINT64_MAX;
        assert_true(err_ok(grpc_timeout_parse(bytes_str(good[i].text), &ms)));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"",           "m",    "1",   "1x", "-1m",
                                      "123456789m", "1.5S", "1 m", " 1m"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ms = 42;
        assert_true(err_is(grpc_timeout_parse(bytes_str(bad[i]), &ms), ERR_SYNTAX));
        assert_int_equal(ms, 42);
    }
    static const uint64_t round[] = {0, 1, 99999999, 100000000, 100000001, 360000000000000ULL};
    for (size_t i = 0; i < sizeof(round) / sizeof(round[0]); i++) {
        char text[GRPC_TIMEOUT_TEXT_BYTES];
        uint64_t ms;
        grpc_timeout_format(round[i], text);
        assert_true(err_ok(grpc_timeout_parse(bytes_str(text), &ms)));
        assert_true(ms >= round[i] || round[i] > 99999999ULL * 3600000);
        assert_true(ms <= round[i] + round[i] / 1000 + 1);
    }
}

static void test_message(void **state)
{
    uint8_t all[256], encoded[768], decoded[768];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    size_t size = grpc_message_encoded_size(bytes_of(all, 256));
    assert_int_equal(size, 256 + 2 * (256 - 94));
    grpc_message_encode(bytes_of(all, 256), encoded);
    for (size_t i = 0; i < size; i++)
        assert_in_range(encoded[i], 0x20, 0x7e);
    assert_int_equal(grpc_message_decode(bytes_of(encoded, size), decoded), 256);
    assert_memory_equal(decoded, all, 256);
    static const struct {
        const char *encoded, *decoded;
    } odd[] = {{"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"100%25", "100%"}, {"%e4x", "\xe4x"}};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        size_t n = grpc_message_decode(bytes_str(odd[i].encoded), decoded);
        assert_true(bytes_equal(bytes_of(decoded, n), bytes_str(odd[i].decoded)));
    }
}

static void test_path(void **state)
{
    struct bytes service, method;
    assert_true(err_ok(grpc_path_split(BYTES_LIT("/etcdserverpb.KV/Range"), &service, &method)));
    assert_true(bytes_equal(service, BYTES_LIT("etcdserverpb.KV")));
    assert_true(bytes_equal(method, BYTES_LIT("Range")));
    assert_true(err_ok(grpc_path_split(BYTES_LIT("/a/b/c"), &service, &method)));
    assert_true(bytes_equal(service, BYTES_LIT("a/b")));
    assert_true(err_is(grpc_path_split(BYTES_LIT("/a"), &service, &method), ERR_SYNTAX));
    assert_true(err_is(grpc_path_split(BYTES_LIT("a/b"), &service, &method), ERR_SYNTAX));
    assert_true(err_is(grpc_path_split(BYTES_NONE, &service, &method), ERR_SYNTAX));
    assert_true(grpc_content_type_ok(BYTES_LIT("application/grpc")));
    assert_true(grpc_content_type_ok(BYTES_LIT("application/grpc+proto")));
    assert_true(grpc_content_type_ok(BYTES_LIT("application/grpc;charset=x")));
    assert_false(grpc_content_type_ok(BYTES_LIT("application/grpc-web")));
    assert_false(grpc_content_type_ok(BYTES_LIT("application/json")));
}

#define TIMERS 2000

struct clocked {
    struct wheel_timer timer;
    uint64_t fired_ms;
};
static struct wheel wheel;
static struct clocked clocked[TIMERS];
static unsigned fired;

static void fire(struct wheel_timer *timer)
{
    struct clocked *self = LIST_ENTRY(timer, struct clocked, timer);
    self->fired_ms = wheel.now_ms;
    fired++;
    /* One that is due in the same moment may be taken out by another. */
    if (self == &clocked[7])
        wheel_clear(&wheel, &clocked[8].timer);
}

static void test_wheel(void **state)
{
    struct prng prng;
    prng_init(&prng, 42);
    for (unsigned round = 0; round < 5; round++) {
        fired = 0;
        uint64_t start = 1000 + prng_below(&prng, 1u << 30);
        wheel_init(&wheel, start);
        assert_int_equal(wheel_next_ms(&wheel), UINT64_MAX);
        for (unsigned i = 0; i < TIMERS; i++) {
            wheel_timer_init(&clocked[i].timer, fire);
            clocked[i].fired_ms = 0;
            wheel_set(&wheel, &clocked[i].timer, start + 1 + prng_below(&prng, 1ULL << (i % 26)));
        }
        wheel_set(&wheel, &clocked[7].timer, start + 500);
        wheel_set(&wheel, &clocked[8].timer, start + 500);
        for (unsigned i = 100; i < 200; i++)
            wheel_clear(&wheel, &clocked[i].timer);
        while (wheel_next_ms(&wheel) != UINT64_MAX) {
            uint64_t next = wheel_next_ms(&wheel);
            for (unsigned i = 0; i < TIMERS; i += 97)
                assert_true(!wheel_timer_armed(&clocked[i].timer) ||
                            clocked[i].timer.due_ms >= next || next <= wheel.now_ms + 1);
            wheel_advance(&wheel, next + prng_below(&prng, 3));
        }
        assert_int_equal(fired, TIMERS - 101);
        for (unsigned i = 0; i < TIMERS; i++) {
            if (clocked[i].fired_ms)
                assert_in_range(clocked[i].fired_ms, clocked[i].timer.due_ms,
                                clocked[i].timer.due_ms + 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_wheel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
