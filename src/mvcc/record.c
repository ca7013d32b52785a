#include "mvcc/record.h"

#include "base/check.h"
#include "base/crc.h"

#define FLAG_BIRTH      1
#define BBOLT_KEY_BYTES 17

const char *mvcc_bucket_name(enum mvcc_bucket bucket)
{
    static const char *const names[MVCC_BUCKET_COUNT] = {
        [MVCC_BUCKET_KEY] = "key",
        [MVCC_BUCKET_ALARM] = "alarm",
        [MVCC_BUCKET_AUTH] = "auth",
        [MVCC_BUCKET_AUTH_ROLES] = "authRoles",
        [MVCC_BUCKET_AUTH_USERS] = "authUsers",
        [MVCC_BUCKET_CLUSTER] = "cluster",
        [MVCC_BUCKET_LEASE] = "lease",
        [MVCC_BUCKET_MEMBERS] = "members",
        [MVCC_BUCKET_MEMBERS_REMOVED] = "members_removed",
        [MVCC_BUCKET_META] = "meta",
    };
    CHECK((unsigned)bucket < MVCC_BUCKET_COUNT);
    return names[bucket];
}

bool mvcc_record_is_valid(const struct mvcc_record *self)
{
    if (self->blob.len > MVCC_BLOB_BYTES_MAX || self->seq > MVCC_SEQ_MAX)
        return false;
    switch ((enum mvcc_kind)self->kind) {
    case MVCC_PUT:
    case MVCC_TOMBSTONE:
        return self->seq > 0 && self->prev < self->seq && self->bucket == MVCC_BUCKET_KEY &&
               self->bucket_key_bytes == 0;
    case MVCC_BUCKET_PUT:
        return self->seq > 0 && self->prev < self->seq && self->bucket != MVCC_BUCKET_KEY &&
               self->bucket < MVCC_BUCKET_COUNT && self->bucket_key_bytes <= self->blob.len;
    case MVCC_BUCKET_DELETE:
        return self->seq > 0 && self->prev < self->seq && self->bucket != MVCC_BUCKET_KEY &&
               self->bucket < MVCC_BUCKET_COUNT && self->bucket_key_bytes == self->blob.len;
    case MVCC_FRAME:
        return self->prev <= self->seq && self->bucket == MVCC_BUCKET_KEY &&
               self->bucket_key_bytes == 0 && self->sub == 0 && !self->birth;
    case MVCC_NONE:
        break;
    }
    return false;
}

uint32_t mvcc_record_crc(const struct mvcc_record *self)
{
    if (!mvcc_record_is_key_change(self))
        return crc32c(0, self->blob);
    uint8_t key[BBOLT_KEY_BYTES + 1];
    bytes_put_be64(key, (uint64_t)self->main);
    key[8] = '_';
    bytes_put_be64(key + 9, self->sub);
    key[BBOLT_KEY_BYTES] = 't';
    size_t len = self->kind == MVCC_TOMBSTONE ? sizeof(key) : BBOLT_KEY_BYTES;
    return crc32c(crc32c(0, bytes_of(key, len)), self->blob);
}

uint64_t mvcc_record_crc_bytes(enum mvcc_kind kind, uint64_t blob_bytes)
{
    if (kind == MVCC_PUT)
        return BBOLT_KEY_BYTES + blob_bytes;
    if (kind == MVCC_TOMBSTONE)
        return BBOLT_KEY_BYTES + 1 + blob_bytes;
    return blob_bytes;
}

err mvcc_record_key(const struct mvcc_record *self, struct bytes *ret_key)
{
    if (!mvcc_record_is_key_change(self)) {
        *ret_key = bytes_of(self->blob.data, self->bucket_key_bytes);
        return OK;
    }
    /* field 1, length-delimited: tag 0x0a, a varint of at most five bytes, the key */
    struct bytes blob = self->blob;
    if (blob.len < 2 || blob.data[0] != 0x0a)
        return ERR_CORRUPT;
    uint64_t len = 0;
    size_t at = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (at == blob.len || shift > 28)
            return ERR_CORRUPT;
        uint8_t byte = blob.data[at++];
        len |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    if (len > blob.len - at)
        return ERR_CORRUPT;
    *ret_key = bytes_of(blob.data + at, len);
    return OK;
}

