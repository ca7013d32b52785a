#include "wal/format.h"

#include "base/check.h"
#include "base/crc.h"
#include "wal/varint.h"

#include <stdio.h>

enum { TAG_TYPE = 0x08, TAG_CRC = 0x10, TAG_DATA = 0x1a };

#define SIZE_MASK (((uint64_t)1 << 56) - 1)

static uint64_t pad_of(uint64_t size)
{
    return (8 - (size & 7)) & 7;
}

/* The fields of a record, in the one form in which Go and we write them: ascending, minimal,
 * nothing else. Zero fields may be absent. */
static bool fields_parse(const uint8_t *p, const uint8_t *end, struct wal_record *record)
{
    uint64_t type = 0, crc = 0, len;
    if (p < end && *p == TAG_TYPE) {
        p++;
        if (!varint_get_minimal(&p, end, &type))
            return false;
    }
    if (p < end && *p == TAG_CRC) {
        p++;
        if (!varint_get_minimal(&p, end, &crc))
            return false;
    }
    if (type < WAL_METADATA || type > WAL_SNAPSHOT || crc > UINT32_MAX)
        return false;
    record->type = (enum wal_type)type;
    record->crc = (uint32_t)crc;
    record->has_data = false;
    record->data = BYTES_NONE;
    if (p < end && *p == TAG_DATA) {
        p++;
        if (!varint_get_minimal(&p, end, &len) || len != (uint64_t)(end - p))
            return false;
        record->has_data = true;
        record->data = bytes_of(p, (size_t)len);
        p = end;
    }
    return p == end;
}

err wal_record_parse(struct bytes input, struct wal_record *ret_record)
{
    if (input.len < WAL_FRAME_HEAD_BYTES)
        return ERR_NOT_FOUND;
    uint64_t head = bytes_get_le64(input.data);
    if (head == 0)
        return ERR_NOT_FOUND;
    uint64_t size = head & SIZE_MASK;
    uint64_t pad = pad_of(size);
    if (head >> 56 != (pad ? 0x80 | pad : 0) || size == 0)
        return ERR_CORRUPT;
    if (size > input.len || size + pad > input.len - WAL_FRAME_HEAD_BYTES)
        return ERR_TORN;
    const uint8_t *from = input.data + WAL_FRAME_HEAD_BYTES;
    for (uint64_t i = 0; i < pad; i++)
        if (from[size + i])
            return ERR_CORRUPT;
    struct wal_record record = {.frame_bytes = WAL_FRAME_HEAD_BYTES + size + pad};
    if (!fields_parse(from, from + size, &record))
        return ERR_CORRUPT;
    /* A mark has no data and nothing else goes without: one changed bit in the type, which no
     * checksum covers, cannot turn one into the other. */
    if ((record.type == WAL_CRC) == record.has_data)
        return ERR_CORRUPT;
    *ret_record = record;
    return OK;
}

size_t wal_record_head(enum wal_type type, uint32_t crc, size_t data_len, bool has_data,
                       uint8_t ret_head[WAL_HEAD_BYTES_MAX], size_t *ret_pad)
{
    uint8_t *p = ret_head + WAL_FRAME_HEAD_BYTES;
    *p++ = TAG_TYPE;
    p = varint_put(p, (uint64_t)type);
    *p++ = TAG_CRC;
    p = varint_put(p, crc);
    if (has_data) {
        *p++ = TAG_DATA;
        p = varint_put(p, data_len);
    }
    size_t len = (size_t)(p - ret_head);
    uint64_t size = len - WAL_FRAME_HEAD_BYTES + (has_data ? data_len : 0);
    uint64_t pad = pad_of(size);
    bytes_put_le64(ret_head, size | (pad ? (0x80 | pad) << 56 : 0));
    *ret_pad = (size_t)pad;
    return len;
}

bool wal_mark_at(struct bytes input)
{
    struct wal_record mark, next;
    if (input.len < WAL_MARK_BYTES || input.data[8] != TAG_TYPE || input.data[9] != WAL_CRC ||
        !err_ok(wal_record_parse(bytes_of(input.data, WAL_MARK_BYTES), &mark)) ||
        mark.type != WAL_CRC || mark.frame_bytes != WAL_MARK_BYTES)
        return false;
    err e = wal_record_parse(bytes_skip(input, WAL_MARK_BYTES), &next);
    if (err_is(e, ERR_NOT_FOUND))
        return true;
    return err_ok(e) && next.crc == crc32c(mark.crc, next.data);
}

void wal_name_format(struct wal_name name, char ret_text[WAL_NAME_BYTES])
{
    int n = snprintf(ret_text, WAL_NAME_BYTES, "%016llx-%016llx.wal",
                     (unsigned long long)name.sequence, (unsigned long long)name.first_index);
    CHECK(n == WAL_NAME_BYTES - 1);
}

static bool hex16_parse(const char *text, uint64_t *ret_value)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        v = v << 4 | digit;
    }
    *ret_value = v;
    return true;
}

bool wal_name_parse(const char *text, struct wal_name *ret_name)
{
    struct wal_name name;
    if (strlen(text) != WAL_NAME_BYTES - 1 || text[16] != '-' || strcmp(text + 33, ".wal") != 0 ||
        !hex16_parse(text, &name.sequence) || !hex16_parse(text + 17, &name.first_index))
        return false;
    *ret_name = name;
    return true;
}
