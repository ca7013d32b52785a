/* One endpoint and at most one connection to it.
 *
 *     IDLE ─link_connect─> LOOKUP ─> CONNECTING ─> GREETING ─SETTINGS─> UP ─GOAWAY─> LEAVING
 *       ▲   (a name)                 (each address)  (HTTP/1.1: none)    │              │
 *       └──────────────── failed, timed out, cut, finished ──────────────┴──────────────┘
 *
 * It fails and goes back to IDLE by itself, with a time before which it should be left alone.
 * Thread: the loop's.  Owns: socket, rpc client, endpoint. Internal to src/client. */
#pragma once

#include "client/endpoint.h"
#include "client/hub.h"
#include "io/lookup.h"
#include "io/socket.h"
#include "rpc/client.h"

enum link_state { LINK_IDLE, LINK_LOOKUP, LINK_CONNECTING, LINK_GREETING, LINK_UP, LINK_LEAVING };

#define LINK_FAILURE_BYTES_MAX 256

struct link_config {
    enum rpc_client_protocol protocol;
    struct bytes user_agent;
    uint64_t dial_timeout_ms;
    uint64_t ping_interval_ms;
    uint64_t ping_timeout_ms;
};

/* A lookup under way; it outlives a link that is done. */
struct link_lookup {
    struct io_lookup lookup;
    struct list node;  /* among the hub's */
    struct link *link; /* NULL: nobody waits */
};

struct link {
    struct hub *hub;
    struct list hub_node;
    const struct link_config *config; /* the holder's */
    struct endpoint endpoint;
    bool bad; /* its endpoint cannot be understood: never connected */
    enum link_state state;
    struct io_socket socket;
    struct rpc_client *rpc; /* from GREETING on */
    struct link_lookup *lookup;
    struct io_address addresses[IO_LOOKUP_ADDRESSES_MAX];
    unsigned address_count, address_next;
    uint64_t dial_deadline_ms;
    uint64_t not_before_ms; /* IDLE: rather not sooner */
    uint64_t backoff_ms;
    err failed; /* why the last connection or attempt ended */
    char failure[LINK_FAILURE_BYTES_MAX];
};

/* Takes the endpoint over. */
void link_init(struct link *self, struct hub *hub, const struct link_config *config,
               struct endpoint *endpoint, bool bad);
/* Open calls end Unavailable, fetches with ERR_CLOSED. Not from an event of rpc. */
void link_done(struct link *self);
/* IDLE only. */
void link_connect(struct link *self);
/* Gives an attempt up whose time is over. In the service. */
void link_check_deadline(struct link *self, uint64_t now_ms);
/* The hub's: true: there is more to read. */
bool link_ready(struct link *self);
void link_flush(struct link *self);

static inline bool link_dialing(const struct link *self)
{
    return self->state >= LINK_LOOKUP && self->state <= LINK_GREETING;
}

static inline bool link_usable(const struct link *self)
{
    return self->state == LINK_UP && rpc_client_usable(self->rpc);
}
