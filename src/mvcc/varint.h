/* Varints as protobuf has them, for the checkpoint's blocks. Thread: any. */
#pragma once

#include "base/bytes.h"

#define VARINT_BYTES_MAX 10

/* Returns how many bytes were written. */
static inline size_t varint_put(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

/* Takes one off the front of *from. False: it ends too early or does not fit 64 bits; then *from
 * is untouched. */
static inline bool varint_take(struct bytes *from, uint64_t *ret_v)
{
    uint64_t v = 0;
    for (size_t i = 0; i < from->len && i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = from->data[i];
        if (i == VARINT_BYTES_MAX - 1 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *from = bytes_skip(*from, i + 1);
            *ret_v = v;
            return true;
        }
    }
    return false;
}
