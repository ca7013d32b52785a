#include "mvcc/segment.h"
#include "base/bug.h"

#include "base/check.h"
#include "base/crc.h"
#include "mvcc/segment_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NARROW_ROWS_MIN 64

void segment_name_print(const struct segment_name *self, const char *suffix,
                        char out[SEGMENT_NAME_BYTES])
{
    int n = snprintf(out, SEGMENT_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 "-%08" PRIx32 "%s",
                     self->first, self->last, self->generation, suffix);
    CHECK(n > 0 && n < SEGMENT_NAME_BYTES);
}

/* Exactly `digits` lower-case hex digits, then `after`. */
static bool take_hex(const char **text, unsigned digits, char after, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < digits; i++) {
        char c = (*text)[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        number = number << 4 | digit;
    }
    if ((*text)[digits] != after)
        return false;
    *text += digits + 1;
    *ret_number = number;
    return true;
}

bool segment_name_parse(const char *text, const char *suffix, struct segment_name *ret_name)
{
    uint64_t first, last, generation;
    if (!take_hex(&text, 16, '-', &first) || !take_hex(&text, 16, '-', &last) ||
        !take_hex(&text, 8, suffix[0], &generation) || strcmp(text, suffix + 1) != 0)
        return false;
    /* first = last + 1: a range of its own in which no record is left cannot be named, so it is
     * never made */
    if (first == 0 || first > last || (last != SEGMENT_OPEN && last > MVCC_SEQ_MAX))
        return false;
    *ret_name = (struct segment_name){first, last, (uint32_t)generation};
    return true;
}

/* The rows that the coarse table leaves to search. */
static void coarse_bounds(const struct segment *self, uint64_t delta, uint32_t *lo, uint32_t *hi)
{
    if (!self->coarse)
        return;
    uint64_t i = delta >> self->coarse_shift;
    uint32_t from = self->coarse[i];
    uint32_t to = i + 1 < SEGMENT_COARSE_COUNT ? self->coarse[i + 1] : *hi;
    /* Checked when the file was opened: ascending and at most the row count. */
    *lo = from;
    *hi = to;
}

