/* What both ends of an HTTP/2 connection have in common: a session of nghttp2 whose output goes
 * into an output queue, and streams with something to send, to receive, and events to tell.
 *
 * No handler ever runs inside a callback of nghttp2: a callback notes what happened in the
 * stream and puts the stream on the link's work list; the owner delivers the list afterwards.
 * DATA is answered by a promise of n bytes (NO_COPY), so that nghttp2 never copies a body; it is
 * told to pause when a slice is full.
 * Thread: the connection's.  Owns: the session. */
#pragma once

#include "rpc/inbox.h"
#include "rpc/outbox.h"

struct h2_stream;

struct h2_link_ops {
    /* Submits the trailers of a stream whose last DATA is being framed. */
    void (*trailers)(struct h2_stream *stream);
};

struct h2_link {
    struct rpc_pool *pool;
    nghttp2_session *session;
    struct out *out;
    const struct h2_link_ops *ops;
    struct list streams;       /* all, h2_stream.node */
    struct list work;          /* those with something to tell, h2_stream.work */
    size_t unsent_bytes;       /* held in outboxes */
    size_t partial_bytes;      /* in inboxes */
    size_t head_bytes;         /* of the header lists of streams that are open */
    uint32_t announce_streams; /* put into the first SETTINGS; UINT32_MAX: not */
    bool settings_went;        /* the first SETTINGS are in the output */
    bool sent_headers_or_data; /* since whoever looks cleared it (ping strikes) */
    bool pumping;
    bool failed;                 /* the session cannot go on */
    struct h2_stream *last_used; /* of the last DATA frame, saves a look-up; may be NULL */
};

struct h2_stream {
    struct list node;
    struct list work;
    struct h2_link *link;
    int32_t id;
    struct outbox outbox;
    struct inbox inbox;
    size_t inbox_counted; /* of its bytes in link->partial_bytes */
    size_t head_bytes;    /* in link->head_bytes */
    uint64_t progress_ms; /* bytes were last framed, or first put */
    uint32_t close_error; /* of RST_STREAM or GOAWAY; valid when closed */
    bool with_body;       /* a data source was submitted */
    bool deferred;        /* nghttp2 waits for nghttp2_session_resume_data */
    bool finishing;       /* nothing more will be put into the outbox */
    bool with_trailers;   /* the end is trailers, not END_STREAM of DATA */
    bool ended;           /* its last frame is framed */
    bool blocked;         /* was not writable */
    bool tell_writable;
    bool remote_closed; /* END_STREAM came */
    bool closed;        /* nghttp2 has forgotten it */
    bool paused;        /* no messages, by the handler's wish */
    bool waits_for_grant;
    bool discard; /* what still arrives is nobody's business */
};

void h2_link_init(struct h2_link *self, struct rpc_pool *pool, struct out *out,
                  const struct h2_link_ops *ops);
/* The callbacks that both ends share. */
void h2_link_callbacks(nghttp2_session_callbacks *callbacks);
/* Frames what the windows allow into the output, up to a slice. */
void h2_link_pump(struct h2_link *self);

void h2_stream_init(struct h2_stream *self, struct h2_link *link, int32_t id);
void h2_stream_done(struct h2_stream *self);
/* On the work list, once. */
void h2_stream_work(struct h2_stream *self);
nghttp2_data_provider h2_stream_source(struct h2_stream *self);
/* After putting something into the outbox, or finishing. */
void h2_stream_resume(struct h2_stream *self);
void h2_stream_put(struct h2_stream *self, const struct bytes *parts, unsigned part_count);
void h2_stream_put_promise(struct h2_stream *self, const struct rpc_promise *promise);
/* prefix + message */
void h2_stream_put_message(struct h2_stream *self, const struct bytes *parts, unsigned part_count,
                           size_t len);
/* Drops what no frame holds yet and sends RST_STREAM. */
void h2_stream_reset(struct h2_stream *self, uint32_t http2_error);
bool h2_stream_writable(struct h2_stream *self);
/* A DATA chunk arrived. */
void h2_stream_fed(struct h2_stream *self, struct bytes chunk);
/* Counts the inbox's memory in the link's. */
void h2_stream_count_inbox(struct h2_stream *self);
/* n wire bytes were delivered: the window opens again. */
void h2_stream_consumed(struct h2_stream *self, size_t n);
/* The window grows to hold a whole message of so many wire bytes, or goes back to normal (0). */
void h2_stream_widen(struct h2_stream *self, size_t wire_bytes);

#define H2_NV(name_, value_, flags_)                                             \
    ((nghttp2_nv){(uint8_t *)(uintptr_t)(name_), (uint8_t *)(uintptr_t)(value_), \
                  sizeof(name_) - 1, sizeof(value_) - 1, (flags_)})
#define H2_NV_STATIC(name_, value_) \
    H2_NV(name_, value_, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

static inline nghttp2_nv h2_nv_bytes(struct bytes name, struct bytes value, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data, name.len,
                        value.len, flags};
}

static inline struct bytes rcbuf_bytes(nghttp2_rcbuf *rcbuf)
{
    if (!rcbuf)
        return BYTES_NONE;
    nghttp2_vec vec = nghttp2_rcbuf_get_buf(rcbuf);
    return bytes_of(vec.base, vec.len);
}
