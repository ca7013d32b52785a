/* The ranges that are watched, each distinct one once, and which of them hold a key.
 *
 *     one key     a hash table (watch_table.h)        probes: 1 to 2
 *     intervals   a treap by (key, end), each node knowing the greatest end below it:
 *                 those that hold a key come in order, log n each
 *
 * A range is called by its number and lives as long as it is counted. Who walks over matches holds
 * the one that it stands at, and goes on behind it.
 *
 * 1. A node's priority is a hash of its number: the treap's shape is that of its history, and a
 *    client without the seed cannot make it deep.
 * 2. most = the number of the range with the greatest end in the node's subtree.
 *
 * Thread: one at a time.  Owns: copies of keys and ends. */
#pragma once

#include "mvcc/index_slab.h"
#include "mvcc/span.h"
#include "mvcc/watch_slab.h"
#include "mvcc/watch_table.h"

/* A range has two lists of watchers, first ones by number. */
enum watch_list { WATCH_LIST_LIVE, WATCH_LIST_WALKED, WATCH_LISTS };

/* 36 bytes, an interval 48. */
struct watch_range {
    uint32_t refs; /* first: the slab's link while free */
    uint32_t key_len;
    uint32_t end_len; /* WATCH_END_NONE: of one key, WATCH_END_OPEN: no end */
    uint32_t watchers[WATCH_LISTS];
    uint32_t pending[WATCH_LISTS]; /* what the response in the making holds for it; 0: nothing */
    uint8_t *bytes;                /* key, then end */
} __attribute__((packed, aligned(4)));
#define WATCH_END_NONE UINT32_MAX
#define WATCH_END_OPEN (UINT32_MAX - 1)

struct watch_interval {
    struct watch_range range;
    uint32_t left, right, most;
} __attribute__((packed, aligned(4)));

/* Set in the number of an interval. */
#define WATCH_RANGE_INTERVAL (UINT32_C(1) << 31)

/* Bytes up to here lie in slabs by length, eight bytes a step, without a header each. */
#define WATCH_BYTES_STEP  8
#define WATCH_BYTES_SLABS 32

struct watch_ranges {
    struct watch_slab keys, intervals;
    struct slab bytes[WATCH_BYTES_SLABS];
    struct watch_table table; /* key ranges by key */
    uint32_t root;            /* of the intervals */
    uint64_t seed;
};

uint64_t watch_hash(uint64_t seed, struct bytes what);

void watch_ranges_init(struct watch_ranges *self, uint64_t seed);
void watch_ranges_done(struct watch_ranges *self);
/* Counted once more; made where there is none. */
uint32_t watch_ranges_get(struct watch_ranges *self, const struct mvcc_span *span);
void watch_ranges_ref(struct watch_ranges *self, uint32_t number);
void watch_ranges_unref(struct watch_ranges *self, uint32_t number);
struct watch_range *watch_ranges_at(const struct watch_ranges *self, uint32_t number);
/* Lent as long as the range. */
struct mvcc_span watch_range_span(const struct watch_range *self);

/* The range of just this key; 0: none. */
uint32_t watch_ranges_key(const struct watch_ranges *self, struct bytes key);
/* The first interval behind `after` (0: the first of all) that holds the key; 0: none. */
uint32_t watch_ranges_stab(const struct watch_ranges *self, struct bytes key, uint32_t after);
