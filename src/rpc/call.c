/* gRPC calls on the server: their heads are judged, their messages delivered, their answers sent.
 *
 *   head whole ─ judge ─┬─> refused: trailers-only, the handler never hears of it
 *                       ├─> exchange (TLS, not gRPC)
 *                       └─> call_begin ─> messages ─> half-closed ─> … ─> stream closed ─> freed
 *
 * Invariants: (1) call_closed is said exactly for the calls that call_begin was said for;
 * (2) after `over` the handler hears of nothing but call_cancelled (once, if it was not the
 * handler who ended the call) and call_closed; (3) a call is freed in call_deliver only. */
#include "rpc/conn_internal.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what was asked --------------------------------------------------------------------- */

struct bytes rpc_call_metadata(const struct rpc_call *self, enum rpc_metadata which)
{
    CHECK(which < RPC_METADATA_COUNT);
    return rcbuf_bytes(self->head[which]);
}

struct bytes rpc_call_path(const struct rpc_call *self)
{
    return rcbuf_bytes(self->head[HEAD_PATH]);
}

struct bytes rpc_call_service(const struct rpc_call *self)
{
    return self->service;
}

struct bytes rpc_call_method(const struct rpc_call *self)
{
    return self->method;
}

uint64_t rpc_call_deadline_ms(const struct rpc_call *self)
{
    return self->deadline_ms;
}

struct rpc_conn *rpc_call_conn(const struct rpc_call *self)
{
    return self->conn;
}

void rpc_call_set_data(struct rpc_call *self, void *data)
{
    self->data = data;
}

void *rpc_call_data(const struct rpc_call *self)
{
    return self->data;
}

bool rpc_call_half_closed(const struct rpc_call *self)
{
    return self->stream.remote_closed;
}

bool rpc_call_over(const struct rpc_call *self)
{
    return self->over;
}

void rpc_call_set_unary(struct rpc_call *self)
{
    self->unary = true;
}

/* ---- answering -------------------------------------------------------------------------- */

static const nghttp2_nv response_head[] = {
    H2_NV_STATIC(":status", "200"),
    H2_NV_STATIC("content-type", "application/grpc"),
};
#define RESPONSE_HEAD_COUNT (sizeof(response_head) / sizeof(response_head[0]))

static struct bytes status_text(enum grpc_status status)
{
    static const char digits[][3] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                     "9", "10", "11", "12", "13", "14", "15", "16"};
    CHECK((unsigned)status < sizeof(digits) / sizeof(digits[0]));
    return bytes_str(digits[status]);
}

/* grpc-status and grpc-message, the latter also when it is empty. */
static void trailer_fields(const struct rpc_call *self, nghttp2_nv out[2])
{
    const uint8_t borrowed = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    out[0] = h2_nv_bytes(BYTES_LIT("grpc-status"), status_text(self->status), borrowed);
    /* Texts differ from call to call: they would only push better fields out of HPACK's table. */
    out[1] =
        h2_nv_bytes(BYTES_LIT("grpc-message"), bytes_of(self->text, self->text_len),
                    NGHTTP2_NV_FLAG_NO_COPY_NAME | (self->text_len ? NGHTTP2_NV_FLAG_NO_INDEX : 0));
}

static void check_submitted(struct rpc_call *self, int rv)
{
    /* The stream may be gone already, in the output of the same pass; that is said by its close. */
    if (rv == NGHTTP2_ERR_NOMEM)
        self->stream.link->failed = true;
}

void call_submit_trailers(struct h2_stream *stream)
{
    struct rpc_call *self = (struct rpc_call *)stream;
    nghttp2_nv fields[2];
    trailer_fields(self, fields);
    check_submitted(self, nghttp2_submit_trailer(stream->link->session, stream->id, fields, 2));
}

static void start_response(struct rpc_call *self)
{
    if (self->response_started)
        return;
    self->response_started = true;
    self->stream.with_trailers = true;
    nghttp2_data_provider source = h2_stream_source(&self->stream);
    check_submitted(self, nghttp2_submit_response(self->stream.link->session, self->stream.id,
                                                  response_head, RESPONSE_HEAD_COUNT, &source));
}

static void put_text(struct rpc_call *self, struct bytes text)
{
    if (text.len == 0)
        return;
    self->text_len = grpc_message_encoded_size(text);
    self->text = pool_alloc(self->conn->pool, self->text_len);
    grpc_message_encode(text, self->text);
}

