#include "mvcc/store_import.h"

#include "base/check.h"
#include "mvcc/store_state.h"

static void import_append(struct mvcc_store *self, struct mvcc_record *record)
{
    record->seq = self->seq + 1;
    tail_append(self->tail, record);
    self->seq = record->seq;
}

/* The head of a put or tombstone that names its key. Fails: ERR_CORRUPT. */
static err import_head(const struct mvcc_record *record, struct bytes *ret_key,
                       struct mvcc_head *ret_head)
{
    struct mvcc_kv kv;
    bool live = record->kind == MVCC_PUT;
    TRY(mvcc_record_key(record, ret_key));
    TRY(mvcc_kv_decode(record->blob, &kv));
    if (ret_key->len == 0 || ret_key->len > MVCC_KEY_BYTES_MAX || !bytes_equal(*ret_key, kv.key))
        return ERR_CORRUPT;
    if (live && (kv.mod != record->main || kv.create <= 0 || kv.create > kv.mod || kv.version <= 0))
        return ERR_CORRUPT;
    *ret_head = (struct mvcc_head){
        .main = record->main,
        .create = live ? kv.create : 0,
        .version = live ? kv.version : 0,
        .lease = live ? kv.lease : 0,
        .blob_bytes = (uint32_t)record->blob.len,
    };
    return OK;
}

err mvcc_store_import(struct mvcc_store *self, const struct mvcc_import *change)
{
    CHECK(!self->open && !self->in_txn);
    if (change->main <= 0 || change->sub > UINT32_MAX || change->blob.len > MVCC_BLOB_BYTES_MAX ||
        self->seq == MVCC_SEQ_MAX)
        return ERR_CORRUPT;
    if (change->main < self->revision ||
        (change->main == self->revision && self->seq > 0 && change->sub < self->txn_changes))
        return ERR_CORRUPT;
    struct mvcc_record record = {
        .main = change->main,
        .sub = (uint32_t)change->sub,
        .blob = change->blob,
        .kind = change->tombstone ? MVCC_TOMBSTONE : MVCC_PUT,
    };
    if (change->blob.len || change->tombstone) {
        struct bytes key;
        struct mvcc_head head, before = {0};
        TRY(import_head(&record, &key, &head));
        (void)mvcc_index_find(self->index, key, &before);
        record.prev = before.seq;
        /* What a compaction left of a key may be the first that is here, and no birth. */
        record.birth = head.version == 1 && !mvcc_head_is_live(&before);
        import_append(self, &record);
        head.seq = record.seq;
        mvcc_index_put(self->index, key, &head, 0);
    } else {
        import_append(self, &record);
    }
    self->revision = change->main;
    self->txn_changes = record.sub + 1; /* the least that the next one of this revision may have */
    return OK;
}

err mvcc_store_import_bucket(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key,
                             struct bytes value)
{
    CHECK(!self->open && bucket > MVCC_BUCKET_KEY && bucket < MVCC_BUCKET_COUNT);
    if (value.len > MVCC_BLOB_BYTES_MAX || key.len > MVCC_BLOB_BYTES_MAX - value.len)
        return ERR_CORRUPT;
    uint8_t *blob = tail_blob_reserve(self->tail, key.len + value.len);
    if (key.len)
        memcpy(blob, key.data, key.len);
    if (value.len)
        memcpy(blob + key.len, value.data, value.len);
    struct mvcc_record record = {
        .prev = mvcc_buckets_seq(self->buckets, bucket, key),
        .main = self->revision,
        .blob = bytes_of(blob, key.len + value.len),
        .bucket_key_bytes = (uint32_t)key.len,
        .kind = MVCC_BUCKET_PUT,
        .bucket = (uint8_t)bucket,
    };
    import_append(self, &record);
    mvcc_buckets_put(self->buckets, bucket, key, value, self->seq);
    return OK;
}

err mvcc_store_import_end(struct mvcc_store *self)
{
    self->txn_changes = 0;
    return mvcc_store_open(self, self->seq, self->revision);
}
