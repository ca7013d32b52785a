#include "etcdctl/load.h"

#include <stdio.h>

#define O struct check_options
const struct flag check_perf_flags[] = {
    STRING_FLAG(O, load, "load", "s",
                "how much: s (150 writes/s), m (1000), l (8000) or xl (15000)"),
    STRING_FLAG(O, prefix, "prefix", "/etcdctl-check-perf/", "where the keys are put"),
    BOOL_FLAG(O, auto_compact, "auto-compact", "compact the store afterwards"),
    BOOL_FLAG(O, auto_defrag, "auto-defrag", "defragment the endpoints afterwards"),
    {0},
};
#undef O

#define DURATION_S      60
#define SLOWEST_S_MAX   0.5
#define STDDEV_S_MAX    0.1
#define THROUGHPUT_PART 0.9

static bool judge(const struct load *load, const struct load_result *result)
{
    bool ok = !load_print_errors(result);
    unsigned rate = (unsigned)result->per_second + 1;
    if (result->per_second / load->per_second <= THROUGHPUT_PART) {
        ok = false;
        (void)printf("FAIL: Throughput too low: %u writes/s\n", rate);
    } else {
        (void)printf("PASS: Throughput is %u writes/s\n", rate);
    }
    if (result->slowest_s > SLOWEST_S_MAX) {
        ok = false;
        (void)printf("Slowest request took too long: %fs\n", result->slowest_s);
    } else {
        (void)printf("PASS: Slowest request took %fs\n", result->slowest_s);
    }
    if (result->stddev_s > STDDEV_S_MAX) {
        ok = false;
        (void)printf("Stddev too high: %fs\n", result->stddev_s);
    } else {
        (void)printf("PASS: Stddev is %fs\n", result->stddev_s);
    }
    (void)puts(ok ? "PASS" : "FAIL");
    return ok;
}

int command_run_check_perf(struct ctl *ctl, const void *opaque, struct strings args)
{
    static const struct {
        unsigned per_second, clients;
    } loads[] = {{150, 50}, {1000, 200}, {8000, 500}, {15000, 1000}};
    const struct check_options *options = opaque;
    struct load_result result;
    unsigned index = 0;
    int code = load_name(options->load, &index);
    if (!code)
        code = load_prefix_free(ctl, options->prefix);
    const struct load load = {
        .prefix = options->prefix,
        .key_bytes = 256,
        .value_bytes = 1024,
        .clients = loads[index].clients,
        .per_second = loads[index].per_second,
        .duration_s = DURATION_S,
    };
    if (!code)
        code = load_put_all(ctl, &load, &result);
    if (!code)
        code = load_clean(ctl, options);
    if (code)
        return code;
    return judge(&load, &result) ? CTL_OK : CTL_ERROR;
}
