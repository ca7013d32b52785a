#include "mvcc/segment_writer.h"

#include "base/check.h"
#include "mvcc/segment_format.h"

#include <stdlib.h>

#define RECORD_BYTES_MIN MVCC_RECORD_HEADER_BYTES

static uint32_t rows_max(uint64_t capacity)
{
    return (uint32_t)((capacity - SEGMENT_HEADER_BYTES) / RECORD_BYTES_MIN);
}

static struct segment *segment_new(struct segment_name name, struct segment_owner owner,
                                   uint64_t synced, uint64_t nonce, struct bytes map)
{
    struct segment *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    uint32_t rows = rows_max(map.len);
    self->name = name;
    self->owner = owner;
    self->synced = synced;
    self->nonce = nonce;
    self->map = map;
    self->pages = calloc((size_t)rows / SEGMENT_ROWS_PER_PAGE + 2, sizeof(struct segment_row *));
    CHECK(self->pages != NULL);
    self->dead = segment_dead_new(rows);
    self->refs = 1;
    atomic_init(&self->end, SEGMENT_HEADER_BYTES);
    return self;
}

static void writer_init(struct segment_writer *self, struct segment_name name,
                        struct segment_owner owner, uint64_t synced, uint64_t nonce,
                        struct bytes map)
{
    CHECK(map.len >= SEGMENT_HEADER_BYTES && map.len <= SEGMENT_BYTES_MAX && map.len % 8 == 0);
    *self = (struct segment_writer){
        .segment = segment_new(name, owner, synced, nonce, map),
        .capacity = map.len,
        .next_seq = name.first,
        .dense = name.generation == 0 || name.last == SEGMENT_OPEN,
    };
    buf_init(&self->out, 0);
}

void segment_writer_begin(struct segment_writer *self, struct segment_name name,
                          struct segment_owner owner, uint64_t synced, uint64_t nonce,
                          struct bytes map)
{
    writer_init(self, name, owner, synced, nonce, map);
    struct segment_header header = {name.generation, owner, name.first, synced, nonce};
    CHECK(err_ok(buf_reserve(&self->out, SEGMENT_HEADER_BYTES)));
    segment_header_encode(&header, self->out.data);
    self->out.len = SEGMENT_HEADER_BYTES;
}

/* Room for n more bytes in the file and in out, or NULL. */
static uint8_t *plan(struct segment_writer *self, size_t n, uint64_t *ret_offset)
{
    uint64_t offset = self->out_offset + self->out.len;
    if (n > self->capacity - offset)
        return NULL;
    CHECK(err_ok(buf_reserve(&self->out, n)));
    uint8_t *p = self->out.data + self->out.len;
    self->out.len += n;
    *ret_offset = offset;
    return p;
}

static void row_add(struct segment_writer *self, const struct mvcc_record *record, uint64_t offset)
{
    struct segment *segment = self->segment;
    uint32_t page = self->rows / SEGMENT_ROWS_PER_PAGE;
    if (!segment->pages[page]) {
        segment->pages[page] = calloc(1, SEGMENT_ROW_PAGE_BYTES);
        CHECK(segment->pages[page] != NULL);
    }
    segment_row_make(record, segment->name.first, offset,
                     &segment->pages[page][self->rows % SEGMENT_ROWS_PER_PAGE]);
    self->rows++;
    self->record_bytes += mvcc_record_bytes(record->blob.len);
    self->next_seq = record->seq + 1;
}

bool segment_writer_record(struct segment_writer *self, const struct mvcc_record *record)
{
    CHECK(record->kind != MVCC_FRAME);
    CHECK(self->dense ? record->seq == self->next_seq : record->seq >= self->next_seq);
    if (record->seq - self->segment->name.first > SEGMENT_SPAN_MAX)
        return false;
    uint64_t offset;
    uint8_t *p = plan(self, mvcc_record_bytes(record->blob.len), &offset);
    if (!p)
        return false;
    mvcc_record_encode(record, p);
    row_add(self, record, offset);
    return true;
}

