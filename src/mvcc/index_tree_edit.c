/* Editing a tree: the path from the root is made private from the top down, then the leaf is
 * changed, then nodes that became too large or too small are dealt with from the bottom up. */
#include "mvcc/index_tree.h"

#include "base/check.h"

struct tree_path {
    struct tree_node *node[TREE_DEPTH_MAX];
    unsigned slot[TREE_DEPTH_MAX]; /* of the child; of the key in the leaf */
    int leaf;                      /* depth of the leaf */
};

/* Below this many slots a node looks for a neighbour to join, if both together stay well below a
 * full node (so that the next birth does not split them again). */
#define TREE_SPARSE     (TREE_WIDTH / 4)
#define TREE_JOINED_MAX (TREE_WIDTH * 3 / 4)

/* A node leaves the root being built. */
static void tree_dispose(struct tree *self, struct tree_node *node)
{
    if (node->batch == self->batch)
        tree_node_free(self, node);
    else
        self->drop_node(self->ctx, node);
}

/* A node that is now where the old one was. */
static void tree_relink(struct tree *self, struct tree_path *path, int depth,
                        struct tree_node *node)
{
    path->node[depth] = node;
    if (depth == 0)
        self->root = node;
    else
        tree_words(path->node[depth - 1])[path->slot[depth - 1]] = (uint64_t)(uintptr_t)node;
}

/* Makes the node at this depth private, with room for so many more slots and heap bytes. */
static struct tree_node *tree_own(struct tree *self, struct tree_path *path, int depth,
                                  unsigned more_slots, size_t more_heap)
{
    struct tree_node *old = path->node[depth];
    bool private = old->batch == self->batch;
    unsigned slots = old->count + more_slots;
    size_t heap = old->heap_bytes + more_heap;
    if (private && slots <= old->slots && heap <= old->heap_cap)
        return old;
    if (private) { /* it grows within one batch: not once a key */
        slots += 8;
        heap += heap / 4;
    }
    struct tree_node *node = tree_node_new(self, old->level, slots, heap);
    unsigned n = old->count;
    node->count = old->count;
    node->dead = old->dead;
    node->prefix_bytes = old->prefix_bytes;
    node->heap_bytes = old->heap_bytes;
    memcpy(tree_heads(node), tree_heads(old), n * sizeof(uint64_t));
    memcpy(tree_words(node), tree_words(old), n * sizeof(uint64_t));
    if (old->level)
        memcpy(tree_lives(node), tree_lives(old), n * sizeof(uint64_t));
    memcpy(tree_ends(node), tree_ends(old), n * sizeof(uint32_t));
    memcpy(tree_heap(node), tree_heap(old), old->heap_bytes);
    tree_relink(self, path, depth, node);
    tree_dispose(self, old);
    return node;
}

/* ── Taking nodes apart ─────────────────────────────────────────────────────────────────────── */

/* Appends the node's entries to self->entries at `at`; their keys lie in self->scratch, which must
 * have room (keys of entries made before stay where they are). first: the key that stands for the
 * missing one of an inner node's slot 0. */
static unsigned tree_take_apart(struct tree *self, const struct tree_node *node, unsigned at,
                                struct bytes first)
{
    struct buf *scratch = &self->scratch;
    for (unsigned i = 0; i < node->count; i++) {
        struct tree_entry *entry = &self->entries[at++];
        uint8_t *key = scratch->data + scratch->len;
        entry->word = tree_words(node)[i];
        entry->live = node->level ? tree_lives(node)[i] : 0;
        if (node->level && i == 0) {
            entry->key = first;
            continue;
        }
        entry->key = (struct bytes){key, tree_key_bytes(node, i)};
        tree_key_write(node, i, key);
        scratch->len += entry->key.len;
    }
    return at;
}

static size_t tree_expanded_bytes(const struct tree_node *node)
{
    return node->heap_bytes + (size_t)node->count * (node->prefix_bytes + 8);
}

