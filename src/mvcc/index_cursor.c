/* Reading a root of the key index: cursors, counts. */
#include "mvcc/index_head.h"
#include "mvcc/index_tree.h"

#include "base/check.h"

/* Heads lie anywhere: a walk asks for them so many keys before it reads them. */
#define CURSOR_AHEAD 6

/* ── Cursor ─────────────────────────────────────────────────────────────────────────────────── */

/* Goes down from the node at self->depth along its slot, then by first or last children. */
static void cursor_descend(struct mvcc_cursor *self, bool last)
{
    const struct tree_node *node = self->path[self->depth];
    while (node->level > 0) {
        node = tree_child(node, self->slot[self->depth]);
        self->depth++;
        CHECK(self->depth < TREE_DEPTH_MAX);
        self->path[self->depth] = node;
        self->slot[self->depth] = last ? (uint16_t)(node->count - 1) : 0;
    }
}

/* To the first key of the next leaf, or to no key. */
static void cursor_next_leaf(struct mvcc_cursor *self)
{
    while (--self->depth >= 0) {
        if (self->slot[self->depth] + 1 < self->path[self->depth]->count) {
            self->slot[self->depth]++;
            cursor_descend(self, false);
            return;
        }
    }
}

static void cursor_prev_leaf(struct mvcc_cursor *self)
{
    while (--self->depth >= 0) {
        if (self->slot[self->depth] > 0) {
            self->slot[self->depth]--;
            cursor_descend(self, true);
            return;
        }
    }
}

/* To the leaf that key belongs to; the slot there may be behind its last key. */
static void cursor_to_leaf(struct mvcc_cursor *self, const struct tree_node *root, struct bytes key)
{
    bool equal;
    int depth = 0;
    for (; root->level > 0; depth++) {
        CHECK(depth < TREE_DEPTH_MAX - 1);
        self->path[depth] = root;
        self->slot[depth] = (uint16_t)tree_child_slot(root, key);
        root = tree_child(root, self->slot[depth]);
    }
    self->path[depth] = root;
    self->slot[depth] = (uint16_t)tree_lower(root, 0, key, &equal);
    self->depth = depth;
}

void mvcc_cursor_seek(struct mvcc_cursor *self, const struct tree_node *root, struct bytes key)
{
    self->depth = -1;
    if (!root)
        return;
    cursor_to_leaf(self, root, key);
    if (self->slot[self->depth] == self->path[self->depth]->count)
        cursor_next_leaf(self);
}

void mvcc_cursor_seek_before(struct mvcc_cursor *self, const struct tree_node *root,
                             struct bytes key, bool last)
{
    self->depth = -1;
    if (!root)
        return;
    if (last) {
        self->depth = 0;
        self->path[0] = root;
        self->slot[0] = (uint16_t)(root->count - 1);
        cursor_descend(self, true);
        return;
    }
    cursor_to_leaf(self, root, key);
    if (self->slot[self->depth] > 0)
        self->slot[self->depth]--;
    else
        cursor_prev_leaf(self);
}

void mvcc_cursor_next(struct mvcc_cursor *self)
{
    CHECK(self->depth >= 0);
    const struct tree_node *leaf = self->path[self->depth];
    unsigned ahead = self->slot[self->depth] + CURSOR_AHEAD;
    if (ahead < leaf->count)
        __builtin_prefetch((const void *)(uintptr_t)tree_word(leaf, ahead));
    if (self->slot[self->depth] + 1 < self->path[self->depth]->count)
        self->slot[self->depth]++;
    else
        cursor_next_leaf(self);
}

void mvcc_cursor_prev(struct mvcc_cursor *self)
{
    CHECK(self->depth >= 0);
    if (self->slot[self->depth] > 0)
        self->slot[self->depth]--;
    else
        cursor_prev_leaf(self);
}

uint64_t tree_cursor_word(const struct mvcc_cursor *self)
{
    CHECK(self->depth >= 0);
    return tree_word(self->path[self->depth], self->slot[self->depth]);
}

void mvcc_cursor_head(const struct mvcc_cursor *self, struct mvcc_head *ret_head)
{
    head_decode(tree_cursor_word(self), ret_head);
}

size_t mvcc_cursor_key_bytes(const struct mvcc_cursor *self)
{
    CHECK(self->depth >= 0);
    return tree_key_bytes(self->path[self->depth], self->slot[self->depth]);
}

void mvcc_cursor_key(const struct mvcc_cursor *self, uint8_t *out)
{
    CHECK(self->depth >= 0);
    tree_key_write(self->path[self->depth], self->slot[self->depth], out);
}

int mvcc_cursor_compare(const struct mvcc_cursor *self, struct bytes key)
{
    CHECK(self->depth >= 0);
    return tree_key_compare(self->path[self->depth], self->slot[self->depth], key);
}

/* ── Finding and counting ───────────────────────────────────────────────────────────────────── */

bool mvcc_root_find(const struct tree_node *root, struct bytes key, struct mvcc_head *ret_head)
{
    uint64_t word;
    if (!tree_find(root, key, &word))
        return false;
    head_decode(word, ret_head);
    return true;
}

uint64_t mvcc_root_live(const struct tree_node *root)
{
    return tree_node_live(root);
}

/* Live keys below key. */
static uint64_t root_rank(const struct tree_node *node, struct bytes key)
{
    uint64_t rank = 0;
    while (node->level > 0) {
        unsigned slot = tree_child_slot(node, key);
        for (unsigned i = 0; i < slot; i++)
            rank += tree_lives(node)[i];
        node = tree_child(node, slot);
    }
    bool equal;
    unsigned slot = tree_lower(node, 0, key, &equal);
    if (node->dead == 0)
        return rank + slot;
    for (unsigned i = 0; i < slot; i++)
        rank += !(tree_word(node, i) & TREE_DEAD);
    return rank;
}

uint64_t mvcc_root_count(const struct tree_node *root, const struct mvcc_span *span)
{
    if (!root)
        return 0;
    if (span->kind == MVCC_SPAN_KEY) {
        uint64_t word;
        return tree_find(root, span->key, &word) && !(word & TREE_DEAD);
    }
    uint64_t below = span->key.len ? root_rank(root, span->key) : 0;
    uint64_t all = span->kind == MVCC_SPAN_FROM ? tree_node_live(root) : root_rank(root, span->end);
    return all > below ? all - below : 0;
}
