#include "base/bug.h"
#include "base/check.h"
#include "stage/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_NS (UINT64_C(200) * 1000 * 1000)

static void spare_name(uint32_t number, char out[STORE_FILE_NAME_BYTES])
{
    int n = snprintf(out, STORE_FILE_NAME_BYTES, "spare-%" PRIu32 ".tmp", number);
    CHECK(n > 0 && n < STORE_FILE_NAME_BYTES);
}

bool store_spare_make(struct stage_store *self)
{
    if (self->spare_count == STORE_SPARES || store_now_ns(self) < self->retry_ns)
        return false;
    char name[STORE_FILE_NAME_BYTES];
    spare_name(self->spare_number, name);
    int file;
    struct store_spare spare = {self->spare_number, store_segment_bytes(self)};
    if (!err_ok(store_file_create(self, name, spare.bytes, &file))) {
        self->retry_ns = store_now_ns(self) + RETRY_NS;
        self->disk_full = true;
        return false;
    }
    io_close(self->fs, file);
    self->spare_number++;
    self->spares[self->spare_count++] = spare;
    if (self->spare_count == STORE_SPARES)
        self->disk_full = false;
    return true;
}

/* A file of at least so many bytes, still under a .tmp name: a spare where one is large enough. */
static err room_take(struct stage_store *self, uint64_t bytes, char name[STORE_FILE_NAME_BYTES],
                     uint64_t *ret_bytes, int *ret_file)
{
    for (unsigned i = 0; i < self->spare_count; i++) {
        struct store_spare spare = self->spares[i];
        if (spare.bytes < bytes)
            continue;
        spare_name(spare.number, name);
        err e = io_open(self->fs, self->dir, name, IO_READ | IO_WRITE, 0, ret_file);
        if (!err_ok(e))
            store_fatal(self, "open", name, e);
        self->spares[i] = self->spares[--self->spare_count];
        *ret_bytes = spare.bytes;
        return OK;
    }
    spare_name(self->spare_number, name);
    TRY(store_file_create(self, name, bytes, ret_file));
    self->spare_number++;
    *ret_bytes = bytes;
    return OK;
}

/* Writes what the writer has planned and shows it. */
static err planned_write(struct stage_store *self)
{
    struct bytes planned = segment_writer_planned(&self->writer);
    if (!planned.len)
        return OK;
    char name[SEGMENT_NAME_BYTES];
    segment_name_print(&self->writer.segment->name, ".seg", name);
    uint64_t from_ns = store_now_ns(self);
    TRY(store_bulk_write(self, &self->open_file, planned, self->writer.out_offset, name));
    store_note_write(store_now_ns(self) - from_ns);
    self->log_bytes += planned.len;
    self->unsynced_bytes += planned.len;
    segment_writer_written(&self->writer);
    self->written_seq = self->writer.next_seq - 1;
    return OK;
}

void store_sync_now(struct stage_store *self)
{
    if (self->is_open && self->synced_seq == self->frame.seq &&
        self->synced_index == self->frame.index)
        return;
    if (self->is_open) {
        char name[SEGMENT_NAME_BYTES];
        segment_name_print(&self->writer.segment->name, ".seg", name);
        err e = io_sync_data(self->fs, self->open_file.file);
        if (!err_ok(e))
            store_fatal(self, "sync", name, e);
    }
    self->unsynced_bytes = 0;
    self->synced_seq = self->frame.seq;
    self->synced_index = self->frame.index;
}

void store_frame_again(struct stage_store *self)
{
    if (!self->is_open || self->written_seq != self->frame.seq)
        return;
    struct mvcc_frame frame = self->frame;
    frame.synced = self->synced_seq;
    if (segment_writer_frame(&self->writer, &frame))
        (void)!err_ok(planned_write(self)); /* without it the next start reads a little more */
}

