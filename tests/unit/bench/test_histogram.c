/* What a reader of percentiles relies on: exact where values are small, within 1/128 elsewhere. */
#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct histogram histogram;

static void test_empty(void **state)
{
    histogram_init(&histogram);
    assert_int_equal(histogram_at(&histogram, 0.5), 0);
    assert_true(histogram_mean(&histogram) == 0);
}

static void test_small_values_are_exact(void **state)
{
    histogram_init(&histogram);
    for (uint64_t v = 1; v <= 100; v++)
        histogram_add(&histogram, v);
    assert_int_equal(histogram_at(&histogram, 0.5), 50);
    assert_int_equal(histogram_at(&histogram, 0.99), 99);
    assert_int_equal(histogram_at(&histogram, 1), 100);
    assert_int_equal(histogram.max, 100);
    assert_true(histogram_mean(&histogram) == 50.5);
}

/* Every power of two and its neighbours, alone under one larger value that keeps `max` away. */
static void test_large_values_are_near(void **state)
{
    for (unsigned bit = 3; bit < HISTOGRAM_VALUE_BITS; bit++) {
        for (int near = -1; near <= 1; near++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)near;
            histogram_init(&histogram);
            histogram_add(&histogram, value);
            histogram_add(&histogram, UINT64_MAX);
            uint64_t read = histogram_at(&histogram, 0.5);
            assert_true(read >= value);
            assert_true(read - value <= value / 128);
        }
    }
}

static void test_percentile_counts_from_below(void **state)
{
    histogram_init(&histogram);
    for (unsigned i = 0; i < 999; i++)
        histogram_add(&histogram, 10);
    histogram_add(&histogram, 1000000);
    assert_int_equal(histogram_at(&histogram, 0.99), 10);
    assert_int_equal(histogram_at(&histogram, 0.999), 10);
    assert_int_equal(histogram_at(&histogram, 1), 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_large_values_are_near),
        cmocka_unit_test(test_percentile_counts_from_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
