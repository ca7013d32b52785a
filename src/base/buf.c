#include "base/buf.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 64

void buf_init(struct buf *self, size_t limit)
{
    *self = (struct buf){.limit = limit};
}

void buf_done(struct buf *self)
{
    free(self->data);
    *self = (struct buf){.limit = self->limit};
}

err buf_reserve(struct buf *self, size_t n)
{
    DCHECK(self->len <= self->cap);
    if (n <= self->cap - self->len)
        return OK;
    size_t limit = self->limit ? self->limit : PTRDIFF_MAX;
    if (n > limit || self->len > limit - n)
        return ERR_LIMIT;
    size_t cap = self->cap > limit / 2 ? limit : self->cap * 2;
    if (cap < CAP_MIN)
        cap = CAP_MIN < limit ? CAP_MIN : limit;
    if (cap < self->len + n)
        cap = self->len + n;
    uint8_t *data = realloc(self->data, cap);
    if (!data)
        return ERR_LIMIT;
    self->data = data;
    self->cap = cap;
    return OK;
}

err buf_append(struct buf *self, struct bytes what)
{
    if (what.len == 0)
        return OK;
    TRY(buf_reserve(self, what.len));
    memcpy(self->data + self->len, what.data, what.len);
    self->len += what.len;
    return OK;
}

err buf_printf(struct buf *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(n >= 0);
    TRY(buf_reserve(self, (size_t)n + 1));
    va_start(args, format);
    vsnprintf((char *)self->data + self->len, (size_t)n + 1, format, args);
    va_end(args);
    self->len += (size_t)n;
    return OK;
}

void buf_consume(struct buf *self, size_t n)
{
    CHECK(n <= self->len);
    self->len -= n;
    if (n && self->len)
        memmove(self->data, self->data + n, self->len);
}

void buf_clear(struct buf *self)
{
    self->len = 0;
}
