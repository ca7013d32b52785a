/* A connection's output queue: literal bytes, and promises whose bytes are made at write time.
 *
 *     segments   [lit 9][promise A 16384][lit 9][promise A 16384][lit 120][promise B …
 *     blocks      ▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔ literal bytes lie in 16 KiB blocks, one after the other
 *
 * A short write moves the front by what went. An idle queue holds no memory.
 * Invariants: (1) bytes = sum of the segments' lengths; (2) blocks are in the order of their
 * bytes, and the first is freed when its last byte went; (3) a promise's framed bytes are those
 * in its segments; it is released when all its bytes went, or at once when it is dropped: then
 * its segments give zeros, as the peer has been told how many bytes come.
 * Thread: the connection's.  Owns: blocks; promise runs by count. */
#pragma once

#include "rpc/pool_internal.h"
#include "rpc/promise.h"

struct out_promise {
    struct rpc_promise promise;
    size_t unframed; /* not yet in any queue */
    size_t framed;   /* in segments */
    unsigned refs;   /* its sender's and its segments' */
    bool over;       /* released: segments give zeros */
    bool broken;     /* produce failed: the same, released after this write, which may hold
                        bytes that it lent before */
    bool shown;      /* produce was called since the last advance */
    size_t went;     /* of the write that is accounted for */
};

struct out_block;
struct out_segment {
    struct out_promise *promise; /* NULL: literal */
    const uint8_t *data;
    size_t len;
};

struct out {
    struct rpc_pool *pool;
    struct out_segment *segments; /* a ring of cap, a power of two */
    unsigned head, count, cap;
    struct out_block *first, *last;
    size_t bytes;
    bool broken; /* a promise failed where zeros would be taken for a whole message */
};

void out_init(struct out *self, struct rpc_pool *pool);
void out_done(struct out *self);
/* Copies. */
void out_put(struct out *self, struct bytes literal);
/* Room for exactly n literal bytes that the caller fills at once; n <= 1024. */
uint8_t *out_reserve(struct out *self, size_t n);
/* The next n unframed bytes of the promise. */
void out_put_promise(struct out *self, struct out_promise *promise, size_t n);
/* Fills iovecs from the front, at most slice_bytes. Returns the bytes; 0: empty or broken. */
size_t out_show(struct out *self, struct iovec *iov, unsigned iov_max, unsigned *ret_iov_count);
void out_wrote(struct out *self, size_t n);

struct out_promise *out_promise_new(struct rpc_pool *pool, const struct rpc_promise *promise);
/* Releases it now if it was not: what is framed goes out as zeros, the rest never. */
void out_promise_drop(struct rpc_pool *pool, struct out_promise *self);
/* The sender's reference. */
void out_promise_unref(struct rpc_pool *pool, struct out_promise *self);
