/* /health, /livez and /readyz. A check that reads does what a client's read would do: a barrier
 * for the linearizable one, the view for the serializable one.
 * Source: etcd's interface, http table. */
#include "api/gateway.h"
#include "base/check.h"
#include "base/metrics.h"

#include <stdio.h>
#include <strings.h>

enum check_kind { CHECK_DATA_CORRUPTION, CHECK_SERIALIZABLE, CHECK_LINEARIZABLE, CHECK_LEARNER };
enum { CHECK_COUNT = 4 };

static const char *const check_names[CHECK_COUNT] = {"data_corruption", "serializable_read",
                                                     "linearizable_read", "non_learner"};

struct health {
    bool is_health; /* /health: JSON of its own */
    bool wanted[CHECK_COUNT];
    bool serializable; /* /health?serializable=true */
    bool verbose;
    bool ready; /* /readyz, else /livez */
    bool single;
    struct bytes query;
};

static struct metric health_success = {.name = "etcd_server_health_success",
                                       .help = "Health checks that passed.",
                                       .kind = METRIC_COUNTER};
static struct metric health_failures = {.name = "etcd_server_health_failures",
                                        .help = "Health checks that failed.",
                                        .kind = METRIC_COUNTER};

/* Of each check in each of its two places. What was never asked counts as good. */
static struct {
    struct metric good, successes, errors;
} check_metrics[2][CHECK_COUNT];

static void check_metrics_init(bool ready, enum check_kind kind)
{
    const char *type = ready ? "readyz" : "livez";
    char *labels, *success, *error;
    CHECK(asprintf(&labels, "name=\"%s\",type=\"%s\"", check_names[kind], type) > 0);
    CHECK(asprintf(&success, "name=\"%s\",status=\"success\",type=\"%s\"", check_names[kind],
                   type) > 0);
    CHECK(asprintf(&error, "name=\"%s\",status=\"error\",type=\"%s\"", check_names[kind], type) >
          0); /* all three are kept for ever */
    check_metrics[ready][kind].good = (struct metric){.name = "etcd_server_healthcheck",
                                                      .help = "Whether a check passed last time.",
                                                      .kind = METRIC_GAUGE,
                                                      .labels = labels,
                                                      .value = 1};
    struct metric total = {.name = "etcd_server_healthchecks_total",
                           .help = "Checks by outcome.",
                           .kind = METRIC_COUNTER};
    total.labels = success;
    check_metrics[ready][kind].successes = total;
    total.labels = error;
    check_metrics[ready][kind].errors = total;
    metric_register(&check_metrics[ready][kind].good);
    metric_register(&check_metrics[ready][kind].successes);
    metric_register(&check_metrics[ready][kind].errors);
}

static void count_check(const struct health *self, enum check_kind kind, bool good)
{
    metric_set(&check_metrics[self->ready][kind].good, good);
    metric_add(good ? &check_metrics[self->ready][kind].successes
                    : &check_metrics[self->ready][kind].errors,
               1);
}

void health_metrics_init(void)
{
    check_metrics_init(false, CHECK_SERIALIZABLE);
    for (int k = 0; k < CHECK_COUNT; k++)
        check_metrics_init(true, (enum check_kind)k);
    metric_register(&health_success);
    metric_register(&health_failures);
}

/* The next name=value of a query. */
static bool query_next(struct bytes *query, struct bytes *ret_name, struct bytes *ret_value)
{
    if (query->len == 0)
        return false;
    const uint8_t *end = memchr(query->data, '&', query->len);
    struct bytes pair = end ? bytes_of(query->data, (size_t)(end - query->data)) : *query;
    *query = bytes_skip(*query, end ? pair.len + 1 : pair.len);
    const uint8_t *equals = pair.len ? memchr(pair.data, '=', pair.len) : NULL;
    *ret_name = equals ? bytes_of(pair.data, (size_t)(equals - pair.data)) : pair;
    *ret_value = equals ? bytes_skip(pair, ret_name->len + 1) : BYTES_NONE;
    return true;
}

static bool excluded(const struct health *self, const char *name)
{
    struct bytes query = self->query, key, value;
    while (query_next(&query, &key, &value))
        if (bytes_equal(key, BYTES_LIT("exclude")) && bytes_equal(value, bytes_str(name)))
            return true;
    return false;
}

static void respond(struct request *request, unsigned status, const char *type, struct buf *body)
{
    struct http_header headers[] = {{BYTES_LIT("Content-Type"), bytes_str(type)},
                                    {BYTES_LIT("X-Content-Type-Options"), BYTES_LIT("nosniff")}};
    http_response_begin(request->exchange, status, headers, 2, body->len);
    http_response_body(request->exchange, buf_bytes(body));
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
    buf_done(body);
}

/* ── /health ────────────────────────────────────────────────────────────────────────────────── */

