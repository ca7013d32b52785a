/* What the connections of one loop share: limits, memory of HTTP/2 sessions and output, and one
 * timer wheel for every deadline of every connection and call (a wheel, not a timer each).
 * Thread: the loop's.  Owns: its memory; must outlive its connections. */
#pragma once

#include "rpc/limits.h"

struct rpc_pool;

/* now_ms: monotonic, here and wherever it is passed; never goes back. */
struct rpc_pool *rpc_pool_new(const struct rpc_limits *limits, uint64_t now_ms);
/* Every connection and client must be freed before. NULL is legal. */
void rpc_pool_free(struct rpc_pool *self);
const struct rpc_limits *rpc_pool_limits(const struct rpc_pool *self);

/* Deadlines of what is begun next count from here. The pool learns the time from what is read and
 * from ticks, and an idle one from neither: to be called before a connection is made or a request
 * is begun. */
void rpc_pool_set_now(struct rpc_pool *self, uint64_t now_ms);
/* Runs what is due: call deadlines, keepalive, timeouts; the events come through the handlers.
 * Never call it from inside a handler. */
void rpc_pool_tick(struct rpc_pool *self, uint64_t now_ms);
/* When to tick next at the latest; UINT64_MAX: nothing waits. */
uint64_t rpc_pool_next_ms(const struct rpc_pool *self);
/* Bytes that the pool holds from malloc, in use or kept for reuse. */
size_t rpc_pool_bytes(const struct rpc_pool *self);
