#include "mvcc/index_slab.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_PLAIN 1
#endif
#endif
#ifndef SLAB_PLAIN
#define SLAB_PLAIN 0
#endif

#define SLAB_FIRST_CHUNK_BYTES ((size_t)4096 - 32)
#define SLAB_CHUNK_BYTES       ((size_t)65536 - 32)

struct slab_chunk {
    struct slab_chunk *next;
};

void slab_init(struct slab *self, size_t item_bytes)
{
    *self = (struct slab){.item_bytes = item_bytes};
}

void slab_done(struct slab *self)
{
    while (self->chunks) {
        struct slab_chunk *chunk = self->chunks;
        self->chunks = chunk->next;
        free(chunk);
    }
    *self = (struct slab){0};
}

void *slab_alloc(struct slab *self)
{
    self->used_bytes += self->item_bytes;
    if (SLAB_PLAIN) {
        void *item = malloc(self->item_bytes);
        CHECK(item);
        return item;
    }
    if (self->free) {
        void *item = self->free;
        memcpy(&self->free, item, sizeof(void *));
        return item;
    }
    if ((size_t)(self->end - self->at) < self->item_bytes) {
        size_t bytes = self->chunks ? SLAB_CHUNK_BYTES : SLAB_FIRST_CHUNK_BYTES;
        struct slab_chunk *chunk = malloc(bytes);
        CHECK(chunk);
        chunk->next = self->chunks;
        self->chunks = chunk;
        self->at = (uint8_t *)(chunk + 1);
        self->end = (uint8_t *)chunk + bytes;
    }
    void *item = self->at;
    self->at += self->item_bytes;
    return item;
}

void slab_free(struct slab *self, void *item)
{
    self->used_bytes -= self->item_bytes;
    if (SLAB_PLAIN) {
        free(item);
        return;
    }
    memcpy(item, &self->free, sizeof(void *));
    self->free = item;
}
