/* Messages by POST /raft, where no stream is open: four posters take them from a queue, each with
 * a connection of its own that is kept for the next. A post that fails is lost, as raft expects
 * of messages, and its peer reported unreachable.
 *
 *     IDLE ─ queue ─> has a post ─┬─ link usable ──────────> fetch ─> fetched ─> IDLE or next
 *                                 └─ dial ─> opened ─────────┘  └─ closed: the post is lost */
#include "peer/peers_internal.h"

#include "base/check.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

#define POSTER_IDLE_MS    30000
#define REFUSAL_BYTES_MAX 1024

static void poster_run(struct poster *self);

static void post_done(struct poster *self)
{
    struct peer *peer = self->peer;
    peer->post_bytes -= self->post->len;
    free(TAKE(self->post));
    self->idle_since_ms = io_loop_now_ms(peer->peers->loop);
}

static void post_lost(struct poster *self, err why)
{
    struct peer *peer = self->peer;
    if (peer->metrics)
        metric_add(&peer->metrics->sent_failures, 1);
    post_done(self);
    peer_report_unreachable(peer);
    peer_failed(peer, "pipeline", why);
}

static void send_post(struct poster *self)
{
    struct peer *peer = self->peer;
    struct peers *peers = peer->peers;
    struct http_header headers[REQUEST_HEADERS_MAX];
    buf_clear(&self->answer);
    self->answered = false;
    err e = peer_link_fetch(
        self->link,
        &(struct http_fetch_start){
            .method = BYTES_LIT("POST"),
            .target = BYTES_LIT("/raft"),
            .headers = headers,
            .header_count = peer_request_headers(peers, NULL, "application/protobuf", headers),
            .body = bytes_of(self->post->data, self->post->len),
            .timeout_ms = peers->dial_timeout_ms + peers->read_timeout_ms});
    CHECK(err_ok(e)); /* only a usable link comes here */
}

static void on_opened(void *ctx, struct peer_link *link)
{
    struct poster *self = ctx;
    poster_run(self);
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct poster *self = ctx;
    (void)buf_append(&self->answer, piece).code; /* longer than any refusal: cut */
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct poster *self = ctx;
    struct peer *peer = self->peer;
    unsigned status = peer_link_status(link);
    if (!self->post)
        return;
    if (err_ok(result) && status == 204) {
        post_done(self);
        peer_works(peer);
    } else {
        uint64_t theirs = 0;
        (void)id_parse(peer_link_header(link, "X-Etcd-Cluster-ID"), &theirs).code;
        if (err_ok(result))
            peer_refused(peer, "pipeline", status, buf_bytes(&self->answer), theirs);
        post_lost(self, err_ok(result) ? ERR_REFUSED : result);
    }
    if (!err_ok(result) || !peer_link_usable(link)) {
        self->link = NULL;
        peer_link_close(link);
    }
    poster_run(self);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct poster *self = ctx;
    if (self->link != link)
        return;
    self->link = NULL;
    if (self->post) { /* else it was only kept for the next */
        peer_url_failed(self->peer, self->url_at);
        post_lost(self, why);
    }
    poster_run(self);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

static void poster_run(struct poster *self)
{
    struct peer *peer = self->peer;
    if (!self->post) {
        struct list *node = list_pop(&peer->posts);
        if (!node)
            return;
        peer->post_count--;
        self->post = LIST_ENTRY(node, struct peer_post, node);
    }
    if (!self->link)
        self->link = peer_dial(peer, &self->url_at, &owner, self);
    if (!self->link)
        post_lost(self, ERR_UNREACHABLE);
    else if (peer_link_usable(self->link))
        send_post(self);
}

/* One with an open connection first. */
static struct poster *find_idle(struct peer *peer)
{
    struct poster *found = NULL;
    for (unsigned i = 0; i < POSTERS; i++) {
        struct poster *poster = &peer->posters[i];
        if (!poster->post && (!found || (poster->link && !found->link)))
            found = poster;
    }
    return found;
}

bool pipeline_put(struct peer *peer, const struct raft_message *message)
{
    struct peers *peers = peer->peers;
    size_t len = raft_codec_message_size(message);
    if (peer->post_count >= POSTS_MAX || len > POST_BYTES_MAX ||
        peer->post_bytes + len > peers->queue_bytes_max)
        return false;
    struct buf encoded;
    buf_init(&encoded, 0);
    CHECK(err_ok(buf_reserve(&encoded, sizeof(struct peer_post) + len)));
    encoded.len = sizeof(struct peer_post);
    if (!err_ok(raft_codec_message_encode(message, &encoded))) {
        buf_done(&encoded);
        return false;
    }
    struct peer_post *post =
        (struct peer_post *)(void *)encoded.data; /* the buffer is its memory */
    post->len = encoded.len - sizeof(*post);
    list_push(&peer->posts, &post->node);
    peer->post_count++;
    peer->post_bytes += post->len;
    peer->pipeline_full_said = false;
    if (peer->metrics)
        metric_add(&peer->metrics->sent, (int64_t)post->len);
    struct poster *idle = find_idle(peer);
    if (idle)
        poster_run(idle);
    return true;
}

void pipeline_sweep(struct peer *peer)
{
    uint64_t now_ms = io_loop_now_ms(peer->peers->loop);
    for (unsigned i = 0; i < POSTERS; i++) {
        struct poster *poster = &peer->posters[i];
        if (!poster->post && poster->link && now_ms - poster->idle_since_ms > POSTER_IDLE_MS)
            peer_link_close(TAKE(poster->link));
    }
}

void pipeline_init(struct peer *peer)
{
    list_init(&peer->posts);
    for (unsigned i = 0; i < POSTERS; i++) {
        peer->posters[i].peer = peer;
        buf_init(&peer->posters[i].answer, REFUSAL_BYTES_MAX);
    }
}

void pipeline_done(struct peer *peer)
{
    for (unsigned i = 0; i < POSTERS; i++) {
        struct poster *poster = &peer->posters[i];
        peer_link_close(TAKE(poster->link));
        free(TAKE(poster->post));
        buf_done(&poster->answer);
    }
    struct list *node;
    while ((node = list_pop(&peer->posts)))
        free(LIST_ENTRY(node, struct peer_post, node));
}
