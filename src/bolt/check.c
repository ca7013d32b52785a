/* Walks all of a file. Entries come in key order, so each key is compared with the one before, and
 * with the key by which the branch above names its page: that is also an upper bound for what came
 * before. A page that is met a second time ends the walk, and with it every cycle. */
#include "bolt/reader_internal.h"

#include "base/check.h"

#include <stdlib.h>

struct walk {
    const struct bolt_file *file;
    struct bolt_fault *fault;
    uint64_t *seen; /* a bit a page */
};

/* One tree's walk. */
struct tree {
    struct walk *walk;
    bool is_top;
    struct bytes last;  /* the entry before; none yet: empty */
    struct bytes lower; /* no entry from here on is below */
    unsigned depth;
    struct {
        struct bolt_page page;
        uint32_t at;
        struct bytes before; /* the branch's element before */
    } stack[BOLT_DEPTH_MAX];
};

/* Marks the page and those that it goes on in. */
static err walk_see(struct walk *self, uint64_t id, uint64_t pages)
{
    for (uint64_t i = id; i < id + pages; i++) {
        uint64_t bit = UINT64_C(1) << (i & 63);
        if (self->seen[i >> 6] & bit)
            return bolt_refuse(self->fault, i, "referred to twice");
        self->seen[i >> 6] |= bit;
    }
    return OK;
}

static err tree_push(struct tree *self, const struct bolt_page *page, bool is_inline)
{
    if (self->depth == BOLT_DEPTH_MAX)
        return bolt_refuse(self->walk->fault, page->id, "the tree is too deep");
    if (!is_inline)
        TRY(walk_see(self->walk, page->id, page->body.len / self->walk->file->page_bytes));
    self->stack[self->depth].page = *page;
    self->stack[self->depth].before = BYTES_NONE;
    self->stack[self->depth++].at = 0;
    return OK;
}

static err tree_descend(struct tree *self, const struct bolt_element *element)
{
    struct walk *walk = self->walk;
    uint64_t id = self->stack[self->depth - 1].page.id;
    struct bytes *before = &self->stack[self->depth - 1].before;
    if (before->len && bytes_compare(*before, element->key) >= 0)
        return bolt_refuse(walk->fault, id, "the children's keys do not ascend");
    *before = element->key;
    if (self->last.len && bytes_compare(self->last, element->key) >= 0)
        return bolt_refuse(walk->fault, id, "an entry belongs to the next child");
    if (bytes_compare(self->lower, element->key) < 0)
        self->lower = element->key;
    struct bolt_page child;
    TRY(bolt_page_open(walk->file, element->child, &child, walk->fault));
    return tree_push(self, &child, false);
}

static err tree_walk(struct walk *walk, const struct bolt_page *root, bool is_inline, bool is_top);

static err tree_entry(struct tree *self, const struct bolt_element *element)
{
    struct walk *walk = self->walk;
    uint64_t id = self->stack[self->depth - 1].page.id;
    if (bytes_compare(self->last, element->key) >= 0 ||
        bytes_compare(self->lower, element->key) > 0)
        return bolt_refuse(walk->fault, id, "the keys do not ascend");
    self->last = element->key;
    if (element->is_bucket != self->is_top)
        return bolt_refuse(walk->fault, id,
                           self->is_top ? "an entry among the buckets" : "a bucket in a bucket");
    if (!self->is_top)
        return OK;
    struct bolt_page root;
    uint64_t root_id;
    TRY(bolt_bucket_open(walk->file, element->value, id, &root, &root_id, walk->fault));
    return tree_walk(walk, &root, root_id == 0, false);
}

/* Two of these lie on the stack at most: the buckets' and one bucket's. */
static err tree_walk(struct walk *walk, const struct bolt_page *root, bool is_inline, bool is_top)
{
    struct tree tree;
    tree.walk = walk;
    tree.is_top = is_top;
    tree.last = tree.lower = BYTES_NONE;
    tree.depth = 0;
    TRY(tree_push(&tree, root, is_inline));
    while (tree.depth > 0) {
        const struct bolt_page *page = &tree.stack[tree.depth - 1].page;
        uint32_t at = tree.stack[tree.depth - 1].at++;
        if (at == page->count) {
            tree.depth--;
            continue;
        }
        struct bolt_element element;
        TRY(bolt_element(page, at, &element, walk->fault));
        TRY(page->kind == BOLT_BRANCH ? tree_descend(&tree, &element)
                                      : tree_entry(&tree, &element));
    }
    return OK;
}

/* Free pages lie in the file, each is named once, none is in use. */
static err check_freelist(struct walk *self)
{
    const struct bolt_file *file = self->file;
    uint64_t id = file->freelist;
    if (id == BOLT_NO_FREELIST)
        return OK;
    if (id < 2 || id >= file->pages)
        return bolt_refuse(self->fault, id, "outside of the file");
    const uint8_t *page = file->bytes.data + id * file->page_bytes;
    uint32_t overflow = bytes_get_le32(page + 12);
    if (bytes_get_le64(page) != id || bolt_get_le16(page + 8) != BOLT_FREELIST ||
        overflow >= file->pages - id)
        return bolt_refuse(self->fault, id, "no freelist");
    TRY(walk_see(self, id, (uint64_t)overflow + 1));
    uint64_t room = (((uint64_t)overflow + 1) * file->page_bytes - BOLT_HEADER_BYTES) / 8;
    const uint8_t *ids = page + BOLT_HEADER_BYTES;
    uint64_t count = bolt_get_le16(page + 10);
    if (count == 0xffff) {
        count = bytes_get_le64(ids);
        ids += 8;
        room--;
    }
    if (count > room)
        return bolt_refuse(self->fault, id, "a freelist longer than its pages");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t free_id = bytes_get_le64(ids + i * 8);
        if (free_id < 2 || free_id >= file->pages)
            return bolt_refuse(self->fault, id, "a free page outside of the file");
        TRY(walk_see(self, free_id, 1));
    }
    return OK;
}

err bolt_file_check(const struct bolt_file *self, struct bolt_fault *fault)
{
    struct walk walk = {self, fault, calloc(self->pages / 64 + 1, sizeof(uint64_t))};
    struct bolt_page root;
    CHECK(walk.seen);
    err e = bolt_page_open(self, self->root, &root, fault);
    if (err_ok(e))
        e = tree_walk(&walk, &root, false, true);
    if (err_ok(e))
        e = check_freelist(&walk);
    free(walk.seen);
    return e;
}
