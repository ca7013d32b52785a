#include "peer/link.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdlib.h>

#define LINK_SLICE_NS      1000000
#define LINK_READS_A_PASS  4
#define LINK_WRITES_A_PASS 8
#define LINK_IOVECS        256
#define SWEEP_MS           1000
#define ACCEPTED_MAX       2048

enum link_state { LINK_LOOKUP, LINK_CONNECTING, LINK_OPEN, LINK_CLOSING };

/* A lookup cannot be called back, so it lives by itself and forgets its link when that goes. */
struct link_lookup {
    struct io_lookup lookup;
    struct peer_link *link;
};

struct peer_link {
    struct list node;
    struct list output_node;
    struct link_net *net;
    struct io_socket socket;
    struct rpc_conn *conn;     /* accepted */
    struct rpc_client *client; /* dialled and connected */
    struct http_fetch *fetch;
    const struct peer_link_owner *owner; /* NULL: accepted, or given up */
    void *ctx;
    enum link_state state;
    bool writable;
    bool has_socket;
    err why;
    struct link_lookup *lookup;
    struct io_address addresses[LINK_ADDRESSES_MAX];
    unsigned address_count, address_at;
    uint64_t dial_timeout_ms, read_timeout_ms;
    uint64_t begun_ms;
    uint64_t stalled_ms; /* since when the socket takes nothing; 0: it does, or nothing waits */
    char authority[sizeof(((struct peer_url *)0)->authority)];
};

static void mark_output(struct peer_link *self)
{
    if (list_empty(&self->output_node))
        list_push(&self->net->output, &self->output_node);
}

/* Ends it in the next output. The first reason stays. */
static void link_fail(struct peer_link *self, err why)
{
    if (self->state == LINK_CLOSING)
        return;
    self->state = LINK_CLOSING;
    self->why = why;
    mark_output(self);
}

/* ---- HTTP's events ---------------------------------------------------------------------- */

void peer_link_active(void *link, struct rpc_conn *conn)
{
    mark_output(link);
}

static void client_active(void *ctx, struct rpc_client *client)
{
    mark_output(ctx);
}

static const struct rpc_client_handler client_handler = {.active = client_active};

static void on_response(void *ctx, struct http_fetch *fetch, unsigned status)
{
    struct peer_link *self = ctx;
    self->fetch = fetch;
    if (self->owner && self->owner->response)
        self->owner->response(self->ctx, self, status);
}

static void on_body(void *ctx, struct http_fetch *fetch, struct bytes piece)
{
    struct peer_link *self = ctx;
    if (self->owner && self->owner->body)
        self->owner->body(self->ctx, self, piece);
}

static void on_fetched(void *ctx, struct http_fetch *fetch, err result)
{
    struct peer_link *self = ctx;
    if (self->owner && self->owner->fetched)
        self->owner->fetched(self->ctx, self, result);
    self->fetch = self->fetch == fetch ? NULL : self->fetch;
    if (!err_ok(result) && !err_is(result, ERR_LIMIT))
        link_fail(self, result);
}

static void on_writable(void *ctx, struct http_fetch *fetch)
{
    struct peer_link *self = ctx;
    if (self->owner && self->owner->writable)
        self->owner->writable(self->ctx, self);
}

static const struct http_fetch_handler fetch_handler = {
    .response = on_response, .body = on_body, .writable = on_writable, .closed = on_fetched};

/* ---- Dialling --------------------------------------------------------------------------- */

static struct peer_link *link_new(struct link_net *net)
{
    struct peer_link *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->net = net;
    self->begun_ms = io_loop_now_ms(net->loop);
    list_init(&self->output_node);
    list_push(&net->links, &self->node);
    return self;
}

/* The next address; false: there is none. */
static bool connect_next(struct peer_link *self)
{
    struct link_net *net = self->net;
    while (self->address_at < self->address_count) {
        const struct io_address *to = &self->addresses[self->address_at++];
        err e = io_socket_connect(&self->socket, net->loop, to,
                                  io_loop_now_ms(net->loop) + self->dial_timeout_ms, &net->ready);
        if (err_ok(e)) {
            self->socket.owner = self;
            self->has_socket = true;
            self->state = LINK_CONNECTING;
            return true;
        }
        self->why = e;
    }
    return false;
}

static void dial_failed(struct peer_link *self, err why)
{
    if (self->has_socket)
        io_socket_close(&self->socket);
    self->has_socket = false;
    if (!connect_next(self))
        link_fail(self, why);
}

