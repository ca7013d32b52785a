/* The server's HTTP/2 session: header blocks become calls, floods become GOAWAY.
 *
 * What a client may do for nothing is counted: RST_STREAM by nghttp2's own bucket, SETTINGS,
 * PING, PRIORITY and empty DATA by one of ours, PINGs also as strikes where the port is policed
 * (contract: grpc): a ping is a strike unless HEADERS or DATA went out since the one before, if
 * it comes nearer to it than ping_min_ms (two hours without open calls); the third is answered
 * with GOAWAY ENHANCE_YOUR_CALM, "too_many_pings". */
#include "rpc/conn_internal.h"

#include "base/check.h"

#define PING_STRIKES_MAX          2
#define PING_WITHOUT_CALLS_MIN_MS (2ULL * 3600 * 1000)
/* How long a client has to learn of our GOAWAY before new streams are ignored. */
#define SHUTDOWN_NOTICE_MS 1000
static const uint8_t shutdown_ping[8] = "goaway!";

/* ---- header fields ---------------------------------------------------------------------- */

static enum head_field head_field_of(struct bytes name)
{
    static const struct {
        const char *name;
        uint8_t len;
        uint8_t field;
    } known[] = {
        {":path", 5, HEAD_PATH},
        {"token", 5, HEAD_TOKEN},
        {":method", 7, HEAD_METHOD},
        {"hasleader", 9, HEAD_HASLEADER},
        {":authority", 10, HEAD_AUTHORITY},
        {"user-agent", 10, HEAD_USER_AGENT},
        {"content-type", 12, HEAD_CONTENT_TYPE},
        {"grpc-timeout", 12, HEAD_TIMEOUT},
        {"authorization", 13, HEAD_AUTHORIZATION},
        {"grpc-encoding", 13, HEAD_ENCODING},
        {"client-api-version", 18, HEAD_CLIENT_API_VERSION},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].len == name.len && memcmp(known[i].name, name.data, name.len) == 0)
            return (enum head_field)known[i].field;
    }
    return HEAD_OTHER;
}

static void call_keep_field(struct rpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    struct rpc_pool *pool = call->conn->pool;
    if (call->field_count == pool->limits.headers_max) {
        call->head_too_long = true;
        return;
    }
    if (call->field_count == call->field_cap) {
        call->field_cap = call->field_cap ? call->field_cap * 2 : 16;
        call->fields = pool_realloc(pool, call->fields, call->field_cap * sizeof(struct h2_field));
    }
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
    call->fields[call->field_count++] = (struct h2_field){name, value};
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct h2_server *self = user_data;
    struct rpc_call *call = self->heading;
    if (!call || call->stream.id != frame->hd.stream_id || call->head_too_long)
        return 0;
    struct bytes key = rcbuf_bytes(name);
    size_t bytes = key.len + rcbuf_bytes(value).len + 32;
    call->stream.head_bytes += bytes;
    self->link.head_bytes += bytes;
    if (call->stream.head_bytes > self->conn->pool->limits.header_list_bytes_max) {
        call->head_too_long = true;
        return 0;
    }
    enum head_field field = head_field_of(key);
    if (field != HEAD_OTHER && !call->head[field]) {
        nghttp2_rcbuf_incref(value);
        call->head[field] = value;
    }
    if (self->conn->transport == RPC_TLS_HTTP2)
        call_keep_field(call, name, value);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_server *self = user_data;
    struct rpc_conn *conn = self->conn;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    const struct rpc_limits *limits = &conn->pool->limits;
    self->heading_since_ms = pool_now_ms(conn->pool);
    uint32_t most = limits->streams_announced < limits->streams_max ? limits->streams_announced
                                                                    : limits->streams_max;
    if (conn->open_count >= most || self->link.unsent_bytes > limits->conn_unsent_bytes_max ||
        self->link.head_bytes > limits->heads_bytes_max || conn->closing) {
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    struct rpc_call *call = POOL_NEW(conn->pool, struct rpc_call);
    h2_stream_init(&call->stream, &self->link, frame->hd.stream_id);
    call->kind = H2_CALL;
    call->conn = conn;
    call->deadline_ms = UINT64_MAX;
    list_init(&call->deadline.node);
    conn->open_count++;
    self->heading = call;
    (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, &call->stream);
    return 0;
}

/* ---- policing --------------------------------------------------------------------------- */

static void go_away(struct h2_server *self, uint32_t error, struct bytes why)
{
    nghttp2_session *session = self->link.session;
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), error, why.data,
                              why.len) != 0)
        self->link.failed = true;
    conn_close_soon(self->conn);
}

static void count_control(struct h2_server *self, uint32_t cost)
{
    const struct rpc_limits *limits = &self->conn->pool->limits;
    uint64_t now_ms = pool_now_ms(self->conn->pool);
    uint64_t earned = (now_ms - self->control_refill_ms) * limits->control_per_s / 1000;
    if (earned > 0) {
        uint64_t tokens = self->control_tokens + earned;
        self->control_tokens =
            tokens < limits->control_burst ? (uint32_t)tokens : limits->control_burst;
        self->control_refill_ms = now_ms;
    }
    if (self->control_tokens >= cost)
        self->control_tokens -= cost;
    else if (!self->conn->closing)
        go_away(self, NGHTTP2_ENHANCE_YOUR_CALM, BYTES_LIT("too_many_control_frames"));
}

