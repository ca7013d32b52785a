/* The pages beside gRPC: health, versions, metrics, the old members' pages; and the way to the JSON
 * gateway. Written once for both versions of HTTP.
 * Source: etcd's interface, http and v2 tables. */
#include "api/cluster.h"
#include "api/front_internal.h"
#include "api/gateway.h"
#include "api/v2.h"
#include "base/check.h"
#include "base/metrics.h"

#include <strings.h>

/* Of a page of metrics, made at a time: it is ten times that, and others wait meanwhile. */
#define METRICS_SLICE_BYTES ((size_t)16 << 10)

static const char text_plain[] = "text/plain; charset=utf-8";

static void answer(struct request *request, unsigned status, const char *type, struct bytes body)
{
    http_response(request->exchange, status, type, body);
    request->state = REQUEST_ANSWERED;
}

static void answer_buf(struct request *request, unsigned status, const char *type, struct buf *body,
                       err built)
{
    if (built.code)
        answer(request, 500, text_plain, bytes_str(err_text(built)));
    else
        answer(request, status, type, buf_bytes(body));
    buf_done(body);
}

void pages_refuse_method(struct request *request, const char *allow)
{
    struct http_header headers[] = {{BYTES_LIT("Allow"), bytes_str(allow)},
                                    {BYTES_LIT("Content-Type"), bytes_str(text_plain)}};
    struct bytes body = BYTES_LIT("Method Not Allowed\n");
    http_response_begin(request->exchange, 405, headers, 2, body.len);
    http_response_body(request->exchange, body);
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
}

/* ── /version, /metrics ─────────────────────────────────────────────────────────────────────── */

static void serve_version(struct request *request)
{
    const struct replica_view *view = front_view(request->front);
    char cluster[CLUSTER_VERSION_TEXT_MAX], storage[CLUSTER_VERSION_TEXT_MAX];
    struct buf body;
    buf_init(&body, 4096);
    err e = buf_printf(&body, "{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\",\"storage\":\"%s\"}",
                       ETCD_VERSION, cluster_version_text(view->version, cluster),
                       view->storage_version.major
                           ? cluster_version_text(view->storage_version, storage)
                           : "unknown");
    answer_buf(request, 200, "application/json", &body, e);
}

/* By what etcd's page counts of itself. */
static struct metric pages_under_way = {.name = "promhttp_metric_handler_requests_in_flight",
                                        .help = "Pages of metrics that are being made.",
                                        .kind = METRIC_GAUGE};
#define PAGES(code)                                                         \
    {                                                                       \
        .name = "promhttp_metric_handler_requests_total",                   \
        .help = "Pages of metrics by HTTP status.", .kind = METRIC_COUNTER, \
        .labels = "code=\"" code "\""                                       \
    }
static struct metric pages_made = PAGES("200");
static struct metric pages_failed = PAGES("500");
static struct metric pages_refused = PAGES("503");

void pages_metrics_init(void)
{
    struct metric *all[] = {&pages_under_way, &pages_made, &pages_failed, &pages_refused};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        metric_register(all[i]);
}

static void metrics_release(struct request *request)
{
    metrics_page_done(request->data);
    metric_add(&pages_under_way, -1);
}

/* No more than the client takes. */
static bool metrics_slice(struct request *request)
{
    if (!http_exchange_writable(request->exchange)) {
        list_remove(&request->node);
        return true;
    }
    struct buf piece AUTO(buf_done);
    bool more;
    buf_init(&piece, 0);
    CHECK(err_ok(metrics_page_put(request->data, &piece, METRICS_SLICE_BYTES, &more)));
    http_response_body(request->exchange, buf_bytes(&piece));
    if (more)
        return true;
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
    metric_add(&pages_made, 1);
    return false;
}

static void serve_metrics(struct request *request)
{
    struct http_header type = {BYTES_LIT("Content-Type"),
                               BYTES_LIT("text/plain; version=0.0.4; charset=utf-8")};
    struct metrics_page *page = ARENA_NEW(&request->arena, struct metrics_page);
    metric_add(&pages_under_way, 1);
    metrics_page_begin(page);
    request->data = page;
    request->release = metrics_release;
    http_response_begin(request->exchange, 200, &type, 1, HTTP_LENGTH_UNKNOWN);
    front_add_job(request, metrics_slice);
}

static void serve_vars(struct request *request)
{
    struct buf body;
    buf_init(&body, 4096);
    err e = buf_printf(&body, "{\n\"cmdline\": [\"etcd\"]\n}\n");
    answer_buf(request, 200, "application/json; charset=utf-8", &body, e);
}

