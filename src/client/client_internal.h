/* The client as its own files see it: client.c has endpoints and the choice among them, call.c
 * one call's way.
 *
 *     client_call_start ─> waiting ─connection─> sent ─closed─> ended ─service─> done
 *                             ▲                   │
 *                             └──── repeated ─────┘
 */
#pragma once

#include "base/buf.h"
#include "base/prng.h"
#include "client/client.h"
#include "client/link.h"

struct client {
    struct hub hub;
    struct link_config link_config;
    struct link *links;
    unsigned link_count;
    unsigned next;         /* whose turn it is among the connected */
    unsigned next_dial;    /* and among those to be connected */
    uint64_t last_dial_ms; /* when an attempt for any call began; 0: never */
    struct list waiting, sent, ended;
    struct prng prng;
    char *user_agent;
    size_t send_bytes_max;
    bool eager;
    bool closing;
};

struct client_call {
    struct client *client;
    struct list node; /* waiting, sent or ended */
    struct client_request request;
    struct buf message; /* encoded, for as long as it may be sent */
    struct arena piece; /* of a stream: the message that is being told */
    uint64_t deadline_ms;
    uint64_t not_before_ms;
    unsigned attempts;
    unsigned endpoint; /* where it was sent to */
    struct rpc_client_call *rpc;
    bool read;
    bool cancelled;
    bool answered; /* a message has come */
    bool garbled;  /* one that could not be decoded */
    struct client_result result;
};

/* Waits no longer than its deadline; sends where there is a connection. False: it needs one. */
bool call_serve(struct client_call *self, uint64_t now_ms);
void call_end(struct client_call *self, enum grpc_status status, bool local, struct bytes text);
/* Tells its holder, and frees it. */
void call_done(struct client_call *self);

/* The connected endpoint whose turn it is, or the named one; NULL. */
struct link *client_pick(struct client *self, int endpoint);
/* Why nothing is connected; "" where nothing is known. */
const char *client_failure(const struct client *self, int endpoint);
