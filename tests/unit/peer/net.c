#include "net.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void net_init(struct net *self)
{
    assert_ok(io_loop_new(&self->loop));
    assert_ok(io_workers_new(1, &self->workers));
}

void net_done(struct net *self)
{
    io_workers_free(self->workers);
    io_loop_run_once(self->loop, 0); /* lookups that came late */
    io_loop_run_once(self->loop, 0); /* closed sockets */
    io_loop_free(self->loop);
}

/* ---- Nodes ------------------------------------------------------------------------------ */

static void step(void *ctx, const struct raft_message *message)
{
    struct node *self = ctx;
    if (self->stepped_count == self->stepped_cap) {
        self->stepped_cap = self->stepped_cap ? self->stepped_cap * 2 : 64;
        self->stepped = realloc(self->stepped, self->stepped_cap * sizeof(*self->stepped));
    }
    self->stepped[self->stepped_count++] = raft_message_copy(message);
}

static void report(void *ctx, uint64_t peer, enum replica_peer_event event,
                   struct cluster_version version)
{
    struct node *self = ctx;
    self->reports[event]++;
    if (event == PEER_VERSION)
        self->version = version;
}

static const struct replica_view *view(void *ctx)
{
    struct node *self = ctx;
    return &self->view;
}

static void notice(void *ctx, const struct peer_notice *notice)
{
    struct node *self = ctx;
    assert_non_null(peer_notice_text(notice->kind));
    if (self->notice_count == NOTICES_MAX)
        return;
    struct peer_notice *kept = &self->notices[self->notice_count++];
    *kept = *notice;
    kept->detail = NULL; /* lent */
}

static void accepted(void *ctx, int fd, const struct io_address *peer)
{
    struct node *self = ctx;
    peers_accept(self->peers, fd);
}

static struct io_listener *listen_on_loopback(struct net *net,
                                              void (*fn)(void *, int, const struct io_address *),
                                              void *ctx, char ret_url[64])
{
    struct io_listener *listener;
    struct io_listener_config config = {.stage_order = 1, .accepted = fn, .ctx = ctx};
    assert_ok(io_address_parse("127.0.0.1", 0, &config.address));
    assert_ok(io_listener_new(net->loop, &config, &listener));
    snprintf(ret_url, 64, "http://127.0.0.1:%u",
             (unsigned)io_address_port(io_listener_address(listener)));
    return listener;
}

static void promotion_asked(void *ctx, uint64_t number, uint64_t member_id)
{
    struct node *self = ctx;
    self->promotion_number = number;
    self->promotion_id = member_id;
}

static void hash_asked(void *ctx, uint64_t number, int64_t revision)
{
    struct node *self = ctx;
    self->hash_number = number;
    self->hash_revision = revision;
}

static void hash_answered(void *ctx, uint64_t number, err error, const struct peer_hash *hash)
{
    struct node *self = ctx;
    self->hash_answered = number;
    self->answered = error;
    self->hash = *hash;
}

static void read_asked(void *ctx, uint64_t number)
{
    ((struct node *)ctx)->read_number = number;
}

static void promotion_answered(void *ctx, uint64_t ask, err error)
{
    struct node *self = ctx;
    self->answered_ask = ask;
    self->answered = error;
}

static void *snapshot_begin(void *ctx, const struct raft_message *message,
                            struct peer_snapshot_in *from)
{
    struct node *self = ctx;
    self->state_begun = true;
    self->state_ended = self->state_cut = false;
    self->state_index = message->snapshot->index;
    self->state_from = from;
    buf_clear(&self->state);
    return self;
}

static bool snapshot_piece(void *snapshot, struct bytes piece)
{
    struct node *self = snapshot;
    assert_ok(buf_append(&self->state, piece));
    return self->state_room == 0 || self->state.len < self->state_room;
}

static void snapshot_end(void *snapshot)
{
    ((struct node *)snapshot)->state_ended = true;
}

static void snapshot_cut(void *snapshot)
{
    ((struct node *)snapshot)->state_cut = true;
}

