/* UTF-8 as Unicode has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Thread: any.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include "base/bytes.h"

/* How a NUL lies in a C string (decode.h): a form that no valid text contains. */
#define UTF8_NUL "\xC0\x80"

bool utf8_valid(struct bytes text);

/* The length, 1..4, of the character that text begins with, and the character; 0 where text is
 * empty or begins with none. */
unsigned utf8_next(struct bytes text, uint32_t *ret_rune);

/* Writes rune, which is none of the surrogates and at most U+10FFFF; returns its length. */
unsigned utf8_put(uint8_t at[4], uint32_t rune);
