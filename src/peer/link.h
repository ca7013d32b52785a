/* One connection between members: a socket and the HTTP on it, either end.
 *
 *     dialled    [lookup] ─> connect (address after address) ─> open ─> fetch, fetch, …
 *     accepted   open: exchanges go to the rpc_handler of the net
 *
 * A link is freed in peer_link_net_output only, so pointers stay good through a handler. After
 * peer_link_close its owner hears nothing more of it.
 * Thread: the loop's.  Owns: socket and HTTP; a link belongs to its net. */
#pragma once

#include "base/list.h"
#include "io/lookup.h"
#include "io/socket.h"
#include "peer/peer_url.h"
#include "rpc/client.h"
#include "rpc/conn.h"

#define LINK_READ_BYTES    ((size_t)64 << 10)
#define LINK_ADDRESSES_MAX 4u

struct peer_link;

/* Events of a dialled link; never from inside a function of this header but peer_link_net_input and
 * peer_link_net_output. All but closed may be NULL. */
struct peer_link_owner {
    /* Connected: a fetch may begin. */
    void (*opened)(void *ctx, struct peer_link *link);
    void (*response)(void *ctx, struct peer_link *link, unsigned status);
    void (*body)(void *ctx, struct peer_link *link, struct bytes piece);
    /* Half of the room for unsent bytes is free again: peer_link_send may go on. */
    void (*writable)(void *ctx, struct peer_link *link);
    /* The fetch is over; the next may begin if peer_link_usable. */
    void (*fetched)(void *ctx, struct peer_link *link, err result);
    /* It could not be opened or is gone, an open fetch with it (fetched came before). Last. */
    void (*closed)(void *ctx, struct peer_link *link, err why);
};

struct link_net {
    struct io_loop *loop;
    struct io_workers *workers;
    struct rpc_pool *pool;
    const struct rpc_handler *handler; /* of accepted links; its ctx is the link */
    void (*swept)(void *ctx);          /* about once a second, in the input; may be NULL */
    void *ctx;                         /* the holder's */
    uint64_t write_timeout_ms;
    struct list links;
    struct list output; /* have something to write, or are to be buried */
    struct list ready;  /* sockets */
    unsigned accepted_count;
    unsigned accepted_max;
    bool tick_due, sweep_due;
    struct io_timer tick_timer, sweep_timer;
    uint8_t read_buffer[LINK_READ_BYTES];
};

void peer_link_net_init(struct link_net *self, struct io_loop *loop, struct io_workers *workers,
                        const struct rpc_limits *limits);
/* Closes all links; exchanges end with their events. */
void peer_link_net_done(struct link_net *self);
/* Reads what is ready, within a slice, and runs deadlines. True: more is ready. */
bool peer_link_net_input(struct link_net *self);
/* Writes and buries. True: there is more to write and the sockets take it. */
bool peer_link_net_output(struct link_net *self);

struct peer_link_dial {
    const struct peer_url *url; /* borrowed during the call */
    uint64_t dial_timeout_ms;
    uint64_t read_timeout_ms;
    const struct peer_link_owner *owner;
    void *ctx;
};

/* Never fails at once: what goes wrong comes as closed. */
struct peer_link *peer_link_dial(struct link_net *net, const struct peer_link_dial *dial);
/* Takes the descriptor. NULL: it is closed already (no descriptors, too many links). */
struct peer_link *peer_link_accept(struct link_net *net, int fd);
/* Gives it up: no event any more. NULL is legal. */
void peer_link_close(struct peer_link *self);
/* For the conn_active of the net's handler. */
void peer_link_active(void *link, struct rpc_conn *conn);
/* Connected, and a fetch may begin. */
bool peer_link_usable(const struct peer_link *self);
/* Fails: ERR_CLOSED. */
MUST err peer_link_fetch(struct peer_link *self, const struct http_fetch_start *start);
/* More of the body of a fetch that was begun with HTTP_LENGTH_UNKNOWN, copied; and its end. */
void peer_link_send(struct peer_link *self, struct bytes piece);
void peer_link_send_end(struct peer_link *self);
/* Whether there is room for more without waiting for `writable`. */
bool peer_link_has_room(const struct peer_link *self);
/* In response, body: a header of the response; data NULL: absent. */
struct bytes peer_link_header(const struct peer_link *self, const char *name);
unsigned peer_link_status(const struct peer_link *self);
struct link_net *peer_link_net(const struct peer_link *self);
