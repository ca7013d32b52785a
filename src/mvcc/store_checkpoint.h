/* Between the store and its checkpoints (checkpoint.h): what is written into one, what is loaded
 * from one. */
#pragma once

#include "mvcc/checkpoint.h"
#include "mvcc/store.h"

/* Where the store thread takes a checkpoint's contents from. Owns its place between two slices;
 * the store outlives it.
 * Thread: init and done, any one; the source's functions, the store thread. */
struct mvcc_checkpoint_source {
    struct checkpoint_source source; /* for stage_store_set_source */
    const struct mvcc_store *store;
    struct epoch *epoch;
    int kind;       /* of the items that come next */
    int bucket;     /* of the entry given last */
    bool passed;    /* the key below has been given */
    struct buf key; /* to go on from */
};

void mvcc_checkpoint_source_init(struct mvcc_checkpoint_source *self,
                                 const struct mvcc_store *store, struct epoch *epoch);
void mvcc_checkpoint_source_done(struct mvcc_checkpoint_source *self);

/* Loads all heads and entries into a new store (mvcc_store_new), before any replay.
 * Fails: ERR_CORRUPT; the store is then of no use any more. */
MUST err mvcc_store_load_checkpoint(struct mvcc_store *self, struct checkpoint_reader *reader);