static void looked_up(struct io_lookup *lookup)
{
    struct link_lookup *job = LIST_ENTRY(lookup, struct link_lookup, lookup);
    struct peer_link *self = job->link;
    if (self) {
        self->lookup = NULL;
        self->address_count =
            lookup->count < LINK_ADDRESSES_MAX ? lookup->count : LINK_ADDRESSES_MAX;
        if (err_ok(lookup->result))
            memcpy(self->addresses, lookup->addresses,
                   self->address_count * sizeof(self->addresses[0]));
        else
            self->address_count = 0;
        if (!connect_next(self))
            link_fail(self, err_ok(lookup->result) ? ERR_UNREACHABLE : lookup->result);
    }
    free(job);
}

static err start_lookup(struct peer_link *self, const struct peer_url *url)
{
    struct link_lookup *job = calloc(1, sizeof(*job));
    CHECK(job);
    job->link = self;
    err e = io_lookup_start(&job->lookup, self->net->workers, self->net->loop, url->host, url->port,
                            looked_up, job);
    if (!err_ok(e)) {
        free(job);
        return e;
    }
    self->lookup = job;
    self->state = LINK_LOOKUP;
    return OK;
}

struct peer_link *peer_link_dial(struct link_net *net, const struct peer_link_dial *dial)
{
    struct peer_link *self = link_new(net);
    self->owner = dial->owner;
    self->ctx = dial->ctx;
    self->dial_timeout_ms = dial->dial_timeout_ms;
    self->read_timeout_ms = dial->read_timeout_ms;
    memcpy(self->authority, dial->url->authority, sizeof(self->authority));
    err e = dial->url->is_unix
                ? io_address_unix(dial->url->host, &self->addresses[0])
                : io_address_parse(dial->url->host, dial->url->port, &self->addresses[0]);
    if (err_ok(e)) {
        self->address_count = 1;
        if (!connect_next(self))
            link_fail(self, self->why);
        return self;
    }
    if (!dial->url->is_unix)
        e = start_lookup(self, dial->url);
    if (!err_ok(e))
        link_fail(self, e);
    return self;
}

static void link_opened(struct peer_link *self)
{
    struct rpc_client_config config = {.protocol = RPC_CLIENT_HTTP1,
                                       .authority = bytes_str(self->authority),
                                       .read_timeout_ms = self->read_timeout_ms};
    rpc_pool_set_now(self->net->pool, io_loop_now_ms(self->net->loop));
    self->client = rpc_client_new(self->net->pool, &config, &client_handler, self);
    self->state = LINK_OPEN;
    self->writable = true;
    if (self->owner && self->owner->opened)
        self->owner->opened(self->ctx, self);
}

/* ---- Accepting -------------------------------------------------------------------------- */

/* The idle one that came first makes room: whoever asks nothing shall not keep members out. */
static bool evict_idle(struct link_net *net)
{
    LIST_FOREACH (node, &net->links) {
        struct peer_link *link = LIST_ENTRY(node, struct peer_link, node);
        if (link->conn && link->state == LINK_OPEN && rpc_conn_open_count(link->conn) == 0) {
            link_fail(link, ERR_LIMIT);
            return true;
        }
    }
    return false;
}

struct peer_link *peer_link_accept(struct link_net *net, int fd)
{
    struct peer_link *self = link_new(net);
    err e = io_socket_adopt(&self->socket, net->loop, fd, &net->ready);
    if (!err_ok(e)) {
        list_remove(&self->node);
        free(self);
        return NULL;
    }
    self->socket.owner = self;
    self->has_socket = true;
    self->writable = true;
    self->state = LINK_OPEN;
    rpc_pool_set_now(net->pool, io_loop_now_ms(net->loop));
    self->conn = rpc_conn_new(net->pool, RPC_PLAIN, net->handler, self);
    if (++net->accepted_count > net->accepted_max && !evict_idle(net)) {
        link_fail(self, ERR_LIMIT);
        return NULL;
    }
    return self;
}

/* ---- In and out ------------------------------------------------------------------------- */

static void update_want(struct peer_link *self)
{
    if (self->state != LINK_OPEN || !self->conn)
        return;
    bool read = rpc_conn_wants_read(self->conn);
    unsigned want =
        (self->socket.want & ~(unsigned)IO_READY_READ) | (read ? (unsigned)IO_READY_READ : 0U);
    if (want != self->socket.want)
        io_socket_want(&self->socket, want);
}

static void read_end(struct peer_link *self, err e)
{
    uint64_t now_ms = io_loop_now_ms(self->net->loop);
    io_socket_want(&self->socket, self->socket.want & ~(unsigned)IO_READY_READ);
    if (!err_is(e, ERR_CLOSED)) {
        link_fail(self, e);
    } else if (self->client) {
        rpc_client_read_end(self->client, now_ms);
        link_fail(self, ERR_CLOSED);
    } else {
        rpc_conn_read_end(self->conn, now_ms);
        mark_output(self);
    }
}

