/* The sorted half of a range (range.h): collecting references, sorting them in slices, giving out
 * the items. For range.c alone. */
#pragma once

#include "mvcc/range.h"

/* One key that passed the filters. */
struct mvcc_range_ref {
    uint64_t value;   /* what is sorted by; of VALUE its first 8 bytes */
    uint64_t seq;     /* of the change that shows */
    uint64_t ordinal; /* place in key order, which decides between equal values */
};

/* Fails: ERR_LIMIT, ERR_CORRUPT. */
MUST err range_sort_add(struct mvcc_range *self, const struct mvcc_view *view,
                        struct mvcc_state *state, unsigned *budget);
/* *ret_sorted: what is collected is in order. */
MUST err range_sort_run(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                        bool *ret_sorted);
/* *ret_item false: none is left. */
MUST err range_sort_give(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                         bool *ret_item);
void range_sort_done(struct mvcc_range *self);
