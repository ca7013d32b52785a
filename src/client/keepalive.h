/* Keeps one lease alive until it is lost, over as many members as it takes: a request each third
 * of its time to live, on a stream that is opened anew 100 ms after one has ended.
 *
 * Lost is a lease of which a server says so, and one whose time to live has passed since the last
 * answer without another (before the first: since the start, patience_ms).
 * Thread: the client's loop.  Owns: its stream. Freed before its client.
 * Source: etcd's interface (contract: services). */
#pragma once

#include "client/client.h"
#include "etcdserverpb.pb-c.h"

struct client_keepalive;

struct client_keepalive_request {
    int64_t lease;
    uint64_t patience_ms;
    /* Renewed; NULL: not told. The answer lives for this event. */
    void (*renewed)(void *ctx, const Etcdserverpb__LeaseKeepAliveResponse *response);
    /* At most once; nothing follows. It is still to be freed, not from inside an event. */
    void (*lost)(void *ctx);
    void *ctx;
};

struct client_keepalive *client_keepalive_new(struct client *client,
                                              const struct client_keepalive_request *request);
/* The lease itself is left alone. NULL is legal. */
void client_keepalive_free(struct client_keepalive *self);
