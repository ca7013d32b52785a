/* One gRPC call on a server connection: what the client asked, and how it is answered.
 *
 *     call_begin ──> call_message… ──> call_half_closed          (what arrives)
 *         └─ rpc_call_headers? ─> rpc_call_send… ─> rpc_call_finish ──> call_closed
 *         └─ rpc_call_answer (all three at once)                ──> call_closed
 *         └─ rpc_call_reset | call_cancelled                    ──> call_closed
 *
 * The call lives until its call_closed event, which comes exactly once, always last and never
 * from inside an rpc_call_… function. Answering a call that was cancelled does nothing.
 * Thread: the connection's; from handlers or between them, never between rpc_conn_output and
 * rpc_conn_wrote. */
#pragma once

#include "rpc/grpc.h"
#include "rpc/promise.h"

struct rpc_call;
struct rpc_conn;

/* Request metadata that the services look at; the rest is not kept. */
enum rpc_metadata {
    RPC_METADATA_TOKEN,
    RPC_METADATA_AUTHORIZATION,
    RPC_METADATA_HASLEADER,
    RPC_METADATA_CLIENT_API_VERSION,
    RPC_METADATA_USER_AGENT,
    RPC_METADATA_COUNT,
};

/* Valid as long as the call. data == NULL: absent. */
struct bytes rpc_call_metadata(const struct rpc_call *self, enum rpc_metadata which);
/* The :path whole, and its two parts. */
struct bytes rpc_call_path(const struct rpc_call *self);
struct bytes rpc_call_service(const struct rpc_call *self);
struct bytes rpc_call_method(const struct rpc_call *self);
/* Monotonic ms; UINT64_MAX: none. When it passes, rpc resets the call (CANCEL, no trailers) and
 * says call_cancelled. */
uint64_t rpc_call_deadline_ms(const struct rpc_call *self);
struct rpc_conn *rpc_call_conn(const struct rpc_call *self);
/* The handler's own pointer; NULL at first. */
void rpc_call_set_data(struct rpc_call *self, void *data);
void *rpc_call_data(const struct rpc_call *self);
bool rpc_call_half_closed(const struct rpc_call *self);
/* True once it was cancelled, reset or finished: answering is pointless. */
bool rpc_call_over(const struct rpc_call *self);

/* In call_begin: one message is the whole request. call_message comes at most once, what follows
 * it is dropped; END_STREAM without a message finishes the call with Internal. */
void rpc_call_set_unary(struct rpc_call *self);
/* Back-pressure: no call_message until resumed; the stream's window fills and the client waits.
 * Resuming delivers what has arrived meanwhile at the next rpc_conn_read or rpc_pool_tick, or from
 * rpc_conn_output. */
void rpc_call_pause(struct rpc_call *self);
void rpc_call_resume(struct rpc_call *self);
/* The handler's `reserve` said no before: the bytes are granted now. */
void rpc_call_grant(struct rpc_call *self);
/* Inside call_message only: takes over the memory in which the message lies, so that it outlives
 * the event; free() what is returned. A message that lies in the connection's input is copied
 * first. With it goes the reservation. */
void *rpc_call_take_message(struct rpc_call *self, struct bytes *ret_message);

/* Sends the response headers now; otherwise they go with the first message. */
void rpc_call_headers(struct rpc_call *self);
/* One message, gathered from parts and copied. Longer than send_bytes_max: the call finishes with
 * ResourceExhausted instead. */
void rpc_call_send(struct rpc_call *self, const struct bytes *parts, unsigned part_count);
/* One message whose bytes are made at write time. Takes the promise over in every case. */
void rpc_call_send_promise(struct rpc_call *self, const struct rpc_promise *promise);
/* Trailers: after what was sent before; trailers-only where nothing was. text: unencoded, copied.
 */
void rpc_call_finish(struct rpc_call *self, enum grpc_status status, struct bytes text);
/* Headers, one message, trailers OK: the cheapest way to answer a unary call. */
void rpc_call_answer(struct rpc_call *self, const struct bytes *parts, unsigned part_count);
/* The same with a promise for the message. */
void rpc_call_answer_promise(struct rpc_call *self, const struct rpc_promise *promise);
/* RST_STREAM; what was queued and not yet framed is dropped. */
void rpc_call_reset(struct rpc_call *self, uint32_t http2_error);

/* `unknown service X` or `unknown method M for service X`, Unimplemented. */
void rpc_call_finish_unknown(struct rpc_call *self, bool service_known);

/* Message bytes that no window has taken yet. */
size_t rpc_call_unsent_bytes(const struct rpc_call *self);
/* Below call_unsent_bytes_max. Where it was not, call_writable comes when half of it is free. */
bool rpc_call_writable(const struct rpc_call *self);
