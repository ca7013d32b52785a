/* etcd-bench: puts a load on a cluster of any etcd and says what it took. */
#include "bench/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct option {
    const char *name;
    const char *value; /* what to write for it; NULL: a switch */
    bool (*set)(struct load_config *config, const char *text);
    const char *help;
};

static bool json;

static bool number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *rest;
    errno = 0;
    unsigned long long n = strtoull(text, &rest, 10);
    if (errno || rest == text || *rest || text[0] == '-' || n > max)
        return false;
    *ret_number = n;
    return true;
}

static bool number32(const char *text, uint32_t *ret_number)
{
    uint64_t n;
    if (!number(text, UINT32_MAX, &n))
        return false;
    *ret_number = (uint32_t)n;
    return true;
}

static bool set_endpoints(struct load_config *config, const char *text)
{
    static char *kept; /* what the endpoints point into, as long as the process lives */
    free(kept);
    kept = strdup(text);
    char *rest = kept;
    config->endpoint_count = 0;
    for (char *one; (one = strsep(&rest, ",")) && config->endpoint_count < LOAD_ENDPOINTS_MAX;)
        config->endpoints[config->endpoint_count++] = one;
    return !rest && config->endpoint_count > 0;
}

static bool set_pids(struct load_config *config, const char *text)
{
    config->pid_count = 0;
    while (*text && config->pid_count < LOAD_PIDS_MAX) {
        char *rest;
        long pid = strtol(text, &rest, 10);
        if (pid <= 0 || rest == text || (*rest && *rest != ','))
            return false;
        config->pids[config->pid_count++] = (pid_t)pid;
        text = *rest ? rest + 1 : rest;
    }
    return *text == 0;
}

static bool set_kind(struct load_config *config, const char *text)
{
    static const char *const names[] = {
        [WORK_PUT] = "put", [WORK_RANGE] = "range", [WORK_LIST] = "list",
        [WORK_TXN] = "txn", [WORK_MIXED] = "mixed", [WORK_GRANT] = "grant"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        config->work.kind = (enum work_kind)i;
        return true;
    }
    return false;
}

static bool seconds(const char *text, uint64_t *ret_ms)
{
    char *rest;
    double s = strtod(text, &rest);
    if (rest == text || *rest || !(s >= 0 && s <= 86400))
        return false;
    *ret_ms = (uint64_t)(s * 1000);
    return true;
}

#define SETTER(name, call)                                         \
    static bool name(struct load_config *config, const char *text) \
    {                                                              \
        return call;                                               \
    }
SETTER(set_connections, number32(text, &config->connections) && config->connections > 0)
SETTER(set_streams, number32(text, &config->streams) && config->streams > 0)
SETTER(set_rate, number(text, 10000000, &config->rate))
SETTER(set_total, number(text, UINT64_MAX, &config->total))
SETTER(set_duration, seconds(text, &config->duration_ms) && config->duration_ms > 0)
SETTER(set_warm_up, seconds(text, &config->warm_up_ms))
SETTER(set_sample, number(text, 60000, &config->sample_ms))
SETTER(set_key_bytes, number32(text, &config->work.key_bytes))
SETTER(set_value_bytes,
       number32(text, &config->work.value_bytes) && config->work.value_bytes < 1 << 30)
SETTER(set_key_space, number(text, UINT64_MAX, &config->work.key_space))
SETTER(set_list_keys, number(text, UINT64_MAX, &config->work.list_keys))
SETTER(set_writes, number32(text, &config->work.write_percent))
SETTER(set_lease_ttl, number(text, UINT32_MAX, &config->work.lease_ttl_s))
SETTER(set_watchers, number32(text, &config->watchers.count))
SETTER(set_watch_connections,
       number32(text, &config->watchers.connections) && config->watchers.connections > 0)
SETTER(set_watch_streams, number32(text, &config->watchers.streams) && config->watchers.streams > 0)
SETTER(set_watch_one, (config->watchers.one_key = true))
SETTER(set_seed, number(text, UINT64_MAX, &config->work.seed))
SETTER(set_serializable, (config->work.serializable = true))
SETTER(set_sequential, (config->work.sequential = true))
SETTER(set_json, (json = true))

