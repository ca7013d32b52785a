/* gRPC calls on the client's side of an HTTP/2 connection.
 * A call ends once, by whichever comes first: trailers, RST_STREAM, its deadline, cancelling, the
 * end of the connection. Its `closed` event is said in call_deliver, never from inside one of the
 * functions that cause it. */
#include "rpc/client_internal.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

struct rpc_client_call {
    struct h2_stream stream; /* first */
    struct rpc_client *client;
    const struct rpc_client_call_handler *handler;
    void *ctx;
    struct wheel_timer deadline;
    size_t head_bytes;
    unsigned http_status;
    nghttp2_rcbuf *text; /* grpc-message, encoded */
    bool has_status;
    unsigned status;
    bool content_ok; /* content-type is gRPC's */
    bool head_whole;
    bool head_told;
    bool over; /* the end is known; only `closed` is still to be said */
    bool unprocessed;
    const char *reason; /* text of an end that is our own finding; NULL: the server's */
    char bad_text[128];
};

/* ---- ending ----------------------------------------------------------------------------- */

static void end(struct rpc_client_call *self, enum grpc_status status, const char *reason)
{
    if (self->over)
        return;
    self->over = true;
    self->has_status = true;
    self->status = status;
    self->reason = reason;
    self->stream.discard = true;
    wheel_clear(&self->stream.link->pool->wheel, &self->deadline);
    h2_stream_work(&self->stream);
    client_touch(self->client);
}

static void end_and_reset(struct rpc_client_call *self, enum grpc_status status, const char *reason)
{
    bool over = self->over;
    end(self, status, reason);
    if (!over)
        h2_stream_reset(&self->stream, NGHTTP2_CANCEL);
}

