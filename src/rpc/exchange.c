/* Requests that are not gRPC, and their responses, over either version of HTTP.
 *
 *   head ─ exchange_begin ─> exchange_body… ─> exchange_body_end        from h1_server.c or below
 *   http_response_begin ─> _body… ─> _end ─> over ─> http_closed, freed
 *
 * An exchange of HTTP/2 is freed in exchange_deliver, after its stream closed; one of HTTP/1.1 by
 * h1_server.c, after it is over. */
#include "rpc/conn_internal.h"

#include "base/check.h"

#include <stdio.h>
#include <strings.h>

struct http_exchange *exchange_new(struct rpc_conn *conn, uint8_t version)
{
    struct http_exchange *self = POOL_NEW(conn->pool, struct http_exchange);
    self->kind = H2_EXCHANGE;
    self->conn = conn;
    self->version = version;
    self->length = HTTP_LENGTH_UNKNOWN;
    buf_init(&self->body, conn->pool->limits.body_bytes_max);
    conn->open_count++;
    return self;
}

static struct bytes keep(uint8_t **at, struct bytes what)
{
    uint8_t *to = *at;
    if (what.len)
        memcpy(to, what.data, what.len);
    *at += what.len;
    return bytes_of(to, what.len);
}

/* "http://host/path" -> "/path" */
static struct bytes origin_form(struct bytes target)
{
    struct bytes schemes[] = {BYTES_LIT("http://"), BYTES_LIT("https://")};
    for (unsigned i = 0; i < 2; i++) {
        if (!bytes_has_prefix(target, schemes[i]))
            continue;
        struct bytes rest = bytes_skip(target, schemes[i].len);
        const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
        return slash ? bytes_skip(rest, (size_t)(slash - rest.data)) : BYTES_LIT("/");
    }
    return target;
}

void exchange_set_head(struct http_exchange *self, struct bytes method, struct bytes target,
                       struct bytes host, const struct http_header *headers, size_t header_count)
{
    struct rpc_pool *pool = self->conn->pool;
    target = origin_form(target);
    size_t total = method.len + target.len + host.len;
    for (size_t i = 0; i < header_count; i++)
        total += headers[i].name.len + headers[i].value.len;
    uint8_t *at = self->header_bytes = pool_alloc(pool, total + 1);
    self->headers = pool_alloc(pool, (header_count + 1) * sizeof(*self->headers));
    self->header_count = header_count;
    self->method = keep(&at, method);
    self->target = keep(&at, target);
    self->host = keep(&at, host);
    for (size_t i = 0; i < header_count; i++) {
        struct bytes name = keep(&at, headers[i].name);
        uint8_t *lower = at - name.len;
        for (size_t j = 0; j < name.len; j++)
            lower[j] |= (lower[j] >= 'A' && lower[j] <= 'Z') ? 0x20 : 0;
        self->headers[i] = (struct http_header){name, keep(&at, headers[i].value)};
    }
    self->no_body = bytes_equal(method, BYTES_LIT("HEAD"));
}

void exchange_from_call(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;
    struct rpc_pool *pool = conn->pool;
    struct h2_link *link = call->stream.link;
    struct http_exchange *self = exchange_new(conn, 2);
    struct http_header *headers = pool_alloc(pool, (call->field_count + 1) * sizeof(*headers));
    size_t count = 0;
    for (unsigned i = 0; i < call->field_count; i++) {
        struct bytes name = rcbuf_bytes(call->fields[i].name);
        if (name.len && name.data[0] != ':')
            headers[count++] = (struct http_header){name, rcbuf_bytes(call->fields[i].value)};
    }
    exchange_set_head(self, rcbuf_bytes(call->head[HEAD_METHOD]),
                      rcbuf_bytes(call->head[HEAD_PATH]), rcbuf_bytes(call->head[HEAD_AUTHORITY]),
                      headers, count);
    pool_release(pool, headers);

    /* The stream moves over with what it has received in this pass. */
    h2_stream_init(&self->stream, link, call->stream.id);
    self->stream.remote_closed = call->stream.remote_closed;
    self->stream.inbox = call->stream.inbox;
    call->stream.inbox = (struct inbox){0};
    self->stream.head_bytes = call->stream.head_bytes;
    call->stream.head_bytes = 0;
    self->has_body = true;
    call_free(call);
    (void)nghttp2_session_set_stream_user_data(link->session, self->stream.id, &self->stream);
    if (!conn->handler->http_begin && !conn->handler->http_request)
        exchange_refuse(self, 404);
    else
        exchange_begin(self);
    exchange_deliver(self);
}