/* No more from the handler; what the client still sends is dropped. */
static void end_local(struct rpc_call *self)
{
    self->over = true;
    self->stream.discard = true;
    self->stream.finishing = true;
    if (self->stream.inbox.data) /* it goes with the next delivery */
        h2_stream_work(&self->stream);
    wheel_clear(&self->conn->pool->wheel, &self->deadline);
}

static void finish_trailers_only(struct rpc_call *self, struct bytes http_status, bool accepts)
{
    nghttp2_nv fields[5] = {
        h2_nv_bytes(BYTES_LIT(":status"), http_status, NGHTTP2_NV_FLAG_NO_COPY_NAME),
        response_head[1],
    };
    trailer_fields(self, fields + 2);
    fields[4] = H2_NV_STATIC("grpc-accept-encoding", "gzip");
    self->response_started = true;
    check_submitted(self, nghttp2_submit_response(self->stream.link->session, self->stream.id,
                                                  fields, accepts ? 5 : 4, NULL));
}

static void finish(struct rpc_call *self, enum grpc_status status, struct bytes text)
{
    self->status = status;
    put_text(self, text);
    end_local(self);
    if (!self->response_started)
        finish_trailers_only(self, BYTES_LIT("200"), false);
    else
        h2_stream_resume(&self->stream);
    conn_touch(self->conn);
}

/* Before the handler heard of the call. accepts: says which encodings there are. */
static void refuse(struct rpc_call *self, const char *http_status, enum grpc_status status,
                   struct bytes text, bool accepts)
{
    self->status = status;
    put_text(self, text);
    end_local(self);
    finish_trailers_only(self, bytes_str(http_status), accepts);
    conn_touch(self->conn);
}

void rpc_call_finish(struct rpc_call *self, enum grpc_status status, struct bytes text)
{
    if (!self->over)
        finish(self, status, text);
}

void rpc_call_finish_unknown(struct rpc_call *self, bool service_known)
{
    char text[512];
    struct bytes service = self->service;
    struct bytes method = self->method;
    int n = service_known ? snprintf(text, sizeof(text), "unknown method %.*s for service %.*s",
                                     (int)method.len, (const char *)method.data, (int)service.len,
                                     (const char *)service.data)
                          : snprintf(text, sizeof(text), "unknown service %.*s", (int)service.len,
                                     (const char *)service.data);
    size_t len = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    rpc_call_finish(self, GRPC_UNIMPLEMENTED, bytes_of(text, len));
}

void rpc_call_headers(struct rpc_call *self)
{
    if (self->over)
        return;
    start_response(self);
    conn_touch(self->conn);
}

/* True: too long, the call is finished with the text for it. */
static bool refuse_long(struct rpc_call *self, size_t len)
{
    size_t max = self->conn->pool->limits.send_bytes_max;
    if (len <= max)
        return false;
    char text[128];
    int n = snprintf(text, sizeof(text),
                     "grpc: trying to send message larger than max (%zu vs. %zu)", len, max);
    finish(self, GRPC_RESOURCE_EXHAUSTED, bytes_of(text, (size_t)n));
    return true;
}

void rpc_call_send(struct rpc_call *self, const struct bytes *parts, unsigned part_count)
{
    size_t len = parts_len(parts, part_count);
    if (self->over || refuse_long(self, len))
        return;
    start_response(self);
    h2_stream_put_message(&self->stream, parts, part_count, len);
    conn_touch(self->conn);
}

static void put_promise(struct rpc_call *self, const struct rpc_promise *promise)
{
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix_put(prefix, (uint32_t)promise->len);
    struct bytes part = bytes_of(prefix, sizeof(prefix));
    start_response(self);
    h2_stream_put(&self->stream, &part, 1);
    h2_stream_put_promise(&self->stream, promise);
}

void rpc_call_send_promise(struct rpc_call *self, const struct rpc_promise *promise)
{
    if (self->over || refuse_long(self, promise->len)) {
        promise->ops->release(promise->ctx);
        return;
    }
    put_promise(self, promise);
    conn_touch(self->conn);
}

void rpc_call_answer_promise(struct rpc_call *self, const struct rpc_promise *promise)
{
    rpc_call_send_promise(self, promise);
    rpc_call_finish(self, GRPC_OK, BYTES_NONE);
}

/* Parts that the fast way takes: more are copied first. */
#define ANSWER_PARTS_MAX 15

