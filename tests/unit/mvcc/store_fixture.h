/* What the tests of the store share: a store on a revision log in memory, and a model that keeps
 * every version of every key in one plain list. */
#pragma once

#include "base/check.h"
#include "base/crc.h"
#include "base/prng.h"
#include "mvcc/hash.h"
#include "mvcc/range.h"
#include "mvcc/revlog_memory.h"
#include "mvcc/store.h"
#include "mvcc/store_checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants the four above it */
#include <cmocka.h>

static const struct segment_owner rig_owner = {1, 2};

#define MUST_OK(e) assert_true(err_ok(e))

struct rig {
    struct epoch epoch;
    struct epoch_slot *slot;
    struct tail *tail;
    struct revlog *log;
    struct revlog_memory *memory;
    struct mvcc_store *store;
};

static inline void rig_init(struct rig *self, size_t segment_bytes)
{
    *self = (struct rig){0};
    epoch_init(&self->epoch);
    self->slot = epoch_register(&self->epoch);
    struct tail_limits limits = {.keep_bytes = 1};
    self->tail = tail_new(&self->epoch, 0, &limits);
    self->log = revlog_new(&self->epoch, self->tail);
    self->memory = revlog_memory_new(&self->epoch, self->log, self->tail, segment_bytes);
    struct mvcc_store_config config = {&self->epoch, self->log, self->tail};
    self->store = mvcc_store_new(&config);
    MUST_OK(mvcc_store_open(self->store, 0, 1));
}

static inline void rig_reclaim(struct rig *self)
{
    while (epoch_reclaim(&self->epoch, 1000))
        ;
}

static inline void rig_done(struct rig *self)
{
    mvcc_store_free(self->store);
    rig_reclaim(self);
    revlog_memory_free(self->memory);
    revlog_free(self->log);
    tail_free(self->tail);
    epoch_done(&self->epoch);
}

static inline void rig_publish(struct rig *self)
{
    mvcc_store_publish(self->store);
    mvcc_store_retire(self->store);
}

/* All changes into segments, as the store thread does it, and synced. */
static inline void rig_flush(struct rig *self)
{
    struct mvcc_frame frame = {.seq = mvcc_store_seq(self->store),
                               .revision = mvcc_store_revision(self->store),
                               .compact_revision = mvcc_store_compact_revision(self->store)};
    if (frame.seq > revlog_written_seq(self->log))
        revlog_memory_flush(self->memory, &frame);
    mvcc_store_synced(self->store, frame.seq);
}

static inline void rig_sweep(struct rig *self, unsigned budget)
{
    struct revlog_fault fault;
    bool more;
    MUST_OK(mvcc_store_sweep(self->store, &budget, &more, &fault));
}

/* Until the newest compaction has finished; no pins may be held. */
static inline void rig_sweep_all(struct rig *self)
{
    for (int i = 0; i < 100000 && !mvcc_store_is_swept(self->store); i++) {
        rig_publish(self);
        rig_reclaim(self);
        rig_flush(self);
        rig_sweep(self, 100);
    }
    assert_true(mvcc_store_is_swept(self->store));
    rig_publish(self);
}

/* A new store from a checkpoint (empty: none) and what the log holds above it. */
static inline void rig_reopen_from(struct rig *self, struct bytes checkpoint)
{
    rig_flush(self);
    uint64_t seq = mvcc_store_seq(self->store);
    mvcc_store_free(self->store);
    struct mvcc_store_config config = {&self->epoch, self->log, self->tail};
    self->store = mvcc_store_new(&config);
    uint64_t from = 0;
    int64_t revision = 1;
    if (checkpoint.len) {
        struct checkpoint_reader reader;
        MUST_OK(checkpoint_reader_init(&reader, rig_owner, checkpoint));
        MUST_OK(mvcc_store_load_checkpoint(self->store, &reader));
        from = reader.info.seq;
        revision = reader.info.revision;
        checkpoint_reader_done(&reader);
    }
    for (bool done = false; !done;) {
        unsigned budget = 100;
        struct revlog_fault fault;
        MUST_OK(mvcc_store_replay_log(self->store, &from, seq, &budget, &done, &fault));
    }
    struct revlog_row row;
    if (seq && err_ok(revlog_row(self->log, seq, &row, NULL)))
        revision = row.main;
    MUST_OK(mvcc_store_open(self->store, seq, revision));
    mvcc_store_synced(self->store, seq);
}

static inline void rig_reopen(struct rig *self)
{
    rig_reopen_from(self, BYTES_NONE);
}

static inline int64_t rig_put(struct rig *self, const char *key, const char *value)
{
    struct mvcc_put put = {.key = bytes_str(key), .value = bytes_str(value)};
    mvcc_txn_begin(self->store);
    MUST_OK(mvcc_txn_put(self->store, &put, NULL));
    return mvcc_txn_end(self->store);
}

static inline int64_t rig_delete(struct rig *self, const char *key, const char *end)
{
    struct mvcc_span span = mvcc_span_of(bytes_str(key), bytes_str(end));
    struct mvcc_delete del;
    unsigned budget = 1000;
    mvcc_txn_begin(self->store);
    mvcc_delete_init(&del, &span);
    assert_true(mvcc_txn_delete_run(self->store, &del, &budget));
    mvcc_delete_done(&del);
    return mvcc_txn_end(self->store);
}

