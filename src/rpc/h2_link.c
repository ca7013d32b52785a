#include "rpc/h2_link.h"

#include "base/check.h"

void h2_link_init(struct h2_link *self, struct rpc_pool *pool, struct out *out,
                  const struct h2_link_ops *ops)
{
    *self = (struct h2_link){.pool = pool, .out = out, .ops = ops, .announce_streams = UINT32_MAX};
    list_init(&self->streams);
    list_init(&self->work);
}

/* ---- callbacks -------------------------------------------------------------------------- */

static ssize_t read_callback(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                             uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct h2_stream *stream = source->ptr;
    if (outbox_broken(&stream->outbox))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = stream->outbox.bytes < length ? stream->outbox.bytes : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == stream->outbox.bytes && stream->finishing) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        stream->ended = true;
        if (stream->with_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            stream->link->ops->trailers(stream);
        }
    } else if (n == 0) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static int send_data_callback(nghttp2_session *session, nghttp2_frame *frame,
                              const uint8_t *framehd, size_t length, nghttp2_data_source *source,
                              void *user_data)
{
    struct h2_stream *stream = source->ptr;
    struct h2_link *link = user_data;
    CHECK(frame->data.padlen == 0);
    memcpy(out_reserve(link->out, 9), framehd, 9);
    size_t held = outbox_held(&stream->outbox);
    outbox_frame(&stream->outbox, link->out, length);
    link->unsent_bytes -= held - outbox_held(&stream->outbox);
    link->sent_headers_or_data = true;
    stream->progress_ms = pool_now_ms(link->pool);
    size_t max = link->pool->limits.call_unsent_bytes_max;
    if (stream->blocked && stream->outbox.bytes <= max / 2) {
        stream->blocked = false;
        stream->tell_writable = true;
        h2_stream_work(stream);
    }
    return link->out->bytes >= link->pool->limits.slice_bytes ? NGHTTP2_ERR_PAUSE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    struct h2_link *link = user_data;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream)
        return 0;
    if (link->last_used == stream)
        link->last_used = NULL;
    stream->closed = true;
    stream->close_error = error;
    h2_stream_work(stream);
    return 0;
}

static int on_data_chunk_recv(nghttp2_session *session, uint8_t flags, int32_t id,
                              const uint8_t *data, size_t len, void *user_data)
{
    struct h2_link *link = user_data;
    /* The connection's window never closes: half messages would block each other for ever. */
    if (nghttp2_session_consume_connection(session, len) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct h2_stream *stream = link->last_used;
    if (!stream || stream->id != id)
        stream = link->last_used = nghttp2_session_get_stream_user_data(session, id);
    if (stream)
        h2_stream_fed(stream, bytes_of(data, len));
    return 0;
}

void h2_link_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data_callback);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk_recv);
}

/* ---- output ----------------------------------------------------------------------------- */

#define FRAME_HEAD_BYTES    9
#define FRAME_TYPE_AT       3
#define SETTINGS_ENTRY_SIZE 6

/* Adds MAX_CONCURRENT_STREAMS to our first SETTINGS behind nghttp2's back: told about it, nghttp2
 * would end the connection of a client that goes above it, where grpc clients are used to
 * REFUSED_STREAM for the one call. */
static void put_first_settings(struct h2_link *self, struct bytes frame)
{
    uint32_t n = self->announce_streams;
    size_t len = frame.len - FRAME_HEAD_BYTES + SETTINGS_ENTRY_SIZE;
    CHECK(frame.len >= FRAME_HEAD_BYTES && frame.data[FRAME_TYPE_AT] == NGHTTP2_SETTINGS);
    uint8_t head[FRAME_HEAD_BYTES];
    memcpy(head, frame.data, sizeof(head));
    head[0] = (uint8_t)(len >> 16);
    head[1] = (uint8_t)(len >> 8);
    head[2] = (uint8_t)len;
    const uint8_t entry[SETTINGS_ENTRY_SIZE] = {0,
                                                NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                (uint8_t)(n >> 24),
                                                (uint8_t)(n >> 16),
                                                (uint8_t)(n >> 8),
                                                (uint8_t)n};
    out_put(self->out, bytes_of(head, sizeof(head)));
    out_put(self->out, bytes_of(entry, sizeof(entry)));
    out_put(self->out, bytes_skip(frame, FRAME_HEAD_BYTES));
}

