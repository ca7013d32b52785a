/* A state that a member sends here: POST /raft/snapshot, as snapshot_out.c writes it.
 *
 *     head: 8 bytes of length ─> MsgSnap ─ judged ─> snapshot_begin ─> pieces… ─> end ─> answered
 *                                   │                     │
 *                                 refused          503: another is on its way
 *
 * The message is judged as one of POST /raft is; whether it is of use is known only when its state
 * is here. */
#include "peer/peers_internal.h"
#include "peer/snapshot_head.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

struct peer_snapshot_in {
    struct serving serving;
    struct list node; /* peers.snapshots_in */
    struct peers *peers;
    struct http_exchange *exchange;
    uint64_t from; /* X-Server-From; 0: not told */
    uint64_t last_ms;
    struct snapshot_head head;
    uint64_t index;
    uint64_t bytes; /* of the state */
    void *taken;    /* the handler's; NULL: not begun, or over */
    uint64_t begin_ns;
    struct peer_metrics *metrics; /* they live for ever */
    bool paused;
    bool ended; /* the answer is awaited */
};

static struct peer_snapshot_in *of(struct serving *serving)
{
    return (struct peer_snapshot_in *)(void *)serving;
}

static void notice(struct peer_snapshot_in *self, enum peer_notice_kind kind, err why,
                   const char *detail)
{
    peers_notice(self->peers, &(struct peer_notice){.kind = kind,
                                                    .peer = self->from,
                                                    .direction = PEER_RECEIVING,
                                                    .index = self->index,
                                                    .bytes = self->bytes,
                                                    .error = why,
                                                    .detail = detail});
}

void snapshot_in_begin(struct peers *self, struct http_exchange *exchange)
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
    /* Before its bytes travel for nothing. */
    if (!self->handler.snapshot_begin || !list_empty(&self->snapshots_in)) {
        peer_serve_text(self, exchange, 503, "another snapshot is being received");
        return;
    }
    struct peer_snapshot_in *in = calloc(1, sizeof(*in));
    CHECK(in);
    in->serving.is_snapshot = true;
    in->peers = self;
    in->exchange = exchange;
    in->last_ms = io_loop_now_ms(self->loop);
    snapshot_head_init(&in->head, POST_BYTES_MAX);
    (void)id_parse(http_exchange_header(exchange, "X-Server-From"), &in->from).code;
    if (!membership_was_removed(self->handler.view(self->ctx)->members, in->from))
        peers_learn_remote(self, in->from, http_exchange_header(exchange, "X-PeerURLs"));
    list_push(&self->snapshots_in, &in->node);
    http_exchange_stream_body(exchange);
    http_exchange_set_data(exchange, in);
}

/* ── The message ────────────────────────────────────────────────────────────────────────────── */

static void refuse(struct peer_snapshot_in *self, unsigned status, err why, const char *text)
{
    notice(self, PEER_NOTICE_SNAPSHOT_NOT_RECEIVED, why, text);
    peer_serve_text(self->peers, self->exchange, status, text);
}

static void taken(struct peer_snapshot_in *self)
{
    self->begin_ns = clock_mono_ns();
    self->metrics = peer_metrics_of(self->peers->member_id, self->from);
    peer_snapshot_metrics_begin(&self->metrics->snapshots_in);
    notice(self, PEER_NOTICE_SNAPSHOT_RECEIVING, OK, NULL);
}

static void over(struct peer_snapshot_in *self, err why)
{
    self->taken = NULL;
    peer_snapshot_metrics_end(&self->metrics->snapshots_in, err_ok(why),
                              clock_mono_ns() - self->begin_ns);
    notice(self, err_ok(why) ? PEER_NOTICE_SNAPSHOT_RECEIVED : PEER_NOTICE_SNAPSHOT_NOT_RECEIVED,
           why, NULL);
}

