#include "mvcc/cleaning.h"

#include "base/check.h"
#include "base/crc.h"

#define DEAD_MAGIC        UINT64_C(0x3144454441524f43) /* CORADED1 */
#define DEAD_HEADER_BYTES 48

struct use {
    uint64_t useful; /* bytes of records that a cleaning would keep */
    uint64_t waste;
    bool due;
    bool small;
};

/* What had to stay would stay again. */
static uint64_t kept_again(const struct segment_kept *kept, uint64_t limit)
{
    return limit <= kept->limit ? kept->bytes : 0;
}

static struct use use_of(const struct segment *segment, const struct cleaning_limits *limits)
{
    uint64_t end = atomic_load_explicit(&segment->end, memory_order_relaxed);
    uint64_t records = atomic_load_explicit(&segment->record_bytes, memory_order_relaxed);
    uint64_t dead = atomic_load_explicit(&segment->dead->bytes, memory_order_relaxed);
    uint64_t kept = kept_again(&segment->kept_deletions, limits->tombstone_limit) +
                    kept_again(&segment->kept_others, limits->floor);
    dead -= dead < kept ? dead : kept;
    struct use use = {.useful = records - dead};
    /* What a cleaning would leave of a segment without any record. */
    uint64_t least = SEGMENT_HEADER_BYTES + mvcc_frame_bytes(&(struct mvcc_frame){0});
    use.waste = end > least + use.useful ? end - least - use.useful : 0;
    use.due = use.waste * 100 > (uint64_t)limits->dead_percent * end;
    use.small = use.useful <= limits->segment_bytes / 2;
    return use;
}

bool cleaning_pick(const struct segment_table *table, const struct cleaning_limits *limits,
                   struct cleaning_plan *ret_plan)
{
    bool found = false;
    struct cleaning_plan best = {0};
    for (unsigned first = 0; first < table->count; first++) {
        uint64_t useful = 0, waste = 0;
        bool due = false;
        for (unsigned i = first; i < table->count && i - first < CLEANING_RUN_MAX; i++) {
            const struct segment *segment = table->segments[i];
            if (segment->name.last == SEGMENT_OPEN ||
                segment->name.last - table->segments[first]->name.first > SEGMENT_SPAN_MAX)
                break;
            struct use use = use_of(segment, limits);
            if (!use.due && !use.small)
                break;
            if (i > first && useful + use.useful > limits->segment_bytes)
                break;
            useful += use.useful;
            waste += use.waste;
            due = due || use.due;
            /* Merging alone gives back a header and a table's place, never nothing. */
            uint64_t gain = waste + (uint64_t)(i - first) * SEGMENT_HEADER_BYTES;
            if ((due || i > first) && (!found || gain > best.gain_bytes)) {
                best = (struct cleaning_plan){first, i - first + 1, gain};
                found = true;
            }
        }
    }
    if (found)
        *ret_plan = best;
    return found;
}

void cleaning_run_init(struct cleaning_run *self, const struct segment_table *table,
                       const struct cleaning_plan *plan, const struct cleaning_limits *limits)
{
    CHECK(plan->count > 0 && plan->count <= CLEANING_RUN_MAX);
    CHECK(plan->first + plan->count <= table->count && limits->tombstone_limit <= limits->floor);
    *self = (struct cleaning_run){.count = plan->count,
                                  .floor = limits->floor,
                                  .kept_deletions.limit = limits->tombstone_limit,
                                  .kept_others.limit = limits->floor};
    for (unsigned i = 0; i < plan->count; i++)
        self->inputs[i] = table->segments[plan->first + i];
}

uint64_t cleaning_run_save_floor(const struct cleaning_run *self)
{
    uint64_t last = self->inputs[self->count - 1]->name.last;
    return last < self->floor ? last : self->floor;
}

struct segment_name cleaning_run_name(const struct cleaning_run *self)
{
    uint32_t generation = 0;
    for (unsigned i = 0; i < self->count; i++)
        if (self->inputs[i]->name.generation > generation)
            generation = self->inputs[i]->name.generation;
    return (struct segment_name){self->inputs[0]->name.first,
                                 self->inputs[self->count - 1]->name.last, generation + 1};
}

uint64_t cleaning_run_bytes(const struct cleaning_run *self)
{
    struct mvcc_frame end = {0};
    uint64_t bytes = SEGMENT_HEADER_BYTES + mvcc_frame_bytes(&end);
    /* All records: bits that are set while it runs only make it less. */
    for (unsigned i = 0; i < self->count; i++) {
        const struct segment *segment = self->inputs[i];
        bytes += atomic_load_explicit(&segment->record_bytes, memory_order_relaxed);
    }
    return bytes;
}

static bool is_deletion(const struct segment_row *row)
{
    enum mvcc_kind kind = segment_row_kind(row);
    return kind == MVCC_TOMBSTONE || kind == MVCC_BUCKET_DELETE;
}