void h2_link_pump(struct h2_link *self)
{
    if (self->failed || self->pumping)
        return;
    self->pumping = true;
    while (self->out->bytes < self->pool->limits.slice_bytes) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(self->session, &data);
        if (n < 0)
            self->failed = true;
        if (n <= 0)
            break;
        if (!self->settings_went && self->announce_streams != UINT32_MAX &&
            data[FRAME_TYPE_AT] == NGHTTP2_SETTINGS)
            put_first_settings(self, bytes_of(data, (size_t)n));
        else
            out_put(self->out, bytes_of(data, (size_t)n));
        if (data[FRAME_TYPE_AT] == NGHTTP2_SETTINGS)
            self->settings_went = true;
        if (data[FRAME_TYPE_AT] == NGHTTP2_HEADERS)
            self->sent_headers_or_data = true;
    }
    self->pumping = false;
}

/* ---- streams ---------------------------------------------------------------------------- */

void h2_stream_init(struct h2_stream *self, struct h2_link *link, int32_t id)
{
    *self = (struct h2_stream){.link = link, .id = id};
    list_init(&self->work);
    list_push(&link->streams, &self->node);
}

void h2_stream_done(struct h2_stream *self)
{
    struct h2_link *link = self->link;
    list_remove(&self->node);
    list_remove(&self->work);
    if (link->last_used == self)
        link->last_used = NULL;
    link->unsent_bytes -= outbox_held(&self->outbox);
    link->partial_bytes -= self->inbox_counted;
    link->head_bytes -= self->head_bytes;
    outbox_done(&self->outbox, link->pool);
    inbox_done(&self->inbox);
}

void h2_stream_work(struct h2_stream *self)
{
    if (self->work.next == &self->work)
        list_push(&self->link->work, &self->work);
}

nghttp2_data_provider h2_stream_source(struct h2_stream *self)
{
    self->with_body = true;
    self->progress_ms = pool_now_ms(self->link->pool);
    return (nghttp2_data_provider){.source.ptr = self, .read_callback = read_callback};
}

void h2_stream_resume(struct h2_stream *self)
{
    if (!self->deferred || self->closed)
        return;
    self->deferred = false;
    self->progress_ms = pool_now_ms(self->link->pool);
    (void)nghttp2_session_resume_data(self->link->session, self->id);
}

void h2_stream_put(struct h2_stream *self, const struct bytes *parts, unsigned part_count)
{
    size_t before = self->outbox.bytes;
    outbox_put(&self->outbox, self->link->pool, parts, part_count);
    self->link->unsent_bytes += self->outbox.bytes - before;
    h2_stream_resume(self);
}

void h2_stream_put_message(struct h2_stream *self, const struct bytes *parts, unsigned part_count,
                           size_t len)
{
    uint8_t *at = outbox_reserve(&self->outbox, self->link->pool, GRPC_PREFIX_BYTES + len);
    grpc_prefix_put(at, (uint32_t)len);
    at += GRPC_PREFIX_BYTES;
    for (unsigned i = 0; i < part_count; at += parts[i].len, i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
    }
    self->link->unsent_bytes += GRPC_PREFIX_BYTES + len;
    h2_stream_resume(self);
}

void h2_stream_put_promise(struct h2_stream *self, const struct rpc_promise *promise)
{
    outbox_put_promise(&self->outbox, self->link->pool, promise);
    h2_stream_resume(self);
}

void h2_stream_reset(struct h2_stream *self, uint32_t http2_error)
{
    if (self->closed)
        return;
    self->link->unsent_bytes -= outbox_held(&self->outbox);
    outbox_done(&self->outbox, self->link->pool);
    self->finishing = true;
    if (nghttp2_submit_rst_stream(self->link->session, NGHTTP2_FLAG_NONE, self->id, http2_error) !=
        0)
        self->link->failed = true;
}

bool h2_stream_writable(struct h2_stream *self)
{
    if (self->outbox.bytes < self->link->pool->limits.call_unsent_bytes_max)
        return true;
    self->blocked = true;
    return false;
}

void h2_stream_count_inbox(struct h2_stream *self)
{
    self->link->partial_bytes += self->inbox.cap - self->inbox_counted;
    self->inbox_counted = self->inbox.cap;
}

void h2_stream_fed(struct h2_stream *self, struct bytes chunk)
{
    if (self->discard)
        return;
    inbox_feed(&self->inbox, chunk);
    h2_stream_work(self);
}

void h2_stream_consumed(struct h2_stream *self, size_t n)
{
    if (n == 0 || self->closed || self->remote_closed)
        return;
    (void)nghttp2_session_consume_stream(self->link->session, self->id, n);
}

void h2_stream_widen(struct h2_stream *self, size_t wire_bytes)
{
    if (self->closed || self->remote_closed)
        return;
    size_t window = self->link->pool->limits.window_bytes + wire_bytes;
    (void)nghttp2_session_set_local_window_size(self->link->session, NGHTTP2_FLAG_NONE, self->id,
                                                (int32_t)window);
}
