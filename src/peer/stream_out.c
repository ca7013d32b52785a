/* What we say on a stream: a pass's messages are gathered into one buffer, which rpc lends to the
 * socket and gives back when it is written. So each message is encoded and copied once.
 *
 *     stream_out_put … put ─> gathered ── flush ─> frame (a promise) ─> released when written
 *
 * queued_messages and queued_bytes count from put to release. */
#include "peer/peers_internal.h"

#include "base/check.h"

#include <stdlib.h>

struct out_frame {
    struct list node;
    struct stream_out *stream; /* NULL: the stream has ended */
    uint8_t *data;
    size_t len;
    size_t committed, shown;
    unsigned messages;
};

static err frame_produce(void *ctx, struct rpc_slice *slice)
{
    struct out_frame *self = ctx;
    self->shown +=
        rpc_slice_put(slice, bytes_of(self->data + self->shown, self->len - self->shown));
    return OK;
}

static void frame_advance(void *ctx, size_t n)
{
    struct out_frame *self = ctx;
    self->committed += n;
    self->shown = self->committed;
    CHECK(self->committed <= self->len);
}

static void frame_release(void *ctx)
{
    struct out_frame *self = ctx;
    if (self->stream) {
        self->stream->queued_messages -= self->messages;
        self->stream->queued_bytes -= self->len;
    }
    list_remove(&self->node);
    free(self->data);
    free(self);
}

static const struct rpc_promise_ops frame_ops = {
    .produce = frame_produce, .advance = frame_advance, .release = frame_release};

void stream_out_init(struct stream_out *self, struct peer *peer, enum peer_way way)
{
    self->peer = peer;
    self->way = way;
    buf_init(&self->gathered, 0);
    list_init(&self->frames);
}

/* What is queued may still be with rpc; it counts for nobody any more. */
static void forget_frames(struct stream_out *self)
{
    struct list *node;
    while ((node = list_pop(&self->frames)))
        LIST_ENTRY(node, struct out_frame, node)->stream = NULL;
    buf_clear(&self->gathered);
    self->gathered_messages = self->queued_messages = 0;
    self->queued_bytes = 0;
}

void stream_out_done(struct stream_out *self)
{
    struct http_exchange *exchange = TAKE(self->exchange);
    forget_frames(self);
    buf_done(&self->gathered);
    if (exchange) {
        http_exchange_set_data(exchange, NULL);
        http_exchange_abort(exchange);
    }
}

void stream_out_leave(struct stream_out *self)
{
    struct http_exchange *exchange = self->exchange;
    if (!exchange)
        return;
    stream_out_flush(self);
    self->exchange = NULL;
    forget_frames(self);
    http_exchange_set_data(exchange, NULL);
    http_response_end(exchange);
}

bool stream_out_is_open(const struct stream_out *self)
{
    return self->exchange != NULL;
}

void stream_out_attach(struct stream_out *self, struct http_exchange *exchange)
{
    struct peer *peer = self->peer;
    struct peers *peers = peer->peers;
    struct http_exchange *before = TAKE(self->exchange);
    if (before) {
        http_exchange_set_data(before, NULL);
        http_exchange_abort(before);
        forget_frames(self);
        peer_report_unreachable(peer);
    }
    const struct http_header headers[] = {
        {BYTES_LIT("X-Server-Version"), bytes_str(peers->server_version_text)},
        {BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(peers->cluster_text)}};
    self->exchange = exchange;
    self->full_said = false;
    self->since_ms = io_loop_now_ms(peers->loop);
    stream_encoder_init(&self->encoder, self->way);
    http_exchange_set_data(exchange, &self->serving);
    http_response_begin(exchange, 200, headers, 2, HTTP_LENGTH_UNKNOWN);
    /* The other end learns at once that the way is open, and that it is alive. */
    stream_out_heartbeat(self);
    if (!before)
        peers_notice(peers, &(struct peer_notice){.kind = PEER_NOTICE_STREAM_UP,
                                                  .peer = peer->id,
                                                  .direction = PEER_SENDING,
                                                  .way = peer_way_text(self->way)});
    peer_works(peer);
    peer_update_active(peer, PEER_SENDING, OK);
}

void stream_out_detach(struct stream_out *self, err why)
{
    struct peer *peer = self->peer;
    self->exchange = NULL;
    forget_frames(self);
    /* Nobody knows what of the last messages arrived: raft is to find out. */
    peer_report_unreachable(peer);
    peers_notice(peer->peers, &(struct peer_notice){.kind = PEER_NOTICE_STREAM_DOWN,
                                                    .peer = peer->id,
                                                    .direction = PEER_SENDING,
                                                    .way = peer_way_text(self->way),
                                                    .since_ms = self->since_ms,
                                                    .error = why});
    peer_update_active(peer, PEER_SENDING, why);
}

bool stream_out_put(struct stream_out *self, const struct raft_message *message)
{
    struct peer *peer = self->peer;
    struct peers *peers = peer->peers;
    if (self->queued_messages >= peers->queue_messages_max ||
        self->queued_bytes >= peers->queue_bytes_max)
        return false;
    size_t before = self->gathered.len;
    if (!err_ok(stream_encoder_put(&self->encoder, message, &self->gathered)))
        return false;
    size_t len = self->gathered.len - before;
    self->gathered_messages++;
    self->queued_messages++;
    self->queued_bytes += len;
    metric_add(&peer->metrics->sent, (int64_t)len);
    self->full_said = false;
    return true;
}

void stream_out_flush(struct stream_out *self)
{
    if (self->gathered.len == 0 || !self->exchange)
        return;
    struct out_frame *frame = calloc(1, sizeof(*frame));
    CHECK(frame);
    frame->stream = self;
    frame->data = self->gathered.data;
    frame->len = self->gathered.len;
    frame->messages = self->gathered_messages;
    list_push(&self->frames, &frame->node);
    buf_init(&self->gathered, 0);
    self->gathered_messages = 0;
    http_response_body_promise(
        self->exchange, &(struct rpc_promise){.len = frame->len, .ops = &frame_ops, .ctx = frame});
}

void stream_out_heartbeat(struct stream_out *self)
{
    size_t before = self->gathered.len;
    /* A peer that takes nothing needs no sign of life: the write timeout ends it. */
    if (!self->exchange || self->queued_bytes >= self->peer->peers->queue_bytes_max ||
        !err_ok(stream_encoder_put_heartbeat(&self->encoder, &self->gathered)))
        return;
    self->queued_bytes += self->gathered.len - before;
    stream_out_flush(self);
}

void stream_out_end(struct stream_out *self)
{
    if (!self->exchange)
        return;
    stream_out_flush(self);
    http_response_end(self->exchange);
}