bool segment_writer_frame(struct segment_writer *self, const struct mvcc_frame *frame)
{
    uint64_t offset;
    uint8_t *p = plan(self, mvcc_frame_bytes(frame), &offset);
    if (!p)
        return false;
    struct mvcc_frame ours = *frame;
    ours.nonce = self->segment->nonce;
    mvcc_frame_encode(&ours, p);
    return true;
}

struct bytes segment_writer_planned(const struct segment_writer *self)
{
    return buf_bytes(&self->out);
}

static void show(struct segment_writer *self, uint64_t end)
{
    atomic_store_explicit(&self->segment->end, end, memory_order_relaxed);
    atomic_store_explicit(&self->segment->record_bytes, self->record_bytes, memory_order_relaxed);
    atomic_store_explicit(&self->segment->row_count, self->rows, memory_order_release);
}

void segment_writer_written(struct segment_writer *self)
{
    self->out_offset += self->out.len;
    buf_clear(&self->out);
    show(self, self->out_offset);
}

void segment_writer_done(struct segment_writer *self)
{
    buf_done(&self->out);
    self->segment = NULL;
}

static bool any_nonzero(struct bytes what)
{
    while (what.len >= 8) {
        if (bytes_get_le64(what.data))
            return true;
        what = bytes_skip(what, 8);
    }
    for (size_t i = 0; i < what.len; i++)
        if (what.data[i])
            return true;
    return false;
}

/* Is there a good frame behind `at` that counts seq as closed and durable? Then what is bad here
 * was good once: no torn write, the disk lost it. */
static bool later_frame_vouches(struct bytes bytes, uint64_t at, uint64_t seq, uint64_t nonce)
{
    for (; at + MVCC_RECORD_HEADER_BYTES <= bytes.len; at += 8) {
        if (bytes.data[at + 44] != MVCC_FRAME || bytes_get_le64(bytes.data + at + 24) < seq)
            continue;
        struct mvcc_record record;
        struct mvcc_frame frame;
        if (err_ok(mvcc_record_decode(bytes_skip(bytes, at), &record)) &&
            err_ok(mvcc_frame_from_record(&record, &frame)) && frame.nonce == nonce)
            return true;
    }
    return false;
}

/* Takes items until the first that is not good; *ret_end says how it ended: ERR_NOT_FOUND at zeros
 * or the end of the bytes. */
static void scan_items(struct segment_writer *self, struct bytes bytes, struct segment_scan *scan,
                       err *ret_end)
{
    uint64_t at = SEGMENT_HEADER_BYTES;
    for (;;) {
        struct mvcc_record record;
        err e = mvcc_record_decode(bytes_skip(bytes, at), &record);
        struct mvcc_frame frame;
        if (err_ok(e) && record.kind == MVCC_FRAME)
            e = mvcc_frame_from_record(&record, &frame);
        if (err_ok(e) && record.kind == MVCC_FRAME && frame.nonce != self->segment->nonce)
            e = ERR_CORRUPT;
        bool expected = false;
        if (err_ok(e) && record.kind == MVCC_FRAME)
            expected = record.seq == self->next_seq - 1 || !self->dense ||
                       (scan->good_end == SEGMENT_HEADER_BYTES && record.seq < self->next_seq);
        else if (err_ok(e))
            expected =
                record.seq == self->next_seq || (!self->dense && record.seq > self->next_seq &&
                                                 record.seq <= self->segment->name.last);
        if (!err_ok(e) || !expected) {
            *ret_end = err_ok(e) ? ERR_CORRUPT : e;
            return;
        }
        uint64_t offset = at;
        at += mvcc_record_bytes(record.blob.len);
        scan->good_end = at;
        if (record.kind == MVCC_FRAME) {
            scan->has_frame = true;
            scan->frame = frame;
            scan->frame_end = at;
            scan->frame_rows = self->rows;
            if (frame.synced > scan->synced)
                scan->synced = frame.synced;
        } else {
            row_add(self, &record, offset);
            scan->good_seq = record.seq;
        }
    }
}