/* ---- what was asked --------------------------------------------------------------------- */

struct bytes http_exchange_method(const struct http_exchange *self)
{
    return self->method;
}

struct bytes http_exchange_target(const struct http_exchange *self)
{
    return self->target;
}

struct bytes http_exchange_host(const struct http_exchange *self)
{
    return self->host;
}

struct bytes http_exchange_header(const struct http_exchange *self, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < self->header_count; i++) {
        struct bytes here = self->headers[i].name;
        if (here.len == len && strncasecmp((const char *)here.data, name, len) == 0)
            return self->headers[i].value;
    }
    return BYTES_NONE;
}

const struct http_header *http_exchange_headers(const struct http_exchange *self, size_t *ret_count)
{
    *ret_count = self->header_count;
    return self->headers;
}

unsigned http_exchange_version(const struct http_exchange *self)
{
    return self->version;
}

struct rpc_conn *http_exchange_conn(const struct http_exchange *self)
{
    return self->conn;
}

void http_exchange_set_data(struct http_exchange *self, void *data)
{
    self->data = data;
}

void *http_exchange_data(const struct http_exchange *self)
{
    return self->data;
}

bool http_exchange_over(const struct http_exchange *self)
{
    return self->over;
}

void http_exchange_stream_body(struct http_exchange *self)
{
    self->stream_body = true;
}

void http_exchange_pause(struct http_exchange *self)
{
    self->paused = true;
}

void http_exchange_resume(struct http_exchange *self)
{
    if (!self->paused)
        return;
    self->paused = false;
    if (self->version == 2)
        h2_stream_work(&self->stream);
    else
        h1_server_resume(self->conn->h1);
    conn_touch(self->conn);
}

/* ---- the request arrives ---------------------------------------------------------------- */

void exchange_begin(struct http_exchange *self)
{
    struct rpc_conn *conn = self->conn;
    self->begun = true;
    if (conn->handler->http_begin)
        conn->handler->http_begin(conn->ctx, self);
}

void exchange_body(struct http_exchange *self, struct bytes piece)
{
    struct rpc_conn *conn = self->conn;
    if (self->over || !self->begun || piece.len == 0)
        return;
    if (self->stream_body) {
        if (conn->handler->http_body)
            conn->handler->http_body(conn->ctx, self, piece);
        return;
    }
    struct rpc_pool *pool = conn->pool;
    if (pool->bodies_bytes + piece.len > pool->limits.bodies_bytes_max)
        exchange_refuse(self, 503);
    else if (self->body.len + piece.len > pool->limits.body_bytes_max ||
             !err_ok(buf_append(&self->body, piece)))
        exchange_refuse(self, 413);
    else
        pool->bodies_bytes += piece.len;
}

static void body_done(struct http_exchange *self)
{
    self->conn->pool->bodies_bytes -= self->body.len;
    buf_done(&self->body);
}

void exchange_body_end(struct http_exchange *self)
{
    struct rpc_conn *conn = self->conn;
    self->has_body = false;
    if (self->over || !self->begun || self->request_told)
        return;
    self->request_told = true;
    if (self->stream_body) {
        if (conn->handler->http_body_end)
            conn->handler->http_body_end(conn->ctx, self);
    } else if (conn->handler->http_request) {
        conn->handler->http_request(conn->ctx, self, buf_bytes(&self->body));
    }
    body_done(self);
}

void exchange_gone(struct http_exchange *self)
{
    self->over = true;
    if (self->version == 2)
        h2_stream_work(&self->stream);
}

