/* A growable run of bytes that its holder owns.
 * A limit fixed at birth bounds it: growth past it is ERR_LIMIT, never an abort.
 * Thread: one at a time.  Owns: its memory (malloc); buf_done gives it back. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit; /* 0: none but the size of memory */
};

void buf_init(struct buf *self, size_t limit);
void buf_done(struct buf *self);
/* Room for n more bytes at data + len. Fails: ERR_LIMIT. */
MUST err buf_reserve(struct buf *self, size_t n);
MUST err buf_append(struct buf *self, struct bytes what);
/* A NUL follows the text; it is not counted in len, its room is against the limit. */
MUST err buf_printf(struct buf *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Forgets the first n bytes, moves the rest down. */
void buf_consume(struct buf *self, size_t n);
void buf_clear(struct buf *self);
static inline struct bytes buf_bytes(const struct buf *self)
{
    return (struct bytes){self->data, self->len};
}
