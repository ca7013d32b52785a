/* The core's side: old entries by place, and when a segment is no longer wanted. */
#include "stage/log_priv.h"

#include "base/check.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

/* ---- mapped segments ------------------------------------------------------------------------ */

static void map_release(struct raft_blob *blob)
{
    struct log_map *map = LIST_ENTRY(blob, struct log_map, blob);
    io_unmap(map->fs, map->address, map->len);
    free(map);
}

static err map_open(struct stage_log *self, struct wal_name name, struct log_map **ret_map)
{
    const struct io_fs *fs = self->config.fs;
    char text[WAL_NAME_BYTES];
    struct io_stat stat;
    void *address = NULL;
    int file;
    wal_name_format(name, text);
    TRY(io_open(fs, self->dir, text, IO_READ, 0, &file));
    err e = io_stat(fs, file, &stat);
    if (err_ok(e) && stat.size_bytes == 0)
        e = ERR_CORRUPT;
    if (err_ok(e))
        e = io_map(fs, file, IO_MAP_READ, 0, (size_t)stat.size_bytes, &address);
    io_close(fs, file);
    TRY(e);
    struct log_map *map = calloc(1, sizeof(*map));
    CHECK(map);
    *map = (struct log_map){{1, map_release}, fs, address, (size_t)stat.size_bytes};
    *ret_map = map;
    return OK;
}

static struct log_segment *segment_find(struct stage_log *self, uint64_t sequence)
{
    size_t lo = 0, hi = self->segment_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (self->segments[mid].name.sequence < sequence)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == self->segment_count || self->segments[lo].name.sequence != sequence)
        return NULL;
    return &self->segments[lo];
}

/* The map in which bytes up to `end` lie: a segment that grew past its map is mapped anew, the
 * old map goes when nothing lent from it is referenced. */
static err segment_map(struct stage_log *self, struct log_segment *segment, uint64_t end,
                       struct log_map **ret_map)
{
    if (segment->map && segment->map->len < end) {
        raft_blob_unref(&segment->map->blob);
        segment->map = NULL;
    }
    if (!segment->map)
        TRY(map_open(self, segment->name, &segment->map));
    *ret_map = segment->map;
    return OK;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static err entry_read(struct stage_log *self, uint64_t index, struct raft_entry *ret_entry)
{
    struct wal_place place;
    uint64_t term;
    TRY(wal_places_get(&self->places, index, &place));
    TRY(wal_places_term(&self->places, index, &term));
    struct log_segment *segment = segment_find(self, place.segment);
    CHECK(segment);
    struct log_map *map;
    TRY(segment_map(self, segment, segment->bytes, &map));
    /* Behind segment->bytes a closed file may have been cut off: that is never touched. */
    size_t len = segment->bytes < map->len ? (size_t)segment->bytes : map->len;
    err e = wal_entry_at(bytes_of(map->address, len), place, index, term, ret_entry);
    if (!err_ok(e)) {
        self->read_fault = (struct wal_fault){segment->name, place.offset, index,
                                              "an entry does not read back as it was written"};
        return e;
    }
    ret_entry->blob = raft_blob_ref(&map->blob);
    return OK;
}

err stage_log_entries(struct stage_log *self, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                      size_t room, struct raft_entry *ret_entries, size_t *ret_count)
{
    CHECK(lo < hi && hi <= stage_log_last_index(self) + 1 && room > 0);
    size_t count = 0;
    uint64_t bytes = 0;
    for (uint64_t index = lo; index < hi && count < room; index++) {
        struct raft_entry entry;
        err e = entry_read(self, index, &entry);
        if (!err_ok(e)) {
            for (size_t i = 0; i < count; i++)
                raft_blob_unref(ret_entries[i].blob);
            return e;
        }
        bytes += raft_codec_entry_size(&entry);
        if (count && bytes > max_bytes) {
            raft_blob_unref(entry.blob);
            break;
        }
        ret_entries[count++] = entry;
    }
    *ret_count = count;
    return OK;
}

err stage_log_term(const struct stage_log *self, uint64_t index, uint64_t *ret_term)
{
    return wal_places_term(&self->places, index, ret_term);
}

uint64_t stage_log_first_index(const struct stage_log *self)
{
    return self->places.base_index + 1;
}

uint64_t stage_log_last_index(const struct stage_log *self)
{
    return wal_places_last_index(&self->places);
}

struct wal_fault stage_log_read_fault(const struct stage_log *self)
{
    return self->read_fault;
}

uint64_t stage_log_bytes(const struct stage_log *self)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < self->segment_count; i++)
        sum += self->segments[i].bytes;
    return sum;
}

