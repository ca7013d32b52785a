#include "mvcc/index_tree.h"

#include "base/check.h"

#include <stdlib.h>

/* A node's head and the heads of most of its slots. */
#define TREE_FETCH_BYTES 512

/* ── Reading a node ─────────────────────────────────────────────────────────────────────────── */

uint64_t tree_node_live(const struct tree_node *node)
{
    if (!node)
        return 0;
    if (node->level == 0)
        return (uint64_t)node->count - node->dead;
    uint64_t live = 0;
    for (unsigned i = 0; i < node->count; i++)
        live += tree_lives(node)[i];
    return live;
}

void tree_key_write(const struct tree_node *node, unsigned slot, uint8_t *out)
{
    memcpy(out, tree_heap(node), node->prefix_bytes);
    out += node->prefix_bytes;
    uint8_t head[8];
    bytes_put_be64(head, tree_heads(node)[slot]);
    unsigned head_bytes = tree_head_bytes(node, slot);
    memcpy(out, head, head_bytes);
    uint32_t begin = tree_rest_begin(node, slot);
    memcpy(out + head_bytes, tree_heap(node) + begin, tree_rest_end(node, slot) - begin);
}

/* The slot's key against a key whose part after the prefix is suffix, with this head. */
static int tree_suffix_compare(const struct tree_node *node, unsigned slot, uint64_t head,
                               struct bytes suffix)
{
    uint64_t own = tree_heads(node)[slot];
    if (own != head)
        return own < head ? -1 : 1;
    unsigned own_bytes = tree_head_bytes(node, slot);
    unsigned head_bytes = suffix.len < 8 ? (unsigned)suffix.len : 8;
    if (own_bytes != head_bytes)
        return own_bytes < head_bytes ? -1 : 1;
    if (own_bytes < 8)
        return 0;
    uint32_t begin = tree_rest_begin(node, slot);
    struct bytes rest = {tree_heap(node) + begin, tree_rest_end(node, slot) - begin};
    return bytes_compare(rest, bytes_skip(suffix, 8));
}

static struct bytes tree_prefix(const struct tree_node *node)
{
    return (struct bytes){tree_heap(node), node->prefix_bytes};
}

int tree_key_compare(const struct tree_node *node, unsigned slot, struct bytes key)
{
    struct bytes prefix = tree_prefix(node);
    if (!bytes_has_prefix(key, prefix))
        return bytes_compare(prefix, key);
    struct bytes suffix = bytes_skip(key, prefix.len);
    return tree_suffix_compare(node, slot, tree_head_of(suffix), suffix);
}