void rpc_call_answer(struct rpc_call *self, const struct bytes *parts, unsigned part_count)
{
    size_t len = parts_len(parts, part_count);
    if (self->over || refuse_long(self, len))
        return;
    struct h2_stream *stream = &self->stream;
    struct h2_link *link = stream->link;
    if (part_count > ANSWER_PARTS_MAX || stream->outbox.bytes > 0 || link->pumping ||
        link->out->bytes >= link->pool->limits.slice_bytes) {
        rpc_call_send(self, parts, part_count);
        rpc_call_finish(self, GRPC_OK, BYTES_NONE);
        return;
    }
    /* Framed at once out of the caller's memory; only what no window takes is copied. */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix_put(prefix, (uint32_t)len);
    struct bytes lent[ANSWER_PARTS_MAX + 1];
    lent[0] = bytes_of(prefix, sizeof(prefix));
    for (unsigned i = 0; i < part_count; i++)
        lent[i + 1] = parts[i];
    struct outbox_item item;
    outbox_lend(&stream->outbox, &item, lent, part_count + 1);
    link->unsent_bytes += item.len;
    self->status = GRPC_OK;
    end_local(self);
    start_response(self);
    h2_stream_resume(stream);
    h2_link_pump(link);
    outbox_unlend(&stream->outbox, link->pool, &item);
    conn_touch(self->conn);
}

void rpc_call_reset(struct rpc_call *self, uint32_t http2_error)
{
    if (self->over)
        return;
    end_local(self);
    h2_stream_reset(&self->stream, http2_error);
    conn_touch(self->conn);
}

void call_cancel(struct rpc_call *self, enum rpc_cancel why, uint32_t http2_error)
{
    if (!self->over) {
        self->tell_cancelled = self->begun;
        self->cancel_why = why;
    }
    end_local(self);
    h2_stream_reset(&self->stream, http2_error);
    h2_stream_work(&self->stream);
    conn_touch(self->conn);
}

/* The call broke a rule: it gets its status, and its handler hears that it is over. */
static void call_refuse_begun(struct rpc_call *self, enum grpc_status status, struct bytes text)
{
    if (self->over)
        return;
    self->tell_cancelled = true;
    self->cancel_why = RPC_CANCEL_REFUSED;
    finish(self, status, text);
    h2_stream_work(&self->stream);
}

size_t rpc_call_unsent_bytes(const struct rpc_call *self)
{
    return self->stream.outbox.bytes;
}

bool rpc_call_writable(const struct rpc_call *self)
{
    struct rpc_call *call = (struct rpc_call *)(uintptr_t)self;
    return h2_stream_writable(&call->stream);
}

/* ---- back-pressure ---------------------------------------------------------------------- */

void rpc_call_pause(struct rpc_call *self)
{
    self->stream.paused = true;
}

void rpc_call_resume(struct rpc_call *self)
{
    if (!self->stream.paused)
        return;
    self->stream.paused = false;
    h2_stream_work(&self->stream);
    conn_touch(self->conn);
}

void rpc_call_grant(struct rpc_call *self)
{
    struct h2_stream *stream = &self->stream;
    if (!stream->waits_for_grant)
        return;
    stream->waits_for_grant = false;
    inbox_grant(&stream->inbox);
    h2_stream_widen(stream, self->reserved + GRPC_PREFIX_BYTES);
    h2_stream_work(stream);
    conn_touch(self->conn);
}

static void call_unreserve(struct rpc_call *self, bool taken)
{
    size_t len = self->reserved;
    if (len == 0)
        return;
    self->reserved = 0;
    if (self->stream.waits_for_grant) {
        self->stream.waits_for_grant = false;
        return;
    }
    h2_stream_widen(&self->stream, 0);
    if (!taken && self->conn->handler->unreserve)
        self->conn->handler->unreserve(self->conn->ctx, self, len);
}

void *rpc_call_take_message(struct rpc_call *self, struct bytes *ret_message)
{
    CHECK(self->in_message);
    void *memory = inbox_take(&self->stream.inbox, ret_message);
    call_unreserve(self, true);
    return memory;
}

/* ---- the head --------------------------------------------------------------------------- */

static void deadline_fire(struct wheel_timer *timer)
{
    struct rpc_call *self = LIST_ENTRY(timer, struct rpc_call, deadline);
    if (self->over)
        return;
    call_cancel(self, RPC_CANCEL_DEADLINE, NGHTTP2_CANCEL);
}

static void refuse_quoted(struct rpc_call *self, const char *http_status, enum grpc_status status,
                          const char *before, enum head_field field, const char *after)
{
    char text[512];
    struct bytes quoted = rcbuf_bytes(self->head[field]);
    int most = quoted.len < 300 ? (int)quoted.len : 300;
    int n =
        snprintf(text, sizeof(text), "%s%.*s%s", before, most, (const char *)quoted.data, after);
    refuse(self, http_status, status, bytes_of(text, (size_t)n), field == HEAD_ENCODING);
}