static void deadline_fire(struct wheel_timer *timer)
{
    struct rpc_client_call *self = LIST_ENTRY(timer, struct rpc_client_call, deadline);
    end_and_reset(self, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

/* What a stream that closed amounts to. */
static void end_by_close(struct rpc_client_call *self)
{
    uint32_t error = self->stream.close_error;
    if (self->client->failed) {
        end(self, GRPC_UNAVAILABLE, "error reading from server: EOF");
    } else if (self->has_status) {
        end(self, (enum grpc_status)self->status, NULL);
    } else if (error == NGHTTP2_REFUSED_STREAM) {
        self->unprocessed = true;
        end(self, GRPC_UNAVAILABLE, "the stream was refused");
    } else if (error != NGHTTP2_NO_ERROR) {
        (void)snprintf(self->bad_text, sizeof(self->bad_text),
                       "stream terminated by RST_STREAM with error code: %s",
                       nghttp2_http2_strerror(error));
        end(self, grpc_status_of_http2_error(error), self->bad_text);
    } else if (self->head_whole && !self->content_ok) {
        (void)snprintf(self->bad_text, sizeof(self->bad_text),
                       "unexpected HTTP status code received from server: %u (%s)",
                       self->http_status, http_status_text(self->http_status));
        end(self, grpc_status_of_http_status(self->http_status), self->bad_text);
    } else {
        end(self, GRPC_INTERNAL, "server closed the stream without sending trailers");
    }
}

static void call_free(struct rpc_client_call *self)
{
    struct rpc_client *client = self->client;
    if (!self->stream.closed)
        (void)nghttp2_session_set_stream_user_data(client->link.session, self->stream.id, NULL);
    wheel_clear(&client->link.pool->wheel, &self->deadline);
    if (self->text)
        nghttp2_rcbuf_decref(self->text);
    h2_stream_done(&self->stream);
    client->open_count--;
    pool_release(client->link.pool, self);
}

static void say_closed(struct rpc_client_call *self)
{
    struct rpc_pool *pool = self->client->link.pool;
    struct bytes text = BYTES_NONE;
    uint8_t *decoded = NULL;
    if (self->reason) {
        text = bytes_str(self->reason);
    } else if (self->text) {
        struct bytes encoded = rcbuf_bytes(self->text);
        decoded = pool_alloc(pool, encoded.len);
        text = bytes_of(decoded, grpc_message_decode(encoded, decoded));
    }
    if (self->handler->closed)
        self->handler->closed(self->ctx, self, (enum grpc_status)self->status, text);
    pool_release(pool, decoded);
}

/* ---- callbacks -------------------------------------------------------------------------- */

static struct rpc_client_call *call_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static unsigned number_of(struct bytes digits)
{
    unsigned n = 0;
    for (size_t i = 0; i < digits.len && i < 4; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return GRPC_UNKNOWN;
        n = n * 10 + (digits.data[i] - '0');
    }
    return n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct rpc_client_call *self = call_of(session, frame->hd.stream_id);
    if (!self)
        return 0;
    struct bytes key = rcbuf_bytes(name);
    struct bytes text = rcbuf_bytes(value);
    self->head_bytes += key.len + text.len + 32;
    if (self->head_bytes > self->client->link.pool->limits.header_list_bytes_max)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (bytes_equal(key, BYTES_LIT(":status"))) {
        self->http_status = number_of(text);
    } else if (bytes_equal(key, BYTES_LIT("content-type"))) {
        self->content_ok = grpc_content_type_ok(text);
    } else if (bytes_equal(key, BYTES_LIT("grpc-encoding"))) {
        self->stream.inbox.gzip = bytes_equal(text, BYTES_LIT("gzip"));
    } else if (bytes_equal(key, BYTES_LIT("grpc-status")) && !self->over) {
        unsigned status = number_of(text);
        self->has_status = true;
        self->status = status <= GRPC_UNAUTHENTICATED ? status : GRPC_UNKNOWN;
    } else if (bytes_equal(key, BYTES_LIT("grpc-message")) && !self->text) {
        nghttp2_rcbuf_incref(value);
        self->text = value;
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct rpc_client *client = user_data;
    struct rpc_client_call *call;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        call = call_of(session, frame->hd.stream_id);
        if (!call)
            return 0;
        call->head_whole = true;
        call->stream.remote_closed |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        h2_stream_work(&call->stream);
        return 0;
    case NGHTTP2_DATA:
        call = call_of(session, frame->hd.stream_id);
        if (call && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
            call->stream.remote_closed = true;
            h2_stream_work(&call->stream);
        }
        return 0;
    case NGHTTP2_SETTINGS:
        client->ready = true;
        return 0;
    case NGHTTP2_GOAWAY:
        client->going_away = true;
        return 0;
    default:
        return 0;
    }
}

/* A request that never left: above the server's limit when GOAWAY came, or the like. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *user_data)
{
    struct rpc_client_call *call;
    if (frame->hd.type != NGHTTP2_HEADERS || !(call = call_of(session, frame->hd.stream_id)))
        return 0;
    call->unprocessed = true;
    return 0;
}

void h2_client_callbacks(nghttp2_session_callbacks *callbacks)
{
    h2_link_callbacks(callbacks);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
}

/* ---- the session ------------------------------------------------------------------------ */

#define CONNECTION_WINDOW_BYTES (1 << 30)
#define STREAM_WINDOW_BYTES     (1 << 20)

void h2_client_new(struct rpc_client *self)
{
    struct rpc_pool *pool = self->link.pool;
    CHECK(nghttp2_session_client_new3(&self->link.session, pool->client_callbacks, self,
                                      pool->client_option, &pool->mem) == 0);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)pool->limits.header_list_bytes_max},
    };
    CHECK(nghttp2_submit_settings(self->link.session, NGHTTP2_FLAG_NONE, settings, 3) == 0);
    CHECK(nghttp2_session_set_local_window_size(self->link.session, NGHTTP2_FLAG_NONE, 0,
                                                CONNECTION_WINDOW_BYTES) == 0);
}

void h2_client_cut(struct rpc_client *self)
{
    LIST_FOREACH (node, &self->link.streams) {
        struct rpc_client_call *call =
            (struct rpc_client_call *)LIST_ENTRY(node, struct h2_stream, node);
        end_by_close(call);
    }
    client_touch(self);
}

void h2_client_read(struct rpc_client *self, struct bytes in)
{
    ssize_t n = nghttp2_session_mem_recv(self->link.session, in.data, in.len);
    if (n < 0) {
        self->failed = true;
        h2_client_cut(self);
    }
}