static void link_read(struct peer_link *self)
{
    struct link_net *net = self->net;
    for (unsigned i = 0; i < LINK_READS_A_PASS && self->state == LINK_OPEN; i++) {
        size_t len;
        err e = io_socket_read(&self->socket, net->read_buffer, sizeof(net->read_buffer), &len);
        if (err_is(e, ERR_AGAIN))
            break;
        if (!err_ok(e)) {
            read_end(self, e);
            break;
        }
        struct bytes in = bytes_of(net->read_buffer, len);
        uint64_t now_ms = io_loop_now_ms(net->loop);
        if (self->client)
            rpc_client_read(self->client, in, now_ms);
        else
            rpc_conn_read(self->conn, in, now_ms);
        if (len < sizeof(net->read_buffer) || (self->conn && !rpc_conn_wants_read(self->conn)))
            break;
    }
    update_want(self);
}

static bool wants_write(const struct peer_link *self)
{
    if (self->client)
        return rpc_client_wants_write(self->client);
    return self->conn && rpc_conn_wants_write(self->conn);
}

static bool is_finished(const struct peer_link *self)
{
    return self->client ? rpc_client_finished(self->client)
                        : self->conn && rpc_conn_finished(self->conn);
}

/* One write. False: nothing left, or the socket is full. */
static bool link_write(struct peer_link *self)
{
    struct iovec iov[LINK_IOVECS];
    unsigned count;
    size_t bytes = self->client ? rpc_client_output(self->client, iov, LINK_IOVECS, &count)
                                : rpc_conn_output(self->conn, iov, LINK_IOVECS, &count);
    if (bytes == 0)
        return false;
    size_t wrote = 0;
    err e = io_socket_write(&self->socket, iov, count, &wrote);
    if (self->client)
        rpc_client_wrote(self->client, wrote);
    else
        rpc_conn_wrote(self->conn, wrote);
    if (wrote)
        self->stalled_ms = 0;
    if (!err_ok(e) && !err_is(e, ERR_AGAIN))
        link_fail(self, e);
    self->writable = wrote == bytes;
    return self->writable && self->state == LINK_OPEN && wants_write(self);
}

/* Its events come here at the latest: exchanges and the fetch end, then the owner hears. */
static void link_bury(struct peer_link *self)
{
    struct link_net *net = self->net;
    self->state = LINK_CLOSING;
    if (self->conn)
        net->accepted_count--;
    rpc_conn_free(self->conn);
    rpc_client_free(self->client);
    if (self->has_socket)
        io_socket_close(&self->socket);
    if (self->lookup)
        self->lookup->link = NULL;
    list_remove(&self->node);
    list_remove(&self->output_node);
    if (self->owner)
        self->owner->closed(self->ctx, self, self->why);
    free(self);
}

/* Its turn: what goes is written. True: it would take more. */
static bool link_output(struct peer_link *self)
{
    for (unsigned i = 0; i < LINK_WRITES_A_PASS; i++)
        if (self->state != LINK_OPEN || !self->writable || !link_write(self))
            break;
    if (self->state == LINK_OPEN && is_finished(self))
        link_fail(self, ERR_CLOSED);
    return self->state == LINK_OPEN && self->writable && wants_write(self);
}

bool peer_link_net_output(struct link_net *self)
{
    struct list busy;
    list_init(&busy);
    /* Burying one may close or dial others: those come to the end of the list, and what comes
     * there behind the last has its turn in the next pass. */
    LIST_FOREACH_SAFE (node, after, &self->output) {
        struct peer_link *link = LIST_ENTRY(node, struct peer_link, output_node);
        list_remove(node);
        bool more = link_output(link);
        list_remove(node); /* events may have put it back */
        if (link->state == LINK_CLOSING) {
            link_bury(link);
            continue;
        }
        update_want(link);
        if (more)
            list_push(&busy, node);
    }
    struct list *node;
    while ((node = list_pop(&busy)))
        list_push(&self->output, node);
    uint64_t next_ms = rpc_pool_next_ms(self->pool);
    if (next_ms == UINT64_MAX)
        io_loop_timer_stop(self->loop, &self->tick_timer);
    else
        io_loop_timer_at(self->loop, &self->tick_timer, next_ms);
    return !list_empty(&self->output);
}

static void link_ready(struct peer_link *self, unsigned ready)
{
    if (ready & IO_READY_FAILED) {
        dial_failed(self, self->socket.error);
        return;
    }
    if ((ready & IO_READY_CONNECTED) && self->state == LINK_CONNECTING)
        link_opened(self);
    if (self->state != LINK_OPEN)
        return;
    if (ready & IO_READY_WRITE) {
        self->writable = true;
        mark_output(self);
    }
    if (ready & IO_READY_READ)
        link_read(self);
    if (is_finished(self))
        mark_output(self);
}