static err copy_row(struct cleaning_run *self, const struct segment *from,
                    struct segment_writer *writer)
{
    const struct segment_row *row = segment_row_at(from, self->row);
    uint64_t seq = segment_row_seq(from, self->row);
    bool dead = segment_dead_get(from->dead, self->row);
    struct segment_kept *kept = is_deletion(row) ? &self->kept_deletions : &self->kept_others;
    bool must_stay = dead && seq > kept->limit;
    if (dead && !must_stay)
        return OK;
    struct mvcc_record record;
    TRY(segment_record_read(from, self->row, &record));
    uint32_t at = writer->rows;
    CHECK(segment_writer_record(writer, &record)); /* its file is large enough for all inputs */
    if (must_stay) {
        uint64_t bytes = mvcc_record_bytes(record.blob.len);
        segment_dead_set(writer->segment->dead, at, bytes);
        kept->bytes += bytes;
    }
    return OK;
}

err cleaning_run_copy(struct cleaning_run *self, struct segment_writer *writer,
                      uint64_t budget_bytes)
{
    CHECK(!self->done);
    while (self->input < self->count) {
        const struct segment *from = self->inputs[self->input];
        if (self->row == segment_row_count(from)) {
            self->input++;
            self->row = 0;
            continue;
        }
        if (segment_writer_planned(writer).len >= budget_bytes)
            return OK;
        if (self->row % SEGMENT_ROWS_PER_PAGE == 0)
            TRY(segment_row_check_page(from, self->row));
        TRY(copy_row(self, from, writer));
        self->row++;
    }
    struct mvcc_frame end = {.seq = self->inputs[self->count - 1]->name.last};
    CHECK(segment_writer_frame(writer, &end));
    self->done = true;
    return OK;
}

err cleaning_run_carry(const struct cleaning_run *self, struct segment *result, uint32_t *row,
                       uint32_t budget, bool *ret_more)
{
    uint32_t count = segment_row_count(result);
    unsigned input = 0;
    for (; *row < count && budget; (*row)++, budget--) {
        uint64_t seq = segment_row_seq(result, *row);
        while (self->inputs[input]->name.last < seq)
            input++;
        const struct segment *from = self->inputs[input];
        uint32_t i = segment_row_find(from, seq);
        if (i >= segment_row_count(from) || segment_row_seq(from, i) != seq)
            return ERR_CORRUPT; /* it was there when it was copied */
        if (segment_dead_get(from->dead, i))
            segment_dead_set(result->dead, *row,
                             mvcc_record_bytes(segment_row_at(result, *row)->blob_bytes));
    }
    *ret_more = *row < count;
    return OK;
}

void dead_file_encode(const struct segment *segment, const struct dead_file *about, struct buf *out)
{
    uint64_t behind = about->synced > about->floor ? about->synced - about->floor : 0;
    uint32_t rows = segment_row_count(segment);
    size_t words = ((size_t)rows + 63) / 64;
    size_t bytes = DEAD_HEADER_BYTES + words * 8;
    CHECK(err_ok(buf_reserve(out, bytes)));
    uint8_t *p = out->data + out->len;
    memset(p, 0, DEAD_HEADER_BYTES);
    bytes_put_le64(p, DEAD_MAGIC);
    bytes_put_le32(p + 12, segment->name.generation);
    bytes_put_le64(p + 16, segment->name.first);
    bytes_put_le64(p + 24, segment->name.last);
    bytes_put_le64(p + 32, about->floor);
    bytes_put_le32(p + 40, rows);
    bytes_put_le32(p + 44, behind < UINT32_MAX ? (uint32_t)behind : UINT32_MAX);
    for (size_t i = 0; i < words; i++)
        bytes_put_le64(p + DEAD_HEADER_BYTES + i * 8,
                       atomic_load_explicit(&segment->dead->words[i], memory_order_relaxed));
    bytes_put_le32(p + 8, crc32c(0, bytes_of(p + 12, bytes - 12)));
    out->len += bytes;
}

void dead_words_apply(struct segment *segment, uint32_t rows, struct bytes words)
{
    uint32_t count = segment_row_count(segment);
    if (rows > count)
        rows = count;
    for (uint32_t row = 0; row < rows && row / 64 * 8 < words.len; row++) {
        uint64_t word = bytes_get_le64(words.data + (size_t)(row / 64) * 8);
        if (!word) {
            row |= 63;
            continue;
        }
        if (word >> (row % 64) & 1)
            segment_dead_set(segment->dead, row,
                             mvcc_record_bytes(segment_row_at(segment, row)->blob_bytes));
    }
}

err dead_file_apply(struct segment *segment, struct bytes file, struct dead_file *ret_about)
{
    const uint8_t *p = file.data;
    uint32_t rows = segment_row_count(segment);
    size_t bytes = DEAD_HEADER_BYTES + ((size_t)rows + 63) / 64 * 8;
    if (file.len != bytes || bytes_get_le64(p) != DEAD_MAGIC ||
        bytes_get_le32(p + 8) != crc32c(0, bytes_of(p + 12, bytes - 12)) ||
        bytes_get_le32(p + 12) != segment->name.generation ||
        bytes_get_le64(p + 16) != segment->name.first ||
        bytes_get_le64(p + 24) != segment->name.last || bytes_get_le32(p + 40) != rows)
        return ERR_CORRUPT;
    uint64_t floor = bytes_get_le64(p + 32);
    if (floor > UINT64_MAX - UINT32_MAX)
        return ERR_CORRUPT;
    dead_words_apply(segment, rows, bytes_skip(file, DEAD_HEADER_BYTES));
    *ret_about = (struct dead_file){floor, floor + bytes_get_le32(p + 44)};
    return OK;
}
