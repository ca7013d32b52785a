/* What other members (or anyone who reaches the port) ask of us.
 *
 *     POST /raft                    one message             204
 *     GET  /raft/stream/WAY/FROM    a stream of ours        200 and no end
 *     POST /raft/snapshot           a message and a state   snapshot_in.c
 *     ANY  /raft/probing            are you there           200
 *     POST /leases, /leases/internal  leases.c
 *     other                         pages.c
 *
 * In the order of checks that etcd has: method, version, cluster, then who asks. 403 and 410 tell
 * a member that it is removed, which makes it stop: they come from the applied membership alone
 * and after the cluster id was found equal. */
#include "peer/peers_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_OWN_MAX 6

/* A post that is arriving. */
struct incoming {
    struct serving serving;
    struct list node; /* peers.incoming */
    struct peers *peers;
    struct http_exchange *exchange;
    struct message_collector *collector;
    uint64_t from; /* X-Server-From; 0: not told */
    uint64_t last_ms;
    size_t bytes;
};

static struct peers *peers_of(void *link)
{
    return peer_link_net(link)->ctx;
}

/* ---- Answers ---------------------------------------------------------------------------- */

static void respond(struct peers *self, struct http_exchange *exchange, unsigned status,
                    const char *content_type, struct bytes body, bool is_error, uint64_t index)
{
    struct http_header headers[HEADERS_OWN_MAX];
    char index_text[24];
    size_t n = 0;
    if (index) {
        int len = snprintf(index_text, sizeof(index_text), "%" PRIu64, index);
        headers[n++] =
            (struct http_header){BYTES_LIT("X-Raft-Index"), bytes_of(index_text, (size_t)len)};
    }
    headers[n++] =
        (struct http_header){BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(self->cluster_text)};
    headers[n++] =
        (struct http_header){BYTES_LIT("X-Server-Version"), bytes_str(self->server_version_text)};
    if (content_type)
        headers[n++] = (struct http_header){BYTES_LIT("Content-Type"), bytes_str(content_type)};
    if (is_error)
        headers[n++] =
            (struct http_header){BYTES_LIT("X-Content-Type-Options"), BYTES_LIT("nosniff")};
    http_response_begin(exchange, status, headers, n, body.len);
    if (body.len)
        http_response_body(exchange, body);
    http_response_end(exchange);
}

void peer_serve_body(struct peers *self, struct http_exchange *exchange, unsigned status,
                     const char *content_type, struct bytes body)
{
    respond(self, exchange, status, content_type, body, false, 0);
}

void peer_serve_body_at(struct peers *self, struct http_exchange *exchange, uint64_t index,
                        const char *content_type, struct bytes body)
{
    respond(self, exchange, 200, content_type, body, false, index);
}

void peer_serve_text(struct peers *self, struct http_exchange *exchange, unsigned status,
                     const char *text)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "%s\n", text);
    CHECK(n > 0 && (size_t)n < sizeof(line));
    respond(self, exchange, status, TEXT_PLAIN, bytes_of(line, (size_t)n), true, 0);
}

void peer_serve_method_not_allowed(struct http_exchange *exchange, const char *allow)
{
    const struct http_header headers[] = {
        {BYTES_LIT("Allow"), bytes_str(allow)},
        {BYTES_LIT("Content-Type"), BYTES_LIT(TEXT_PLAIN)},
        {BYTES_LIT("X-Content-Type-Options"), BYTES_LIT("nosniff")}};
    static const char text[] = "Method Not Allowed\n";
    http_response_begin(exchange, 405, headers, 3, sizeof(text) - 1);
    http_response_body(exchange, bytes_of(text, sizeof(text) - 1));
    http_response_end(exchange);
}

void peer_serve_removed(struct peers *self, struct http_exchange *exchange)
{
    respond(self, exchange, 403, "application/json",
            BYTES_LIT("{\"message\":\"cannot process message from removed member\"}"), true, 0);
}

void peer_say_refused(struct peers *self, uint64_t from, const char *detail)
{
    struct peer *peer = peers_find(self, from);
    if (peer && peer->refused_said)
        return;
    if (peer)
        peer->refused_said = true;
    peers_notice(self, &(struct peer_notice){.kind = PEER_NOTICE_REFUSED,
                                             .peer = from,
                                             .direction = PEER_SENDING,
                                             .detail = detail});
}

static bool was_removed(struct peers *self, uint64_t id)
{
    return membership_was_removed(self->handler.view(self->ctx)->members, id);
}

/* ---- POST /raft ------------------------------------------------------------------------- */

static void incoming_free(struct incoming *self)
{
    self->peers->incoming_bytes -= self->bytes;
    list_remove(&self->node);
    message_collector_free(self->collector);
    free(self);
}