/* Makes the next segment: header and frame in it and synced, then its name. */
static err open_next(struct stage_store *self, size_t room, const struct mvcc_frame *frame)
{
    CHECK(!self->is_open);
    struct segment_name name = {self->written_seq + 1, SEGMENT_OPEN, 0};
    if (self->segment_count) {
        const struct segment *last = self->segments[self->segment_count - 1];
        if (last->name.first == name.first) /* it holds frames alone: this one replaces it */
            name.generation = last->name.generation + 1;
    }
    uint64_t need = SEGMENT_HEADER_BYTES + mvcc_frame_bytes(frame) + room;
    uint64_t bytes = store_segment_bytes(self);
    if (bytes < need)
        bytes = (need + 4095) & ~UINT64_C(4095);
    char tmp[STORE_FILE_NAME_BYTES], seg[SEGMENT_NAME_BYTES];
    segment_name_print(&name, ".seg", seg);
    struct io_bulk bulk = {0};
    TRY(room_take(self, bytes, tmp, &bytes, &bulk.file));
    void *address;
    err e = io_map(self->fs, bulk.file, IO_MAP_READ | IO_MAP_RANDOM, 0, bytes, &address);
    if (!err_ok(e))
        store_fatal(self, "map", tmp, e);

    struct segment_writer writer;
    segment_writer_begin(&writer, name, self->config.owner, self->synced_seq, store_nonce(self),
                         bytes_of(address, bytes));
    CHECK(segment_writer_frame(&writer, frame));
    e = store_bulk_write(self, &bulk, segment_writer_planned(&writer), 0, tmp);
    if (!err_ok(e)) {
        io_unmap(self->fs, address, bytes);
        io_close(self->fs, bulk.file);
        store_file_unlink(self, tmp);
        segment_free(writer.segment);
        segment_writer_done(&writer);
        return e;
    }
    e = io_sync(self->fs, bulk.file);
    if (err_ok(e))
        e = io_rename(self->fs, self->dir, tmp, self->dir, seg);
    if (!err_ok(e))
        store_fatal(self, "sync and rename", seg, e);
    store_dir_sync(self);
    segment_writer_written(&writer);
    store_files_attach(self, writer.segment);
    self->writer = writer;
    self->open_file = bulk;
    self->is_open = true;
    store_publish(self, name.first, SEGMENT_OPEN, writer.segment);
    return OK;
}

err store_sealed_open(struct stage_store *self, const struct segment_name *name,
                      struct segment_dead *dead, struct segment **ret_segment)
{
    char file[SEGMENT_NAME_BYTES];
    struct bytes map, rows;
    segment_name_print(name, ".seg", file);
    TRY(store_file_map(self, file, &map));
    segment_name_print(name, ".row", file);
    err e = store_file_map(self, file, &rows);
    if (!err_ok(e)) {
        store_unmap(self, map);
        return e;
    }
    e = segment_open_sealed(*name, self->config.owner, map, rows, dead, ret_segment);
    if (!err_ok(e)) {
        store_unmap(self, map);
        store_unmap(self, rows);
        return e;
    }
    store_files_attach(self, *ret_segment);
    return OK;
}

/* Invariant 2 of segment.h: all of it durable, then the name. */
static err seal(struct stage_store *self)
{
    struct segment *open = self->writer.segment;
    struct segment_name name = open->name;
    name.last = self->writer.next_seq - 1;
    char from[SEGMENT_NAME_BYTES], to[SEGMENT_NAME_BYTES], row[SEGMENT_NAME_BYTES];
    segment_name_print(&open->name, ".seg", from);
    segment_name_print(&name, ".seg", to);
    segment_name_print(&name, ".row", row);
    struct buf rows AUTO(buf_done);
    buf_init(&rows, 0);
    segment_row_file_encode(open, &name, &rows);
    TRY(store_file_make(self, row, buf_bytes(&rows)));
    /* What was allocated beyond its end goes back. The old mapping reaches there, no reader does.
     */
    err e = io_truncate(self->fs, self->open_file.file, self->writer.out_offset);
    if (err_ok(e))
        e = io_sync(self->fs, self->open_file.file);
    if (err_ok(e))
        e = io_rename(self->fs, self->dir, from, self->dir, to);
    if (!err_ok(e))
        store_fatal(self, "sync and rename", to, e);
    store_dir_sync(self);
    self->unsynced_bytes = 0;
    self->synced_seq = self->frame.seq;
    self->synced_index = self->frame.index;
    io_close(self->fs, self->open_file.file);
    self->open_file.file = -1;

    /* The dead bits go on in the sealed one: the core may be setting some right now. */
    struct segment *sealed;
    e = store_sealed_open(self, &name, open->dead, &sealed);
    if (!err_ok(e))
        store_fatal(self, "open", to, e);
    segment_writer_done(&self->writer);
    self->is_open = false;
    store_files_of(open)->dead_moved = true;
    store_publish(self, name.first, SEGMENT_OPEN, sealed);
    self->clean.due = true;
    return OK;
}

