/* Reads a file in bbolt's format that may be anything: each page, element, length and number is
 * checked before it is used.
 *
 *     bolt_file_open    finds the valid meta page
 *     bolt_file_check   walks every page that can be reached: bounds, kinds, order of keys, no page
 *                       twice, depth; the freelist's form, and that no page is both free and used
 *     bolt_cursor_…     entries in key order; safe without the check too (it never leaves the
 *                       bytes), but only a checked file is known to end and to be in order
 *
 * etcd's files have buckets at the top and plain entries in them, nothing deeper: anything else is
 * refused.
 *
 * Thread: any.  Owns: nothing but a cursor's stack; the bytes are borrowed (a mapping, say, of a
 * file that nobody cuts meanwhile).
 * Errors: ERR_CORRUPT with the page and what is wrong with it in *fault (which may be NULL). */
#pragma once

#include "base/err.h"
#include "bolt/format.h"

struct bolt_fault {
    uint64_t page;
    const char *what; /* static text */
};

struct bolt_file {
    struct bytes bytes;
    uint32_t page_bytes;
    uint64_t pages; /* in use; all of them lie in the bytes */
    uint64_t root;
    uint64_t freelist; /* BOLT_NO_FREELIST: not stored */
    uint64_t txid;
};

/* bytes may be longer than the pages in use. */
MUST err bolt_file_open(struct bolt_file *self, struct bytes bytes, struct bolt_fault *fault);
/* Memory: a bit a page. */
MUST err bolt_file_check(const struct bolt_file *self, struct bolt_fault *fault);
/* Bytes of the pages in use. */
static inline uint64_t bolt_file_bytes(const struct bolt_file *self)
{
    return self->pages * self->page_bytes;
}

#define BOLT_DEPTH_MAX 32

/* One page's elements, its own or lying in a bucket's value. */
struct bolt_page {
    struct bytes body; /* the page with its overflow */
    uint64_t id;       /* of an inline one: that of the page it lies in */
    uint16_t kind;
    uint16_t count;
};

struct bolt_cursor {
    const struct bolt_file *file;
    bool is_top; /* over the buckets themselves */
    unsigned depth;
    struct {
        struct bolt_page page;
        uint32_t at;
    } stack[BOLT_DEPTH_MAX];
};

/* Over the buckets: keys are names, values are for bolt_cursor_open_value. */
MUST err bolt_cursor_open_buckets(struct bolt_cursor *self, const struct bolt_file *file,
                                  struct bolt_fault *fault);
/* Over the entries of the bucket that a cursor over the buckets has just given. */
MUST err bolt_cursor_open_value(struct bolt_cursor *self, const struct bolt_file *file,
                                struct bytes value, struct bolt_fault *fault);
/* Over the entries of a bucket by name. Fails also: ERR_NOT_FOUND. */
MUST err bolt_cursor_open(struct bolt_cursor *self, const struct bolt_file *file,
                          struct bytes bucket, struct bolt_fault *fault);
/* The next entry, lent out of the file's bytes. *ret_found false: the end. */
MUST err bolt_cursor_next(struct bolt_cursor *self, struct bytes *ret_key, struct bytes *ret_value,
                          bool *ret_found, struct bolt_fault *fault);
/* The last entry of a bucket. *ret_found false: it is empty. Fails also: ERR_NOT_FOUND. */
MUST err bolt_bucket_last(const struct bolt_file *file, struct bytes bucket, struct bytes *ret_key,
                          struct bytes *ret_value, bool *ret_found, struct bolt_fault *fault);
