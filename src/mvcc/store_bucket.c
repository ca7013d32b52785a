#include "mvcc/store_bucket.h"

#include "base/check.h"
#include "mvcc/index_retire.h"
#include "mvcc/index_tree.h"
#include "mvcc/view.h"

#include <stdlib.h>

struct mvcc_buckets {
    struct tree tree;
    struct retire_box retired;
    struct buf key; /* bucket ‖ key of the call in progress */
};

struct bucket_value {
    uint64_t seq;
    size_t len;
    uint8_t data[];
};

/* What a retired item is, in its address's lowest bits. */
enum bucket_item { ITEM_NODE, ITEM_VALUE };

static void buckets_drop(void *ctx, uint64_t item)
{
    struct mvcc_buckets *self = ctx;
    void *object = (void *)(uintptr_t)(item & ~(uint64_t)7);
    if ((item & 7) == ITEM_NODE)
        tree_node_free(&self->tree, object);
    else
        free(object);
}

static void buckets_drop_node(void *ctx, struct tree_node *node)
{
    struct mvcc_buckets *self = ctx;
    retire_add(&self->retired, (uint64_t)(uintptr_t)node | ITEM_NODE);
}

static void buckets_closed(void *ctx)
{
    free(ctx);
}

struct mvcc_buckets *mvcc_buckets_new(struct epoch *epoch)
{
    struct mvcc_buckets *self = calloc(1, sizeof(*self));
    CHECK(self);
    tree_init(&self->tree, buckets_drop_node, self);
    retire_init(&self->retired, epoch, buckets_drop, buckets_closed, self);
    buf_init(&self->key, 0);
    return self;
}

static void bucket_free_word(void *ctx, uint64_t word)
{
    free((void *)(uintptr_t)word);
}

void mvcc_buckets_free(struct mvcc_buckets *self)
{
    if (!self)
        return;
    tree_visit(self->tree.root, bucket_free_word, self);
    tree_done(&self->tree);
    buf_done(&self->key);
    retire_close(&self->retired);
}

/* bucket ‖ key into a buffer that is the caller's. */
static struct bytes bucket_key(struct buf *buf, enum mvcc_bucket bucket, struct bytes key)
{
    buf_clear(buf);
    uint8_t first = (uint8_t)bucket;
    err e = buf_append(buf, bytes_of(&first, 1));
    CHECK(err_ok(e));
    e = buf_append(buf, key);
    CHECK(err_ok(e));
    return buf_bytes(buf);
}

static void bucket_retire_value(struct mvcc_buckets *self, uint64_t word)
{
    retire_add(&self->retired, word | ITEM_VALUE);
}

void mvcc_buckets_put(struct mvcc_buckets *self, enum mvcc_bucket bucket, struct bytes key,
                      struct bytes value, uint64_t seq)
{
    struct bytes full = bucket_key(&self->key, bucket, key);
    struct bucket_value *copy = malloc(sizeof(*copy) + value.len);
    CHECK(copy);
    copy->seq = seq;
    copy->len = value.len;
    if (value.len)
        memcpy(copy->data, value.data, value.len);
    uint64_t before;
    if (tree_find(self->tree.root, full, &before))
        bucket_retire_value(self, before);
    tree_set(&self->tree, full, (uint64_t)(uintptr_t)copy);
}

static const struct bucket_value *bucket_of_word(uint64_t word)
{
    return (const struct bucket_value *)(uintptr_t)word;
}

uint64_t mvcc_buckets_seq(const struct mvcc_buckets *self, enum mvcc_bucket bucket,
                          struct bytes key)
{
    AUTO(buf_done) struct buf full = {0};
    uint64_t word;
    if (!tree_find(self->tree.root, bucket_key(&full, bucket, key), &word))
        return 0;
    return bucket_of_word(word)->seq;
}

bool mvcc_buckets_remove(struct mvcc_buckets *self, enum mvcc_bucket bucket, struct bytes key)
{
    struct bytes full = bucket_key(&self->key, bucket, key);
    uint64_t before;
    if (!tree_find(self->tree.root, full, &before))
        return false;
    bucket_retire_value(self, before);
    return tree_remove(&self->tree, full);
}

const struct tree_node *mvcc_buckets_root(const struct mvcc_buckets *self)
{
    return self->tree.root;
}

const struct tree_node *mvcc_buckets_publish(struct mvcc_buckets *self)
{
    tree_seal(&self->tree);
    retire_seal(&self->retired);
    return self->tree.root;
}

void mvcc_buckets_retire(struct mvcc_buckets *self)
{
    retire_flush(&self->retired);
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

static struct bytes bucket_value(uint64_t word)
{
    const struct bucket_value *value = bucket_of_word(word);
    return (struct bytes){value->data, value->len};
}

bool mvcc_view_bucket_find(const struct mvcc_view *self, enum mvcc_bucket bucket, struct bytes key,
                           struct bytes *ret_value)
{
    AUTO(buf_done) struct buf full = {0};
    uint64_t word;
    if (!tree_find(self->buckets, bucket_key(&full, bucket, key), &word))
        return false;
    *ret_value = bucket_value(word);
    return true;
}

void mvcc_bucket_cursor_seek(struct mvcc_bucket_cursor *self, const struct mvcc_view *view,
                             enum mvcc_bucket bucket, struct bytes key)
{
    AUTO(buf_done) struct buf full = {0};
    self->bucket = bucket;
    mvcc_cursor_seek(&self->at, view->buckets, bucket_key(&full, bucket, key));
}

bool mvcc_bucket_cursor_valid(const struct mvcc_bucket_cursor *self)
{
    if (!mvcc_cursor_valid(&self->at))
        return false;
    uint8_t next = (uint8_t)(self->bucket + 1);
    return mvcc_cursor_compare(&self->at, bytes_of(&next, 1)) < 0;
}

void mvcc_bucket_cursor_next(struct mvcc_bucket_cursor *self)
{
    mvcc_cursor_next(&self->at);
}

bool mvcc_bucket_cursor_is_at(const struct mvcc_bucket_cursor *self, struct bytes key)
{
    AUTO(buf_done) struct buf full = {0};
    return mvcc_cursor_compare(&self->at, bucket_key(&full, self->bucket, key)) == 0;
}

size_t mvcc_bucket_cursor_key_bytes(const struct mvcc_bucket_cursor *self)
{
    return mvcc_cursor_key_bytes(&self->at) - 1;
}

void mvcc_bucket_cursor_key(const struct mvcc_bucket_cursor *self, uint8_t *out)
{
    const struct tree_node *leaf = self->at.path[self->at.depth];
    size_t bytes = mvcc_cursor_key_bytes(&self->at);
    AUTO(buf_done) struct buf full = {0};
    err e = buf_reserve(&full, bytes);
    CHECK(err_ok(e));
    tree_key_write(leaf, self->at.slot[self->at.depth], full.data);
    memcpy(out, full.data + 1, bytes - 1);
}

struct bytes mvcc_bucket_cursor_value(const struct mvcc_bucket_cursor *self)
{
    return bucket_value(tree_cursor_word(&self->at));
}

uint64_t mvcc_bucket_cursor_seq(const struct mvcc_bucket_cursor *self)
{
    return bucket_of_word(tree_cursor_word(&self->at))->seq;
}
