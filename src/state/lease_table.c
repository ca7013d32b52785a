#include "state/lease_table.h"

#include "base/check.h"
#include "mvcc/index_retire.h"
#include "mvcc/index_tree.h"

#include <stdlib.h>

/* The word of an attachment: all that counts is that it is there and not dead. */
#define ATTACHED UINT64_C(2)

struct lease_table {
    struct tree by_id; /* never published; words are leases */
    size_t count;
    struct tree keys;
    struct retire_box retired; /* nodes of keys */
    struct buf scratch;
};

static void keys_drop(void *ctx, uint64_t item)
{
    struct lease_table *self = ctx;
    tree_node_free(&self->keys, (struct tree_node *)(uintptr_t)item);
}

static void keys_drop_node(void *ctx, struct tree_node *node)
{
    struct lease_table *self = ctx;
    retire_add(&self->retired, (uint64_t)(uintptr_t)node);
}

/* Nodes of the tree that is never sealed are private until they are freed. */
static void by_id_drop_node(void *ctx, struct tree_node *node)
{
    struct lease_table *self = ctx;
    tree_node_free(&self->by_id, node);
}

struct lease_table *lease_table_new(struct epoch *epoch)
{
    struct lease_table *self = calloc(1, sizeof(*self));
    CHECK(self);
    tree_init(&self->by_id, by_id_drop_node, self);
    tree_init(&self->keys, keys_drop_node, self);
    retire_init(&self->retired, epoch, keys_drop, free, self);
    buf_init(&self->scratch, 0);
    return self;
}

static struct lease *lease_of(uint64_t word)
{
    return (struct lease *)(uintptr_t)word;
}

static void free_word(void *ctx, uint64_t word)
{
    (void)ctx;
    free(lease_of(word));
}

void lease_table_free(struct lease_table *self)
{
    if (!self)
        return;
    tree_visit(self->by_id.root, free_word, NULL);
    tree_done(&self->by_id);
    tree_done(&self->keys);
    buf_done(&self->scratch);
    retire_close(&self->retired);
}

/* --- leases ------------------------------------------------------------------------------ */

static struct bytes id_key(uint8_t out[LEASE_KEY_BYTES], int64_t id)
{
    bytes_put_be64(out, (uint64_t)id);
    return bytes_of(out, LEASE_KEY_BYTES);
}

struct lease *lease_table_find(const struct lease_table *self, int64_t id)
{
    uint8_t key[LEASE_KEY_BYTES];
    uint64_t word;
    return tree_find(self->by_id.root, id_key(key, id), &word) ? lease_of(word) : NULL;
}

size_t lease_table_count(const struct lease_table *self)
{
    return self->count;
}

size_t lease_table_list(const struct lease_table *self, uint64_t from, size_t max, int64_t *ret_ids)
{
    struct mvcc_cursor at;
    uint8_t key[LEASE_KEY_BYTES];
    size_t n = 0;
    mvcc_cursor_seek(&at, self->by_id.root, id_key(key, (int64_t)from));
    for (; n < max && mvcc_cursor_valid(&at); mvcc_cursor_next(&at))
        ret_ids[n++] = lease_of(tree_cursor_word(&at))->id;
    return n;
}

struct lease *lease_table_add(struct lease_table *self, int64_t id, int64_t ttl_s)
{
    uint8_t key[LEASE_KEY_BYTES];
    CHECK(!lease_table_find(self, id));
    struct lease *lease = calloc(1, sizeof(*lease));
    CHECK(lease);
    lease->id = id;
    lease->ttl_s = ttl_s;
    tree_set(&self->by_id, id_key(key, id), (uint64_t)(uintptr_t)lease);
    self->count++;
    return lease;
}

void lease_table_remove(struct lease_table *self, struct lease *lease)
{
    uint8_t key[LEASE_KEY_BYTES];
    DCHECK(lease_keys_count(self->keys.root, lease->id) == 0);
    bool was = tree_remove(&self->by_id, id_key(key, lease->id));
    CHECK(was);
    self->count--;
    free(lease);
}

/* --- keys -------------------------------------------------------------------------------- */

/* lease ‖ key, in the table's scratch. */
static struct bytes attachment(struct lease_table *self, int64_t id, struct bytes key)
{
    uint8_t prefix[LEASE_KEY_BYTES];
    buf_clear(&self->scratch);
    err e = buf_append(&self->scratch, id_key(prefix, id));
    CHECK(err_ok(e));
    e = buf_append(&self->scratch, key);
    CHECK(err_ok(e));
    return buf_bytes(&self->scratch);
}

void lease_table_move(struct lease_table *self, struct bytes key, int64_t from, int64_t to)
{
    if (from == to)
        return;
    if (from)
        (void)tree_remove(&self->keys, attachment(self, from, key));
    if (to && lease_table_find(self, to))
        tree_set(&self->keys, attachment(self, to, key), ATTACHED);
}

const struct tree_node *lease_table_root(const struct lease_table *self)
{
    return self->keys.root;
}

const struct tree_node *lease_table_publish(struct lease_table *self)
{
    tree_seal(&self->keys);
    retire_seal(&self->retired);
    return self->keys.root;
}

void lease_table_retire(struct lease_table *self)
{
    retire_flush(&self->retired);
}

/* --- reading ----------------------------------------------------------------------------- */

void lease_keys_seek(struct lease_keys *self, const struct tree_node *root, int64_t id,
                     struct bytes from)
{
    AUTO(buf_done) struct buf key = {0};
    err e = buf_append(&key, id_key(self->prefix, id));
    CHECK(err_ok(e));
    e = buf_append(&key, from);
    CHECK(err_ok(e));
    mvcc_cursor_seek(&self->at, root, buf_bytes(&key));
}

/* The first bytes after the lease's keys; false where none can follow. */
static bool prefix_end(const uint8_t prefix[LEASE_KEY_BYTES], uint8_t out[LEASE_KEY_BYTES])
{
    uint64_t id = bytes_get_be64(prefix);
    if (id == UINT64_MAX)
        return false;
    bytes_put_be64(out, id + 1);
    return true;
}

bool lease_keys_valid(const struct lease_keys *self)
{
    uint8_t end[LEASE_KEY_BYTES];
    if (!mvcc_cursor_valid(&self->at))
        return false;
    return !prefix_end(self->prefix, end) ||
           mvcc_cursor_compare(&self->at, bytes_of(end, sizeof(end))) < 0;
}

void lease_keys_next(struct lease_keys *self)
{
    mvcc_cursor_next(&self->at);
}

size_t lease_keys_bytes(const struct lease_keys *self)
{
    return mvcc_cursor_key_bytes(&self->at) - LEASE_KEY_BYTES;
}

struct bytes lease_keys_key(const struct lease_keys *self, uint8_t *scratch)
{
    mvcc_cursor_key(&self->at, scratch);
    return bytes_of(scratch + LEASE_KEY_BYTES, lease_keys_bytes(self));
}

uint64_t lease_keys_count(const struct tree_node *root, int64_t id)
{
    uint8_t begin[LEASE_KEY_BYTES];
    uint8_t end[LEASE_KEY_BYTES];
    struct mvcc_span span = {.kind = MVCC_SPAN_FROM, .key = id_key(begin, id)};
    if (prefix_end(begin, end)) {
        span.kind = MVCC_SPAN_RANGE;
        span.end = bytes_of(end, sizeof(end));
    }
    return mvcc_root_count(root, &span);
}
