/* Spans of time as text, in Go's form: `100ms`, `1.5s`, `2m30s`, `-1h0m0s`, `0s`.
 * Thread: any.  Owns: nothing.  Source: etcd's flags and log lines. */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DURATION_TEXT_MAX 32

/* Writes the text and a NUL to `out`; returns its length. */
size_t duration_text(int64_t ns, char out[DURATION_TEXT_MAX]);
/* Units ns, us (also µs), ms, s, m, h; fractions; a sign; a bare `0`.
 * Fails: ERR_SYNTAX; ERR_LIMIT where it does not fit an int64 of nanoseconds. */
MUST err duration_parse(const char *text, int64_t *ret_ns);
