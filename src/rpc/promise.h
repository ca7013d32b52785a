/* A promise: bytes of known number that are made when the socket takes them.
 * A list of any size is sent without a buffer of its size: the output queue holds the number of
 * bytes only, and the cursor behind it turns them into iovecs around values at write time.
 *
 * The cursor has two positions, *committed* (the socket has what is before it) and *shown* (an
 * iovec of the write in the making holds what is before it): committed <= shown. `produce` shows
 * more from the shown position on, `advance` moves committed and goes back to it with shown, so
 * a short write costs nothing but showing some bytes again. Bytes that were shown stay valid
 * until the next advance or release.
 * Thread: the connection's. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <sys/uio.h>

/* Where produce puts its bytes: iovecs of one write, filled in order. */
struct rpc_slice;

/* Puts the next run of bytes, or what fits of it: what is shorter than RPC_LEND_BYTES is copied,
 * the rest lent (it must stay valid as said above). Returns how many bytes it took; fewer than
 * run.len: the slice is full. */
#define RPC_LEND_BYTES 512
size_t rpc_slice_put(struct rpc_slice *self, struct bytes run);
/* Bytes that still fit; 0: full. */
size_t rpc_slice_room(const struct rpc_slice *self);

struct rpc_promise_ops {
    /* Shows bytes from the shown position on, until the slice is full or the promise ends; at
     * least one byte where there is room. Fails: any error: the rest cannot be made (a broken
     * pin). Its call is reset, or, where the client could take what it has for a whole message,
     * the connection is closed. */
    err (*produce)(void *ctx, struct rpc_slice *slice);
    /* The socket took n bytes (0 too) after the committed position; shown goes back to there. */
    void (*advance)(void *ctx, size_t n);
    /* The promise is over: all taken, or its call is gone. Exactly once. */
    void (*release)(void *ctx);
};

struct rpc_promise {
    size_t len; /* exactly so many bytes can be produced; 0 is legal */
    const struct rpc_promise_ops *ops;
    void *ctx;
};