uint64_t stage_log_first_within(const struct stage_log *self, uint64_t bytes)
{
    uint64_t first = stage_log_first_index(self), sum = 0;
    for (size_t i = self->segment_count; i-- > 0;) {
        sum += self->segments[i].bytes;
        if (sum > bytes && i + 1 < self->segment_count) {
            uint64_t next = self->segments[i + 1].name.first_index;
            return next > first ? next : first;
        }
    }
    return first;
}

/* ---- what comes and goes ------------------------------------------------------------------------
 */

void log_segment_add(struct stage_log *self, struct wal_name name, uint64_t bytes)
{
    struct log_segment *last =
        self->segment_count ? &self->segments[self->segment_count - 1] : NULL;
    if (last && last->name.sequence == name.sequence) {
        last->bytes = bytes;
        return;
    }
    CHECK(!last || name.sequence > last->name.sequence);
    if (self->segment_count == self->segment_cap) {
        self->segment_cap = self->segment_cap ? self->segment_cap * 2 : 8;
        self->segments = realloc(self->segments, self->segment_cap * sizeof(*self->segments));
    }
    CHECK(self->segments);
    self->segments[self->segment_count++] = (struct log_segment){name, bytes, NULL};
}

/* Segments whose successor begins at or below the released index go, oldest first; one that has
 * lent entries waits, and those behind it with it. */
static void segments_let_go(struct stage_log *self)
{
    size_t gone = 0;
    while (gone + 1 < self->segment_count &&
           self->segments[gone + 1].name.first_index <= self->release_index) {
        struct log_segment *segment = &self->segments[gone];
        if (segment->map) {
            if (segment->map->blob.refs > 1)
                break;
            raft_blob_unref(&segment->map->blob);
        }
        gone++;
    }
    if (gone == 0)
        return;
    struct log_release *release = calloc(1, sizeof(*release));
    CHECK(release);
    release->order.kind = (enum stage_log_reply_kind)LOG_ORDER_RELEASE;
    release->last_sequence = self->segments[gone - 1].name.sequence;
    self->segment_count -= gone;
    memmove(self->segments, self->segments + gone, self->segment_count * sizeof(*self->segments));
    mailbox_post(&self->inbox, &release->order.node);
}

void stage_log_release(struct stage_log *self, uint64_t index)
{
    if (index > stage_log_last_index(self))
        index = stage_log_last_index(self);
    if (index <= self->release_index)
        return;
    self->release_index = index;
    wal_places_release(&self->places, index);
    segments_let_go(self);
}

void log_read_settle(struct stage_log *self, const struct stage_log_batch *batch)
{
    log_segment_add(self, batch->segment, batch->end_offset);
    if (batch->has_snapshot) {
        uint64_t term, index = batch->snapshot.index;
        err e = wal_places_term(&self->places, index, &term);
        if (batch->installs || err_is(e, ERR_NOT_FOUND) ||
            (err_ok(e) && term != batch->snapshot.term))
            wal_places_reset(&self->places, index, batch->snapshot.term);
    }
    for (size_t i = 0; i < batch->entry_count; i++)
        CHECK(err_ok(wal_places_put(&self->places, batch->entries[i].index, batch->entries[i].term,
                                    batch->places[i])));
    segments_let_go(self);
}

void log_read_done(struct stage_log *self)
{
    for (size_t i = 0; i < self->segment_count; i++)
        if (self->segments[i].map)
            raft_blob_unref(&self->segments[i].map->blob);
    free(self->segments);
    wal_places_done(&self->places);
}
