/* Transactions: each change becomes a record in the tail, then a head in the index. */
#include "base/check.h"
#include "mvcc/store.h"
#include "mvcc/store_state.h"

void mvcc_txn_begin(struct mvcc_store *self)
{
    CHECK(self->open && !self->in_txn);
    self->in_txn = true;
    self->txn_changes = 0;
}

int64_t mvcc_txn_end(struct mvcc_store *self)
{
    CHECK(self->in_txn);
    self->revision = mvcc_txn_revision(self);
    self->in_txn = false;
    self->txn_changes = 0;
    return self->revision;
}

int64_t mvcc_txn_revision(const struct mvcc_store *self)
{
    return self->revision + (self->txn_changes > 0);
}

uint32_t mvcc_txn_changes(const struct mvcc_store *self)
{
    return self->txn_changes;
}

/* Room in the tail for the record that store_append takes next. */
static uint8_t *store_blob(struct mvcc_store *self, size_t bytes)
{
    return tail_blob_reserve(self->tail, bytes);
}

static void store_append(struct mvcc_store *self, struct mvcc_record *record)
{
    record->seq = self->seq + 1;
    tail_append(self->tail, record);
    self->seq = record->seq;
}

/* A change of a key: the record, then the head that readers find it by. */
static void store_change(struct mvcc_store *self, const struct mvcc_kv *kv, enum mvcc_kind kind,
                         const struct mvcc_head *before, struct mvcc_change *ret_change)
{
    bool live = kind == MVCC_PUT;
    int64_t main = self->revision + 1;
    size_t blob_bytes = mvcc_kv_bytes(kv);
    uint8_t *blob = store_blob(self, blob_bytes);
    mvcc_kv_encode(kv, blob);
    struct mvcc_record record = {
        .prev = before->seq,
        .main = main,
        .sub = self->txn_changes,
        .blob = bytes_of(blob, blob_bytes),
        .kind = (uint8_t)kind,
        .birth = live && !mvcc_head_is_live(before),
    };
    store_append(self, &record);
    struct mvcc_head head = {
        .seq = record.seq,
        .main = main,
        .create = kv->create,
        .version = kv->version,
        .lease = kv->lease,
        .blob_bytes = (uint32_t)blob_bytes,
    };
    mvcc_index_put(self->index, kv->key, &head, self->floor);
    self->txn_changes++;
    if (!ret_change)
        return;
    *ret_change =
        (struct mvcc_change){.seq = record.seq, .main = main, .sub = record.sub, .before = *before};
    ret_change->before.rungs = NULL;
    ret_change->before.rung_count = 0;
}

err mvcc_txn_put(struct mvcc_store *self, const struct mvcc_put *put,
                 struct mvcc_change *ret_change)
{
    CHECK(self->in_txn);
    struct mvcc_head before;
    if (!mvcc_index_find(self->index, put->key, &before))
        before = (struct mvcc_head){0};
    bool live = mvcc_head_is_live(&before);
    if ((put->ignore_value || put->ignore_lease) && !live)
        return ERR_KEY_NOT_FOUND;
    struct mvcc_kv kv = {
        .key = put->key,
        .value = put->value,
        .mod = self->revision + 1,
        .version = live ? before.version + 1 : 1,
        .lease = put->ignore_lease ? before.lease : put->lease,
    };
    kv.create = live ? before.create : kv.mod;
    if (put->ignore_value) {
        struct mvcc_record record;
        struct mvcc_kv old;
        TRY(revlog_read(self->log, before.seq, &record, NULL));
        TRY(mvcc_kv_decode(record.blob, &old));
        kv.value = old.value;
    }
    if (put->key.len > MVCC_KEY_BYTES_MAX || mvcc_kv_bytes(&kv) > MVCC_BLOB_BYTES_MAX)
        return ERR_REQUEST_TOO_LARGE;
    store_change(self, &kv, MVCC_PUT, &before, ret_change);
    return OK;
}

/* ── Deleting a span ────────────────────────────────────────────────────────────────────────── */

