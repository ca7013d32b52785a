#include "mvcc/revlog_memory.h"

#include "base/check.h"
#include "mvcc/segment_format.h"
#include "mvcc/segment_writer.h"

#include <stdlib.h>

struct revlog_memory {
    struct epoch *epoch;
    struct revlog *log;
    struct tail *tail;
    size_t segment_bytes;
    bool open;
    struct segment_writer writer;
    struct mvcc_frame frame; /* the newest */
};

static const struct segment_owner memory_owner = {1, 1};

static void memory_release(struct segment *segment)
{
    if (segment->release_ctx) /* the heap bytes; the open object shares them with the sealed one */
        free((void *)(uintptr_t)segment->map.data);
    free((void *)(uintptr_t)segment->row_map.data);
    segment_free(segment);
}

struct revlog_memory *revlog_memory_new(struct epoch *epoch, struct revlog *log, struct tail *tail,
                                        size_t segment_bytes)
{
    struct revlog_memory *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->epoch = epoch;
    self->log = log;
    self->tail = tail;
    self->segment_bytes = (segment_bytes + 7) & ~(size_t)7;
    return self;
}

void revlog_memory_free(struct revlog_memory *self)
{
    if (!self)
        return;
    if (self->open)
        segment_writer_done(&self->writer);
    free((void *)(uintptr_t)self->frame.conf_state.data);
    free(self);
}

static void put_planned(struct segment_writer *writer)
{
    struct bytes planned = segment_writer_planned(writer);
    if (planned.len)
        memcpy((uint8_t *)(uintptr_t)writer->segment->map.data + writer->out_offset, planned.data,
               planned.len);
    segment_writer_written(writer);
}

static void memory_begin(struct segment_writer *writer, struct segment_name name, uint64_t synced,
                         size_t bytes)
{
    uint8_t *map = calloc(1, bytes);
    CHECK(map != NULL);
    segment_writer_begin(writer, name, memory_owner, synced, 1, bytes_of(map, bytes));
    writer->segment->release = memory_release;
    writer->segment->release_ctx = map;
}

static void open_next(struct revlog_memory *self, size_t room)
{
    uint64_t first = revlog_written_seq(self->log) + 1;
    size_t need = SEGMENT_HEADER_BYTES + mvcc_frame_bytes(&self->frame) + room;
    size_t bytes = need > self->segment_bytes ? need : self->segment_bytes;
    memory_begin(&self->writer, (struct segment_name){first, SEGMENT_OPEN, 0}, first - 1, bytes);
    CHECK(segment_writer_frame(&self->writer, &self->frame));
    put_planned(&self->writer);
    self->open = true;
    revlog_install(self->log, first, SEGMENT_OPEN, &self->writer.segment, 1);
}

static void frame_remember(struct revlog_memory *self, const struct mvcc_frame *frame)
{
    uint8_t *conf_state = malloc(frame->conf_state.len + 1);
    CHECK(conf_state != NULL);
    if (frame->conf_state.len)
        memcpy(conf_state, frame->conf_state.data, frame->conf_state.len);
    free((void *)(uintptr_t)self->frame.conf_state.data);
    self->frame = *frame;
    self->frame.conf_state.data = conf_state;
}

void revlog_memory_flush(struct revlog_memory *self, const struct mvcc_frame *frame)
{
    uint64_t written = revlog_written_seq(self->log);
    CHECK(frame->seq >= written && frame->seq <= tail_last(self->tail));
    for (uint64_t seq = written + 1; seq <= frame->seq; seq++) {
        const struct mvcc_record *record = tail_find(self->tail, seq);
        size_t bytes = mvcc_record_bytes(record->blob.len);
        if (!self->open)
            open_next(self, bytes);
        if (!segment_writer_record(&self->writer, record)) {
            put_planned(&self->writer);
            bool sealed = revlog_memory_seal(self);
            CHECK(sealed); /* each segment was made with room for its first record */
            open_next(self, bytes);
            CHECK(segment_writer_record(&self->writer, record));
        }
    }
    frame_remember(self, frame);
    if (self->open) {
        if (!segment_writer_frame(&self->writer, &self->frame)) {
            put_planned(&self->writer);
            if (revlog_memory_seal(self))
                open_next(self, 0); /* begins with the frame */
        }
        put_planned(&self->writer);
    }
    tail_trim(self->tail, frame->seq);
}

static struct segment *seal_as(struct segment_writer *writer, struct segment_name name)
{
    struct buf rows;
    buf_init(&rows, 0);
    segment_row_file_encode(writer->segment, &name, &rows);
    struct segment *sealed;
    err e = segment_open_sealed(name, memory_owner, writer->segment->map, buf_bytes(&rows), NULL,
                                &sealed);
    CHECK(err_ok(e));
    sealed->release = memory_release;
    sealed->release_ctx = writer->segment->release_ctx;
    return sealed;
}

bool revlog_memory_seal(struct revlog_memory *self)
{
    if (!self->open || self->writer.rows == 0)
        return false;
    put_planned(&self->writer);
    struct segment *open = self->writer.segment;
    struct segment_name name = open->name;
    name.last = self->writer.next_seq - 1;
    struct segment *sealed = seal_as(&self->writer, name);
    free(sealed->dead);
    sealed->dead = segment_dead_new(segment_row_count(sealed));
    for (uint32_t i = 0; i < segment_row_count(sealed); i++)
        if (segment_dead_get(open->dead, i))
            segment_dead_set(sealed->dead, i,
                             mvcc_record_bytes(segment_row_at(sealed, i)->blob_bytes));
    open->release_ctx = NULL; /* the bytes go on in the sealed one */
    segment_writer_done(&self->writer);
    self->open = false;
    revlog_install(self->log, name.first, SEGMENT_OPEN, &sealed, 1);
    return true;
}

static void copy_live(const struct segment *from, struct segment_writer *to)
{
    for (uint32_t i = 0; i < segment_row_count(from); i++) {
        if (segment_dead_get(from->dead, i))
            continue;
        struct mvcc_record record;
        CHECK(err_ok(segment_record_read(from, i, &record)));
        CHECK(segment_writer_record(to, &record));
    }
}

bool revlog_memory_clean(struct revlog_memory *self)
{
    const struct segment_table *table = revlog_table(self->log);
    unsigned sealed = table->count - (self->open ? 1 : 0);
    if (!sealed)
        return false;
    size_t bytes = SEGMENT_HEADER_BYTES + 256;
    uint32_t generation = 0;
    for (unsigned i = 0; i < sealed; i++) {
        bytes += table->segments[i]->map.len;
        if (table->segments[i]->name.generation > generation)
            generation = table->segments[i]->name.generation;
    }
    struct segment_name name = {table->segments[0]->name.first,
                                table->segments[sealed - 1]->name.last, generation + 1};
    struct segment_writer writer;
    memory_begin(&writer, name, name.first - 1, bytes);
    for (unsigned i = 0; i < sealed; i++)
        copy_live(table->segments[i], &writer);
    struct mvcc_frame end = {.seq = name.last};
    CHECK(segment_writer_frame(&writer, &end));
    put_planned(&writer);
    struct segment *clean = seal_as(&writer, name);
    segment_free(writer.segment);
    segment_writer_done(&writer);
    revlog_install(self->log, name.first, name.last, &clean, 1);
    return true;
}
