/* A state on its way to a member: POST /raft/snapshot, whose body is the length of a MsgSnap (8
 * bytes, big endian), the message, and what peer_snapshot_body reads.
 *
 *     dial ─ opened ─> moment fixed on a worker ─> head ─> [ read on a worker ─> sent ─> pause ]…
 * ─> end ▲                           │ └── room for unsent bytes ──┘
 *
 * Reading pauses for as long as it took, so that it takes half a core at most, and it waits for the
 * socket: what is held is a chunk or two. One that a worker reads lives until that has come back,
 * whatever has become of its peer. */
#include "peer/peers_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

/* Behind the last byte the member has to sync what it has before it answers. */
#define ANSWER_TIMEOUT_MS 30000
#define REFUSAL_BYTES_MAX 1024
#define MS_NS             UINT64_C(1000000)

struct snapshot_out {
    struct peer *peer; /* NULL: given up, and only waited for by a worker */
    struct peer_link *link;
    size_t url_at;
    struct peer_snapshot_body body;
    struct raft_message *message; /* until its head is sent */
    uint64_t index;
    uint64_t bytes; /* of the state, sent */
    uint64_t begin_ns;

    struct io_job job;
    bool reading; /* the job is with a worker */
    bool read_all;
    struct buf chunk;
    err read_error;
    uint64_t read_ns;
    bool pausing;
    struct io_timer timer; /* until the next read, or the answer */
    struct buf answer;
};

static void notice(struct snapshot_out *self, enum peer_notice_kind kind, err why,
                   const char *detail)
{
    peers_notice(self->peer->peers, &(struct peer_notice){.kind = kind,
                                                          .peer = self->peer->id,
                                                          .direction = PEER_SENDING,
                                                          .index = self->index,
                                                          .bytes = self->bytes,
                                                          .error = why,
                                                          .detail = detail});
}

static void out_free(struct snapshot_out *self)
{
    self->body.free(self->body.ctx);
    raft_message_free(self->message);
    buf_done(&self->chunk);
    buf_done(&self->answer);
    free(self);
}

/* Off its peer; what a worker is busy with is freed when it has come back. */
static void leave(struct snapshot_out *self, bool arrived)
{
    struct peer *peer = self->peer;
    peer_snapshot_metrics_end(&peer->metrics->snapshots_out, arrived,
                              clock_mono_ns() - self->begin_ns);
    io_loop_timer_stop(peer->peers->loop, &self->timer);
    peer_link_close(TAKE(self->link));
    peer->peers->snapshot_count--;
    peer->snapshot = NULL;
    self->peer = NULL;
    if (!self->reading)
        out_free(self);
}

static void end(struct snapshot_out *self, err why, const char *detail)
{
    struct peer *peer = self->peer;
    notice(self, err_ok(why) ? PEER_NOTICE_SNAPSHOT_SENT : PEER_NOTICE_SNAPSHOT_NOT_SENT, why,
           detail);
    if (err_ok(why))
        peer->report_snapshot_sent = true;
    else if (err_is(self->read_error, ERR_CORRUPT))
        peer->report_unreadable = true;
    else
        peer->report_snapshot_failed = true;
    peers_reports_later(peer->peers);
    leave(self, err_ok(why));
}

void snapshot_out_cancel(struct peer *peer)
{
    if (peer->snapshot)
        leave(peer->snapshot, false);
}

/* ── The moment ─────────────────────────────────────────────────────────────────────────────── */

static struct raft_snapshot *snapshot_of(struct snapshot_out *self)
{
    return (struct raft_snapshot *)(uintptr_t)self->message->snapshot; /* our own copy */
}

static void open_work(struct io_job *job)
{
    struct snapshot_out *self = LIST_ENTRY(job, struct snapshot_out, job);
    self->read_error = self->body.open(self->body.ctx, snapshot_of(self));
}

static err head_send(struct snapshot_out *self)
{
    uint8_t length[8];
    struct buf head AUTO(buf_done);
    buf_init(&head, POST_BYTES_MAX);
    bytes_put_be64(length, raft_codec_message_size(self->message));
    TRY(buf_append(&head, bytes_of(length, sizeof(length))));
    TRY(raft_codec_message_encode(self->message, &head));
    peer_link_send(self->link, buf_bytes(&head));
    raft_message_free(TAKE(self->message));
    return OK;
}

/* ── Reading and sending ────────────────────────────────────────────────────────────────────── */

static void read_work(struct io_job *job)
{
    struct snapshot_out *self = LIST_ENTRY(job, struct snapshot_out, job);
    uint64_t begin_ns = clock_mono_ns();
    bool last = false;
    buf_clear(&self->chunk);
    self->read_error = self->body.read(self->body.ctx, SNAPSHOT_CHUNK_BYTES, &self->chunk, &last);
    self->read_all = last;
    self->read_ns = clock_mono_ns() - begin_ns;
}

static void read_done(struct io_job *job);

static void post(struct snapshot_out *self, void (*work)(struct io_job *),
                 void (*done)(struct io_job *))
{
    self->reading = true;
    self->job = (struct io_job){.work = work, .done = done, .loop = self->peer->peers->loop};
    io_workers_post(self->peer->peers->bulk, &self->job);
}

