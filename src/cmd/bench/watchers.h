/* Watchers beside a load: streams that hear of the keys which the load writes, and how long after
 * they were sent. Values carry the time at which their request was made (work_config.stamped).
 *
 *     watchers_open for each connection of theirs ──> ready, once all are created ──> events
 *
 * Watcher n watches the load's key number n, or with `one_key` all watch key 0.
 * Thread: the load's.  Owns: its streams. */
#pragma once

#include "bench/histogram.h"
#include "bench/work.h"
#include "rpc/client.h"

struct watchers_config {
    uint32_t count; /* of all; 0: none */
    uint32_t connections;
    uint32_t streams; /* of each connection */
    bool one_key;
};

struct watch_stream;

struct watchers {
    struct watchers_config config;
    const struct work *work; /* how keys are called */
    void (*ready)(void *ctx);
    void *ctx;
    struct watch_stream *streams;
    uint64_t created, events, bytes;
    struct histogram latency_ns;
    bool counting; /* events count from here on */
    bool failed;   /* a stream ended, or said what is no WatchResponse */
};

void watchers_init(struct watchers *self, const struct watchers_config *config,
                   const struct work *work, void (*ready)(void *ctx), void *ctx);
void watchers_done(struct watchers *self);
/* The n-th connection of theirs. Fails: ERR_CLOSED. */
MUST err watchers_open(struct watchers *self, struct rpc_client *client, uint32_t n);