void exchange_close(struct http_exchange *self)
{
    struct rpc_conn *conn = self->conn;
    if (self->begun && conn->handler->http_closed)
        conn->handler->http_closed(conn->ctx, self, self->complete);
    if (self->version == 2)
        h2_stream_done(&self->stream);
    body_done(self);
    pool_release(conn->pool, self->headers);
    pool_release(conn->pool, self->header_bytes);
    conn->open_count--;
    pool_release(conn->pool, self);
}

/* HTTP/2: pieces that lie in the stream's inbox go to the handler and open the window again. */
static void deliver_pieces(struct http_exchange *self)
{
    struct inbox *inbox = &self->stream.inbox;
    for (unsigned i = 0; i < 2 && !self->paused; i++) {
        bool kept = inbox->len > inbox->start;
        struct bytes piece =
            kept ? bytes_of(inbox->data + inbox->start, inbox->len - inbox->start) : inbox->chunk;
        if (piece.len == 0)
            return;
        exchange_body(self, piece);
        h2_stream_consumed(&self->stream, piece.len);
        if (kept) {
            struct bytes chunk = inbox->chunk;
            inbox_done(inbox);
            inbox->chunk = chunk;
        } else {
            inbox->chunk = BYTES_NONE;
        }
    }
}

void exchange_deliver(struct http_exchange *self)
{
    struct rpc_conn *conn = self->conn;
    struct h2_stream *stream = &self->stream;
    if (stream->closed) {
        self->complete =
            stream->ended && stream->close_error == NGHTTP2_NO_ERROR && stream->outbox.bytes == 0;
        self->over = true;
        exchange_close(self);
        return;
    }
    deliver_pieces(self);
    if (stream->remote_closed && self->has_body && inbox_waiting(&stream->inbox) == 0)
        exchange_body_end(self);
    if (self->over)
        stream->discard = true;
    if (stream->discard)
        inbox_done(&stream->inbox);
    else
        inbox_settle(&stream->inbox);
    h2_stream_count_inbox(stream);
    if (stream->tell_writable && !self->over && conn->handler->http_writable) {
        stream->tell_writable = false;
        conn->handler->http_writable(conn->ctx, self);
    }
}

/* ---- answering -------------------------------------------------------------------------- */

static bool status_without_body(unsigned status)
{
    return status == 204 || status == 304;
}

static void h2_response_begin(struct http_exchange *self, unsigned status,
                              const struct http_header *headers, size_t header_count)
{
    struct rpc_pool *pool = self->conn->pool;
    size_t total = 0;
    for (size_t i = 0; i < header_count; i++)
        total += headers[i].name.len;
    nghttp2_nv *fields = pool_alloc(pool, (header_count + 2) * sizeof(*fields));
    uint8_t *names = pool_alloc(pool, total + 1);
    uint8_t *at = names;
    char status_digits[16];
    char length_digits[24];
    size_t n = 0;
    (void)snprintf(status_digits, sizeof(status_digits), "%03u", status % 1000);
    fields[n++] = h2_nv_bytes(BYTES_LIT(":status"), bytes_str(status_digits), 0);
    for (size_t i = 0; i < header_count; i++) {
        struct bytes name = keep(&at, headers[i].name);
        for (uint8_t *c = at - name.len; c < at; c++)
            *c |= (*c >= 'A' && *c <= 'Z') ? 0x20 : 0;
        fields[n++] = h2_nv_bytes(name, headers[i].value, 0);
    }
    if (self->length != HTTP_LENGTH_UNKNOWN && !status_without_body(status)) {
        (void)snprintf(length_digits, sizeof(length_digits), "%llu",
                       (unsigned long long)self->length);
        fields[n++] = h2_nv_bytes(BYTES_LIT("content-length"), bytes_str(length_digits), 0);
    }
    nghttp2_data_provider source = h2_stream_source(&self->stream);
    if (nghttp2_submit_response(self->stream.link->session, self->stream.id, fields, n, &source) ==
        NGHTTP2_ERR_NOMEM)
        self->stream.link->failed = true;
    pool_release(pool, names);
    pool_release(pool, fields);
}

