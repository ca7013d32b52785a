/* The store of one member: keys with their revisions, and the small buckets.
 *
 *     closed ──new──> loading ──open──> open ──begin──> in a txn ──end──> open ──publish──> …
 *
 * Transactions come one after the other. Each change gets the next seq, goes into the tail and into
 * the index being built; nobody sees it before mvcc_store_publish, which shows all txns of the
 * batch at once. A txn that changed keys takes the next main revision, sub counts its changes
 * from 0; one that changed none leaves the revision as it was.
 *
 * 1. The revision is 1 in an empty store, the first write makes 2; compact_revision is -1 at first.
 * 2. A failing call has changed nothing.
 * 3. Publishing is legal only outside a txn.
 * 4. Equal calls give equal revisions, sub-revisions, blobs and errors, on every member. seqs are
 *    local (background facts of compaction take some).
 *
 * Thread: the core, but where a function says otherwise.
 * Source: etcd's interface, "Backend buckets", "Store", "Keys and ranges". */
#pragma once

#include "base/buf.h"
#include "mvcc/view.h"
#include "mvcc/view_pin.h"

struct mvcc_store;

struct mvcc_store_config {
    struct epoch *epoch; /* all four borrowed, outliving the store */
    struct revlog *log;  /* its tail is where changes go */
    struct tail *tail;
};

struct mvcc_store *mvcc_store_new(const struct mvcc_store_config *config);
/* No reader may be left. NULL is legal. */
void mvcc_store_free(struct mvcc_store *self);

/* ── Opening ──────────────────────────────────────────────────────────────────────────────────
 * Heads and bucket entries of a checkpoint (keys ascending within each), or none; then every record
 * of the log above it in seq order; then mvcc_store_open. */

/* A head as the checkpoint holds it; dead ones too. CHECK: ascending. */
void mvcc_store_load_head(struct mvcc_store *self, struct bytes key, const struct mvcc_head *head);
void mvcc_store_load_bucket(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key,
                            struct bytes value, uint64_t seq);
/* A change not newer than what is there is ignored (checkpoints are fuzzy). The first call ends
 * the loading of heads. Fails: ERR_CORRUPT. */
MUST err mvcc_store_replay(struct mvcc_store *self, const struct mvcc_record *record);
/* Replays (from, to] out of the log, at most *budget records, which it counts down; *from moves on.
 * *ret_done at the end. Fails: ERR_CORRUPT with the place in *fault. */
MUST err mvcc_store_replay_log(struct mvcc_store *self, uint64_t *from, uint64_t to,
                               unsigned *budget, bool *ret_done, struct revlog_fault *fault);
/* last_seq: the greatest seq of all that was loaded, revision at least that of the last record or
 * frame. The revision becomes the greatest of it, the finished and the scheduled compaction; a
 * scheduled compaction that had not finished goes on from where the dead bits allow. Publishes. */
MUST err mvcc_store_open(struct mvcc_store *self, uint64_t last_seq, int64_t revision);

/* ── Transactions ───────────────────────────────────────────────────────────────────────────── */

void mvcc_txn_begin(struct mvcc_store *self);

struct mvcc_put {
    struct bytes key;
    struct bytes value;
    int64_t lease;
    bool ignore_value; /* the value stays; value is not looked at */
    bool ignore_lease;
};
/* What a put or a deletion of one key did. */
struct mvcc_change {
    uint64_t seq;
    int64_t main;
    uint32_t sub;
    struct mvcc_head before; /* of the key; not live where there was none (rungs are not set) */
};
/* ret_change may be NULL. Fails: ERR_KEY_NOT_FOUND (ignore_* and no such key), ERR_CORRUPT (of the
 * previous value), ERR_REQUEST_TOO_LARGE (key or value above what a record can hold). */
MUST err mvcc_txn_put(struct mvcc_store *self, const struct mvcc_put *put,
                      struct mvcc_change *ret_change);

/* Deletes a span in slices; between them the txn stays open and nothing else is called on it.
 * span's bytes stay as they are until it is done. Keys go in byte order. */
