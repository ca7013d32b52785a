#include "mvcc/revlog.h"

#include "base/check.h"

#include <stdlib.h>

struct revlog {
    struct epoch *epoch;
    _Atomic(struct tail *) tail;
    _Atomic(struct segment_table *) table;
};

struct revlog *revlog_new(struct epoch *epoch, struct tail *tail)
{
    struct revlog *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->epoch = epoch;
    atomic_init(&self->tail, tail);
    atomic_init(&self->table, segment_table_new(0));
    return self;
}

void revlog_free(struct revlog *self)
{
    if (!self)
        return;
    struct segment_table *table = atomic_load_explicit(&self->table, memory_order_relaxed);
    for (unsigned i = 0; i < table->count; i++)
        segment_unref(table->segments[i]);
    free(table);
    free(self);
}

void revlog_set_tail(struct revlog *self, struct tail *tail)
{
    atomic_store_explicit(&self->tail, tail, memory_order_release);
}

static const struct tail *tail_of(const struct revlog *self)
{
    return atomic_load_explicit(&self->tail, memory_order_acquire);
}

const struct segment_table *revlog_table(const struct revlog *self)
{
    return atomic_load_explicit(&self->table, memory_order_acquire);
}

static err corrupt(const struct segment *segment, uint32_t row, uint64_t seq,
                   struct revlog_fault *fault)
{
    if (fault) {
        segment_name_print(&segment->name, ".seg", fault->file);
        fault->offset =
            row < segment_row_count(segment) ? segment_row_at(segment, row)->offset8 * 8ull : 0;
        fault->seq = seq;
    }
    return ERR_CORRUPT;
}

static err row_page_corrupt(const struct segment *segment, uint32_t row, uint64_t seq,
                            struct revlog_fault *fault)
{
    if (fault) {
        segment_name_print(&segment->name, ".row", fault->file);
        fault->offset =
            (uint64_t)((const uint8_t *)segment_row_at(segment, row) - segment->row_map.data);
        fault->seq = seq;
    }
    return ERR_CORRUPT;
}

/* What a search has come to is right where the rows on both sides of it are. */
static err rows_check_around(const struct segment *segment, uint32_t row, uint64_t seq,
                             struct revlog_fault *fault)
{
    uint32_t count = segment_row_count(segment);
    for (uint32_t near = row ? row - 1 : 0; near <= row && near < count; near++)
        if (!err_ok(segment_row_check_page(segment, near)))
            return row_page_corrupt(segment, near, seq, fault);
    return OK;
}

/* The row of seq. Where it is not there the rows around are checked, so that a bad row is never
 * taken for a change that cleaning dropped. */
static err row_locate(const struct revlog *self, uint64_t seq, const struct segment **ret_segment,
                      uint32_t *ret_row, struct revlog_fault *fault)
{
    const struct segment_table *table = revlog_table(self);
    unsigned at = segment_table_find(table, seq);
    if (at == table->count)
        return ERR_NOT_FOUND;
    const struct segment *segment = table->segments[at];
    uint32_t row = segment_row_find(segment, seq);
    uint32_t count = segment_row_count(segment);
    if (row < count && segment_row_seq(segment, row) == seq) {
        if (!err_ok(segment_row_check_page(segment, row)))
            return row_page_corrupt(segment, row, seq, fault);
        *ret_segment = segment;
        *ret_row = row;
        return OK;
    }
    TRY(rows_check_around(segment, row, seq, fault));
    return ERR_NOT_FOUND;
}

err revlog_read(const struct revlog *self, uint64_t seq, struct mvcc_record *ret_record,
                struct revlog_fault *fault)
{
    const struct tail *tail = tail_of(self);
    const struct mvcc_record *fresh = tail ? tail_find(tail, seq) : NULL;
    if (fresh) {
        *ret_record = *fresh;
        return OK;
    }
    const struct segment *segment;
    uint32_t row;
    TRY(row_locate(self, seq, &segment, &row, fault));
    if (!err_ok(segment_record_read(segment, row, ret_record)))
        return corrupt(segment, row, seq, fault);
    return OK;
}

static void row_from_record(const struct mvcc_record *record, struct revlog_row *ret_row)
{
    *ret_row = (struct revlog_row){
        .seq = record->seq,
        .prev = record->prev,
        .main = record->main,
        .blob_bytes = (uint32_t)record->blob.len,
        .crc = record->crc,
        .kind = record->kind,
        .bucket = record->bucket,
        .birth = record->birth,
        .death = record->kind == MVCC_TOMBSTONE,
    };
}

static void row_from_segment(const struct segment *segment, uint32_t i, struct revlog_row *ret_row)
{
    const struct segment_row *row = segment_row_at(segment, i);
    enum mvcc_kind kind = segment_row_kind(row);
    *ret_row = (struct revlog_row){
        .seq = segment->name.first + row->seq_delta,
        .prev = segment_row_prev(row),
        .main = row->main,
        .blob_bytes = row->blob_bytes,
        .crc = row->crc,
        .kind = (uint8_t)kind,
        .bucket = segment_row_bucket(row),
        .birth = segment_row_is_birth(row),
        .death = kind == MVCC_TOMBSTONE,
        .dead = segment_dead_get(segment->dead, i),
    };
}

