/* A segment: one file of records and frames in seq order, with its rows beside it.
 *
 * Segment file, `first-last-generation.seg` (hex; last is ffffffffffffffff while it is written to):
 *
 *      0  u64  magic "CORASEG1"
 *      8  u32  CRC-32C of bytes 12..63
 *     12  u32  generation: 0 as it was appended, one more for each cleaning
 *     16  u64  cluster id
 *     24  u64  member id
 *     32  u64  first seq of its range
 *     40  u64  synced: all seqs up to it were durable before this file was begun; so what is gone
 *              from a cleaned one was dead by them
 *     48  u64  nonce, random (frame.h)
 *     56  u64  0
 *     64       records and frames (record.h, frame.h), each at a multiple of 8; zeros end it
 *
 * Row file, the same name with `.row`; made when the segment is sealed, never changed:
 *
 *      0  u64  magic "CORAROW1"
 *      8  u32  CRC-32C of bytes 12..4095
 *     12  u32  generation
 *     16  u64  first seq      24  u64  last seq
 *     32  u32  rows           36  u32  end of the segment's items / 8
 *     40  u32  shift of the coarse table
 *     48  u64  bytes of all records
 *     64       512 x u32: how many rows have (seq - first) >> shift < i
 *   4096       rows of 32 bytes, 128 to a page, the last page filled with zeros
 *              then for each page its u32 CRC-32C, then the u32 CRC-32C of these
 *
 * Row, little-endian:
 *      0  u32  seq - first       4  u32  offset in the segment / 8
 *      8  u32  blob length      12  u32  checksum of the record
 *     16  i64  main             24  u64  prev << 16 | bucket << 8 | birth << 4 | kind
 *
 * Invariants:
 *  1. Ranges of the segments in a table tile [1, last]: none is missing, none overlaps.
 *  2. A name without ffff… is given only when the file's bytes and its rows are durable.
 *  3. Rows only ever get more in the segment that is written to; those of others never change.
 *  4. A row is shown (row_count) after its record's bytes can be read in the mapping.
 *  5. Dead bits only ever get more; they are shared by a segment and what it is sealed into.
 *
 * Thread: rows and bytes, any under a guard; counts of references, the core; the rest as stated. */
#pragma once

#include "base/epoch.h"
#include "mvcc/record.h"

#include <stdatomic.h>

#define SEGMENT_HEADER_BYTES   64
#define SEGMENT_OPEN           UINT64_MAX /* the last seq of the one that is written to */
#define SEGMENT_SPAN_MAX       UINT32_MAX /* last - first of a sealed one */
#define SEGMENT_NAME_BYTES     64
#define SEGMENT_BYTES_SMALL    ((uint64_t)4 << 20)
#define SEGMENT_BYTES_LARGE    ((uint64_t)64 << 20)
#define SEGMENT_BYTES_MAX      ((uint64_t)1 << 34)
#define SEGMENT_ROWS_PER_PAGE  128
#define SEGMENT_ROW_PAGE_BYTES 4096
#define SEGMENT_COARSE_COUNT   512

/* Which store a file belongs to. */
struct segment_owner {
    uint64_t cluster_id;
    uint64_t member_id;
};

struct segment_name {
    uint64_t first;
    uint64_t last;
    uint32_t generation;
};

struct segment_row {
    uint32_t seq_delta;
    uint32_t offset8;
    uint32_t blob_bytes;
    uint32_t crc;
    int64_t main;
    uint64_t prev_kind;
};
_Static_assert(sizeof(struct segment_row) == 32, "as it lies in the file");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are read in place");

/* One bit a row: no revision at or above the floor needs it. Any thread reads, the core sets. */
struct segment_dead {
    uint32_t capacity; /* in rows */
    _Atomic uint32_t count;
    _Atomic uint64_t bytes; /* record bytes that are dead */
    _Atomic uint64_t words[];
};

/* Dead bytes that were above a limit when it was cleaned. */
struct segment_kept {
    uint64_t bytes;
    uint64_t limit; /* a seq */
};

