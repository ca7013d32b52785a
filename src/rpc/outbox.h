/* What one HTTP/2 stream has to send and no window has taken yet: literal runs and promises, in
 * order. Shared by calls, exchanges and client calls.
 * Thread: the connection's.  Owns: its items. */
#pragma once

#include "rpc/out.h"

/* Where many parts of one message wait: copied, or lent for the length of one function (the
 * fast way of a unary answer, which usually leaves nothing behind to copy). */
struct outbox_item {
    struct outbox_item *next;
    struct out_promise *promise; /* NULL: literal */
    const struct bytes *lent;    /* literal in parts; NULL: in data */
    unsigned lent_count;
    size_t len;
    size_t taken;
    size_t cap; /* of data, where a later run may go on */
    uint8_t data[];
};

struct outbox {
    struct outbox_item *first, *last;
    size_t bytes;
    size_t promised; /* of them, in promises: no memory of ours */
};

void outbox_done(struct outbox *self, struct rpc_pool *pool);
static inline size_t outbox_held(const struct outbox *self)
{
    return self->bytes - self->promised;
}
/* A run of len bytes for the caller to fill now. Where others wait already, small ones share a
 * block of up to 8 KiB, twice as large as the last. */
uint8_t *outbox_reserve(struct outbox *self, struct rpc_pool *pool, size_t len);
void outbox_put(struct outbox *self, struct rpc_pool *pool, const struct bytes *parts,
                unsigned part_count);
void outbox_put_promise(struct outbox *self, struct rpc_pool *pool,
                        const struct rpc_promise *promise);
/* Puts item (the caller's, with lent parts) at the end; outbox_unlend takes it out again and
 * copies what is left. Nothing may be put between the two. */
void outbox_lend(struct outbox *self, struct outbox_item *item, const struct bytes *parts,
                 unsigned part_count);
void outbox_unlend(struct outbox *self, struct rpc_pool *pool, struct outbox_item *item);
/* Moves n <= bytes into the connection's queue. */
void outbox_frame(struct outbox *self, struct out *out, size_t n);
/* The next bytes can never be made: a promise broke. */
bool outbox_broken(const struct outbox *self);

size_t parts_len(const struct bytes *parts, unsigned part_count);
