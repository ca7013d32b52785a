#include "rpc/outbox.h"

#include "base/check.h"

#define SHARED_BYTES_MAX 8192

size_t parts_len(const struct bytes *parts, unsigned part_count)
{
    size_t len = 0;
    for (unsigned i = 0; i < part_count; i++)
        len += parts[i].len;
    return len;
}

/* A lent item is its lender's. */
static void item_free(struct outbox_item *item, struct rpc_pool *pool)
{
    if (item->lent)
        return;
    if (item->promise) {
        if (item->taken < item->len)
            out_promise_drop(pool, item->promise);
        else
            out_promise_unref(pool, item->promise);
    }
    pool_release(pool, item);
}

void outbox_done(struct outbox *self, struct rpc_pool *pool)
{
    for (struct outbox_item *item = self->first, *next; item; item = next) {
        next = item->next;
        item_free(item, pool);
    }
    *self = (struct outbox){0};
}

static void item_push(struct outbox *self, struct outbox_item *item)
{
    item->next = NULL;
    if (self->last)
        self->last->next = item;
    else
        self->first = item;
    self->last = item;
    self->bytes += item->len - item->taken;
}

/* The first one is of its own size: most answers are alone, and many streams have but one. */
static size_t block_bytes(const struct outbox_item *last, size_t len)
{
    size_t bytes = sizeof(*last) + len;
    if (!last || !last->cap || bytes >= SHARED_BYTES_MAX)
        return bytes;
    size_t twice = 2 * (sizeof(*last) + last->cap);
    size_t room = twice < SHARED_BYTES_MAX ? twice : SHARED_BYTES_MAX;
    return room > bytes ? room : bytes;
}

uint8_t *outbox_reserve(struct outbox *self, struct rpc_pool *pool, size_t len)
{
    struct outbox_item *last = self->last;
    if (last && last->cap >= last->len + len) {
        uint8_t *at = last->data + last->len;
        last->len += len;
        self->bytes += len;
        return at;
    }
    size_t bytes = block_bytes(last, len);
    struct outbox_item *item = pool_alloc(pool, bytes);
    *item = (struct outbox_item){.len = len, .cap = bytes - sizeof(*item)};
    item_push(self, item);
    return item->data;
}

static void parts_copy(uint8_t *to, const struct bytes *parts, unsigned part_count)
{
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
}

void outbox_put(struct outbox *self, struct rpc_pool *pool, const struct bytes *parts,
                unsigned part_count)
{
    size_t len = parts_len(parts, part_count);
    if (len > 0)
        parts_copy(outbox_reserve(self, pool, len), parts, part_count);
}

void outbox_put_promise(struct outbox *self, struct rpc_pool *pool,
                        const struct rpc_promise *promise)
{
    struct out_promise *run = out_promise_new(pool, promise);
    if (promise->len == 0) {
        out_promise_unref(pool, run);
        return;
    }
    struct outbox_item *item = pool_alloc(pool, sizeof(*item));
    *item = (struct outbox_item){.promise = run, .len = promise->len};
    item_push(self, item);
    self->promised += promise->len;
}

void outbox_lend(struct outbox *self, struct outbox_item *item, const struct bytes *parts,
                 unsigned part_count)
{
    *item = (struct outbox_item){
        .lent = parts, .lent_count = part_count, .len = parts_len(parts, part_count)};
    item_push(self, item);
}

/* Copies the lent bytes from..from+n to wherever. */
static void lent_copy(const struct outbox_item *item, size_t from, size_t n, uint8_t *to)
{
    for (unsigned i = 0; n > 0; i++) {
        CHECK(i < item->lent_count);
        struct bytes part = item->lent[i];
        if (from >= part.len) {
            from -= part.len;
            continue;
        }
        size_t here = part.len - from < n ? part.len - from : n;
        memcpy(to, part.data + from, here);
        to += here;
        n -= here;
        from = 0;
    }
}

void outbox_unlend(struct outbox *self, struct rpc_pool *pool, struct outbox_item *item)
{
    /* Taken whole, it has left the list by itself; dropped with its stream too. */
    if (item->taken == item->len || self->last != item)
        return;
    struct outbox_item **link = &self->first;
    struct outbox_item *before = NULL;
    while (*link != item) {
        before = *link;
        link = &before->next;
    }
    size_t left = item->len - item->taken;
    struct outbox_item *copy = pool_alloc(pool, sizeof(*copy) + left);
    *copy = (struct outbox_item){.len = left};
    lent_copy(item, item->taken, left, copy->data);
    *link = copy;
    self->last = copy;
}

static void literal_frame(const struct outbox_item *item, struct out *out, size_t n)
{
    if (!item->lent) {
        out_put(out, bytes_of(item->data + item->taken, n));
        return;
    }
    size_t from = item->taken;
    for (unsigned i = 0; n > 0; i++) {
        CHECK(i < item->lent_count);
        struct bytes part = item->lent[i];
        if (from >= part.len) {
            from -= part.len;
            continue;
        }
        size_t here = part.len - from < n ? part.len - from : n;
        out_put(out, bytes_of(part.data + from, here));
        n -= here;
        from = 0;
    }
}

void outbox_frame(struct outbox *self, struct out *out, size_t n)
{
    CHECK(n <= self->bytes);
    self->bytes -= n;
    while (n > 0) {
        struct outbox_item *item = self->first;
        CHECK(item);
        size_t left = item->len - item->taken;
        size_t took = n < left ? n : left;
        if (item->promise) {
            out_put_promise(out, item->promise, took);
            self->promised -= took;
        } else {
            literal_frame(item, out, took);
        }
        item->taken += took;
        n -= took;
        if (item->taken < item->len)
            return;
        self->first = item->next;
        if (!self->first)
            self->last = NULL;
        item_free(item, out->pool);
    }
}

bool outbox_broken(const struct outbox *self)
{
    const struct outbox_item *item = self->first;
    return item && item->promise && (item->promise->over || item->promise->broken);
}
