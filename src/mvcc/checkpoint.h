/* A checkpoint: the key index and the small buckets as they stood about some seq, so that a start
 * need not read the whole log. File `%016x.checkpoint` (its seq), little-endian:
 *
 *      0  magic "CORACKP1"
 *      8  blocks, one behind the other:
 *             0  u32  CRC-32C of bytes 4..15 and the payload
 *             4  u32  bytes of the payload
 *             8  u32  number of the block, from 0
 *            12  u32  kind
 *            16       payload
 *
 * Blocks come in this order of kinds:
 *     info      first, one: u64 cluster id, member id, seq, floor; i64 revision, compact revision
 *     segment   a segment of the log and its dead bits: u64 first, last; u32 generation, rows;
 *               u64 words with one bit a row
 *     head      heads sorted by key, none split: varints shared (bytes of the key that are those
 *               of the key before, 0 for a block's first), rest; the rest of the key; varints seq,
 *               main, create, version, blob length, lease, steps, rungs; rungs as varint
 *               differences, each to the one before, the first to 0
 *     bucket    entries sorted by (bucket, key): varints bucket, key length, value length, seq (of
 *               the entry's last change); key; value
 *     end       last, one: u64 heads, bucket entries, segments, greatest seq of a head
 *               or an entry
 *
 * 1. It is fuzzy: heads are written under short guards while changes go on. Each is at least as new
 *    as `seq`; replaying the log behind `seq` and ignoring what is not newer than the head gives
 *    the present.
 * 2. All marks of the sweep up to `floor` are in the dead bits; the sweep goes on behind it.
 * 3. It gets its name only after the log is synced past the greatest seq in it.
 *
 * Pure: bytes out, bytes in.  Thread: one at a time.
 * Fails: what is read is checked as a whole before anything is given out. */
#pragma once

#include "base/buf.h"
#include "base/epoch.h"
#include "mvcc/segment.h"

#define CHECKPOINT_BLOCK_BYTES 65536 /* a block is closed from here on */
#define CHECKPOINT_RUNGS_MAX   65536

struct checkpoint_info {
    uint64_t seq;
    uint64_t floor;
    int64_t revision;
    int64_t compact_revision;
};

/* The newest change of a key, as the index has it. */
struct checkpoint_head {
    struct bytes key; /* lent */
    uint64_t seq;
    int64_t main;
    int64_t create;
    int64_t version;
    int64_t lease;
    uint32_t blob_bytes;
    uint32_t steps;
    uint32_t rung_count;
    const uint64_t *rungs; /* ascending; lent */
};

struct checkpoint_entry {
    enum mvcc_bucket bucket;
    struct bytes key;   /* lent */
    struct bytes value; /* lent */
    uint64_t seq;       /* of its last change */
};

struct checkpoint_segment {
    struct segment_name name;
    uint32_t rows;
    struct bytes dead; /* 64-bit words; lent */
};

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

struct checkpoint_writer {
    struct buf out; /* finished blocks: the caller takes them and clears it */
    struct buf block;
    struct buf last_key;
    uint32_t block_kind;
    uint32_t block_count;
    uint64_t head_count;
    uint64_t entry_count;
    uint64_t segment_count;
    uint64_t greatest_seq;
    enum mvcc_bucket last_bucket;
};

void checkpoint_writer_init(struct checkpoint_writer *self, struct segment_owner owner,
                            const struct checkpoint_info *info);
void checkpoint_writer_done(struct checkpoint_writer *self);
/* Segments first, then heads (keys ascending: CHECK), then entries (CHECK), then the end. */
void checkpoint_writer_segment(struct checkpoint_writer *self, const struct segment *segment);
void checkpoint_writer_head(struct checkpoint_writer *self, const struct checkpoint_head *head);
void checkpoint_writer_entry(struct checkpoint_writer *self, const struct checkpoint_entry *entry);
/* What follows is of a view at seq: what was removed up to there is missing from it, and nothing in
 * it says so. */
void checkpoint_writer_reflects(struct checkpoint_writer *self, uint64_t seq);
void checkpoint_writer_end(struct checkpoint_writer *self);

/* Where heads and entries come from; the index implements it. Called on the store thread, which
 * hands in its slot of the epoch: begin and each fill take a guard of their own for one slice. */
struct checkpoint_source {
    void *ctx;
    /* A new checkpoint begins: the newest view's seq, revisions and floor; the cursor goes to the
     * first key. False: not now (nothing was opened yet). */
    bool (*begin)(void *ctx, struct epoch_slot *slot, struct checkpoint_info *ret_info);
    /* Writes at most max heads or entries by checkpoint_writer_head and _entry, in order, in the
     * view that is newest now, which it names by checkpoint_writer_reflects. False: that was the
     * last one. */
    bool (*fill)(void *ctx, struct epoch_slot *slot, struct checkpoint_writer *writer,
                 unsigned max);
};

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

struct checkpoint_reader {
    struct bytes bytes; /* the file's, lent */
    struct checkpoint_info info;
    uint64_t head_count;
    uint64_t entry_count;
    uint64_t segment_count;
    uint64_t greatest_seq;
    struct buf key;
    uint64_t *rungs; /* of the head given out last */
    uint32_t rung_capacity;
    size_t next_block;  /* offset */
    struct bytes block; /* what is left of the present one */
    uint64_t last_seen; /* items given out of the present kind */
    uint32_t kind;
};

/* Checks the whole file: every block, and that the end is there. Nothing is changed on failure.
 * Fails: ERR_CORRUPT; ERR_MISMATCH where it belongs to another store. */
MUST err checkpoint_reader_init(struct checkpoint_reader *self, struct segment_owner owner,
                                struct bytes bytes);
void checkpoint_reader_done(struct checkpoint_reader *self);
/* Goes before the first item of a kind. */
void checkpoint_reader_segments(struct checkpoint_reader *self);
void checkpoint_reader_heads(struct checkpoint_reader *self);
void checkpoint_reader_entries(struct checkpoint_reader *self);
/* The next one; *ret_found false at the end. What is lent lives until the next call.
 * Fails: ERR_CORRUPT (right checksums, wrong contents). */
MUST err checkpoint_reader_segment(struct checkpoint_reader *self,
                                   struct checkpoint_segment *ret_segment, bool *ret_found);
MUST err checkpoint_reader_head(struct checkpoint_reader *self, struct checkpoint_head *ret_head,
                                bool *ret_found);
MUST err checkpoint_reader_entry(struct checkpoint_reader *self, struct checkpoint_entry *ret_entry,
                                 bool *ret_found);
