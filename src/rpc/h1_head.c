#include "rpc/h1_head.h"

#include <strings.h>

void h1_head_init(struct h1_head *self, struct rpc_pool *pool)
{
    *self = (struct h1_head){.pool = pool};
    buf_init(&self->text, pool->limits.header_list_bytes_max + pool->limits.target_bytes_max);
}

void h1_head_clear(struct h1_head *self)
{
    buf_done(&self->text);
    pool_release(self->pool, self->fields);
    h1_head_init(self, self->pool);
}

static int refuse(struct h1_head *self, unsigned status)
{
    self->refuse = status;
    return HPE_USER;
}

int h1_head_target(struct h1_head *self, struct bytes piece)
{
    if (self->target_len + piece.len > self->pool->limits.target_bytes_max ||
        !err_ok(buf_append(&self->text, piece)))
        return refuse(self, 414);
    self->target_len += (uint32_t)piece.len;
    return 0;
}

static bool too_long(const struct h1_head *self, size_t more)
{
    return self->text.len - self->target_len + more > self->pool->limits.header_list_bytes_max;
}

int h1_head_name(struct h1_head *self, struct bytes piece)
{
    const struct rpc_limits *limits = &self->pool->limits;
    if (self->in_value || self->count == 0) {
        if (self->count == limits->headers_max)
            return refuse(self, 431);
        if (self->count == self->cap) {
            self->cap = self->cap ? self->cap * 2 : 16;
            self->fields =
                pool_realloc(self->pool, self->fields, self->cap * sizeof(*self->fields));
        }
        self->fields[self->count++] = (struct h1_field){.name_at = (uint32_t)self->text.len};
        self->in_value = false;
    }
    if (too_long(self, piece.len) || !err_ok(buf_append(&self->text, piece)))
        return refuse(self, 431);
    self->fields[self->count - 1].name_len += (uint32_t)piece.len;
    return 0;
}

int h1_head_value(struct h1_head *self, struct bytes piece)
{
    if (self->count == 0)
        return refuse(self, 400);
    struct h1_field *field = &self->fields[self->count - 1];
    if (!self->in_value) {
        self->in_value = true;
        field->value_at = (uint32_t)self->text.len;
    }
    if (too_long(self, piece.len) || !err_ok(buf_append(&self->text, piece)))
        return refuse(self, 431);
    field->value_len += (uint32_t)piece.len;
    return 0;
}

/* Never a NULL: an empty value is not an absent one. */
static struct bytes text_at(const struct h1_head *self, uint32_t at, uint32_t len)
{
    return len ? bytes_of(self->text.data + at, len) : BYTES_LIT("");
}

/* Without the white space behind the value, which llhttp leaves there (RFC 9110, 5.5). */
static struct http_header header_at(const struct h1_head *self, unsigned i)
{
    const struct h1_field *field = &self->fields[i];
    struct bytes value = text_at(self, field->value_at, field->value_len);
    while (value.len && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    return (struct http_header){text_at(self, field->name_at, field->name_len), value};
}

struct bytes h1_head_get(const struct h1_head *self, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < self->count; i++) {
        struct http_header header = header_at(self, i);
        if (header.name.len == len && strncasecmp((const char *)header.name.data, name, len) == 0)
            return header.value;
    }
    return BYTES_NONE;
}

void h1_head_list(const struct h1_head *self, struct http_header *ret_headers)
{
    for (unsigned i = 0; i < self->count; i++)
        ret_headers[i] = header_at(self, i);
}

void h1_put_chunk_head(struct out *out, size_t len)
{
    uint8_t line[2 * sizeof(len) + 2];
    uint8_t *end = line + sizeof(line), *at = end;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (uint8_t) "0123456789abcdef"[len & 15];
        len >>= 4;
    } while (len);
    out_put(out, bytes_of(at, (size_t)(end - at)));
}
