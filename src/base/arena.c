#include "base/arena.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ONE_BLOCK_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_BLOCK_EACH 1
#endif
#endif
#ifndef ONE_BLOCK_EACH
#define ONE_BLOCK_EACH 0
#endif

#define ALIGN       ((size_t)16)
#define BLOCK_BYTES ((size_t)4096)

struct arena_block {
    _Alignas(16) struct arena_block *older;
    size_t cap;
    uint8_t data[];
};

static struct arena_block *block_new(size_t cap, struct arena_block *older)
{
    struct arena_block *block = malloc(sizeof(*block) + cap);
    CHECK(block);
    block->older = older;
    block->cap = cap;
    return block;
}

void arena_init(struct arena *self, size_t block_bytes)
{
    *self = (struct arena){.block_bytes = block_bytes ? block_bytes : BLOCK_BYTES};
}

/* Frees every block but one of the usual size, so that one large request is not paid for ever. */
static struct arena_block *arena_free_all_but_one(struct arena *self)
{
    struct arena_block *kept = NULL;
    for (struct arena_block *block = self->blocks, *older; block; block = older) {
        older = block->older;
        if (!kept && !ONE_BLOCK_EACH && block->cap == self->block_bytes)
            kept = block;
        else
            free(block);
    }
    if (kept)
        kept->older = NULL;
    return kept;
}

void arena_reset(struct arena *self)
{
    struct arena_block *kept = arena_free_all_but_one(self);
    self->blocks = kept;
    self->at = kept ? kept->data : NULL;
    self->end = kept ? kept->data + kept->cap : NULL;
    self->used_bytes = 0;
}

void arena_done(struct arena *self)
{
    free(arena_free_all_but_one(self));
    *self = (struct arena){.block_bytes = self->block_bytes};
}

/* A large piece gets a block of its own behind the current one, whose rest stays in use. */
static uint8_t *arena_alloc_slow(struct arena *self, size_t n)
{
    CHECK(n <= PTRDIFF_MAX - sizeof(struct arena_block));
    if (self->blocks && n > self->block_bytes / 2 && !ONE_BLOCK_EACH) {
        self->blocks->older = block_new(n, self->blocks->older);
        return self->blocks->older->data;
    }
    size_t cap = ONE_BLOCK_EACH || n > self->block_bytes ? n : self->block_bytes;
    self->blocks = block_new(cap, self->blocks);
    self->at = self->blocks->data + n;
    self->end = self->blocks->data + cap;
    return self->blocks->data;
}

static uint8_t *arena_take(struct arena *self, size_t n, size_t align)
{
    self->used_bytes += n;
    size_t pad = -(uintptr_t)self->at & (align - 1);
    size_t room = (size_t)(self->end - self->at);
    if (ONE_BLOCK_EACH || !self->at || room < pad || room - pad < n)
        return arena_alloc_slow(self, n);
    uint8_t *p = self->at + pad;
    self->at = p + n;
    return p;
}

void *arena_alloc(struct arena *self, size_t n)
{
    return memset(arena_take(self, n, ALIGN), 0, n);
}

uint8_t *arena_alloc_bytes(struct arena *self, size_t n)
{
    return arena_take(self, n, 1);
}

struct bytes arena_copy(struct arena *self, struct bytes what)
{
    uint8_t *p = arena_alloc_bytes(self, what.len);
    if (what.len)
        memcpy(p, what.data, what.len);
    return bytes_of(p, what.len);
}

char *arena_copy_str(struct arena *self, struct bytes what)
{
    uint8_t *p = arena_alloc_bytes(self, what.len + 1);
    if (what.len)
        memcpy(p, what.data, what.len);
    p[what.len] = 0;
    return (char *)p;
}

char *arena_printf(struct arena *self, const char *format, ...)
{
    CHECK(format);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(n >= 0);
    char *p = (char *)arena_alloc_bytes(self, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    return p;
}
