/* HashKV of the plain store, from the committed entries alone: every change in its order, as the
 * bytes that etcd's hash sees. What counts is said in mvcc/hash.h; this is the same read once more,
 * with another encoder and without dead bits, sweeps and segments. */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_row {
    int64_t main;
    uint32_t sub;
    uint32_t crc;
    uint64_t crc_bytes;
    int64_t next_main; /* of the same key's next change; INT64_MAX: none yet */
    bool deleted;
};

struct model_rows {
    struct model_row *rows;
    size_t count, cap;
};

/* create 0: a deletion. before: the key's change before, or SIZE_MAX. Returns the row's number. */
size_t model_rows_add(struct model_rows *self, struct bytes key, int64_t main, int64_t create,
                      int64_t version, struct bytes value, int64_t lease, size_t before);
enum model_hash_of {
    MODEL_HASH_OF_REVISION,
    MODEL_HASH_OF_COMPACTION, /* what one to `revision` leaves behind */
    MODEL_HASH_OF_ALL         /* as the rpc Hash sees the keys */
};
/* The last revision up to there at which a key went; else the first. */
int64_t model_rows_deletion_before(const struct model_rows *self, int64_t revision);
/* hash: of what comes before the changes. */
uint32_t model_rows_hash(const struct model_rows *self, enum model_hash_of of, uint32_t hash,
                         int64_t revision, int64_t compacted);
