/* Which keys a request means: etcd's key and range_end.
 *   range_end empty              the one key
 *   range_end one zero byte      all keys >= key
 *   else                         [key, range_end)
 * Thread: any.  Owns: nothing; lends what it was made of.  Source: etcd's interface, "Keys and
 * ranges". */
#pragma once

#include "base/bytes.h"

#define MVCC_KEY_BYTES_MAX ((size_t)64 << 20)

enum mvcc_span_kind { MVCC_SPAN_KEY, MVCC_SPAN_RANGE, MVCC_SPAN_FROM };

struct mvcc_span {
    struct bytes key;
    struct bytes end; /* of MVCC_SPAN_RANGE */
    enum mvcc_span_kind kind;
};

static inline struct mvcc_span mvcc_span_of(struct bytes key, struct bytes range_end)
{
    struct mvcc_span span = {.key = key, .kind = MVCC_SPAN_KEY};
    if (range_end.len == 1 && range_end.data[0] == 0) {
        span.kind = MVCC_SPAN_FROM;
    } else if (range_end.len > 0) {
        span.kind = MVCC_SPAN_RANGE;
        span.end = range_end;
    }
    return span;
}

/* All keys there are. */
#define MVCC_SPAN_ALL ((struct mvcc_span){.key = BYTES_NONE, .kind = MVCC_SPAN_FROM})

static inline bool mvcc_span_has(const struct mvcc_span *self, struct bytes key)
{
    if (self->kind == MVCC_SPAN_KEY)
        return bytes_equal(key, self->key);
    if (bytes_compare(key, self->key) < 0)
        return false;
    return self->kind == MVCC_SPAN_FROM || bytes_compare(key, self->end) < 0;
}
