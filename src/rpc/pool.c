#include "rpc/pool_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* Before each block; 16 bytes, so that what follows keeps malloc's alignment. */
struct pool_head {
    size_t size;
    uint32_t class; /* POOL_CLASSES: straight from malloc */
    uint32_t magic;
};
#define POOL_MAGIC 0x706f6f6cu

#if defined(__SANITIZE_ADDRESS__) || defined(CORACLE_DCHECK)
#define POOL_KEEPS false
#else
#define POOL_KEEPS true
#endif

void *rpc_malloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    CHECK(p);
    return p;
}

void *rpc_realloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    CHECK(p);
    return p;
}

static unsigned class_of(size_t n)
{
    if (n <= 1u << POOL_CLASS_MIN_LOG)
        return 0;
    unsigned class = 64 - (unsigned)__builtin_clzll(n - 1) - POOL_CLASS_MIN_LOG;
    return class < POOL_CLASSES ? class : POOL_CLASSES;
}

void *pool_alloc(struct rpc_pool *self, size_t n)
{
    unsigned class = class_of(n);
    size_t size = class < POOL_CLASSES ? (size_t)1 << (class + POOL_CLASS_MIN_LOG) : n;
    self->used_bytes += size;
    if (class < POOL_CLASSES && self->free[class]) {
        struct pool_free *taken = self->free[class];
        self->free[class] = taken->next;
        self->kept_bytes -= size;
        return taken;
    }
    /* A block of a class is made whole; in sanitizer builds to the byte. */
    struct pool_head *head = rpc_malloc(sizeof(*head) + (POOL_KEEPS ? size : n));
    *head = (struct pool_head){.size = size, .class = class, .magic = POOL_MAGIC};
    return head + 1;
}

void *pool_calloc(struct rpc_pool *self, size_t n)
{
    return memset(pool_alloc(self, n), 0, n);
}

void pool_release(struct rpc_pool *self, void *p)
{
    if (!p)
        return;
    struct pool_head *head = (struct pool_head *)p - 1;
    CHECK(head->magic == POOL_MAGIC);
    self->used_bytes -= head->size;
    if (POOL_KEEPS && head->class < POOL_CLASSES &&
        self->kept_bytes + head->size <= POOL_KEPT_BYTES_MAX) {
        struct pool_free *freed = p;
        freed->next = self->free[head->class];
        self->free[head->class] = freed;
        self->kept_bytes += head->size;
        return;
    }
    head->magic = 0;
    free(head);
}

void *pool_realloc(struct rpc_pool *self, void *p, size_t n)
{
    if (!p)
        return pool_alloc(self, n);
    struct pool_head *head = (struct pool_head *)p - 1;
    CHECK(head->magic == POOL_MAGIC);
    if (POOL_KEEPS && n <= head->size)
        return p;
    void *moved = pool_alloc(self, n);
    memcpy(moved, p, head->size < n ? head->size : n);
    pool_release(self, p);
    return moved;
}

static void *mem_malloc(size_t n, void *pool)
{
    return pool_alloc(pool, n);
}

static void mem_free(void *p, void *pool)
{
    pool_release(pool, p);
}

static void *mem_calloc(size_t count, size_t size, void *pool)
{
    return pool_calloc(pool, count * size);
}

static void *mem_realloc(void *p, size_t n, void *pool)
{
    return pool_realloc(pool, p, n);
}

uint8_t *pool_scratch(struct rpc_pool *self)
{
    if (!self->scratch)
        self->scratch = rpc_malloc(self->limits.slice_bytes);
    return self->scratch;
}

