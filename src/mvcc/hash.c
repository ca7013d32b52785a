/* Two passes over the rows:
 *
 *     SCAN   every change names the one that it supersedes; of those at or below the compaction it
 *            is noted whether they are superseded at C already, or only at R
 *     FOLD   checksums are combined in order of seq
 *
 * Whether any key is kept at R is known only once all rows up to the compaction were folded, and
 * decides which of them count: until there both sums are kept.
 *
 * Dead bits are looked at only for what they also say logically: marked means superseded at or
 * below a floor that is not above C. They stand in for superseding changes that cleaning dropped.
 */
#include "mvcc/hash.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/crc.h"

enum hash_phase { HASH_SCAN, HASH_FOLD, HASH_DONE };
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
}

/* All rows up to the compaction have been folded. */
static void hash_choose(struct mvcc_hash *self)
{
    if (self->chosen)
        return;
    self->chosen = true;
    if (self->kept > 0)
        self->any_kept = true;
    if (self->mode != HASH_OF_ALL && self->any_kept)
        self->hash = self->kept_hash;
}

static void hash_fold_row(struct mvcc_hash *self, const struct revlog_row *row)
{
    if (row->seq <= self->compact_seq) {
        hash_fold_compacted(self, row);
        return;
    }
    hash_choose(self);
    hash_add(&self->hash, row);
}

err mvcc_hash_run(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget,
                  bool *ret_done)
{
    struct revlog_rows rows;
    bool begun = false;
    while (self->phase != HASH_DONE && *budget > 0) {
        struct revlog_row row;
        bool found = false;
        if (!begun && self->next <= self->end)
            revlog_rows_begin(&rows, view->log, self->next, self->end);
        begun = true;
        if (self->next <= self->end)
            TRY(revlog_rows_next(&rows, &row, &found, &self->fault));
        --*budget;
        if (found) {
            self->next = row.seq + 1;
            if (row.kind != MVCC_PUT && row.kind != MVCC_TOMBSTONE)
                continue;
            if (self->phase == HASH_SCAN)
                hash_scan_row(self, &row);
            else
                hash_fold_row(self, &row);
            continue;
        }
        if (self->phase == HASH_SCAN) {
            self->phase = HASH_FOLD;
            self->next = 1;
            self->kept_hash = self->hash;
            begun = false;
            continue;
        }
        hash_choose(self);
        if (self->mode == HASH_OF_ALL)
            self->hash = crc32c_combine(self->hash, self->after_hash, self->after_bytes);
        self->phase = HASH_DONE;
    }
    *ret_done = self->phase == HASH_DONE;
    return OK;
}
