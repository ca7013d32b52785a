/* What we hear: one GET a stream, kept open for ever.
 *
 *     WAITING ─ timer or kick ─> DIALLING ─> ASKED ─ 200 ─> OPEN
 *        ▲                          │          │ other        │
 *        └──────────────────────────┴──────────┴──────────────┘ cut, timeout, malformed
 *
 * WAITING is link == NULL, OPEN is open. Redials come after 100 ms, and twice as late after each
 * further failure, up to half a second; a peer that asks for our streams is dialled at once. */
#include "peer/peers_internal.h"

#include "base/check.h"

#include <stdio.h>

#define REDIAL_MS         100
#define REDIAL_MS_MAX     500
#define REFUSAL_BYTES_MAX 1024
#define STREAM_PATH_BYTES 64

static void dial_now(struct stream_in *self);

static void wait_to_dial(struct stream_in *self)
{
    struct peers *peers = self->peer->peers;
    if (peers->shut_down)
        return;
    uint64_t delay_ms = REDIAL_MS;
    for (unsigned i = 2; i < self->failures && delay_ms < REDIAL_MS_MAX; i++)
        delay_ms *= 2;
    io_loop_timer_after(peers->loop, &self->timer,
                        delay_ms < REDIAL_MS_MAX ? delay_ms : REDIAL_MS_MAX);
}

/* Whatever it was doing is over. */
static void go_down(struct stream_in *self, err why)
{
    struct peer *peer = self->peer;
    bool was_open = self->open;
    peer_link_close(TAKE(self->link));
    self->open = false;
    if (was_open) {
        peers_notice(peer->peers, &(struct peer_notice){.kind = PEER_NOTICE_STREAM_DOWN,
                                                        .peer = peer->id,
                                                        .direction = PEER_RECEIVING,
                                                        .way = peer_way_text(self->way),
                                                        .since_ms = self->since_ms,
                                                        .error = why});
        peer_update_active(peer, PEER_RECEIVING, why);
    } else {
        peer_url_failed(peer, self->url_at);
    }
    self->failures++;
    wait_to_dial(self);
}

static void on_message(void *ctx, const struct raft_message *message, size_t frame_bytes)
{
    struct stream_in *self = ctx;
    metric_add(&self->peer->metrics->received, (int64_t)frame_bytes);
    peers_step(self->peer->peers, self->peer, message);
}

static void on_opened(void *ctx, struct peer_link *link)
{
    struct stream_in *self = ctx;
    struct peer *peer = self->peer;
    struct http_header headers[REQUEST_HEADERS_MAX];
    char path[STREAM_PATH_BYTES];
    snprintf(path, sizeof(path), "/raft/stream/%s/%s", peer_way_text(self->way),
             peer->peers->id_text);
    err e = peer_link_fetch(
        link, &(struct http_fetch_start){
                  .method = BYTES_LIT("GET"),
                  .target = bytes_str(path),
                  .headers = headers,
                  .header_count = peer_request_headers(peer->peers, peer->id_text, NULL, headers),
                  .timeout_ms = UINT64_MAX});
    CHECK(err_ok(e)); /* it has just been opened */
}

static void on_response(void *ctx, struct peer_link *link, unsigned status)
{
    struct stream_in *self = ctx;
    struct peer *peer = self->peer;
    buf_clear(&self->answer);
    self->theirs = 0;
    (void)id_parse(peer_link_header(link, "X-Etcd-Cluster-ID"), &self->theirs).code;
    if (status != 200)
        return; /* its text comes first */
    if (self->theirs != peer->peers->cluster_id) {
        peer_refused(peer, peer_way_text(self->way), 412, BYTES_LIT("cluster ID mismatch"),
                     self->theirs);
        go_down(self, ERR_MISMATCH);
        return;
    }
    stream_decoder_free(self->decoder);
    self->decoder =
        stream_decoder_new(&(struct stream_decoder_config){.way = self->way,
                                                           .local = peer->peers->member_id,
                                                           .remote = peer->id,
                                                           .message = on_message,
                                                           .ctx = self});
    self->open = true;
    self->failures = 0;
    self->since_ms = io_loop_now_ms(peer->peers->loop);
    peers_notice(peer->peers, &(struct peer_notice){.kind = PEER_NOTICE_STREAM_UP,
                                                    .peer = peer->id,
                                                    .direction = PEER_RECEIVING,
                                                    .way = peer_way_text(self->way)});
    peer_works(peer);
    peer_update_active(peer, PEER_RECEIVING, OK);
    probe_kick(&peer->probe);
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct stream_in *self = ctx;
    struct peer *peer = self->peer;
    if (self->link != link)
        return;
    if (!self->open) {
        (void)buf_append(&self->answer, piece).code; /* longer than any refusal: cut */
        return;
    }
    err e = stream_decoder_feed(self->decoder, piece);
    if (err_ok(e))
        return;
    metric_add(&peer->metrics->received_failures, 1);
    peers_notice(peer->peers, &(struct peer_notice){.kind = PEER_NOTICE_MALFORMED,
                                                    .peer = peer->id,
                                                    .direction = PEER_RECEIVING,
                                                    .way = peer_way_text(self->way),
                                                    .error = e});
    go_down(self, e);
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct stream_in *self = ctx;
    if (self->link != link)
        return;
    unsigned status = peer_link_status(link);
    if (!self->open && status && status != 200)
        peer_refused(self->peer, peer_way_text(self->way), status, buf_bytes(&self->answer),
                     self->theirs);
    if (self->open)
        metric_add(&self->peer->metrics->received_failures, 1);
    go_down(self, err_ok(result) ? ERR_CLOSED : result);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct stream_in *self = ctx;
    if (self->link != link)
        return;
    self->link = NULL;
    peer_failed(self->peer, peer_way_text(self->way), why);
    go_down(self, why);
}

static const struct peer_link_owner owner = {.opened = on_opened,
                                             .response = on_response,
                                             .body = on_body,
                                             .fetched = on_fetched,
                                             .closed = on_closed};

static void dial_now(struct stream_in *self)
{
    if (self->link || self->peer->peers->shut_down)
        return;
    io_loop_timer_stop(self->peer->peers->loop, &self->timer);
    self->link = peer_dial(self->peer, &self->url_at, &owner, self);
}

static void fire(void *ctx)
{
    dial_now(ctx);
}

void stream_in_kick(struct stream_in *self)
{
    if (self->link)
        return;
    self->failures = 0;
    dial_now(self);
}

void stream_in_init(struct stream_in *self, struct peer *peer, enum peer_way way)
{
    self->peer = peer;
    self->way = way;
    buf_init(&self->answer, REFUSAL_BYTES_MAX);
    io_timer_init(&self->timer, fire, self);
    dial_now(self);
}

void stream_in_stop(struct stream_in *self)
{
    io_loop_timer_stop(self->peer->peers->loop, &self->timer);
    peer_link_close(TAKE(self->link));
    self->open = false;
}

void stream_in_done(struct stream_in *self)
{
    stream_in_stop(self);
    stream_decoder_free(self->decoder);
    buf_done(&self->answer);
}
