/* The store's insides, for store*.c alone. */
#pragma once

#include "mvcc/hash.h"
#include "mvcc/index.h"
#include "mvcc/store.h"
#include "mvcc/store_bucket.h"

/* What a compaction goes through; the function behind each arrow is in store_compact.c.
 *
 *     IDLE ──compact──> SCHEDULED ──retire──> GRACE ──guards gone──> HASH ──> MARK ──> TRIM ──>
 * IDLE
 *
 * SCHEDULED  no view shows it yet
 * GRACE      readers of older views may still take pins below it
 * HASH       folds the hash that is kept, before anything vanishes (left out where the compaction
 *            before had not finished)
 * MARK       marks rows dead up to the floor; waits for pins and syncs
 * TRIM       takes away ladders that the floor passed */
enum compact_phase {
    COMPACT_IDLE,
    COMPACT_SCHEDULED,
    COMPACT_GRACE,
    COMPACT_HASH,
    COMPACT_MARK,
    COMPACT_TRIM
};

/* Tells that all guards of a moment are gone. Outlives the store where it must. */
struct store_grace {
    struct epoch_item retired; /* first */
    struct mvcc_store *store;  /* NULL: the store is gone */
};

struct store_compaction {
    int64_t revision;
    uint64_t seq;   /* the last change at or below it */
    uint64_t noted; /* the change that says scheduledCompactRev */
    int64_t previous_revision;
    uint64_t previous_seq;
    bool hashed; /* its hash is to be kept */
};

struct mvcc_store {
    struct epoch *epoch;
    struct revlog *log;
    struct tail *tail;
    struct mvcc_index *index;
    struct mvcc_buckets *buckets;

    uint64_t seq;
    int64_t revision;
    int64_t compact_revision;
    uint64_t compact_seq;
    bool in_txn;
    uint32_t txn_changes;

    bool loading; /* heads may still be loaded */
    bool open;
    uint64_t replay_first; /* the first seq that was replayed; 0: none */
    uint64_t loaded_floor; /* of the checkpoint; 0: none */

    _Atomic(struct mvcc_view *) view;
    struct mvcc_view *replaced; /* by views that were published since the last retire */
    struct mvcc_pins pins;

    uint64_t floor;
    uint64_t synced_seq;
    enum compact_phase phase;
    struct store_compaction compaction; /* in progress unless IDLE */
    struct store_compaction next;       /* waits for it; revision -2: none */
    struct store_grace *grace;
    struct mvcc_hash hash;
    uint64_t mark_next;   /* the first row that is not yet looked at */
    uint64_t swept_count; /* changes that compactions have let go since the store was opened */
    uint64_t mark_first;  /* where this sweep began; in IDLE, where the next one begins */
    bool trim_started;
    bool note_finish; /* else it was noted before the store was opened */
    unsigned hash_count;
    struct mvcc_compact_hash hashes[MVCC_COMPACT_HASHES_MAX];
};

#define STORE_NO_COMPACTION INT64_C(-2)

/* The names of facts in the bucket meta. */
#define META_SCHEDULED "scheduledCompactRev"
#define META_FINISHED  "finishedCompactRev"
/* A revision as etcd stores it: main, '_', sub 0. */
#define META_REVISION_BYTES 17

/* The guards of views older than the published compaction are asked for. */
void store_compaction_published(struct mvcc_store *self);
/* After the log was replayed: what is to be swept again. finished: the last compaction that had
 * ended, -1: none. Fails: ERR_CORRUPT. */
MUST err store_compaction_resume(struct mvcc_store *self, int64_t finished, int64_t scheduled);
void store_compaction_free(struct mvcc_store *self);
