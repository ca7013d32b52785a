/* Memory that dies together: one arena a request or a pass.
 * Thread: one at a time.  Owns: all it hands out, until arena_reset or arena_done.
 * In sanitizer builds every allocation is a malloc of its own, so that overruns are seen.
 * Allocation never fails: what is put into an arena was bounded at admission; a malloc that
 * fails all the same ends the process, and the log brings it back. */
#pragma once

#include "base/bytes.h"

struct arena_block;
struct arena {
    struct arena_block *blocks;
    uint8_t *at;
    uint8_t *end;
    size_t block_bytes;
    size_t used_bytes; /* handed out since the last reset */
};

void arena_init(struct arena *self, size_t block_bytes);
/* Keeps one block of block_bytes for reuse. */
void arena_reset(struct arena *self);
void arena_done(struct arena *self);
/* Zeroed, aligned to 16. n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *self, size_t n);
/* Not zeroed, aligned to 1. */
uint8_t *arena_alloc_bytes(struct arena *self, size_t n);
struct bytes arena_copy(struct arena *self, struct bytes what);
/* NUL-terminated copy. */
char *arena_copy_str(struct arena *self, struct bytes what);
char *arena_printf(struct arena *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(arena, type)      ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, n) ((type *)arena_alloc((arena), sizeof(type) * (n)))