/* Links whose peer takes no bytes for too long. */
static void sweep(struct link_net *self)
{
    uint64_t now_ms = io_loop_now_ms(self->loop);
    LIST_FOREACH (node, &self->links) {
        struct peer_link *link = LIST_ENTRY(node, struct peer_link, node);
        if (link->state != LINK_OPEN || link->writable || !wants_write(link))
            link->stalled_ms = 0;
        else if (link->stalled_ms == 0)
            link->stalled_ms = now_ms;
        else if (now_ms - link->stalled_ms > self->write_timeout_ms)
            link_fail(link, ERR_TIMED_OUT);
    }
}

bool peer_link_net_input(struct link_net *self)
{
    uint64_t begin_ns = clock_mono_ns();
    if (self->tick_due) {
        self->tick_due = false;
        rpc_pool_tick(self->pool, io_loop_now_ms(self->loop));
    }
    if (self->sweep_due) {
        self->sweep_due = false;
        sweep(self);
        if (self->swept)
            self->swept(self->ctx);
    }
    struct io_socket *socket;
    while ((socket = io_socket_take_ready(&self->ready))) {
        unsigned ready = socket->ready;
        socket->ready = 0;
        link_ready(socket->owner, ready);
        if (clock_mono_ns() - begin_ns > LINK_SLICE_NS)
            break;
    }
    return !list_empty(&self->ready);
}

/* ---- Life ------------------------------------------------------------------------------- */

void peer_link_close(struct peer_link *self)
{
    if (!self)
        return;
    self->owner = NULL;
    link_fail(self, ERR_CLOSED);
}

bool peer_link_usable(const struct peer_link *self)
{
    return self->state == LINK_OPEN && self->client && rpc_client_usable(self->client);
}

err peer_link_fetch(struct peer_link *self, const struct http_fetch_start *start)
{
    if (!peer_link_usable(self))
        return ERR_CLOSED;
    rpc_pool_set_now(self->net->pool, io_loop_now_ms(self->net->loop));
    TRY(http_fetch_start(self->client, start, &fetch_handler, self, &self->fetch));
    mark_output(self);
    return OK;
}

void peer_link_send(struct peer_link *self, struct bytes piece)
{
    if (!self->fetch)
        return;
    http_fetch_send(self->fetch, piece);
    mark_output(self);
}

void peer_link_send_end(struct peer_link *self)
{
    if (!self->fetch)
        return;
    http_fetch_send_end(self->fetch);
    mark_output(self);
}

bool peer_link_has_room(const struct peer_link *self)
{
    return self->fetch && http_fetch_unsent_bytes(self->fetch) <
                              rpc_pool_limits(self->net->pool)->call_unsent_bytes_max;
}

struct bytes peer_link_header(const struct peer_link *self, const char *name)
{
    return self->fetch ? http_fetch_header(self->fetch, name) : BYTES_NONE;
}

unsigned peer_link_status(const struct peer_link *self)
{
    return self->fetch ? http_fetch_status(self->fetch) : 0;
}

struct link_net *peer_link_net(const struct peer_link *self)
{
    return self->net;
}

static void tick_fired(void *ctx)
{
    struct link_net *self = ctx;
    self->tick_due = true;
}

static void sweep_fired(void *ctx)
{
    struct link_net *self = ctx;
    self->sweep_due = true;
    io_loop_timer_after(self->loop, &self->sweep_timer, SWEEP_MS);
}

void peer_link_net_init(struct link_net *self, struct io_loop *loop, struct io_workers *workers,
                        const struct rpc_limits *limits)
{
    memset(self, 0, sizeof(*self));
    self->loop = loop;
    self->workers = workers;
    self->pool = rpc_pool_new(limits, io_loop_now_ms(loop));
    self->accepted_max = ACCEPTED_MAX;
    list_init(&self->links);
    list_init(&self->output);
    list_init(&self->ready);
    io_timer_init(&self->tick_timer, tick_fired, self);
    io_timer_init(&self->sweep_timer, sweep_fired, self);
    io_loop_timer_after(loop, &self->sweep_timer, SWEEP_MS);
}

void peer_link_net_done(struct link_net *self)
{
    /* Nobody owns a link any more, so that burying one touches no other. */
    LIST_FOREACH_SAFE (node, after, &self->links)
        link_bury(LIST_ENTRY(node, struct peer_link, node));
    io_loop_timer_stop(self->loop, &self->tick_timer);
    io_loop_timer_stop(self->loop, &self->sweep_timer);
    rpc_pool_free(self->pool);
}
