#include "mvcc/segment_format.h"

#include "base/check.h"
#include "base/crc.h"

void segment_header_encode(const struct segment_header *self, uint8_t out[SEGMENT_HEADER_BYTES])
{
    memset(out, 0, SEGMENT_HEADER_BYTES);
    bytes_put_le64(out, SEGMENT_MAGIC);
    bytes_put_le32(out + 12, self->generation);
    bytes_put_le64(out + 16, self->owner.cluster_id);
    bytes_put_le64(out + 24, self->owner.member_id);
    bytes_put_le64(out + 32, self->first);
    bytes_put_le64(out + 40, self->synced);
    bytes_put_le64(out + 48, self->nonce);
    bytes_put_le32(out + 8, crc32c(0, bytes_of(out + 12, SEGMENT_HEADER_BYTES - 12)));
}

err segment_header_decode(struct bytes map, struct segment_header *ret_header)
{
    const uint8_t *p = map.data;
    if (map.len < SEGMENT_HEADER_BYTES || bytes_get_le64(p) != SEGMENT_MAGIC ||
        bytes_get_le32(p + 8) != crc32c(0, bytes_of(p + 12, SEGMENT_HEADER_BYTES - 12)) ||
        bytes_get_le64(p + 56) || bytes_get_le64(p + 32) == 0)
        return ERR_CORRUPT;
    bool cleaned = bytes_get_le32(p + 12) > 0;
    if (!cleaned && bytes_get_le64(p + 40) >= bytes_get_le64(p + 32))
        return ERR_CORRUPT; /* it was begun before what it holds */
    *ret_header = (struct segment_header){
        .generation = bytes_get_le32(p + 12),
        .owner = {bytes_get_le64(p + 16), bytes_get_le64(p + 24)},
        .first = bytes_get_le64(p + 32),
        .synced = bytes_get_le64(p + 40),
        .nonce = bytes_get_le64(p + 48),
    };
    return OK;
}

/* The smallest shift by which every seq of the range falls into the table. */
static uint32_t coarse_shift_for(const struct segment_name *name)
{
    uint32_t shift = 0;
    while ((name->last - name->first) >> shift >= SEGMENT_COARSE_COUNT)
        shift++;
    return shift;
}

void segment_row_file_encode(const struct segment *rows, const struct segment_name *name,
                             struct buf *out)
{
    CHECK(name->last != SEGMENT_OPEN && name->first == rows->name.first);
    CHECK(name->last - name->first <= SEGMENT_SPAN_MAX);
    uint32_t count = segment_row_count(rows);
    size_t bytes = segment_row_file_bytes(count);
    CHECK(err_ok(buf_reserve(out, bytes)));
    uint8_t *p = out->data + out->len;
    memset(p, 0, bytes);
    bytes_put_le64(p, SEGMENT_ROW_MAGIC);
    bytes_put_le32(p + 12, name->generation);
    bytes_put_le64(p + 16, name->first);
    bytes_put_le64(p + 24, name->last);
    bytes_put_le32(p + 32, count);
    bytes_put_le32(p + 36, (uint32_t)(atomic_load_explicit(&rows->end, memory_order_relaxed) / 8));
    uint32_t shift = coarse_shift_for(name);
    bytes_put_le32(p + 40, shift);
    bytes_put_le64(p + 48, atomic_load_explicit(&rows->record_bytes, memory_order_relaxed));
    uint32_t row = 0;
    for (uint32_t i = 0; i < SEGMENT_COARSE_COUNT; i++) {
        while (row < count && segment_row_at(rows, row)->seq_delta >> shift < i)
            row++;
        bytes_put_le32(p + 64 + (size_t)i * 4, row);
    }
    bytes_put_le32(p + 8, crc32c(0, bytes_of(p + 12, SEGMENT_ROW_HEADER_BYTES - 12)));

    size_t pages = ((size_t)count + SEGMENT_ROWS_PER_PAGE - 1) / SEGMENT_ROWS_PER_PAGE;
    uint8_t *crcs = p + SEGMENT_ROW_HEADER_BYTES + pages * SEGMENT_ROW_PAGE_BYTES;
    for (size_t page = 0; page < pages; page++) {
        uint8_t *to = p + SEGMENT_ROW_HEADER_BYTES + page * SEGMENT_ROW_PAGE_BYTES;
        uint32_t first = (uint32_t)(page * SEGMENT_ROWS_PER_PAGE);
        uint32_t n = count - first < SEGMENT_ROWS_PER_PAGE ? count - first : SEGMENT_ROWS_PER_PAGE;
        memcpy(to, segment_row_at(rows, first), (size_t)n * sizeof(struct segment_row));
        bytes_put_le32(crcs + page * 4, crc32c(0, bytes_of(to, SEGMENT_ROW_PAGE_BYTES)));
    }
    bytes_put_le32(crcs + pages * 4, crc32c(0, bytes_of(crcs, pages * 4)));
    out->len += bytes;
}
