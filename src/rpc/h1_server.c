/* HTTP/1.1 on the server: one request after the other (RFC 9112).
 *
 *     IDLE ──first byte──> HEAD ──whole──> BODY ──whole──> ANSWER ──over──> IDLE
 *                            └─ 400 408 414 431 501: answered, closed      └─ or closed
 *
 * A request is looked at only after the one before it was answered in full; what arrives
 * meanwhile is kept, up to pipeline_bytes_max, then the socket is left unread. The parser pauses
 * at the end of each message, so that no two requests are ever in it.
 * An Upgrade is not taken: the request is served as it stands (RFC 9110, 7.8). */
#include "rpc/conn_internal.h"
#include "rpc/h1_head.h"

#include "base/check.h"

#include <stdio.h>
#include <strings.h>

struct h1_server {
    struct rpc_conn *conn;
    llhttp_t parser;
    struct h1_head head;
    struct http_exchange *exchange; /* NULL: IDLE or HEAD */
    struct buf kept;                /* input that waits for the answer */
    uint64_t head_since_ms;         /* 0: no byte of a head yet */
    uint64_t idle_since_ms;
    unsigned refuse; /* status that a broken request earned */
    bool parsing;
    bool whole; /* the parser has paused behind a whole message */
};

/* ---- parser callbacks ------------------------------------------------------------------- */

static int on_message_begin(llhttp_t *parser)
{
    struct h1_server *self = parser->data;
    h1_head_clear(&self->head);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_server *self = parser->data;
    return h1_head_target(&self->head, bytes_of(at, len));
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_server *self = parser->data;
    return h1_head_name(&self->head, bytes_of(at, len));
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_server *self = parser->data;
    return h1_head_value(&self->head, bytes_of(at, len));
}

static int refuse(struct h1_server *self, unsigned status)
{
    self->refuse = status;
    return HPE_USER;
}

