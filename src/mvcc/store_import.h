/* Filling an empty store with what another one held: entries of its small buckets, and the changes
 * of its keys with their own revisions. Between mvcc_store_new and mvcc_store_open,
 * instead of loading; each becomes a change in the tail, which the caller has written out in time.
 *
 * What comes may be anything: what no store can hold is refused.
 * Thread: the core's, or whoever builds the store. */
#pragma once

#include "mvcc/store.h"

/* A change as etcd's bucket key has it. A put without any bytes is what etcd's restore leaves where
 * it raises the revision: it counts in the hash, and no key has it. */
struct mvcc_import {
    int64_t main;
    uint64_t sub;
    bool tombstone;
    struct bytes blob; /* the stored KeyValue */
};

/* (main, sub) ascend. Fails: ERR_CORRUPT. */
MUST err mvcc_store_import(struct mvcc_store *self, const struct mvcc_import *change);
/* Fails: ERR_CORRUPT where key and value are longer than a record can hold. */
MUST err mvcc_store_import_bucket(struct mvcc_store *self, enum mvcc_bucket bucket,
                                  struct bytes key, struct bytes value);
/* Ends it: mvcc_store_open with what was imported. Fails: ERR_CORRUPT. */
MUST err mvcc_store_import_end(struct mvcc_store *self);
