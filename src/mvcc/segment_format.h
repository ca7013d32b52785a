/* The bytes of a segment's two files (layout: segment.h), for those who write and scan them.
 * Thread: any; nothing here keeps state. */
#pragma once

#include "base/buf.h"
#include "mvcc/segment.h"

#define SEGMENT_MAGIC            UINT64_C(0x3147455341524f43) /* CORASEG1 */
#define SEGMENT_ROW_MAGIC        UINT64_C(0x31574f5241524f43) /* CORAROW1 */
#define SEGMENT_ROW_HEADER_BYTES 4096

struct segment_header {
    uint32_t generation;
    struct segment_owner owner;
    uint64_t first;
    uint64_t synced;
    uint64_t nonce;
};

void segment_header_encode(const struct segment_header *self, uint8_t out[SEGMENT_HEADER_BYTES]);
/* Fails: ERR_CORRUPT, also where map is shorter than a header. */
MUST err segment_header_decode(struct bytes map, struct segment_header *ret_header);

void segment_row_make(const struct mvcc_record *record, uint64_t first, uint64_t offset,
                      struct segment_row *ret_row);
static inline size_t segment_row_file_bytes(uint32_t rows)
{
    size_t pages = ((size_t)rows + SEGMENT_ROWS_PER_PAGE - 1) / SEGMENT_ROWS_PER_PAGE;
    return SEGMENT_ROW_HEADER_BYTES + pages * SEGMENT_ROW_PAGE_BYTES + pages * 4 + 4;
}
/* The whole row file of a segment with these rows (its pages), sealed as `name`. Appends to out,
 * which must have no limit. */
void segment_row_file_encode(const struct segment *rows, const struct segment_name *name,
                             struct buf *out);
