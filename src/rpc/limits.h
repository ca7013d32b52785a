/* Every bound of this folder in one struct; each row says what it protects.
 * Fixed when a pool is made; all connections of the pool share them.  Thread: any, read only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_limits {
    /* gRPC messages. */
    size_t receive_bytes_max; /* one message, before and after decompression: one request's
                                 memory; longer ones end their call with ResourceExhausted */
    size_t send_bytes_max;    /* one message sent; longer ones end their call */

    /* HTTP/2. */
    uint32_t streams_announced;   /* MAX_CONCURRENT_STREAMS; UINT32_MAX: not announced, because
                                     clients queue above it without a word */
    uint32_t streams_max;         /* calls open on one connection, announced or not: memory of
                                     streams; above it REFUSED_STREAM */
    size_t header_list_bytes_max; /* one header list, names + values + 32 each: HPACK bombs; above
                                     it RST_STREAM FRAME_SIZE_ERROR; for HTTP/1.1 431 */
    size_t heads_bytes_max; /* header lists of one connection's open calls, counted as above: above
                               it REFUSED_STREAM */
    size_t window_bytes;    /* a stream's receive window until its message's length is known */
    size_t partial_bytes_max; /* messages of one connection that have begun to arrive: slow
                                 senders' memory; above it the call ends ResourceExhausted */
    uint32_t reset_burst;     /* RST_STREAM frames at once (rapid reset) … */
    uint32_t reset_per_s;     /* … and a second; above: GOAWAY */
    uint32_t control_burst; /* SETTINGS, PING, PRIORITY and empty DATA frames at once … (SETTINGS
                               count once more for each hundred streams, which they all touch) */
    uint32_t control_per_s; /* … and a second: floods; above: GOAWAY ENHANCE_YOUR_CALM */
    uint32_t continuations_max;    /* CONTINUATION frames after one HEADERS; above: GOAWAY */
    uint32_t settings_entries_max; /* entries of one SETTINGS frame; above: GOAWAY */
    uint32_t acks_max;             /* SETTINGS and PING acks waiting in the output; above: closed */
    uint32_t queued_frames_max;    /* frames but DATA that wait for the socket: who asks without
                                      reading what comes back; from there on it is not read from */

    /* Output. */
    size_t slice_bytes;           /* output made ahead of the socket, per connection */
    size_t call_unsent_bytes_max; /* a call is writable below it (rpc_call_writable) */
    size_t conn_unsent_bytes_max; /* answers waiting for a client's windows: above it new calls
                                     are refused (REFUSED_STREAM) */
    uint32_t stall_timeout_ms;    /* a finished answer of which nothing could be sent for so long is
                                     dropped: zero windows that pin what answers hold */

    /* HTTP/1.1. */
    size_t body_bytes_max;     /* a body collected whole; above it 413 */
    size_t bodies_bytes_max;   /* those of all connections: many slow senders; above it 503 */
    size_t target_bytes_max;   /* request target; above it 414 */
    uint32_t headers_max;      /* header lines; above it 431 */
    size_t pipeline_bytes_max; /* input kept while an earlier request is answered; then the
                                  connection wants no reading */

    /* Time. */
    uint32_t preface_timeout_ms; /* connection made to first request head or client preface */
    uint32_t header_timeout_ms;  /* first byte of a request head to its end (slow headers) */
    uint32_t body_timeout_ms;    /* between two arrivals of a body that is collected whole */
    uint32_t idle_timeout_ms;    /* HTTP/1.1: kept alive without a request; 0: for ever */

    /* Keepalive (contract: limits, grpc-keepalive-*). */
    uint64_t ping_interval_ms; /* server's PING after so long without input; 0: never */
    uint64_t ping_timeout_ms;  /* no input since that PING: closed */
    bool ping_policing;        /* strikes; a plain port only */
    uint64_t ping_min_ms;      /* pings of a client with open calls nearer than this are strikes;
                                  without calls nearer than two hours */
};

/* etcd's values where etcd has one. */
struct rpc_limits rpc_limits_default(void);