static const struct option options[] = {
    {"endpoints", "HOST:PORT,…", set_endpoints, "connections take turns [127.0.0.1:2379]"},
    {"kind", "KIND", set_kind, "put, range, list, txn, mixed, grant [put]"},
    {"connections", "N", set_connections, "[50]"},
    {"streams", "N", set_streams, "calls at once on each connection [20]"},
    {"rate", "N", set_rate, "requests a second, whatever the answers do [0: as fast as answered]"},
    {"total", "N", set_total, "how many requests [0: by duration]"},
    {"duration", "SECONDS", set_duration, "[5]"},
    {"warm-up", "SECONDS", set_warm_up, "not measured [1]"},
    {"key-bytes", "N", set_key_bytes, "[16]"},
    {"value-bytes", "N", set_value_bytes, "[256]"},
    {"key-space", "N", set_key_space, "different keys [10000]"},
    {"sequential", NULL, set_sequential, "keys in order, each once a round; else by chance"},
    {"list-keys", "N", set_list_keys, "keys of one list [1000]"},
    {"serializable", NULL, set_serializable, "ranges need no quorum"},
    {"lease-ttl", "SECONDS", set_lease_ttl, "of leases that are granted [60]"},
    {"writes", "PERCENT", set_writes, "puts among mixed requests [20]"},
    {"watchers", "N", set_watchers, "that hear of the keys: number n of key n [0]"},
    {"watch-one", NULL, set_watch_one, "all watch the first key"},
    {"watch-connections", "N", set_watch_connections, "of the watchers [10]"},
    {"watch-streams", "N", set_watch_streams, "on each of their connections [1]"},
    {"seed", "N", set_seed, "[1]"},
    {"pids", "PID,…", set_pids, "servers whose processor time and memory to measure"},
    {"sample-ms", "N", set_sample, "between two looks at their memory [50]"},
    {"json", NULL, set_json, "one line of JSON"},
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static void usage(FILE *to)
{
    (void)fprintf(to, "usage: etcd-bench [--option[=value]]…\n\n");
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        char form[40];
        (void)snprintf(form, sizeof(form), "--%s%s%s", options[i].name, options[i].value ? "=" : "",
                       options[i].value ? options[i].value : "");
        (void)fprintf(to, "  %-26s %s\n", form, options[i].help);
    }
}

static bool option_take(struct load_config *config, const char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return false;
    const char *equals = strchr(argument, '=');
    size_t len = equals ? (size_t)(equals - argument) - 2 : strlen(argument) - 2;
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &options[i];
        if (strlen(option->name) == len && memcmp(option->name, argument + 2, len) == 0)
            return (option->value != NULL) == (equals != NULL) &&
                   option->set(config, equals ? equals + 1 : "");
    }
    return false;
}

static double us(const struct load_report *report, double share)
{
    return (double)histogram_at(&report->latency_ns, share) / 1e3;
}

static double a_request_us(const struct load_report *report, double cpu_s)
{
    return report->requests ? cpu_s * 1e6 / (double)report->requests : 0;
}

static double throughput(const struct load_report *report)
{
    return report->seconds > 0 ? (double)report->requests / report->seconds : 0;
}

static double mean_answer_bytes(const struct load_report *report)
{
    return report->requests ? (double)report->answer_bytes / (double)report->requests : 0;
}

static void print_json(const struct load_report *r)
{
    printf(
        "{\"requests\":%llu,\"errors\":%llu,\"unanswered\":%llu,\"seconds\":%.3f,"
        "\"per_second\":%.1f,\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
        "\"p999_us\":%.1f,\"max_us\":%.1f,\"cpu_us\":%.2f,\"own_cpu_us\":%.2f,"
        "\"answer_bytes\":%.1f,\"anon_kib_before\":%llu,\"anon_kib_after\":%llu,"
        "\"anon_kib_peak\":%llu,\"events\":%llu,\"events_per_second\":%.1f,"
        "\"event_p50_us\":%.1f,\"event_p99_us\":%.1f,\"event_max_us\":%.1f,"
        "\"event_cpu_us\":%.3f}\n",
        (unsigned long long)r->requests, (unsigned long long)r->errors,
        (unsigned long long)r->unanswered, r->seconds, throughput(r),
        histogram_mean(&r->latency_ns) / 1e3, us(r, 0.5), us(r, 0.99), us(r, 0.999),
        (double)r->latency_ns.max / 1e3, a_request_us(r, r->cpu_s), a_request_us(r, r->own_cpu_s),
        mean_answer_bytes(r), (unsigned long long)r->anon_kib_before,
        (unsigned long long)r->anon_kib_after, (unsigned long long)r->anon_kib_peak,
        (unsigned long long)r->events, r->seconds > 0 ? (double)r->events / r->seconds : 0,
        (double)histogram_at(&r->event_latency_ns, 0.5) / 1e3,
        (double)histogram_at(&r->event_latency_ns, 0.99) / 1e3,
        (double)r->event_latency_ns.max / 1e3, r->events ? r->cpu_s * 1e6 / (double)r->events : 0);
}