struct bytes mvcc_record_bucket_value(const struct mvcc_record *self)
{
    CHECK(self->bucket_key_bytes <= self->blob.len);
    return bytes_skip(self->blob, self->bucket_key_bytes);
}

void mvcc_record_encode(const struct mvcc_record *self, uint8_t *out)
{
    CHECK(mvcc_record_is_valid(self));
    bytes_put_le32(out + 4, self->crc);
    bytes_put_le64(out + 8, self->seq);
    bytes_put_le64(out + 16, (uint64_t)self->main);
    bytes_put_le64(out + 24, self->prev);
    bytes_put_le32(out + 32, self->sub);
    bytes_put_le32(out + 36, (uint32_t)self->blob.len);
    bytes_put_le32(out + 40, self->bucket_key_bytes);
    out[44] = self->kind;
    out[45] = self->bucket;
    out[46] = self->birth ? FLAG_BIRTH : 0;
    out[47] = 0;
    bytes_put_le32(out, crc32c(0, bytes_of(out + 4, MVCC_RECORD_HEADER_BYTES - 4)));
    if (self->blob.len && self->blob.data != out + MVCC_RECORD_HEADER_BYTES)
        memcpy(out + MVCC_RECORD_HEADER_BYTES, self->blob.data, self->blob.len);
    size_t used = MVCC_RECORD_HEADER_BYTES + self->blob.len;
    memset(out + used, 0, mvcc_record_bytes(self->blob.len) - used);
}

static bool is_zero(struct bytes what)
{
    for (size_t i = 0; i < what.len; i++)
        if (what.data[i])
            return false;
    return true;
}

err mvcc_record_decode(struct bytes at, struct mvcc_record *ret_record)
{
    const uint8_t *p = at.data;
    size_t head = at.len < MVCC_RECORD_HEADER_BYTES ? at.len : MVCC_RECORD_HEADER_BYTES;
    if (head < MVCC_RECORD_HEADER_BYTES || p[44] == MVCC_NONE) {
        if (is_zero(bytes_of(p, head)))
            return ERR_NOT_FOUND;
        return head < MVCC_RECORD_HEADER_BYTES ? ERR_TORN : ERR_CORRUPT;
    }
    if (bytes_get_le32(p) != crc32c(0, bytes_of(p + 4, MVCC_RECORD_HEADER_BYTES - 4)))
        return ERR_CORRUPT;
    struct mvcc_record record = {
        .seq = bytes_get_le64(p + 8),
        .prev = bytes_get_le64(p + 24),
        .main = (int64_t)bytes_get_le64(p + 16),
        .sub = bytes_get_le32(p + 32),
        .crc = bytes_get_le32(p + 4),
        .blob = bytes_of(p + MVCC_RECORD_HEADER_BYTES, bytes_get_le32(p + 36)),
        .bucket_key_bytes = bytes_get_le32(p + 40),
        .kind = p[44],
        .bucket = p[45],
        .birth = p[46] & FLAG_BIRTH,
    };
    if ((p[46] & ~FLAG_BIRTH) || p[47] || !mvcc_record_is_valid(&record))
        return ERR_CORRUPT;
    size_t bytes = mvcc_record_bytes(record.blob.len);
    if (bytes > at.len)
        return ERR_TORN;
    size_t used = MVCC_RECORD_HEADER_BYTES + record.blob.len;
    if (!is_zero(bytes_of(p + used, bytes - used)) || mvcc_record_crc(&record) != record.crc)
        return ERR_CORRUPT;
    *ret_record = record;
    return OK;
}

err mvcc_record_decode_seq(struct bytes at, uint64_t seq, struct mvcc_record *ret_record)
{
    struct mvcc_record record;
    if (!err_ok(mvcc_record_decode(at, &record)) || record.seq != seq || record.kind == MVCC_FRAME)
        return ERR_CORRUPT;
    *ret_record = record;
    return OK;
}
