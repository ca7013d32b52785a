/* The pool as the folder's own files see it: memory by size class, output blocks, the wheel.
 * Size classes: powers of two from 32 bytes to 16 KiB, each block behind a 16-byte head that names
 * its class; freed blocks wait in their class's list until POOL_KEPT_BYTES_MAX, then go back to
 * malloc. Sanitizer and DCHECK builds keep none, so that use after free is seen. */
#pragma once

#include "base/list.h"
#include "rpc/pool.h"
#include "rpc/wheel.h"

#include <libdeflate.h>
#include <nghttp2/nghttp2.h>

#define POOL_CLASSES        10
#define POOL_CLASS_MIN_LOG  5
#define POOL_KEPT_BYTES_MAX (8u << 20)
#define POOL_SHOWN_IOVS_MAX 1000

struct pool_free {
    struct pool_free *next;
};

struct rpc_pool {
    struct rpc_limits limits;
    struct wheel wheel;
    uint64_t now_ms; /* the latest that anyone told; the wheel's is that of its last tick */
    struct pool_free *free[POOL_CLASSES];
    size_t kept_bytes; /* in the free lists */
    size_t used_bytes; /* handed out */
    uint8_t *scratch;  /* copies of small runs for one write; slice_bytes; made at first need */
    unsigned connection_count;
    size_t bodies_bytes; /* of HTTP requests, collected so far */

    nghttp2_mem mem; /* for every HTTP/2 session of the pool */
    nghttp2_option *server_option;
    nghttp2_option *client_option;
    nghttp2_session_callbacks *server_callbacks;
    nghttp2_session_callbacks *client_callbacks;

    struct libdeflate_decompressor *decompressor; /* made at first need */
};

static inline uint64_t pool_now_ms(const struct rpc_pool *self)
{
    return self->now_ms;
}

static inline void pool_set_now(struct rpc_pool *self, uint64_t now_ms)
{
    if (now_ms > self->now_ms)
        self->now_ms = now_ms;
}

/* Never NULL: an allocation that fails ends the process (STYLE: out of memory). Not zeroed. */
void *pool_alloc(struct rpc_pool *self, size_t n);
void *pool_calloc(struct rpc_pool *self, size_t n);
void *pool_realloc(struct rpc_pool *self, void *p, size_t n);
/* NULL is legal. */
void pool_release(struct rpc_pool *self, void *p);
#define POOL_NEW(pool, type) ((type *)pool_calloc((pool), sizeof(type)))

/* malloc, realloc that end the process where memory is out. */
void *rpc_malloc(size_t n);
void *rpc_realloc(void *p, size_t n);

uint8_t *pool_scratch(struct rpc_pool *self);
/* Fills in a session's callbacks (h2_server.c, h2_client.c). */
void h2_server_callbacks(nghttp2_session_callbacks *callbacks);
void h2_client_callbacks(nghttp2_session_callbacks *callbacks);