static void police_ping(struct h2_server *self)
{
    const struct rpc_limits *limits = &self->conn->pool->limits;
    if (!limits->ping_policing || self->conn->closing)
        return;
    uint64_t now_ms = pool_now_ms(self->conn->pool);
    uint64_t last_ms = self->last_ping_ms;
    self->last_ping_ms = now_ms;
    if (self->link.sent_headers_or_data) {
        self->link.sent_headers_or_data = false;
        self->ping_strikes = 0;
        return;
    }
    uint64_t apart_ms =
        self->conn->open_count > 0 ? limits->ping_min_ms : PING_WITHOUT_CALLS_MIN_MS;
    if (last_ms == 0 || now_ms - last_ms >= apart_ms)
        return;
    if (++self->ping_strikes > PING_STRIKES_MAX)
        go_away(self, NGHTTP2_ENHANCE_YOUR_CALM, BYTES_LIT("too_many_pings"));
}

static void final_goaway(struct h2_server *self)
{
    if (self->goaway_final)
        return;
    self->goaway_final = true;
    nghttp2_session *session = self->link.session;
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                              NULL, 0) != 0)
        self->link.failed = true;
}

/* ---- frames ----------------------------------------------------------------------------- */

static void stream_half_closed(struct h2_stream *stream)
{
    stream->remote_closed = true;
    h2_stream_work(stream);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_server *self = user_data;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *stream;
    /* Other types have no meaning here; nghttp2 does not show unknown ones. */
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            if (self->heading && self->heading->stream.id == frame->hd.stream_id) {
                self->heading->head_whole = true;
                h2_stream_work(&self->heading->stream);
            }
            self->heading = NULL;
        }
        stream = end ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
        if (stream)
            stream_half_closed(stream);
        return 0;
    case NGHTTP2_DATA:
        if (!end) {
            if (frame->hd.length == 0)
                count_control(self, 1);
            return 0;
        }
        stream = self->link.last_used;
        if (!stream || stream->id != frame->hd.stream_id)
            stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (stream)
            stream_half_closed(stream);
        return 0;
    case NGHTTP2_PING:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            count_control(self, 1);
            police_ping(self);
        } else if (memcmp(frame->ping.opaque_data, shutdown_ping, sizeof(shutdown_ping)) == 0 &&
                   self->conn->shutdown) {
            final_goaway(self);
        }
        return 0;
    case NGHTTP2_SETTINGS:
        count_control(self, 1 + self->conn->open_count / 100);
        return 0;
    case NGHTTP2_PRIORITY:
        count_control(self, 1);
        return 0;
    default:
        return 0;
    }
}

/* Our side of the stream has ended: a client that still sends is told not to (contract: grpc).
 * Only now, because nghttp2 drops what waits in a stream once its RST_STREAM is submitted. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!stream || stream->remote_closed)
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

void h2_server_callbacks(nghttp2_session_callbacks *callbacks)
{
    h2_link_callbacks(callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
}

/* ---- the session ------------------------------------------------------------------------ */

/* Large enough never to close between two passes; the streams' own windows hold clients back. */
#define CONNECTION_WINDOW_BYTES (1 << 30)
#define FRAME_BYTES_MAX         16384

static const struct h2_link_ops link_ops = {.trailers = call_submit_trailers};

void h2_server_new(struct rpc_conn *conn)
{
    struct rpc_pool *pool = conn->pool;
    const struct rpc_limits *limits = &pool->limits;
    struct h2_server *self = POOL_NEW(pool, struct h2_server);
    conn->h2 = self;
    self->conn = conn;
    self->control_tokens = limits->control_burst;
    self->control_refill_ms = pool_now_ms(pool);
    h2_link_init(&self->link, pool, &conn->out, &link_ops);
    self->link.announce_streams = limits->streams_announced;
    CHECK(nghttp2_session_server_new3(&self->link.session, pool->server_callbacks, self,
                                      pool->server_option, &pool->mem) == 0);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_list_bytes_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->window_bytes},
    };
    CHECK(nghttp2_submit_settings(self->link.session, NGHTTP2_FLAG_NONE, settings, 3) == 0);
    CHECK(nghttp2_session_set_local_window_size(self->link.session, NGHTTP2_FLAG_NONE, 0,
                                                CONNECTION_WINDOW_BYTES) == 0);
}

void h2_server_free(struct h2_server *self)
{
    for (struct list *head = &self->link.streams; !list_empty(head);) {
        struct h2_stream *stream = LIST_ENTRY(head->next, struct h2_stream, node);
        stream->closed = true;
        struct rpc_call *call = (struct rpc_call *)stream;
        if (call->kind == H2_CALL) {
            call_cancel(call, RPC_CANCEL_GONE, 0);
            call_deliver(call);
        } else {
            struct http_exchange *exchange = (struct http_exchange *)stream;
            exchange_gone(exchange);
            exchange_deliver(exchange);
        }
    }
    nghttp2_session_del(self->link.session);
    pool_release(self->conn->pool, self);
}