static void tree_scratch_reset(struct tree *self, size_t bytes)
{
    /* One huge key must not be kept for ever. */
    if (self->scratch.cap > 64 * (size_t)TREE_NODE_BYTES_MAX)
        buf_done(&self->scratch);
    buf_clear(&self->scratch);
    err e = buf_reserve(&self->scratch, bytes + 1);
    CHECK(err_ok(e));
}

/* ── Insertion ──────────────────────────────────────────────────────────────────────────────── */

static bool tree_is_large(const struct tree_node *node)
{
    return node->count > TREE_WIDTH ||
           (node->block_bytes > TREE_NODE_BYTES_MAX && node->heap_bytes > TREE_NODE_BYTES_MAX / 2 &&
            node->count > (node->level ? 3 : 1));
}

/* Where the node's prefix does not fit the new key: builds it anew. */
static void tree_insert_anew(struct tree *self, struct tree_path *path, int depth, unsigned slot,
                             const struct tree_entry *entry)
{
    struct tree_node *old = path->node[depth];
    tree_scratch_reset(self, tree_expanded_bytes(old));
    unsigned count = tree_take_apart(self, old, 0, BYTES_NONE);
    memmove(&self->entries[slot + 1], &self->entries[slot], (count - slot) * sizeof(*entry));
    self->entries[slot] = *entry;
    tree_relink(self, path, depth, tree_build(self, old->level, self->entries, count + 1));
    tree_dispose(self, old);
}

/* Puts an entry at a slot of the node at this depth, whose path above is private. */
static void tree_insert(struct tree *self, struct tree_path *path, int depth, unsigned slot,
                        const struct tree_entry *entry)
{
    struct tree_node *node = path->node[depth];
    struct bytes prefix = {tree_heap(node), node->prefix_bytes};
    if (!bytes_has_prefix(entry->key, prefix)) {
        tree_insert_anew(self, path, depth, slot, entry);
        return;
    }
    struct bytes suffix = bytes_skip(entry->key, prefix.len);
    uint32_t rest = suffix.len > 8 ? (uint32_t)(suffix.len - 8) : 0;
    node = tree_own(self, path, depth, 1, rest);
    unsigned after = node->count - slot;
    uint32_t begin = tree_rest_begin(node, slot);
    uint8_t *at = tree_heap(node) + begin;
    uint32_t *ends = tree_ends(node) + slot;
    uint64_t *heads = tree_heads(node) + slot;
    uint64_t *words = tree_words(node) + slot;
    memmove(at + rest, at, node->heap_bytes - begin);
    memmove(ends + 1, ends, after * sizeof(*ends));
    memmove(heads + 1, heads, after * sizeof(*heads));
    memmove(words + 1, words, after * sizeof(*words));
    if (rest)
        memcpy(at, suffix.data + 8, rest);
    for (unsigned i = 1; i <= after; i++)
        ends[i] += rest;
    *ends = (begin + rest) | (uint32_t)(suffix.len - rest) << TREE_END_BITS;
    *heads = tree_head_of(suffix);
    *words = entry->word;
    if (node->level) {
        uint64_t *lives = tree_lives(node) + slot;
        memmove(lives + 1, lives, after * sizeof(*lives));
        *lives = entry->live;
    } else {
        node->dead += (uint32_t)(entry->word & TREE_DEAD);
    }
    node->heap_bytes += rest;
    node->count++;
}

/* The slot at which a large node is cut. Keys that come in ascending order fill nodes. */
static unsigned tree_cut(const struct tree_node *node, unsigned inserted)
{
    unsigned least = node->level ? 2 : 1; /* an inner node needs two children */
    if (inserted + 1 == node->count && node->count > TREE_WIDTH)
        return node->count - least;
    unsigned cut = node->count / 2;
    if (node->count <= TREE_WIDTH) { /* large by its bytes: cut where half of them are */
        for (cut = least; cut + least < node->count; cut++)
            if (tree_rest_end(node, cut) > node->heap_bytes / 2)
                break;
    }
    return cut < least ? least : cut;
}

