#include "mvcc/store_checkpoint.h"

#include "base/check.h"
#include "mvcc/store_state.h"

enum source_kind { SOURCE_HEADS, SOURCE_ENTRIES, SOURCE_ENDED };

/* ── Loading ────────────────────────────────────────────────────────────────────────────────── */

static err load_heads(struct mvcc_store *self, struct checkpoint_reader *reader)
{
    checkpoint_reader_heads(reader);
    for (;;) {
        struct checkpoint_head item;
        bool found;
        TRY(checkpoint_reader_head(reader, &item, &found));
        if (!found)
            return OK;
        if (item.key.len == 0 || item.key.len > MVCC_KEY_BYTES_MAX || item.version < 0)
            return ERR_CORRUPT;
        struct mvcc_head head = {
            .seq = item.seq,
            .main = item.main,
            .create = item.create,
            .version = item.version,
            .lease = item.lease,
            .blob_bytes = item.blob_bytes,
            .steps = item.steps,
            .rungs = item.rungs,
            .rung_count = item.rung_count,
        };
        mvcc_store_load_head(self, item.key, &head);
    }
}

err mvcc_store_load_checkpoint(struct mvcc_store *self, struct checkpoint_reader *reader)
{
    TRY(load_heads(self, reader));
    checkpoint_reader_entries(reader);
    for (;;) {
        struct checkpoint_entry item;
        bool found;
        TRY(checkpoint_reader_entry(reader, &item, &found));
        if (!found)
            break;
        mvcc_store_load_bucket(self, item.bucket, item.key, item.value, item.seq);
    }
    self->loaded_floor = reader->info.floor;
    return OK;
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

static bool source_begin(void *ctx, struct epoch_slot *slot, struct checkpoint_info *ret_info)
{
    struct mvcc_checkpoint_source *self = ctx;
    epoch_enter(self->epoch, slot);
    const struct mvcc_view *view = mvcc_store_view(self->store);
    *ret_info = (struct checkpoint_info){.seq = view->seq,
                                         .floor = view->swept_seq,
                                         .revision = view->revision,
                                         .compact_revision = view->compact_revision};
    bool open = view->is_open;
    epoch_leave(slot);
    self->kind = SOURCE_HEADS;
    self->passed = false;
    buf_clear(&self->key);
    return open;
}

static void source_remember(struct mvcc_checkpoint_source *self, const struct mvcc_cursor *cursor,
                            size_t skip)
{
    size_t bytes = mvcc_cursor_key_bytes(cursor);
    buf_clear(&self->key);
    err e = buf_reserve(&self->key, bytes + 1);
    CHECK(err_ok(e) && skip <= bytes);
    mvcc_cursor_key(cursor, self->key.data);
    self->key.len = bytes;
    buf_consume(&self->key, skip);
    self->passed = true;
}

static void source_heads(struct mvcc_checkpoint_source *self, const struct mvcc_view *view,
                         struct checkpoint_writer *writer, unsigned *max)
{
    struct mvcc_cursor cursor;
    mvcc_cursor_seek(&cursor, view->root, buf_bytes(&self->key));
    if (self->passed && mvcc_cursor_valid(&cursor) &&
        mvcc_cursor_compare(&cursor, buf_bytes(&self->key)) == 0)
        mvcc_cursor_next(&cursor);
    for (; *max > 0 && mvcc_cursor_valid(&cursor); mvcc_cursor_next(&cursor)) {
        struct mvcc_head head;
        mvcc_cursor_head(&cursor, &head);
        source_remember(self, &cursor, 0);
        /* The newest rungs serve the reads that are likely; what is cut off only makes a walk
         * longer. */
        uint32_t cut =
            head.rung_count > CHECKPOINT_RUNGS_MAX ? head.rung_count - CHECKPOINT_RUNGS_MAX : 0;
        struct checkpoint_head item = {
            .key = buf_bytes(&self->key),
            .seq = head.seq,
            .main = head.main,
            .create = head.create,
            .version = head.version,
            .lease = head.lease,
            .blob_bytes = head.blob_bytes,
            .steps = head.steps,
            .rung_count = head.rung_count - cut,
            .rungs = head.rungs ? head.rungs + cut : NULL,
        };
        checkpoint_writer_head(writer, &item);
        --*max;
    }
    if (mvcc_cursor_valid(&cursor))
        return;
    self->kind = SOURCE_ENTRIES;
    self->bucket = MVCC_BUCKET_KEY + 1;
    self->passed = false;
    buf_clear(&self->key);
}

static void source_entries(struct mvcc_checkpoint_source *self, const struct mvcc_view *view,
                           struct checkpoint_writer *writer, unsigned *max)
{
    for (; self->bucket < MVCC_BUCKET_COUNT; self->bucket++) {
        struct mvcc_bucket_cursor cursor;
        mvcc_bucket_cursor_seek(&cursor, view, (enum mvcc_bucket)self->bucket,
                                buf_bytes(&self->key));
        for (; mvcc_bucket_cursor_valid(&cursor); mvcc_bucket_cursor_next(&cursor)) {
            if (self->passed && mvcc_bucket_cursor_is_at(&cursor, buf_bytes(&self->key)))
                continue;
            if (*max == 0)
                return;
            --*max;
            source_remember(self, &cursor.at, 1); /* without the bucket's byte */
            struct checkpoint_entry item = {
                .bucket = (enum mvcc_bucket)self->bucket,
                .key = buf_bytes(&self->key),
                .value = mvcc_bucket_cursor_value(&cursor),
                .seq = mvcc_bucket_cursor_seq(&cursor),
            };
            checkpoint_writer_entry(writer, &item);
        }
        self->passed = false;
        buf_clear(&self->key);
    }
    self->kind = SOURCE_ENDED;
}

static bool source_fill(void *ctx, struct epoch_slot *slot, struct checkpoint_writer *writer,
                        unsigned max)
{
    struct mvcc_checkpoint_source *self = ctx;
    epoch_enter(self->epoch, slot);
    const struct mvcc_view *view = mvcc_store_view(self->store);
    checkpoint_writer_reflects(writer, view->seq);
    if (self->kind == SOURCE_HEADS)
        source_heads(self, view, writer, &max);
    if (self->kind == SOURCE_ENTRIES)
        source_entries(self, view, writer, &max);
    epoch_leave(slot);
    return self->kind != SOURCE_ENDED;
}

void mvcc_checkpoint_source_init(struct mvcc_checkpoint_source *self,
                                 const struct mvcc_store *store, struct epoch *epoch)
{
    *self = (struct mvcc_checkpoint_source){
        .source = {self, source_begin, source_fill}, .store = store, .epoch = epoch};
    buf_init(&self->key, 0);
}

void mvcc_checkpoint_source_done(struct mvcc_checkpoint_source *self)
{
    buf_done(&self->key);
}