void mvcc_delete_init(struct mvcc_delete *self, const struct mvcc_span *span)
{
    *self = (struct mvcc_delete){.span = *span};
    buf_init(&self->at, 0);
}

void mvcc_delete_done(struct mvcc_delete *self)
{
    buf_done(&self->at);
}

/* Deletes the key in del->at. */
static void delete_one(struct mvcc_store *self, struct mvcc_delete *del,
                       const struct mvcc_head *before)
{
    struct mvcc_kv kv = {.key = buf_bytes(&del->at)};
    struct mvcc_change change;
    store_change(self, &kv, MVCC_TOMBSTONE, before, &change);
    del->deleted++;
    if (del->on_deleted)
        del->on_deleted(del->ctx, kv.key, &change);
}

static void delete_remember(struct mvcc_delete *del, const struct mvcc_cursor *cursor)
{
    size_t bytes = mvcc_cursor_key_bytes(cursor);
    buf_clear(&del->at);
    err e = buf_reserve(&del->at, bytes + 1);
    CHECK(err_ok(e));
    mvcc_cursor_key(cursor, del->at.data);
    del->at.len = bytes;
}

bool mvcc_txn_delete_run(struct mvcc_store *self, struct mvcc_delete *del, unsigned *budget)
{
    CHECK(self->in_txn);
    struct mvcc_span *span = &del->span;
    struct mvcc_cursor cursor;
    mvcc_cursor_seek(&cursor, mvcc_index_root(self->index),
                     del->started ? buf_bytes(&del->at) : span->key);
    while (*budget > 0 && mvcc_cursor_valid(&cursor)) {
        if ((span->kind == MVCC_SPAN_RANGE && mvcc_cursor_compare(&cursor, span->end) >= 0) ||
            (span->kind == MVCC_SPAN_KEY && mvcc_cursor_compare(&cursor, span->key) != 0))
            return true;
        --*budget;
        struct mvcc_head before;
        mvcc_cursor_head(&cursor, &before);
        if (!mvcc_head_is_live(&before)) {
            mvcc_cursor_next(&cursor);
            continue;
        }
        delete_remember(del, &cursor);
        delete_one(self, del, &before);
        /* The death may have moved every node: go on from the key's immediate successor. */
        del->at.data[del->at.len++] = 0;
        del->started = true;
        mvcc_cursor_seek(&cursor, mvcc_index_root(self->index), buf_bytes(&del->at));
    }
    if (!mvcc_cursor_valid(&cursor))
        return true;
    delete_remember(del, &cursor);
    del->started = true;
    return false;
}

/* ── Small buckets ──────────────────────────────────────────────────────────────────────────── */

static void bucket_change(struct mvcc_store *self, enum mvcc_kind kind, enum mvcc_bucket bucket,
                          struct bytes key, struct bytes value)
{
    CHECK(self->open && bucket > MVCC_BUCKET_KEY && bucket < MVCC_BUCKET_COUNT);
    uint8_t *blob = store_blob(self, key.len + value.len);
    memcpy(blob, key.data, key.len);
    if (value.len)
        memcpy(blob + key.len, value.data, value.len);
    struct mvcc_record record = {
        .prev = mvcc_buckets_seq(self->buckets, bucket, key),
        .main = mvcc_txn_revision(self),
        .blob = bytes_of(blob, key.len + value.len),
        .bucket_key_bytes = (uint32_t)key.len,
        .kind = (uint8_t)kind,
        .bucket = (uint8_t)bucket,
    };
    store_append(self, &record);
}

void mvcc_store_bucket_put(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key,
                           struct bytes value)
{
    bucket_change(self, MVCC_BUCKET_PUT, bucket, key, value);
    mvcc_buckets_put(self->buckets, bucket, key, value, self->seq);
}

bool mvcc_store_bucket_delete(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key)
{
    if (mvcc_buckets_seq(self->buckets, bucket, key) == 0)
        return false;
    bucket_change(self, MVCC_BUCKET_DELETE, bucket, key, BYTES_NONE);
    return mvcc_buckets_remove(self->buckets, bucket, key);
}