void http_response_begin(struct http_exchange *self, unsigned status,
                         const struct http_header *headers, size_t header_count, uint64_t length)
{
    if (self->over)
        return;
    CHECK(!self->responding);
    self->responding = true;
    self->length = length;
    self->no_body |= status_without_body(status);
    if (self->version == 2)
        h2_response_begin(self, status, headers, header_count);
    else
        h1_response_begin(self, status, headers, header_count);
    conn_touch(self->conn);
}

void http_response_body(struct http_exchange *self, struct bytes piece)
{
    if (self->over || piece.len == 0)
        return;
    CHECK(self->responding);
    self->length_put += piece.len;
    CHECK(self->length_put <= self->length);
    if (self->no_body)
        return;
    if (self->version == 2)
        h2_stream_put(&self->stream, &piece, 1);
    else
        h1_response_body(self, piece);
    conn_touch(self->conn);
}

void http_response_body_promise(struct http_exchange *self, const struct rpc_promise *promise)
{
    if (!self->over) {
        CHECK(self->responding);
        self->length_put += promise->len;
        CHECK(self->length_put <= self->length);
    }
    if (self->over || self->no_body || promise->len == 0) {
        promise->ops->release(promise->ctx);
        return;
    }
    if (self->version == 2)
        h2_stream_put_promise(&self->stream, promise);
    else
        h1_response_body_promise(self, promise);
    conn_touch(self->conn);
}

void http_exchange_abort(struct http_exchange *self)
{
    if (self->over)
        return;
    self->over = true;
    if (self->version == 2)
        h2_stream_reset(&self->stream, NGHTTP2_INTERNAL_ERROR);
    else
        h1_exchange_abort(self);
    conn_touch(self->conn);
}

void http_response_end(struct http_exchange *self)
{
    if (self->over)
        return;
    CHECK(self->responding);
    if (self->length != HTTP_LENGTH_UNKNOWN && self->length_put != self->length && !self->no_body) {
        http_exchange_abort(self);
        return;
    }
    self->over = true;
    if (self->version == 2) {
        self->stream.finishing = true;
        self->stream.discard = true;
        h2_stream_resume(&self->stream);
    } else {
        h1_response_end(self);
    }
    conn_touch(self->conn);
}

void http_response(struct http_exchange *self, unsigned status, const char *content_type,
                   struct bytes body)
{
    struct http_header header = {BYTES_LIT("Content-Type"),
                                 content_type ? bytes_str(content_type) : BYTES_NONE};
    http_response_begin(self, status, &header, content_type ? 1 : 0, body.len);
    http_response_body(self, body);
    http_response_end(self);
}

void exchange_refuse(struct http_exchange *self, unsigned status)
{
    if (self->over)
        return;
    /* Its handler answers already: cutting it is all that can be said. */
    if (self->responding) {
        http_exchange_abort(self);
        return;
    }
    const char *text = http_status_text(status);
    char page[64];
    int n = status == 404 ? snprintf(page, sizeof(page), "404 page not found\n")
                          : snprintf(page, sizeof(page), "%u %s", status, text);
    self->close_after |= self->has_body;
    http_response(self, status, "text/plain; charset=utf-8", bytes_of(page, (size_t)n));
}

size_t http_exchange_unsent_bytes(const struct http_exchange *self)
{
    return self->version == 2 ? self->stream.outbox.bytes : self->conn->out.bytes;
}

bool http_exchange_writable(const struct http_exchange *self)
{
    struct http_exchange *exchange = (struct http_exchange *)(uintptr_t)self;
    if (self->version == 2)
        return h2_stream_writable(&exchange->stream);
    if (self->conn->out.bytes < self->conn->pool->limits.call_unsent_bytes_max)
        return true;
    exchange->blocked = true;
    return false;
}

const char *http_status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } known[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {414, "Request URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == status)
            return known[i].text;
    }
    return "Status";
}