static bool token_equal(struct bytes value, const char *token)
{
    return value.len == strlen(token) &&
           strncasecmp((const char *)value.data, token, value.len) == 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct h1_server *self = parser->data;
    struct rpc_conn *conn = self->conn;
    struct h1_head *head = &self->head;
    self->head_since_ms = 0;
    parser->upgrade = 0;
    if (parser->http_major != 1 || parser->http_minor > 1)
        return refuse(self, 505);
    if (parser->method == HTTP_CONNECT || parser->method == HTTP_PRI)
        return refuse(self, 501);
    struct bytes host = h1_head_get(head, "host");
    if (parser->http_minor == 1 && !host.data)
        return refuse(self, 400);
    struct bytes expect = h1_head_get(head, "expect");
    if (expect.data && !token_equal(expect, "100-continue"))
        return refuse(self, 417);

    struct http_exchange *exchange = self->exchange = exchange_new(conn, 1);
    struct http_header *headers = pool_alloc(conn->pool, (head->count + 1) * sizeof(*headers));
    h1_head_list(head, headers);
    exchange_set_head(exchange, bytes_str(llhttp_method_name((llhttp_method_t)parser->method)),
                      bytes_of(head->text.data, head->target_len), host, headers, head->count);
    pool_release(conn->pool, headers);
    h1_head_clear(head);
    exchange->http10 = parser->http_minor == 0;
    exchange->close_after = !llhttp_should_keep_alive(parser) || conn->shutdown;
    exchange->has_body = (parser->flags & F_CHUNKED) ||
                         ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > 0);
    if (!conn->handler->http_begin && !conn->handler->http_request) {
        exchange_refuse(exchange, 404);
        return 0;
    }
    exchange_begin(exchange);
    if ((parser->flags & F_CONTENT_LENGTH) && !exchange->stream_body &&
        parser->content_length > conn->pool->limits.body_bytes_max)
        exchange_refuse(exchange, 413);
    if (expect.data && exchange->has_body && !exchange->responding && !exchange->over) {
        out_put(&conn->out, BYTES_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
        conn_touch(conn);
    }
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct h1_server *self = parser->data;
    exchange_body(self->exchange, bytes_of(at, len));
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct h1_server *self = parser->data;
    self->whole = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- life ------------------------------------------------------------------------------- */

void h1_server_new(struct rpc_conn *conn)
{
    struct h1_server *self = POOL_NEW(conn->pool, struct h1_server);
    conn->h1 = self;
    self->conn = conn;
    self->idle_since_ms = pool_now_ms(conn->pool);
    llhttp_init(&self->parser, HTTP_REQUEST, &settings);
    self->parser.data = self;
    h1_head_init(&self->head, conn->pool);
    buf_init(&self->kept, 0);
}

void h1_server_free(struct h1_server *self)
{
    if (self->exchange) {
        exchange_gone(self->exchange);
        exchange_close(self->exchange);
    }
    h1_head_clear(&self->head);
    buf_done(&self->kept);
    pool_release(self->conn->pool, self);
}

/* ---- reading ---------------------------------------------------------------------------- */

/* Answers a request that never became an exchange, and closes. */
static void answer_error(struct h1_server *self, unsigned status)
{
    char page[256];
    const char *text = http_status_text(status);
    char body[64];
    int body_len = snprintf(body, sizeof(body), "%u %s", status, text);
    int n = snprintf(page, sizeof(page),
                     "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                     status, text, body_len, body);
    out_put(&self->conn->out, bytes_of(page, (size_t)n));
    conn_close_soon(self->conn);
}

/* The parser refused: whoever is being served ends, the client hears why where that is possible. */
static void fail(struct h1_server *self, unsigned status)
{
    struct http_exchange *exchange = self->exchange;
    if (!exchange) {
        answer_error(self, status);
        return;
    }
    if (exchange->over) {
        /* Its answer is on the way; nothing behind it can be understood. */
        conn_close_soon(self->conn);
        return;
    }
    bool heard = exchange->responding;
    exchange_gone(exchange);
    if (heard)
        conn_close_soon(self->conn);
    else
        answer_error(self, status);
}

/* Ends an exchange that is over and whose request is whole. */
static void settle(struct h1_server *self)
{
    struct http_exchange *exchange = self->exchange;
    if (!exchange || !exchange->over)
        return;
    bool torn = exchange->has_body || !self->whole;
    if (exchange->close_after || torn || !exchange->complete)
        conn_close_soon(self->conn);
    self->exchange = NULL;
    self->idle_since_ms = pool_now_ms(self->conn->pool);
    exchange_close(exchange);
}

/* The next request waits until the client has taken most of the answers before it. */
static bool unread_wait(const struct h1_server *self)
{
    const struct rpc_conn *conn = self->conn;
    return !self->exchange && conn->out.bytes >= conn->pool->limits.call_unsent_bytes_max;
}

/* Parses until the input ends, a request waits for its answer or for room, or nothing more can be
 * read. Returns what is left. */
static struct bytes parse(struct h1_server *self, struct bytes in)
{
    struct rpc_conn *conn = self->conn;
    while (in.len > 0 && !conn->closing && !unread_wait(self) &&
           !(self->exchange && (self->whole || self->exchange->paused))) {
        if (self->whole) {
            self->whole = false;
            llhttp_resume(&self->parser);
        }
        if (!self->exchange && !self->head_since_ms)
            self->head_since_ms = pool_now_ms(conn->pool);
        enum llhttp_errno e = llhttp_execute(&self->parser, (const char *)in.data, in.len);
        size_t used = e == HPE_OK
                          ? in.len
                          : (size_t)(llhttp_get_error_pos(&self->parser) - (const char *)in.data);
        if (e == HPE_PAUSED && self->whole) {
            in = bytes_skip(in, used);
            exchange_body_end(self->exchange);
        } else if (e != HPE_OK) {
            unsigned status = self->refuse ? self->refuse : self->head.refuse;
            in = BYTES_NONE;
            fail(self, status ? status : 400);
        } else {
            in = BYTES_NONE;
        }
        settle(self);
    }
    return in;
}

/* Runs the parser over kept input and new, and keeps what it leaves. */
static void run(struct h1_server *self, struct bytes in)
{
    if (self->parsing)
        return;
    self->parsing = true;
    if (self->kept.len > 0) {
        struct buf kept = self->kept;
        buf_init(&self->kept, 0);
        CHECK(err_ok(buf_append(&kept, in)));
        struct bytes left = parse(self, buf_bytes(&kept));
        CHECK(err_ok(buf_append(&self->kept, left)));
        buf_done(&kept);
    } else {
        struct bytes left = parse(self, in);
        CHECK(err_ok(buf_append(&self->kept, left)));
    }
    if (self->conn->closing)
        buf_done(&self->kept);
    self->parsing = false;
}

void h1_server_read(struct h1_server *self, struct bytes in)
{
    if (self->exchange && !self->whole)
        self->idle_since_ms = pool_now_ms(self->conn->pool);
    settle(self);
    run(self, in);
}

void h1_server_resume(struct h1_server *self)
{
    /* From inside a handler that parse called: its loop goes on by itself. */
    if (self->kept.len > 0)
        run(self, BYTES_NONE);
}

void h1_server_read_end(struct h1_server *self)
{
    struct http_exchange *exchange = self->exchange;
    if (exchange && self->whole &&
        (!exchange->responding || exchange->length != HTTP_LENGTH_UNKNOWN)) {
        exchange->close_after = true;
        return;
    }
    if (exchange && !exchange->over)
        exchange_gone(exchange);
    conn_close_soon(self->conn);
    settle(self);
}

bool h1_server_wants_read(const struct h1_server *self)
{
    if (self->exchange && self->exchange->paused)
        return false;
    return self->kept.len < self->conn->pool->limits.pipeline_bytes_max;
}

void h1_server_deliver(struct h1_server *self)
{
    struct rpc_conn *conn = self->conn;
    settle(self);
    if (!self->exchange && self->kept.len > 0 && !conn->closing)
        run(self, BYTES_NONE);
    struct http_exchange *exchange = self->exchange;
    if (exchange && exchange->blocked &&
        conn->out.bytes <= conn->pool->limits.call_unsent_bytes_max / 2) {
        exchange->blocked = false;
        if (!exchange->over && conn->handler->http_writable)
            conn->handler->http_writable(conn->ctx, exchange);
        settle(self);
    }
}

void h1_server_shutdown(struct h1_server *self)
{
    if (self->exchange)
        self->exchange->close_after = true;
    else
        conn_close_soon(self->conn);
}

/* ---- time ------------------------------------------------------------------------------- */

uint64_t h1_server_due_ms(const struct h1_server *self)
{
    const struct rpc_limits *limits = &self->conn->pool->limits;
    const struct http_exchange *exchange = self->exchange;
    if (self->head_since_ms)
        return self->head_since_ms + limits->header_timeout_ms;
    if (!exchange)
        return limits->idle_timeout_ms ? self->idle_since_ms + limits->idle_timeout_ms : UINT64_MAX;
    if (!self->whole && !exchange->stream_body && !exchange->over)
        return self->idle_since_ms + limits->body_timeout_ms;
    return UINT64_MAX;
}

void h1_server_tick(struct h1_server *self, uint64_t now_ms)
{
    if (now_ms < h1_server_due_ms(self))
        return;
    if (self->head_since_ms)
        fail(self, 408);
    else if (!self->exchange)
        conn_close_soon(self->conn);
    else
        fail(self, 408);
    settle(self);
}

/* ---- answering -------------------------------------------------------------------------- */

void h1_response_begin(struct http_exchange *exchange, unsigned status,
                       const struct http_header *headers, size_t header_count)
{
    struct rpc_conn *conn = exchange->conn;
    struct out *out = &conn->out;
    char line[128];
    int n = snprintf(line, sizeof(line), "HTTP/1.1 %u %s\r\n", status, http_status_text(status));
    out_put(out, bytes_of(line, (size_t)n));
    for (size_t i = 0; i < header_count; i++) {
        out_put(out, headers[i].name);
        out_put(out, BYTES_LIT(": "));
        out_put(out, headers[i].value);
        out_put(out, BYTES_LIT("\r\n"));
    }
    /* A body that nobody reads would be taken for the next request. */
    exchange->close_after |= exchange->has_body || conn->shutdown || conn->read_end;
    if (status == 204 || status == 304) {
        n = 0;
    } else if (exchange->length != HTTP_LENGTH_UNKNOWN) {
        n = snprintf(line, sizeof(line), "Content-Length: %llu\r\n",
                     (unsigned long long)exchange->length);
    } else if (exchange->http10) {
        exchange->close_after = true;
        n = 0;
    } else {
        exchange->chunked = true;
        n = snprintf(line, sizeof(line), "Transfer-Encoding: chunked\r\n");
    }
    out_put(out, bytes_of(line, (size_t)n));
    if (exchange->close_after)
        out_put(out, BYTES_LIT("Connection: close\r\n"));
    else if (exchange->http10)
        out_put(out, BYTES_LIT("Connection: keep-alive\r\n"));
    out_put(out, BYTES_LIT("\r\n"));
}

void h1_response_body(struct http_exchange *exchange, struct bytes piece)
{
    struct out *out = &exchange->conn->out;
    if (exchange->chunked)
        h1_put_chunk_head(out, piece.len);
    out_put(out, piece);
    if (exchange->chunked)
        out_put(out, BYTES_LIT("\r\n"));
}

void h1_response_body_promise(struct http_exchange *exchange, const struct rpc_promise *promise)
{
    struct out *out = &exchange->conn->out;
    struct out_promise *run_of = out_promise_new(out->pool, promise);
    if (exchange->chunked)
        h1_put_chunk_head(out, promise->len);
    out_put_promise(out, run_of, promise->len);
    out_promise_unref(out->pool, run_of);
    if (exchange->chunked)
        out_put(out, BYTES_LIT("\r\n"));
}

void h1_response_end(struct http_exchange *exchange)
{
    if (exchange->chunked && !exchange->no_body)
        out_put(&exchange->conn->out, BYTES_LIT("0\r\n\r\n"));
    exchange->complete = true;
}

void h1_exchange_abort(struct http_exchange *exchange)
{
    conn_close_soon(exchange->conn);
}
