/* Arrays that grow by doubling. Ownership: the caller's, freed with free(). Thread: any. */
#pragma once

#include "base/check.h"

#include <stddef.h>
#include <stdlib.h>

#define ARRAY_FIRST_CAP 16

/* Room for one more behind `count` items; never fails. What is there may move. */
static inline void *array_grow(void *items, size_t count, size_t *cap, size_t item_bytes)
{
    if (count < *cap)
        return items;
    *cap = *cap ? *cap * 2 : ARRAY_FIRST_CAP;
    items = realloc(items, *cap * item_bytes);
    CHECK(items);
    return items;
}