void node_init(struct node *self, struct net *net, const struct node_config *config)
{
    static const struct peers_handler handler = {.step = step,
                                                 .report = report,
                                                 .hash_asked = hash_asked,
                                                 .hash_answered = hash_answered,
                                                 .promotion_asked = promotion_asked,
                                                 .read_asked = read_asked,
                                                 .promotion_answered = promotion_answered,
                                                 .snapshot_begin = snapshot_begin,
                                                 .snapshot_piece = snapshot_piece,
                                                 .snapshot_end = snapshot_end,
                                                 .snapshot_cut = snapshot_cut,
                                                 .view = view,
                                                 .notice = notice};
    memset(self, 0, sizeof(*self));
    self->net = net;
    self->id = config->id;
    buf_init(&self->state, 0);
    self->members = membership_new();
    self->view.members = self->members;
    self->view.version = (struct cluster_version){3, 7};
    self->view.applied_index = 31;
    self->listener = listen_on_loopback(net, accepted, self, self->url);
    const char *urls[] = {self->url};
    assert_ok(
        peers_new(&(struct peers_config){.loop = net->loop,
                                         .workers = net->workers,
                                         .bulk = net->workers,
                                         .member_id = config->id,
                                         .cluster_id = config->cluster_id,
                                         .peer_urls = urls,
                                         .peer_url_count = 1,
                                         .server_version = "3.7.1",
                                         .min_cluster_version = config->min_cluster_version
                                                                    ? config->min_cluster_version
                                                                    : "3.0.0",
                                         .dial_timeout_ms = 2000,
                                         .read_timeout_ms = config->read_timeout_ms,
                                         .queue_bytes_max = config->queue_bytes_max,
                                         .queue_messages_max = config->queue_messages_max,
                                         .probe_ms = config->probe_ms},
                  &handler, self, &self->peers));
}

void node_forget(struct node *self)
{
    for (size_t i = 0; i < self->stepped_count; i++)
        raft_message_free(self->stepped[i]);
    self->stepped_count = self->notice_count = 0;
    memset(self->reports, 0, sizeof(self->reports));
}

void node_done(struct node *self)
{
    peers_free(self->peers);
    io_listener_free(self->listener);
    node_forget(self);
    buf_done(&self->state);
    free(self->stepped);
    membership_free(self->members);
}

void node_set_members(struct node *self, const uint64_t *ids, const char *const *urls, size_t count,
                      uint64_t removed)
{
    struct membership *members = membership_new();
    for (size_t i = 0; i < count; i++) {
        struct member member = {.id = ids[i], .name = "", .peer_urls = {&urls[i], 1}};
        struct membership *more = membership_with_member(members, &member);
        membership_free(members);
        members = more;
    }
    if (removed) {
        struct membership *more = membership_with_removed(members, removed);
        membership_free(members);
        members = more;
    }
    membership_free(self->members);
    self->members = members;
    self->view.members = members;
    peers_set_members(self->peers, members);
}

const struct peer_notice *node_notice(const struct node *self, enum peer_notice_kind kind)
{
    for (size_t i = 0; i < self->notice_count; i++)
        if (self->notices[i].kind == kind)
            return &self->notices[i];
    return NULL;
}

bool node_noticed(const struct node *self, enum peer_notice_kind kind)
{
    return node_notice(self, kind) != NULL;
}

bool node_streams_up(const struct node *self, uint64_t peer)
{
    struct peer_status status;
    return peers_status(self->peers, peer, &status) && status.receiving[0] && status.receiving[1] &&
           status.sending[0] && status.sending[1];
}

/* ---- Relays ----------------------------------------------------------------------------- */

#define PIPE_BYTES_MAX ((size_t)1 << 20)

struct relay_side {
    struct io_socket socket;
    struct buf out; /* waits to be written here */
    bool open;
};

struct relay_conn {
    struct list node;
    struct relay *relay;
    struct relay_side side[2]; /* 0: who dialled, 1: the node */
    bool over;
};

struct relay {
    struct net *net;
    struct io_listener *listener;
    struct io_stage stage;
    struct io_address to;
    char url[64];
    struct list conns;
    struct list ready;
    bool cut, stall;
};

static void relay_conn_free(struct relay_conn *self)
{
    for (unsigned i = 0; i < 2; i++) {
        io_socket_close(&self->side[i].socket);
        buf_done(&self->side[i].out);
    }
    list_remove(&self->node);
    free(self);
}

static void relay_accepted(void *ctx, int fd, const struct io_address *peer)
{
    struct relay *self = ctx;
    if (self->cut) {
        close(fd);
        return;
    }
    struct relay_conn *conn = calloc(1, sizeof(*conn));
    conn->relay = self;
    list_push(&self->conns, &conn->node);
    assert_ok(io_socket_adopt(&conn->side[0].socket, self->net->loop, fd, &self->ready));
    assert_ok(
        io_socket_connect(&conn->side[1].socket, self->net->loop, &self->to, 0, &self->ready));
    for (unsigned i = 0; i < 2; i++) {
        conn->side[i].socket.owner = conn;
        conn->side[i].open = i == 0;
        buf_init(&conn->side[i].out, 0);
    }
}

