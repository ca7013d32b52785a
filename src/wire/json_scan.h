/* JSON's tokens (RFC 8259), one call a token, out of a text that may end too early.
 * All skip the white space before; all fail with ERR_TORN where the text ends before the token
 * does, with ERR_SYNTAX where it is another, and with ERR_LIMIT past the builder's bounds.
 * Thread: one at a time.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include "wire/build.h"

struct json_scan {
    const uint8_t *at;
    const uint8_t *end;
    struct builder *builder;
};

/* Whether a token could go on with this byte: letters that run together are no two tokens. */
static inline bool json_is_word(uint8_t c)
{
    return c == '-' || c == '+' || c == '.' || c == '_' || (c >= '0' && c <= '9') ||
           (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The first byte of the next token, without taking it. */
MUST err json_peek(struct json_scan *self, uint8_t *ret_byte);
/* One of { } [ ] : , */
MUST err json_take(struct json_scan *self, uint8_t byte);
/* true, false or null. */
MUST err json_literal(struct json_scan *self, const char *literal);
/* The text between the quotes, unescaped, proved to be UTF-8: in the input or the arena. */
MUST err json_string(struct json_scan *self, struct bytes *ret_text);
/* The digits as they stand. */
MUST err json_number(struct json_scan *self, struct bytes *ret_text);
/* Any value, nested at most depth_max deep. */
MUST err json_skip(struct json_scan *self, unsigned depth_max);

/* After a value within an object or array that ends with `close`: another one follows (after a
 * comma, taken), or not (close, taken). */
MUST err json_more(struct json_scan *self, uint8_t close, bool *ret_more);

/* Right after an opening bracket: takes `close` if the pair is empty. */
MUST err json_first(struct json_scan *self, uint8_t close, bool *ret_more);

/* A number that json_number would give, as an integer: sign and magnitude. 1e3 and 2.0 are
 * whole. Fails: ERR_SYNTAX where it is no such text, not whole, or above 64 bits. */
MUST err json_integer(struct bytes text, bool *ret_negative, uint64_t *ret_magnitude);
