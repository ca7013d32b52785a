#include "client/link.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 10000
#define AFTER_UP_MS    25
#define OUTPUT_IOVS    64

/* ---- going down ------------------------------------------------------------------------- */

static const char *reason_text(err e)
{
    switch (e.code) {
    case ERR_REFUSED_:
        return "connect: connection refused";
    case ERR_UNREACHABLE_:
        return "connect: no route to host";
    case ERR_TIMED_OUT_:
        return "i/o timeout";
    case ERR_NOT_FOUND_:
        return "connect: no such file or directory";
    case ERR_AGAIN_:
        return "server misbehaving";
    default:
        return err_text(e);
    }
}

static void failure_note(struct link *self, err e)
{
    const struct endpoint *at = &self->endpoint;
    char text[IO_ADDRESS_TEXT_BYTES_MAX] = "";
    unsigned tried = self->address_next;
    self->failed = e;
    if (self->state == LINK_LOOKUP) {
        (void)snprintf(self->failure, sizeof(self->failure), "dial tcp: lookup %.120s: %s",
                       at->host, err_is(e, ERR_NOT_FOUND) ? "no such host" : reason_text(e));
        return;
    }
    if (self->state != LINK_CONNECTING) {
        (void)snprintf(self->failure, sizeof(self->failure), "%s",
                       err_is(e, ERR_CLOSED) ? "EOF" : reason_text(e));
        return;
    }
    if (tried > 0)
        io_address_text(&self->addresses[tried - 1], text);
    (void)snprintf(self->failure, sizeof(self->failure), "dial %s %s: %s",
                   at->unix_socket ? "unix" : "tcp", text, reason_text(e));
}

static void lookup_leave(struct link *self)
{
    if (self->lookup)
        self->lookup->link = NULL;
    self->lookup = NULL;
}

static void disconnect(struct link *self)
{
    lookup_leave(self);
    self->state = LINK_IDLE;
    struct rpc_client *rpc = TAKE(self->rpc);
    rpc_client_free(rpc);
    io_socket_close(&self->socket);
    hub_touch(self->hub);
}

/* The attempt or connection has failed: the endpoint is left alone for a while, longer each time
 * that it never came up. */
static void fail(struct link *self, err e)
{
    bool was_up = self->state >= LINK_UP;
    failure_note(self, e);
    self->backoff_ms = was_up || self->backoff_ms == 0 ? BACKOFF_MS_MIN : self->backoff_ms * 8 / 5;
    if (self->backoff_ms > BACKOFF_MS_MAX)
        self->backoff_ms = BACKOFF_MS_MAX;
    self->not_before_ms =
        io_loop_now_ms(self->hub->loop) + (was_up ? AFTER_UP_MS : self->backoff_ms);
    disconnect(self);
}

/* ---- rpc's events ----------------------------------------------------------------------- */

static void on_active(void *ctx, struct rpc_client *client)
{
    struct link *self = ctx;
    hub_touch(self->hub);
}

static void come_up(struct link *self)
{
    self->state = LINK_UP;
    self->backoff_ms = 0;
    self->failure[0] = 0;
    hub_touch(self->hub);
}

static void on_ready(void *ctx, struct rpc_client *client)
{
    come_up(ctx);
}

static void on_going_away(void *ctx, struct rpc_client *client)
{
    struct link *self = ctx;
    self->state = LINK_LEAVING;
    hub_touch(self->hub);
}

static const struct rpc_client_handler handler = {
    .active = on_active, .ready = on_ready, .going_away = on_going_away};

/* ---- connecting ------------------------------------------------------------------------- */

static void connect_next(struct link *self)
{
    err e = ERR_UNREACHABLE;
    self->state = LINK_CONNECTING;
    while (self->address_next < self->address_count) {
        struct io_address *address = &self->addresses[self->address_next++];
        self->socket.owner = self;
        e = io_socket_connect(&self->socket, self->hub->loop, address, self->dial_deadline_ms,
                              &self->hub->ready);
        if (err_ok(e))
            return;
    }
    fail(self, e);
}

static void on_lookup(struct io_lookup *lookup)
{
    struct link_lookup *box = lookup->ctx;
    struct link *self = box->link;
    list_remove(&box->node);
    if (self) {
        self->lookup = NULL;
        if (err_ok(lookup->result)) {
            memcpy(self->addresses, lookup->addresses, sizeof(self->addresses));
            self->address_count = lookup->count;
            connect_next(self);
        } else {
            fail(self, lookup->result);
        }
    }
    free(box);
}

