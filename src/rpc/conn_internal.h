/* A server connection as this folder's own files see it.
 *
 *     conn.c         sniffing, deadlines, output, the public functions of the connection
 *     h2_server.c    nghttp2's callbacks, policing, headers; makes calls and exchanges
 *     call.c         answers of gRPC calls, delivery of their events
 *     h1_server.c    HTTP/1.1: parser, pipelining, errors
 *     exchange.c     answers of exchanges for both versions
 */
#pragma once

#include "rpc/conn.h"
#include "rpc/h2_link.h"

enum conn_protocol { CONN_SNIFFING, CONN_HTTP2, CONN_HTTP1 };

#define H2_PREFACE_BYTES 24

struct h2_server;
struct h1_server;

struct rpc_conn {
    struct rpc_pool *pool;
    const struct rpc_handler *handler;
    void *ctx;
    enum rpc_transport transport;
    enum conn_protocol protocol;
    struct out out;
    struct wheel_timer timer;
    uint64_t born_ms;
    uint64_t last_read_ms;
    uint64_t closing_since_ms;
    struct h2_server *h2;
    struct h1_server *h1;
    unsigned open_count;
    unsigned sniffed;
    uint8_t sniff[H2_PREFACE_BYTES];
    bool active;   /* conn_active was said, output not yet found empty */
    bool busy;     /* inside read, output or wrote: they do not nest */
    bool closing;  /* reads nothing more; finished when the output is out */
    bool failed;   /* finished at once */
    bool shutdown; /* rpc_conn_shutdown was called */
    bool read_end;
};

/* Says conn_active once. */
void conn_touch(struct rpc_conn *self);
/* Reads no more; finished when the output is out, or after a while without. */
void conn_close_soon(struct rpc_conn *self);
/* The timer fires at due_ms at the latest. */
void conn_timer_by(struct rpc_conn *self, uint64_t due_ms);

/* ---- HTTP/2 ----------------------------------------------------------------------------- */

/* Header fields that are kept by name; the order is that of enum rpc_metadata, then our own. */
enum head_field {
    HEAD_TOKEN,
    HEAD_AUTHORIZATION,
    HEAD_HASLEADER,
    HEAD_CLIENT_API_VERSION,
    HEAD_USER_AGENT,
    HEAD_METHOD,
    HEAD_PATH,
    HEAD_AUTHORITY,
    HEAD_CONTENT_TYPE,
    HEAD_TIMEOUT,
    HEAD_ENCODING,
    HEAD_COUNT,
    HEAD_OTHER,
};

struct h2_field {
    nghttp2_rcbuf *name, *value;
};

enum h2_kind { H2_CALL, H2_EXCHANGE };

/* Begins as a call; becomes an exchange when its head is whole and is not gRPC. */
struct rpc_call {
    struct h2_stream stream; /* first */
    enum h2_kind kind;       /* second, as in http_exchange */
    struct rpc_conn *conn;
    nghttp2_rcbuf *head[HEAD_COUNT];
    struct h2_field *fields; /* all fields, kept only where the call may become an exchange */
    unsigned field_count, field_cap;
    struct bytes service, method;
    struct wheel_timer deadline;
    uint64_t deadline_ms;
    void *data;
    enum rpc_cancel cancel_why;
    enum grpc_status status; /* for the trailers */
    uint8_t *text;           /* encoded; pool memory */
    size_t text_len;
    size_t reserved; /* bytes granted for the message in the making */
    bool head_whole;
    bool head_too_long;
    bool begun; /* the handler knows it */
    bool unary;
    bool got_message; /* of a unary call */
    bool over;        /* finished, reset or cancelled */
    bool tell_cancelled;
    bool half_close_told;
    bool response_started;
    bool in_message; /* inside call_message */
};