err revlog_row(const struct revlog *self, uint64_t seq, struct revlog_row *ret_row,
               struct revlog_fault *fault)
{
    /* Segments first: what is dead is known there, also of a change that the tail still keeps. */
    const struct segment *segment;
    uint32_t row;
    err e = row_locate(self, seq, &segment, &row, fault);
    if (err_is(e, ERR_NOT_FOUND)) {
        const struct tail *tail = tail_of(self);
        const struct mvcc_record *fresh = tail ? tail_find(tail, seq) : NULL;
        if (fresh) {
            row_from_record(fresh, ret_row);
            return OK;
        }
        e = row_locate(self, seq, &segment, &row, fault); /* written and trimmed meanwhile */
    }
    TRY(e);
    row_from_segment(segment, row, ret_row);
    return OK;
}

uint64_t revlog_written_seq(const struct revlog *self)
{
    const struct segment_table *table = revlog_table(self);
    if (!table->count)
        return 0;
    const struct segment *newest = table->segments[table->count - 1];
    if (newest->name.last != SEGMENT_OPEN)
        return newest->name.last;
    return newest->name.first + segment_row_count(newest) - 1;
}

uint64_t revlog_last_seq(const struct revlog *self)
{
    const struct tail *tail = tail_of(self);
    uint64_t written = revlog_written_seq(self);
    uint64_t last = tail ? tail_last(tail) : 0;
    return last > written ? last : written;
}

static uint64_t tail_seq_of_revision(const struct tail *tail, int64_t revision, uint64_t max_seq)
{
    uint64_t lo = tail_first(tail), hi = tail_last(tail);
    hi = hi > max_seq ? max_seq + 1 : hi + 1;
    uint64_t begin = lo;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        const struct mvcc_record *record = tail_find(tail, mid);
        /* Trimmed meanwhile: the answer is not below what is gone unless the segments say so. */
        if (!record || record->main <= revision)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == begin || !tail_find(tail, lo - 1))
        return 0;
    return lo - 1;
}

