/* How a bucket's tree grows:
 *
 *     put ──> leaf ──full──> page ──> levels[0] ──enough──> page ──> levels[1] ──> …
 *
 * 1. No branch has a single child: bbolt takes such a tree for broken when it changes it. So a
 *    level's page is laid only while two further children wait; the last pages share the rest.
 * 2. Pages are numbered in the order in which they are laid, in both passes alike.
 * 3. A level's first key is the first key of its first child, kept until the page above is laid. */
#include "bolt/writer.h"

#include "base/check.h"

#define FIRST_PAGE 2 /* behind the meta pages */
#define TXID       2 /* even, so that the newer meta page is page 0 */

/* A bucket of one leaf that is no longer than this lies in its own value. */
#define INLINE_BYTES_MAX (BOLT_PAGE_BYTES / 4)

struct leaf_item {
    uint32_t key_bytes;
    uint32_t value_bytes;
};

struct branch_item {
    uint64_t child;
    uint32_t key_bytes;
};

static const struct leaf_item *leaf_items(const struct bolt_leaf *leaf)
{
    return (const struct leaf_item *)(const void *)leaf->items.data;
}

static const struct branch_item *branch_items(const struct bolt_branch *branch)
{
    return (const struct branch_item *)(const void *)branch->items.data;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void leaf_clear(struct bolt_leaf *leaf)
{
    buf_clear(&leaf->data);
    buf_clear(&leaf->items);
    leaf->count = 0;
    leaf->bytes = BOLT_HEADER_BYTES;
}

void bolt_writer_init(struct bolt_writer *self, struct buf *out)
{
    *self = (struct bolt_writer){.out = out, .next_page = FIRST_PAGE};
    leaf_clear(&self->leaf);
    leaf_clear(&self->root);
}

void bolt_writer_done(struct bolt_writer *self)
{
    buf_done(&self->leaf.data);
    buf_done(&self->leaf.items);
    buf_done(&self->root.data);
    buf_done(&self->root.items);
    for (unsigned i = 0; i < BOLT_LEVELS_MAX; i++) {
        buf_done(&self->levels[i].keys);
        buf_done(&self->levels[i].items);
    }
    buf_done(&self->bucket);
    buf_done(&self->last_key);
}

/* ── Pages ──────────────────────────────────────────────────────────────────────────────────── */

/* Takes the numbers for a page with so many bytes, and room for it in `out`, zeroed; *ret_at is
 * NULL when measuring. */
static err page_begin(struct bolt_writer *self, size_t bytes, enum bolt_page_kind kind,
                      uint32_t count, uint64_t *ret_id, uint8_t **ret_at)
{
    CHECK(count <= BOLT_ELEMENTS_MAX);
    uint64_t pages = (bytes + BOLT_PAGE_BYTES - 1) / BOLT_PAGE_BYTES;
    *ret_at = NULL;
    *ret_id = self->next_page;
    self->next_page += pages;
    if (!self->out)
        return OK;
    TRY(buf_reserve(self->out, pages * BOLT_PAGE_BYTES));
    uint8_t *at = self->out->data + self->out->len;
    self->out->len += pages * BOLT_PAGE_BYTES;
    memset(at, 0, BOLT_HEADER_BYTES);
    memset(at + bytes, 0, pages * BOLT_PAGE_BYTES - bytes);
    bytes_put_le64(at, *ret_id);
    bolt_put_le16(at + 8, (uint16_t)kind);
    bolt_put_le16(at + 10, (uint16_t)count);
    bytes_put_le32(at + 12, (uint32_t)(pages - 1));
    *ret_at = at;
    return OK;
}

/* Elements, keys and values behind the page's header. */
static void leaf_fill(const struct bolt_leaf *leaf, uint32_t flags, uint8_t *page)
{
    const struct leaf_item *items = leaf_items(leaf);
    size_t data = BOLT_HEADER_BYTES + (size_t)leaf->count * BOLT_ELEMENT_BYTES;
    if (leaf->data.len)
        memcpy(page + data, leaf->data.data, leaf->data.len);
    for (uint32_t i = 0; i < leaf->count; i++) {
        size_t element = BOLT_HEADER_BYTES + (size_t)i * BOLT_ELEMENT_BYTES;
        bytes_put_le32(page + element, flags);
        bytes_put_le32(page + element + 4, (uint32_t)(data - element));
        bytes_put_le32(page + element + 8, items[i].key_bytes);
        bytes_put_le32(page + element + 12, items[i].value_bytes);
        data += (size_t)items[i].key_bytes + items[i].value_bytes;
    }
    CHECK(data == leaf->bytes);
}

static err lay_leaf(struct bolt_writer *self, const struct bolt_leaf *leaf, uint32_t flags,
                    uint64_t *ret_id)
{
    uint8_t *page;
    TRY(page_begin(self, leaf->bytes, BOLT_LEAF, leaf->count, ret_id, &page));
    if (page)
        leaf_fill(leaf, flags, page);
    return OK;
}

/* The first `count` children of a level. */
static err lay_branch(struct bolt_writer *self, const struct bolt_branch *branch, uint32_t count,
                      uint64_t *ret_id, size_t *ret_key_bytes)
{
    const struct branch_item *items = branch_items(branch);
    size_t keys = 0;
    for (uint32_t i = 0; i < count; i++)
        keys += items[i].key_bytes;
    *ret_key_bytes = keys;
    size_t data = BOLT_HEADER_BYTES + (size_t)count * BOLT_ELEMENT_BYTES;
    uint8_t *page;
    TRY(page_begin(self, data + keys, BOLT_BRANCH, count, ret_id, &page));
    if (!page)
        return OK;
    memcpy(page + data, branch->keys.data, keys);
    for (uint32_t i = 0; i < count; i++) {
        size_t element = BOLT_HEADER_BYTES + (size_t)i * BOLT_ELEMENT_BYTES;
        bytes_put_le32(page + element, (uint32_t)(data - element));
        bytes_put_le32(page + element + 4, items[i].key_bytes);
        bytes_put_le64(page + element + 8, items[i].child);
        data += items[i].key_bytes;
    }
    return OK;
}

/* ── Branches ───────────────────────────────────────────────────────────────────────────────── */

static void branch_fit(struct bolt_branch *branch)
{
    const struct branch_item *items = branch_items(branch);
    while (branch->fit < branch->count) {
        size_t bytes = branch->fit_bytes + BOLT_ELEMENT_BYTES + items[branch->fit].key_bytes;
        if (bytes > BOLT_PAGE_BYTES)
            return;
        branch->fit_bytes = bytes;
        branch->fit++;
    }
}

static err level_add(struct bolt_writer *self, unsigned level, struct bytes key, uint64_t child);

/* Lays a page of the level's first `count` children and hands it to the level above. */
static err level_lay(struct bolt_writer *self, unsigned level, uint32_t count)
{
    struct bolt_branch *branch = &self->levels[level];
    uint64_t id;
    size_t key_bytes;
    TRY(lay_branch(self, branch, count, &id, &key_bytes));
    branch->laid = true;
    TRY(level_add(self, level + 1, bytes_of(branch->keys.data, branch_items(branch)[0].key_bytes),
                  id));
    buf_consume(&branch->keys, key_bytes);
    buf_consume(&branch->items, count * sizeof(struct branch_item));
    branch->count -= count;
    branch->fit = 0;
    branch->fit_bytes = BOLT_HEADER_BYTES;
    branch_fit(branch);
    return OK;
}

/* A page of long keys has more bytes than fit, and two children all the same. */
static uint32_t level_share(const struct bolt_branch *branch)
{
    return branch->fit < 2 ? 2 : branch->fit;
}

static err level_add(struct bolt_writer *self, unsigned level, struct bytes key, uint64_t child)
{
    if (level == BOLT_LEVELS_MAX)
        return ERR_LIMIT;
    struct bolt_branch *branch = &self->levels[level];
    if (level == self->level_count) {
        self->level_count++;
        buf_clear(&branch->keys);
        buf_clear(&branch->items);
        branch->count = branch->fit = 0;
        branch->fit_bytes = BOLT_HEADER_BYTES;
        branch->laid = false;
    }
    struct branch_item item = {.child = child, .key_bytes = (uint32_t)key.len};
    TRY(buf_append(&branch->keys, key));
    TRY(buf_append(&branch->items, bytes_of(&item, sizeof(item))));
    branch->count++;
    branch_fit(branch);
    uint32_t share = level_share(branch);
    return branch->count >= share + 2 ? level_lay(self, level, share) : OK;
}

/* Lays what is left, level by level, until one page holds all. */
static err levels_end(struct bolt_writer *self, uint64_t *ret_root)
{
    for (unsigned level = 0;; level++) {
        CHECK(level < self->level_count);
        struct bolt_branch *branch = &self->levels[level];
        if (branch->count == 1 && !branch->laid) {
            *ret_root = branch_items(branch)[0].child;
            return OK;
        }
        while (branch->count > 0) {
            uint32_t share = level_share(branch);
            if (share >= branch->count)
                share = branch->count;
            else if (share + 1 == branch->count)
                share = share > 2 ? share - 1 : branch->count;
            TRY(level_lay(self, level, share));
        }
    }
}

/* ── Leaves ─────────────────────────────────────────────────────────────────────────────────── */

static err leaf_flush(struct bolt_writer *self)
{
    struct bolt_leaf *leaf = &self->leaf;
    uint64_t id;
    TRY(lay_leaf(self, leaf, 0, &id));
    TRY(level_add(self, 0, bytes_of(leaf->data.data, leaf_items(leaf)[0].key_bytes), id));
    leaf_clear(leaf);
    return OK;
}

static err leaf_add(struct bolt_leaf *leaf, struct bytes key, struct bytes value, bool measures)
{
    struct leaf_item item = {(uint32_t)key.len, (uint32_t)value.len};
    TRY(buf_append(&leaf->items, bytes_of(&item, sizeof(item))));
    if (!measures || leaf->count == 0)
        TRY(buf_append(&leaf->data, key));
    if (!measures)
        TRY(buf_append(&leaf->data, value));
    leaf->count++;
    leaf->bytes += BOLT_ELEMENT_BYTES + key.len + value.len;
    return OK;
}

/* Remembers the key, which must be above the one before. */
static err key_follows(struct buf *last, struct bytes key)
{
    if (key.len == 0 || bytes_compare(buf_bytes(last), key) >= 0)
        return ERR_MISMATCH;
    buf_clear(last);
    return buf_append(last, key);
}

/* ── The calls ──────────────────────────────────────────────────────────────────────────────── */

static void put_meta(uint8_t *page, uint64_t id, uint64_t txid, const struct bolt_extent *extent)
{
    memset(page, 0, BOLT_PAGE_BYTES);
    bytes_put_le64(page, id);
    bolt_put_le16(page + 8, BOLT_META);
    uint8_t *meta = page + BOLT_HEADER_BYTES;
    bytes_put_le32(meta, BOLT_MAGIC);
    bytes_put_le32(meta + 4, BOLT_VERSION);
    bytes_put_le32(meta + 8, BOLT_PAGE_BYTES);
    bytes_put_le64(meta + 16, extent->root);
    bytes_put_le64(meta + 32, BOLT_NO_FREELIST);
    bytes_put_le64(meta + 40, extent->pages);
    bytes_put_le64(meta + 48, txid);
    bytes_put_le64(meta + 56, bolt_fnv(bytes_of(meta, BOLT_META_BYTES - 8)));
}

err bolt_writer_begin(struct bolt_writer *self, const struct bolt_extent *extent)
{
    CHECK(self->out && self->next_page == FIRST_PAGE && self->root.count == 0);
    size_t bytes = (size_t)FIRST_PAGE * BOLT_PAGE_BYTES;
    TRY(buf_reserve(self->out, bytes));
    uint8_t *at = self->out->data + self->out->len;
    put_meta(at, 0, TXID, extent);
    put_meta(at + BOLT_PAGE_BYTES, 1, TXID - 1, extent);
    self->out->len += bytes;
    self->extent = *extent;
    return OK;
}

err bolt_writer_bucket_begin(struct bolt_writer *self, struct bytes name)
{
    CHECK(!self->in_bucket);
    if (name.len > BOLT_KEY_BYTES_MAX || self->root.count == BOLT_ELEMENTS_MAX)
        return ERR_LIMIT;
    TRY(key_follows(&self->bucket, name));
    self->in_bucket = true;
    self->level_count = 0;
    leaf_clear(&self->leaf);
    buf_clear(&self->last_key);
    return OK;
}

err bolt_writer_put(struct bolt_writer *self, struct bytes key, struct bytes value)
{
    CHECK(self->in_bucket);
    if (key.len > BOLT_KEY_BYTES_MAX || value.len > BOLT_VALUE_BYTES_MAX)
        return ERR_LIMIT;
    TRY(key_follows(&self->last_key, key));
    struct bolt_leaf *leaf = &self->leaf;
    size_t bytes = BOLT_ELEMENT_BYTES + key.len + value.len;
    if (leaf->count && leaf->bytes + bytes > BOLT_PAGE_BYTES)
        TRY(leaf_flush(self));
    TRY(leaf_add(leaf, key, value, !self->out));
    return leaf->bytes > BOLT_PAGE_BYTES ? leaf_flush(self) : OK;
}

/* The bucket's one leaf behind its header, root page 0. */
static err bucket_end_inline(struct bolt_writer *self)
{
    uint8_t value[BOLT_BUCKET_HEADER_BYTES + INLINE_BYTES_MAX] = {0};
    const struct bolt_leaf *leaf = &self->leaf;
    uint8_t *page = value + BOLT_BUCKET_HEADER_BYTES;
    bolt_put_le16(page + 8, BOLT_LEAF);
    bolt_put_le16(page + 10, (uint16_t)leaf->count);
    if (self->out)
        leaf_fill(leaf, 0, page);
    return leaf_add(&self->root, buf_bytes(&self->bucket),
                    bytes_of(value, BOLT_BUCKET_HEADER_BYTES + leaf->bytes), false);
}

static err bucket_end_pages(struct bolt_writer *self)
{
    uint64_t root;
    if (self->leaf.count)
        TRY(leaf_flush(self));
    TRY(levels_end(self, &root));
    uint8_t value[BOLT_BUCKET_HEADER_BYTES] = {0};
    bytes_put_le64(value, root);
    return leaf_add(&self->root, buf_bytes(&self->bucket), bytes_of(value, sizeof(value)), false);
}

err bolt_writer_bucket_end(struct bolt_writer *self)
{
    CHECK(self->in_bucket);
    self->in_bucket = false;
    if (self->level_count == 0 && self->leaf.bytes <= INLINE_BYTES_MAX)
        return bucket_end_inline(self);
    return bucket_end_pages(self);
}

err bolt_writer_end(struct bolt_writer *self, struct bolt_extent *ret_extent)
{
    CHECK(!self->in_bucket);
    struct bolt_extent extent;
    TRY(lay_leaf(self, &self->root, BOLT_LEAF_BUCKET, &extent.root));
    extent.pages = self->next_page;
    if (self->out && (extent.root != self->extent.root || extent.pages != self->extent.pages))
        return ERR_MISMATCH;
    *ret_extent = extent;
    return OK;
}
