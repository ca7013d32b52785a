#include "wire/scan.h"

#include "base/check.h"

err scan_varint_long(const uint8_t **at, const uint8_t *end, uint64_t *ret_value, bool *minimal)
{
    uint64_t value = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p == end)
            return ERR_SYNTAX;
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return ERR_SYNTAX;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte >= 0x80)
            continue;
        if (byte == 0 && shift > 0)
            *minimal = false;
        *ret_value = value;
        *at = p;
        return OK;
    }
    return ERR_SYNTAX;
}

static err scan_fixed(const uint8_t **at, const uint8_t *end, size_t n, uint64_t *ret_value)
{
    if ((size_t)(end - *at) < n)
        return ERR_SYNTAX;
    *ret_value = n == 8 ? bytes_get_le64(*at) : bytes_get_le32(*at);
    *at += n;
    return OK;
}

/* Groups are a relic that no message of the schema has, but an unknown field may be one. The
 * numbers of those still open lie in an array: no recursion that the input could drive. */
static err scan_group(const uint8_t **at, const uint8_t *end, uint32_t number, unsigned depth_max,
                      struct bytes *ret_inside)
{
    CHECK(depth_max <= WIRE_GROUP_DEPTH_MAX);
    uint32_t open[WIRE_GROUP_DEPTH_MAX];
    unsigned depth = 0;
    bool minimal;
    const uint8_t *p = *at;
    if (depth_max == 0)
        return ERR_LIMIT;
    open[depth++] = number;
    for (;;) {
        const uint8_t *tag_at = p;
        uint32_t inner;
        enum wire_type type;
        struct wire_field ignored;
        TRY(scan_tag(&p, end, &inner, &type, &minimal));
        if (type == WIRE_GROUP) {
            if (depth == depth_max)
                return ERR_LIMIT;
            open[depth++] = inner;
        } else if (type == WIRE_GROUP_END) {
            if (open[--depth] != inner)
                return ERR_SYNTAX;
            if (depth == 0) {
                *ret_inside = bytes_of(*at, (size_t)(tag_at - *at));
                *at = p;
                return OK;
            }
        } else {
            TRY(scan_field(&p, end, inner, type, 0, &ignored));
        }
    }
}

err scan_field(const uint8_t **at, const uint8_t *end, uint32_t number, enum wire_type type,
               unsigned depth_max, struct wire_field *ret_field)
{
    bool minimal;
    struct wire_field field = {.number = number, .type = type};
    switch (type) {
    case WIRE_VARINT:
        TRY(scan_varint(at, end, &field.value, &minimal));
        break;
    case WIRE_FIXED64:
        TRY(scan_fixed(at, end, 8, &field.value));
        break;
    case WIRE_BYTES:
        TRY(scan_bytes(at, end, &field.bytes, &minimal));
        break;
    case WIRE_GROUP:
        TRY(scan_group(at, end, number, depth_max, &field.bytes));
        break;
    case WIRE_GROUP_END:
        return ERR_SYNTAX;
    case WIRE_FIXED32:
        TRY(scan_fixed(at, end, 4, &field.value));
        break;
    }
    *ret_field = field;
    return OK;
}

static err scan_varint_loose(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p == end)
            return ERR_SYNTAX;
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte >= 0x80)
            continue;
        *ret_value = value;
        *at = p;
        return OK;
    }
    return ERR_SYNTAX;
}

err scan_tag_loose(const uint8_t **at, const uint8_t *end, uint32_t *ret_number,
                   enum wire_type *ret_type)
{
    const uint8_t *p = *at;
    uint64_t tag;
    TRY(scan_varint_loose(&p, end, &tag));
    uint32_t number = (uint32_t)(tag >> 3);
    if (number == 0 || number > INT32_MAX || (tag & 7) > WIRE_FIXED32)
        return ERR_SYNTAX;
    *ret_number = number;
    *ret_type = (enum wire_type)(tag & 7);
    *at = p;
    return OK;
}

static err scan_skip_bytes(const uint8_t **at, const uint8_t *end, uint64_t len)
{
    if (len > (uint64_t)(end - *at))
        return ERR_SYNTAX;
    *at += len;
    return OK;
}

err scan_skip_loose(const uint8_t **at, const uint8_t *end, enum wire_type type)
{
    const uint8_t *p = *at;
    uint64_t value;
    size_t depth = 0;
    for (;;) {
        switch ((int)type) {
        case WIRE_VARINT:
            TRY(scan_varint_loose(&p, end, &value));
            break;
        case WIRE_FIXED64:
            TRY(scan_skip_bytes(&p, end, 8));
            break;
        case WIRE_BYTES:
            TRY(scan_varint_loose(&p, end, &value));
            TRY(scan_skip_bytes(&p, end, value));
            break;
        case WIRE_GROUP:
            depth++;
            break;
        case WIRE_GROUP_END:
            if (depth == 0)
                return ERR_SYNTAX;
            depth--;
            break;
        case WIRE_FIXED32:
            TRY(scan_skip_bytes(&p, end, 4));
            break;
        default:
            return ERR_SYNTAX;
        }
        if (depth == 0) {
            *at = p;
            return OK;
        }
        /* Within a group the number is not even looked at. */
        TRY(scan_varint_loose(&p, end, &value));
        type = (enum wire_type)(value & 7);
    }
}