/* HashKV in the newest view, in slices of so many rows. */
static inline err rig_hash(struct rig *self, int64_t revision, unsigned slice,
                           struct mvcc_hash *ret_hash)
{
    const struct mvcc_view *view = mvcc_store_view(self->store);
    struct mvcc_hash hash;
    TRY(mvcc_hash_begin(&hash, view, revision));
    for (bool done = false; !done;) {
        unsigned budget = slice;
        MUST_OK(mvcc_hash_run(&hash, view, &budget, &done));
    }
    mvcc_hash_done(&hash);
    *ret_hash = hash;
    return OK;
}

/* ── The model ──────────────────────────────────────────────────────────────────────────────── */

#define MODEL_KEYS    48
#define MODEL_CHANGES 20000

struct model_change {
    uint64_t seq;
    int64_t main, create, version, lease;
    uint32_t sub;
    unsigned key;
    bool tombstone;
    char value[12];
};

struct model {
    struct model_change changes[MODEL_CHANGES];
    size_t count;
    int64_t revision, compact_revision;
    uint32_t compact_hashes[MODEL_CHANGES]; /* by revision */
};

static inline struct bytes model_key(unsigned key)
{
    static char names[MODEL_KEYS][32];
    if (!names[key][0])
        snprintf(names[key], sizeof(names[key]), "/registry/%s/%03u", key % 3 ? "pods" : "leases",
                 key);
    return bytes_str(names[key]);
}

static inline int model_order(const void *a, const void *b)
{
    return bytes_compare(model_key(*(const unsigned *)a), model_key(*(const unsigned *)b));
}

/* All keys in byte order. */
static inline void model_sorted_keys(unsigned *keys)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        keys[i] = i;
    qsort(keys, MODEL_KEYS, sizeof(*keys), model_order);
}

/* The change of a key that shows at s; NULL where it is not there. */
static inline const struct model_change *model_at(const struct model *self, unsigned key,
                                                  uint64_t s)
{
    for (size_t i = self->count; i > 0; i--) {
        const struct model_change *change = &self->changes[i - 1];
        if (change->key == key && change->seq <= s)
            return change->tombstone ? NULL : change;
    }
    return NULL;
}

/* The last change up to a revision, of any key. */
static inline uint64_t model_seq_of(const struct model *self, int64_t revision)
{
    for (size_t i = self->count; i > 0; i--)
        if (self->changes[i - 1].main <= revision)
            return self->changes[i - 1].seq;
    return 0;
}

static inline struct model_change *model_add(struct model *self, unsigned key)
{
    assert_true(self->count < MODEL_CHANGES);
    struct model_change *change = &self->changes[self->count++];
    *change = (struct model_change){.key = key};
    return change;
}

static inline struct mvcc_kv model_kv(const struct model_change *change)
{
    if (change->tombstone)
        return (struct mvcc_kv){.key = model_key(change->key)};
    return (struct mvcc_kv){.key = model_key(change->key),
                            .value = bytes_str(change->value),
                            .create = change->create,
                            .mod = change->main,
                            .version = change->version,
                            .lease = change->lease};
}

static inline uint32_t model_hash_change(uint32_t hash, const struct model_change *change)
{
    uint8_t key[18] = {0};
    uint8_t blob[128];
    struct mvcc_kv kv = model_kv(change);
    bytes_put_be64(key, (uint64_t)change->main);
    key[8] = '_';
    bytes_put_be64(key + 9, change->sub);
    key[17] = 't';
    mvcc_kv_encode(&kv, blob);
    hash = crc32c(hash, bytes_of(key, change->tombstone ? 18 : 17));
    return crc32c(hash, bytes_of(blob, mvcc_kv_bytes(&kv)));
}

/* Is this the newest change of its key up to that revision? */
static inline bool model_is_newest(const struct model *self, const struct model_change *change,
                                   int64_t revision)
{
    for (size_t i = self->count; i > 0; i--)
        if (self->changes[i - 1].key == change->key && self->changes[i - 1].main <= revision)
            return &self->changes[i - 1] == change;
    return false;
}

/* etcd's rule word for word: what a finished compaction to C leaves in the bucket, then the steps
 * of HashKV; with_tombstones: the keep set of the hash that a compaction stores. */
static inline uint32_t model_hash(const struct model *self, int64_t r, int64_t c,
                                  bool with_tombstones)
{
    bool any_kept = false;
    for (size_t i = 0; i < self->count; i++) {
        const struct model_change *change = &self->changes[i];
        if (change->main <= r && model_is_newest(self, change, r))
            any_kept = any_kept || !change->tombstone || (with_tombstones && change->main == r);
    }
    uint32_t hash = crc32c(0, BYTES_LIT("key"));
    for (size_t i = 0; i < self->count; i++) {
        const struct model_change *change = &self->changes[i];
        if (change->main > r)
            continue;
        if (change->main <= c) {
            bool there =
                model_is_newest(self, change, c) && (!change->tombstone || change->main == c);
            bool kept = model_is_newest(self, change, r) &&
                        (!change->tombstone || (with_tombstones && change->main == r));
            if (!there || (any_kept && !kept) || (change->tombstone && change->main == c))
                continue;
        }
        hash = model_hash_change(hash, change);
    }
    return hash;
}
