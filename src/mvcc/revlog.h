/* The revision log as its readers see it: one run of changes in seq order, of which the newest are
 * in the tail and all written ones in segments.
 *
 *     seq ──> tail? ──> record
 *        └──> segment table ──> segment ──> row ──> record in the mapping
 *
 * The table is immutable and swapped as a whole; who reads takes the newest one, so that what left
 * the tail is always found (the tail is trimmed only after the table shows what was written).
 *
 * Thread: reading, any thread under a guard of the epoch; nothing blocks but on a page that is not
 * in memory. install, mark_dead: the core.
 * Errors: a bad byte is ERR_CORRUPT and says where in *fault (which may be NULL). */
#pragma once

#include "base/epoch.h"
#include "mvcc/record.h"
#include "mvcc/segment.h"
#include "mvcc/tail.h"

struct revlog;

/* Where stored bytes are bad. */
struct revlog_fault {
    char file[SEGMENT_NAME_BYTES];
    uint64_t offset; /* in that file */
    uint64_t seq;    /* the one wanted there */
};

/* What is known of a change without touching its value. */
struct revlog_row {
    uint64_t seq;
    uint64_t prev;
    int64_t main;
    uint32_t blob_bytes;
    uint32_t crc; /* fold with mvcc_record_crc_bytes(kind, blob_bytes) */
    uint8_t kind;
    uint8_t bucket;
    bool birth; /* first change of a generation */
    bool death; /* a tombstone */
    bool dead;  /* at the floor nothing needs it any more */
};

struct revlog_sizes {
    uint64_t size_bytes;   /* dbSize: up to the segments' ends, without preallocation; never 0 */
    uint64_t in_use_bytes; /* dbSizeInUse: records that are not dead, those in the tail included */
};

/* Starts without segments. epoch and tail are borrowed and outlive it; the tail may be NULL while
 * a store is opened (revlog_set_tail before the first change). */
struct revlog *revlog_new(struct epoch *epoch, struct tail *tail);
/* Retires the table at once; no reader may be left. NULL is legal. */
void revlog_free(struct revlog *self);
void revlog_set_tail(struct revlog *self, struct tail *tail);

/* The change with this seq; the blob is lent for as long as the guard: cleaning may move it to
 * another segment afterwards, so who reads longer asks again by seq.
 * Both checksums, the seq and the row are checked.
 * Fails: ERR_NOT_FOUND where cleaning dropped it or it never was; ERR_CORRUPT. */
MUST err revlog_read(const struct revlog *self, uint64_t seq, struct mvcc_record *ret_record,
                     struct revlog_fault *fault);
/* The same without the value. Fails: ERR_NOT_FOUND; ERR_CORRUPT. */
MUST err revlog_row(const struct revlog *self, uint64_t seq, struct revlog_row *ret_row,
                    struct revlog_fault *fault);
/* The greatest seq whose main <= revision and that is still there; 0 where none is. Binary search
 * over the tail, then over the rows, of which those that the answer rests on are checked. Only seqs
 * <= max_seq are looked at. Fails: ERR_CORRUPT. */
MUST err revlog_find_revision(const struct revlog *self, int64_t revision, uint64_t max_seq,
                              uint64_t *ret_seq, struct revlog_fault *fault);
/* The greatest seq that segments hold (written) and that the log holds at all. */
uint64_t revlog_written_seq(const struct revlog *self);
uint64_t revlog_last_seq(const struct revlog *self);

/* Rows of (seqs) [from, to] in order, dead ones included, dropped ones skipped; each page of rows
 * is checked as it is entered. Valid within one guard; go on later with from = last seen + 1. */
struct revlog_rows {
    const struct revlog *log;
    const struct segment_table *table;
    uint64_t next;
    uint64_t to;
    uint32_t segment;   /* in the table */
    uint32_t row;       /* in the segment */
    uint32_t row_count; /* that the segment showed when it was entered */
    bool in_tail;
    bool page_checked; /* the one that row lies in */
};
void revlog_rows_begin(struct revlog_rows *self, const struct revlog *log, uint64_t from,
                       uint64_t to);
/* *ret_found false: the end; then *ret_row is untouched. Fails: ERR_CORRUPT. */
MUST err revlog_rows_next(struct revlog_rows *self, struct revlog_row *ret_row, bool *ret_found,
                          struct revlog_fault *fault);

/* Core: nothing at or above the floor needs seq any more. False where it was marked before or has
 * been dropped. What is still in the tail is never marked (the floor is <= synced). */
bool revlog_mark_dead(struct revlog *self, uint64_t seq);
bool revlog_is_dead(const struct revlog *self, uint64_t seq);
void revlog_sizes(const struct revlog *self, struct revlog_sizes *ret_sizes);

/* Core: publishes a new table in which the segments that lie wholly in [first, last] are replaced
 * by added[0..count) (in seq order, inside [first, last], one count of each taken over). The old
 * table, and the segments that it alone named, are released when their guards are gone. A new
 * segment at the end: first = added[0]'s first, last = UINT64_MAX. */
void revlog_install(struct revlog *self, uint64_t first, uint64_t last,
                    struct segment *const added[], unsigned count);
/* The newest table, under a guard or on the core. */
const struct segment_table *revlog_table(const struct revlog *self);
