/* One HTTP request that is not gRPC and its response: pages, the gateway, members' streams; the
 * same for HTTP/1.1 and HTTP/2.
 *
 *     http_begin ──┬─> http_request(whole body)                 collected, up to body_bytes_max
 *                  └─ http_exchange_stream_body ─> http_body… ─> http_body_end
 *     answered at any time: http_response_begin ─> http_response_body… ─> http_response_end,
 *     or http_response (all at once)  ──> http_closed
 *
 * The exchange lives until its http_closed event: exactly once, always last, never from inside a
 * function of this header. Answering a request whose client is gone does nothing.
 * rpc answers by itself: 400, 408, 413, 414, 431, 501, and 100 (Continue) where the client waits
 * for it and http_begin has not answered.
 * Thread: the connection's. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "rpc/promise.h"

struct http_exchange;
struct rpc_conn;

struct http_header {
    struct bytes name;
    struct bytes value;
};

/* What was asked; valid as long as the exchange. */
struct bytes http_exchange_method(const struct http_exchange *self);
/* Path and query as sent ("*" and absolute forms too, the latter without scheme and host). */
struct bytes http_exchange_target(const struct http_exchange *self);
struct bytes http_exchange_host(const struct http_exchange *self);
/* First header of that name (any case); data == NULL: absent. */
struct bytes http_exchange_header(const struct http_exchange *self, const char *name);
/* All headers in order, names in lower case; pseudo-headers left out. */
const struct http_header *http_exchange_headers(const struct http_exchange *self,
                                                size_t *ret_count);
/* Which version: 1 or 2. */
unsigned http_exchange_version(const struct http_exchange *self);
struct rpc_conn *http_exchange_conn(const struct http_exchange *self);
void http_exchange_set_data(struct http_exchange *self, void *data);
void *http_exchange_data(const struct http_exchange *self);
/* Answered in full, or its client is gone. */
bool http_exchange_over(const struct http_exchange *self);

/* In http_begin: the body comes in pieces as it arrives, of any total length. */
void http_exchange_stream_body(struct http_exchange *self);
/* Back-pressure on a streamed body; what the connection has read already may still come. */
void http_exchange_pause(struct http_exchange *self);
void http_exchange_resume(struct http_exchange *self);

/* Length unknown: chunked in HTTP/1.1, or until the connection closes for HTTP/1.0. */
#define HTTP_LENGTH_UNKNOWN UINT64_MAX
/* Head of the response. Headers are copied; never name Content-Length, Transfer-Encoding,
 * Connection or Date among them (rpc writes the first three). */
void http_response_begin(struct http_exchange *self, unsigned status,
                         const struct http_header *headers, size_t header_count, uint64_t length);
/* A piece of body, copied; endless streams flush with each. For HEAD it is dropped. */
void http_response_body(struct http_exchange *self, struct bytes piece);
/* Takes the promise over in every case. */
void http_response_body_promise(struct http_exchange *self, const struct rpc_promise *promise);
/* All said. With fewer bytes than announced the connection (HTTP/1.1) or stream is cut. */
void http_response_end(struct http_exchange *self);
/* Gives the exchange up: the client sees the connection or stream cut. */
void http_exchange_abort(struct http_exchange *self);

/* Everything at once: status, Content-Type (NULL: none), body. */
void http_response(struct http_exchange *self, unsigned status, const char *content_type,
                   struct bytes body);

/* Bytes of this response that the socket (HTTP/1.1) or window (HTTP/2) has not taken. */
size_t http_exchange_unsent_bytes(const struct http_exchange *self);
/* Below call_unsent_bytes_max; else http_writable comes when half of it is free. */
bool http_exchange_writable(const struct http_exchange *self);

/* "OK", "Not Found", …; "Status" for numbers without a name. Never NULL. */
const char *http_status_text(unsigned status);
