/* Linear probing, removal by shifting back, so that there are no tombstones to sweep.
 * 1. cap is 0 or a power of two; count <= cap * 3 / 4, so every probe meets an empty slot.
 * 2. Between the home of a key and its slot no slot is empty. */
#include "base/map.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define CAP_MIN 16

/* The table's address salts the hash: a client that picks its own keys (lease IDs) cannot aim
 * at one run of slots. */
static size_t map_home(const struct map *self, uint64_t key)
{
    uint64_t h = key ^ ((uint64_t)(uintptr_t)self->slots >> 4);
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return (size_t)(h ^ (h >> 33)) & (self->cap - 1);
}

/* The slot of the key, or the empty one where it belongs. */
static struct map_slot *map_find(const struct map *self, uint64_t key)
{
    size_t i = map_home(self, key);
    while (self->slots[i].value && self->slots[i].key != key)
        i = (i + 1) & (self->cap - 1);
    return &self->slots[i];
}

static void map_grow(struct map *self)
{
    struct map old = *self;
    self->cap = old.cap ? old.cap * 2 : CAP_MIN;
    self->slots = calloc(self->cap, sizeof(*self->slots));
    CHECK(self->slots);
    MAP_FOREACH (slot, &old)
        *map_find(self, slot->key) = *slot;
    free(old.slots);
}

void map_init(struct map *self)
{
    *self = (struct map){0};
}

void map_done(struct map *self)
{
    free(self->slots);
    *self = (struct map){0};
}

void *map_get(const struct map *self, uint64_t key)
{
    return self->cap ? map_find(self, key)->value : NULL;
}

void *map_put(struct map *self, uint64_t key, void *value)
{
    CHECK(value);
    if (self->count >= self->cap / 4 * 3)
        map_grow(self);
    struct map_slot *slot = map_find(self, key);
    void *before = slot->value;
    *slot = (struct map_slot){key, value};
    self->count += before == NULL;
    return before;
}

void *map_remove(struct map *self, uint64_t key)
{
    if (self->cap == 0)
        return NULL;
    struct map_slot *slot = map_find(self, key);
    void *before = slot->value;
    if (!before)
        return NULL;
    size_t mask = self->cap - 1;
    size_t hole = (size_t)(slot - self->slots);
    for (size_t i = (hole + 1) & mask; self->slots[i].value; i = (i + 1) & mask) {
        /* Moves back only what its home allows to stand in the hole (invariant 2). */
        size_t home = map_home(self, self->slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            self->slots[hole] = self->slots[i];
            hole = i;
        }
    }
    self->slots[hole] = (struct map_slot){0};
    self->count--;
    return before;
}
