/* From a checkpoint and the records above it to an open store. */
#include "base/bug.h"
#include "base/check.h"
#include "mvcc/store.h"
#include "mvcc/store_state.h"

void mvcc_store_load_head(struct mvcc_store *self, struct bytes key, const struct mvcc_head *head)
{
    CHECK(self->loading);
    mvcc_index_load(self->index, key, head);
}

void mvcc_store_load_bucket(struct mvcc_store *self, enum mvcc_bucket bucket, struct bytes key,
                            struct bytes value, uint64_t seq)
{
    CHECK(!self->open && bucket > MVCC_BUCKET_KEY && bucket < MVCC_BUCKET_COUNT);
    if ((bucket == MVCC_BUCKET_LEASE && BUG(checkpoint_without_leases)) ||
        (bucket == MVCC_BUCKET_ALARM && BUG(checkpoint_without_alarms)))
        return;
    mvcc_buckets_put(self->buckets, bucket, key, value, seq);
}

static void store_load_end(struct mvcc_store *self)
{
    if (self->loading)
        mvcc_index_load_done(self->index);
    self->loading = false;
}

static err replay_key(struct mvcc_store *self, const struct mvcc_record *record)
{
    struct mvcc_kv kv;
    struct mvcc_head before;
    if (record->kind == MVCC_PUT && record->blob.len == 0)
        return OK; /* a raised revision: store_import.h */
    TRY(mvcc_kv_decode(record->blob, &kv));
    bool live = record->kind == MVCC_PUT;
    if (kv.key.len == 0 || kv.key.len > MVCC_KEY_BYTES_MAX || (live && kv.version <= 0))
        return ERR_CORRUPT;
    if (mvcc_index_find(self->index, kv.key, &before) && before.seq >= record->seq)
        return OK;
    struct mvcc_head head = {
        .seq = record->seq,
        .main = record->main,
        .create = live ? kv.create : 0,
        .version = live ? kv.version : 0,
        .lease = live ? kv.lease : 0,
        .blob_bytes = (uint32_t)record->blob.len,
    };
    mvcc_index_put(self->index, kv.key, &head, 0);
    return OK;
}

static err replay_bucket(struct mvcc_store *self, const struct mvcc_record *record)
{
    struct bytes key;
    TRY(mvcc_record_key(record, &key));
    if (mvcc_buckets_seq(self->buckets, record->bucket, key) >= record->seq)
        return OK;
    if (record->kind == MVCC_BUCKET_PUT)
        mvcc_buckets_put(self->buckets, record->bucket, key, mvcc_record_bucket_value(record),
                         record->seq);
    else
        mvcc_buckets_remove(self->buckets, record->bucket, key);
    return OK;
}

err mvcc_store_replay(struct mvcc_store *self, const struct mvcc_record *record)
{
    CHECK(!self->open);
    if (!mvcc_record_is_valid(record))
        return ERR_CORRUPT;
    store_load_end(self);
    if (self->replay_first == 0)
        self->replay_first = record->seq;
    return mvcc_record_is_key_change(record) ? replay_key(self, record)
                                             : replay_bucket(self, record);
}

err mvcc_store_replay_log(struct mvcc_store *self, uint64_t *from, uint64_t to, unsigned *budget,
                          bool *ret_done, struct revlog_fault *fault)
{
    struct revlog_rows rows;
    revlog_rows_begin(&rows, self->log, *from + 1, to);
    while (*budget > 0) {
        struct revlog_row row;
        struct mvcc_record record;
        bool found;
        TRY(revlog_rows_next(&rows, &row, &found, fault));
        if (!found) {
            *from = to;
            *ret_done = true;
            return OK;
        }
        --*budget;
        TRY(revlog_read(self->log, row.seq, &record, fault));
        TRY(mvcc_store_replay(self, &record));
        *from = row.seq;
    }
    *ret_done = false;
    return OK;
}

/* A revision in the bucket meta; -1 where there is none. */
static err store_meta_revision(const struct mvcc_store *self, const char *name,
                               int64_t *ret_revision)
{
    struct mvcc_view view;
    struct bytes value;
    mvcc_store_peek(self, &view);
    if (!mvcc_view_bucket_find(&view, MVCC_BUCKET_META, bytes_str(name), &value)) {
        *ret_revision = -1;
        return OK;
    }
    if (value.len != META_REVISION_BYTES || (int64_t)bytes_get_be64(value.data) < 0)
        return ERR_CORRUPT;
    *ret_revision = (int64_t)bytes_get_be64(value.data);
    return OK;
}

err mvcc_store_open(struct mvcc_store *self, uint64_t last_seq, int64_t revision)
{
    CHECK(!self->open);
    int64_t finished, scheduled;
    store_load_end(self);
    TRY(store_meta_revision(self, META_FINISHED, &finished));
    TRY(store_meta_revision(self, META_SCHEDULED, &scheduled));
    self->seq = last_seq;
    self->revision = revision > 1 ? revision : 1;
    if (finished > self->revision)
        self->revision = finished;
    if (scheduled > self->revision || (scheduled > finished && BUG(revision_from_compaction)))
        self->revision = scheduled;
    TRY(store_compaction_resume(self, finished, BUG(compaction_forgotten) ? finished : scheduled));
    self->open = true;
    mvcc_store_publish(self);
    mvcc_store_retire(self);
    return OK;
}
