/* Building a tree from sorted keys: leaves are filled one after the other, and each finished node
 * hands its separator to the level above, so that every node is written once. */
#include "mvcc/index_tree.h"

#include "base/check.h"

#include <stdlib.h>

/* Not quite full: the first births after an opening need not split every leaf. */
#define LOAD_WIDTH 60

struct tree_level {
    struct tree_entry entries[LOAD_WIDTH];
    size_t offsets[LOAD_WIDTH]; /* of the entries' keys */
    unsigned count;
    bool made; /* a node of this level has been finished */
    struct buf keys;
};

struct tree_loader {
    struct tree_level *levels[TREE_DEPTH_MAX];
    struct buf last; /* the key loaded last */
    bool any;
};

static void load_append(struct buf *buf, struct bytes what)
{
    err e = buf_append(buf, what);
    CHECK(err_ok(e));
}

static struct tree_level *load_level(struct tree_loader *loader, unsigned level)
{
    CHECK(level < TREE_DEPTH_MAX);
    if (!loader->levels[level]) {
        loader->levels[level] = calloc(1, sizeof(struct tree_level));
        CHECK(loader->levels[level]);
        buf_init(&loader->levels[level]->keys, 0);
    }
    return loader->levels[level];
}

static struct tree_node *load_finish(struct tree *self, unsigned level)
{
    struct tree_level *at = self->loader->levels[level];
    for (unsigned i = 0; i < at->count; i++)
        at->entries[i].key.data = at->keys.data + at->offsets[i];
    struct tree_node *node = tree_build(self, level, at->entries, at->count);
    at->made = true;
    return node;
}

/* separator: above all that came before on this level (unused for the level's first entry). */
static void load_add(struct tree *self, unsigned level, struct bytes separator,
                     const struct tree_entry *entry)
{
    struct tree_level *at = load_level(self->loader, level);
    bool large = at->keys.len + entry->key.len > TREE_NODE_BYTES_MAX / 2 && at->count > 1;
    if (at->count == LOAD_WIDTH || large) {
        struct tree_node *node = load_finish(self, level);
        /* The node's own separator is the key of its first entry on an inner level, and was
         * kept in front of the keys on the leaves' level. */
        struct bytes own = {at->keys.data, level ? at->entries[0].key.len : at->offsets[0]};
        struct tree_entry up = {own, (uint64_t)(uintptr_t)node, tree_node_live(node)};
        load_add(self, level + 1, own, &up); /* as deep as the tree */
        buf_clear(&at->keys);
        at->count = 0;
    }
    if (level == 0 && at->count == 0)
        load_append(&at->keys, separator);
    at->offsets[at->count] = at->keys.len;
    load_append(&at->keys, entry->key);
    at->entries[at->count++] = *entry;
}

void tree_load(struct tree *self, struct bytes key, uint64_t word)
{
    if (!self->loader) {
        CHECK(!self->root);
        self->loader = calloc(1, sizeof(*self->loader));
        CHECK(self->loader);
        buf_init(&self->loader->last, 0);
    }
    struct tree_loader *loader = self->loader;
    struct bytes separator = BYTES_NONE;
    if (loader->any) {
        CHECK(bytes_compare(buf_bytes(&loader->last), key) < 0);
        separator = tree_separator(buf_bytes(&loader->last), key);
    }
    struct tree_entry entry = {key, word, 0};
    load_add(self, 0, separator, &entry);
    buf_clear(&loader->last);
    load_append(&loader->last, key);
    loader->any = true;
}

void tree_load_done(struct tree *self)
{
    struct tree_loader *loader = self->loader;
    if (!loader)
        return;
    for (unsigned level = 0; level < TREE_DEPTH_MAX && loader->levels[level]; level++) {
        struct tree_level *at = loader->levels[level];
        bool made = at->made;
        struct tree_node *node = load_finish(self, level);
        if (made) {
            struct bytes own = {at->keys.data, level ? at->entries[0].key.len : at->offsets[0]};
            struct tree_entry up = {own, (uint64_t)(uintptr_t)node, tree_node_live(node)};
            load_add(self, level + 1, own, &up);
        } else {
            self->root = node;
        }
        buf_done(&at->keys);
        free(at);
    }
    buf_done(&loader->last);
    free(loader);
    self->loader = NULL;
}