struct mvcc_delete {
    struct mvcc_span span;
    /* Called for each key deleted, with what it was; may be NULL. */
    void (*on_deleted)(void *ctx, struct bytes key, const struct mvcc_change *change);
    void *ctx;
    int64_t deleted;
    struct buf at; /* inside: the key to go on from */
    bool started;
};
void mvcc_delete_init(struct mvcc_delete *self, const struct mvcc_span *span);
void mvcc_delete_done(struct mvcc_delete *self);
/* Looks at no more than *budget keys and counts them down; true: done. */
bool mvcc_txn_delete_run(struct mvcc_store *self, struct mvcc_delete *del, unsigned *budget);

/* The current revision. */
int64_t mvcc_txn_end(struct mvcc_store *self);

/* The revision as the ops of the open txn answer it: the new one once there is a change. */
int64_t mvcc_txn_revision(const struct mvcc_store *self);
/* Changes of keys that the open txn made. */
uint32_t mvcc_txn_changes(const struct mvcc_store *self);

/* An entry of a small bucket, in a txn or outside; takes a seq, no revision. */
void mvcc_store_bucket_put(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key,
                           struct bytes value);
/* False: there was none; nothing is written. */
bool mvcc_store_bucket_delete(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key);

/* ── Reading on the core, what is not yet published included ────────────────────────────────── */

int64_t mvcc_store_revision(const struct mvcc_store *self);
int64_t mvcc_store_compact_revision(const struct mvcc_store *self);
/* The last seq given out: what an op of a txn sees (a promised range reads at it). */
uint64_t mvcc_store_seq(const struct mvcc_store *self);
/* The newest change of a key; false where it is not there or dead. */
bool mvcc_store_find(const struct mvcc_store *self, struct bytes key, struct mvcc_head *ret_head);
/* A view of the moment, valid until the next change; for ranges and values in compares. */
void mvcc_store_peek(const struct mvcc_store *self, struct mvcc_view *ret_view);

/* ── Publishing ─────────────────────────────────────────────────────────────────────────────── */

/* Shows all changes up to now. The view lives until it is replaced and the guards of then are gone:
 * where an outer view carries the pointer, publish that one between the two calls. */
const struct mvcc_view *mvcc_store_publish(struct mvcc_store *self);
/* Gives back what the last publish replaced. Call after whatever carries the view was swapped. */
void mvcc_store_retire(struct mvcc_store *self);
/* The newest view. Thread: any, under a guard. */
const struct mvcc_view *mvcc_store_view(const struct mvcc_store *self);
struct mvcc_pins *mvcc_store_pins(struct mvcc_store *self);

/* ── Compaction ───────────────────────────────────────────────────────────────────────────────
 * mvcc_store_compact makes revisions below `revision` unreadable from the next view on and notes
 * scheduledCompactRev. mvcc_store_sweep then, in slices: waits for the guards of older views, makes
 * the hash that is kept (hash.h), marks dead what the floor has passed, takes dead keys out of the
 * index and notes finishedCompactRev.
 *
 * floor = min(seq of the compaction, oldest pin, synced seq). */

/* Legal outside a txn. Fails: ERR_COMPACTED (at or below the compacted revision), ERR_FUTURE_REV,
 * ERR_CORRUPT (where the revision lies).
 */
MUST err mvcc_store_compact(struct mvcc_store *self, int64_t revision);
/* All changes up to seq are synced in the revision log. It only grows. */
void mvcc_store_synced(struct mvcc_store *self, uint64_t seq);
/* Legal outside a txn; looks at no more than *budget rows (2,000 of them take about half a
 * millisecond). *ret_more: call again soon (false: until
 * a pin, a sync or a compaction moves the floor). What it did to the index is seen with the next
 * publish. Fails: ERR_CORRUPT. */
MUST err mvcc_store_sweep(struct mvcc_store *self, unsigned *budget, bool *ret_more,
                          struct revlog_fault *fault);
/* Has the newest compaction finished (what Compact with `physical` waits for)? */
bool mvcc_store_is_swept(const struct mvcc_store *self);
/* Changes that compactions have let go since the store was opened. */
uint64_t mvcc_store_swept_count(const struct mvcc_store *self);
uint64_t mvcc_store_floor(const struct mvcc_store *self);
/* All marks up to it are made: never above the floor. What dies in one sweep is there as a whole
 * or, as long as this says so, not to be counted on. */
uint64_t mvcc_store_swept_seq(const struct mvcc_store *self);
