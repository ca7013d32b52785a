/* Segments as the disk may hold them: the scan for the log's end, strict scans of sealed ones, and
 * every record of what was accepted. The first byte says how the rest is read; checksums are put
 * right on the way (bit 1), so that what lies behind them is reached. */
#include "base/check.h"
#include "base/crc.h"
#include "mvcc/segment_format.h"
#include "mvcc/segment_writer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct segment_owner owner = {1, 2};

static void heal(uint8_t *bytes, size_t len)
{
    if (len < SEGMENT_HEADER_BYTES)
        return;
    bytes_put_le32(bytes + 8, crc32c(0, bytes_of(bytes + 12, SEGMENT_HEADER_BYTES - 12)));
    size_t at = SEGMENT_HEADER_BYTES;
    while (at + MVCC_RECORD_HEADER_BYTES <= len && bytes[at + 44] != MVCC_NONE) {
        uint8_t *p = bytes + at;
        size_t blob = bytes_get_le32(p + 36);
        if (blob > len - at - MVCC_RECORD_HEADER_BYTES)
            return;
        struct mvcc_record record = {
            .main = (int64_t)bytes_get_le64(p + 16),
            .sub = bytes_get_le32(p + 32),
            .kind = p[44],
            .blob = bytes_of(p + MVCC_RECORD_HEADER_BYTES, blob),
        };
        bytes_put_le32(p + 4, mvcc_record_crc(&record));
        bytes_put_le32(p, crc32c(0, bytes_of(p + 4, MVCC_RECORD_HEADER_BYTES - 4)));
        at += mvcc_record_bytes(blob);
        if (at > len)
            return;
    }
}

static void read_all(const struct segment *segment)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < segment_row_count(segment); i++) {
        struct mvcc_record record;
        CHECK(err_ok(segment_record_read(segment, i, &record)));
        CHECK(record.seq > before && mvcc_record_is_valid(&record));
        CHECK(record.crc == mvcc_record_crc(&record));
        struct bytes key;
        if (err_ok(mvcc_record_key(&record, &key)))
            CHECK(key.len <= record.blob.len);
        CHECK(segment_row_find(segment, record.seq) == i);
        before = record.seq;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t how = data[0];
    size_t len = (size - 1) / 8 * 8;
    uint8_t *bytes = malloc(len + 1);
    if (len)
        memcpy(bytes, data + 1, len);
    if (how & 1)
        heal(bytes, len);
    struct segment_name name = {1, how & 2 ? SEGMENT_OPEN : ((uint64_t)how >> 4) + 9, how >> 2 & 1};
    struct segment_writer writer;
    struct segment_scan scan;
    struct segment_fault fault;
    err e = segment_writer_scan(&writer, name, owner, how >> 3 & 1, bytes_of(bytes, len),
                                bytes_of(bytes, len), &scan, &fault);
    if (err_ok(e)) {
        CHECK(scan.frame_end <= len && scan.good_end <= len && scan.vouched_end <= len);
        read_all(writer.segment);
        segment_free(writer.segment);
        segment_writer_done(&writer);
    } else {
        CHECK(err_is(e, ERR_CORRUPT) || err_is(e, ERR_MISMATCH));
    }
    free(bytes);
    return 0;
}
