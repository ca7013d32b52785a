/* Two passes over the rows:
 *
 *     SCAN   every change names the one that it supersedes; of those at or below the compaction it
 *            is noted whether they are superseded at C already, or only at R
 *     FOLD   checksums are combined in order of seq
 *
 * or, going on from what a hash at the same C has left, over the new ones alone:
 *
 *     NEWER  what they supersede is taken out of its block, their own checksums are combined
 *     BLOCKS blocks that lost something are folded anew, and all are combined in order
 *
 * Whether any key is kept at R is known only once all rows up to the compaction were folded, and
 * decides which of them count: until there both sums are kept.
 *
 * Dead bits are looked at only for what they also say logically: marked means superseded at or
 * below a floor that is not above C. They stand in for superseding changes that cleaning dropped.
 */
#include "mvcc/hash.h"

#include "base/budget.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/crc.h"

/* In rows that are walked: what finding a change in its block costs, and a block's rows. */
#define TAKE_OUT_COST 4
#define SEEK_COST     32

enum hash_phase { HASH_SCAN, HASH_FOLD, HASH_NEWER, HASH_BLOCKS, HASH_DONE };
enum hash_mode { HASH_OF_REVISION, HASH_OF_COMPACTION, HASH_OF_ALL };

static void gone_set(struct map *map, uint64_t seq)
{
    uintptr_t bits = (uintptr_t)map_get(map, seq >> 6);
    map_put(map, seq >> 6, (void *)(bits | (uintptr_t)1 << (seq & 63)));
}

static bool gone_has(const struct map *map, uint64_t seq)
{
    return (uintptr_t)map_get(map, seq >> 6) >> (seq & 63) & 1;
}

static uint32_t hash_text(uint32_t hash, const char *text)
{
    return crc32c(hash, bytes_str(text));
}

static void hash_start(struct mvcc_hash *self, enum hash_mode mode, uint64_t compact_seq,
                       uint64_t end)
{
    _Static_assert(sizeof(void *) == 8, "a map's value holds 64 bits");
    *self = (struct mvcc_hash){.mode = (int)mode,
                               .phase = HASH_SCAN,
                               /* seq 0 would pin nothing: a first compaction may come meanwhile */
                               .pin_seq = compact_seq ? compact_seq : end > 0,
                               .next = 1,
                               .end = end,
                               .compact_seq = compact_seq};
    map_init(&self->gone_at_c);
    map_init(&self->gone_at_r);
    map_init(&self->back_at_r);
    self->hash = hash_text(0, mvcc_bucket_name(MVCC_BUCKET_KEY));
}

/* What the compaction to this revision left; no two go to the same one. */
static const struct mvcc_compact_hash *stored_hash(const struct mvcc_view *view, int64_t revision)
{
    if (revision <= 0)
        return NULL;
    for (unsigned i = 0; i < view->hash_count; i++) {
        if (view->hashes[i].revision == revision)
            return &view->hashes[i];
    }
    return NULL;
}

/* The base's as that of a hash at the present revisions, from which another may go on. */
static void hash_leave_later(struct mvcc_hash *self)
{
    self->leaves = true;
    self->base.revision = self->hash_revision;
    self->base.compact_revision = self->compact_revision;
    self->base.compact_seq = self->compact_seq;
    self->base.end = self->end;
}

static void hash_go_on(struct mvcc_hash *self, struct mvcc_hash_base *base)
{
    self->base = *base;
    *base = (struct mvcc_hash_base){0};
    self->base_revision = self->base.revision;
    self->phase = HASH_NEWER;
    self->next = self->base.end + 1;
    hash_leave_later(self);
}

/* All over again, where going on does not do. */
static void hash_restart(struct mvcc_hash *self)
{
    struct mvcc_hash old = *self;
    mvcc_hash_done(self);
    hash_start(self, HASH_OF_REVISION, old.compact_seq, old.end);
    self->hash_revision = old.hash_revision;
    self->compact_revision = old.compact_revision;
    hash_leave_later(self);
}

err mvcc_hash_begin(struct mvcc_hash *self, const struct mvcc_view *view, int64_t revision)
{
    const struct mvcc_compact_hash *stored = stored_hash(view, revision);
    uint64_t seq = view->seq;
    if (!stored)
        TRY(mvcc_view_seq_of(view, revision, &seq));
    hash_start(self, HASH_OF_REVISION, view->compact_seq, seq);
    self->hash_revision = revision ? revision : view->revision;
    self->compact_revision = view->compact_revision;
    if (stored) {
        self->hash = stored->hash;
        self->compact_revision = stored->compact_revision;
    }
    if (stored || revision < 0)
        self->phase = HASH_DONE;
    return OK;
}

err mvcc_hash_begin_on(struct mvcc_hash *self, const struct mvcc_view *view, int64_t revision,
                       struct mvcc_hash_base *base)
{
    TRY(mvcc_hash_begin(self, view, revision));
    if (self->phase == HASH_DONE || self->hash_revision == self->compact_revision)
        return OK;
    if (base->revision > 0 && base->revision < self->hash_revision &&
        base->compact_revision == self->compact_revision &&
        base->compact_seq == self->compact_seq && base->end <= self->end)
        hash_go_on(self, base);
    else
        hash_leave_later(self);
    return OK;
}

