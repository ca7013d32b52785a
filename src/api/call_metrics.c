/* The counters that gRPC servers are known by; each method's are there from the start.
 * Source: etcd's interface, metrics. */
#include "api/front_internal.h"
#include "base/check.h"
#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_COUNT = 17 };

struct method_metrics {
    struct metric started, received, sent;
    struct metric handled[CODE_COUNT];
    struct metric took;         /* with --metrics=extensive */
    struct metric *requests[2]; /* failed, succeeded; NULL: it has no name there */
};

static struct method_metrics *per_method;
static struct metric *readonly_txns[2];
static pthread_mutex_t versions_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_extensive;
static const double took_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

static struct metric range_took[2];
static struct metric bytes_sent = {.name = "etcd_network_client_grpc_sent_bytes_total",
                                   .help = "Bytes sent to clients.",
                                   .kind = METRIC_COUNTER};
static struct metric bytes_received = {.name = "etcd_network_client_grpc_received_bytes_total",
                                       .help = "Bytes received from clients.",
                                       .kind = METRIC_COUNTER};

static const char *const code_names[CODE_COUNT] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

static char *labels(const struct method *method, const char *code)
{
    const char *type = method->client_streams   ? "bidi_stream"
                       : method->server_streams ? "server_stream"
                                                : "unary";
    char *text;
    int n = asprintf(&text, "%s%s%sgrpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                     code ? "grpc_code=\"" : "", code ? code : "", code ? "\"," : "", method->name,
                     method->service, type);
    CHECK(n > 0);
    return text;
}

static void add(struct metric *metric, const char *name, const char *help, const char *label)
{
    *metric = (struct metric){.name = name, .help = help, .kind = METRIC_COUNTER, .labels = label};
    metric_register(metric);
}

/* Series of these are shown from their first observation on, as etcd's are: each registers them. */
static void count(struct metric *series)
{
    metric_register(series);
    metric_add(series, 1);
}

static struct metric *requests_new(const char *type, bool succeeded)
{
    struct metric *self = calloc(1, sizeof(*self));
    char *label; /* as long as the metrics: for ever */
    int n = asprintf(&label, "success=\"%s\",type=\"%s\"", succeeded ? "true" : "false", type);
    CHECK(self && n > 0);
    *self = (struct metric){.name = "etcd_server_request_duration_seconds",
                            .help = "Time that answering a request took.",
                            .kind = METRIC_HISTOGRAM,
                            .labels = label,
                            .bucket_start = 0.001,
                            .bucket_factor = 2,
                            .bucket_count = 14};
    return self;
}

/* What etcd calls what is proposed for a method, and Range. False: nothing is. */
static bool request_type(const struct method *method, char out[64])
{
    static const struct {
        const char *service, *method, *type;
    } names[] = {
        {"etcdserverpb.KV", "Compact", "Compaction"},
        {"etcdserverpb.KV", "RangeStream", NULL},
        {"etcdserverpb.KV", NULL, ""},
        {"etcdserverpb.Lease", "LeaseGrant", "LeaseGrant"},
        {"etcdserverpb.Lease", "LeaseRevoke", "LeaseRevoke"},
        {"etcdserverpb.Maintenance", "Alarm", "Alarm"},
        {"etcdserverpb.Auth", "Authenticate", "Authenticate"},
        {"etcdserverpb.Auth", "AuthStatus", "AuthStatus"},
        {"etcdserverpb.Auth", "AuthEnable", "AuthEnable"},
        {"etcdserverpb.Auth", "AuthDisable", "AuthDisable"},
        {"etcdserverpb.Auth", NULL, "Auth"}, /* before the method's own name */
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].service, method->service) != 0 ||
            (names[i].method && strcmp(names[i].method, method->name) != 0))
            continue;
        (void)snprintf(out, 64, "%s%s", names[i].type ? names[i].type : "",
                       names[i].method ? "" : method->name);
        return names[i].type != NULL;
    }
    return false;
}

/* ---- clients by their version -------------------------------------------------------------- */

/* Who asks under ever new names is counted together. */
#define VERSIONS_MAX      32
#define VERSION_BYTES_MAX 32

static struct version_requests {
    char version[VERSION_BYTES_MAX + 1];
    struct metric unary, stream;
} * versions[VERSIONS_MAX];
static atomic_uint version_count;

static struct metric version_series(const char *type, const char *version)
{
    char *label;
    int n = asprintf(&label, "client_api_version=\"%s\",type=\"%s\"", version, type);
    CHECK(n > 0);
    return (struct metric){.name = "etcd_server_client_requests_total",
                           .help = "Calls by what clients say of their version.",
                           .kind = METRIC_COUNTER,
                           .labels = label};
}