static void read_next(struct snapshot_out *self)
{
    if (self->message || self->reading || self->pausing || self->read_all ||
        !peer_link_has_room(self->link))
        return;
    post(self, read_work, read_done);
}

static void open_done(struct io_job *job)
{
    struct snapshot_out *self = LIST_ENTRY(job, struct snapshot_out, job);
    self->reading = false;
    if (!self->peer) {
        out_free(self);
        return;
    }
    err e = self->read_error;
    if (err_ok(e)) {
        self->index = self->message->snapshot->index;
        notice(self, PEER_NOTICE_SNAPSHOT_SENDING, OK, NULL);
        e = head_send(self);
    }
    if (e.code)
        end(self, e, "the state cannot be read");
    else
        read_next(self);
}

static void timer_fired(void *ctx)
{
    struct snapshot_out *self = ctx;
    self->pausing = false;
    if (self->read_all)
        end(self, ERR_TIMED_OUT, NULL);
    else
        read_next(self);
}

static void read_done(struct io_job *job)
{
    struct snapshot_out *self = LIST_ENTRY(job, struct snapshot_out, job);
    self->reading = false;
    if (!self->peer) {
        out_free(self);
        return;
    }
    if (self->read_error.code) {
        end(self, self->read_error, "the state cannot be read");
        return;
    }
    struct io_loop *loop = self->peer->peers->loop;
    self->bytes += self->chunk.len;
    peer_link_send(self->link, buf_bytes(&self->chunk));
    if (self->read_all) {
        peer_link_send_end(self->link);
        io_loop_timer_after(loop, &self->timer, ANSWER_TIMEOUT_MS);
        return;
    }
    /* Below a millisecond the socket alone sets the pace. */
    if (self->read_ns >= MS_NS) {
        self->pausing = true;
        io_loop_timer_after(loop, &self->timer, self->read_ns / MS_NS);
    } else {
        read_next(self);
    }
}

/* ── The connection ─────────────────────────────────────────────────────────────────────────── */

static void on_opened(void *ctx, struct peer_link *link)
{
    struct snapshot_out *self = ctx;
    struct http_header headers[REQUEST_HEADERS_MAX];
    err e =
        peer_link_fetch(link, &(struct http_fetch_start){
                                  .method = BYTES_LIT("POST"),
                                  .target = BYTES_LIT("/raft/snapshot"),
                                  .headers = headers,
                                  .header_count = peer_request_headers(
                                      self->peer->peers, NULL, "application/octet-stream", headers),
                                  .body_length = HTTP_LENGTH_UNKNOWN,
                                  .timeout_ms = UINT64_MAX});
    CHECK(err_ok(e)); /* it has just been opened */
    post(self, open_work, open_done);
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct snapshot_out *self = ctx;
    (void)buf_append(&self->answer, piece).code; /* longer than any refusal: cut */
}

static void on_writable(void *ctx, struct peer_link *link)
{
    read_next(ctx);
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct snapshot_out *self = ctx;
    struct peer *peer = self->peer;
    unsigned status = peer_link_status(link);
    if (!err_ok(result)) {
        end(self, result, NULL);
        return;
    }
    if (status / 100 == 2 && self->read_all) {
        peer_works(peer);
        end(self, OK, NULL);
        return;
    }
    uint64_t theirs = 0;
    (void)id_parse(peer_link_header(link, "X-Etcd-Cluster-ID"), &theirs).code;
    peer_refused(peer, "snapshot", status, buf_bytes(&self->answer), theirs);
    end(self, ERR_REFUSED, NULL);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct snapshot_out *self = ctx;
    self->link = NULL;
    peer_url_failed(self->peer, self->url_at);
    end(self, why, NULL);
}

static const struct peer_link_owner owner = {.opened = on_opened,
                                             .body = on_body,
                                             .writable = on_writable,
                                             .fetched = on_fetched,
                                             .closed = on_closed};

/* ── All together ───────────────────────────────────────────────────────────────────────────── */

static bool may_begin(const struct peers *self, const struct peer *peer)
{
    return peer && !peer->snapshot && self->bulk && !self->shut_down &&
           self->snapshot_count < SNAPSHOTS_MAX;
}

void peers_send_snapshot(struct peers *self, const struct raft_message *message,
                         const struct peer_snapshot_body *body)
{
    CHECK(message->type == RAFT_MSG_SNAP && message->snapshot);
    struct peer *peer = peers_find(self, message->to);
    if (!may_begin(self, peer)) {
        body->free(body->ctx);
        if (peer) {
            peer->report_snapshot_failed = true;
            peers_reports_later(self);
        }
        return;
    }
    struct snapshot_out *out = calloc(1, sizeof(*out));
    CHECK(out);
    out->peer = peer;
    out->body = *body;
    out->message = raft_message_copy(message);
    out->index = message->snapshot->index;
    buf_init(&out->chunk, 0);
    buf_init(&out->answer, REFUSAL_BYTES_MAX);
    io_timer_init(&out->timer, timer_fired, out);
    peer->snapshot = out;
    out->begin_ns = clock_mono_ns();
    peer_snapshot_metrics_begin(&peer->metrics->snapshots_out);
    self->snapshot_count++;
    out->link = peer_dial_for_long(peer, &out->url_at, &owner, out);
    if (!out->link)
        end(out, ERR_UNREACHABLE, NULL);
}