void mvcc_hash_leave(struct mvcc_hash *self, struct mvcc_hash_base *base)
{
    CHECK(self->phase == HASH_DONE);
    if (!self->leaves)
        return;
    mvcc_hash_base_done(base);
    *base = self->base;
    self->base = (struct mvcc_hash_base){0};
    self->leaves = false;
}

void mvcc_hash_begin_compaction(struct mvcc_hash *self, int64_t previous_revision,
                                uint64_t previous_seq, int64_t revision, uint64_t seq)
{
    hash_start(self, HASH_OF_COMPACTION, previous_seq, seq);
    self->hash_revision = revision;
    self->compact_revision = previous_revision;
}

void mvcc_hash_done(struct mvcc_hash *self)
{
    map_done(&self->gone_at_c);
    map_done(&self->gone_at_r);
    map_done(&self->back_at_r);
    mvcc_hash_base_done(&self->base);
}

/* ── Small buckets ──────────────────────────────────────────────────────────────────────────── */

static bool bucket_key_is_left_out(enum mvcc_bucket bucket, struct bytes key)
{
    return bucket == MVCC_BUCKET_META &&
           (bytes_equal(key, BYTES_LIT("consistent_index")) ||
            bytes_equal(key, BYTES_LIT("term")) || bytes_equal(key, BYTES_LIT("storageVersion")));
}

/* Name, keys and values of one bucket; *bytes grows by what was hashed. */
static uint32_t hash_bucket(uint32_t hash, const struct mvcc_view *view, enum mvcc_bucket bucket,
                            uint64_t *bytes)
{
    struct mvcc_bucket_cursor cursor;
    AUTO(buf_done) struct buf room = {0};
    hash = hash_text(hash, mvcc_bucket_name(bucket));
    *bytes += strlen(mvcc_bucket_name(bucket));
    mvcc_bucket_cursor_seek(&cursor, view, bucket, BYTES_NONE);
    for (; mvcc_bucket_cursor_valid(&cursor); mvcc_bucket_cursor_next(&cursor)) {
        buf_clear(&room);
        err e = buf_reserve(&room, mvcc_bucket_cursor_key_bytes(&cursor) + 1);
        CHECK(err_ok(e));
        mvcc_bucket_cursor_key(&cursor, room.data);
        struct bytes key = {room.data, mvcc_bucket_cursor_key_bytes(&cursor)};
        struct bytes value = mvcc_bucket_cursor_value(&cursor);
        if (bucket_key_is_left_out(bucket, key))
            continue;
        hash = crc32c(crc32c(hash, key), value);
        *bytes += key.len + value.len;
    }
    return hash;
}

void mvcc_hash_begin_all(struct mvcc_hash *self, const struct mvcc_view *view)
{
    hash_start(self, HASH_OF_ALL, view->compact_seq, view->seq);
    self->hash_revision = view->revision;
    self->compact_revision = view->compact_revision;
    self->hash = 0;
    uint64_t before_bytes = 0;
    /* The enum is in order of the names, but for the keys' own bucket. */
    for (int bucket = MVCC_BUCKET_KEY + 1; bucket < MVCC_BUCKET_COUNT; bucket++) {
        const char *name = mvcc_bucket_name((enum mvcc_bucket)bucket);
        if (strcmp(name, mvcc_bucket_name(MVCC_BUCKET_KEY)) < 0)
            self->hash = hash_bucket(self->hash, view, (enum mvcc_bucket)bucket, &before_bytes);
        else
            self->after_hash =
                hash_bucket(self->after_hash, view, (enum mvcc_bucket)bucket, &self->after_bytes);
    }
    self->hash = hash_text(self->hash, mvcc_bucket_name(MVCC_BUCKET_KEY));
}

/* ── Rows ───────────────────────────────────────────────────────────────────────────────────── */

/* At R itself a key that died counts as not kept, also where a later change of R brought it back.
 */
static int hash_kept_keys(struct mvcc_hash *self, const struct revlog_row *row)
{
    if (row->main == self->hash_revision) {
        if (self->revision_first == 0)
            self->revision_first = row->seq;
        bool back =
            row->birth ? row->prev >= self->revision_first : gone_has(&self->back_at_r, row->prev);
        if (back && !row->death)
            gone_set(&self->back_at_r, row->seq);
        if (back)
            return 0;
    }
    return (int)row->birth - (int)row->death;
}

static void hash_scan_row(struct mvcc_hash *self, const struct revlog_row *row)
{
    if (row->prev != 0 && row->prev <= self->compact_seq) {
        if (row->seq <= self->compact_seq)
            gone_set(&self->gone_at_c, row->prev);
        gone_set(&self->gone_at_r, row->prev);
    }
    if (row->seq <= self->compact_seq)
        return;
    self->kept += hash_kept_keys(self, row);
    if (self->mode == HASH_OF_COMPACTION && row->death && row->main == self->hash_revision)
        self->any_kept = true;
}

