/* Writes a file in bbolt's format from front to back, out of buckets whose entries come in order.
 *
 * The meta pages come first and name the root and the number of pages, so everything is gone
 * through twice, with equal calls:
 *
 *     measure:  init(NULL)          ─┐ bucket_begin, put…, bucket_end for each bucket ─> end
 *     write:    init(out), begin    ─┘ bucket_begin, put…, bucket_end for each bucket ─> end
 *
 * In the first pass values are only lengths. In the second finished pages are appended to `out`,
 * which the caller empties when it likes.
 *
 * A bucket's pages are laid as they fill: leaves, and each branch as soon as its children are
 * laid. So what is held is one unfinished page a level, never a table of pages:
 * memory is constant, but for the largest entry in `out`.
 *
 * The result has no free pages and no freelist, as files of etcd have; equal calls give equal
 * bytes.
 *
 * Thread: one at a time.  Owns: its unfinished pages; out is borrowed.
 * Errors: ERR_LIMIT where a key or value is longer than the format allows, or `out` is full;
 * ERR_MISMATCH where keys or names do not ascend. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "bolt/format.h"

/* A branch holds at least two children, so that 2^32 pages are 32 levels deep. */
#define BOLT_LEVELS_MAX 34

/* What the first pass finds out. */
struct bolt_extent {
    uint64_t pages; /* the file is so many pages long */
    uint64_t root;
};

/* A leaf that fills: keys and values as they will lie, and their lengths beside them. */
struct bolt_leaf {
    struct buf data; /* when measuring only the first key */
    struct buf items;
    uint32_t count;
    size_t bytes; /* of the page */
};

/* Children of one level that no branch holds yet. */
struct bolt_branch {
    struct buf keys; /* side by side */
    struct buf items;
    uint32_t count;
    uint32_t fit;     /* so many of them fill one page */
    size_t fit_bytes; /* of that page */
    bool laid;        /* this level has pages */
};

struct bolt_writer {
    struct buf *out; /* NULL: measures */
    struct bolt_extent extent;
    uint64_t next_page;
    struct bolt_leaf leaf; /* of the bucket in progress */
    struct bolt_branch levels[BOLT_LEVELS_MAX];
    unsigned level_count;
    struct bolt_leaf root;
    struct buf bucket;   /* the name of the one in progress */
    struct buf last_key; /* in it */
    bool in_bucket;
};

void bolt_writer_init(struct bolt_writer *self, struct buf *out);
void bolt_writer_done(struct bolt_writer *self);

/* Second pass only: writes the two meta pages. */
MUST err bolt_writer_begin(struct bolt_writer *self, const struct bolt_extent *extent);
/* Names ascend, and so do the keys in a bucket; none is empty. */
MUST err bolt_writer_bucket_begin(struct bolt_writer *self, struct bytes name);
/* In the first pass value.data is not looked at. */
MUST err bolt_writer_put(struct bolt_writer *self, struct bytes key, struct bytes value);
MUST err bolt_writer_bucket_end(struct bolt_writer *self);
/* Fails: ERR_MISMATCH too where the second pass came out otherwise than the first. */
MUST err bolt_writer_end(struct bolt_writer *self, struct bolt_extent *ret_extent);
