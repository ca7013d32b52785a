/* Numbers by hash: what finds ranges by key and a stream's watchers by id. Open addressing; a large
 * table is many small ones, so that none takes long to grow: 8,192 slots are moved in a fifth of a
 * millisecond.
 *
 *     parts     one, and from WATCH_TABLE_SPLIT numbers on WATCH_TABLE_PARTS, by the hash's top
 * bits slots     linear probing, load 3/4 at most, removal shifts back: no slot between a number's
 *               home and its place is empty
 *
 * Thread: one at a time.  Owns: slots, not what the numbers name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WATCH_TABLE_PARTS 128
#define WATCH_TABLE_SPLIT 4096

struct watch_table_part {
    uint32_t *slots; /* 0: empty */
    uint32_t cap, count;
};

struct watch_table {
    struct watch_table_part *parts; /* NULL: the only one is `one` */
    struct watch_table_part one;
    uint32_t count;
};

/* What a number's hash is; the same as long as it is in the table. */
typedef uint64_t watch_table_hash(const void *ctx, uint32_t number);
/* Is it the one that is looked for? */
typedef bool watch_table_is(const void *ctx, uint32_t number, const void *wanted);

void watch_table_done(struct watch_table *self);
/* 0: none. */
uint32_t watch_table_find(const struct watch_table *self, uint64_t hash, watch_table_is *is,
                          const void *ctx, const void *wanted);
/* The number is not in it. */
void watch_table_add(struct watch_table *self, uint32_t number, watch_table_hash *hash,
                     const void *ctx);
/* The number is in it. */
void watch_table_remove(struct watch_table *self, uint32_t number, watch_table_hash *hash,
                        const void *ctx);

/* Goes over all slots, one a call, from *place 0 on: *ret_number is 0 for an empty one. False: the
 * end. Numbers that are added meanwhile may be missed, and where the table grows some come twice or
 * not at all. */
bool watch_table_step(const struct watch_table *self, uint32_t *place, uint32_t *ret_number);