static void options_init(struct rpc_pool *self)
{
    const struct rpc_limits *limits = &self->limits;
    CHECK(nghttp2_option_new(&self->server_option) == 0);
    CHECK(nghttp2_option_new(&self->client_option) == 0);
    nghttp2_option *both[] = {self->server_option, self->client_option};
    for (unsigned i = 0; i < 2; i++) {
        nghttp2_option_set_no_closed_streams(both[i], 1);
        nghttp2_option_set_no_auto_window_update(both[i], 1);
        nghttp2_option_set_max_continuations(both[i], limits->continuations_max);
        nghttp2_option_set_max_settings(both[i], limits->settings_entries_max);
        nghttp2_option_set_max_outbound_ack(both[i], limits->acks_max);
    }
    nghttp2_option_set_stream_reset_rate_limit(self->server_option, limits->reset_burst,
                                               limits->reset_per_s);
    CHECK(nghttp2_session_callbacks_new(&self->server_callbacks) == 0);
    CHECK(nghttp2_session_callbacks_new(&self->client_callbacks) == 0);
    h2_server_callbacks(self->server_callbacks);
    h2_client_callbacks(self->client_callbacks);
}

struct rpc_pool *rpc_pool_new(const struct rpc_limits *limits, uint64_t now_ms)
{
    struct rpc_pool *self = rpc_malloc(sizeof(*self));
    memset(self, 0, sizeof(*self));
    self->limits = *limits;
    self->now_ms = now_ms;
    wheel_init(&self->wheel, now_ms);
    self->mem = (nghttp2_mem){self, mem_malloc, mem_free, mem_calloc, mem_realloc};
    options_init(self);
    return self;
}

void rpc_pool_free(struct rpc_pool *self)
{
    if (!self)
        return;
    CHECK(self->connection_count == 0);
    CHECK(self->used_bytes == 0);
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        for (struct pool_free *block = self->free[class], *next; block; block = next) {
            next = block->next;
            free((struct pool_head *)(void *)block - 1);
        }
    }
    nghttp2_option_del(self->server_option);
    nghttp2_option_del(self->client_option);
    nghttp2_session_callbacks_del(self->server_callbacks);
    nghttp2_session_callbacks_del(self->client_callbacks);
    if (self->decompressor)
        libdeflate_free_decompressor(self->decompressor);
    free(self->scratch);
    free(self);
}

const struct rpc_limits *rpc_pool_limits(const struct rpc_pool *self)
{
    return &self->limits;
}

void rpc_pool_set_now(struct rpc_pool *self, uint64_t now_ms)
{
    pool_set_now(self, now_ms);
}

void rpc_pool_tick(struct rpc_pool *self, uint64_t now_ms)
{
    pool_set_now(self, now_ms);
    wheel_advance(&self->wheel, self->now_ms);
}

uint64_t rpc_pool_next_ms(const struct rpc_pool *self)
{
    return wheel_next_ms(&self->wheel);
}

size_t rpc_pool_bytes(const struct rpc_pool *self)
{
    return self->used_bytes + self->kept_bytes + (self->scratch ? self->limits.slice_bytes : 0);
}

struct rpc_limits rpc_limits_default(void)
{
    return (struct rpc_limits){
        .receive_bytes_max = 1572864 + 524288,
        .send_bytes_max = 2147483647,
        .streams_announced = UINT32_MAX,
        .streams_max = 100000,
        .header_list_bytes_max = 64 << 10,
        .heads_bytes_max = 64 << 20,
        .window_bytes = 65535,
        .partial_bytes_max = 64 << 20,
        .reset_burst = 20000,
        .reset_per_s = 2000,
        .control_burst = 10000,
        .control_per_s = 1000,
        .continuations_max = 8,
        .settings_entries_max = 32,
        .acks_max = 1000,
        .queued_frames_max = 10000,
        .slice_bytes = 256 << 10,
        .call_unsent_bytes_max = 256 << 10,
        .conn_unsent_bytes_max = 64 << 20,
        .stall_timeout_ms = 5 * 60 * 1000,
        .body_bytes_max = 1572864 + 524288,
        .bodies_bytes_max = 256 << 20,
        .target_bytes_max = 16 << 10,
        .headers_max = 128,
        .pipeline_bytes_max = 16 << 10,
        .preface_timeout_ms = 5 * 60 * 1000,
        .header_timeout_ms = 5 * 60 * 1000,
        .body_timeout_ms = 5 * 60 * 1000,
        .idle_timeout_ms = 0,
        .ping_interval_ms = 2ULL * 3600 * 1000,
        .ping_timeout_ms = 20 * 1000,
        .ping_policing = true,
        .ping_min_ms = 5 * 1000,
    };
}
