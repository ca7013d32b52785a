/* Where each entry of the log lies: index -> segment, offset, term. 12 bytes an entry and one
 * row a change of term, so that old entries need no memory of their own.
 *
 *     base (index, term)   the entry before the first: known by index and term alone
 *     base.index + 1 …     one place each, dense
 *
 * Thread: one at a time.  Owns: its arrays. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wal_place {
    uint32_t segment;    /* sequence number */
    uint32_t offset;     /* of the frame */
    uint32_t crc_before; /* running value that the record continues */
};

struct wal_term_run {
    uint64_t from; /* index of the run's first entry */
    uint64_t term;
};

struct wal_places {
    uint64_t base_index, base_term;
    struct wal_place *places; /* a window: [start, start + count) of the array */
    size_t start, count, cap;
    struct wal_term_run *runs; /* ascending; the first covers base_index + 1 */
    size_t run_count, run_cap;
};

void wal_places_init(struct wal_places *self, uint64_t base_index, uint64_t base_term);
void wal_places_done(struct wal_places *self);
/* Forgets all entries; the next is index + 1. */
void wal_places_reset(struct wal_places *self, uint64_t base_index, uint64_t base_term);
uint64_t wal_places_last_index(const struct wal_places *self);
uint64_t wal_places_last_term(const struct wal_places *self);
/* Entry `index` lies here, and what had an index from there on is replaced by it.
 * Fails: ERR_CORRUPT where index is not in base + 1 … last + 1. */
MUST err wal_places_put(struct wal_places *self, uint64_t index, uint64_t term,
                        struct wal_place place);
/* Forgets what is at or below index (at most the last); its term stays known. */
void wal_places_release(struct wal_places *self, uint64_t index);
/* Fails: ERR_COMPACTED_LOG below the base; ERR_NOT_FOUND above the last. */
MUST err wal_places_term(const struct wal_places *self, uint64_t index, uint64_t *ret_term);
/* Fails: ERR_COMPACTED_LOG at or below the base; ERR_NOT_FOUND above the last. */
MUST err wal_places_get(const struct wal_places *self, uint64_t index, struct wal_place *ret_place);
