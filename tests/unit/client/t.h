/* What every test file here begins with: cmocka, and stdout's text taken aside. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

#define assert_err(e, want) assert_string_equal(err_name(e), err_name(want))
#define assert_ok(e)        assert_err(e, OK)

/* Text written to a stream in memory; free() what text_end gives. */
struct text {
    FILE *stream;
    char *data;
    size_t len;
};

static inline FILE *text_begin(struct text *self)
{
    self->data = NULL;
    self->stream = open_memstream(&self->data, &self->len);
    assert_non_null(self->stream);
    return self->stream;
}

static inline char *text_end(struct text *self)
{
    assert_int_equal(fclose(self->stream), 0);
    return self->data;
}
