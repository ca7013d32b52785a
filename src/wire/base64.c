#include "wire/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

err base64_write(struct bytes what, struct buf *out)
{
    if (what.len > SIZE_MAX / 2)
        return ERR_LIMIT;
    size_t len = (what.len + 2) / 3 * 4;
    TRY(buf_reserve(out, len));
    uint8_t *to = out->data + out->len;
    for (size_t i = 0; i < what.len; i += 3) {
        size_t n = what.len - i < 3 ? what.len - i : 3;
        uint32_t three = (uint32_t)what.data[i] << 16;
        if (n > 1)
            three |= (uint32_t)what.data[i + 1] << 8;
        if (n > 2)
            three |= what.data[i + 2];
        *to++ = (uint8_t)standard[three >> 18];
        *to++ = (uint8_t)standard[three >> 12 & 63];
        *to++ = n > 1 ? (uint8_t)standard[three >> 6 & 63] : '=';
        *to++ = n > 2 ? (uint8_t)standard[three & 63] : '=';
    }
    out->len += len;
    return OK;
}

/* 0..63, or 64 for what is no digit of this alphabet. */
static unsigned digit_value(uint8_t c, bool url_safe)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26U;
    if (c >= '0' && c <= '9')
        return c - '0' + 52U;
    if (c == (url_safe ? '-' : '+'))
        return 62;
    if (c == (url_safe ? '_' : '/'))
        return 63;
    return 64;
}

static bool is_line_end(uint8_t c)
{
    return c == '\n' || c == '\r';
}

/* A text with - or _ in it is URL-safe as a whole; one of a length not divisible by four has no
 * padding. Both are judged before line ends are dropped, as Go does. */
err base64_read(struct bytes text, uint8_t *to, size_t *ret_len)
{
    bool url_safe =
        text.len && (memchr(text.data, '-', text.len) || memchr(text.data, '_', text.len));
    bool padded = text.len % 4 == 0;
    uint32_t bits = 0;
    unsigned digits = 0;
    unsigned pads = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (is_line_end(c))
            continue;
        if (c == '=' && padded && digits >= 2 && digits + pads < 4) {
            pads++;
            continue;
        }
        unsigned value = digit_value(c, url_safe);
        if (value == 64 || pads)
            return ERR_SYNTAX;
        bits = bits << 6 | value;
        if (++digits == 4) {
            to[len++] = (uint8_t)(bits >> 16);
            to[len++] = (uint8_t)(bits >> 8);
            to[len++] = (uint8_t)bits;
            digits = 0;
        }
    }
    if (digits == 1 || (padded && digits && digits + pads != 4))
        return ERR_SYNTAX;
    if (digits >= 2)
        to[len++] = (uint8_t)(bits >> (digits == 2 ? 4 : 10));
    if (digits == 3)
        to[len++] = (uint8_t)(bits >> 2);
    *ret_len = len;
    return OK;
}
