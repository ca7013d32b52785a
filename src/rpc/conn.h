/* The server's end of one connection: HTTP/2 with gRPC and plain requests, or HTTP/1.1.
 * Sans-I/O: the caller moves bytes between socket and connection and tells the time; it knows no
 * socket, no clock, no thread and no log.
 *
 *     socket ─ rpc_conn_read ─> [sniff] ─┬─> HTTP/2 session ─┬─> gRPC call     rpc/call.h
 *                                        │                   └─> exchange      rpc/http.h
 *                                        └─> HTTP/1.1 parser ──> exchange
 *     socket <─ rpc_conn_output/wrote ─ output queue of literal bytes and promises
 *
 * Every event is delivered outside of the protocol libraries' own callbacks, so a handler may
 * call any function of this folder except rpc_conn_read, rpc_conn_output, rpc_conn_wrote,
 * rpc_conn_free and rpc_pool_tick.
 * Thread: one at a time, that of its pool.  Owns: all memory of calls and exchanges. */
#pragma once

#include "rpc/call.h"
#include "rpc/http.h"
#include "rpc/pool.h"

struct rpc_conn;

enum rpc_transport {
    RPC_PLAIN,     /* sniffs: HTTP/2 preface is gRPC only, everything else HTTP/1.1 */
    RPC_TLS_HTTP2, /* ALPN said h2: gRPC by content-type, the rest are exchanges */
    RPC_TLS_HTTP1, /* ALPN said http/1.1 or nothing: exchanges; a preface is sniffed too */
};

enum rpc_cancel {
    RPC_CANCEL_RESET,    /* the client sent RST_STREAM */
    RPC_CANCEL_GONE,     /* the connection ended */
    RPC_CANCEL_DEADLINE, /* its grpc-timeout passed */
    RPC_CANCEL_REFUSED,  /* what it sent broke a rule; rpc has answered with the status for it */
};

/* All functions may be NULL but those of the kinds of request that the caller serves: without
 * call_begin every call is Unimplemented, without http_request every exchange 404.
 * ctx is the connection's own pointer, given at rpc_conn_new. */
struct rpc_handler {
    /* There is something to write, or the connection is finished, and it was not so before: call
     * rpc_conn_output until it gives 0, then ask rpc_conn_finished. May come from inside any
     * function of this folder; only mark the connection in it. */
    void (*conn_active)(void *ctx, struct rpc_conn *conn);

    /* Headers are there, checked and split. May answer at once. */
    void (*call_begin)(void *ctx, struct rpc_call *call);
    /* One whole message, decompressed and contiguous; valid during the event. */
    void (*call_message)(void *ctx, struct rpc_call *call, struct bytes message);
    /* The client sends no more. */
    void (*call_half_closed)(void *ctx, struct rpc_call *call);
    void (*call_cancelled)(void *ctx, struct rpc_call *call, enum rpc_cancel why);
    void (*call_writable)(void *ctx, struct rpc_call *call);
    void (*call_closed)(void *ctx, struct rpc_call *call);
    /* A message of so many bytes (more than window_bytes) is about to arrive. True: room is
     * reserved. False: not now; the client waits until rpc_call_grant. */
    bool (*reserve)(void *ctx, struct rpc_call *call, size_t len);
    /* What was granted is free again (not called for messages that were taken over). */
    void (*unreserve)(void *ctx, struct rpc_call *call, size_t len);

    void (*http_begin)(void *ctx, struct http_exchange *exchange);
    void (*http_request)(void *ctx, struct http_exchange *exchange, struct bytes body);
    void (*http_body)(void *ctx, struct http_exchange *exchange, struct bytes piece);
    void (*http_body_end)(void *ctx, struct http_exchange *exchange);
    void (*http_writable)(void *ctx, struct http_exchange *exchange);
    /* complete: the whole answer was handed to the socket's output. */
    void (*http_closed)(void *ctx, struct http_exchange *exchange, bool complete);
};

struct rpc_conn *rpc_conn_new(struct rpc_pool *pool, enum rpc_transport transport,
                              const struct rpc_handler *handler, void *ctx);
/* Cancels and closes what is open (with its events), frees. NULL is legal. */
void rpc_conn_free(struct rpc_conn *self);
void *rpc_conn_ctx(const struct rpc_conn *self);

/* Feeds what the socket gave; in and everything after it is valid during the call only.
 * A broken peer gets its GOAWAY or 400 through the output, after which the connection is
 * finished: there is no error for the caller to handle. */
void rpc_conn_read(struct rpc_conn *self, struct bytes in, uint64_t now_ms);
/* The peer will send no more. An HTTP/1.1 answer still goes out; everything else ends. */
void rpc_conn_read_end(struct rpc_conn *self, uint64_t now_ms);
/* False: leave the socket unread for now (pipelined input is full). Asked after each pass. */
bool rpc_conn_wants_read(const struct rpc_conn *self);

/* Bytes for the socket, at most slice_bytes, gathered into at most iov_max iovecs; valid until
 * rpc_conn_wrote, which must follow (with 0 where the socket took nothing) before any connection
 * of the pool is asked again: they share the memory of small copies. Returns the number of
 * bytes, 0: nothing to write. */
size_t rpc_conn_output(struct rpc_conn *self, struct iovec *iov, unsigned iov_max,
                       unsigned *ret_iov_count);
void rpc_conn_wrote(struct rpc_conn *self, size_t n);
/* True: rpc_conn_output may give something. */
bool rpc_conn_wants_write(const struct rpc_conn *self);
/* Nothing more to read or write: close the socket, then rpc_conn_free. */
bool rpc_conn_finished(const struct rpc_conn *self);

/* Graceful end: GOAWAY (HTTP/1.1: Connection: close), calls in flight go on, new ones are left
 * to the client's next connection; finished when the last is over. */
void rpc_conn_shutdown(struct rpc_conn *self);

/* Calls and exchanges that are open. */
unsigned rpc_conn_open_count(const struct rpc_conn *self);
/* Everything that waits for socket or windows. */
size_t rpc_conn_unsent_bytes(const struct rpc_conn *self);
/* True: HTTP/2, false: HTTP/1.1 or not known yet. */
bool rpc_conn_is_http2(const struct rpc_conn *self);
