/* Every few seconds: how far a peer is, how its clock goes, which version it runs.
 *
 *     IDLE ─ timer ─> [dial] ─> CLOCK: GET /raft/probing ─> VERSION: GET /version ─> IDLE
 *
 * The time of the round trip is that of the request alone, without the dial. */
#include "peer/peers_internal.h"

#include "base/check.h"
#include "base/clock.h"

#define CLOCK_DIFFERENCE_NS_MAX INT64_C(1000000000)
/* How often a clock that goes wrong is said, as etcd does. */
#define CLOCK_SAID_MS 30000

static void ask(struct probe *self, enum probe_step step, const char *path)
{
    struct peers *peers = self->peer->peers;
    struct http_header headers[REQUEST_HEADERS_MAX];
    self->step = step;
    self->begin_ns = clock_mono_ns();
    self->begin_wall_ns = clock_wall_ns();
    buf_clear(&self->answer);
    err e = peer_link_fetch(
        self->link,
        &(struct http_fetch_start){.method = BYTES_LIT("GET"),
                                   .target = bytes_str(path),
                                   .headers = headers,
                                   .header_count = peer_request_headers(peers, NULL, NULL, headers),
                                   .timeout_ms = peers->read_timeout_ms});
    CHECK(err_ok(e)); /* only a usable link comes here */
}

static void stop_link(struct probe *self)
{
    self->step = PROBE_IDLE;
    peer_link_close(TAKE(self->link));
}

static void clock_answered(struct probe *self)
{
    struct peer *peer = self->peer;
    uint64_t took_ns = clock_mono_ns() - self->begin_ns;
    bool fine;
    int64_t theirs_ns;
    if (!err_ok(peer_probe_parse(buf_bytes(&self->answer), &fine, &theirs_ns)) || !fine) {
        peer_failed(peer, "probe", ERR_SYNTAX);
        return;
    }
    self->round_trip_ns = took_ns;
    self->difference_ns = theirs_ns - (int64_t)(self->begin_wall_ns + took_ns / 2);
    metric_observe_ns(&peer->metrics->round_trip, took_ns);
    uint64_t now_ms = io_loop_now_ms(peer->peers->loop);
    bool apart = self->difference_ns > CLOCK_DIFFERENCE_NS_MAX ||
                 self->difference_ns < -CLOCK_DIFFERENCE_NS_MAX;
    if (apart && (!self->clock_said_ms || now_ms - self->clock_said_ms >= CLOCK_SAID_MS)) {
        self->clock_said_ms = now_ms;
        peers_notice(peer->peers, &(struct peer_notice){.kind = PEER_NOTICE_CLOCK,
                                                        .peer = peer->id,
                                                        .way = "probe",
                                                        .difference_ns = self->difference_ns,
                                                        .round_trip_ns = took_ns});
    }
}

static void version_answered(struct probe *self)
{
    struct peer *peer = self->peer;
    struct peer_fetch_result result = {0};
    struct cluster_version version;
    if (!err_ok(peer_version_parse(buf_bytes(&self->answer), &result)) ||
        !err_ok(peer_cluster_version_parse(bytes_str(result.server_version), &version))) {
        peer_failed(peer, "probe", ERR_SYNTAX);
        return;
    }
    peer->version = version;
    peer->report_version = true;
    peers_reports_later(peer->peers);
}

static void on_opened(void *ctx, struct peer_link *link)
{
    ask(ctx, PROBE_CLOCK, "/raft/probing");
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct probe *self = ctx;
    if (self->link == link && !err_ok(buf_append(&self->answer, piece)))
        stop_link(self);
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct probe *self = ctx;
    if (self->link != link || !err_ok(result))
        return; /* closed comes next */
    enum probe_step step = self->step;
    self->step = PROBE_IDLE;
    if (peer_link_status(link) == 200) {
        if (step == PROBE_CLOCK)
            clock_answered(self);
        else
            version_answered(self);
    }
    if (!peer_link_usable(link))
        stop_link(self);
    else if (step == PROBE_CLOCK)
        ask(self, PROBE_VERSION, "/version");
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct probe *self = ctx;
    if (self->link != link)
        return;
    bool asked = self->step != PROBE_IDLE;
    self->link = NULL;
    self->step = PROBE_IDLE;
    if (asked)
        peer_failed(self->peer, "probe", why);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

static void run(struct probe *self)
{
    struct peers *peers = self->peer->peers;
    if (peers->shut_down)
        return;
    io_loop_timer_after(peers->loop, &self->timer, peers->probe_ms);
    if (self->link && self->step == PROBE_IDLE && peer_link_usable(self->link)) {
        ask(self, PROBE_CLOCK, "/raft/probing");
        return;
    }
    if (!self->link)
        self->link = peer_dial(self->peer, &self->url_at, &owner, self);
}

static void fire(void *ctx)
{
    run(ctx);
}

void probe_kick(struct probe *self)
{
    if (!self->link && self->peer->version.major == 0)
        run(self);
}

void probe_init(struct probe *self, struct peer *peer)
{
    self->peer = peer;
    buf_init(&self->answer, ANSWER_BYTES_MAX);
    io_timer_init(&self->timer, fire, self);
    io_loop_timer_after(peer->peers->loop, &self->timer, peer->peers->probe_ms);
}

void probe_done(struct probe *self)
{
    io_loop_timer_stop(self->peer->peers->loop, &self->timer);
    stop_link(self);
    buf_done(&self->answer);
}
