/* A host's addresses, asked of the system (getaddrinfo) on a worker. A numeric host, "localhost"
 * apart, needs none of it: see io_address_parse.
 * Thread: the loop's.  Owns: itself; its holder keeps it until `done` was called. */
#pragma once

#include "io/address.h"
#include "io/worker.h"

#define IO_LOOKUP_ADDRESSES_MAX 16

struct io_lookup {
    struct io_job job; /* io's own */
    char host[256];
    uint16_t port;
    void (*done)(struct io_lookup *self); /* on the loop */
    void *ctx;
    err result; /* ERR_NOT_FOUND: no such name; ERR_AGAIN: the name server did not answer */
    struct io_address addresses[IO_LOOKUP_ADDRESSES_MAX]; /* in the system's order */
    unsigned count;
};

struct addrinfo;

/* Any thread's, which may wait for a name server: getaddrinfo of stream addresses, freeaddrinfo
 * takes them. port: NULL, or a number. Fails: ERR_NOT_FOUND, ERR_AGAIN. */
MUST err io_lookup_now(const char *host, const char *port, struct addrinfo **ret_found);

/* `done` is always called later, never from here. Fails: ERR_LIMIT, the host is too long. */
MUST err io_lookup_start(struct io_lookup *self, struct io_workers *workers, struct io_loop *loop,
                         const char *host, uint16_t port, void (*done)(struct io_lookup *self),
                         void *ctx);
