/* Base64 (RFC 4648) as Go's protojson reads and writes it.
 * Thread: any.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include "base/buf.h"

/* Appends the standard alphabet with padding. Fails: ERR_LIMIT. */
MUST err base64_write(struct bytes what, struct buf *out);

/* Reads the standard or the URL-safe alphabet, padded or not; line ends count for nothing. `to`
 * has room for base64_room(text.len). Fails: ERR_SYNTAX. */
MUST err base64_read(struct bytes text, uint8_t *to, size_t *ret_len);

static inline size_t base64_room(size_t text_len)
{
    return text_len / 4 * 3 + 3;
}