unsigned tree_lower(const struct tree_node *node, unsigned from, struct bytes key, bool *ret_equal)
{
    *ret_equal = false;
    struct bytes prefix = tree_prefix(node);
    /* All keys of the node lie on one side of a key that does not share their prefix. */
    if (!bytes_has_prefix(key, prefix))
        return bytes_compare(prefix, key) < 0 ? node->count : from;
    struct bytes suffix = bytes_skip(key, prefix.len);
    uint64_t head = tree_head_of(suffix);
    const uint64_t *heads = tree_heads(node);
    unsigned low = from;
    unsigned n = node->count - from;
    while (n > 0) {
        unsigned half = n / 2;
        bool right = heads[low + half] < head;
        low = right ? low + half + 1 : low;
        n = right ? n - half - 1 : half;
    }
    /* Equal heads are few where the prefix is stripped, but a hostile client can make 64 of them.
     */
    unsigned high = low;
    while (high < node->count && heads[high] == head)
        high++;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int c = tree_suffix_compare(node, middle, head, suffix);
        if (c == 0) {
            *ret_equal = true;
            return middle;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned tree_child_slot(const struct tree_node *node, struct bytes key)
{
    bool equal;
    unsigned slot = tree_lower(node, 1, key, &equal);
    return equal ? slot : slot - 1;
}

static const struct tree_node *tree_leaf(const struct tree_node *root, struct bytes key)
{
    while (root && root->level > 0) {
        root = tree_child(root, tree_child_slot(root, key));
        /* The search will jump about in the heads: fetch them at once, not one after the other. */
        for (unsigned i = 0; i < TREE_FETCH_BYTES; i += 64)
            __builtin_prefetch((const uint8_t *)root + i);
    }
    return root;
}

uint64_t *tree_place(const struct tree_node *root, struct bytes key)
{
    const struct tree_node *leaf = tree_leaf(root, key);
    if (!leaf)
        return NULL;
    bool equal;
    unsigned slot = tree_lower(leaf, 0, key, &equal);
    return equal ? tree_words(leaf) + slot : NULL;
}

bool tree_find(const struct tree_node *root, struct bytes key, uint64_t *ret_word)
{
    const uint64_t *place = tree_place(root, key);
    if (!place)
        return false;
    *ret_word = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    return true;
}

struct bytes tree_separator(struct bytes left, struct bytes right)
{
    size_t n = 0;
    while (n < left.len && left.data[n] == right.data[n])
        n++;
    return (struct bytes){right.data, n + 1};
}

/* ── Making a node ──────────────────────────────────────────────────────────────────────────── */

/* Blocks come in few sizes, so that those which path copies give back are used again. */
static size_t tree_block_bytes(size_t bytes)
{
    size_t step = bytes <= 1024 ? 64 : bytes <= 4096 ? 256 : 1024;
    /* 8 bytes of malloc's own make the sum a whole class. */
    return (bytes + 8 + step - 1) / step * step - 8;
}

struct tree_node *tree_node_new(struct tree *self, unsigned level, unsigned slots,
                                size_t heap_bytes)
{
    slots = (slots + 3) & ~3u;
    size_t fixed = sizeof(struct tree_node) + slots * (size_t)((level ? 24 : 16) + 4);
    size_t bytes = tree_block_bytes(fixed + heap_bytes);
    struct tree_node *node = malloc(bytes);
    CHECK(node && bytes <= UINT32_MAX && heap_bytes <= TREE_END_MASK);
    size_t heap_cap = bytes - fixed;
    *node = (struct tree_node){
        .batch = self->batch,
        .block_bytes = (uint32_t)bytes,
        .heap_cap = heap_cap < TREE_END_MASK ? (uint32_t)heap_cap : TREE_END_MASK,
        .slots = (uint16_t)slots,
        .level = (uint16_t)level,
    };
    self->bytes += bytes;
    return node;
}

void tree_node_free(struct tree *self, struct tree_node *node)
{
    self->bytes -= node->block_bytes;
    free(node);
}

static size_t tree_common_bytes(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

struct tree_node *tree_build(struct tree *self, unsigned level, const struct tree_entry *entries,
                             unsigned count)
{
    CHECK(count > 0 && count <= UINT16_MAX);
    unsigned first = level ? 1 : 0;
    size_t prefix = 0;
    size_t heap = 0;
    if (count > first) {
        prefix = tree_common_bytes(entries[first].key, entries[count - 1].key);
        heap = prefix;
    }
    for (unsigned i = first; i < count; i++) {
        size_t suffix = entries[i].key.len - prefix;
        heap += suffix > 8 ? suffix - 8 : 0;
    }
    struct tree_node *node = tree_node_new(self, level, count, heap);
    node->count = (uint16_t)count;
    node->prefix_bytes = (uint32_t)prefix;
    uint8_t *at = tree_heap(node);
    if (prefix)
        memcpy(at, entries[first].key.data, prefix);
    size_t end = prefix;
    for (unsigned i = 0; i < count; i++) {
        struct bytes suffix = i < first ? BYTES_NONE : bytes_skip(entries[i].key, prefix);
        tree_heads(node)[i] = tree_head_of(suffix);
        size_t rest = suffix.len > 8 ? suffix.len - 8 : 0;
        if (rest)
            memcpy(at + end, suffix.data + 8, rest);
        end += rest;
        tree_ends(node)[i] = (uint32_t)end | (uint32_t)(suffix.len - rest) << TREE_END_BITS;
        tree_words(node)[i] = entries[i].word;
        if (level)
            tree_lives(node)[i] = entries[i].live;
        else
            node->dead += (uint32_t)(entries[i].word & TREE_DEAD);
    }
    node->heap_bytes = (uint32_t)end;
    return node;
}

/* ── A whole tree ───────────────────────────────────────────────────────────────────────────── */

void tree_init(struct tree *self, void (*drop_node)(void *ctx, struct tree_node *node), void *ctx)
{
    *self = (struct tree){.batch = 1, .drop_node = drop_node, .ctx = ctx};
    /* A node that has just overflowed, or two that become one. */
    self->entries = calloc(2 * TREE_WIDTH + 4, sizeof(struct tree_entry));
    CHECK(self->entries);
    buf_init(&self->scratch, 0);
}

static void tree_free_below(struct tree *self, struct tree_node *node)
{
    for (unsigned i = 0; node->level > 0 && i < node->count; i++)
        tree_free_below(self, tree_child(node, i)); /* as deep as the tree: TREE_DEPTH_MAX */
    tree_node_free(self, node);
}

void tree_done(struct tree *self)
{
    CHECK(!self->loader);
    if (self->root)
        tree_free_below(self, self->root);
    self->root = NULL;
    free(self->entries);
    self->entries = NULL;
    buf_done(&self->scratch);
}

void tree_seal(struct tree *self)
{
    self->batch++;
}

void tree_visit(const struct tree_node *root, void (*visit)(void *ctx, uint64_t word), void *ctx)
{
    if (!root)
        return;
    for (unsigned i = 0; i < root->count; i++) {
        if (root->level > 0)
            tree_visit(tree_child(root, i), visit, ctx); /* as deep as the tree */
        else
            visit(ctx, tree_word(root, i));
    }
}

/* Keys of the node ascend and lie in [low, high). */
static bool tree_node_is_sound(const struct tree_node *node, const struct buf *low,
                               const struct buf *high)
{
    if (node->count == 0 || node->count > node->slots || node->heap_bytes > node->heap_cap)
        return false;
    unsigned first = node->level ? 1 : 0;
    uint32_t dead = 0;
    for (unsigned i = first; i < node->count; i++) {
        uint8_t *key = malloc(tree_key_bytes(node, i) + 1);
        CHECK(key);
        tree_key_write(node, i, key);
        struct bytes bytes = {key, tree_key_bytes(node, i)};
        bool ok = tree_key_compare(node, i, bytes) == 0;
        ok = ok && (i == first || tree_key_compare(node, i - 1, bytes) < 0);
        ok = ok && (!low || bytes_compare(buf_bytes(low), bytes) <= 0);
        ok = ok && (!high || bytes_compare(bytes, buf_bytes(high)) < 0);
        free(key);
        if (!ok)
            return false;
        dead += node->level ? 0 : (uint32_t)(tree_word(node, i) & TREE_DEAD);
    }
    return node->level || dead == node->dead;
}

static void tree_sound_key(const struct tree_node *node, unsigned slot, struct buf *key)
{
    buf_init(key, 0);
    err e = buf_reserve(key, tree_key_bytes(node, slot) + 1);
    CHECK(err_ok(e));
    tree_key_write(node, slot, key->data);
    key->len = tree_key_bytes(node, slot);
}

static bool tree_sound_below(const struct tree_node *node, const struct buf *low,
                             const struct buf *high)
{
    if (!tree_node_is_sound(node, low, high))
        return false;
    for (unsigned i = 0; node->level > 0 && i < node->count; i++) {
        struct buf from = {0};
        struct buf to = {0};
        if (i > 0)
            tree_sound_key(node, i, &from);
        if (i + 1u < node->count)
            tree_sound_key(node, i + 1, &to);
        const struct tree_node *child = tree_child(node, i);
        bool ok = child->level + 1 == node->level && tree_node_live(child) == tree_lives(node)[i] &&
                  tree_sound_below(child, i > 0 ? &from : low, i + 1u < node->count ? &to : high);
        buf_done(&from);
        buf_done(&to);
        if (!ok)
            return false;
    }
    return true;
}

bool tree_is_sound(const struct tree_node *root)
{
    return !root || tree_sound_below(root, NULL, NULL);
}