static void post_begin(struct peers *self, struct http_exchange *exchange)
{
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("POST"))) {
        peer_serve_method_not_allowed(exchange, "POST");
        return;
    }
    const char *refusal = peer_request_incompatible(self, exchange);
    if (refusal) {
        peer_serve_text(self, exchange, 412, refusal);
        return;
    }
    struct incoming *post = calloc(1, sizeof(*post));
    CHECK(post);
    post->serving.is_post = true;
    post->peers = self;
    post->exchange = exchange;
    post->collector = message_collector_new(POST_BYTES_MAX);
    post->last_ms = io_loop_now_ms(self->loop);
    list_push(&self->incoming, &post->node);
    (void)id_parse(http_exchange_header(exchange, "X-Server-From"), &post->from).code;
    if (!was_removed(self, post->from))
        peers_learn_remote(self, post->from, http_exchange_header(exchange, "X-PeerURLs"));
    http_exchange_stream_body(exchange);
    http_exchange_set_data(exchange, post);
}

static void post_body(struct incoming *self, struct bytes piece)
{
    struct peers *peers = self->peers;
    if (http_exchange_over(self->exchange))
        return;
    self->last_ms = io_loop_now_ms(peers->loop);
    if (peers->incoming_bytes + piece.len > POST_HELD_BYTES_MAX) {
        peer_serve_text(peers, self->exchange, 503, "too many raft messages are arriving at once");
        return;
    }
    if (!err_ok(message_collector_feed(self->collector, piece))) {
        peer_serve_text(peers, self->exchange, 400, "error reading raft message");
        return;
    }
    self->bytes += piece.len;
    peers->incoming_bytes += piece.len;
}

static void post_end(struct incoming *self)
{
    struct peers *peers = self->peers;
    struct http_exchange *exchange = self->exchange;
    const struct raft_message *message;
    if (http_exchange_over(exchange))
        return;
    struct peer *from = peers_find_any(peers, self->from);
    err e = message_collector_end(self->collector, &message);
    if (!err_ok(e)) {
        if (from && from->metrics)
            metric_add(&from->metrics->received_failures, 1);
        peers_notice(peers, &(struct peer_notice){.kind = PEER_NOTICE_MALFORMED,
                                                  .peer = self->from,
                                                  .direction = PEER_RECEIVING,
                                                  .way = "pipeline",
                                                  .error = e});
        peer_serve_text(peers, exchange, 400, "error unmarshalling raft message");
        return;
    }
    if (message->to != peers->member_id) {
        /* etcd says 403 here, which its senders take for their removal. */
        peer_serve_text(peers, exchange, 412, "to field mismatch");
        return;
    }
    if (was_removed(peers, message->from) || was_removed(peers, self->from)) {
        peer_say_refused(peers, self->from, "it is removed from the cluster");
        peer_serve_removed(peers, exchange);
        return;
    }
    if (!from) {
        peer_say_refused(peers, self->from, "a message of nobody we know");
        peer_serve_text(peers, exchange, 404, "error sender not found");
        return;
    }
    if (message->type == RAFT_MSG_SNAP) {
        peer_serve_text(peers, exchange, 400, "a snapshot comes by a way of its own");
        return;
    }
    if (from->metrics)
        metric_add(&from->metrics->received, (int64_t)self->bytes);
    peers_step(peers, from, message);
    http_response_begin(
        exchange, 204,
        &(struct http_header){BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(peers->cluster_text)}, 1,
        0);
    http_response_end(exchange);
}

void peer_serve_sweep(struct peers *self)
{
    uint64_t now_ms = io_loop_now_ms(self->loop);
    LIST_FOREACH (node, &self->incoming) {
        struct incoming *post = LIST_ENTRY(node, struct incoming, node);
        if (now_ms - post->last_ms > 2 * self->read_timeout_ms)
            http_exchange_abort(post->exchange);
    }
}

/* ---- GET /raft/stream ------------------------------------------------------------------- */

static bool take_prefix(struct bytes *at, const char *prefix)
{
    if (!bytes_has_prefix(*at, bytes_str(prefix)))
        return false;
    *at = bytes_skip(*at, strlen(prefix));
    return true;
}

