#include "rpc/client_internal.h"

#include "base/check.h"

static void timer_fire(struct wheel_timer *timer);

static struct bytes keep(struct rpc_pool *pool, struct bytes what)
{
    uint8_t *copy = pool_alloc(pool, what.len);
    if (what.len)
        memcpy(copy, what.data, what.len);
    return bytes_of(copy, what.len);
}

struct rpc_client *rpc_client_new(struct rpc_pool *pool, const struct rpc_client_config *config,
                                  const struct rpc_client_handler *handler, void *ctx)
{
    struct rpc_client *self = POOL_NEW(pool, struct rpc_client);
    self->handler = handler;
    self->ctx = ctx;
    self->protocol = config->protocol;
    self->tls = config->tls;
    self->authority = keep(pool, config->authority);
    self->user_agent = keep(pool, config->user_agent);
    self->ping_interval_ms = config->ping_interval_ms;
    self->ping_timeout_ms = config->ping_timeout_ms;
    self->read_timeout_ms = config->read_timeout_ms;
    self->last_read_ms = pool_now_ms(pool);
    out_init(&self->out, pool);
    h2_link_init(&self->link, pool, &self->out, NULL);
    wheel_timer_init(&self->timer, timer_fire);
    pool->connection_count++;
    if (self->protocol == RPC_CLIENT_HTTP2)
        h2_client_new(self);
    else
        h1_client_new(self);
    return self;
}

void rpc_client_free(struct rpc_client *self)
{
    if (!self)
        return;
    CHECK(!self->busy);
    struct rpc_pool *pool = self->link.pool;
    self->failed = true;
    self->active = true;
    if (self->protocol == RPC_CLIENT_HTTP2)
        h2_client_free(self);
    else
        h1_client_free(self);
    CHECK(self->open_count == 0);
    wheel_clear(&pool->wheel, &self->timer);
    out_done(&self->out);
    pool_release(pool, (void *)(uintptr_t)self->authority.data);
    pool_release(pool, (void *)(uintptr_t)self->user_agent.data);
    pool->connection_count--;
    pool_release(pool, self);
}

void *rpc_client_ctx(const struct rpc_client *self)
{
    return self->ctx;
}

void client_touch(struct rpc_client *self)
{
    if (self->active)
        return;
    self->active = true;
    if (self->handler->active)
        self->handler->active(self->ctx, self);
}

/* ---- time ------------------------------------------------------------------------------- */

void client_timer_by(struct rpc_client *self, uint64_t due_ms)
{
    if (due_ms == UINT64_MAX)
        return;
    if (wheel_timer_armed(&self->timer) && self->timer.due_ms <= due_ms)
        return;
    wheel_set(&self->link.pool->wheel, &self->timer, due_ms);
}

static uint64_t due_ms(const struct rpc_client *self)
{
    if (self->open_count == 0 || self->failed)
        return UINT64_MAX;
    if (self->protocol == RPC_CLIENT_HTTP1)
        return self->read_timeout_ms ? self->last_read_ms + self->read_timeout_ms : UINT64_MAX;
    if (self->ping_sent_ms)
        return self->ping_sent_ms + self->ping_timeout_ms;
    return self->ping_interval_ms ? self->last_read_ms + self->ping_interval_ms : UINT64_MAX;
}

static void timer_fire(struct wheel_timer *timer)
{
    struct rpc_client *self = LIST_ENTRY(timer, struct rpc_client, timer);
    uint64_t now_ms = pool_now_ms(self->link.pool);
    if (now_ms >= due_ms(self)) {
        if (self->protocol == RPC_CLIENT_HTTP1) {
            h1_client_cut(self, ERR_TIMED_OUT);
        } else if (self->ping_sent_ms) {
            self->failed = true;
            h2_client_cut(self);
        } else {
            self->ping_sent_ms = now_ms;
            if (nghttp2_submit_ping(self->link.session, NGHTTP2_FLAG_NONE, NULL) != 0)
                self->link.failed = true;
        }
        client_touch(self);
    }
    client_timer_by(self, due_ms(self));
}

/* ---- bytes ------------------------------------------------------------------------------ */

void rpc_client_read(struct rpc_client *self, struct bytes in, uint64_t now_ms)
{
    pool_set_now(self->link.pool, now_ms);
    if (self->failed || in.len == 0)
        return;
    CHECK(!self->busy);
    self->busy = true;
    self->last_read_ms = pool_now_ms(self->link.pool);
    self->ping_sent_ms = 0;
    if (self->protocol == RPC_CLIENT_HTTP2) {
        h2_client_read(self, in);
        h2_client_deliver(self);
    } else {
        h1_client_read(self, in);
    }
    self->busy = false;
    if (rpc_client_wants_write(self) || rpc_client_finished(self))
        client_touch(self);
}

void rpc_client_read_end(struct rpc_client *self, uint64_t now_ms)
{
    pool_set_now(self->link.pool, now_ms);
    if (self->failed)
        return;
    self->busy = true;
    if (self->protocol == RPC_CLIENT_HTTP2) {
        self->failed = true;
        h2_client_cut(self);
        h2_client_deliver(self);
    } else {
        h1_client_read_end(self);
    }
    self->busy = false;
    client_touch(self);
}

size_t rpc_client_output(struct rpc_client *self, struct iovec *iov, unsigned iov_max,
                         unsigned *ret_iov_count)
{
    *ret_iov_count = 0;
    CHECK(!self->busy);
    self->busy = true;
    if (self->protocol == RPC_CLIENT_HTTP2) {
        h2_client_deliver(self);
        h2_link_pump(&self->link);
        if (self->link.failed && !self->failed) {
            self->failed = true;
            h2_client_cut(self);
        }
        h2_client_deliver(self);
    } else {
        h1_client_deliver(self);
    }
    size_t n = self->failed ? 0 : out_show(&self->out, iov, iov_max, ret_iov_count);
    if (self->out.broken) {
        self->failed = true;
        *ret_iov_count = 0;
        n = 0;
    }
    self->busy = false;
    if (n == 0) {
        /* What handlers have caused meanwhile is said anew. */
        self->active = false;
        if (rpc_client_wants_write(self))
            client_touch(self);
    }
    return n;
}

void rpc_client_wrote(struct rpc_client *self, size_t n)
{
    CHECK(!self->busy);
    self->busy = true;
    out_wrote(&self->out, n);
    if (self->protocol == RPC_CLIENT_HTTP1)
        h1_client_deliver(self);
    self->busy = false;
    if (!rpc_client_wants_write(self) && !rpc_client_finished(self))
        self->active = false;
}

bool rpc_client_wants_write(const struct rpc_client *self)
{
    if (!list_empty(&self->link.work))
        return true;
    if (self->failed)
        return false;
    if (self->out.bytes > 0)
        return true;
    return self->protocol == RPC_CLIENT_HTTP2 && nghttp2_session_want_write(self->link.session);
}

bool rpc_client_finished(const struct rpc_client *self)
{
    if (rpc_client_wants_write(self))
        return false;
    if (self->failed || self->closing)
        return true;
    return self->protocol == RPC_CLIENT_HTTP2 && (!nghttp2_session_want_read(self->link.session) ||
                                                  (self->going_away && self->open_count == 0));
}

bool rpc_client_usable(const struct rpc_client *self)
{
    if (self->failed || self->closing || self->going_away || self->link.failed)
        return false;
    if (self->protocol == RPC_CLIENT_HTTP1)
        return h1_client_idle(self);
    return nghttp2_session_check_request_allowed(self->link.session);
}

unsigned rpc_client_open_count(const struct rpc_client *self)
{
    return self->open_count;
}