struct segment {
    struct segment_name name;
    struct segment_owner owner;
    uint64_t synced; /* of its header */
    uint64_t nonce;
    struct bytes map;              /* the file's bytes, preallocated ones included */
    _Atomic uint64_t end;          /* bytes that are in use */
    _Atomic uint64_t record_bytes; /* without header and frames */
    _Atomic uint32_t row_count;
    const struct segment_row *rows;  /* sealed: in the mapping of the row file */
    struct segment_row **pages;      /* written to: on the heap, row_count shown at a time */
    const uint32_t *page_crcs;       /* sealed */
    _Atomic uint64_t *pages_checked; /* sealed: one bit a page of rows whose checksum was right */
    const uint32_t *coarse;          /* sealed */
    uint32_t coarse_shift;
    struct bytes row_map; /* sealed: the row file's bytes */
    struct segment_dead *dead;
    /* What a cleaning had to keep though it is dead (cleaning.h). */
    struct segment_kept kept_deletions, kept_others;
    unsigned refs;
    /* Called on the core when the last count is gone; frees self, and what lies behind. */
    void (*release)(struct segment *self);
    void *release_ctx;
    struct epoch_item retired;
};

/* Immutable, sorted by seq. */
struct segment_table {
    struct epoch_item retired;
    unsigned count;
    uint64_t *firsts; /* of the segments, side by side for the search; behind the pointers */
    struct segment *segments[];
};

/* "%016x-%016x-%08x" with .seg or .row. */
void segment_name_print(const struct segment_name *self, const char *suffix,
                        char out[SEGMENT_NAME_BYTES]);
/* False where text is not such a name with that suffix. */
bool segment_name_parse(const char *text, const char *suffix, struct segment_name *ret_name);

static inline const struct segment_row *segment_row_at(const struct segment *self, uint32_t i)
{
    if (self->rows)
        return &self->rows[i];
    return &self->pages[i / SEGMENT_ROWS_PER_PAGE][i % SEGMENT_ROWS_PER_PAGE];
}

static inline enum mvcc_kind segment_row_kind(const struct segment_row *self)
{
    return (enum mvcc_kind)(self->prev_kind & 0xf);
}

static inline bool segment_row_is_birth(const struct segment_row *self)
{
    return self->prev_kind >> 4 & 1;
}

static inline uint8_t segment_row_bucket(const struct segment_row *self)
{
    return (uint8_t)(self->prev_kind >> 8);
}

static inline uint64_t segment_row_prev(const struct segment_row *self)
{
    return self->prev_kind >> 16;
}

/* The rows that can be read now. */
static inline uint32_t segment_row_count(const struct segment *self)
{
    return atomic_load_explicit(&self->row_count, memory_order_acquire);
}

static inline uint64_t segment_row_seq(const struct segment *self, uint32_t i)
{
    return self->name.first + segment_row_at(self, i)->seq_delta;
}

/* The first row with seq >= the given one; row count where none is. */
uint32_t segment_row_find(const struct segment *self, uint64_t seq);
/* The last row with main <= revision, plus 1; 0 where none is. */
uint32_t segment_row_find_main(const struct segment *self, int64_t revision);
/* Checks the page that holds row i, once in the segment's life, so that it costs nothing to ask
 * before each use (sealed segments; the open one's lie in our own memory).
 * Fails: ERR_CORRUPT. */
MUST err segment_row_check_page(const struct segment *self, uint32_t i);
/* Reads the record of row i, checks it against the row. Fails: ERR_CORRUPT. */
MUST err segment_record_read(const struct segment *self, uint32_t i,
                             struct mvcc_record *ret_record);

struct segment_dead *segment_dead_new(uint32_t capacity);
bool segment_dead_get(const struct segment_dead *self, uint32_t row);
/* False where it was set before. */
bool segment_dead_set(struct segment_dead *self, uint32_t row, uint64_t record_bytes);

/* A sealed segment over bytes of its two files, both borrowed until release. dead is taken over
 * (NULL: none is dead). Checked here: both headers, names, sizes; pages and records when they are
 * read. One count, the caller's.
 * Fails: ERR_CORRUPT; ERR_MISMATCH where a file belongs to another store. */
MUST err segment_open_sealed(struct segment_name name, struct segment_owner owner, struct bytes map,
                             struct bytes row_map, struct segment_dead *dead,
                             struct segment **ret_segment);
/* Frees the object and its own memory (dead bits unless handed on), not the mappings. */
void segment_free(struct segment *self);
void segment_unref(struct segment *self);

/* Room for count segments, to be put in by segment_table_put in seq order. */
struct segment_table *segment_table_new(unsigned count);
void segment_table_put(struct segment_table *self, struct segment *segment);
/* The segment that holds seq in its range; count where none does. */
unsigned segment_table_find(const struct segment_table *self, uint64_t seq);