/* Sets the deadline. False: refused. */
static bool judge_timeout(struct rpc_call *self)
{
    if (!self->head[HEAD_TIMEOUT])
        return true;
    struct bytes text = rcbuf_bytes(self->head[HEAD_TIMEOUT]);
    uint64_t timeout_ms;
    if (!err_ok(grpc_timeout_parse(text, &timeout_ms))) {
        refuse_quoted(self, "400", GRPC_INTERNAL, "malformed grpc-timeout: \"", HEAD_TIMEOUT, "\"");
        return false;
    }
    if (timeout_ms == 0) {
        refuse(self, "200", GRPC_DEADLINE_EXCEEDED, BYTES_LIT("context deadline exceeded"), false);
        return false;
    }
    self->deadline_ms = pool_now_ms(self->conn->pool) + timeout_ms;
    wheel_timer_init(&self->deadline, deadline_fire);
    wheel_set(&self->conn->pool->wheel, &self->deadline, self->deadline_ms);
    return true;
}

/* In the order in which grpc-go judges. False: refused. */
static bool judge_head(struct rpc_call *self)
{
    struct bytes method = rcbuf_bytes(self->head[HEAD_METHOD]);
    struct bytes type = rcbuf_bytes(self->head[HEAD_CONTENT_TYPE]);
    struct bytes encoding = rcbuf_bytes(self->head[HEAD_ENCODING]);
    struct bytes path = rcbuf_bytes(self->head[HEAD_PATH]);
    if (!grpc_content_type_ok(type)) {
        refuse_quoted(self, "415", GRPC_INVALID_ARGUMENT, "invalid gRPC request content-type \"",
                      HEAD_CONTENT_TYPE, "\"");
        return false;
    }
    if (!bytes_equal(method, BYTES_LIT("POST"))) {
        refuse_quoted(self, "405", GRPC_INTERNAL, "Received a HEADERS frame with :method \"",
                      HEAD_METHOD, "\" which should be POST");
        return false;
    }
    if (!judge_timeout(self))
        return false;
    if (!err_ok(grpc_path_split(path, &self->service, &self->method))) {
        refuse_quoted(self, "200", GRPC_UNIMPLEMENTED, "malformed method name: \"", HEAD_PATH,
                      "\"");
        return false;
    }
    self->stream.inbox.gzip = bytes_equal(encoding, BYTES_LIT("gzip"));
    if (encoding.len > 0 && !self->stream.inbox.gzip &&
        !bytes_equal(encoding, BYTES_LIT("identity"))) {
        refuse_quoted(self, "200", GRPC_UNIMPLEMENTED,
                      "grpc: Decompressor is not installed for grpc-encoding \"", HEAD_ENCODING,
                      "\"");
        return false;
    }
    return true;
}

/* False: the call was refused, or is an exchange now and gone. */
static bool call_begin(struct rpc_call *self, bool *ret_gone)
{
    struct rpc_conn *conn = self->conn;
    const struct rpc_handler *handler = conn->handler;
    *ret_gone = false;
    if (self->head_too_long) {
        call_cancel(self, RPC_CANCEL_REFUSED, NGHTTP2_FRAME_SIZE_ERROR);
        return false;
    }
    if (conn->transport == RPC_TLS_HTTP2 &&
        !grpc_content_type_ok(rcbuf_bytes(self->head[HEAD_CONTENT_TYPE]))) {
        *ret_gone = true;
        exchange_from_call(self);
        return false;
    }
    if (!judge_head(self))
        return false;
    if (!handler->call_begin) {
        rpc_call_finish_unknown(self, false);
        return false;
    }
    self->begun = true;
    conn_timer_by(conn, pool_now_ms(conn->pool) + conn->pool->limits.stall_timeout_ms / 2 + 1);
    handler->call_begin(conn->ctx, self);
    return true;
}

/* ---- delivery --------------------------------------------------------------------------- */

void call_free(struct rpc_call *self)
{
    struct rpc_conn *conn = self->conn;
    struct rpc_pool *pool = conn->pool;
    if (conn->h2->heading == self)
        conn->h2->heading = NULL;
    if (!self->stream.closed)
        (void)nghttp2_session_set_stream_user_data(self->stream.link->session, self->stream.id,
                                                   NULL);
    call_unreserve(self, false);
    wheel_clear(&pool->wheel, &self->deadline);
    for (unsigned i = 0; i < HEAD_COUNT; i++) {
        if (self->head[i])
            nghttp2_rcbuf_decref(self->head[i]);
    }
    for (unsigned i = 0; i < self->field_count; i++) {
        nghttp2_rcbuf_decref(self->fields[i].name);
        nghttp2_rcbuf_decref(self->fields[i].value);
    }
    pool_release(pool, self->fields);
    pool_release(pool, self->text);
    h2_stream_done(&self->stream);
    conn->open_count--;
    pool_release(pool, self);
}

