#include "wire/utf8.h"

#include "base/check.h"

/* Table 3-7 of the Unicode standard: what the second byte may be depends on the first. */
static unsigned sequence_len(uint8_t first, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *ret_high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    if (first >= 0xF0 && first <= 0xF4)
        return 4;
    return 0;
}

unsigned utf8_next(struct bytes text, uint32_t *ret_rune)
{
    if (text.len == 0)
        return 0;
    uint8_t low;
    uint8_t high;
    unsigned len = sequence_len(text.data[0], &low, &high);
    if (len == 0 || text.len < len)
        return 0;
    if (len > 1 && (text.data[1] < low || text.data[1] > high))
        return 0;
    uint32_t rune = len == 1 ? text.data[0] : text.data[0] & (0x7FU >> len);
    for (unsigned i = 1; i < len; i++) {
        if ((text.data[i] & 0xC0) != 0x80)
            return 0;
        rune = rune << 6 | (text.data[i] & 0x3FU);
    }
    *ret_rune = rune;
    return len;
}

bool utf8_valid(struct bytes text)
{
    while (text.len > 0) {
        while (text.len >= 8 && (bytes_get_le64(text.data) & 0x8080808080808080U) == 0)
            text = bytes_skip(text, 8);
        if (text.len == 0)
            break;
        uint32_t rune;
        unsigned len = utf8_next(text, &rune);
        if (len == 0)
            return false;
        text = bytes_skip(text, len);
    }
    return true;
}

unsigned utf8_put(uint8_t at[4], uint32_t rune)
{
    CHECK(rune <= 0x10FFFF && (rune < 0xD800 || rune > 0xDFFF));
    if (rune < 0x80) {
        at[0] = (uint8_t)rune;
        return 1;
    }
    if (rune < 0x800) {
        at[0] = (uint8_t)(0xC0 | rune >> 6);
        at[1] = (uint8_t)(0x80 | (rune & 0x3F));
        return 2;
    }
    if (rune < 0x10000) {
        at[0] = (uint8_t)(0xE0 | rune >> 12);
        at[1] = (uint8_t)(0x80 | (rune >> 6 & 0x3F));
        at[2] = (uint8_t)(0x80 | (rune & 0x3F));
        return 3;
    }
    at[0] = (uint8_t)(0xF0 | rune >> 18);
    at[1] = (uint8_t)(0x80 | (rune >> 12 & 0x3F));
    at[2] = (uint8_t)(0x80 | (rune >> 6 & 0x3F));
    at[3] = (uint8_t)(0x80 | (rune & 0x3F));
    return 4;
}
