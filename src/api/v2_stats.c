/* The counters of the v2 API and the pages that show them. They count since the process began. */
#include "api/v2_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "state/ids.h"
#include "wire/json.h"

#include <stdatomic.h>
#include <time.h>

/* Updated by any front's thread. */
#define COUNTER(name_, help_, labels_)                                                \
    {                                                                                 \
        .name = "etcd_debugging_store_" name_, .help = help_, .kind = METRIC_COUNTER, \
        .labels = labels_                                                             \
    }
#define ACTION(which, does, action)                                              \
    [V2_##which##_SUCCESS] =                                                     \
        COUNTER(does "_total", "What the v2 API did.", "action=\"" action "\""), \
    [V2_##which##_FAIL] =                                                        \
        COUNTER(does "_failed_total", "What the v2 API refused.", "action=\"" action "\"")
static struct metric counts[V2_COUNTS] = {
    ACTION(GETS, "reads", "get"),
    ACTION(SETS, "writes", "set"),
    ACTION(DELETE, "writes", "delete"),
    ACTION(UPDATE, "writes", "update"),
    ACTION(CREATE, "writes", "create"),
    ACTION(SWAP, "writes", "compareAndSwap"),
    ACTION(COMPARE_DELETE, "writes", "compareAndDelete"),
    [V2_EXPIRE_COUNT] = COUNTER("expires_total", "Nodes whose time was over.", NULL),
    [V2_WATCHERS] = {.name = "etcd_debugging_store_watchers",
                     .help = "Requests of the v2 API that wait for a change.",
                     .kind = METRIC_GAUGE},
    [V2_WATCH_REQUESTS] =
        COUNTER("watch_requests_total", "Requests of the v2 API that wait, since the start.", NULL),
};

void v2_metrics_init(void)
{
    for (unsigned i = 0; i < V2_COUNTS; i++)
        metric_register(&counts[i]);
}

static const char *const names[V2_WATCHERS + 1] = {
    [V2_GETS_SUCCESS] = "getsSuccess",
    [V2_GETS_FAIL] = "getsFail",
    [V2_SETS_SUCCESS] = "setsSuccess",
    [V2_SETS_FAIL] = "setsFail",
    [V2_DELETE_SUCCESS] = "deleteSuccess",
    [V2_DELETE_FAIL] = "deleteFail",
    [V2_UPDATE_SUCCESS] = "updateSuccess",
    [V2_UPDATE_FAIL] = "updateFail",
    [V2_CREATE_SUCCESS] = "createSuccess",
    [V2_CREATE_FAIL] = "createFail",
    [V2_SWAP_SUCCESS] = "compareAndSwapSuccess",
    [V2_SWAP_FAIL] = "compareAndSwapFail",
    [V2_COMPARE_DELETE_SUCCESS] = "compareAndDeleteSuccess",
    [V2_COMPARE_DELETE_FAIL] = "compareAndDeleteFail",
    [V2_EXPIRE_COUNT] = "expireCount",
    [V2_WATCHERS] = "watchers",
};

void v2_count(enum v2_count which, int by)
{
    metric_add(&counts[which], by);
}

void v2_count_action(enum v2_action action, bool success)
{
    static const enum v2_count of[] = {[V2_GET] = V2_GETS_SUCCESS,
                                       [V2_SET] = V2_SETS_SUCCESS,
                                       [V2_CREATE] = V2_CREATE_SUCCESS,
                                       [V2_UPDATE] = V2_UPDATE_SUCCESS,
                                       [V2_DELETE] = V2_DELETE_SUCCESS,
                                       [V2_COMPARE_AND_SWAP] = V2_SWAP_SUCCESS,
                                       [V2_COMPARE_AND_DELETE] = V2_COMPARE_DELETE_SUCCESS};
    if (action == V2_EXPIRE)
        v2_count(V2_EXPIRE_COUNT, 1);
    else
        v2_count((enum v2_count)(of[action] + !success), 1);
}

static void answer(struct request *request, unsigned status, struct buf *body, err e)
{
    http_response(request->exchange, e.code ? 500 : status, "application/json", buf_bytes(body));
    request->state = REQUEST_ANSWERED;
    buf_done(body);
}

void v2_stats_store(struct request *request)
{
    struct buf body;
    buf_init(&body, 4096);
    err e = OK;
    for (unsigned i = 0; i <= V2_WATCHERS && err_ok(e); i++)
        e = buf_printf(
            &body, "%s\"%s\":%llu", i ? "," : "{", names[i],
            (unsigned long long)atomic_load_explicit(&counts[i].value, memory_order_relaxed));
    if (err_ok(e))
        e = buf_append(&body, BYTES_LIT("}"));
    answer(request, 200, &body, e);
}

/* ── /v2/stats/self, /v2/stats/leader ───────────────────────────────────────────────────────── */

#define TIME_TEXT_MAX 40

/* The wall clock's time so long ago, as RFC 3339 in UTC. */
static const char *time_ago(uint64_t ago_ms, char text[TIME_TEXT_MAX])
{
    time_t seconds = (time_t)((clock_wall_ns() / 1000000 - ago_ms) / 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) ||
        strftime(text, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
    return text;
}

static err put_self(struct request *request, struct buf *out)
{
    const struct replica_view *view = front_view(request->front);
    const struct member *own = membership_find(view->members, view->member_id);
    char id[ID_TEXT_MAX], leader[ID_TEXT_MAX], since[TIME_TEXT_MAX];
    uint64_t now_ms = io_loop_now_ms(request->front->config.loop);
    uint64_t up_ms =
        view->leader_id && now_ms > view->leader_since_ms ? now_ms - view->leader_since_ms : 0;
    TRY(buf_append(out, BYTES_LIT("{\"name\":")));
    TRY(wire_json_write_string(bytes_str(own ? own->name : ""), WIRE_JSON_GO, out));
    return buf_printf(out,
                      ",\"id\":\"%s\",\"state\":\"%s\",\"leaderInfo\":{\"leader\":\"%s\","
                      "\"uptime\":\"%llu.%03llus\",\"startTime\":\"%s\"}}",
                      id_text(view->member_id, id),
                      view->leader_id == view->member_id ? "StateLeader"
                      : view->leader_id                  ? "StateFollower"
                                                         : "StateCandidate",
                      id_text(view->leader_id, leader), (unsigned long long)(up_ms / 1000),
                      (unsigned long long)(up_ms % 1000), time_ago(up_ms, since));
}

void v2_stats_self(struct request *request)
{
    struct buf body;
    buf_init(&body, 65536);
    err e = put_self(request, &body);
    answer(request, 200, &body, e);
}

void v2_stats_leader(struct request *request)
{
    const struct replica_view *view = front_view(request->front);
    bool leads = view->leader_id == view->member_id;
    struct buf body;
    buf_init(&body, 4096);
    char id[ID_TEXT_MAX];
    err e = leads ? buf_printf(&body, "{\"leader\":\"%s\",\"followers\":{}}",
                               id_text(view->member_id, id))
                  : buf_append(&body, BYTES_LIT("{\"message\":\"not current leader\"}"));
    answer(request, leads ? 200 : 403, &body, e);
}
