/* The text that Prometheus scrapes. */
#include "t.h"

#include "base/metrics.h"

#include <stdio.h>

static struct metric sent_b = {.name = "z_sent_total", .help = "Bytes.", .labels = "To=\"b\""};
static struct metric leader = {.name = "a_has_leader", .help = "Leader.", .kind = METRIC_GAUGE};
static struct metric sent_a = {.name = "z_sent_total", .help = "Bytes.", .labels = "To=\"a\""};
static struct metric cpu = {.name = "cpu_seconds_total", .help = "CPU.", .scale = 1e-9};
static struct metric took = {.name = "took_seconds",
                             .help = "Took.",
                             .kind = METRIC_HISTOGRAM,
                             .labels = "op=\"x\"",
                             .bucket_start = 0.0001,
                             .bucket_factor = 2,
                             .bucket_count = 3};

static void collect(void *ctx)
{
    metric_set(&leader, *(int *)ctx);
}

/* With an end for who reads it as a string. */
static void page_make(struct buf *text)
{
    assert_ok(metrics_text(text));
    assert_ok(buf_append(text, bytes_of("", 1)));
}

static void text_is_grouped_and_cumulative(void **state)
{
    metric_register(&sent_b);
    metric_register(&leader);
    metric_register(&sent_a);
    metric_register(&took);
    metric_register(&cpu);
    static int is_leader = 1;
    metrics_on_collect(collect, &is_leader);
    metric_add(&sent_a, 1);
    metric_add(&sent_b, 20480);
    metric_add(&cpu, 1500000000);
    metric_observe_ns(&took, 50000);
    metric_observe_ns(&took, 100000); /* exactly on a bound: within it */
    metric_observe_ns(&took, 300000);
    metric_observe_ns(&took, 5000000000);
    struct buf AUTO(buf_done) text;
    buf_init(&text, 0);
    page_make(&text);
    assert_string_equal((char *)text.data,
                        "# HELP a_has_leader Leader.\n"
                        "# TYPE a_has_leader gauge\n"
                        "a_has_leader 1\n"
                        "# HELP cpu_seconds_total CPU.\n"
                        "# TYPE cpu_seconds_total counter\n"
                        "cpu_seconds_total 1.5\n"
                        "# HELP took_seconds Took.\n"
                        "# TYPE took_seconds histogram\n"
                        "took_seconds_bucket{op=\"x\",le=\"0.0001\"} 2\n"
                        "took_seconds_bucket{op=\"x\",le=\"0.0002\"} 2\n"
                        "took_seconds_bucket{op=\"x\",le=\"0.0004\"} 3\n"
                        "took_seconds_bucket{op=\"x\",le=\"+Inf\"} 4\n"
                        "took_seconds_sum{op=\"x\"} 5.00045\n"
                        "took_seconds_count{op=\"x\"} 4\n"
                        "# HELP z_sent_total Bytes.\n"
                        "# TYPE z_sent_total counter\n"
                        "z_sent_total{To=\"a\"} 1\n"
                        "z_sent_total{To=\"b\"} 20480\n");
}

/* So many as one: each in the bucket of its share; none leaves no trace. */
static void many_are_observed_at_once(void **state)
{
    static struct metric many = {.name = "many_seconds",
                                 .help = "Many.",
                                 .kind = METRIC_HISTOGRAM,
                                 .bucket_start = 0.001,
                                 .bucket_factor = 2,
                                 .bucket_count = 2};
    metric_register(&many);
    metric_observe_many_ns(&many, 15000000, 10); /* 1.5 ms each */
    metric_observe_many_ns(&many, 7000000, 0);
    struct buf AUTO(buf_done) text;
    buf_init(&text, 0);
    page_make(&text);
    assert_non_null(strstr((char *)text.data,
                           "many_seconds_bucket{le=\"0.001\"} 0\n"
                           "many_seconds_bucket{le=\"0.002\"} 10\n"
                           "many_seconds_bucket{le=\"+Inf\"} 10\n"
                           "many_seconds_sum 0.015\n"
                           "many_seconds_count 10\n"));
}

static void value_reads(int64_t value, double scale, const char *want)
{
    struct buf AUTO(buf_done) text;
    buf_init(&text, 0);
    cpu.scale = scale;
    metric_set(&cpu, value);
    page_make(&text);
    char line[128];
    snprintf(line, sizeof(line), "\ncpu_seconds_total %s\n", want);
    if (!strstr((char *)text.data, line))
        fail_msg("no line%s in:\n%s", line, (char *)text.data);
}

static void numbers_look_as_etcds_do(void **state)
{
    value_reads(0, 0, "0");
    value_reads(-3, 0, "-3");
    value_reads(999999, 0, "999999");
    value_reads(1000000, 0, "1e+06");
    value_reads(1128133836, 10, "1.128133836e+10");
    value_reads(1, 0.0001, "0.0001");
    value_reads(1, 0.00001, "1e-05");
    value_reads(1, 0.1, "0.1");
    value_reads(12345, 0.001, "12.345");
    value_reads(1234567, 0, "1.234567e+06");
    value_reads(999999999999999, 0, "9.99999999999999e+14");
    value_reads(1000000000000000, 0, "1e+15");
    value_reads(1, 1.0 / 3, "0.3333333333333333");
}

static void text_stops_at_its_limit(void **state)
{
    struct buf AUTO(buf_done) text;
    buf_init(&text, 100);
    assert_err(metrics_text(&text), ERR_LIMIT);
}

/* A page that is made in pieces has every line once, and its headings where they belong. */
static void pieces_make_the_whole(void **state)
{
    struct buf AUTO(buf_done) whole;
    buf_init(&whole, 0);
    page_make(&whole);
    for (size_t bytes = 1; bytes < whole.len / 2; bytes *= 3) {
        struct buf AUTO(buf_done) text;
        struct metrics_page page;
        bool more = true;
        size_t pieces = 0, before = 0;
        buf_init(&text, 0);
        metrics_page_begin(&page);
        for (; more; pieces++, before = text.len) {
            assert_ok(metrics_page_put(&page, &text, bytes, &more));
            assert_true(text.len - before >= bytes || !more);
        }
        metrics_page_done(&page);
        assert_true(pieces > 1);
        assert_ok(buf_append(&text, bytes_of("", 1)));
        assert_string_equal((char *)text.data, (char *)whole.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_grouped_and_cumulative),
        cmocka_unit_test(many_are_observed_at_once),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(numbers_look_as_etcds_do),
        cmocka_unit_test(text_stops_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
