#include "rpc/conn_internal.h"

#include "base/check.h"

static const uint8_t preface[H2_PREFACE_BYTES + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* A peer that has been told to go and does not take the message is cut off after it. */
#define CLOSING_TIMEOUT_MS 5000

static void timer_fire(struct wheel_timer *timer);

struct rpc_conn *rpc_conn_new(struct rpc_pool *pool, enum rpc_transport transport,
                              const struct rpc_handler *handler, void *ctx)
{
    struct rpc_conn *self = POOL_NEW(pool, struct rpc_conn);
    self->pool = pool;
    self->handler = handler;
    self->ctx = ctx;
    self->transport = transport;
    self->born_ms = self->last_read_ms = pool_now_ms(pool);
    out_init(&self->out, pool);
    wheel_timer_init(&self->timer, timer_fire);
    conn_timer_by(self, self->born_ms + pool->limits.preface_timeout_ms);
    pool->connection_count++;
    return self;
}

void rpc_conn_free(struct rpc_conn *self)
{
    if (!self)
        return;
    CHECK(!self->busy);
    self->closing = self->failed = true;
    self->active = true; /* nobody wants to hear of it any more */
    if (self->h2)
        h2_server_free(self->h2);
    if (self->h1)
        h1_server_free(self->h1);
    CHECK(self->open_count == 0);
    wheel_clear(&self->pool->wheel, &self->timer);
    out_done(&self->out);
    self->pool->connection_count--;
    pool_release(self->pool, self);
}

void *rpc_conn_ctx(const struct rpc_conn *self)
{
    return self->ctx;
}

void conn_touch(struct rpc_conn *self)
{
    if (self->active)
        return;
    self->active = true;
    if (self->handler->conn_active)
        self->handler->conn_active(self->ctx, self);
}

void conn_close_soon(struct rpc_conn *self)
{
    if (!self->closing) {
        self->closing = true;
        self->closing_since_ms = pool_now_ms(self->pool);
        conn_timer_by(self, self->closing_since_ms + CLOSING_TIMEOUT_MS);
    }
    conn_touch(self);
}

/* ---- time ------------------------------------------------------------------------------- */

void conn_timer_by(struct rpc_conn *self, uint64_t due_ms)
{
    if (due_ms == UINT64_MAX)
        return;
    if (wheel_timer_armed(&self->timer) && self->timer.due_ms <= due_ms)
        return;
    wheel_set(&self->pool->wheel, &self->timer, due_ms);
}

static uint64_t due_ms(const struct rpc_conn *self)
{
    if (self->closing)
        return self->closing_since_ms + CLOSING_TIMEOUT_MS;
    switch (self->protocol) {
    case CONN_HTTP2:
        return h2_server_due_ms(self->h2);
    case CONN_HTTP1:
        return h1_server_due_ms(self->h1);
    case CONN_SNIFFING:
    default:
        return self->born_ms + self->pool->limits.preface_timeout_ms;
    }
}

static void timer_fire(struct wheel_timer *timer)
{
    struct rpc_conn *self = LIST_ENTRY(timer, struct rpc_conn, timer);
    uint64_t now_ms = pool_now_ms(self->pool);
    if (self->failed)
        return;
    if (self->closing || self->protocol == CONN_SNIFFING) {
        if (now_ms >= due_ms(self)) {
            self->failed = true;
            conn_touch(self);
            return;
        }
    } else if (self->protocol == CONN_HTTP2) {
        h2_server_tick(self->h2, now_ms);
    } else {
        h1_server_tick(self->h1, now_ms);
    }
    if (!self->failed)
        conn_timer_by(self, due_ms(self));
    if (rpc_conn_wants_write(self) || rpc_conn_finished(self))
        conn_touch(self);
}

/* ---- input ------------------------------------------------------------------------------ */

/* Looks for the preface. True: the protocol is known, what was kept has been fed. */
static bool sniff(struct rpc_conn *self, struct bytes *in)
{
    size_t n = H2_PREFACE_BYTES - self->sniffed;
    if (n > in->len)
        n = in->len;
    if (n)
        memcpy(self->sniff + self->sniffed, in->data, n);
    bool http2 =
        memcmp(self->sniff, preface, self->sniffed + n) == 0 || self->transport == RPC_TLS_HTTP2;
    if (http2 && self->sniffed + n < H2_PREFACE_BYTES && self->transport != RPC_TLS_HTTP2) {
        self->sniffed += (unsigned)n;
        return false;
    }
    struct bytes kept = bytes_of(self->sniff, self->sniffed);
    if (http2) {
        self->protocol = CONN_HTTP2;
        h2_server_new(self);
        if (kept.len)
            h2_server_read(self->h2, kept);
    } else {
        self->protocol = CONN_HTTP1;
        h1_server_new(self);
        if (kept.len)
            h1_server_read(self->h1, kept);
    }
    return true;
}

void rpc_conn_read(struct rpc_conn *self, struct bytes in, uint64_t now_ms)
{
    pool_set_now(self->pool, now_ms);
    self->last_read_ms = pool_now_ms(self->pool);
    if (self->closing || self->failed || in.len == 0)
        return;
    CHECK(!self->busy);
    self->busy = true;
    if (self->protocol != CONN_SNIFFING || sniff(self, &in)) {
        if (self->protocol == CONN_HTTP2) {
            h2_server_read(self->h2, in);
            h2_server_deliver(self->h2);
        } else {
            h1_server_read(self->h1, in);
        }
        conn_timer_by(self, due_ms(self));
    }
    self->busy = false;
    if (rpc_conn_wants_write(self) || rpc_conn_finished(self))
        conn_touch(self);
}

void rpc_conn_read_end(struct rpc_conn *self, uint64_t now_ms)
{
    pool_set_now(self->pool, now_ms);
    self->read_end = true;
    if (self->protocol == CONN_HTTP1 && !self->failed) {
        self->busy = true;
        h1_server_read_end(self->h1);
        self->busy = false;
    } else {
        self->failed = true;
    }
    conn_touch(self);
}

bool rpc_conn_wants_read(const struct rpc_conn *self)
{
    if (self->closing || self->failed || self->read_end)
        return false;
    switch (self->protocol) {
    case CONN_HTTP2:
        return h2_server_wants_read(self->h2);
    case CONN_HTTP1:
        return h1_server_wants_read(self->h1);
    case CONN_SNIFFING:
    default:
        return true;
    }
}

/* ---- output ----------------------------------------------------------------------------- */

size_t rpc_conn_output(struct rpc_conn *self, struct iovec *iov, unsigned iov_max,
                       unsigned *ret_iov_count)
{
    *ret_iov_count = 0;
    if (self->failed)
        return 0;
    CHECK(!self->busy);
    self->busy = true;
    if (self->protocol == CONN_HTTP2) {
        h2_server_deliver(self->h2);
        h2_link_pump(&self->h2->link);
        self->failed |= self->h2->link.failed;
        /* Streams whose last frame is now in the queue are closed. */
        h2_server_deliver(self->h2);
    } else if (self->protocol == CONN_HTTP1) {
        h1_server_deliver(self->h1);
    }
    size_t n = out_show(&self->out, iov, iov_max, ret_iov_count);
    if (self->out.broken) {
        self->failed = true;
        *ret_iov_count = 0;
        n = 0;
    }
    self->busy = false;
    if (n == 0) {
        /* What handlers have caused meanwhile is said anew. */
        self->active = false;
        if (rpc_conn_wants_write(self))
            conn_touch(self);
    }
    return n;
}

void rpc_conn_wrote(struct rpc_conn *self, size_t n)
{
    CHECK(!self->busy);
    self->busy = true;
    out_wrote(&self->out, n);
    if (n > 0)
        self->closing_since_ms = pool_now_ms(self->pool);
    if (self->protocol == CONN_HTTP1)
        h1_server_deliver(self->h1);
    self->busy = false;
    if (!rpc_conn_wants_write(self) && !rpc_conn_finished(self))
        self->active = false;
}

bool rpc_conn_wants_write(const struct rpc_conn *self)
{
    if (self->failed)
        return false;
    if (self->out.bytes > 0)
        return true;
    return self->protocol == CONN_HTTP2 && (!list_empty(&self->h2->link.work) ||
                                            nghttp2_session_want_write(self->h2->link.session));
}

bool rpc_conn_finished(const struct rpc_conn *self)
{
    if (self->failed)
        return true;
    if (rpc_conn_wants_write(self))
        return false;
    return self->closing || (self->protocol == CONN_HTTP2 && h2_server_finished(self->h2));
}

void rpc_conn_shutdown(struct rpc_conn *self)
{
    if (self->shutdown || self->failed)
        return;
    self->shutdown = true;
    if (self->protocol == CONN_HTTP2)
        h2_server_shutdown(self->h2);
    else if (self->protocol == CONN_HTTP1)
        h1_server_shutdown(self->h1);
    else
        conn_close_soon(self);
    conn_touch(self);
}

unsigned rpc_conn_open_count(const struct rpc_conn *self)
{
    return self->open_count;
}

size_t rpc_conn_unsent_bytes(const struct rpc_conn *self)
{
    return self->out.bytes + (self->h2 ? self->h2->link.unsent_bytes : 0);
}

bool rpc_conn_is_http2(const struct rpc_conn *self)
{
    return self->protocol == CONN_HTTP2;
}