static void message_judge(struct peer_snapshot_in *self, const struct raft_message *message)
{
    struct peers *peers = self->peers;
    const struct membership *members = peers->handler.view(peers->ctx)->members;
    if (message->type != RAFT_MSG_SNAP || !message->snapshot) {
        refuse(self, 400, ERR_SYNTAX, "wrong raft message type");
    } else if (message->to != peers->member_id) {
        refuse(self, 412, ERR_MISMATCH, "to field mismatch");
    } else if (membership_was_removed(members, message->from) ||
               membership_was_removed(members, self->from)) {
        peer_say_refused(peers, self->from, "it is removed from the cluster");
        peer_serve_removed(peers, self->exchange);
    } else if (message->from != self->from || !peers_find_any(peers, self->from)) {
        refuse(self, 404, ERR_NOT_FOUND, "error sender not found");
    } else {
        self->index = message->snapshot->index;
        self->taken = peers->handler.snapshot_begin(peers->ctx, message, self);
        if (self->taken)
            taken(self);
        else
            peer_serve_text(peers, self->exchange, 503, "another snapshot is being received");
    }
}

static void message_end(struct peer_snapshot_in *self, struct message_collector *collector)
{
    const struct raft_message *message;
    err e = message_collector_end(collector, &message);
    if (e.code)
        refuse(self, 400, e, "failed to decode raft message");
    else
        message_judge(self, message);
    message_collector_free(collector);
}

/* Takes what belongs to the head off the piece. */
static struct bytes head_take(struct peer_snapshot_in *self, struct bytes piece)
{
    struct message_collector *whole;
    err e = snapshot_head_feed(&self->head, &piece, &whole);
    if (e.code) {
        refuse(self, 400, e, "failed to decode raft message");
        return BYTES_NONE;
    }
    if (whole)
        message_end(self, whole);
    return piece;
}

/* ── The state ──────────────────────────────────────────────────────────────────────────────── */

void snapshot_in_body(struct serving *serving, struct bytes piece)
{
    struct peer_snapshot_in *self = of(serving);
    struct peers *peers = self->peers;
    self->last_ms = io_loop_now_ms(peers->loop);
    if (self->head.collector && !http_exchange_over(self->exchange))
        piece = head_take(self, piece);
    if (!self->taken || piece.len == 0 || http_exchange_over(self->exchange))
        return;
    self->bytes += piece.len;
    if (!peers->handler.snapshot_piece(self->taken, piece)) {
        self->paused = true;
        http_exchange_pause(self->exchange);
    }
}

void snapshot_in_body_end(struct serving *serving)
{
    struct peer_snapshot_in *self = of(serving);
    if (http_exchange_over(self->exchange))
        return;
    if (!self->taken) {
        refuse(self, 400, ERR_SYNTAX, "failed to decode raft message");
        return;
    }
    self->ended = true;
    self->peers->handler.snapshot_end(self->taken);
}

void peers_snapshot_resume(struct peer_snapshot_in *self)
{
    if (!self->paused)
        return;
    self->paused = false;
    self->last_ms = io_loop_now_ms(self->peers->loop);
    http_exchange_resume(self->exchange);
    io_loop_wake(self->peers->loop);
}

void peers_snapshot_answer(struct peer_snapshot_in *self, err error)
{
    struct peers *peers = self->peers;
    over(self, error);
    if (err_ok(error)) {
        http_response_begin(
            self->exchange, 204,
            &(struct http_header){BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(peers->cluster_text)},
            1, 0);
        http_response_end(self->exchange);
        return;
    }
    char text[128];
    (void)snprintf(text, sizeof(text), "failed to save KV snapshot (%s)", err_text(error));
    peer_serve_text(peers, self->exchange, 500, text);
}

void snapshot_in_closed(struct serving *serving)
{
    struct peer_snapshot_in *self = of(serving);
    if (self->taken) {
        void *snapshot = self->taken;
        over(self, ERR_CLOSED);
        self->peers->handler.snapshot_cut(snapshot);
    }
    snapshot_head_done(&self->head);
    list_remove(&self->node);
    free(self);
}

void snapshot_in_sweep(struct peers *self)
{
    uint64_t now_ms = io_loop_now_ms(self->loop);
    LIST_FOREACH (node, &self->snapshots_in) {
        struct peer_snapshot_in *in = LIST_ENTRY(node, struct peer_snapshot_in, node);
        if (!in->paused && !in->ended && now_ms - in->last_ms > 2 * self->read_timeout_ms)
            http_exchange_abort(in->exchange);
    }
}
