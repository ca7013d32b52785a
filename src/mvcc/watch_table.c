#include "mvcc/watch_table.h"

#include "base/check.h"

#include <stdlib.h>

#define CAP_MIN    4
#define PLACE_BITS 24 /* of a slot in its part */

static struct watch_table_part *part_of(const struct watch_table *self, uint64_t hash)
{
    if (!self->parts)
        return (struct watch_table_part *)(uintptr_t)&self->one;
    return &self->parts[hash >> 32 & (WATCH_TABLE_PARTS - 1)];
}

static void part_put(struct watch_table_part *self, uint32_t number, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (self->cap - 1);
    while (self->slots[i])
        i = (i + 1) & (self->cap - 1);
    self->slots[i] = number;
    self->count++;
}

static void part_grow(struct watch_table_part *self, watch_table_hash *hash, const void *ctx)
{
    struct watch_table_part old = *self;
    *self = (struct watch_table_part){.cap = old.cap ? old.cap * 2 : CAP_MIN};
    CHECK(self->cap < UINT32_C(1) << PLACE_BITS);
    self->slots = calloc(self->cap, sizeof(self->slots[0]));
    CHECK(self->slots);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slots[i])
            part_put(self, old.slots[i], hash(ctx, old.slots[i]));
    free(old.slots);
}

static void part_add(struct watch_table_part *self, uint32_t number, watch_table_hash *hash,
                     const void *ctx)
{
    if (self->count >= self->cap / 4 * 3)
        part_grow(self, hash, ctx);
    part_put(self, number, hash(ctx, number));
}

static void split(struct watch_table *self, watch_table_hash *hash, const void *ctx)
{
    struct watch_table_part old = self->one;
    self->one = (struct watch_table_part){0};
    self->parts = calloc(WATCH_TABLE_PARTS, sizeof(self->parts[0]));
    CHECK(self->parts);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slots[i])
            part_add(part_of(self, hash(ctx, old.slots[i])), old.slots[i], hash, ctx);
    free(old.slots);
}

void watch_table_done(struct watch_table *self)
{
    for (unsigned i = 0; self->parts && i < WATCH_TABLE_PARTS; i++)
        free(self->parts[i].slots);
    free(self->parts);
    free(self->one.slots);
    *self = (struct watch_table){0};
}

uint32_t watch_table_find(const struct watch_table *self, uint64_t hash, watch_table_is *is,
                          const void *ctx, const void *wanted)
{
    const struct watch_table_part *part = part_of(self, hash);
    if (part->cap == 0)
        return 0;
    uint32_t i = (uint32_t)hash & (part->cap - 1);
    while (part->slots[i] && !is(ctx, part->slots[i], wanted))
        i = (i + 1) & (part->cap - 1);
    return part->slots[i];
}

void watch_table_add(struct watch_table *self, uint32_t number, watch_table_hash *hash,
                     const void *ctx)
{
    if (!self->parts && self->count >= WATCH_TABLE_SPLIT)
        split(self, hash, ctx);
    part_add(part_of(self, hash(ctx, number)), number, hash, ctx);
    self->count++;
}

void watch_table_remove(struct watch_table *self, uint32_t number, watch_table_hash *hash,
                        const void *ctx)
{
    struct watch_table_part *part = part_of(self, hash(ctx, number));
    uint32_t mask = part->cap - 1;
    uint32_t hole = (uint32_t)hash(ctx, number) & mask;
    while (part->slots[hole] != number) {
        CHECK(part->slots[hole]);
        hole = (hole + 1) & mask;
    }
    for (uint32_t i = (hole + 1) & mask; part->slots[i]; i = (i + 1) & mask) {
        /* Moves back only what its home allows to stand in the hole. */
        uint32_t home = (uint32_t)hash(ctx, part->slots[i]) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            part->slots[hole] = part->slots[i];
            hole = i;
        }
    }
    part->slots[hole] = 0;
    part->count--;
    self->count--;
}

bool watch_table_step(const struct watch_table *self, uint32_t *place, uint32_t *ret_number)
{
    const struct watch_table_part *parts = self->parts ? self->parts : &self->one;
    uint32_t part_count = self->parts ? WATCH_TABLE_PARTS : 1;
    uint32_t part = *place >> PLACE_BITS;
    uint32_t slot = *place & ((UINT32_C(1) << PLACE_BITS) - 1);
    while (part < part_count && slot >= parts[part].cap) {
        part++;
        slot = 0;
    }
    if (part >= part_count)
        return false;
    *ret_number = parts[part].slots[slot];
    *place = (part << PLACE_BITS) + slot + 1;
    return true;
}