uint32_t segment_row_find(const struct segment *self, uint64_t seq)
{
    uint32_t lo = 0, hi = segment_row_count(self);
    if (seq <= self->name.first)
        return 0;
    uint64_t delta = seq - self->name.first;
    if (delta > SEGMENT_SPAN_MAX || (hi && seq > self->name.last))
        return hi;
    /* Where nothing has been dropped the row is where it would be. */
    if (delta < hi && segment_row_at(self, (uint32_t)delta)->seq_delta == delta)
        return (uint32_t)delta;
    coarse_bounds(self, delta, &lo, &hi);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (segment_row_at(self, mid)->seq_delta < delta)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Narrows [lo, hi) around where the revision would be if revisions were spread evenly: they nearly
 * are, so that the search touches a few neighbouring rows and not a page at each step. */
static void main_narrow(const struct segment *self, int64_t revision, uint32_t *lo, uint32_t *hi)
{
    if (*hi < NARROW_ROWS_MIN)
        return;
    int64_t first = segment_row_at(self, 0)->main, last = segment_row_at(self, *hi - 1)->main;
    if (revision <= first || revision >= last)
        return;
    double share = ((double)revision - (double)first) / ((double)last - (double)first);
    uint32_t count = *hi, at = (uint32_t)(share * (double)(count - 1));
    if (segment_row_at(self, at)->main > revision) {
        *hi = at;
        for (uint64_t step = NARROW_ROWS_MIN; step <= at; step *= 4) {
            if (segment_row_at(self, at - (uint32_t)step)->main <= revision) {
                *lo = at - (uint32_t)step;
                return;
            }
            *hi = at - (uint32_t)step;
        }
    } else {
        *lo = at + 1;
        for (uint64_t step = NARROW_ROWS_MIN; step < count - at; step *= 4) {
            if (segment_row_at(self, at + (uint32_t)step)->main > revision) {
                *hi = at + (uint32_t)step;
                return;
            }
            *lo = at + (uint32_t)step + 1;
        }
    }
}

uint32_t segment_row_find_main(const struct segment *self, int64_t revision)
{
    uint32_t lo = 0, hi = segment_row_count(self);
    main_narrow(self, revision, &lo, &hi);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (segment_row_at(self, mid)->main <= revision)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

err segment_row_check_page(const struct segment *self, uint32_t i)
{
    if (!self->rows)
        return OK;
    uint32_t page = i / SEGMENT_ROWS_PER_PAGE;
    uint64_t bit = UINT64_C(1) << (page % 64);
    if (atomic_load_explicit(&self->pages_checked[page / 64], memory_order_relaxed) & bit)
        return OK;
    struct bytes bytes =
        bytes_of(self->rows + (size_t)page * SEGMENT_ROWS_PER_PAGE, SEGMENT_ROW_PAGE_BYTES);
    if (crc32c(0, bytes) != self->page_crcs[page])
        return ERR_CORRUPT;
    atomic_fetch_or_explicit(&self->pages_checked[page / 64], bit, memory_order_relaxed);
    return OK;
}

err segment_record_read(const struct segment *self, uint32_t i, struct mvcc_record *ret_record)
{
    const struct segment_row *row = segment_row_at(self, i);
    uint64_t offset = (uint64_t)row->offset8 * 8;
    if (offset >= self->map.len)
        return ERR_CORRUPT;
    struct mvcc_record record;
    if (BUG(misdirected_record_accepted)) {
        TRY(mvcc_record_decode(bytes_skip(self->map, offset), ret_record));
        return OK;
    }
    TRY(mvcc_record_decode_seq(bytes_skip(self->map, offset), segment_row_seq(self, i), &record));
    struct segment_row again;
    segment_row_make(&record, self->name.first, offset, &again);
    if (memcmp(&again, row, sizeof(again)) != 0)
        return ERR_CORRUPT;
    *ret_record = record;
    return OK;
}

void segment_row_make(const struct mvcc_record *record, uint64_t first, uint64_t offset,
                      struct segment_row *ret_row)
{
    CHECK(record->seq >= first && record->seq - first <= SEGMENT_SPAN_MAX);
    CHECK(offset % 8 == 0 && offset / 8 <= UINT32_MAX);
    *ret_row = (struct segment_row){
        .seq_delta = (uint32_t)(record->seq - first),
        .offset8 = (uint32_t)(offset / 8),
        .blob_bytes = (uint32_t)record->blob.len,
        .crc = record->crc,
        .main = record->main,
        .prev_kind = record->prev << 16 | (uint64_t)record->bucket << 8 |
                     (uint64_t)record->birth << 4 | record->kind,
    };
}

struct segment_dead *segment_dead_new(uint32_t capacity)
{
    size_t words = ((size_t)capacity + 63) / 64;
    struct segment_dead *self = calloc(1, sizeof(*self) + words * sizeof(self->words[0]));
    CHECK(self != NULL);
    self->capacity = capacity;
    return self;
}

bool segment_dead_get(const struct segment_dead *self, uint32_t row)
{
    CHECK(row < self->capacity);
    uint64_t word = atomic_load_explicit(&self->words[row / 64], memory_order_relaxed);
    return word >> (row % 64) & 1;
}

bool segment_dead_set(struct segment_dead *self, uint32_t row, uint64_t record_bytes)
{
    CHECK(row < self->capacity);
    uint64_t bit = UINT64_C(1) << (row % 64);
    uint64_t before = atomic_fetch_or_explicit(&self->words[row / 64], bit, memory_order_relaxed);
    if (before & bit)
        return false;
    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->bytes, record_bytes, memory_order_relaxed);
    return true;
}

static err row_file_check(struct segment_name name, struct bytes map, uint32_t *ret_rows,
                          uint64_t *ret_end)
{
    const uint8_t *p = map.data;
    if (map.len < SEGMENT_ROW_HEADER_BYTES || bytes_get_le64(p) != SEGMENT_ROW_MAGIC ||
        bytes_get_le32(p + 8) != crc32c(0, bytes_of(p + 12, SEGMENT_ROW_HEADER_BYTES - 12)) ||
        bytes_get_le32(p + 12) != name.generation || bytes_get_le64(p + 16) != name.first ||
        bytes_get_le64(p + 24) != name.last || bytes_get_le32(p + 40) > 31)
        return ERR_CORRUPT;
    uint32_t rows = bytes_get_le32(p + 32);
    size_t pages = ((size_t)rows + SEGMENT_ROWS_PER_PAGE - 1) / SEGMENT_ROWS_PER_PAGE;
    if (map.len != segment_row_file_bytes(rows))
        return ERR_CORRUPT;
    const uint8_t *crcs = p + SEGMENT_ROW_HEADER_BYTES + pages * SEGMENT_ROW_PAGE_BYTES;
    if (bytes_get_le32(crcs + pages * 4) != crc32c(0, bytes_of(crcs, pages * 4)))
        return ERR_CORRUPT;
    uint32_t before = 0;
    for (unsigned i = 0; i < SEGMENT_COARSE_COUNT; i++) {
        uint32_t at = bytes_get_le32(p + 64 + (size_t)i * 4);
        if (at < before || at > rows)
            return ERR_CORRUPT;
        before = at;
    }
    *ret_rows = rows;
    *ret_end = (uint64_t)bytes_get_le32(p + 36) * 8;
    return OK;
}

err segment_open_sealed(struct segment_name name, struct segment_owner owner, struct bytes map,
                        struct bytes row_map, struct segment_dead *dead,
                        struct segment **ret_segment)
{
    struct segment_header header;
    TRY(segment_header_decode(map, &header));
    if (header.owner.cluster_id != owner.cluster_id || header.owner.member_id != owner.member_id)
        return ERR_MISMATCH;
    if (header.first != name.first || header.generation != name.generation)
        return ERR_CORRUPT;
    CHECK(name.last != SEGMENT_OPEN);
    if (name.last - name.first > SEGMENT_SPAN_MAX)
        return ERR_CORRUPT;
    uint32_t rows;
    uint64_t end;
    TRY(row_file_check(name, row_map, &rows, &end));
    if (end < SEGMENT_HEADER_BYTES || end > map.len || (dead && dead->capacity < rows))
        return ERR_CORRUPT;
    struct segment *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->name = name;
    self->owner = owner;
    self->synced = header.synced;
    self->nonce = header.nonce;
    self->map = map;
    self->row_map = row_map;
    atomic_init(&self->end, end);
    atomic_init(&self->record_bytes, bytes_get_le64(row_map.data + 48));
    atomic_init(&self->row_count, rows);
    const uint8_t *p = row_map.data;
    size_t pages = ((size_t)rows + SEGMENT_ROWS_PER_PAGE - 1) / SEGMENT_ROWS_PER_PAGE;
    self->rows = (const struct segment_row *)(const void *)(p + SEGMENT_ROW_HEADER_BYTES);
    self->page_crcs = (const uint32_t *)(const void *)(p + SEGMENT_ROW_HEADER_BYTES +
                                                       pages * SEGMENT_ROW_PAGE_BYTES);
    self->coarse = (const uint32_t *)(const void *)(p + 64);
    self->coarse_shift = bytes_get_le32(p + 40);
    self->dead = dead ? dead : segment_dead_new(rows);
    self->pages_checked = calloc(pages / 64 + 1, sizeof(self->pages_checked[0]));
    CHECK(self->pages_checked != NULL);
    self->refs = 1;
    *ret_segment = self;
    return OK;
}

void segment_free(struct segment *self)
{
    if (!self)
        return;
    if (self->pages) {
        for (struct segment_row **page = self->pages; *page; page++)
            free(*page);
        free(self->pages);
    }
    free(self->dead);
    free(self->pages_checked);
    free(self);
}

void segment_unref(struct segment *self)
{
    CHECK(self->refs > 0);
    if (--self->refs == 0) {
        if (self->release)
            self->release(self);
        else
            segment_free(self);
    }
}

struct segment_table *segment_table_new(unsigned count)
{
    size_t pointers = sizeof(struct segment_table) + count * sizeof(struct segment *);
    struct segment_table *self = calloc(1, pointers + count * sizeof(uint64_t));
    CHECK(self != NULL);
    self->firsts = (uint64_t *)(void *)((char *)self + pointers);
    return self;
}

void segment_table_put(struct segment_table *self, struct segment *segment)
{
    self->firsts[self->count] = segment->name.first;
    self->segments[self->count++] = segment;
}

unsigned segment_table_find(const struct segment_table *self, uint64_t seq)
{
    unsigned lo = 0, hi = self->count;
    while (lo < hi) { /* the first that begins behind seq */
        unsigned mid = lo + (hi - lo) / 2;
        if (self->firsts[mid] <= seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo && seq <= self->segments[lo - 1]->name.last ? lo - 1 : self->count;
}
