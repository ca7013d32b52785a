/* How a head lies in memory, and how a tree word points to one.
 *
 *     word   bit 0 (TREE_DEAD): the key is dead    bit 1: the head is a wide one    else the
 * address
 *
 * A narrow head holds what a plain key needs; a lease, a ladder or a version above 32 bits takes a
 * wide one. Heads are immutable once a word points to them.
 *
 * Thread: decoding, any under a guard. */
#pragma once

#include "mvcc/index.h"

#define HEAD_WIDE       UINT64_C(2)
#define HEAD_STEPS_BITS 16 /* a seq has 48 bits (record.h) */
#define HEAD_STEPS_MAX  UINT64_C(0xffff)

struct head_narrow {
    uint64_t seq_steps; /* seq << 16 | steps */
    int64_t main;
    int64_t create;
    uint32_t version; /* the lower half */
    uint32_t blob_bytes;
};

/* The seqs of every MVCC_LADDER_STEP-th change of a key. Appended to in place: readers look no
 * further than their own head's count. Holds the key, so that a ladder that compaction made useless
 * finds its head. */
struct head_ladder {
    struct head_ladder *next; /* of all ladders of the index */
    struct head_ladder *prev;
    uint32_t cap;
    uint32_t key_bytes;
    uint64_t seqs[]; /* cap of them, then the key */
};

struct head_wide {
    struct head_narrow narrow;
    int64_t lease;
    struct head_ladder *ladder;
    uint32_t rung_first;
    uint32_t rung_count;
    uint32_t version_high;
    uint32_t pad;
};

static inline void head_decode(uint64_t word, struct mvcc_head *ret_head)
{
    const struct head_narrow *narrow = (const struct head_narrow *)(uintptr_t)(word & ~(uint64_t)7);
    *ret_head = (struct mvcc_head){
        .seq = narrow->seq_steps >> HEAD_STEPS_BITS,
        .main = narrow->main,
        .create = narrow->create,
        .version = narrow->version,
        .blob_bytes = narrow->blob_bytes,
        .steps = (uint32_t)(narrow->seq_steps & HEAD_STEPS_MAX),
    };
    if (!(word & HEAD_WIDE))
        return;
    const struct head_wide *wide = (const struct head_wide *)narrow;
    ret_head->version |= (int64_t)wide->version_high << 32;
    ret_head->lease = wide->lease;
    if (wide->ladder) {
        ret_head->rungs = wide->ladder->seqs + wide->rung_first;
        ret_head->rung_count = wide->rung_count;
    }
}
