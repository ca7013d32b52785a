#include "rpc/inbox.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define INBOX_CAP_MIN 512

void inbox_done(struct inbox *self)
{
    free(self->data);
    free(self->unpacked);
    *self = (struct inbox){0};
}

static size_t held(const struct inbox *self)
{
    return self->len - self->start;
}

/* Moves the first n bytes of the chunk behind the held ones. */
static void gather(struct inbox *self, size_t n)
{
    if (n == 0)
        return;
    if (self->len + n > self->cap && self->start > 0) {
        memmove(self->data, self->data + self->start, held(self));
        self->len -= self->start;
        self->start = 0;
    }
    if (self->len + n > self->cap) {
        size_t cap = self->cap ? self->cap * 2 : INBOX_CAP_MIN;
        self->cap = cap > self->len + n ? cap : self->len + n;
        self->data = rpc_realloc(self->data, self->cap);
    }
    memcpy(self->data + self->len, self->chunk.data, n);
    self->len += n;
    self->chunk = bytes_skip(self->chunk, n);
}

void inbox_settle(struct inbox *self)
{
    gather(self, self->chunk.len);
    self->chunk = BYTES_NONE;
}

void inbox_feed(struct inbox *self, struct bytes chunk)
{
    inbox_settle(self);
    self->chunk = chunk;
}

void inbox_grant(struct inbox *self)
{
    self->granted = true;
}

static enum inbox_result bad(struct inbox_bad *ret_bad, enum grpc_status status, const char *format,
                             size_t a, size_t b)
{
    ret_bad->status = status;
    /* Formats are this file's own; unused arguments are legal. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(ret_bad->text, sizeof(ret_bad->text), format, a, b);
#pragma GCC diagnostic pop
    return INBOX_BAD;
}

/* Unpacks into memory that grows up to the limit: a small message may claim any size. */
static enum inbox_result unpack(struct inbox *self, struct rpc_pool *pool, struct bytes packed,
                                struct inbox_bad *ret_bad)
{
    size_t max = pool->limits.receive_bytes_max;
    if (!pool->decompressor) {
        pool->decompressor = libdeflate_alloc_decompressor();
        CHECK(pool->decompressor);
    }
    size_t cap = packed.len * 4 + 256;
    for (;;) {
        if (cap > max)
            cap = max;
        uint8_t *out = rpc_malloc(cap);
        size_t len = 0;
        enum libdeflate_result result =
            libdeflate_gzip_decompress(pool->decompressor, packed.data, packed.len, out, cap, &len);
        if (result == LIBDEFLATE_SUCCESS) {
            self->unpacked = out;
            self->message = bytes_of(out, len);
            return INBOX_MESSAGE;
        }
        free(out);
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE)
            return bad(ret_bad, GRPC_INTERNAL,
                       "grpc: failed to decompress the received message: gzip: invalid data", 0, 0);
        if (cap == max)
            return bad(ret_bad, GRPC_RESOURCE_EXHAUSTED,
                       "grpc: received message after decompression larger than max %zu", max, 0);
        cap *= 4;
    }
}

/* The whole message lies at `at`, len bytes behind its prefix. */
static enum inbox_result show(struct inbox *self, struct rpc_pool *pool, const uint8_t *at,
                              size_t len, struct inbox_bad *ret_bad)
{
    self->message_wire = len + GRPC_PREFIX_BYTES;
    self->message = bytes_of(at + GRPC_PREFIX_BYTES, len);
    if (at[0] == 0)
        return INBOX_MESSAGE;
    return unpack(self, pool, self->message, ret_bad);
}

/* Judges a prefix before a byte of its message is kept. INBOX_MESSAGE: all right. */
static enum inbox_result judge(const struct inbox *self, const struct rpc_pool *pool,
                               const uint8_t *prefix, struct inbox_bad *ret_bad)
{
    if (prefix[0] > 1)
        return bad(ret_bad, GRPC_INTERNAL, "grpc: received unexpected payload format %zu",
                   prefix[0], 0);
    if (prefix[0] == 1 && !self->gzip)
        return bad(ret_bad, GRPC_INTERNAL,
                   "grpc: compressed flag set with identity or empty encoding", 0, 0);
    size_t len = grpc_prefix_length(prefix);
    if (len > pool->limits.receive_bytes_max)
        return bad(ret_bad, GRPC_RESOURCE_EXHAUSTED,
                   "grpc: received message larger than max (%zu vs. %zu)", len,
                   pool->limits.receive_bytes_max);
    return INBOX_MESSAGE;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum inbox_result inbox_next(struct inbox *self, struct rpc_pool *pool, size_t *ret_need,
                             struct inbox_bad *ret_bad)
{
    CHECK(self->message_wire == 0);
    bool kept = held(self) > 0;
    if (!kept && self->chunk.len == 0)
        return INBOX_MORE;
    if (kept || self->chunk.len < GRPC_PREFIX_BYTES) {
        if (held(self) < GRPC_PREFIX_BYTES)
            gather(self, least(GRPC_PREFIX_BYTES - held(self), self->chunk.len));
        if (held(self) < GRPC_PREFIX_BYTES)
            return INBOX_MORE;
        kept = true;
    }
    const uint8_t *at = kept ? self->data + self->start : self->chunk.data;
    enum inbox_result judged = judge(self, pool, at, ret_bad);
    if (judged != INBOX_MESSAGE)
        return judged;

    size_t len = grpc_prefix_length(at);
    size_t total = len + GRPC_PREFIX_BYTES;
    if (!kept && self->chunk.len >= total) {
        self->in_chunk = true;
        return show(self, pool, at, len, ret_bad);
    }
    bool reserve = total > pool->limits.window_bytes && !self->granted;
    if (self->granted && self->cap - self->start < total) {
        /* Room is reserved: no growing in steps. */
        self->data = rpc_realloc(self->data, self->start + total);
        self->cap = self->start + total;
    }
    if (held(self) < total)
        gather(self, least(total - held(self), self->chunk.len));
    if (held(self) >= total)
        return show(self, pool, self->data + self->start, len, ret_bad);
    if (!reserve)
        return INBOX_MORE;
    *ret_need = len;
    return INBOX_RESERVE;
}

size_t inbox_shown(struct inbox *self)
{
    size_t wire = self->message_wire;
    self->message_wire = 0;
    self->message = BYTES_NONE;
    self->granted = false;
    free(TAKE(self->unpacked));
    if (self->in_chunk) {
        self->in_chunk = false;
        self->chunk = bytes_skip(self->chunk, wire);
        return wire;
    }
    /* Taken over: the buffer is gone already. */
    if (!self->data)
        return wire;
    self->start += wire;
    if (self->start == self->len) {
        free(TAKE(self->data));
        self->start = self->len = self->cap = 0;
    }
    return wire;
}

void *inbox_take(struct inbox *self, struct bytes *ret_message)
{
    CHECK(self->message_wire > 0);
    *ret_message = self->message;
    if (self->unpacked)
        return TAKE(self->unpacked);
    if (!self->in_chunk && held(self) == self->message_wire) {
        self->start = self->len = self->cap = 0;
        return TAKE(self->data);
    }
    uint8_t *copy = rpc_malloc(self->message.len);
    if (self->message.len)
        memcpy(copy, self->message.data, self->message.len);
    ret_message->data = copy;
    return copy;
}
