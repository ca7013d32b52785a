/* The write-ahead log's bytes: records, frames and file names as etcd's (etcd's interface: disk,
 * "WAL"), so that either reads what the other wrote.
 *
 *     frame    u64 little endian: bits 0-55 size of the record
 *                                 bits 56-58 pad 0..7, bit 63 set where pad > 0
 *              record             protobuf walpb.Record: 1 type (varint), 2 crc (varint),
 *                                 3 data (bytes, absent where there is none)
 *              pad                zeros to a multiple of 8
 *     segment  frames, then zeros; a length of 0 or the file's end closes it
 *     name     %016x-%016x.wal: sequence number, index of the first entry that may be in it
 *
 *     type 1 metadata    first in each segment, the same bytes in all of them
 *          2 entry       raftpb.Entry
 *          3 state       raftpb.HardState
 *          4 crc         no data; crc is the running value: opens a segment, and as a *mark*
 *                        opens a batch
 *          5 snapshot    walpb.Snapshot
 *
 * Checksum: the running value is the CRC-32C over all records' data, segment after segment; each
 * record carries the value with its own data included.
 *
 * A mark at offset x is written only after everything before x was synced. So bad bytes with a
 * good mark behind them were once durable: corruption. Bad bytes without one are the torn end of
 * the last batch: they are cut.
 *
 * Thread: any.  Owns: nothing. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define WAL_SEGMENT_BYTES    64000000u /* cut after a batch that reaches it */
#define WAL_FRAME_HEAD_BYTES 8u
#define WAL_MARK_BYTES       16u /* a whole frame of type 4 */
#define WAL_NAME_BYTES       38u /* with its NUL */
#define WAL_SECTOR_BYTES     512u
/* The largest record that is written or read. etcd 3.4 refuses those of 10 MiB and more; the
 * limit on requests keeps entries far below that unless it was raised. */
#define WAL_RECORD_BYTES_MAX (64u << 20)

enum wal_type {
    WAL_METADATA = 1,
    WAL_ENTRY = 2,
    WAL_STATE = 3,
    WAL_CRC = 4,
    WAL_SNAPSHOT = 5,
};

struct wal_record {
    enum wal_type type;
    uint32_t crc;
    struct bytes data; /* lies in the input */
    bool has_data;
    uint64_t frame_bytes; /* head, record and pad */
};

/* Reads the frame at the head of `input` without checking its crc.
 * Fails: ERR_NOT_FOUND the length is 0 or fewer than 8 bytes of input are left: the end;
 *        ERR_TORN the frame reaches past the input;
 *        ERR_CORRUPT it is none that etcd or we would have written. */
MUST err wal_record_parse(struct bytes input, struct wal_record *ret_record);

/* The bytes before a record's data: frame head, type, crc and, with data, its tag and length.
 * At most WAL_HEAD_BYTES_MAX; *ret_pad zeros follow the data. Returns how many. */
#define WAL_HEAD_BYTES_MAX 24u
size_t wal_record_head(enum wal_type type, uint32_t crc, size_t data_len, bool has_data,
                       uint8_t ret_head[WAL_HEAD_BYTES_MAX], size_t *ret_pad);

/* Whether a good mark begins here: exactly a mark's 16 bytes, and after it either a record whose
 * crc continues the mark's value, or the end (zeros, or the end of the input). */
bool wal_mark_at(struct bytes input);

struct wal_name {
    uint64_t sequence;
    uint64_t first_index;
};

void wal_name_format(struct wal_name name, char ret_text[WAL_NAME_BYTES]);
/* False where the text is not exactly a segment's name. */
bool wal_name_parse(const char *text, struct wal_name *ret_name);
