#include "bolt/reader_internal.h"

#include "base/check.h"

err bolt_refuse(struct bolt_fault *fault, uint64_t page, const char *what)
{
    if (fault)
        *fault = (struct bolt_fault){page, what};
    return ERR_CORRUPT;
}

/* ── Meta pages ─────────────────────────────────────────────────────────────────────────────── */

static bool meta_read(struct bytes bytes, uint64_t page_bytes, unsigned number,
                      struct bolt_file *ret_file)
{
    uint64_t at = page_bytes * number;
    if (at + BOLT_HEADER_BYTES + BOLT_META_BYTES > bytes.len)
        return false;
    const uint8_t *meta = bytes.data + at + BOLT_HEADER_BYTES;
    if (bytes_get_le32(meta) != BOLT_MAGIC || bytes_get_le32(meta + 4) != BOLT_VERSION ||
        bytes_get_le64(meta + 56) != bolt_fnv(bytes_of(meta, BOLT_META_BYTES - 8)))
        return false;
    *ret_file = (struct bolt_file){
        .bytes = bytes,
        .page_bytes = bytes_get_le32(meta + 8),
        .root = bytes_get_le64(meta + 16),
        .freelist = bytes_get_le64(meta + 32),
        .pages = bytes_get_le64(meta + 40),
        .txid = bytes_get_le64(meta + 48),
    };
    return true;
}

/* The second meta page, whose place depends on the size of a page: where the first is damaged all
 * sizes are tried. */
static bool meta_second(struct bytes bytes, const struct bolt_file *first,
                        struct bolt_file *ret_file)
{
    if (first)
        return meta_read(bytes, first->page_bytes, 1, ret_file);
    for (uint32_t size = BOLT_PAGE_BYTES_MIN; size <= BOLT_PAGE_BYTES_MAX; size *= 2) {
        if (meta_read(bytes, size, 1, ret_file) && ret_file->page_bytes == size)
            return true;
    }
    return false;
}

static bool page_size_is_legal(uint32_t size)
{
    return size >= BOLT_PAGE_BYTES_MIN && size <= BOLT_PAGE_BYTES_MAX && (size & (size - 1)) == 0;
}

err bolt_file_open(struct bolt_file *self, struct bytes bytes, struct bolt_fault *fault)
{
    struct bolt_file first, second;
    bool has_first = meta_read(bytes, 0, 0, &first) && page_size_is_legal(first.page_bytes);
    bool has_second = meta_second(bytes, has_first ? &first : NULL, &second);
    if (has_first && has_second && second.page_bytes != first.page_bytes)
        return bolt_refuse(fault, 1, "the meta pages disagree on the size of a page");
    if (!has_first && !has_second)
        return bolt_refuse(fault, 0, "no valid meta page");
    struct bolt_file file = !has_second || (has_first && first.txid > second.txid) ? first : second;
    if (file.pages < 3 || file.pages > bytes.len / file.page_bytes)
        return bolt_refuse(fault, 0, "the file is shorter than its pages in use");
    if (file.root < 2 || file.root >= file.pages)
        return bolt_refuse(fault, 0, "the root page is outside of the file");
    *self = file;
    return OK;
}

/* ── Pages and elements ─────────────────────────────────────────────────────────────────────── */

/* The header's kind and count, against the bytes that there are. */
static err page_read(struct bytes body, uint64_t id, struct bolt_page *ret_page,
                     struct bolt_fault *fault)
{
    struct bolt_page page = {.body = body,
                             .id = id,
                             .kind = bolt_get_le16(body.data + 8),
                             .count = bolt_get_le16(body.data + 10)};
    if (page.kind != BOLT_LEAF && page.kind != BOLT_BRANCH)
        return bolt_refuse(fault, id, "neither a leaf nor a branch");
    if (BOLT_HEADER_BYTES + (size_t)page.count * BOLT_ELEMENT_BYTES > body.len)
        return bolt_refuse(fault, id, "more elements than bytes");
    if (page.kind == BOLT_BRANCH && page.count == 0)
        return bolt_refuse(fault, id, "a branch without children");
    *ret_page = page;
    return OK;
}

err bolt_page_open(const struct bolt_file *file, uint64_t id, struct bolt_page *ret_page,
                   struct bolt_fault *fault)
{
    if (id < 2 || id >= file->pages)
        return bolt_refuse(fault, id, "outside of the file");
    const uint8_t *page = file->bytes.data + id * file->page_bytes;
    if (bytes_get_le64(page) != id)
        return bolt_refuse(fault, id, "another page's number");
    uint32_t overflow = bytes_get_le32(page + 12);
    if (overflow >= file->pages - id)
        return bolt_refuse(fault, id, "goes on behind the file's end");
    size_t bytes = ((size_t)overflow + 1) * file->page_bytes;
    return page_read(bytes_of(page, bytes), id, ret_page, fault);
}

err bolt_bucket_open(const struct bolt_file *file, struct bytes value, uint64_t holder,
                     struct bolt_page *ret_page, uint64_t *ret_id, struct bolt_fault *fault)
{
    if (value.len < BOLT_BUCKET_HEADER_BYTES)
        return bolt_refuse(fault, holder, "a bucket without its header");
    uint64_t id = bytes_get_le64(value.data);
    *ret_id = id;
    if (id)
        return bolt_page_open(file, id, ret_page, fault);
    struct bytes body = bytes_skip(value, BOLT_BUCKET_HEADER_BYTES);
    if (body.len < BOLT_HEADER_BYTES)
        return bolt_refuse(fault, holder, "a bucket without a page");
    struct bolt_page page = {0};
    TRY(page_read(body, holder, &page, fault));
    if (page.kind != BOLT_LEAF || bytes_get_le32(body.data + 12) != 0)
        return bolt_refuse(fault, holder, "a bucket's own page is no leaf");
    *ret_page = page;
    return OK;
}

