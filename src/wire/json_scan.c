#include "wire/json_scan.h"

#include "wire/utf8.h"

static void skip_space(struct json_scan *self)
{
    while (self->at < self->end &&
           (*self->at == ' ' || *self->at == '\n' || *self->at == '\r' || *self->at == '\t'))
        self->at++;
}

err json_peek(struct json_scan *self, uint8_t *ret_byte)
{
    skip_space(self);
    if (self->at == self->end)
        return ERR_TORN;
    *ret_byte = *self->at;
    return OK;
}

err json_take(struct json_scan *self, uint8_t byte)
{
    uint8_t next;
    TRY(json_peek(self, &next));
    if (next != byte)
        return ERR_SYNTAX;
    self->at++;
    return OK;
}

err json_more(struct json_scan *self, uint8_t close, bool *ret_more)
{
    uint8_t next;
    TRY(json_peek(self, &next));
    if (next != ',' && next != close)
        return ERR_SYNTAX;
    self->at++;
    *ret_more = next == ',';
    return OK;
}

err json_first(struct json_scan *self, uint8_t close, bool *ret_more)
{
    uint8_t next;
    TRY(json_peek(self, &next));
    self->at += next == close;
    *ret_more = next != close;
    return OK;
}

err json_literal(struct json_scan *self, const char *literal)
{
    skip_space(self);
    for (; *literal; literal++, self->at++) {
        if (self->at == self->end)
            return ERR_TORN;
        if (*self->at != (uint8_t)*literal)
            return ERR_SYNTAX;
    }
    return self->at < self->end && json_is_word(*self->at) ? ERR_SYNTAX : OK;
}

/* ---- numbers ---- */

static size_t digits_len(struct bytes text)
{
    size_t n = 0;
    while (n < text.len && text.data[n] >= '0' && text.data[n] <= '9')
        n++;
    return n;
}

struct number {
    bool negative;
    struct bytes whole;
    struct bytes fraction;
    bool exponent_negative;
    struct bytes exponent;
};

/* number := [-] (0 | 1-9 digits) [. digits] [(e|E) [+|-] digits], and nothing after. */
static err number_split(struct bytes text, struct number *ret_number)
{
    struct number number = {0};
    number.negative = text.len && text.data[0] == '-';
    text = bytes_skip(text, number.negative);
    number.whole = bytes_of(text.data, digits_len(text));
    if (number.whole.len == 0 || (number.whole.len > 1 && number.whole.data[0] == '0'))
        return ERR_SYNTAX;
    text = bytes_skip(text, number.whole.len);
    if (text.len && text.data[0] == '.') {
        text = bytes_skip(text, 1);
        number.fraction = bytes_of(text.data, digits_len(text));
        if (number.fraction.len == 0)
            return ERR_SYNTAX;
        text = bytes_skip(text, number.fraction.len);
    }
    if (text.len && (text.data[0] == 'e' || text.data[0] == 'E')) {
        text = bytes_skip(text, 1);
        number.exponent_negative = text.len && text.data[0] == '-';
        text = bytes_skip(text, text.len && (text.data[0] == '-' || text.data[0] == '+'));
        number.exponent = bytes_of(text.data, digits_len(text));
        if (number.exponent.len == 0)
            return ERR_SYNTAX;
        text = bytes_skip(text, number.exponent.len);
    }
    if (text.len)
        return ERR_SYNTAX;
    *ret_number = number;
    return OK;
}

err json_number(struct json_scan *self, struct bytes *ret_text)
{
    skip_space(self);
    const uint8_t *from = self->at;
    while (self->at < self->end && json_is_word(*self->at))
        self->at++;
    if (self->at == self->end)
        return ERR_TORN;
    struct bytes text = bytes_of(from, (size_t)(self->at - from));
    struct number number;
    TRY(number_split(text, &number));
    *ret_text = text;
    return OK;
}

static uint8_t digit_at(const struct number *number, size_t i)
{
    return i < number->whole.len ? number->whole.data[i]
                                 : number->fraction.data[i - number->whole.len];
}

err json_integer(struct bytes text, bool *ret_negative, uint64_t *ret_magnitude)
{
    struct number number;
    TRY(number_split(text, &number));
    /* 20 digits hold every 64-bit number; beyond this an exponent decides without its value. */
    int64_t exponent = 0;
    int64_t exponent_max = (int64_t)text.len + 32;
    for (size_t i = 0; i < number.exponent.len && exponent < exponent_max; i++)
        exponent = exponent * 10 + (number.exponent.data[i] - '0');
    if (number.exponent_negative)
        exponent = -exponent;

    size_t digits = number.whole.len + number.fraction.len;
    int64_t whole_digits = (int64_t)number.whole.len + exponent;
    uint64_t magnitude = 0;
    for (size_t i = 0; i < digits; i++) {
        uint8_t digit = (uint8_t)(digit_at(&number, i) - '0');
        if ((int64_t)i >= whole_digits) {
            if (digit)
                return ERR_SYNTAX;
        } else if (__builtin_mul_overflow(magnitude, 10, &magnitude) ||
                   __builtin_add_overflow(magnitude, digit, &magnitude)) {
            return ERR_SYNTAX;
        }
    }
    for (int64_t i = (int64_t)digits; magnitude && i < whole_digits; i++)
        if (__builtin_mul_overflow(magnitude, 10, &magnitude))
            return ERR_SYNTAX;
    *ret_negative = number.negative;
    *ret_magnitude = magnitude;
    return OK;
}

