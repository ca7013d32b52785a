/* Protobuf's varints and tags, for wal's hand-written codecs. Thread: any. Owns: nothing. */
#pragma once

#include "base/bytes.h"

#define WAL_VARINT_BYTES_MAX 10u

static inline size_t varint_size(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7; /* 7 bits a byte, at least one */
}

static inline uint8_t *varint_put(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Moves *at behind the varint; false where it is cut off or longer than 64 bits. */
static inline bool varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t v = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == end)
            return false;
        uint8_t b = *p++;
        if (shift == 63 && b > 1)
            return false;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *at = p;
            *ret_value = v;
            return true;
        }
    }
    return false;
}

/* The same, and only in its shortest form. */
static inline bool varint_get_minimal(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    const uint8_t *from = *at;
    uint64_t v;
    if (!varint_get(at, end, &v) || (size_t)(*at - from) != varint_size(v))
        return false;
    *ret_value = v;
    return true;
}