err bolt_element(const struct bolt_page *page, uint32_t i, struct bolt_element *ret_element,
                 struct bolt_fault *fault)
{
    CHECK(i < page->count);
    size_t at = BOLT_HEADER_BYTES + (size_t)i * BOLT_ELEMENT_BYTES;
    const uint8_t *element = page->body.data + at;
    bool leaf = page->kind == BOLT_LEAF;
    uint32_t flags = leaf ? bytes_get_le32(element) : 0;
    uint64_t pos = bytes_get_le32(element + (leaf ? 4 : 0));
    uint64_t key_bytes = bytes_get_le32(element + (leaf ? 8 : 4));
    uint64_t value_bytes = leaf ? bytes_get_le32(element + 12) : 0;
    if (flags > BOLT_LEAF_BUCKET)
        return bolt_refuse(fault, page->id, "an element with unknown flags");
    if (key_bytes == 0 || key_bytes > BOLT_KEY_BYTES_MAX)
        return bolt_refuse(fault, page->id, "a key of no legal length");
    if (at + pos < BOLT_HEADER_BYTES + (size_t)page->count * BOLT_ELEMENT_BYTES ||
        at + pos + key_bytes + value_bytes > page->body.len)
        return bolt_refuse(fault, page->id, "an element outside of its page");
    const uint8_t *key = element + pos;
    *ret_element = (struct bolt_element){
        .key = bytes_of(key, key_bytes),
        .value = bytes_of(key + key_bytes, value_bytes),
        .child = leaf ? 0 : bytes_get_le64(element + 8),
        .is_bucket = flags == BOLT_LEAF_BUCKET,
    };
    return OK;
}

/* ── Cursors ────────────────────────────────────────────────────────────────────────────────── */

static void cursor_push(struct bolt_cursor *self, const struct bolt_page *page)
{
    self->stack[self->depth].page = *page;
    self->stack[self->depth++].at = 0;
}

static err cursor_begin(struct bolt_cursor *self, const struct bolt_file *file, bool is_top,
                        const struct bolt_page *root)
{
    self->file = file;
    self->is_top = is_top;
    self->depth = 0;
    cursor_push(self, root);
    return OK;
}

err bolt_cursor_open_buckets(struct bolt_cursor *self, const struct bolt_file *file,
                             struct bolt_fault *fault)
{
    struct bolt_page root;
    TRY(bolt_page_open(file, file->root, &root, fault));
    return cursor_begin(self, file, true, &root);
}

err bolt_cursor_open_value(struct bolt_cursor *self, const struct bolt_file *file,
                           struct bytes value, struct bolt_fault *fault)
{
    struct bolt_page root;
    uint64_t id;
    TRY(bolt_bucket_open(file, value, file->root, &root, &id, fault));
    return cursor_begin(self, file, false, &root);
}

err bolt_cursor_open(struct bolt_cursor *self, const struct bolt_file *file, struct bytes bucket,
                     struct bolt_fault *fault)
{
    struct bolt_cursor buckets;
    struct bytes key, value;
    TRY(bolt_cursor_open_buckets(&buckets, file, fault));
    while (true) {
        bool found;
        TRY(bolt_cursor_next(&buckets, &key, &value, &found, fault));
        if (!found || bytes_compare(key, bucket) > 0)
            return ERR_NOT_FOUND;
        if (bytes_equal(key, bucket))
            return bolt_cursor_open_value(self, file, value, fault);
    }
}

err bolt_cursor_next(struct bolt_cursor *self, struct bytes *ret_key, struct bytes *ret_value,
                     bool *ret_found, struct bolt_fault *fault)
{
    while (self->depth > 0) {
        struct bolt_page *page = &self->stack[self->depth - 1].page;
        if (self->stack[self->depth - 1].at == page->count) {
            self->depth--;
            continue;
        }
        struct bolt_element element;
        TRY(bolt_element(page, self->stack[self->depth - 1].at++, &element, fault));
        if (page->kind == BOLT_BRANCH) {
            struct bolt_page child;
            if (self->depth == BOLT_DEPTH_MAX)
                return bolt_refuse(fault, page->id, "the tree is too deep");
            TRY(bolt_page_open(self->file, element.child, &child, fault));
            cursor_push(self, &child);
            continue;
        }
        if (element.is_bucket != self->is_top)
            return bolt_refuse(fault, page->id,
                               self->is_top ? "an entry among the buckets"
                                            : "a bucket in a bucket");
        *ret_key = element.key;
        *ret_value = element.value;
        *ret_found = true;
        return OK;
    }
    *ret_found = false;
    return OK;
}

err bolt_bucket_last(const struct bolt_file *file, struct bytes bucket, struct bytes *ret_key,
                     struct bytes *ret_value, bool *ret_found, struct bolt_fault *fault)
{
    struct bolt_cursor at;
    struct bolt_element element;
    TRY(bolt_cursor_open(&at, file, bucket, fault));
    struct bolt_page page = at.stack[0].page;
    *ret_found = page.count > 0;
    if (page.count == 0)
        return OK;
    TRY(bolt_element(&page, page.count - 1u, &element, fault));
    for (unsigned depth = 1; page.kind == BOLT_BRANCH; depth++) {
        if (depth == BOLT_DEPTH_MAX)
            return bolt_refuse(fault, page.id, "the tree is too deep");
        TRY(bolt_page_open(file, element.child, &page, fault));
        if (page.count == 0)
            return bolt_refuse(fault, page.id, "a leaf without entries");
        TRY(bolt_element(&page, page.count - 1u, &element, fault));
    }
    *ret_key = element.key;
    *ret_value = element.value;
    return OK;
}