/* Behind the last record that is known to be durable. */
static uint64_t vouched_end(const struct segment_writer *self, const struct segment_scan *scan)
{
    uint64_t first = self->segment->name.first;
    if (!self->rows || scan->synced < first)
        return SEGMENT_HEADER_BYTES;
    uint64_t rows = scan->synced - first + 1;
    uint32_t last = (uint32_t)(rows < self->rows ? rows : self->rows) - 1;
    const struct segment_row *row = segment_row_at(self->segment, last);
    return (uint64_t)row->offset8 * 8 + mvcc_record_bytes(row->blob_bytes);
}

static err scan_check_open(const struct segment_writer *self, struct bytes bytes,
                           const struct segment_scan *scan)
{
    /* A segment got its name only when its first frame was durable. */
    if (!scan->has_frame || scan->frame.seq < scan->synced)
        return ERR_CORRUPT;
    bool lost =
        later_frame_vouches(bytes, scan->good_end, scan->frame.seq + 1, self->segment->nonce);
    return lost ? ERR_CORRUPT : OK;
}

static err scan_check_sealed(const struct segment_writer *self, const struct segment_scan *scan,
                             err end)
{
    if (!err_is(end, ERR_NOT_FOUND))
        return ERR_CORRUPT;
    const struct segment_name *name = &self->segment->name;
    if (scan->good_seq == name->last && self->rows == name->last - name->first + 1)
        return OK;
    bool ended =
        scan->has_frame && scan->frame.seq == name->last && scan->frame_end == scan->good_end;
    return ended ? OK : ERR_CORRUPT;
}

/* Ends the rows at the last frame of a segment that is appended to, and gets ready to go on. */
static void resume(struct segment_writer *self, const struct segment_scan *scan, bool open)
{
    uint32_t keep = open ? scan->frame_rows : self->rows;
    uint64_t end = open ? scan->frame_end : scan->good_end;
    while (self->rows > keep) {
        const struct segment_row *row = segment_row_at(self->segment, --self->rows);
        self->record_bytes -= mvcc_record_bytes(row->blob_bytes);
    }
    if (open)
        self->next_seq = self->segment->name.first + keep;
    self->out_offset = end;
    show(self, end);
}

err segment_writer_scan(struct segment_writer *self, struct segment_name name,
                        struct segment_owner owner, uint64_t synced, struct bytes bytes,
                        struct bytes map, struct segment_scan *ret_scan,
                        struct segment_fault *ret_fault)
{
    CHECK(bytes.len == map.len);
    *ret_fault = (struct segment_fault){0, name.first};
    struct segment_header header;
    if (bytes.len > SEGMENT_BYTES_MAX || bytes.len % 8 != 0)
        return ERR_CORRUPT;
    TRY(segment_header_decode(bytes, &header));
    if (header.owner.cluster_id != owner.cluster_id || header.owner.member_id != owner.member_id)
        return ERR_MISMATCH;
    if (header.first != name.first || header.generation != name.generation)
        return ERR_CORRUPT;

    bool open = name.last == SEGMENT_OPEN;
    writer_init(self, name, owner, header.synced, header.nonce, map);
    struct segment_scan scan = {
        .frame_end = SEGMENT_HEADER_BYTES,
        .good_end = SEGMENT_HEADER_BYTES,
        .good_seq = name.first - 1,
        .synced = synced,
    };
    err end;
    scan_items(self, bytes, &scan, &end);
    err e = open ? scan_check_open(self, bytes, &scan) : scan_check_sealed(self, &scan, end);
    if (!err_ok(e)) {
        *ret_fault = (struct segment_fault){scan.good_end, scan.good_seq + 1};
        segment_free(self->segment);
        segment_writer_done(self);
        return e;
    }
    scan.vouched_end = open ? vouched_end(self, &scan) : scan.good_end;
    resume(self, &scan, open);
    scan.dirty = open && any_nonzero(bytes_skip(bytes, scan.frame_end));
    *ret_scan = scan;
    return OK;
}