void h2_server_read(struct h2_server *self, struct bytes in)
{
    if (in.len == 0 || self->link.failed)
        return;
    self->ping_sent_ms = 0;
    ssize_t n = nghttp2_session_mem_recv(self->link.session, in.data, in.len);
    if (n < 0) {
        /* FLOODED, BAD_CLIENT_MAGIC and the like: what is queued may still tell the peer. */
        conn_close_soon(self->conn);
    }
}

bool h2_server_wants_read(const struct h2_server *self)
{
    return nghttp2_session_get_outbound_queue_size(self->link.session) <
           self->conn->pool->limits.queued_frames_max;
}

void h2_server_deliver(struct h2_server *self)
{
    struct list batch;
    if (list_empty(&self->link.work))
        return;
    /* What handlers cause comes with the next output, so that they can't keep us here. */
    batch = self->link.work;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&self->link.work);
    for (struct list *node; (node = list_pop(&batch));) {
        struct h2_stream *stream = LIST_ENTRY(node, struct h2_stream, work);
        struct rpc_call *call = (struct rpc_call *)stream;
        if (call->kind == H2_CALL)
            call_deliver(call);
        else
            exchange_deliver((struct http_exchange *)stream);
    }
}

void h2_server_shutdown(struct h2_server *self)
{
    if (nghttp2_submit_shutdown_notice(self->link.session) != 0 ||
        nghttp2_submit_ping(self->link.session, NGHTTP2_FLAG_NONE, shutdown_ping) != 0)
        self->link.failed = true;
    conn_timer_by(self->conn, pool_now_ms(self->conn->pool) + SHUTDOWN_NOTICE_MS);
}

bool h2_server_finished(const struct h2_server *self)
{
    if (self->link.failed)
        return true;
    if (self->conn->shutdown && self->goaway_final && self->conn->open_count == 0)
        return true;
    return !nghttp2_session_want_read(self->link.session);
}

/* ---- time ------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

uint64_t h2_server_due_ms(const struct h2_server *self)
{
    const struct rpc_conn *conn = self->conn;
    const struct rpc_limits *limits = &conn->pool->limits;
    uint64_t now_ms = pool_now_ms(conn->pool);
    uint64_t due_ms = UINT64_MAX;
    if (self->ping_sent_ms)
        due_ms = self->ping_sent_ms + limits->ping_timeout_ms;
    else if (limits->ping_interval_ms)
        due_ms = conn->last_read_ms + limits->ping_interval_ms;
    if (self->heading)
        due_ms = sooner(due_ms, self->heading_since_ms + limits->header_timeout_ms);
    if (conn->open_count > 0 && limits->stall_timeout_ms)
        due_ms = sooner(due_ms, now_ms + limits->stall_timeout_ms / 2 + 1);
    if (conn->shutdown && !self->goaway_final)
        due_ms = sooner(due_ms, now_ms + SHUTDOWN_NOTICE_MS);
    return due_ms;
}

/* A finished answer that no window lets out gives back what it holds. */
static void drop_stalled(struct h2_server *self, uint64_t now_ms)
{
    uint32_t timeout_ms = self->conn->pool->limits.stall_timeout_ms;
    if (!timeout_ms)
        return;
    LIST_FOREACH_SAFE (node, after, &self->link.streams) {
        struct h2_stream *stream = LIST_ENTRY(node, struct h2_stream, node);
        if (!stream->finishing || stream->outbox.bytes == 0 || stream->closed ||
            now_ms - stream->progress_ms < timeout_ms)
            continue;
        struct rpc_call *call = (struct rpc_call *)stream;
        if (call->kind == H2_CALL)
            call_cancel(call, RPC_CANCEL_GONE, NGHTTP2_CANCEL);
        else
            h2_stream_reset(stream, NGHTTP2_CANCEL);
    }
}

void h2_server_tick(struct h2_server *self, uint64_t now_ms)
{
    struct rpc_conn *conn = self->conn;
    const struct rpc_limits *limits = &conn->pool->limits;
    if (self->ping_sent_ms && now_ms - self->ping_sent_ms >= limits->ping_timeout_ms) {
        conn->failed = true;
        return;
    }
    if (!self->ping_sent_ms && limits->ping_interval_ms &&
        now_ms - conn->last_read_ms >= limits->ping_interval_ms) {
        self->ping_sent_ms = now_ms;
        if (nghttp2_submit_ping(self->link.session, NGHTTP2_FLAG_NONE, NULL) != 0)
            self->link.failed = true;
    }
    if (self->heading && now_ms - self->heading_since_ms >= limits->header_timeout_ms)
        go_away(self, NGHTTP2_ENHANCE_YOUR_CALM, BYTES_LIT("header_timeout"));
    if (conn->shutdown)
        final_goaway(self);
    drop_stalled(self, now_ms);
}