static void hash_add(uint32_t *hash, const struct revlog_row *row)
{
    *hash = crc32c_combine(*hash, row->crc,
                           mvcc_record_crc_bytes((enum mvcc_kind)row->kind, row->blob_bytes));
}

/* A row up to the compaction: what of it is there once the compaction has finished. */
static void hash_fold_compacted(struct mvcc_hash *self, const struct revlog_row *row)
{
    if (row->death) {
        if (self->mode == HASH_OF_ALL && row->main == self->compact_revision)
            hash_add(&self->hash, row);
        return;
    }
    if (row->dead || gone_has(&self->gone_at_c, row->seq))
        return;
    self->kept++;
    hash_add(&self->hash, row);
    if (gone_has(&self->gone_at_r, row->seq))
        return;
    self->any_kept = true;
    hash_add(&self->kept_hash, row);
    if (self->leaves)
        mvcc_hash_base_add(&self->base, row);
}

static void hash_fold_row(struct mvcc_hash *self, const struct revlog_row *row)
{
    if (row->seq <= self->compact_seq)
        hash_fold_compacted(self, row);
    else
        mvcc_hash_base_add_late(&self->base, row);
}

static void hash_newer_row(struct mvcc_hash *self, const struct revlog_row *row, unsigned *budget)
{
    if (row->prev != 0 && row->prev <= self->compact_seq) {
        mvcc_hash_base_remove(&self->base, row->prev);
        budget_spend(budget, TAKE_OUT_COST);
    }
    mvcc_hash_base_add_late(&self->base, row);
}

/* What comes behind the rows up to the compaction. */
static void hash_finish(struct mvcc_hash *self)
{
    self->hash = crc32c_combine(self->hash, self->base.late_crc, self->base.late_bytes);
    if (self->mode == HASH_OF_ALL)
        self->hash = crc32c_combine(self->hash, self->after_hash, self->after_bytes);
    self->phase = HASH_DONE;
}

static void hash_end_of_rows(struct mvcc_hash *self)
{
    switch ((enum hash_phase)self->phase) {
    case HASH_SCAN:
        self->phase = HASH_FOLD;
        self->next = 1;
        self->kept_hash = self->hash;
        break;
    case HASH_FOLD:
        if (self->mode != HASH_OF_ALL && (self->any_kept || self->kept > 0))
            self->hash = self->kept_hash;
        hash_finish(self);
        break;
    case HASH_NEWER:
        self->phase = HASH_BLOCKS;
        break;
    case HASH_BLOCKS:
    case HASH_DONE:
        break;
    }
}

static err hash_rows(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget)
{
    struct revlog_rows rows;
    if (self->next <= self->end)
        revlog_rows_begin(&rows, view->log, self->next, self->end);
    while (*budget > 0) {
        struct revlog_row row;
        bool found = false;
        if (self->next <= self->end)
            TRY(revlog_rows_next(&rows, &row, &found, &self->fault));
        budget_spend(budget, 1);
        if (!found) {
            hash_end_of_rows(self);
            break;
        }
        self->next = row.seq + 1;
        if (row.kind != MVCC_PUT && row.kind != MVCC_TOMBSTONE)
            continue;
        if (self->phase == HASH_SCAN)
            hash_scan_row(self, &row);
        else if (self->phase == HASH_FOLD)
            hash_fold_row(self, &row);
        else
            hash_newer_row(self, &row, budget);
    }
    return OK;
}

/* *ret_whole false: it has to begin from scratch. */
static err hash_block(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget,
                      bool *ret_whole)
{
    struct mvcc_hash_base *base = &self->base;
    const struct mvcc_hash_block *block = &base->blocks[self->block];
    unsigned rows = 1;
    *ret_whole = true;
    if (block->is_due) {
        rows = SEEK_COST;
        TRY(mvcc_hash_block_fold(base, self->block, view->log, &rows, ret_whole, &self->fault));
    }
    budget_spend(budget, rows);
    self->hash = crc32c_combine(self->hash, block->crc, block->bytes);
    self->any_kept = self->any_kept || block->count > 0;
    self->block++;
    return OK;
}

static err hash_blocks(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget)
{
    bool whole = true;
    while (*budget > 0 && whole && self->block < self->base.block_count)
        TRY(hash_block(self, view, budget, &whole));
    bool end = self->block == self->base.block_count;
    if (!whole || (end && self->compact_seq > 0 && !self->any_kept))
        hash_restart(self);
    else if (end)
        hash_finish(self);
    return OK;
}

err mvcc_hash_run(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget,
                  bool *ret_done)
{
    while (self->phase != HASH_DONE && *budget > 0)
        TRY(self->phase == HASH_BLOCKS ? hash_blocks(self, view, budget)
                                       : hash_rows(self, view, budget));
    *ret_done = self->phase == HASH_DONE;
    return OK;
}