static struct version_requests *version_find(struct bytes version)
{
    unsigned count = atomic_load_explicit(&version_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        if (bytes_equal(bytes_str(versions[i]->version), version))
            return versions[i];
    return NULL;
}

static struct version_requests *version_add(struct bytes version)
{
    (void)pthread_mutex_lock(&versions_lock);
    struct version_requests *self = version_find(version);
    unsigned count = atomic_load(&version_count);
    if (!self && count < VERSIONS_MAX) {
        self = calloc(1, sizeof(*self));
        CHECK(self);
        memcpy(self->version, version.data, version.len);
        self->unary = version_series("unary", self->version);
        self->stream = version_series("stream", self->version);
        versions[count] = self;
        atomic_store_explicit(&version_count, count + 1, memory_order_release);
    }
    (void)pthread_mutex_unlock(&versions_lock);
    return self;
}

/* Shown in quotes as it is. */
static bool version_is_plain(struct bytes version)
{
    if (version.len == 0 || version.len > VERSION_BYTES_MAX)
        return false;
    for (size_t i = 0; i < version.len; i++)
        if (version.data[i] < ' ' || version.data[i] > '~' || version.data[i] == '"' ||
            version.data[i] == '\\')
            return false;
    return true;
}

void call_metrics_client(const struct method *method, struct bytes version)
{
    struct bytes unknown = BYTES_LIT("unknown");
    if (!version_is_plain(version))
        version = unknown;
    struct version_requests *one = version_find(version);
    if (!one)
        one = version_add(version);
    if (!one) /* too many: they are as good as unknown, which is among the first */
        one = version_find(unknown);
    if (one)
        count(method->client_streams || method->server_streams ? &one->stream : &one->unary);
}

/* ---- streams that end because of an error ---------------------------------------------------- */

static struct metric stream_failures[2][2]; /* watch, lease-keepalive; receive, send */

static void stream_failures_init(void)
{
    static const char *const labels_of[2][2] = {
        {"API=\"watch\",Type=\"receive\"", "API=\"watch\",Type=\"send\""},
        {"API=\"lease-keepalive\",Type=\"receive\"", "API=\"lease-keepalive\",Type=\"send\""}};
    for (unsigned i = 0; i < 4; i++)
        stream_failures[i / 2][i % 2] =
            (struct metric){.name = "etcd_network_server_stream_failures_total",
                            .help = "Streams that ended because of an error.",
                            .kind = METRIC_COUNTER,
                            .labels = labels_of[i / 2][i % 2]};
}

void call_metrics_stream_failed(const struct method *method, bool sending)
{
    bool watches = strcmp(method->service, "etcdserverpb.Watch") == 0;
    if (watches || strcmp(method->name, "LeaseKeepAlive") == 0)
        count(&stream_failures[!watches][sending]);
}

/* ---- all of them --------------------------------------------------------------------------- */

void call_metrics_init(bool extensive)
{
    if (per_method)
        return;
    is_extensive = extensive;
    per_method = calloc(method_count, sizeof(*per_method));
    CHECK(per_method);
    metric_register(&bytes_sent);
    metric_register(&bytes_received);
    stream_failures_init();
    for (unsigned outcome = 0; outcome < 2; outcome++) {
        range_took[outcome] =
            (struct metric){.name = "etcd_server_range_duration_seconds",
                            .help = "Time that reading and answering a range took.",
                            .kind = METRIC_HISTOGRAM,
                            .labels = outcome ? "success=\"true\"" : "success=\"false\"",
                            .bucket_start = 0.0001,
                            .bucket_factor = 2,
                            .bucket_count = 20};
        metric_register(&range_took[outcome]);
        readonly_txns[outcome] = requests_new("ReadonlyTxn", outcome);
    }
    CHECK(version_add(BYTES_LIT("unknown")));
    for (unsigned i = 0; i < method_count; i++) {
        struct method_metrics *m = &per_method[i];
        const char *plain = labels(&methods[i], NULL); /* lives as long as the metrics: for ever */
        add(&m->started, "grpc_server_started_total", "Calls that began.", plain);
        add(&m->received, "grpc_server_msg_received_total", "Messages received.", plain);
        add(&m->sent, "grpc_server_msg_sent_total", "Messages sent.", plain);
        if (extensive) {
            m->took = (struct metric){.name = "grpc_server_handling_seconds",
                                      .help = "Time from call to answer.",
                                      .kind = METRIC_HISTOGRAM,
                                      .labels = plain,
                                      .bounds = took_bounds,
                                      .bucket_count = sizeof(took_bounds) / sizeof(took_bounds[0])};
            metric_register(&m->took);
        }
        char type[64];
        bool is_request = request_type(&methods[i], type);
        for (unsigned outcome = 0; is_request && outcome < 2; outcome++)
            m->requests[outcome] = requests_new(type, outcome);
        for (int code = 0; code < CODE_COUNT; code++)
            add(&m->handled[code], "grpc_server_handled_total", "Calls that ended, by code.",
                labels(&methods[i], code_names[code]));
    }
}

static struct method_metrics *metrics_of(const struct method *method)
{
    return per_method ? &per_method[method - methods] : NULL;
}

void call_metrics_started(const struct method *method)
{
    struct method_metrics *m = metrics_of(method);
    if (m)
        metric_add(&m->started, 1);
}

void call_metrics_handled(const struct method *method, unsigned code, uint64_t took_ns)
{
    struct method_metrics *m = metrics_of(method);
    if (m && code < CODE_COUNT)
        metric_add(&m->handled[code], 1);
    if (m && is_extensive)
        metric_observe_ns(&m->took, took_ns);
}

/* Neither proposed nor applied, or not in time. */
static bool is_in_vain(unsigned code)
{
    return code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE_EXCEEDED || code == GRPC_CANCELLED;
}

void call_metrics_request(const struct method *method, bool only_reads, unsigned code,
                          uint64_t took_ns)
{
    struct method_metrics *m = metrics_of(method);
    bool succeeded = !is_in_vain(code);
    if (!m || !m->requests[0])
        return;
    struct metric *series = only_reads ? readonly_txns[succeeded] : m->requests[succeeded];
    metric_register(series);
    metric_observe_ns(series, took_ns);
}

void call_metrics_range(bool succeeded, uint64_t took_ns)
{
    metric_observe_ns(&range_took[succeeded], took_ns);
}

void call_metrics_message(const struct method *method, bool sent)
{
    struct method_metrics *m = method ? metrics_of(method) : NULL;
    if (m)
        metric_add(sent ? &m->sent : &m->received, 1);
}

void call_metrics_bytes(bool sent, size_t n)
{
    metric_add(sent ? &bytes_sent : &bytes_received, (int64_t)n);
}
