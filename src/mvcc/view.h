/* What a reader sees: the whole store at one seq.
 *
 * The core publishes one view a batch. Whoever holds a guard of the epoch may take the newest one
 * (mvcc_store_view, or the pointer that the replica's view carries) and use all it reaches until
 * the guard is left. Visibility is seq <= s everywhere, with compact_seq <= s <= view->seq; a
 * requested revision is turned into s once a request.
 *
 * Going back: a head whose seq is above s is followed by `prev` through rows or tail, from the
 * ladder's rung nearest above s, so at most MVCC_LADDER_STEP rows.
 *
 * What lasts longer than a guard holds a pin on its s and goes on in the then newest view.
 *
 * Thread: any, under a guard.  Owns: nothing.
 * Errors everywhere: ERR_CORRUPT of stored bytes, with the place in *fault (may be NULL). */
#pragma once

#include "mvcc/index.h"
#include "mvcc/revlog.h"

/* Hashes that compactions left behind (hash.h); newest last. */
#define MVCC_COMPACT_HASHES_MAX 10
struct mvcc_compact_hash {
    int64_t revision;         /* the compaction's */
    int64_t compact_revision; /* the one before it */
    uint32_t hash;
};

struct mvcc_view {
    struct epoch_item retired;
    const struct tree_node *root;    /* of the key index */
    const struct tree_node *buckets; /* of the small buckets */
    const struct revlog *log;
    uint64_t seq;             /* the newest change that is seen */
    uint64_t compact_seq;     /* the last change at or below compact_revision; 0 before the first */
    uint64_t swept_seq;       /* all marks up to it are made: a checkpoint's floor */
    bool is_open;             /* the store has been opened */
    int64_t revision;         /* current; 1 at first */
    int64_t compact_revision; /* -1 before the first compaction */
    unsigned hash_count;
    struct mvcc_compact_hash hashes[MVCC_COMPACT_HASHES_MAX];
};

/* The state of a key at some seq. */
struct mvcc_state {
    uint64_t seq;        /* the change that shows; read it with mvcc_view_read */
    int64_t main;        /* mod_revision */
    uint32_t blob_bytes; /* of the stored KeyValue */
    bool has_meta;       /* the next three are set (they always are where the head itself shows) */
    int64_t create;
    int64_t version;
    int64_t lease;
};

/* The seq at which a request for this revision reads. revision <= 0: the current one.
 * Fails: ERR_FUTURE_REV, ERR_COMPACTED (below the compacted revision; that one itself is read). */
MUST err mvcc_view_seq_of(const struct mvcc_view *self, int64_t revision, uint64_t *ret_seq);

/* The key as it stood at s. *ret_found false: not there or dead; then *ret_state is untouched. */
MUST err mvcc_view_find(const struct mvcc_view *self, struct bytes key, uint64_t s,
                        struct mvcc_state *ret_state, bool *ret_found, struct revlog_fault *fault);
/* The same from a head that was already found. */
MUST err mvcc_view_resolve(const struct mvcc_view *self, const struct mvcc_head *head, uint64_t s,
                           struct mvcc_state *ret_state, bool *ret_found,
                           struct revlog_fault *fault);
/* Sets what has_meta announces, from the stored bytes. */
MUST err mvcc_view_fill(const struct mvcc_view *self, struct mvcc_state *state,
                        struct revlog_fault *fault);
/* The change itself; its blob is lent as revlog_read says. */
MUST err mvcc_view_read(const struct mvcc_view *self, uint64_t seq, struct mvcc_record *ret_record,
                        struct revlog_fault *fault);

/* ── Small buckets: their contents at the view's seq ────────────────────────────────────────── */

bool mvcc_view_bucket_find(const struct mvcc_view *self, enum mvcc_bucket bucket, struct bytes key,
                           struct bytes *ret_value);
struct mvcc_bucket_cursor {
    struct mvcc_cursor at;
    enum mvcc_bucket bucket;
};
/* At the first entry with a key >= key. Entries come in key order. */
void mvcc_bucket_cursor_seek(struct mvcc_bucket_cursor *self, const struct mvcc_view *view,
                             enum mvcc_bucket bucket, struct bytes key);
bool mvcc_bucket_cursor_valid(const struct mvcc_bucket_cursor *self);
void mvcc_bucket_cursor_next(struct mvcc_bucket_cursor *self);
bool mvcc_bucket_cursor_is_at(const struct mvcc_bucket_cursor *self, struct bytes key);
size_t mvcc_bucket_cursor_key_bytes(const struct mvcc_bucket_cursor *self);
void mvcc_bucket_cursor_key(const struct mvcc_bucket_cursor *self, uint8_t *out);
struct bytes mvcc_bucket_cursor_value(const struct mvcc_bucket_cursor *self);
/* Of the entry's last change. */
uint64_t mvcc_bucket_cursor_seq(const struct mvcc_bucket_cursor *self);

/* The fields of a stored KeyValue; key and value are lent out of the blob. */
struct mvcc_kv {
    struct bytes key;
    struct bytes value;
    int64_t create;
    int64_t mod;
    int64_t version;
    int64_t lease;
};
/* Fails: ERR_CORRUPT where the bytes are no mvccpb.KeyValue. */
MUST err mvcc_kv_decode(struct bytes blob, struct mvcc_kv *ret_kv);
/* Canonical bytes: fields ascending, zero ones left out. */
size_t mvcc_kv_bytes(const struct mvcc_kv *self);
void mvcc_kv_encode(const struct mvcc_kv *self, uint8_t *out);
