/* Objects of one size, called by a number of 32 bits instead of a pointer: half the size of a link.
 * Numbers begin with 1 (0 means none) and are used again; objects never move. The first four
 * bytes of a free object are the list of free ones.
 * Thread: one at a time.  Owns: its chunks, given back at the end. */
#pragma once

#include "base/check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_SLAB_CHUNK 1024

struct watch_slab {
    uint8_t **chunks;
    size_t item_bytes;
    uint32_t chunk_count, chunk_cap;
    uint32_t next; /* never used from here on */
    uint32_t free; /* first of the list; 0: none */
};

static inline void watch_slab_init(struct watch_slab *self, size_t item_bytes)
{
    *self = (struct watch_slab){.item_bytes = item_bytes, .next = 1};
}

static inline void watch_slab_done(struct watch_slab *self)
{
    for (uint32_t i = 0; i < self->chunk_count; i++)
        free(self->chunks[i]);
    free(self->chunks);
}

static inline void *watch_slab_at(const struct watch_slab *self, uint32_t number)
{
    DCHECK(number != 0 && number < self->next);
    return self->chunks[number / WATCH_SLAB_CHUNK] + self->item_bytes * (number % WATCH_SLAB_CHUNK);
}

static inline void watch_slab_grow(struct watch_slab *self)
{
    if (self->chunk_count == self->chunk_cap) {
        self->chunk_cap = self->chunk_cap ? self->chunk_cap * 2 : 8;
        self->chunks = realloc(self->chunks, self->chunk_cap * sizeof(self->chunks[0]));
        CHECK(self->chunks);
    }
    uint8_t *chunk = malloc(self->item_bytes * WATCH_SLAB_CHUNK);
    CHECK(chunk);
    self->chunks[self->chunk_count++] = chunk;
}

/* All zero. */
static inline uint32_t watch_slab_alloc(struct watch_slab *self)
{
    uint32_t number = self->free;
    if (number) {
        memcpy(&self->free, watch_slab_at(self, number), sizeof(self->free));
    } else {
        if (self->next / WATCH_SLAB_CHUNK >= self->chunk_count)
            watch_slab_grow(self);
        number = self->next++;
    }
    memset(watch_slab_at(self, number), 0, self->item_bytes);
    return number;
}

/* All zero but for the link, which stands in the first four bytes. */
static inline void watch_slab_free(struct watch_slab *self, uint32_t number)
{
    memset(watch_slab_at(self, number), 0, self->item_bytes);
    memcpy(watch_slab_at(self, number), &self->free, sizeof(self->free));
    self->free = number;
}