static void health_answer(struct request *request, const char *reason)
{
    bool good = reason[0] == '\0';
    metric_add(good ? &health_success : &health_failures, 1);
    struct buf body;
    buf_init(&body, 4096);
    err e = buf_printf(&body, "{\"health\":\"%s\",\"reason\":\"%s\"}%s", good ? "true" : "false",
                       reason, good ? "" : "\n");
    CHECK(err_ok(e));
    respond(request, good ? 200 : 503, "text/plain; charset=utf-8", &body);
}

static void health_after_barrier(struct request *request, const struct replica_reply *reply)
{
    err e = reply->result.error;
    health_answer(request,
                  e.code ? arena_printf(&request->arena, "RANGE ERROR:%s", err_text(e)) : "");
}

static void health_run(struct request *request, const struct health *self)
{
    const struct replica_view *view = front_view(request->front);
    for (size_t i = 0; i < view->alarms->count; i++) {
        enum alarm_type type = view->alarms->items[i].type;
        const char *name = type == ALARM_NOSPACE ? "NOSPACE" : "CORRUPT";
        if (type == ALARM_NONE || excluded(self, name))
            continue;
        health_answer(request, arena_printf(&request->arena, "ALARM %s", name));
        return;
    }
    if (self->serializable || view->is_learner)
        health_answer(request, "");
    else if (view->leader_id == 0)
        health_answer(request, "RAFT NO LEADER");
    else
        front_read_barrier(request->front, request, health_after_barrier);
}

/* ── /livez, /readyz ────────────────────────────────────────────────────────────────────────── */

static const char *check_failure(const struct replica_view *view, enum check_kind kind, err barrier)
{
    switch (kind) {
    case CHECK_DATA_CORRUPTION:
        for (size_t i = 0; i < view->alarms->count; i++)
            if (view->alarms->items[i].type == ALARM_CORRUPT)
                return "alarm activated: CORRUPT";
        return NULL;
    case CHECK_SERIALIZABLE:
        return NULL; /* the view is there, and with it every key */
    case CHECK_LINEARIZABLE:
        if (view->disk_stalled)
            return "the disk of the write-ahead log stalls";
        return barrier.code ? err_text(barrier) : NULL;
    case CHECK_LEARNER:
        return view->is_learner ? "not supported for learner" : NULL;
    }
    return NULL;
}

static void checks_answer(struct request *request, const struct health *self, err barrier)
{
    const struct replica_view *view = front_view(request->front);
    struct buf body;
    buf_init(&body, 8192);
    err e = OK;
    bool good = true;
    for (int k = 0; k < CHECK_COUNT; k++) {
        if (!self->wanted[k])
            continue;
        bool passed = !check_failure(view, (enum check_kind)k, barrier);
        count_check(self, (enum check_kind)k, passed);
        good &= passed;
    }
    for (int k = 0; k < CHECK_COUNT && (self->verbose || !good); k++) {
        const char *failure =
            self->wanted[k] ? check_failure(view, (enum check_kind)k, barrier) : NULL;
        if (!self->wanted[k] || !err_ok(e))
            continue;
        e = failure ? buf_printf(&body, "[-]%s failed: %s\n", check_names[k], failure)
                    : buf_printf(&body, "[+]%s ok\n", check_names[k]);
    }
    if (err_ok(e))
        e = buf_append(&body, good ? BYTES_LIT("ok\n") : BYTES_LIT("\n"));
    CHECK(err_ok(e));
    respond(request, good ? 200 : 503, "text/plain; charset=utf-8", &body);
}

static void checks_after_barrier(struct request *request, const struct replica_reply *reply)
{
    checks_answer(request, request->data, reply->result.error);
}

static void want_checks(struct health *self, struct bytes path)
{
    bool ready = self->ready = bytes_has_prefix(path, BYTES_LIT("/readyz"));
    struct bytes rest = bytes_skip(path, ready ? 7 : 6);
    self->single = rest.len > 1;
    for (int k = 0; k < CHECK_COUNT; k++) {
        if (self->single)
            self->wanted[k] = bytes_equal(bytes_skip(rest, 1), bytes_str(check_names[k]));
        else
            self->wanted[k] = (ready || k == CHECK_SERIALIZABLE) && !excluded(self, check_names[k]);
    }
}

void health_serve(struct request *request)
{
    struct health *self = ARENA_NEW(&request->arena, struct health);
    struct bytes target = http_exchange_target(request->exchange);
    if (target.len > request->path.len)
        self->query = bytes_skip(target, request->path.len + 1);
    struct bytes query = self->query, name, value;
    while (query_next(&query, &name, &value)) {
        self->verbose |= bytes_equal(name, BYTES_LIT("verbose"));
        self->serializable |=
            bytes_equal(name, BYTES_LIT("serializable")) && bytes_equal(value, BYTES_LIT("true"));
    }
    if (bytes_equal(request->path, BYTES_LIT("/health"))) {
        health_run(request, self);
        return;
    }
    want_checks(self, request->path);
    request->data = self;
    /* A read may wait for what the disk does not take: asked for readiness, we need not. */
    if (self->wanted[CHECK_LINEARIZABLE] && !front_view(request->front)->disk_stalled)
        front_read_barrier(request->front, request, checks_after_barrier);
    else
        checks_answer(request, self, OK);
}
