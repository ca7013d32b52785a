#include "rpc/out.h"

#include "base/check.h"

#include <stdlib.h>

struct out_block {
    struct out_block *next;
    size_t cap;
    size_t used; /* bytes put in */
    size_t went; /* of those, taken by the socket */
    uint8_t data[];
};

struct rpc_slice {
    struct iovec *iov;
    unsigned count, max;
    size_t room;
    uint8_t *scratch; /* where the next small copy goes; as large as room at first */
};

static const uint8_t zeros[16 << 10];

/* The first block of a quiet connection is small: most answers are. */
#define OUT_BLOCK_SMALL_BYTES (1024u - (unsigned)sizeof(struct out_block))
#define OUT_BLOCK_BYTES       ((16u << 10) - (unsigned)sizeof(struct out_block))

void out_init(struct out *self, struct rpc_pool *pool)
{
    *self = (struct out){.pool = pool};
}

/* ---- promises --------------------------------------------------------------------------- */

struct out_promise *out_promise_new(struct rpc_pool *pool, const struct rpc_promise *promise)
{
    struct out_promise *self = POOL_NEW(pool, struct out_promise);
    self->promise = *promise;
    self->unframed = promise->len;
    self->refs = 1;
    return self;
}

static void promise_release(struct out_promise *self)
{
    if (self->over)
        return;
    self->over = true;
    self->promise.ops->release(self->promise.ctx);
}

void out_promise_unref(struct rpc_pool *pool, struct out_promise *self)
{
    CHECK(self->refs > 0);
    if (--self->refs > 0)
        return;
    promise_release(self);
    pool_release(pool, self);
}

void out_promise_drop(struct rpc_pool *pool, struct out_promise *self)
{
    self->unframed = 0;
    promise_release(self);
    out_promise_unref(pool, self);
}

/* ---- putting ---------------------------------------------------------------------------- */

static struct out_segment *segment_at(struct out *self, unsigned i)
{
    return &self->segments[(self->head + i) & (self->cap - 1)];
}

static struct out_segment *segment_push(struct out *self)
{
    if (self->count == self->cap) {
        unsigned cap = self->cap ? self->cap * 2 : 8;
        struct out_segment *segments = pool_alloc(self->pool, cap * sizeof(*segments));
        for (unsigned i = 0; i < self->count; i++)
            segments[i] = *segment_at(self, i);
        pool_release(self->pool, self->segments);
        self->segments = segments;
        self->cap = cap;
        self->head = 0;
    }
    self->count++;
    struct out_segment *segment = segment_at(self, self->count - 1);
    *segment = (struct out_segment){0};
    return segment;
}

static void block_push(struct out *self, size_t at_least)
{
    size_t cap =
        self->first || at_least > OUT_BLOCK_SMALL_BYTES ? OUT_BLOCK_BYTES : OUT_BLOCK_SMALL_BYTES;
    CHECK(at_least <= cap);
    struct out_block *block = pool_alloc(self->pool, sizeof(*block) + cap);
    *block = (struct out_block){.cap = cap};
    if (self->last)
        self->last->next = block;
    else
        self->first = block;
    self->last = block;
}

uint8_t *out_reserve(struct out *self, size_t n)
{
    if (!self->last || self->last->cap - self->last->used < n)
        block_push(self, n);
    struct out_block *block = self->last;
    uint8_t *at = block->data + block->used;
    struct out_segment *tail = self->count ? segment_at(self, self->count - 1) : NULL;
    if (!tail || tail->promise || tail->data + tail->len != at) {
        tail = segment_push(self);
        tail->data = at;
    }
    tail->len += n;
    block->used += n;
    self->bytes += n;
    return at;
}

void out_put(struct out *self, struct bytes literal)
{
    while (literal.len > 0) {
        size_t room = self->last ? self->last->cap - self->last->used : 0;
        size_t n = literal.len;
        if (n > room)
            n = room >= 256 ? room : n < OUT_BLOCK_BYTES ? n : OUT_BLOCK_BYTES;
        memcpy(out_reserve(self, n), literal.data, n);
        literal = bytes_skip(literal, n);
    }
}

void out_put_promise(struct out *self, struct out_promise *promise, size_t n)
{
    CHECK(n <= promise->unframed);
    if (n == 0)
        return;
    promise->unframed -= n;
    promise->framed += n;
    promise->refs++;
    struct out_segment *segment = segment_push(self);
    segment->promise = promise;
    segment->len = n;
    self->bytes += n;
}

/* ---- showing ---------------------------------------------------------------------------- */

size_t rpc_slice_room(const struct rpc_slice *self)
{
    return self->count < self->max ? self->room : 0;
}

size_t rpc_slice_put(struct rpc_slice *self, struct bytes run)
{
    if (run.len == 0)
        return 0;
    size_t n = run.len < self->room ? run.len : self->room;
    if (n == 0)
        return 0;
    CHECK(self->iov);
    if (run.len < RPC_LEND_BYTES) {
        struct iovec *tail = self->count ? &self->iov[self->count - 1] : NULL;
        bool joins = tail && (uint8_t *)tail->iov_base + tail->iov_len == self->scratch;
        if (!joins && self->count == self->max)
            return 0;
        memcpy(self->scratch, run.data, n);
        if (joins)
            tail->iov_len += n;
        else
            self->iov[self->count++] = (struct iovec){self->scratch, n};
        self->scratch += n;
    } else {
        if (self->count == self->max)
            return 0;
        self->iov[self->count++] = (struct iovec){(void *)(uintptr_t)run.data, n};
    }
    self->room -= n;
    return n;
}

