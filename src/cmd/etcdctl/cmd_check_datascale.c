#include "client/page.h"
#include "etcdctl/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define O struct check_options
const struct flag check_datascale_flags[] = {
    STRING_FLAG(O, load, "load", "s",
                "how many keys: s (10000), m (100000), l (1000000) or xl (3000000)"),
    STRING_FLAG(O, prefix, "prefix", "/etcdctl-check-datascale/", "where the keys are put"),
    BOOL_FLAG(O, auto_compact, "auto-compact", "compact the store afterwards"),
    BOOL_FLAG(O, auto_defrag, "auto-defrag", "defragment the endpoints afterwards"),
    {0},
};
#undef O

#define KEY_VALUE_BYTES 1024
#define METRIC          "\nprocess_resident_memory_bytes "
#define MIB             (1024.0 * 1024.0)

/* What the first endpoint's process takes; 0: it does not tell. */
static double memory_bytes(struct ctl *ctl, const char *when)
{
    const struct client_page_request request = {
        .base = ctl->options.endpoints.items[0],
        .path = "/metrics",
        .method = "GET",
        .user_agent = "etcdctl",
        .timeout_ms = ctl_timeout_ms(ctl),
    };
    struct client_page page;
    double bytes = 0;
    if (err_ok(client_page_fetch(&request, &ctl->arena, &page)) && page.status == 200) {
        const char *text = arena_copy_str(&ctl->arena, page.body), *at = strstr(text, METRIC);
        if (at)
            bytes = strtod(at + strlen(METRIC), NULL);
    }
    if (bytes <= 0)
        (void)printf("FAIL: Could not read process_resident_memory_bytes %s the put operations.\n",
                     when);
    return bytes > 0 ? bytes : 0;
}

int command_run_check_datascale(struct ctl *ctl, const void *opaque, struct strings args)
{
    static const struct {
        uint64_t count;
        unsigned clients;
    } loads[] = {{10000, 50}, {100000, 200}, {1000000, 500}, {3000000, 1000}};
    const struct check_options *options = opaque;
    struct load_result result;
    unsigned index = 0;
    int code = load_name(options->load, &index);
    if (!code)
        code = load_prefix_free(ctl, options->prefix);
    if (code)
        return code;
    double before = memory_bytes(ctl, "before");
    if (before == 0)
        return CTL_ERROR;
    const struct load load = {
        .prefix = options->prefix,
        .key_bytes = KEY_VALUE_BYTES / 2,
        .value_bytes = KEY_VALUE_BYTES / 2,
        .clients = loads[index].clients,
        .count = loads[index].count,
    };
    (void)printf("Start data scale check for work load [%" PRIu64
                 " key-value pairs, %d bytes per "
                 "key-value, %u concurrent clients].\n",
                 load.count, KEY_VALUE_BYTES, load.clients);
    (void)fflush(stdout);
    code = load_put_all(ctl, &load, &result);
    double after = code ? 0 : memory_bytes(ctl, "after");
    if (!code && after == 0)
        code = CTL_ERROR;
    if (!code)
        code = load_clean(ctl, options);
    if (code)
        return code;
    if (load_print_errors(&result))
        return CTL_ERROR;
    (void)printf("PASS: Approximate system memory used : %.2f MB.\n", (after - before) / MIB);
    return CTL_OK;
}
