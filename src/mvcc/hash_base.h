/* What a HashKV leaves behind, so that the next one of the same compacted revision C goes on from
 * there. With end the last change up to R, a HashKV at R that keeps any key is
 *
 *     "key"  ‖  puts up to C that nothing up to end supersedes  ‖  changes of (C, R]
 *               early: blocks of members                           late
 *
 * and from R to a later R2 late only grows at its end, while early only loses what changes of
 * (R, R2] supersede: no put is added below C, and none comes back. All rows of (R, R2] are there
 * for as long as C stays, since the floor is not above it, and each names what it supersedes. A
 * block that lost a member is folded anew out of its rows; then all blocks are combined, and late.
 *
 * Where early is empty behind a compaction, whether any key is kept decides (hash.h): then, as for
 * any other C, an older R or the same one, a hash begins from scratch.
 *
 * Thread: one at a time.  Owns: its arrays, 2 bytes a member and 32 a block. */
#pragma once

#include "mvcc/revlog.h"

#define HASH_BLOCK_MEMBERS_MAX 64
/* So that no block takes long to fold. */
#define HASH_BLOCK_SPAN_MAX 4096

struct mvcc_hash_block {
    uint64_t first; /* seq */
    uint64_t bytes; /* that crc covers */
    uint32_t crc;
    uint32_t at;    /* its first member in offsets */
    uint16_t count; /* of members; they have offsets from first, ascending */
    bool is_due;    /* members were taken out since crc was made */
};

/* All zero: nothing was left. */
struct mvcc_hash_base {
    int64_t revision; /* R; 0: nothing was left */
    int64_t compact_revision;
    uint64_t compact_seq;
    uint64_t end;
    uint64_t late_bytes;
    uint32_t late_crc;
    uint16_t *offsets;
    size_t offset_count, offset_cap;
    struct mvcc_hash_block *blocks;
    size_t block_count, block_cap;
};

void mvcc_hash_base_done(struct mvcc_hash_base *self);
/* A put behind all other members. */
void mvcc_hash_base_add(struct mvcc_hash_base *self, const struct revlog_row *row);
/* What was superseded, a member or not. */
void mvcc_hash_base_remove(struct mvcc_hash_base *self, uint64_t seq);
/* A change behind all others. */
void mvcc_hash_base_add_late(struct mvcc_hash_base *self, const struct revlog_row *row);
/* Folds a block that is due. rows: counted up by those looked at. *ret_whole false: a member's row
 * is gone. Fails: ERR_CORRUPT. */
MUST err mvcc_hash_block_fold(struct mvcc_hash_base *self, size_t block, const struct revlog *log,
                              unsigned *rows, bool *ret_whole, struct revlog_fault *fault);
