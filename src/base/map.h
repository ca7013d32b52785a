/* Open-addressing hash map from a u64 to a pointer; deterministic order is NOT given, so
 * whatever must replay equal never iterates one. Thread: one at a time.
 * Owns: its table, not the values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t key;
    void *value; /* NULL: empty */
};

struct map {
    struct map_slot *slots;
    size_t cap; /* power of two, or 0 */
    size_t count;
};

void map_init(struct map *self);
void map_done(struct map *self);
/* NULL where absent. */
void *map_get(const struct map *self, uint64_t key);
/* value != NULL; returns what it replaced or NULL. */
void *map_put(struct map *self, uint64_t key, void *value);
/* Returns what was there or NULL. */
void *map_remove(struct map *self, uint64_t key);

#define MAP_FOREACH(slot, map)                                                                 \
    for (struct map_slot *slot = (map)->slots,                                                 \
                         *slot##_end_ = (map)->cap ? (map)->slots + (map)->cap : (map)->slots; \
         slot != slot##_end_; slot++)                                                          \
        if (slot->value)
