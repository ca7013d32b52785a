/* What the tests of the state and of the replica compare members by. */
#pragma once

#include "mvcc/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above it */
#include <cmocka.h>

/* HashKV as of the view's revision. Under a guard. */
static inline uint32_t view_hash(const struct mvcc_view *view)
{
    struct mvcc_hash hash;
    assert_int_equal(mvcc_hash_begin(&hash, view, 0).code, 0);
    for (bool done = false; !done;) {
        unsigned budget = 1000000;
        assert_int_equal(mvcc_hash_run(&hash, view, &budget, &done).code, 0);
    }
    uint32_t value = hash.hash;
    mvcc_hash_done(&hash);
    return value;
}