/* Splits the node at this depth, and those above that grow too large by it. */
static void tree_split(struct tree *self, struct tree_path *path, int depth, unsigned inserted)
{
    for (; tree_is_large(path->node[depth]); depth--) {
        struct tree_node *old = path->node[depth];
        tree_scratch_reset(self, tree_expanded_bytes(old));
        unsigned count = tree_take_apart(self, old, 0, BYTES_NONE);
        unsigned cut = tree_cut(old, inserted);
        struct tree_entry *right_first = &self->entries[cut];
        struct bytes separator = right_first->key;
        if (old->level == 0)
            separator = tree_separator(right_first[-1].key, right_first->key);
        struct tree_node *left = tree_build(self, old->level, self->entries, cut);
        struct tree_node *right = tree_build(self, old->level, right_first, count - cut);
        /* Inserting above may take another node apart into the scratch. */
        struct buf key;
        buf_init(&key, 0);
        err e = buf_append(&key, separator);
        CHECK(err_ok(e));
        struct tree_entry entry = {buf_bytes(&key), (uint64_t)(uintptr_t)right,
                                   tree_node_live(right)};
        if (depth == 0) {
            struct tree_entry both[2] = {
                {BYTES_NONE, (uint64_t)(uintptr_t)left, tree_node_live(left)}, entry};
            self->root = tree_build(self, old->level + 1u, both, 2);
        } else {
            struct tree_node *above = path->node[depth - 1];
            unsigned slot = path->slot[depth - 1];
            tree_relink(self, path, depth, left);
            tree_lives(above)[slot] = tree_node_live(left);
            inserted = slot + 1;
            tree_insert(self, path, depth - 1, inserted, &entry);
        }
        tree_dispose(self, old);
        buf_done(&key);
        if (depth == 0)
            return;
    }
}

static void tree_descend(struct tree *self, struct tree_path *path, struct bytes key,
                         bool *ret_equal)
{
    struct tree_node *node = self->root;
    int depth = 0;
    for (; node->level > 0; depth++) {
        CHECK(depth < TREE_DEPTH_MAX - 1);
        path->node[depth] = node;
        path->slot[depth] = tree_child_slot(node, key);
        node = tree_child(node, path->slot[depth]);
    }
    path->node[depth] = node;
    path->slot[depth] = tree_lower(node, 0, key, ret_equal);
    path->leaf = depth;
}

/* The nodes above the leaf become private and count `delta` more live keys. */
static void tree_own_above(struct tree *self, struct tree_path *path, int64_t delta)
{
    for (int depth = 0; depth < path->leaf; depth++) {
        struct tree_node *node = tree_own(self, path, depth, 0, 0);
        tree_lives(node)[path->slot[depth]] += (uint64_t)delta;
    }
}

void tree_set(struct tree *self, struct bytes key, uint64_t word)
{
    struct tree_entry entry = {key, word, 0};
    int64_t live = !(word & TREE_DEAD);
    if (!self->root) {
        self->root = tree_build(self, 0, &entry, 1);
        return;
    }
    struct tree_path path;
    bool equal;
    tree_descend(self, &path, key, &equal);
    unsigned slot = path.slot[path.leaf];
    if (equal) {
        uint64_t before = tree_words(path.node[path.leaf])[slot];
        tree_own_above(self, &path, live - !(before & TREE_DEAD));
        struct tree_node *leaf = tree_own(self, &path, path.leaf, 0, 0);
        leaf->dead += (uint32_t)(word & TREE_DEAD) - (uint32_t)(before & TREE_DEAD);
        tree_words(leaf)[slot] = word;
        return;
    }
    tree_own_above(self, &path, live);
    tree_insert(self, &path, path.leaf, slot, &entry);
    tree_split(self, &path, path.leaf, slot);
}

/* ── Removal ────────────────────────────────────────────────────────────────────────────────── */

/* Takes a slot out of a private node. An inner node that loses its first child keeps none of the
 * second one's key. */