/* ---- delivery --------------------------------------------------------------------------- */

static void deliver_messages(struct rpc_client_call *self)
{
    struct h2_stream *stream = &self->stream;
    while (!self->over && !stream->paused) {
        size_t need;
        struct inbox_bad bad;
        enum inbox_result result = inbox_next(&stream->inbox, self->client->link.pool, &need, &bad);
        if (result == INBOX_MESSAGE) {
            if (self->handler->message)
                self->handler->message(self->ctx, self, stream->inbox.message);
            h2_stream_consumed(stream, inbox_shown(&stream->inbox));
        } else if (result == INBOX_RESERVE) {
            /* The caller bounds what it asks for. */
            inbox_grant(&stream->inbox);
            if (need + GRPC_PREFIX_BYTES > STREAM_WINDOW_BYTES)
                h2_stream_widen(stream, need + GRPC_PREFIX_BYTES);
            return;
        } else {
            if (result == INBOX_BAD) {
                memcpy(self->bad_text, bad.text, sizeof(bad.text));
                end_and_reset(self, bad.status, self->bad_text);
            }
            return;
        }
    }
}

static void call_deliver(struct rpc_client_call *self)
{
    struct h2_stream *stream = &self->stream;
    if (self->head_whole && !self->head_told && !self->over &&
        !(self->has_status && stream->remote_closed)) {
        self->head_told = true;
        if (self->handler->headers)
            self->handler->headers(self->ctx, self);
    }
    if (self->content_ok)
        deliver_messages(self);
    else
        stream->discard = true;
    if (stream->tell_writable && !self->over && self->handler->writable) {
        stream->tell_writable = false;
        self->handler->writable(self->ctx, self);
    }
    /* The end waits until what came before it is delivered. */
    bool waits = stream->paused && inbox_waiting(&stream->inbox) > 0;
    if (!self->over && !waits && (stream->closed || stream->remote_closed)) {
        bool reset = !stream->closed;
        end_by_close(self);
        /* The server is done; what we have not sent yet nobody wants. */
        if (reset)
            h2_stream_reset(stream, NGHTTP2_NO_ERROR);
    }
    if (stream->discard)
        inbox_done(&stream->inbox);
    else
        inbox_settle(&stream->inbox);
    h2_stream_count_inbox(stream);
    if (!self->over)
        return;
    say_closed(self);
    call_free(self);
}

static void tell_news(struct rpc_client *self)
{
    if (self->ready && !self->told_ready) {
        self->told_ready = true;
        if (self->handler->ready)
            self->handler->ready(self->ctx, self);
    }
    if (self->going_away && !self->told_going_away) {
        self->told_going_away = true;
        if (self->handler->going_away)
            self->handler->going_away(self->ctx, self);
    }
}

void h2_client_deliver(struct rpc_client *self)
{
    struct list batch;
    tell_news(self);
    if (list_empty(&self->link.work))
        return;
    batch = self->link.work;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&self->link.work);
    for (struct list *node; (node = list_pop(&batch));)
        call_deliver((struct rpc_client_call *)LIST_ENTRY(node, struct h2_stream, work));
}

void h2_client_free(struct rpc_client *self)
{
    h2_client_cut(self);
    while (!list_empty(&self->link.work))
        h2_client_deliver(self);
    nghttp2_session_del(self->link.session);
}

/* ---- calling ---------------------------------------------------------------------------- */

