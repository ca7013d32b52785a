/* The contents of the small buckets: a tree of bucket byte ‖ key with the values beside it, whose
 * roots show the buckets as they were when the root was published (no prev here: an older state is
 * asked for by nobody).
 * Thread: the core; a published root, any thread under a guard. */
#pragma once

#include "mvcc/index.h"
#include "mvcc/record.h"

struct mvcc_buckets;

struct mvcc_buckets *mvcc_buckets_new(struct epoch *epoch);
/* No reader may be left. NULL is legal. */
void mvcc_buckets_free(struct mvcc_buckets *self);

void mvcc_buckets_put(struct mvcc_buckets *self, enum mvcc_bucket bucket, struct bytes key,
                      struct bytes value, uint64_t seq);
/* The seq of the entry's last change; 0 where there is no entry. */
uint64_t mvcc_buckets_seq(const struct mvcc_buckets *self, enum mvcc_bucket bucket,
                          struct bytes key);
/* False: there was none. */
bool mvcc_buckets_remove(struct mvcc_buckets *self, enum mvcc_bucket bucket, struct bytes key);
const struct tree_node *mvcc_buckets_root(const struct mvcc_buckets *self);
/* As mvcc_index_publish and mvcc_index_retire. */
const struct tree_node *mvcc_buckets_publish(struct mvcc_buckets *self);
void mvcc_buckets_retire(struct mvcc_buckets *self);