/* ── /v2/machines ───────────────────────────────────────────────────────────────────────────── */

/* The client URLs of all members, as the old tool syncs by. */
static void serve_v2_machines(struct request *request)
{
    const struct membership *members = front_view(request->front)->members;
    struct buf body;
    buf_init(&body, (size_t)1 << 20);
    err e = OK;
    bool first = true;
    for (size_t m = 0; m < members->count; m++) {
        const struct text_list *urls = &members->members[m].client_urls;
        for (size_t i = 0; i < urls->count && err_ok(e); i++) {
            e = buf_printf(&body, "%s%s", first ? "" : ", ", urls->items[i]);
            first = false;
        }
    }
    answer_buf(request, 200, text_plain, &body, e);
}

/* ── Which page ─────────────────────────────────────────────────────────────────────────────── */

struct page {
    const char *path;
    const char *methods; /* Allow; NULL: any */
    bool on_metrics;     /* also on listeners for metrics */
    void (*serve)(struct request *request);
};

static const struct page pages[] = {
    {"/version", "GET", false, serve_version},
    {"/metrics", NULL, true, serve_metrics},
    {"/debug/vars", "GET", false, serve_vars},
    {"/health", "GET", true, health_serve},
    {"/livez", "GET", true, health_serve},
    {"/readyz", "GET", true, health_serve},
    {"/livez/serializable_read", "GET", true, health_serve},
    {"/readyz/serializable_read", "GET", true, health_serve},
    {"/readyz/linearizable_read", "GET", true, health_serve},
    {"/readyz/data_corruption", "GET", true, health_serve},
    {"/readyz/non_learner", "GET", true, health_serve},
    {"/v2/machines", "GET,HEAD", false, serve_v2_machines},
    {"/v2/stats/self", "GET", false, v2_stats_self},
    {"/v2/stats/store", "GET", false, v2_stats_store},
    {"/v2/stats/leader", "GET", false, v2_stats_leader},
};

static bool method_allowed(struct bytes method, const char *methods_allowed)
{
    if (!methods_allowed || bytes_equal(method, BYTES_LIT("HEAD")))
        return true;
    return bytes_equal(method, BYTES_LIT("GET"));
}

static bool list_has(const char *const *list, struct bytes text)
{
    for (; *list; list++)
        if (strcmp(*list, "*") == 0 || bytes_equal(bytes_str(*list), text))
            return true;
    return false;
}

/* Without port and brackets. */
static struct bytes host_name(struct bytes host)
{
    if (host.len && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.len);
        return end ? bytes_of(host.data + 1, (size_t)(end - host.data) - 1) : host;
    }
    const uint8_t *colon = host.len ? memrchr(host.data, ':', host.len) : NULL;
    return colon ? bytes_of(host.data, (size_t)(colon - host.data)) : host;
}

static bool refuse_host(struct request *request)
{
    struct bytes host = host_name(http_exchange_host(request->exchange));
    if (list_has(request->front->config.host_whitelist, host))
        return false;
    struct buf body;
    buf_init(&body, 8192);
    err e = buf_printf(&body,
                       "etcd received your request, but the Host header %.*s is not one that it "
                       "serves.\nName it with --host-whitelist, or ask by an address that is "
                       "listed there.\n",
                       host.len > 255 ? 255 : (int)host.len, (const char *)host.data);
    answer_buf(request, 421, text_plain, &body, e);
    return true;
}

void http_pages_serve(struct request *request, struct bytes body)
{
    struct bytes target = http_exchange_target(request->exchange);
    const uint8_t *query = target.len ? memchr(target.data, '?', target.len) : NULL;
    request->path = query ? bytes_of(target.data, (size_t)(query - target.data)) : target;
    struct bytes method = http_exchange_method(request->exchange);
    if (refuse_host(request))
        return;
    if (bytes_equal(method, BYTES_LIT("OPTIONS"))) {
        gateway_preflight(request);
        return;
    }
    bool metrics_only = request->conn->kind == FRONT_METRICS;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (!bytes_equal(request->path, bytes_str(pages[i].path)) ||
            (metrics_only && !pages[i].on_metrics))
            continue;
        if (method_allowed(method, pages[i].methods))
            pages[i].serve(request);
        else
            pages_refuse_method(request, pages[i].methods);
        return;
    }
    if (!metrics_only && (v2_members_serve(request, body) || v2_keys_serve(request, body)))
        return;
    if (!metrics_only && request->front->config.gateway &&
        bytes_has_prefix(request->path, BYTES_LIT("/v3")))
        gateway_serve(request, body);
    else
        answer(request, 404, text_plain, BYTES_LIT("404 page not found\n"));
}