static void show_zeros(struct rpc_slice *slice)
{
    while (slice->room > 0 && slice->count < slice->max) {
        size_t n = slice->room < sizeof(zeros) ? slice->room : sizeof(zeros);
        slice->iov[slice->count++] = (struct iovec){(void *)(uintptr_t)zeros, n};
        slice->room -= n;
    }
}

/* Shows want bytes of the promise; fewer where iovecs ran out. */
static void show_promise(struct out *self, struct out_promise *promise, struct rpc_slice *slice,
                         size_t want)
{
    size_t rest = slice->room - want;
    slice->room = want;
    while (slice->room > 0 && slice->count < slice->max) {
        if (promise->over || promise->broken) {
            show_zeros(slice);
            break;
        }
        size_t before = slice->room;
        promise->shown = true;
        err e = promise->promise.ops->produce(promise->promise.ctx, slice);
        if (!err_ok(e) || (slice->room == before && slice->count < slice->max)) {
            /* The last bytes are framed already: zeros would complete a false message. */
            if (promise->unframed == 0)
                self->broken = true;
            promise->broken = true;
            continue;
        }
        if (slice->room == before)
            break;
    }
    slice->room += rest;
}

size_t out_show(struct out *self, struct iovec *iov, unsigned iov_max, unsigned *ret_iov_count)
{
    CHECK(iov && iov_max > 0);
    size_t slice_bytes = self->pool->limits.slice_bytes;
    struct rpc_slice slice = {.iov = iov, .max = iov_max, .room = slice_bytes};
    for (unsigned i = 0; i < self->count && slice.room > 0 && slice.count < slice.max; i++) {
        struct out_segment *segment = segment_at(self, i);
        size_t want = segment->len < slice.room ? segment->len : slice.room;
        size_t before = slice.room;
        if (segment->promise) {
            if (!slice.scratch)
                slice.scratch = pool_scratch(self->pool);
            show_promise(self, segment->promise, &slice, want);
        } else {
            iov[slice.count++] = (struct iovec){(void *)(uintptr_t)segment->data, want};
            slice.room -= want;
        }
        if (before - slice.room < want)
            break;
    }
    if (self->broken)
        return 0;
    *ret_iov_count = slice.count;
    return slice_bytes - slice.room;
}

/* ---- writing ---------------------------------------------------------------------------- */

static void block_went(struct out *self, size_t n)
{
    while (n > 0) {
        struct out_block *block = self->first;
        size_t here = block->used - block->went;
        size_t took = n < here ? n : here;
        block->went += took;
        n -= took;
        if (block->went < block->used)
            return;
        /* The tail still takes bytes, unless nothing is left at all. */
        if (block == self->last) {
            CHECK(n == 0);
            return;
        }
        self->first = block->next;
        pool_release(self->pool, block);
    }
}

/* Tells the promise how far it came in this write. */
static void promise_settle(struct out_promise *promise)
{
    size_t went = promise->went;
    if (!promise->shown && went == 0)
        return;
    promise->shown = false;
    promise->went = 0;
    promise->framed -= went;
    if (promise->broken)
        promise_release(promise);
    if (!promise->over)
        promise->promise.ops->advance(promise->promise.ctx, went);
}

void out_wrote(struct out *self, size_t n)
{
    CHECK(n <= self->bytes);
    self->bytes -= n;
    size_t literal = 0;
    unsigned touched = 0;
    for (size_t left = n; left > 0; touched++) {
        struct out_segment *segment = segment_at(self, touched);
        size_t took = left < segment->len ? left : segment->len;
        segment->len -= took;
        left -= took;
        if (segment->promise) {
            segment->promise->went += took;
        } else {
            segment->data += took;
            literal += took;
        }
    }
    /* Those that were only shown lie right behind: at most slice_bytes of them. */
    size_t shown = 0;
    for (unsigned i = 0; i < self->count; i++) {
        struct out_segment *segment = segment_at(self, i);
        if (i >= touched && shown >= self->pool->limits.slice_bytes)
            break;
        shown += i >= touched ? segment->len : 0;
        if (segment->promise)
            promise_settle(segment->promise);
    }
    while (self->count && segment_at(self, 0)->len == 0) {
        struct out_promise *promise = segment_at(self, 0)->promise;
        self->head = (self->head + 1) & (self->cap - 1);
        self->count--;
        if (promise)
            out_promise_unref(self->pool, promise);
    }
    block_went(self, literal);
    if (self->bytes == 0)
        out_done(self);
}

void out_done(struct out *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        struct out_promise *promise = segment_at(self, i)->promise;
        if (promise)
            out_promise_unref(self->pool, promise);
    }
    for (struct out_block *block = self->first, *next; block; block = next) {
        next = block->next;
        pool_release(self->pool, block);
    }
    pool_release(self->pool, self->segments);
    *self = (struct out){.pool = self->pool, .broken = self->broken};
}
