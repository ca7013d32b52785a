/* What the member listens on: the addresses of URLs, each once. Addresses are taken first, before
 * anything is made on the disk: with the settings of another host no member is born here. Who
 * connects is refused until listeners_start.
 * Thread: the loop's. */
#pragma once

#include "base/arena.h"
#include "base/url.h"
#include "io/socket.h"

#define LISTENERS_MAX 64

struct listeners {
    struct io_listener *items[LISTENERS_MAX];
    unsigned count;
};

struct listen_how {
    struct io_loop *loop;
    bool reuse_port;
    int stage_order;
    void (*accepted)(void *ctx, int fd, const struct io_address *peer);
    void *ctx;
    struct arena *arena; /* for the reason */
};

/* Takes one for each URL whose address has none yet (localhost and 127.0.0.1 are one).
 * Fails: with *ret_reason in Go's words. */
MUST err listeners_add(struct listeners *self, const struct url_list *urls,
                       const struct listen_how *how, const char **ret_reason);
/* Fails: as io_listener_start, with *ret_reason. */
MUST err listeners_start(struct listeners *self, const char **ret_reason);
/* Closes all. */
void listeners_close(struct listeners *self);
