/* Which segments are cleaned next, and what goes.
 *
 *     neighbours ──pick──> plan ──run (records copied in seq order, slice by slice)──> new segment
 *
 * What may vanish is what is marked dead; its bit stays true for ever. But
 *   - whatever it superseded in an older segment must be dead there on the disk too: nothing else
 *     says so any more once this record is gone, and the bits in memory end with the process. An
 *     older segment says it by its dead bits, saved beside it (`.dead`, see dead_file_encode) with
 *     the floor they were taken at. So nothing above that floor goes, dead or not;
 *   - of a deletion both kept checkpoints must know: else replaying behind an older one misses it.
 *     So a deletion goes where its seq <= tombstone_limit too.
 *
 * What made it dead was durable before it was marked, and has to be there ever after: the result's
 * header and saved dead bits say how far all was durable then, and a start whose log ends before
 * that (rot in the last segment, where only a crash's torn end was looked for) refuses it.
 *
 * Every record is verified as it is read and keeps the checksum it had.
 *
 * Pure: segments in, records out to a segment_writer.  Thread: one at a time. */
#pragma once

#include "mvcc/segment_writer.h"

#define CLEANING_RUN_MAX 64 /* segments in one plan */

struct cleaning_limits {
    uint64_t segment_bytes;   /* a result should not be larger */
    uint64_t floor;           /* all marks up to it were made */
    uint64_t tombstone_limit; /* not above the floor: as far as checkpoints let deletions go */
    unsigned dead_percent;    /* a segment is due from here on: 50, in a defragment 5 */
};

struct cleaning_plan {
    unsigned first; /* index in the table */
    unsigned count;
    uint64_t gain_bytes; /* given back, about */
};

/* Neighbouring sealed segments worth cleaning: those of which more than dead_percent is of no use,
 * and neighbours, each at most half full, that together fit one. The run that gives back most.
 * False: none. */
bool cleaning_pick(const struct segment_table *table, const struct cleaning_limits *limits,
                   struct cleaning_plan *ret_plan);

/* One cleaning on its way. */
struct cleaning_run {
    struct segment *inputs[CLEANING_RUN_MAX]; /* borrowed until done; seq order */
    unsigned count;
    uint64_t floor;
    unsigned input; /* the next row to copy */
    uint32_t row;
    struct segment_kept kept_deletions, kept_others; /* what was dead and stayed */
    bool done;
};

void cleaning_run_init(struct cleaning_run *self, const struct segment_table *table,
                       const struct cleaning_plan *plan, const struct cleaning_limits *limits);
/* Up to here the older segments' bits must be saved before anything is copied. */
uint64_t cleaning_run_save_floor(const struct cleaning_run *self);
/* The result's name: the whole range, one generation above all inputs'. */
struct segment_name cleaning_run_name(const struct cleaning_run *self);
/* Bytes that the result's file needs at most. */
uint64_t cleaning_run_bytes(const struct cleaning_run *self);
/* Plans records into the writer until about budget_bytes are planned or all is, the end mark
 * included (self->done). What is dead and must stay is marked so in the result.
 * Fails: ERR_CORRUPT: inputs[self->input] has bad bytes at its row self->row. */
MUST err cleaning_run_copy(struct cleaning_run *self, struct segment_writer *writer,
                           uint64_t budget_bytes);
/* After the inputs are no longer published, so that no bit of theirs changes any more: marks in
 * the result what died meanwhile. Looks at `budget` rows from *row on; *ret_more false: all done.
 * Fails: ERR_CORRUPT: an input's rows have changed since they were copied. */
MUST err cleaning_run_carry(const struct cleaning_run *self, struct segment *result, uint32_t *row,
                            uint32_t budget, bool *ret_more);

/* ── Saved dead bits, file F-L-G.dead ────────────────────────────────────────────────────────
 *      0  magic "CORADED1"          8  u32  CRC-32C of bytes 12 to the end
 *     12  u32  generation          16  u64  first seq          24  u64  last seq
 *     32  u64  floor: a sweep up to it had set its bits
 *     40  u32  rows
 *     44  u32  how far behind the floor all was durable then (2^32 - 1: so far at least): a log
 * that ends before that has lost what these bits came of 48  words of 64 bits, one bit a row */
struct dead_file {
    uint64_t floor;
    uint64_t synced;
};

void dead_file_encode(const struct segment *segment, const struct dead_file *about,
                      struct buf *out);
/* Sets the bits in segment->dead. Fails: ERR_CORRUPT: then none is set. */
MUST err dead_file_apply(struct segment *segment, struct bytes file, struct dead_file *ret_about);
/* Sets those of a checkpoint's segment (same first and generation; it may have had fewer rows). */
void dead_words_apply(struct segment *segment, uint32_t rows, struct bytes words);