/* ---- strings ---- */

static err hex_rune(const uint8_t **at, const uint8_t *end, uint32_t *ret_rune)
{
    uint32_t rune = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (*at == end)
            return ERR_SYNTAX;
        uint8_t c = *(*at)++;
        if (c >= '0' && c <= '9')
            rune = rune << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            rune = rune << 4 | ((c | 0x20) - 'a' + 10U);
        else
            return ERR_SYNTAX;
    }
    *ret_rune = rune;
    return OK;
}

/* \uXXXX, a surrogate only with its other half. *at is behind the u. */
static err unescape_rune(const uint8_t **at, const uint8_t *end, uint32_t *ret_rune)
{
    uint32_t rune;
    TRY(hex_rune(at, end, &rune));
    if (rune >= 0xD800 && rune <= 0xDFFF) {
        uint32_t low;
        if (rune >= 0xDC00 || end - *at < 2 || (*at)[0] != '\\' || (*at)[1] != 'u')
            return ERR_SYNTAX;
        *at += 2;
        TRY(hex_rune(at, end, &low));
        if (low < 0xDC00 || low > 0xDFFF)
            return ERR_SYNTAX;
        rune = 0x10000 + ((rune - 0xD800) << 10) + (low - 0xDC00);
    }
    *ret_rune = rune;
    return OK;
}

static err unescape_one(const uint8_t **at, const uint8_t *end, uint32_t *ret_rune)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t letter = *(*at)++;
    if (letter == 'u')
        return unescape_rune(at, end, ret_rune);
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (!found)
        return ERR_SYNTAX;
    *ret_rune = (uint8_t)meanings[found - letters];
    return OK;
}

/* No escape is shorter than what it stands for, so the text's own length is room enough. A
 * backslash is never its last byte: it would have hidden the quote. */
static err unescape(struct json_scan *self, struct bytes raw, struct bytes *ret_text)
{
    void *memory;
    TRY(builder_alloc(self->builder, raw.len, &memory));
    uint8_t *to = memory;
    size_t n = 0;
    const uint8_t *end = bytes_end(raw);
    for (const uint8_t *at = raw.data; at < end;) {
        if (*at != '\\') {
            to[n++] = *at++;
            continue;
        }
        at++;
        uint32_t rune;
        TRY(unescape_one(&at, end, &rune));
        n += utf8_put(to + n, rune);
    }
    *ret_text = bytes_of(to, n);
    return OK;
}

err json_string(struct json_scan *self, struct bytes *ret_text)
{
    TRY(json_take(self, '"'));
    const uint8_t *from = self->at;
    bool escaped = false;
    for (;; self->at++) {
        if (self->at == self->end)
            return ERR_TORN;
        if (*self->at == '"')
            break;
        if (*self->at < 0x20)
            return ERR_SYNTAX;
        if (*self->at == '\\') {
            escaped = true;
            if (++self->at == self->end)
                return ERR_TORN;
        }
    }
    struct bytes raw = bytes_of(from, (size_t)(self->at - from));
    self->at++;
    if (!utf8_valid(raw))
        return ERR_SYNTAX;
    if (escaped)
        return unescape(self, raw, ret_text);
    *ret_text = raw;
    return OK;
}

/* ---- whatever comes ---- */

static err skip_pairs(struct json_scan *self, uint8_t open, unsigned depth_max)
{
    uint8_t close = open == '{' ? '}' : ']';
    bool more;
    if (depth_max == 0)
        return ERR_LIMIT;
    TRY(json_take(self, open));
    TRY(json_first(self, close, &more));
    while (more) {
        struct bytes key;
        if (open == '{') {
            TRY(json_string(self, &key));
            TRY(json_take(self, ':'));
        }
        TRY(json_skip(self, depth_max - 1));
        TRY(json_more(self, close, &more));
    }
    return OK;
}

err json_skip(struct json_scan *self, unsigned depth_max)
{
    uint8_t next;
    struct bytes ignored;
    TRY(json_peek(self, &next));
    switch (next) {
    case '{':
    case '[':
        return skip_pairs(self, next, depth_max);
    case '"':
        return json_string(self, &ignored);
    case 't':
        return json_literal(self, "true");
    case 'f':
        return json_literal(self, "false");
    case 'n':
        return json_literal(self, "null");
    default:
        return json_number(self, &ignored);
    }
}
