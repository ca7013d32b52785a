/* HTTP/1.1 requests on the client's side: one at a time on a connection (RFC 9112).
 *
 *     IDLE ─http_fetch_start─> SENDING and RECEIVING at once ─both whole─> IDLE, or the end
 *
 * `closed` is said in h1_client_deliver or at the end of a read, never from inside a function
 * that causes it. */
#include "rpc/client_internal.h"
#include "rpc/h1_head.h"

#include "base/check.h"

#include <stdio.h>

struct http_fetch {
    struct rpc_client *client;
    const struct http_fetch_handler *handler;
    void *ctx;
    struct wheel_timer deadline;
    struct buf body;             /* collected */
    uint64_t length, length_put; /* of the request's body */
    unsigned status;
    err result;
    bool chunked;
    bool head_request;
    bool sent;  /* the request is whole */
    bool whole; /* the response is */
    bool collect;
    bool over;
    bool blocked;
};

struct h1_client {
    struct rpc_client *client;
    llhttp_t parser;
    struct h1_head head;
    struct http_fetch *fetch; /* NULL: idle */
    bool keep_alive;          /* as the last whole response had it */
};

/* ---- ending ----------------------------------------------------------------------------- */

static void end(struct http_fetch *self, err result, bool keep)
{
    if (self->over)
        return;
    self->over = true;
    self->result = result;
    wheel_clear(&self->client->link.pool->wheel, &self->deadline);
    if (!keep)
        self->client->closing = self->client->failed = true;
    client_touch(self->client);
}

static void deadline_fire(struct wheel_timer *timer)
{
    end(LIST_ENTRY(timer, struct http_fetch, deadline), ERR_TIMED_OUT, false);
}

static void say_closed(struct h1_client *self)
{
    struct http_fetch *fetch = self->fetch;
    struct rpc_client *client = self->client;
    if (!fetch || !fetch->over)
        return;
    self->fetch = NULL;
    client->open_count--;
    wheel_clear(&client->link.pool->wheel, &fetch->deadline);
    if (err_ok(fetch->result) && fetch->collect && fetch->handler->body)
        fetch->handler->body(fetch->ctx, fetch, buf_bytes(&fetch->body));
    if (fetch->handler->closed)
        fetch->handler->closed(fetch->ctx, fetch, fetch->result);
    /* A new fetch may have begun in the event, with a head of its own to come. */
    if (!self->fetch)
        h1_head_clear(&self->head);
    buf_done(&fetch->body);
    pool_release(client->link.pool, fetch);
}

/* ---- parser callbacks ------------------------------------------------------------------- */

static int on_message_begin(llhttp_t *parser)
{
    struct h1_client *self = parser->data;
    h1_head_clear(&self->head);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_client *self = parser->data;
    return h1_head_name(&self->head, bytes_of(at, len));
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_client *self = parser->data;
    return h1_head_value(&self->head, bytes_of(at, len));
}