/* A segment that frames alone have filled: the next one replaces it under a higher generation. */
static err replace_empty(struct stage_store *self, size_t room, const struct mvcc_frame *frame)
{
    store_sync_now(self);
    struct segment *empty = self->writer.segment;
    struct segment_writer writer = self->writer;
    struct io_bulk file = self->open_file;
    self->is_open = false;
    err e = open_next(self, room, frame);
    if (!err_ok(e)) {
        self->writer = writer;
        self->open_file = file;
        self->is_open = true;
        return e;
    }
    io_close(self->fs, file.file);
    segment_writer_done(&writer);
    store_files_of(empty)->obsolete = true;
    return OK;
}

err store_roll(struct stage_store *self, size_t room, const struct mvcc_frame *frame)
{
    if (self->is_open) {
        TRY(planned_write(self));
        if (self->writer.rows == 0)
            return replace_empty(self, room, frame);
        TRY(seal(self));
    }
    return open_next(self, room, frame);
}

bool store_wants_write(const struct stage_store *self)
{
    return self->has_want || self->want_seq > self->written_seq;
}

/* Plans records from the tail, about a slice. *ret_room: what the first that found no room needs.
 * The guard is there for the tail's directory; what is not written is never trimmed. */
static void plan_records(struct stage_store *self, size_t *ret_room)
{
    *ret_room = 0;
    epoch_enter(self->config.epoch, self->slot);
    /* A frame stands right behind the last record that it closes. */
    uint64_t to = self->has_want ? self->want.seq : self->want_seq;
    while (self->writer.next_seq <= to &&
           segment_writer_planned(&self->writer).len < STORE_SLICE_BYTES) {
        const struct mvcc_record *record = tail_find(self->tail, self->writer.next_seq);
        CHECK(record != NULL);
        if (!segment_writer_record(&self->writer, record)) {
            *ret_room = mvcc_record_bytes(record->blob.len);
            break;
        }
    }
    epoch_leave(self->slot);
}

static err write_frame(struct stage_store *self)
{
    struct mvcc_frame frame = self->want;
    frame.synced = self->synced_seq;
    if (segment_writer_frame(&self->writer, &frame)) {
        TRY(planned_write(self));
        store_conf_state_set(&self->frame, &frame);
        if (BUG(sync_claimed)) {
            self->synced_seq = frame.seq;
            self->synced_index = frame.index;
        }
    } else { /* the next segment begins with it */
        TRY(store_roll(self, 0, &frame));
        store_conf_state_set(&self->frame, &frame);
        self->synced_seq = frame.seq;
        self->synced_index = frame.index;
    }
    self->has_want = false;
    return OK;
}

static err write_some(struct stage_store *self)
{
    size_t written = 0;
    while (store_wants_write(self) && written < STORE_BEGIN_BYTES) {
        if (!self->is_open)
            TRY(store_roll(self, 0, &self->frame));
        size_t room;
        plan_records(self, &room);
        written += segment_writer_planned(&self->writer).len;
        TRY(planned_write(self));
        if (room)
            TRY(store_roll(self, room, &self->frame));
        else if (self->has_want && self->written_seq == self->want.seq)
            TRY(write_frame(self));
        if (self->unsynced_bytes >= STORE_UNSYNCED_BYTES)
            store_sync_now(self);
    }
    return OK;
}

bool store_write(struct stage_store *self)
{
    if (store_now_ns(self) < self->retry_ns && self->disk_full && !self->spare_count &&
        !self->is_open)
        return false;
    if (err_ok(write_some(self)))
        return true;
    self->retry_ns = store_now_ns(self) + RETRY_NS;
    self->disk_full = true;
    return false;
}