/* rest: what follows /raft/stream/. */
static void stream_begin(struct peers *self, struct http_exchange *exchange, struct bytes rest)
{
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("GET"))) {
        peer_serve_method_not_allowed(exchange, "GET");
        return;
    }
    const char *refusal = peer_request_incompatible(self, exchange);
    if (refusal) {
        peer_serve_text(self, exchange, 412, refusal);
        return;
    }
    enum peer_way way;
    if (take_prefix(&rest, "msgapp/"))
        way = PEER_WAY_APPEND;
    else if (take_prefix(&rest, "message/"))
        way = PEER_WAY_MESSAGE;
    else {
        peer_serve_text(self, exchange, 404, "invalid path");
        return;
    }
    uint64_t from;
    if (!err_ok(id_parse(rest, &from))) {
        peer_serve_text(self, exchange, 404, "invalid from");
        return;
    }
    if (was_removed(self, from)) {
        peer_say_refused(self, from, "it is removed from the cluster");
        peer_serve_text(self, exchange, 410, "removed member");
        return;
    }
    struct peer *peer = peers_find(self, from);
    if (!peer) {
        /* We may be behind, and it a member that we shall hear of. */
        peer_say_refused(self, from,
                         from == self->member_id ? "it says that it is this member"
                                                 : "a stream for nobody we know");
        peers_learn_remote(self, from, http_exchange_header(exchange, "X-PeerURLs"));
        peer_serve_text(self, exchange, 404, "error sender not found");
        return;
    }
    if (!bytes_equal(http_exchange_header(exchange, "X-Raft-To"), bytes_str(self->id_text))) {
        peer_say_refused(self, from, "it takes us for another member");
        peer_serve_text(self, exchange, 412, "to field mismatch");
        return;
    }
    stream_out_attach(&peer->out[way], exchange);
    for (unsigned i = 0; i < PEER_WAYS; i++)
        stream_in_kick(&peer->in[i]);
}

/* ---- Events ----------------------------------------------------------------------------- */

static struct bytes path_of(const struct http_exchange *exchange)
{
    struct bytes target = http_exchange_target(exchange);
    const uint8_t *query = target.len ? memchr(target.data, '?', target.len) : NULL;
    return query ? bytes_of(target.data, (size_t)(query - target.data)) : target;
}

static bool answered_at_head(struct bytes path)
{
    return bytes_equal(path, BYTES_LIT("/raft")) ||
           bytes_equal(path, BYTES_LIT("/raft/snapshot")) ||
           bytes_has_prefix(path, BYTES_LIT("/raft/stream/"));
}

static void http_begin(void *ctx, struct http_exchange *exchange)
{
    struct peers *self = peers_of(ctx);
    struct bytes path = path_of(exchange);
    if (bytes_equal(path, BYTES_LIT("/raft")))
        post_begin(self, exchange);
    else if (take_prefix(&path, "/raft/stream/"))
        stream_begin(self, exchange, path);
    else if (bytes_equal(path, BYTES_LIT("/raft/snapshot")))
        snapshot_in_begin(self, exchange);
}

static void serve_probe(struct peers *self, struct http_exchange *exchange)
{
    char now[TIME_TEXT_BYTES];
    char text[TIME_TEXT_BYTES + 32];
    peer_time_text(clock_wall_ns(), now);
    int n = snprintf(text, sizeof(text), "{\"OK\":true,\"Now\":\"%s\"}\n", now);
    peer_serve_body(self, exchange, 200, TEXT_PLAIN, bytes_of(text, (size_t)n));
}

static void http_request(void *ctx, struct http_exchange *exchange, struct bytes body)
{
    struct peers *self = peers_of(ctx);
    struct bytes path = path_of(exchange);
    if (answered_at_head(path))
        return;
    if (bytes_equal(path, BYTES_LIT("/raft/probing")))
        serve_probe(self, exchange);
    else if (!peer_leases_serve(self, exchange, path, body) &&
             !peer_questions_serve(self, exchange, path) &&
             !peer_hashes_serve(self, exchange, path, body))
        peer_pages_serve(self, exchange, path);
}

static void http_body(void *ctx, struct http_exchange *exchange, struct bytes piece)
{
    struct serving *serving = http_exchange_data(exchange);
    if (serving && serving->is_post)
        post_body((struct incoming *)(void *)serving, piece);
    else if (serving && serving->is_snapshot)
        snapshot_in_body(serving, piece);
}

static void http_body_end(void *ctx, struct http_exchange *exchange)
{
    struct serving *serving = http_exchange_data(exchange);
    if (serving && serving->is_post)
        post_end((struct incoming *)(void *)serving);
    else if (serving && serving->is_snapshot)
        snapshot_in_body_end(serving);
}

static void http_closed(void *ctx, struct http_exchange *exchange, bool complete)
{
    struct serving *serving = http_exchange_data(exchange);
    http_exchange_set_data(exchange, NULL);
    if (!serving)
        return;
    if (serving->is_post)
        incoming_free((struct incoming *)(void *)serving);
    else if (serving->is_snapshot)
        snapshot_in_closed(serving);
    else if (serving->is_kept)
        served_left(serving);
    else
        stream_out_detach((struct stream_out *)(void *)serving, ERR_CLOSED);
}

const struct rpc_handler peer_serve_handler = {
    .conn_active = peer_link_active,
    .http_begin = http_begin,
    .http_request = http_request,
    .http_body = http_body,
    .http_body_end = http_body_end,
    .http_closed = http_closed,
};