struct http_exchange {
    struct h2_stream stream; /* HTTP/2; first */
    enum h2_kind kind;
    struct rpc_conn *conn;
    struct bytes method, target, host;
    struct http_header *headers; /* pool memory, the names and values too */
    size_t header_count;
    uint8_t *header_bytes;
    struct buf body; /* collected */
    void *data;
    uint64_t length;     /* of the response, as announced */
    uint64_t length_put; /* of the response, so far */
    uint8_t version;     /* 1 or 2 */
    bool begun;          /* the handler knows it */
    bool stream_body;
    bool has_body;     /* the request's body has yet to arrive, in part or whole */
    bool request_told; /* http_request or http_body_end was said */
    bool responding;   /* the response's head is out */
    bool over;         /* whole answer put, aborted, or the client is gone */
    bool complete;
    bool no_body; /* HEAD, 204, 304: no byte of body goes out */
    bool chunked;
    bool close_after; /* HTTP/1.1: the connection ends with this answer */
    bool http10;
    bool paused;
    bool blocked; /* HTTP/1.1: was not writable */
    bool tell_writable;
};

struct h2_server {
    struct h2_link link; /* first: nghttp2's user data */
    struct rpc_conn *conn;
    struct rpc_call *heading; /* its header block is arriving */
    uint64_t heading_since_ms;
    uint64_t last_ping_ms; /* of the client; 0: none yet */
    unsigned ping_strikes;
    uint64_t ping_sent_ms; /* ours, without input since; 0: none */
    uint32_t control_tokens;
    uint64_t control_refill_ms;
    bool goaway_final;
};

void h2_server_new(struct rpc_conn *conn);
void h2_server_free(struct h2_server *self);
void h2_server_read(struct h2_server *self, struct bytes in);
bool h2_server_wants_read(const struct h2_server *self);
/* Delivers what the streams have to tell. */
void h2_server_deliver(struct h2_server *self);
void h2_server_shutdown(struct h2_server *self);
/* When its timers want to look again, and the look. */
uint64_t h2_server_due_ms(const struct h2_server *self);
void h2_server_tick(struct h2_server *self, uint64_t now_ms);
bool h2_server_finished(const struct h2_server *self);

/* call.c */
void call_deliver(struct rpc_call *self);
void call_free(struct rpc_call *self);
void call_submit_trailers(struct h2_stream *stream);
/* Drops an answer that could not be sent, or a call whose connection ends. */
void call_cancel(struct rpc_call *self, enum rpc_cancel why, uint32_t http2_error);

/* exchange.c: what HTTP/1.1 and HTTP/2 have in common */
struct http_exchange *exchange_new(struct rpc_conn *conn, uint8_t version);
/* Makes the exchange out of a call whose head is not gRPC; the call is gone afterwards. */
void exchange_from_call(struct rpc_call *call);
/* Copies the head's strings into memory of its own. */
void exchange_set_head(struct http_exchange *self, struct bytes method, struct bytes target,
                       struct bytes host, const struct http_header *headers, size_t header_count);
void exchange_begin(struct http_exchange *self);
/* A piece of the request's body; then its end. */
void exchange_body(struct http_exchange *self, struct bytes piece);
void exchange_body_end(struct http_exchange *self);
/* Its client is gone, or it could not be sent: closed comes next. */
void exchange_gone(struct http_exchange *self);
/* Says closed and frees. */
void exchange_close(struct http_exchange *self);
void exchange_deliver(struct http_exchange *self);
/* Answers by itself, in plain text. */
void exchange_refuse(struct http_exchange *self, unsigned status);

/* ---- HTTP/1.1 --------------------------------------------------------------------------- */

void h1_server_new(struct rpc_conn *conn);
void h1_server_free(struct h1_server *self);
void h1_server_read(struct h1_server *self, struct bytes in);
void h1_server_read_end(struct h1_server *self);
void h1_server_deliver(struct h1_server *self);
void h1_server_shutdown(struct h1_server *self);
uint64_t h1_server_due_ms(const struct h1_server *self);
void h1_server_tick(struct h1_server *self, uint64_t now_ms);
bool h1_server_wants_read(const struct h1_server *self);
/* The exchange's side of the wire. */
void h1_response_begin(struct http_exchange *exchange, unsigned status,
                       const struct http_header *headers, size_t header_count);
void h1_response_body(struct http_exchange *exchange, struct bytes piece);
void h1_response_body_promise(struct http_exchange *exchange, const struct rpc_promise *promise);
void h1_response_end(struct http_exchange *exchange);
void h1_exchange_abort(struct http_exchange *exchange);
/* Looks at kept input again, when an answer is whole or a body is wanted again. */
void h1_server_resume(struct h1_server *self);
