/* The timing wheel against a plain array of deadlines. */
#include "io/wheel.h"

#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT 300u

static uint64_t earliest(const struct io_deadline *deadlines)
{
    uint64_t at_ms = IO_WHEEL_NEVER;
    for (unsigned i = 0; i < COUNT; i++)
        if (deadlines[i].armed && deadlines[i].at_ms < at_ms)
            at_ms = deadlines[i].at_ms;
    return at_ms;
}

static void deadlines_come_when_due_and_only_then(void **state)
{
    struct prng prng;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct io_wheel wheel;
        struct io_deadline deadlines[COUNT];
        uint64_t now_ms = seed * 1234567;
        prng_init(&prng, seed);
        io_wheel_init(&wheel, now_ms);
        for (unsigned i = 0; i < COUNT; i++)
            io_deadline_init(&deadlines[i]);
        for (unsigned step = 0; step < 2000; step++) {
            struct io_deadline *one = &deadlines[prng_below(&prng, COUNT)];
            unsigned shift = (unsigned)prng_below(&prng, 40);
            switch (prng_below(&prng, 4)) {
            case 0:
            case 1:
                io_wheel_set(&wheel, one, now_ms + prng_below(&prng, (uint64_t)1 << shift));
                break;
            case 2:
                io_wheel_cancel(&wheel, one);
                break;
            default:
                now_ms += prng_below(&prng, (uint64_t)1 << (shift / 2));
                for (struct io_deadline *due; (due = io_wheel_take(&wheel, now_ms));) {
                    assert_true(due->at_ms <= now_ms);
                    assert_false(due->armed);
                }
                assert_true(earliest(deadlines) > now_ms);
            }
            uint64_t next_ms = io_wheel_next_ms(&wheel), true_ms = earliest(deadlines);
            assert_true(next_ms <= true_ms || (true_ms < now_ms && next_ms <= now_ms));
            assert_true((next_ms == IO_WHEEL_NEVER) == (true_ms == IO_WHEEL_NEVER));
        }
        for (unsigned i = 0; i < COUNT; i++)
            io_wheel_cancel(&wheel, &deadlines[i]);
        assert_int_equal(wheel.count, 0);
        assert_int_equal(io_wheel_next_ms(&wheel), IO_WHEEL_NEVER);
    }
}

static void the_far_future_is_held_exactly(void **state)
{
    struct io_wheel wheel;
    struct io_deadline far;
    io_wheel_init(&wheel, 5);
    io_deadline_init(&far);
    io_wheel_set(&wheel, &far, UINT64_MAX - 1);
    assert_null(io_wheel_take(&wheel, UINT64_MAX - 2));
    assert_ptr_equal(io_wheel_take(&wheel, UINT64_MAX - 1), &far);
}

/* Sleeping until io_wheel_next_ms each time reaches any deadline in a handful of wake-ups. */
static void few_looks_lead_to_a_deadline(void **state)
{
    struct io_wheel wheel;
    struct io_deadline one;
    uint64_t now_ms = 1000000007;
    io_wheel_init(&wheel, now_ms);
    io_deadline_init(&one);
    io_wheel_set(&wheel, &one, now_ms + 86400000);
    unsigned looks = 0;
    while (!io_wheel_take(&wheel, now_ms)) {
        uint64_t next_ms = io_wheel_next_ms(&wheel);
        assert_true(next_ms > now_ms);
        now_ms = next_ms;
        looks++;
    }
    assert_int_equal(now_ms, 1000000007 + 86400000);
    assert_true(looks <= IO_WHEEL_LEVELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_come_when_due_and_only_then),
        cmocka_unit_test(the_far_future_is_held_exactly),
        cmocka_unit_test(few_looks_lead_to_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