/* Bytes of one side to the other, as far as they go. */
static void relay_pump(struct relay_conn *self, unsigned from)
{
    struct relay *relay = self->relay;
    struct relay_side *in = &self->side[from];
    struct relay_side *out = &self->side[1 - from];
    static uint8_t piece[1 << 16];
    size_t n;
    while (in->open && out->out.len < PIPE_BYTES_MAX && !(relay->stall && from == 1)) {
        err e = io_socket_read(&in->socket, piece, sizeof(piece), &n);
        if (err_is(e, ERR_AGAIN))
            break;
        if (!err_ok(e)) {
            self->over = true;
            break;
        }
        CHECK(err_ok(buf_append(&out->out, bytes_of(piece, n))));
    }
    while (out->open && out->out.len) {
        struct iovec iov = {out->out.data, out->out.len};
        err e = io_socket_write(&out->socket, &iov, 1, &n);
        if (err_is(e, ERR_AGAIN))
            break;
        if (!err_ok(e)) {
            self->over = true;
            break;
        }
        buf_consume(&out->out, n);
    }
    bool read = out->out.len < PIPE_BYTES_MAX && !(relay->stall && from == 1);
    io_socket_want(&in->socket, (in->socket.want & ~(unsigned)IO_READY_READ) |
                                    (read && in->open ? (unsigned)IO_READY_READ : 0U));
}

static bool relay_run(void *ctx)
{
    struct relay *self = ctx;
    struct io_socket *socket;
    while ((socket = io_socket_take_ready(&self->ready))) {
        struct relay_conn *conn = socket->owner;
        struct relay_side *side = &conn->side[socket == &conn->side[1].socket];
        if (socket->ready & IO_READY_CONNECTED)
            side->open = true;
        if (socket->ready & IO_READY_FAILED)
            conn->over = true;
        socket->ready = 0;
    }
    LIST_FOREACH_SAFE (node, after, &self->conns) {
        struct relay_conn *conn = LIST_ENTRY(node, struct relay_conn, node);
        relay_pump(conn, 0);
        relay_pump(conn, 1);
        if (conn->over || self->cut)
            relay_conn_free(conn);
    }
    return false;
}

struct relay *relay_new(struct net *net, const struct node *to)
{
    struct relay *self = calloc(1, sizeof(*self));
    self->net = net;
    self->to = *io_listener_address(to->listener);
    list_init(&self->conns);
    list_init(&self->ready);
    self->listener = listen_on_loopback(net, relay_accepted, self, self->url);
    self->stage = (struct io_stage){.order = 5, .run = relay_run, .ctx = self};
    list_init(&self->stage.node);
    io_loop_stage_add(net->loop, &self->stage);
    return self;
}

void relay_free(struct relay *self)
{
    LIST_FOREACH_SAFE (node, after, &self->conns)
        relay_conn_free(LIST_ENTRY(node, struct relay_conn, node));
    io_listener_free(self->listener);
    io_loop_stage_remove(self->net->loop, &self->stage);
    free(self);
}

const char *relay_url(const struct relay *self)
{
    return self->url;
}

void relay_cut(struct relay *self, bool cut)
{
    self->cut = cut;
    io_loop_wake(self->net->loop);
}

void relay_stall(struct relay *self, bool stall)
{
    self->stall = stall;
    io_loop_wake(self->net->loop);
}

/* ---- By hand ---------------------------------------------------------------------------- */

char *net_ask(struct net *self, const struct node *node, struct bytes request, const char *until)
{
    struct list ready;
    struct io_socket socket;
    struct buf answer;
    uint8_t piece[4096];
    uint64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    bool connected = false;
    list_init(&ready);
    buf_init(&answer, 1 << 20);
    assert_ok(
        io_socket_connect(&socket, self->loop, io_listener_address(node->listener), 0, &ready));
    for (;;) {
        assert_true(clock_mono_ms() < deadline_ms);
        io_loop_run_once(self->loop, 10);
        (void)io_socket_take_ready(&ready);
        connected |= (socket.ready & IO_READY_CONNECTED) != 0;
        socket.ready = 0;
        size_t n;
        if (connected && request.len) {
            struct iovec iov = {(void *)(uintptr_t)request.data, request.len};
            err e = io_socket_write(&socket, &iov, 1, &n);
            if (err_ok(e))
                request = bytes_skip(request, n);
            else if (!err_is(e, ERR_AGAIN))
                request = BYTES_NONE; /* it has heard enough */
        }
        if (!connected)
            continue;
        err e = io_socket_read(&socket, piece, sizeof(piece), &n);
        if (err_ok(e))
            assert_ok(buf_append(&answer, bytes_of(piece, n)));
        else if (!err_is(e, ERR_AGAIN))
            break;
        if (until && answer.len && memmem(answer.data, answer.len, until, strlen(until)))
            break;
    }
    io_socket_close(&socket);
    assert_ok(buf_append(&answer, bytes_of("", 1)));
    return (char *)answer.data;
}
