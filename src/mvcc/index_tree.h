/* A B+tree of byte strings whose roots can be read while the next one is built. The key index,
 * the small buckets and the leases (state/lease_table.c) are made of it; only they include this.
 *
 * A node is one block of memory:
 *
 *     struct tree_node
 *     u64  heads[slots]   the first 8 bytes after the prefix, big-endian, padded with zeros
 *     u64  words[slots]   leaf: what the owner stores for the key; inner: the child
 *     u64  lives[slots]   inner nodes only: live keys below the child
 *     u32  ends[slots]    bits 0..27: where this key's bytes in the heap end; they begin where
 *                         those of the slot before end. bits 28..31: how many bytes (0..8) of
 *                         the head are the key's
 *     u8   heap[]         the prefix that all keys of the node share, then of each key what
 *                         follows its head
 *
 *     key = prefix, then the head's bytes, then the bytes in the heap
 *
 * A word's lowest bit says that the key is dead; words with it do not count as live.
 *
 * 1. Keys ascend strictly within a node and from leaf to leaf.
 * 2. Inner slot i > 0 holds a separator: above every key left of it, at or below every key of its
 *    child. Slot 0 holds no key (below everything), and no part in the prefix.
 * 3. lives[i] is the sum of what lies below words[i].
 * 4. A node whose batch is the tree's is private: only the writer sees it and edits it in place.
 *    Every other node changes in nothing but words that swing (tree_swing).
 * 5. A node is split above TREE_WIDTH slots, or above TREE_NODE_BYTES_MAX where it has two keys.
 *
 * The depth is bounded: a node has at least two children when it is made by a split, and a key
 * takes memory, so TREE_DEPTH_MAX is out of reach (CHECK).
 *
 * Thread: editing, the owner's one thread; reading a root, any thread under a guard. */
#pragma once

#include "base/buf.h"
#include "mvcc/index.h"

#define TREE_WIDTH          64
#define TREE_NODE_BYTES_MAX 32768
#define TREE_DEAD           UINT64_C(1)

struct tree_node {
    uint64_t batch;
    uint32_t block_bytes;
    uint32_t heap_cap;
    uint32_t heap_bytes; /* used: the prefix and the rests */
    uint32_t prefix_bytes;
    uint32_t dead; /* leaf: slots whose word is dead */
    uint16_t count;
    uint16_t slots;
    uint16_t level; /* 0: leaf */
    uint16_t pad;
    uint64_t data[];
};

struct tree {
    struct tree_node *root;
    uint64_t batch; /* of private nodes */
    uint64_t bytes; /* of all nodes that the newest root and its predecessors hold */
    /* A published node or word that is no longer part of the root being built. */
    void (*drop_node)(void *ctx, struct tree_node *node);
    void *ctx;
    struct tree_entry *entries; /* room to take nodes apart */
    struct buf scratch;
    struct tree_loader *loader;
};

/* A key of a node that was taken apart. */
struct tree_entry {
    struct bytes key;
    uint64_t word;
    uint64_t live;
};

void tree_init(struct tree *self, void (*drop_node)(void *ctx, struct tree_node *node), void *ctx);
/* Frees the nodes of the newest root; what was dropped is its taker's. */
void tree_done(struct tree *self);
/* What drop_node was given. */
void tree_node_free(struct tree *self, struct tree_node *node);
/* From now on nothing of the root is private. */
void tree_seal(struct tree *self);

/* The word of a key; false where it is not there. */
bool tree_find(const struct tree_node *root, struct bytes key, uint64_t *ret_word);
/* The word's place, for tree_swing; NULL where the key is not there. */
uint64_t *tree_place(const struct tree_node *root, struct bytes key);
/* Replaces a word where it stands, for readers of all roots that hold this leaf. Both words must be
 * alike dead or live. */
static inline void tree_swing(uint64_t *place, uint64_t word)
{
    __atomic_store_n(place, word, __ATOMIC_RELEASE);
}
/* Sets a key's word on a path of private nodes; the key may be new. */
void tree_set(struct tree *self, struct bytes key, uint64_t word);
/* False where the key was not there. */
bool tree_remove(struct tree *self, struct bytes key);