static void tree_take_out(struct tree_node *node, unsigned slot)
{
    unsigned after = node->count - slot - 1u;
    uint64_t *words = tree_words(node) + slot;
    if (node->level) {
        uint64_t *lives = tree_lives(node) + slot;
        memmove(lives, lives + 1, after * sizeof(*lives));
    } else {
        node->dead -= (uint32_t)(*words & TREE_DEAD);
    }
    memmove(words, words + 1, after * sizeof(*words));
    unsigned key = slot;
    if (node->level && slot == 0 && node->count > 1)
        key = 1;
    uint32_t begin = tree_rest_begin(node, key);
    uint32_t end = tree_rest_end(node, key);
    uint32_t *ends = tree_ends(node) + key;
    uint64_t *heads = tree_heads(node) + key;
    after = node->count - key - 1u;
    memmove(tree_heap(node) + begin, tree_heap(node) + end, node->heap_bytes - end);
    memmove(ends, ends + 1, after * sizeof(*ends));
    memmove(heads, heads + 1, after * sizeof(*heads));
    for (unsigned i = 0; i < after; i++)
        ends[i] -= end - begin;
    node->heap_bytes -= end - begin;
    node->count--;
}

/* Joins a sparse node with a neighbour below the same (private) parent. False: none fits. */
static bool tree_join(struct tree *self, struct tree_path *path, int depth)
{
    struct tree_node *above = path->node[depth - 1];
    unsigned slot = path->slot[depth - 1];
    if (above->count < 2)
        return false;
    unsigned left_slot = slot + 1u < above->count ? slot : slot - 1;
    struct tree_node *left = tree_child(above, left_slot);
    struct tree_node *right = tree_child(above, left_slot + 1);
    size_t bytes = tree_expanded_bytes(left) + tree_expanded_bytes(right);
    if (left->count + right->count > TREE_JOINED_MAX || bytes > TREE_NODE_BYTES_MAX / 2)
        return false;
    size_t separator_bytes = tree_key_bytes(above, left_slot + 1);
    tree_scratch_reset(self, bytes + separator_bytes);
    struct bytes separator = {self->scratch.data, separator_bytes};
    tree_key_write(above, left_slot + 1, self->scratch.data);
    self->scratch.len = separator_bytes;
    unsigned count = tree_take_apart(self, left, 0, BYTES_NONE);
    count = tree_take_apart(self, right, count, separator);
    struct tree_node *joined = tree_build(self, left->level, self->entries, count);
    tree_words(above)[left_slot] = (uint64_t)(uintptr_t)joined;
    tree_lives(above)[left_slot] += tree_lives(above)[left_slot + 1];
    tree_take_out(above, left_slot + 1);
    tree_dispose(self, left);
    tree_dispose(self, right);
    return true;
}

bool tree_remove(struct tree *self, struct bytes key)
{
    if (!self->root)
        return false;
    struct tree_path path;
    bool equal;
    tree_descend(self, &path, key, &equal);
    if (!equal)
        return false;
    unsigned slot = path.slot[path.leaf];
    bool dead = tree_words(path.node[path.leaf])[slot] & TREE_DEAD;
    tree_own_above(self, &path, dead ? 0 : -1);
    tree_take_out(tree_own(self, &path, path.leaf, 0, 0), slot);
    for (int depth = path.leaf; depth > 0; depth--) {
        struct tree_node *node = path.node[depth];
        if (node->count == 0) {
            tree_take_out(path.node[depth - 1], path.slot[depth - 1]);
            tree_dispose(self, node);
        } else if (node->count >= TREE_SPARSE || !tree_join(self, &path, depth)) {
            break;
        }
    }
    while (self->root &&
           (self->root->count == 0 || (self->root->level && self->root->count == 1))) {
        struct tree_node *old = self->root;
        self->root = old->count ? tree_child(old, 0) : NULL;
        tree_dispose(self, old);
    }
    return true;
}