static size_t request_fields(struct rpc_client *client, const struct rpc_client_start *start,
                             nghttp2_nv *fields, char timeout[GRPC_TIMEOUT_TEXT_BYTES])
{
    const uint8_t named = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    size_t n = 0;
    fields[n++] = (nghttp2_nv)H2_NV_STATIC(":method", "POST");
    fields[n++] = client->tls ? (nghttp2_nv)H2_NV_STATIC(":scheme", "https")
                              : (nghttp2_nv)H2_NV_STATIC(":scheme", "http");
    fields[n++] = h2_nv_bytes(BYTES_LIT(":path"), start->path, named);
    fields[n++] = h2_nv_bytes(BYTES_LIT(":authority"), client->authority, named);
    fields[n++] = (nghttp2_nv)H2_NV_STATIC("content-type", "application/grpc");
    if (client->user_agent.len)
        fields[n++] = h2_nv_bytes(BYTES_LIT("user-agent"), client->user_agent, named);
    fields[n++] = (nghttp2_nv)H2_NV_STATIC("te", "trailers");
    fields[n++] = (nghttp2_nv)H2_NV_STATIC("grpc-accept-encoding", "gzip");
    if (start->timeout_ms != UINT64_MAX) {
        grpc_timeout_format(start->timeout_ms, timeout);
        fields[n++] = h2_nv_bytes(BYTES_LIT("grpc-timeout"), bytes_str(timeout),
                                  named | NGHTTP2_NV_FLAG_NO_INDEX);
    }
    for (size_t i = 0; i < start->metadata_count; i++)
        fields[n++] = h2_nv_bytes(start->metadata[i].name, start->metadata[i].value, 0);
    return n;
}
#define REQUEST_FIELDS_MAX 9

err rpc_client_call_start(struct rpc_client *client, const struct rpc_client_start *start,
                          const struct rpc_client_call_handler *handler, void *ctx,
                          struct rpc_client_call **ret_call)
{
    struct rpc_pool *pool = client->link.pool;
    if (client->protocol != RPC_CLIENT_HTTP2 || !rpc_client_usable(client))
        return ERR_CLOSED;
    struct rpc_client_call *self = POOL_NEW(pool, struct rpc_client_call);
    nghttp2_nv *fields =
        pool_alloc(pool, (REQUEST_FIELDS_MAX + start->metadata_count) * sizeof(*fields));
    char timeout[GRPC_TIMEOUT_TEXT_BYTES];
    size_t count = request_fields(client, start, fields, timeout);
    h2_stream_init(&self->stream, &client->link, 0);
    nghttp2_data_provider source = h2_stream_source(&self->stream);
    int32_t id =
        nghttp2_submit_request(client->link.session, NULL, fields, count, &source, &self->stream);
    pool_release(pool, fields);
    if (id < 0) {
        h2_stream_done(&self->stream);
        pool_release(pool, self);
        return ERR_CLOSED;
    }
    self->stream.id = id;
    self->client = client;
    self->handler = handler;
    self->ctx = ctx;
    wheel_timer_init(&self->deadline, deadline_fire);
    if (start->timeout_ms != UINT64_MAX)
        wheel_set(&pool->wheel, &self->deadline, pool_now_ms(pool) + start->timeout_ms);
    client->open_count++;
    if (client->open_count == 1)
        client->last_read_ms = pool_now_ms(pool);
    if (client->ping_interval_ms)
        client_timer_by(client, client->last_read_ms + client->ping_interval_ms);
    client_touch(client);
    *ret_call = self;
    return OK;
}

void rpc_client_call_send(struct rpc_client_call *self, const struct bytes *parts,
                          unsigned part_count, bool last)
{
    if (self->over || self->stream.finishing)
        return;
    self->stream.finishing = last;
    h2_stream_put_message(&self->stream, parts, part_count, parts_len(parts, part_count));
    client_touch(self->client);
}

void rpc_client_call_half_close(struct rpc_client_call *self)
{
    if (self->over || self->stream.finishing)
        return;
    self->stream.finishing = true;
    h2_stream_resume(&self->stream);
    client_touch(self->client);
}

void rpc_client_call_cancel(struct rpc_client_call *self)
{
    end_and_reset(self, GRPC_CANCELLED, "context canceled");
}

void rpc_client_call_pause(struct rpc_client_call *self)
{
    self->stream.paused = true;
}

void rpc_client_call_resume(struct rpc_client_call *self)
{
    if (!self->stream.paused)
        return;
    self->stream.paused = false;
    h2_stream_work(&self->stream);
    client_touch(self->client);
}

size_t rpc_client_call_unsent_bytes(const struct rpc_client_call *self)
{
    return self->stream.outbox.bytes;
}

bool rpc_client_call_unprocessed(const struct rpc_client_call *self)
{
    return self->unprocessed;
}
