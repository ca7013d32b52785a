/* The row file and the saved dead bits of a sealed segment, beside a segment that is good or not.
 * Input: u8 how, u16 length of the row file, the row file, the rest: segment, or dead bits. */
#include "base/check.h"
#include "base/crc.h"
#include "mvcc/cleaning.h"
#include "mvcc/segment_format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void heal_rows(uint8_t *bytes, size_t len)
{
    if (len < SEGMENT_ROW_HEADER_BYTES)
        return;
    bytes_put_le32(bytes + 8, crc32c(0, bytes_of(bytes + 12, SEGMENT_ROW_HEADER_BYTES - 12)));
    size_t rows = bytes_get_le32(bytes + 32);
    size_t pages = (rows + SEGMENT_ROWS_PER_PAGE - 1) / SEGMENT_ROWS_PER_PAGE;
    if (rows > 100000 || len != segment_row_file_bytes((uint32_t)rows))
        return;
    uint8_t *crcs = bytes + SEGMENT_ROW_HEADER_BYTES + pages * SEGMENT_ROW_PAGE_BYTES;
    for (size_t i = 0; i < pages; i++)
        bytes_put_le32(crcs + i * 4, crc32c(0, bytes_of(bytes + SEGMENT_ROW_HEADER_BYTES +
                                                            i * SEGMENT_ROW_PAGE_BYTES,
                                                        SEGMENT_ROW_PAGE_BYTES)));
    bytes_put_le32(crcs + pages * 4, crc32c(0, bytes_of(crcs, pages * 4)));
}

/* Whatever the rows say, no read leaves the mappings. */
static void use(struct segment *segment, struct bytes dead)
{
    for (uint64_t seq = 0; seq < 20; seq++)
        CHECK(segment_row_find(segment, seq * seq * seq) <= segment_row_count(segment));
    for (int64_t main = -1; main < 20; main++)
        CHECK(segment_row_find_main(segment, main) <= segment_row_count(segment));
    for (uint32_t i = 0; i < segment_row_count(segment) && i < 200; i++) {
        struct mvcc_record record;
        (void)!err_ok(segment_row_check_page(segment, i));
        if (err_ok(segment_record_read(segment, i, &record)))
            CHECK(record.blob.len <= segment->map.len);
    }
    struct dead_file about;
    (void)!err_ok(dead_file_apply(segment, dead, &about));
    dead_words_apply(segment, 1000, dead);
    CHECK(atomic_load(&segment->dead->count) <= segment_row_count(segment));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    uint8_t how = data[0];
    size_t rows_len = (size_t)data[1] | (size_t)data[2] << 8;
    if (rows_len > size - 3)
        rows_len = size - 3;
    struct bytes rest = bytes_of(data + 3 + rows_len, size - 3 - rows_len);
    uint8_t *rows = aligned_alloc(8, (rows_len + 8) / 8 * 8);
    memcpy(rows, data + 3, rows_len);
    if (how & 1)
        heal_rows(rows, rows_len);
    uint8_t *map = malloc(rest.len + SEGMENT_HEADER_BYTES);
    struct segment_header header = {.generation = 0, .owner = {1, 2}, .first = 1};
    segment_header_encode(&header, map);
    memcpy(map + SEGMENT_HEADER_BYTES, rest.data, rest.len);
    struct segment *segment;
    err e = segment_open_sealed((struct segment_name){1, 24, 0}, header.owner,
                                bytes_of(map, SEGMENT_HEADER_BYTES + rest.len),
                                bytes_of(rows, rows_len), NULL, &segment);
    if (err_ok(e)) {
        use(segment, rest);
        segment_free(segment);
    }
    free(map);
    free(rows);
    return 0;
}