static int on_headers_complete(llhttp_t *parser)
{
    struct h1_client *self = parser->data;
    struct http_fetch *fetch = self->fetch;
    parser->upgrade = 0;
    if (!fetch || parser->status_code == 101)
        return HPE_USER;
    if (parser->status_code / 100 == 1)
        return 0;
    fetch->status = parser->status_code;
    if (fetch->handler->response)
        fetch->handler->response(fetch->ctx, fetch, fetch->status);
    return fetch->head_request ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_client *self = parser->data;
    struct http_fetch *fetch = self->fetch;
    if (!fetch || fetch->over)
        return 0;
    if (!fetch->collect) {
        if (fetch->handler->body)
            fetch->handler->body(fetch->ctx, fetch, bytes_of(at, len));
        return 0;
    }
    if (!err_ok(buf_append(&fetch->body, bytes_of(at, len)))) {
        end(fetch, ERR_LIMIT, false);
        return HPE_USER;
    }
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct h1_client *self = parser->data;
    if (self->fetch && parser->status_code / 100 != 1) {
        self->fetch->whole = true;
        self->keep_alive = llhttp_should_keep_alive(parser);
    }
    return 0;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- the connection --------------------------------------------------------------------- */

void h1_client_new(struct rpc_client *client)
{
    struct h1_client *self = POOL_NEW(client->link.pool, struct h1_client);
    client->h1 = self;
    self->client = client;
    llhttp_init(&self->parser, HTTP_RESPONSE, &settings);
    self->parser.data = self;
    h1_head_init(&self->head, client->link.pool);
}

void h1_client_cut(struct rpc_client *client, err why)
{
    struct http_fetch *fetch = client->h1->fetch;
    client->closing = client->failed = true;
    if (fetch)
        end(fetch, why, false);
    client_touch(client);
}

bool h1_client_idle(const struct rpc_client *client)
{
    return !client->h1->fetch;
}

/* The response is whole: the connection is kept where both sides can tell where it ended. */
static void settle(struct h1_client *self)
{
    struct http_fetch *fetch = self->fetch;
    if (fetch && fetch->whole && !fetch->over) {
        end(fetch, OK, true);
        if (!self->keep_alive || !fetch->sent)
            self->client->closing = true;
    }
    say_closed(self);
}

void h1_client_read(struct rpc_client *client, struct bytes in)
{
    struct h1_client *self = client->h1;
    if (!self->fetch) {
        /* An answer to nothing. */
        h1_client_cut(client, ERR_SYNTAX);
        return;
    }
    enum llhttp_errno e = llhttp_execute(&self->parser, (const char *)in.data, in.len);
    if (e != HPE_OK) {
        struct http_fetch *fetch = self->fetch;
        client->closing = true;
        if (fetch && !fetch->whole)
            end(fetch, self->head.refuse ? ERR_LIMIT : ERR_SYNTAX, false);
    }
    settle(self);
}

void h1_client_read_end(struct rpc_client *client)
{
    struct h1_client *self = client->h1;
    /* A body without a length ends with the connection. */
    if (self->fetch && self->fetch->status && llhttp_finish(&self->parser) != HPE_OK)
        end(self->fetch, ERR_CLOSED, false);
    client->closing = true;
    settle(self);
    h1_client_cut(client, ERR_CLOSED);
    say_closed(self);
}

void h1_client_deliver(struct rpc_client *client)
{
    struct h1_client *self = client->h1;
    struct http_fetch *fetch = self->fetch;
    if (fetch && !fetch->over && fetch->blocked &&
        client->out.bytes <= client->link.pool->limits.call_unsent_bytes_max / 2) {
        fetch->blocked = false;
        if (fetch->handler->writable)
            fetch->handler->writable(fetch->ctx, fetch);
    }
    say_closed(self);
}

void h1_client_free(struct rpc_client *client)
{
    struct h1_client *self = client->h1;
    h1_client_cut(client, ERR_CLOSED);
    say_closed(self);
    h1_head_clear(&self->head);
    pool_release(client->link.pool, self);
}

/* ---- the request ------------------------------------------------------------------------ */

static void put_head(struct rpc_client *client, const struct http_fetch_start *start,
                     struct http_fetch *fetch)
{
    struct out *out = &client->out;
    out_put(out, start->method);
    out_put(out, BYTES_LIT(" "));
    out_put(out, start->target);
    out_put(out, BYTES_LIT(" HTTP/1.1\r\nHost: "));
    out_put(out, client->authority);
    out_put(out, BYTES_LIT("\r\n"));
    if (client->user_agent.len) {
        out_put(out, BYTES_LIT("User-Agent: "));
        out_put(out, client->user_agent);
        out_put(out, BYTES_LIT("\r\n"));
    }
    for (size_t i = 0; i < start->header_count; i++) {
        out_put(out, start->headers[i].name);
        out_put(out, BYTES_LIT(": "));
        out_put(out, start->headers[i].value);
        out_put(out, BYTES_LIT("\r\n"));
    }
    bool get = bytes_equal(start->method, BYTES_LIT("GET")) || fetch->head_request;
    if (fetch->chunked) {
        out_put(out, BYTES_LIT("Transfer-Encoding: chunked\r\n"));
    } else if (fetch->length > 0 || !get) {
        char line[48];
        int n = snprintf(line, sizeof(line), "Content-Length: %llu\r\n",
                         (unsigned long long)fetch->length);
        out_put(out, bytes_of(line, (size_t)n));
    }
    out_put(out, BYTES_LIT("\r\n"));
}

err http_fetch_start(struct rpc_client *client, const struct http_fetch_start *start,
                     const struct http_fetch_handler *handler, void *ctx,
                     struct http_fetch **ret_fetch)
{
    struct rpc_pool *pool = client->link.pool;
    if (client->protocol != RPC_CLIENT_HTTP1 || !rpc_client_usable(client))
        return ERR_CLOSED;
    struct http_fetch *self = POOL_NEW(pool, struct http_fetch);
    self->client = client;
    self->handler = handler;
    self->ctx = ctx;
    self->collect = start->collect_bytes_max > 0;
    buf_init(&self->body, start->collect_bytes_max);
    self->length = start->body_length ? start->body_length : start->body.len;
    self->chunked = self->length == HTTP_LENGTH_UNKNOWN;
    self->head_request = bytes_equal(start->method, BYTES_LIT("HEAD"));
    wheel_timer_init(&self->deadline, deadline_fire);
    if (start->timeout_ms != UINT64_MAX)
        wheel_set(&pool->wheel, &self->deadline, pool_now_ms(pool) + start->timeout_ms);
    client->h1->fetch = self;
    client->open_count++;
    client->last_read_ms = pool_now_ms(pool);
    if (client->read_timeout_ms)
        client_timer_by(client, client->last_read_ms + client->read_timeout_ms);
    put_head(client, start, self);
    http_fetch_send(self, start->body);
    if (self->length_put == self->length)
        self->sent = true;
    client_touch(client);
    *ret_fetch = self;
    return OK;
}

/* Counts n more bytes of body; after the last one of a known length the request is whole. */
static void count_body(struct http_fetch *self, size_t n)
{
    self->length_put += n;
    CHECK(self->length_put <= self->length);
    if (self->length_put == self->length)
        self->sent = true;
    if (self->client->out.bytes >= self->client->link.pool->limits.call_unsent_bytes_max)
        self->blocked = true;
    client_touch(self->client);
}

void http_fetch_send(struct http_fetch *self, struct bytes piece)
{
    if (self->over || piece.len == 0)
        return;
    struct out *out = &self->client->out;
    if (self->chunked)
        h1_put_chunk_head(out, piece.len);
    out_put(out, piece);
    if (self->chunked)
        out_put(out, BYTES_LIT("\r\n"));
    count_body(self, piece.len);
}

void http_fetch_send_promise(struct http_fetch *self, const struct rpc_promise *promise)
{
    if (self->over || promise->len == 0) {
        promise->ops->release(promise->ctx);
        return;
    }
    struct out *out = &self->client->out;
    struct out_promise *run_of = out_promise_new(out->pool, promise);
    if (self->chunked)
        h1_put_chunk_head(out, promise->len);
    out_put_promise(out, run_of, promise->len);
    out_promise_unref(out->pool, run_of);
    if (self->chunked)
        out_put(out, BYTES_LIT("\r\n"));
    count_body(self, promise->len);
}

void http_fetch_send_end(struct http_fetch *self)
{
    if (self->over || self->sent)
        return;
    if (!self->chunked) {
        /* Fewer bytes than announced: only cutting tells the server. */
        http_fetch_abort(self);
        return;
    }
    self->sent = true;
    out_put(&self->client->out, BYTES_LIT("0\r\n\r\n"));
    client_touch(self->client);
}

void http_fetch_abort(struct http_fetch *self)
{
    end(self, ERR_CLOSED, false);
}

struct bytes http_fetch_header(const struct http_fetch *self, const char *name)
{
    return h1_head_get(&self->client->h1->head, name);
}

unsigned http_fetch_status(const struct http_fetch *self)
{
    return self->status;
}

size_t http_fetch_unsent_bytes(const struct http_fetch *self)
{
    return self->client->out.bytes;
}
