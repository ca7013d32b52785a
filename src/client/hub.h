/* What all connections of one client share on a loop: the pool of rpc, the stage in which
 * everything happens, the worker for names.
 *
 *     a pass:  sockets that are ready → rpc's deadlines → service (the client's own) → output,
 *              again while the service has been given something new
 *
 * rpc says its events in the first, second and last of these; the service is where calls meet
 * connections and where connections are given up, never an event.
 * Thread: the loop's.  Owns: pool and worker. Internal to src/client. */
#pragma once

#include "base/list.h"
#include "io/loop.h"
#include "io/worker.h"
#include "rpc/pool.h"

struct hub {
    struct io_loop *loop;
    struct rpc_pool *pool;
    struct io_workers *workers; /* made when a name is looked up */
    struct list ready;          /* sockets */
    struct list links;
    struct list lookups; /* under way; each outlives what asked for it */
    struct io_stage stage;
    struct io_timer timer;
    uint64_t wake_ms; /* the service's next wish; UINT64_MAX: none */
    bool changed;     /* something for the service */
    void (*service)(void *ctx);
    void *ctx;
};

void hub_init(struct hub *self, struct io_loop *loop, const struct rpc_limits *limits,
              void (*service)(void *ctx), void *ctx);
/* Every link is done before. */
void hub_done(struct hub *self);
/* The service runs in this pass or the next. */
void hub_touch(struct hub *self);
/* In the service: run again at at_ms at the latest. */
void hub_wake_at(struct hub *self, uint64_t at_ms);
MUST err hub_workers(struct hub *self, struct io_workers **ret_workers);