static void print_text(const struct load_config *config, const struct load_report *r)
{
    printf("requests    %llu in %.2f s: %.0f a second\n", (unsigned long long)r->requests,
           r->seconds, throughput(r));
    printf("errors      %llu; unanswered %llu\n", (unsigned long long)r->errors,
           (unsigned long long)r->unanswered);
    printf("latency     mean %.0f, p50 %.0f, p99 %.0f, p99.9 %.0f, max %.0f us\n",
           histogram_mean(&r->latency_ns) / 1e3, us(r, 0.5), us(r, 0.99), us(r, 0.999),
           (double)r->latency_ns.max / 1e3);
    printf("answers     %.0f bytes each\n", mean_answer_bytes(r));
    if (config->watchers.count)
        printf("events      %llu: %.0f a second; p50 %.0f, p99 %.0f, max %.0f us after the put\n",
               (unsigned long long)r->events, r->seconds > 0 ? (double)r->events / r->seconds : 0,
               (double)histogram_at(&r->event_latency_ns, 0.5) / 1e3,
               (double)histogram_at(&r->event_latency_ns, 0.99) / 1e3,
               (double)r->event_latency_ns.max / 1e3);
    if (config->pid_count) {
        printf("server CPU  %.2f us a request, %.0f %% of a core\n", a_request_us(r, r->cpu_s),
               r->seconds > 0 ? r->cpu_s * 100 / r->seconds : 0);
        printf("memory      %llu KiB before, %llu after, %llu at most, not backed by files\n",
               (unsigned long long)r->anon_kib_before, (unsigned long long)r->anon_kib_after,
               (unsigned long long)r->anon_kib_peak);
    }
    printf("own CPU     %.2f us a request\n", a_request_us(r, r->own_cpu_s));
}

int main(int argc, char **argv)
{
    struct load_config config = {
        .endpoints = {"127.0.0.1:2379"},
        .endpoint_count = 1,
        .connections = 50,
        .streams = 20,
        .duration_ms = 5000,
        .warm_up_ms = 1000,
        .sample_ms = 50,
        .work = {.kind = WORK_PUT,
                 .key_bytes = 16,
                 .value_bytes = 256,
                 .key_space = 10000,
                 .list_keys = 1000,
                 .write_percent = 20,
                 .lease_ttl_s = 60,
                 .seed = 1},
        .watchers = {.connections = 10, .streams = 1},
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        }
        if (!option_take(&config, argv[i])) {
            (void)fprintf(stderr, "etcd-bench: cannot use %s\n", argv[i]);
            usage(stderr);
            return 2;
        }
    }
    config.work.stamped = config.watchers.count > 0;
    if (!config.watchers.count)
        config.watchers.connections = 0;
    const char *reason = work_config_check(&config.work);
    if (reason) {
        (void)fprintf(stderr, "etcd-bench: %s\n", reason);
        return 2;
    }
    static struct load_report report;
    err e = load_run(&config, &report);
    if (!err_ok(e)) {
        (void)fprintf(stderr, "etcd-bench: %s%s%s\n", err_text(e),
                      report.first_error[0] ? "; " : "", report.first_error);
        return 1;
    }
    if (json)
        print_json(&report);
    else
        print_text(&config, &report);
    if (report.errors || report.unanswered)
        (void)fprintf(stderr, "etcd-bench: %llu errors, the first: %s\n",
                      (unsigned long long)report.errors, report.first_error);
    return report.errors || report.unanswered ? 1 : 0;
}