/* Builds from ascending keys (CHECK), the tree empty before the first. */
void tree_load(struct tree *self, struct bytes key, uint64_t word);
void tree_load_done(struct tree *self);

/* The word that a cursor stands at. */
uint64_t tree_cursor_word(const struct mvcc_cursor *cursor);
/* Calls visit for each word of a root. */
void tree_visit(const struct tree_node *root, void (*visit)(void *ctx, uint64_t word), void *ctx);
/* Checks the invariants of a whole root; in tests. */
bool tree_is_sound(const struct tree_node *root);

/* ── Inside a node (index_tree.c, index_tree_edit.c, index_load.c) ──────────────────────────── */

#define TREE_END_BITS 28
#define TREE_END_MASK ((UINT32_C(1) << TREE_END_BITS) - 1)

static inline uint64_t *tree_heads(const struct tree_node *node)
{
    return (uint64_t *)node->data;
}
static inline uint64_t *tree_words(const struct tree_node *node)
{
    return (uint64_t *)node->data + node->slots;
}
static inline uint64_t *tree_lives(const struct tree_node *node)
{
    return (uint64_t *)node->data + 2 * (size_t)node->slots;
}
static inline uint32_t *tree_ends(const struct tree_node *node)
{
    return (uint32_t *)((uint64_t *)node->data + (node->level ? 3 : 2) * (size_t)node->slots);
}
static inline uint8_t *tree_heap(const struct tree_node *node)
{
    return (uint8_t *)(tree_ends(node) + node->slots);
}
static inline uint64_t tree_word(const struct tree_node *node, unsigned slot)
{
    return __atomic_load_n(tree_words(node) + slot, __ATOMIC_ACQUIRE);
}
static inline struct tree_node *tree_child(const struct tree_node *node, unsigned slot)
{
    return (struct tree_node *)(uintptr_t)tree_words(node)[slot];
}
static inline uint32_t tree_rest_begin(const struct tree_node *node, unsigned slot)
{
    return slot ? tree_ends(node)[slot - 1] & TREE_END_MASK : node->prefix_bytes;
}
static inline uint32_t tree_rest_end(const struct tree_node *node, unsigned slot)
{
    return tree_ends(node)[slot] & TREE_END_MASK;
}
static inline unsigned tree_head_bytes(const struct tree_node *node, unsigned slot)
{
    return tree_ends(node)[slot] >> TREE_END_BITS;
}
static inline size_t tree_key_bytes(const struct tree_node *node, unsigned slot)
{
    return node->prefix_bytes + tree_head_bytes(node, slot) + tree_rest_end(node, slot) -
           tree_rest_begin(node, slot);
}
/* Live keys at and below a node. */
uint64_t tree_node_live(const struct tree_node *node);
void tree_key_write(const struct tree_node *node, unsigned slot, uint8_t *out);
/* As bytes_compare(key of the slot, key). */
int tree_key_compare(const struct tree_node *node, unsigned slot, struct bytes key);
/* A key's first bytes after the prefix as a head. */
static inline uint64_t tree_head_of(struct bytes suffix)
{
    uint64_t head = 0;
    if (suffix.len >= 8)
        return bytes_get_be64(suffix.data);
    for (size_t i = 0; i < suffix.len; i++)
        head |= (uint64_t)suffix.data[i] << (56 - 8 * i);
    return head;
}
/* First slot >= from whose key is >= key. */
unsigned tree_lower(const struct tree_node *node, unsigned from, struct bytes key, bool *ret_equal);
/* The child that a key belongs to. */
unsigned tree_child_slot(const struct tree_node *node, struct bytes key);
/* A private node of these entries (the first key of an inner one is not looked at). */
struct tree_node *tree_build(struct tree *self, unsigned level, const struct tree_entry *entries,
                             unsigned count);
/* An empty private node with room for so many slots and heap bytes. */
struct tree_node *tree_node_new(struct tree *self, unsigned level, unsigned slots,
                                size_t heap_bytes);
/* The shortest key that is above left and at or below right; lent out of right. */
struct bytes tree_separator(struct bytes left, struct bytes right);