/* Room for a long message: asked for once, then the window grows to take it whole. */
static void ask_for_room(struct rpc_call *self, size_t need)
{
    const struct rpc_handler *handler = self->conn->handler;
    if (self->stream.waits_for_grant)
        return;
    self->reserved = need;
    self->stream.waits_for_grant = true;
    if (!handler->reserve || handler->reserve(self->conn->ctx, self, need))
        rpc_call_grant(self);
}

static void show_message(struct rpc_call *self)
{
    struct rpc_conn *conn = self->conn;
    struct inbox *inbox = &self->stream.inbox;
    self->in_message = true;
    self->got_message = true;
    if (conn->handler->call_message)
        conn->handler->call_message(conn->ctx, self, inbox->message);
    self->in_message = false;
    size_t wire = inbox_shown(inbox);
    call_unreserve(self, false);
    if (self->unary)
        self->stream.discard = true;
    else
        h2_stream_consumed(&self->stream, wire);
}

static void deliver_messages(struct rpc_call *self)
{
    struct h2_stream *stream = &self->stream;
    struct rpc_pool *pool = self->conn->pool;
    while (!self->over && !stream->paused && !(self->unary && self->got_message)) {
        size_t need;
        struct inbox_bad bad;
        switch (inbox_next(&stream->inbox, pool, &need, &bad)) {
        case INBOX_MESSAGE:
            show_message(self);
            continue;
        case INBOX_RESERVE:
            ask_for_room(self, need);
            return;
        case INBOX_BAD:
            call_refuse_begun(self, bad.status, bytes_str(bad.text));
            return;
        case INBOX_MORE:
        default:
            return;
        }
    }
}

static void deliver_half_close(struct rpc_call *self)
{
    const struct rpc_handler *handler = self->conn->handler;
    if (self->over || self->half_close_told || self->stream.paused)
        return;
    self->half_close_told = true;
    bool torn = inbox_waiting(&self->stream.inbox) > 0;
    if (self->unary && self->got_message)
        return;
    if (torn || self->unary)
        call_refuse_begun(self, GRPC_INTERNAL, BYTES_LIT("unexpected EOF"));
    else if (handler->call_half_closed)
        handler->call_half_closed(self->conn->ctx, self);
}

/* What is left of this pass's input is kept, within the connection's bound. */
static void settle_inbox(struct rpc_call *self)
{
    struct h2_stream *stream = &self->stream;
    if (stream->discard) {
        if (stream->inbox.data || stream->inbox.chunk.len)
            inbox_done(&stream->inbox);
    } else {
        inbox_settle(&stream->inbox);
    }
    if (stream->inbox.cap == stream->inbox_counted)
        return;
    h2_stream_count_inbox(stream);
    if (stream->link->partial_bytes > self->conn->pool->limits.partial_bytes_max &&
        stream->inbox.cap > 0 && self->begun)
        call_refuse_begun(self, GRPC_RESOURCE_EXHAUSTED,
                          BYTES_LIT("grpc: too many unfinished messages on this connection"));
}

void call_deliver(struct rpc_call *self)
{
    struct rpc_conn *conn = self->conn;
    const struct rpc_handler *handler = conn->handler;
    struct h2_stream *stream = &self->stream;
    if (!self->begun && !self->over && self->head_whole && !stream->closed) {
        bool gone;
        if (!call_begin(self, &gone) && gone)
            return;
    }
    if (stream->closed && !self->over)
        call_cancel(self, conn->failed ? RPC_CANCEL_GONE : RPC_CANCEL_RESET, 0);
    if (self->begun) {
        deliver_messages(self);
        if (stream->remote_closed)
            deliver_half_close(self);
        if (self->tell_cancelled) {
            self->tell_cancelled = false;
            if (handler->call_cancelled)
                handler->call_cancelled(conn->ctx, self, self->cancel_why);
        }
        if (stream->tell_writable && !self->over && handler->call_writable) {
            stream->tell_writable = false;
            handler->call_writable(conn->ctx, self);
        }
    }
    settle_inbox(self);
    if (!stream->closed)
        return;
    if (self->begun && handler->call_closed)
        handler->call_closed(conn->ctx, self);
    call_free(self);
}
