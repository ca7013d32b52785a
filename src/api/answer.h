/* Answers that hold lists of stored KeyValues, of any size, without a buffer of their size.
 *
 * An answer is literal bytes and walks. A walk is a range of keys at a seq whose framed length is
 * summed first, in slices; since the length of a message goes first, nothing can fail after that
 * but a broken pin. Then the answer is composed: literals around walks. A small one is gathered and
 * sent; a large one becomes a promise whose cursor reads the values when the socket takes them.
 *
 *     answer_new ─> answer_walk… ─> answer_start ──measure──> compose() ─> answer_literal,
 *                                                             answer_splice… ──> sent
 *
 * Thread: the front's, inside a guard.  Owns: all of it lies in the request's arena; the walks'
 * inner memory and the pin go with the request.
 * Source: etcd's interface, messages RangeResponse, PutResponse, DeleteRangeResponse. */
#pragma once

#include "api/front_internal.h"
#include "mvcc/range.h"

struct answer;

struct answer_walk {
    struct mvcc_range_options options;
    uint64_t seq;
    uint32_t field; /* number of the repeated or single KeyValue in its message */
    /* Known once measured. */
    uint64_t bytes; /* framed: tag, length, KeyValue for each */
    uint64_t items;
    uint64_t count;
    bool more;
    struct answer_walk *next;
    struct answer_item *kept; /* where few: so that sending needs no second walk */
};

struct answer *answer_new(struct request *request);
/* options' bytes must live as long as the request. */
struct answer_walk *answer_walk(struct answer *self, const struct mvcc_range_options *options,
                                uint64_t seq, uint32_t field);
/* Measures, then calls compose, then sends. compose adds parts in order. */
void answer_start(struct answer *self, void (*compose)(struct answer *self, void *ctx), void *ctx);

/* For compose: n bytes to be written by the caller. */
uint8_t *answer_literal(struct answer *self, size_t n);
void answer_splice(struct answer *self, struct answer_walk *walk);
struct request *answer_request(const struct answer *self);
