/* Tables in box-drawing characters: headers in the middle of their column, cells at its right.
 * Thread: one at a time.  Owns: its rows' memory lies in the arena. */
#pragma once

#include "base/arena.h"

#include <stdio.h>

#define TABLE_COLUMNS_MAX 20

struct table_row {
    const char *cells[TABLE_COLUMNS_MAX];
};

struct table {
    const char *const *headers;
    unsigned columns;
    const struct table_row *rows;
    size_t row_count;
};

void table_print(FILE *to, const struct table *self);