static void lookup_start(struct link *self)
{
    struct io_workers *workers;
    self->state = LINK_LOOKUP;
    struct link_lookup *box = calloc(1, sizeof(*box));
    CHECK(box);
    box->link = self;
    list_init(&box->node);
    err e = hub_workers(self->hub, &workers);
    if (err_ok(e))
        e = io_lookup_start(&box->lookup, workers, self->hub->loop, self->endpoint.host,
                            self->endpoint.port, on_lookup, box);
    if (!err_ok(e)) {
        free(box);
        fail(self, e);
        return;
    }
    list_push(&self->hub->lookups, &box->node);
    self->lookup = box;
}

void link_connect(struct link *self)
{
    CHECK(self->state == LINK_IDLE && !self->bad);
    self->dial_deadline_ms = io_loop_now_ms(self->hub->loop) + self->config->dial_timeout_ms;
    self->address_next = 0;
    self->address_count = 1;
    if (self->endpoint.unix_socket) {
        self->state = LINK_CONNECTING;
        err e = io_address_unix(self->endpoint.host, &self->addresses[0]);
        if (!err_ok(e))
            fail(self, e);
        else
            connect_next(self);
        return;
    }
    if (err_ok(io_address_parse(self->endpoint.host, self->endpoint.port, &self->addresses[0])))
        connect_next(self);
    else
        lookup_start(self);
}

static void greet(struct link *self)
{
    const struct rpc_client_config config = {
        .protocol = self->config->protocol,
        .authority = bytes_str(self->endpoint.authority),
        .user_agent = self->config->user_agent,
        .ping_interval_ms = self->config->ping_interval_ms,
        .ping_timeout_ms = self->config->ping_timeout_ms,
    };
    self->rpc = rpc_client_new(self->hub->pool, &config, &handler, self);
    self->state = LINK_GREETING;
    if (self->config->protocol == RPC_CLIENT_HTTP1)
        come_up(self);
    hub_touch(self->hub);
}

void link_check_deadline(struct link *self, uint64_t now_ms)
{
    if (!link_dialing(self))
        return;
    if (now_ms >= self->dial_deadline_ms)
        fail(self, ERR_TIMED_OUT);
    else
        hub_wake_at(self->hub, self->dial_deadline_ms);
}

/* ---- bytes ------------------------------------------------------------------------------ */

static bool read_some(struct link *self)
{
    uint8_t in[IO_READ_BYTES_MAX];
    size_t len = 0;
    err e = io_socket_read(&self->socket, in, sizeof(in), &len);
    uint64_t now_ms = io_loop_now_ms(self->hub->loop);
    if (err_is(e, ERR_AGAIN))
        return false;
    if (err_ok(e)) {
        rpc_client_read(self->rpc, bytes_of(in, len), now_ms);
    } else {
        rpc_client_read_end(self->rpc, now_ms);
        fail(self, e);
        return false;
    }
    return len == sizeof(in);
}

bool link_ready(struct link *self)
{
    struct io_socket *socket = &self->socket;
    if (socket->ready & IO_READY_FAILED) {
        err e = socket->error;
        io_socket_close(socket);
        if (self->address_next < self->address_count && !err_is(e, ERR_TIMED_OUT))
            connect_next(self);
        else
            fail(self, e);
        return false;
    }
    if (socket->ready & IO_READY_CONNECTED) {
        socket->ready &= ~(unsigned)IO_READY_CONNECTED;
        greet(self);
    }
    if (self->rpc && (socket->ready & IO_READY_READ))
        return read_some(self);
    return false;
}

void link_flush(struct link *self)
{
    struct iovec iov[OUTPUT_IOVS];
    unsigned count;
    if (!self->rpc)
        return;
    for (;;) {
        size_t len = rpc_client_output(self->rpc, iov, OUTPUT_IOVS, &count), sent = 0;
        if (len == 0)
            break;
        err e = io_socket_write(&self->socket, iov, count, &sent);
        rpc_client_wrote(self->rpc, sent);
        if (!err_ok(e) && !err_is(e, ERR_AGAIN)) {
            fail(self, e);
            return;
        }
        if (sent < len)
            return;
    }
    if (rpc_client_finished(self->rpc)) {
        if (self->state == LINK_LEAVING)
            disconnect(self);
        else
            fail(self, ERR_CLOSED);
    }
}

/* ---- birth and death -------------------------------------------------------------------- */

void link_init(struct link *self, struct hub *hub, const struct link_config *config,
               struct endpoint *endpoint, bool bad)
{
    *self = (struct link){.hub = hub, .config = config, .endpoint = *endpoint, .bad = bad};
    endpoint->text = NULL;
    self->socket.fd = -1;
    if (bad)
        (void)snprintf(self->failure, sizeof(self->failure),
                       "dial tcp: address %.200s: bad address", self->endpoint.text);
    list_push(&hub->links, &self->hub_node);
}

void link_done(struct link *self)
{
    disconnect(self);
    list_remove(&self->hub_node);
    endpoint_done(&self->endpoint);
}
