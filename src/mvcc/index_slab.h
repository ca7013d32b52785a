/* Objects of one size without a header each. Memory of freed ones is used again, chunks are given
 * back only at the end. In sanitizer builds each object is a malloc of its own.
 * Thread: one at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct slab_chunk;
struct slab {
    size_t item_bytes; /* a multiple of 8 */
    void *free;
    uint8_t *at;
    uint8_t *end;
    struct slab_chunk *chunks;
    uint64_t used_bytes;
};

void slab_init(struct slab *self, size_t item_bytes);
void slab_done(struct slab *self);
void *slab_alloc(struct slab *self);
void slab_free(struct slab *self, void *item);
