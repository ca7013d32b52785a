/* The key index: every key that has a change above the floor, and its newest change.
 *
 *     root ──> inner nodes ──> leaves ──> heads
 *              live counts     keys       seq, revisions, version, length, lease, ladder
 *
 * A B+tree of 64-wide nodes (index_tree.h has its layout and invariants). A key points to its
 * *head*. An update swings the head pointer (release store) and copies no node: readers of older
 * roots see the new head, find its seq above their own and go back by `prev` (view.h). A birth, a
 * death or a removal copies the path from the root, each node at most once a batch.
 *
 * A key keeps being indexed after its death until compaction takes it out; it counts as dead.
 *
 * 1. What a published root reaches never changes, but for head pointers that swing from one live
 *    head to a newer live head of the same key.
 * 2. So the live counts of a root are exact at the view's seq that was published with it.
 * 3. What a batch replaced is freed only after mvcc_index_retire, when no guard can see it.
 * 4. The ladder: each 16th change of a key, newest last, all but at most one above the floor.
 *
 * Memory: at most 140 bytes a key of 64 bytes, all told (tests: index_memory).
 * Thread: mvcc_index_*: the core. Cursors, find, count on a published root: any thread under a
 * guard of the epoch. */
#pragma once

#include "base/bytes.h"
#include "base/epoch.h"
#include "base/err.h"
#include "mvcc/span.h"

struct mvcc_index;
struct tree_node; /* a root is one; NULL: the empty index */

/* Every how many changes of a key one is noted in its ladder. */
#define MVCC_LADDER_STEP 16

/* The newest change of a key. */
struct mvcc_head {
    uint64_t seq;
    int64_t main;    /* mod_revision; of a dead key the revision of its death */
    int64_t create;  /* 0: dead */
    int64_t version; /* 0: dead */
    int64_t lease;
    uint32_t blob_bytes;   /* of the stored KeyValue */
    uint32_t steps;        /* changes since the last rung, or since the first known one */
    const uint64_t *rungs; /* ascending seqs, lent as long as the head; NULL without a ladder */
    uint32_t rung_count;
};

static inline bool mvcc_head_is_live(const struct mvcc_head *self)
{
    return self->version != 0;
}

/* epoch is borrowed and outlives the index. */
struct mvcc_index *mvcc_index_new(struct epoch *epoch);
/* No reader may be left. NULL is legal. */
void mvcc_index_free(struct mvcc_index *self);

/* Core: in the root being built. */
bool mvcc_index_find(const struct mvcc_index *self, struct bytes key, struct mvcc_head *ret_head);
/* Makes head the newest change of key (its rungs and steps are not looked at: the index keeps the
 * ladder itself, cut at floor_seq). head->seq is above the one it replaces (CHECK).
 * key: at most MVCC_KEY_BYTES_MAX (CHECK). */
void mvcc_index_put(struct mvcc_index *self, struct bytes key, const struct mvcc_head *head,
                    uint64_t floor_seq);
/* The key leaves the index. False: it was not there. */
bool mvcc_index_remove(struct mvcc_index *self, struct bytes key);
/* Takes away ladders that the floor has passed, within *budget, which it counts down; restart:
 * from the first one. True: all were looked at. */
bool mvcc_index_trim(struct mvcc_index *self, uint64_t floor_seq, bool restart, unsigned *budget);
/* Appends while the index is loaded from sorted heads: each key above the last one (CHECK), the
 * index empty before the first. Rungs and steps of the head are taken over as they stand.
 * Ended by mvcc_index_load_done; between them nothing else is called. */
void mvcc_index_load(struct mvcc_index *self, struct bytes key, const struct mvcc_head *head);
void mvcc_index_load_done(struct mvcc_index *self);

/* The root being built, for the core's own reading within a batch. */
const struct tree_node *mvcc_index_root(const struct mvcc_index *self);
/* Ends the batch: the root is immutable from now on, the next change copies. The caller publishes
 * it, and then calls mvcc_index_retire: everything that the batch replaced is retired. */
const struct tree_node *mvcc_index_publish(struct mvcc_index *self);
void mvcc_index_retire(struct mvcc_index *self);

/* Bytes held for keys, heads and nodes. */
uint64_t mvcc_index_bytes(const struct mvcc_index *self);

/* ── Reading a root ─────────────────────────────────────────────────────────────────────────── */

bool mvcc_root_find(const struct tree_node *root, struct bytes key, struct mvcc_head *ret_head);
/* Live keys in the span, at the seq that the root was published with. O(log n). */
uint64_t mvcc_root_count(const struct tree_node *root, const struct mvcc_span *span);
uint64_t mvcc_root_live(const struct tree_node *root);

/* Goes over a root in key order, either way, dead keys included. Valid within one guard; goes on
 * in a later one by mvcc_cursor_seek to the key after (or before) the last one seen. */
#define TREE_DEPTH_MAX 48
struct mvcc_cursor {
    const struct tree_node *path[TREE_DEPTH_MAX];
    uint16_t slot[TREE_DEPTH_MAX];
    int depth; /* of the leaf; -1: not at a key */
};
/* At the first key >= key. */
void mvcc_cursor_seek(struct mvcc_cursor *self, const struct tree_node *root, struct bytes key);
/* At the last key < key (BYTES_NONE with last: at the last key of all). */
void mvcc_cursor_seek_before(struct mvcc_cursor *self, const struct tree_node *root,
                             struct bytes key, bool last);
static inline bool mvcc_cursor_valid(const struct mvcc_cursor *self)
{
    return self->depth >= 0;
}
void mvcc_cursor_next(struct mvcc_cursor *self);
void mvcc_cursor_prev(struct mvcc_cursor *self);
void mvcc_cursor_head(const struct mvcc_cursor *self, struct mvcc_head *ret_head);
size_t mvcc_cursor_key_bytes(const struct mvcc_cursor *self);
/* Writes the key's mvcc_cursor_key_bytes bytes. */
void mvcc_cursor_key(const struct mvcc_cursor *self, uint8_t *out);
/* As bytes_compare(the cursor's key, key), without making the key. */
int mvcc_cursor_compare(const struct mvcc_cursor *self, struct bytes key);
