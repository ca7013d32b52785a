/* One change of the store, and its bytes in the revision log.
 *
 * A change (one key of one transaction, or one entry of a small bucket) is called by its seq: dense
 * from 1, local to this member, never reused. Everything inside points with seq; the borders see
 * (main, sub).
 *
 * Bytes, little-endian, each item at a multiple of 8 and padded to one with zeros:
 *
 *      0  u32  CRC-32C of bytes 4..47
 *      4  u32  checksum of the blob (below)
 *      8  u64  seq                          < 2^48
 *     16  i64  main                         never falls as seq grows
 *     24  u64  prev                         seq of the same key's change before, 0: none known
 *     32  u32  sub
 *     36  u32  length of the blob           <= MVCC_BLOB_BYTES_MAX
 *     40  u32  length of the bucket key     0 but in bucket changes; blob = key, then value
 *     44  u8   kind
 *     45  u8   bucket                       0 but in bucket changes
 *     46  u8   flags                        1: birth, the first change of a generation of its key
 *     47  u8   0
 *     48       blob
 *
 * The checksum of a key change is the CRC-32C over what etcd's hash sees of it: the bbolt key
 * (main big-endian, '_', sub big-endian; a tombstone adds 't'), then the blob. So a hash over many
 * changes is a fold of stored checksums. That of a bucket change covers key and value alike.
 *
 * Thread: any; nothing here keeps state.
 * Source: etcd's interface, tables "Backend buckets" and "HashKV". */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define MVCC_RECORD_HEADER_BYTES 48
#define MVCC_BLOB_BYTES_MAX      0x3fffffffu
#define MVCC_SEQ_MAX             ((UINT64_C(1) << 48) - 1)

enum mvcc_kind {
    MVCC_NONE = 0,      /* zeros: here the log ends */
    MVCC_PUT = 1,       /* blob: the stored mvccpb.KeyValue */
    MVCC_TOMBSTONE = 2, /* blob: a KeyValue with only its key */
    MVCC_BUCKET_PUT = 3,
    MVCC_BUCKET_DELETE = 4, /* blob: the key alone */
    MVCC_FRAME = 5,         /* not a change: see frame.h */
};

/* The small buckets; the names are etcd's. */
enum mvcc_bucket {
    MVCC_BUCKET_KEY = 0, /* no small bucket: the changes of keys */
    MVCC_BUCKET_ALARM = 1,
    MVCC_BUCKET_AUTH = 2,
    MVCC_BUCKET_AUTH_ROLES = 3,
    MVCC_BUCKET_AUTH_USERS = 4,
    MVCC_BUCKET_CLUSTER = 5,
    MVCC_BUCKET_LEASE = 6,
    MVCC_BUCKET_MEMBERS = 7,
    MVCC_BUCKET_MEMBERS_REMOVED = 8,
    MVCC_BUCKET_META = 9,
    MVCC_BUCKET_COUNT
};

struct mvcc_record {
    uint64_t seq;
    uint64_t prev;
    int64_t main; /* of a bucket change: the revision it came with, so that main never falls */
    uint32_t sub;
    uint32_t crc;
    struct bytes blob; /* lent: lives as long as where the record was read from */
    uint32_t bucket_key_bytes;
    uint8_t kind;   /* enum mvcc_kind */
    uint8_t bucket; /* enum mvcc_bucket */
    bool birth;
};

/* What etcd calls the bucket ("key" for MVCC_BUCKET_KEY); never NULL. */
const char *mvcc_bucket_name(enum mvcc_bucket bucket);

/* Is the record's form one that may be stored: kind, bucket, lengths, seq and prev < seq. */
bool mvcc_record_is_valid(const struct mvcc_record *self);
/* The checksum over what etcd's hash sees; self->crc is not looked at. */
uint32_t mvcc_record_crc(const struct mvcc_record *self);
/* How many bytes crc covers: the bbolt key's 17 or 18 and the blob (to combine checksums). */
uint64_t mvcc_record_crc_bytes(enum mvcc_kind kind, uint64_t blob_bytes);
static inline bool mvcc_record_is_key_change(const struct mvcc_record *self)
{
    return self->kind == MVCC_PUT || self->kind == MVCC_TOMBSTONE;
}
/* The user key of a key change, the bucket key of a bucket change; lent out of the blob.
 * Fails: ERR_CORRUPT where a KeyValue does not begin with its key. */
MUST err mvcc_record_key(const struct mvcc_record *self, struct bytes *ret_key);
/* The value of a bucket change. */
struct bytes mvcc_record_bucket_value(const struct mvcc_record *self);

/* The bytes that a record with such a blob takes in a segment: a multiple of 8. */
static inline size_t mvcc_record_bytes(size_t blob_bytes)
{
    return (MVCC_RECORD_HEADER_BYTES + blob_bytes + 7) & ~(size_t)7;
}
/* Writes mvcc_record_bytes(blob.len) bytes. The crc is carried over as it stands: a copy never
 * launders rot. */
void mvcc_record_encode(const struct mvcc_record *self, uint8_t *out);
/* Takes a record apart that begins at at.data; the blob is lent out of it. Both checksums are
 * checked. Fails: ERR_CORRUPT, ERR_TORN where at ends before the record does, ERR_NOT_FOUND where
 * 48 zeros (or fewer, to the end of at) stand there: the log's end. */
MUST err mvcc_record_decode(struct bytes at, struct mvcc_record *ret_record);
/* The same, and it must be the one asked for: a misdirected block has right checksums and the
 * wrong seq. Fails: ERR_CORRUPT for whatever is not that record. */
MUST err mvcc_record_decode_seq(struct bytes at, uint64_t seq, struct mvcc_record *ret_record);