/* Segments of the table that begin before the revision and max_seq: the answer is in the last. */
static unsigned segments_before(const struct segment_table *table, int64_t revision,
                                uint64_t max_seq)
{
    unsigned lo = 0, hi = table->count;
    while (lo < hi) { /* the first segment that begins behind revision or max_seq */
        unsigned mid = lo + (hi - lo) / 2;
        const struct segment *segment = table->segments[mid];
        bool before = segment->name.first <= max_seq &&
                      (!segment_row_count(segment) || segment_row_at(segment, 0)->main <= revision);
        if (before)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Each search ends between two rows that it has looked at: where these are right, so is its end. */
err revlog_find_revision(const struct revlog *self, int64_t revision, uint64_t max_seq,
                         uint64_t *ret_seq, struct revlog_fault *fault)
{
    const struct tail *tail = tail_of(self);
    *ret_seq = tail ? tail_seq_of_revision(tail, revision, max_seq) : 0;
    if (*ret_seq)
        return OK;
    const struct segment_table *table = revlog_table(self);
    unsigned at = segments_before(table, revision, max_seq);
    if (at < table->count)
        TRY(rows_check_around(table->segments[at], 0, table->segments[at]->name.first, fault));
    while (at-- > 0 && !*ret_seq) { /* more than once only where segments are empty */
        const struct segment *segment = table->segments[at];
        uint32_t rows = segment_row_find_main(segment, revision);
        uint32_t bound = max_seq < segment->name.last ? segment_row_find(segment, max_seq + 1)
                                                      : segment_row_count(segment);
        TRY(rows_check_around(segment, 0, segment->name.first, fault));
        TRY(rows_check_around(segment, rows, segment->name.first, fault));
        TRY(rows_check_around(segment, bound, segment->name.first, fault));
        if (bound < rows)
            rows = bound;
        if (rows)
            *ret_seq = segment_row_seq(segment, rows - 1);
    }
    return OK;
}

void revlog_rows_begin(struct revlog_rows *self, const struct revlog *log, uint64_t from,
                       uint64_t to)
{
    *self = (struct revlog_rows){
        .log = log, .table = revlog_table(log), .next = from ? from : 1, .to = to};
    self->segment = segment_table_find(self->table, self->next);
    if (self->segment < self->table->count)
        self->row = segment_row_find(self->table->segments[self->segment], self->next);
    else
        self->in_tail = true;
}

static err next_in_segments(struct revlog_rows *self, struct revlog_row *ret_row, bool *ret_found,
                            struct revlog_fault *fault)
{
    while (self->segment < self->table->count) {
        const struct segment *segment = self->table->segments[self->segment];
        if (self->row >= self->row_count)
            self->row_count = segment_row_count(segment);
        /* Also where a search has come to the end, past a row that it took for a smaller one. */
        if (!self->page_checked || self->row % SEGMENT_ROWS_PER_PAGE == 0)
            TRY(rows_check_around(segment, self->row, self->next, fault));
        self->page_checked = true;
        if (self->row >= self->row_count) {
            self->segment++;
            self->row = self->row_count = 0;
            self->page_checked = false;
            continue;
        }
        uint64_t seq = segment_row_seq(segment, self->row);
        if (seq > self->to) {
            *ret_found = false;
            return OK;
        }
        row_from_segment(segment, self->row++, ret_row);
        self->next = seq + 1;
        *ret_found = true;
        return OK;
    }
    self->in_tail = true;
    *ret_found = false;
    return OK;
}

err revlog_rows_next(struct revlog_rows *self, struct revlog_row *ret_row, bool *ret_found,
                     struct revlog_fault *fault)
{
    bool found = false;
    bool again = true;
    while (self->next <= self->to) {
        if (!self->in_tail) {
            TRY(next_in_segments(self, ret_row, &found, fault));
            if (found || !self->in_tail)
                break;
        }
        const struct tail *tail = tail_of(self->log);
        const struct mvcc_record *fresh = tail ? tail_find(tail, self->next) : NULL;
        if (fresh) {
            row_from_record(fresh, ret_row);
            self->next++;
            found = true;
            break;
        }
        /* The end, or it was written and trimmed since the table was taken. */
        if (!again)
            break;
        again = false;
        revlog_rows_begin(self, self->log, self->next, self->to);
    }
    *ret_found = found;
    return OK;
}

static bool dead_locate(const struct revlog *self, uint64_t seq, const struct segment **ret_segment,
                        uint32_t *ret_row)
{
    const struct segment_table *table = revlog_table(self);
    unsigned at = segment_table_find(table, seq);
    if (at == table->count)
        return false;
    const struct segment *segment = table->segments[at];
    uint32_t row = segment_row_find(segment, seq);
    if (row >= segment_row_count(segment) || segment_row_seq(segment, row) != seq)
        return false;
    *ret_segment = segment;
    *ret_row = row;
    return true;
}

bool revlog_mark_dead(struct revlog *self, uint64_t seq)
{
    const struct segment *segment;
    uint32_t row;
    if (!dead_locate(self, seq, &segment, &row))
        return false;
    return segment_dead_set(segment->dead, row,
                            mvcc_record_bytes(segment_row_at(segment, row)->blob_bytes));
}

bool revlog_is_dead(const struct revlog *self, uint64_t seq)
{
    const struct segment *segment;
    uint32_t row;
    return dead_locate(self, seq, &segment, &row) && segment_dead_get(segment->dead, row);
}

void revlog_sizes(const struct revlog *self, struct revlog_sizes *ret_sizes)
{
    const struct segment_table *table = revlog_table(self);
    struct revlog_sizes sizes = {0};
    for (unsigned i = 0; i < table->count; i++) {
        const struct segment *segment = table->segments[i];
        uint64_t dead = atomic_load_explicit(&segment->dead->bytes, memory_order_relaxed);
        sizes.size_bytes += atomic_load_explicit(&segment->end, memory_order_relaxed);
        sizes.in_use_bytes +=
            atomic_load_explicit(&segment->record_bytes, memory_order_relaxed) - dead;
    }
    const struct tail *tail = tail_of(self);
    if (tail)
        sizes.in_use_bytes += tail_unwritten_bytes(tail);
    if (!sizes.size_bytes)
        sizes.size_bytes = SEGMENT_HEADER_BYTES;
    if (sizes.in_use_bytes > sizes.size_bytes)
        sizes.size_bytes = sizes.in_use_bytes;
    *ret_sizes = sizes;
}

static void table_free(struct epoch_item *item)
{
    struct segment_table *self =
        (struct segment_table *)(void *)((char *)item - offsetof(struct segment_table, retired));
    for (unsigned i = 0; i < self->count; i++)
        segment_unref(self->segments[i]);
    free(self);
}

static void table_check(const struct segment_table *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        const struct segment_name *name = &self->segments[i]->name;
        CHECK(i == 0 || self->segments[i - 1]->name.last + 1 == name->first);
        CHECK(name->first <= name->last);
    }
}

void revlog_install(struct revlog *self, uint64_t first, uint64_t last,
                    struct segment *const added[], unsigned count)
{
    struct segment_table *old = atomic_load_explicit(&self->table, memory_order_relaxed);
    unsigned begin = 0;
    while (begin < old->count && old->segments[begin]->name.first < first)
        begin++;
    unsigned end = begin;
    while (end < old->count && old->segments[end]->name.last <= last)
        end++;
    struct segment_table *table = segment_table_new(begin + count + (old->count - end));
    for (unsigned i = 0; i < begin; i++)
        segment_table_put(table, old->segments[i]);
    for (unsigned i = 0; i < count; i++)
        segment_table_put(table, added[i]);
    for (unsigned i = end; i < old->count; i++)
        segment_table_put(table, old->segments[i]);
    /* The new table counts what it keeps; the old one gives its counts back when it is freed. */
    for (unsigned i = 0; i < old->count; i++)
        if (i < begin || i >= end)
            old->segments[i]->refs++;
    table_check(table);
    atomic_store_explicit(&self->table, table, memory_order_release);
    epoch_retire(self->epoch, &old->retired, table_free);
}
