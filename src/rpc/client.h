/* The client's end of one connection: gRPC over HTTP/2, or HTTP/1.1 requests. Sans-I/O like the
 * server's end (rpc/conn.h), the same functions for bytes in and out.
 * Events come outside of the protocol libraries' callbacks: a handler may call anything here but
 * rpc_client_read, _output, _wrote, _free and rpc_pool_tick.
 * Thread: one at a time, that of its pool.  Owns: its calls and fetches. */
#pragma once

#include "rpc/grpc.h"
#include "rpc/http.h"
#include "rpc/pool.h"
#include "rpc/promise.h"

struct rpc_client;
struct rpc_client_call;
struct http_fetch;

enum rpc_client_protocol { RPC_CLIENT_HTTP2, RPC_CLIENT_HTTP1 };

struct rpc_client_handler {
    /* As rpc_handler.conn_active. */
    void (*active)(void *ctx, struct rpc_client *client);
    /* HTTP/2: the server's SETTINGS have come, it is a server. */
    void (*ready)(void *ctx, struct rpc_client *client);
    /* No new calls on this connection (GOAWAY); open ones may still end well. */
    void (*going_away)(void *ctx, struct rpc_client *client);
};

struct rpc_client_config {
    enum rpc_client_protocol protocol;
    bool tls;                  /* :scheme https */
    struct bytes authority;    /* :authority or Host; copied */
    struct bytes user_agent;   /* empty: none; copied */
    uint64_t ping_interval_ms; /* HTTP/2 PING after so long without input while calls are open;
                                  0: never */
    uint64_t ping_timeout_ms;  /* then closed */
    uint64_t read_timeout_ms;  /* HTTP/1.1: no byte for so long while a fetch is open: it ends with
                                  ERR_TIMED_OUT; 0: for ever */
};

struct rpc_client *rpc_client_new(struct rpc_pool *pool, const struct rpc_client_config *config,
                                  const struct rpc_client_handler *handler, void *ctx);
/* Open calls end Unavailable, fetches with ERR_CLOSED. NULL is legal. */
void rpc_client_free(struct rpc_client *self);
void *rpc_client_ctx(const struct rpc_client *self);

/* As rpc_conn_read, _read_end, _output, _wrote, _wants_write, _finished. */
void rpc_client_read(struct rpc_client *self, struct bytes in, uint64_t now_ms);
void rpc_client_read_end(struct rpc_client *self, uint64_t now_ms);
size_t rpc_client_output(struct rpc_client *self, struct iovec *iov, unsigned iov_max,
                         unsigned *ret_iov_count);
void rpc_client_wrote(struct rpc_client *self, size_t n);
bool rpc_client_wants_write(const struct rpc_client *self);
bool rpc_client_finished(const struct rpc_client *self);
/* A new call or fetch may begin: alive, not going away; HTTP/1.1: none is open. */
bool rpc_client_usable(const struct rpc_client *self);
/* Open calls or fetches. */
unsigned rpc_client_open_count(const struct rpc_client *self);

/* ---- gRPC ------------------------------------------------------------------------------- */

struct rpc_client_call_handler {
    /* Response headers have come (not for trailers-only answers). */
    void (*headers)(void *ctx, struct rpc_client_call *call);
    /* One whole message, valid during the event. */
    void (*message)(void *ctx, struct rpc_client_call *call, struct bytes message);
    void (*writable)(void *ctx, struct rpc_client_call *call);
    /* Exactly once, last; text is decoded, valid during the event; the call dies with it. */
    void (*closed)(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                   struct bytes text);
};

struct rpc_client_start {
    struct bytes path;                  /* "/etcdserverpb.KV/Range" */
    const struct http_header *metadata; /* names in lower case; copied */
    size_t metadata_count;
    uint64_t timeout_ms; /* UINT64_MAX: none. Sent as grpc-timeout, and kept here: when it passes,
                            the call ends DeadlineExceeded */
};

/* Fails: ERR_CLOSED where the connection is not usable. */
MUST err rpc_client_call_start(struct rpc_client *client, const struct rpc_client_start *start,
                               const struct rpc_client_call_handler *handler, void *ctx,
                               struct rpc_client_call **ret_call);
/* One message, copied. last: half-closes with it. */
void rpc_client_call_send(struct rpc_client_call *self, const struct bytes *parts,
                          unsigned part_count, bool last);
void rpc_client_call_half_close(struct rpc_client_call *self);
/* RST_STREAM CANCEL; closed (Canceled) comes at the next read, tick or output. */
void rpc_client_call_cancel(struct rpc_client_call *self);
/* Back-pressure: no message event until resumed. */
void rpc_client_call_pause(struct rpc_client_call *self);
void rpc_client_call_resume(struct rpc_client_call *self);
size_t rpc_client_call_unsent_bytes(const struct rpc_client_call *self);
/* In closed: the server has surely not looked at the call (REFUSED_STREAM, or above the last
 * stream of its GOAWAY, or it never left): sending it again is safe. */
bool rpc_client_call_unprocessed(const struct rpc_client_call *self);

/* ---- HTTP/1.1 --------------------------------------------------------------------------- */

struct http_fetch_handler {
    /* Status and headers are there. */
    void (*response)(void *ctx, struct http_fetch *fetch, unsigned status);
    /* A piece of body; or the whole of it, once, where collect_bytes_max was given. */
    void (*body)(void *ctx, struct http_fetch *fetch, struct bytes piece);
    /* The request's body may grow again. */
    void (*writable)(void *ctx, struct http_fetch *fetch);
    /* Exactly once, last. OK; ERR_SYNTAX no HTTP; ERR_LIMIT too long; ERR_TIMED_OUT; ERR_CLOSED
     * connection cut or fetch aborted. The connection may take another fetch if it is usable. */
    void (*closed)(void *ctx, struct http_fetch *fetch, err result);
};

struct http_fetch_start {
    struct bytes method;               /* "GET" */
    struct bytes target;               /* "/raft/stream/message/8e9e05c52164694d" */
    const struct http_header *headers; /* without Host, Content-Length, Transfer-Encoding */
    size_t header_count;
    struct bytes body;        /* sent at once; copied */
    uint64_t body_length;     /* more body follows by http_fetch_send…: its whole length (body
                                 included), or HTTP_LENGTH_UNKNOWN: chunked. 0: body is all */
    size_t collect_bytes_max; /* > 0: the response's body comes whole; longer: ERR_LIMIT */
    uint64_t timeout_ms;      /* for the whole exchange; UINT64_MAX: none */
};

/* Fails: ERR_CLOSED where the connection is not usable. */
MUST err http_fetch_start(struct rpc_client *client, const struct http_fetch_start *start,
                          const struct http_fetch_handler *handler, void *ctx,
                          struct http_fetch **ret_fetch);
void http_fetch_send(struct http_fetch *self, struct bytes piece);
void http_fetch_send_promise(struct http_fetch *self, const struct rpc_promise *promise);
/* The request's body is whole. */
void http_fetch_send_end(struct http_fetch *self);
/* Ends the fetch and the connection with it; closed comes at the next read, tick or output. */
void http_fetch_abort(struct http_fetch *self);
/* Headers of the response; data == NULL: absent. Valid from response to closed. */
struct bytes http_fetch_header(const struct http_fetch *self, const char *name);
unsigned http_fetch_status(const struct http_fetch *self);
/* Bytes of the request that the socket has not taken. */
size_t http_fetch_unsent_bytes(const struct http_fetch *self);
