#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "raw.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

void raw_init(struct raw *self)
{
    buf_init(&self->to, 0);
    buf_init(&self->from, 0);
    assert_int_equal(nghttp2_hd_inflate_new(&self->inflater), 0);
}

void raw_done(struct raw *self)
{
    buf_done(&self->to);
    buf_done(&self->from);
    nghttp2_hd_inflate_del(self->inflater);
}

void raw_again(struct raw *self)
{
    raw_done(self);
    raw_init(self);
}

static void put(struct raw *self, struct bytes what)
{
    assert_true(err_ok(buf_append(&self->to, what)));
}

void raw_frame(struct raw *self, uint8_t type, uint8_t flags, uint32_t stream, struct bytes payload)
{
    const uint8_t head[9] = {(uint8_t)(payload.len >> 16),
                             (uint8_t)(payload.len >> 8),
                             (uint8_t)payload.len,
                             type,
                             flags,
                             (uint8_t)(stream >> 24),
                             (uint8_t)(stream >> 16),
                             (uint8_t)(stream >> 8),
                             (uint8_t)stream};
    put(self, bytes_of(head, sizeof(head)));
    put(self, payload);
}

void raw_preface(struct raw *self, uint16_t id, uint32_t value)
{
    put(self, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    const uint8_t entry[6] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                              (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    raw_frame(self, SETTINGS, 0, 0, bytes_of(entry, id ? sizeof(entry) : 0));
}

void raw_u32_frame(struct raw *self, uint8_t type, uint32_t stream, uint32_t value)
{
    const uint8_t payload[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16),
                                (uint8_t)(value >> 8), (uint8_t)value};
    raw_frame(self, type, 0, stream, bytes_of(payload, sizeof(payload)));
}

/* HPACK's string: length with a 7-bit prefix, no Huffman (RFC 7541, 5.2). */
static size_t put_string(uint8_t *at, struct bytes what)
{
    size_t n = 0;
    if (what.len < 127) {
        at[n++] = (uint8_t)what.len;
    } else {
        at[n++] = 127;
        size_t rest = what.len - 127;
        for (; rest >= 128; rest >>= 7)
            at[n++] = (uint8_t)(rest | 128);
        at[n++] = (uint8_t)rest;
    }
    memcpy(at + n, what.data, what.len);
    return n + what.len;
}

struct bytes raw_field(uint8_t *space, const char *name, struct bytes value)
{
    size_t n = 0;
    space[n++] = 0;
    n += put_string(space + n, bytes_str(name));
    n += put_string(space + n, value);
    return bytes_of(space, n);
}

void raw_page(struct raw *self, uint8_t flags, uint32_t stream, const char *method,
              const char *path, struct bytes more)
{
    static uint8_t block[1 << 16];
    size_t n = 0;
    block[n++] = 0x02; /* :method */
    n += put_string(block + n, bytes_str(method));
    block[n++] = 0x86; /* :scheme http */
    block[n++] = 0x04; /* :path */
    n += put_string(block + n, bytes_str(path));
    block[n++] = 0x01; /* :authority */
    n += put_string(block + n, BYTES_LIT("x"));
    if (more.len)
        memcpy(block + n, more.data, more.len);
    raw_frame(self, HEADERS, flags, stream, bytes_of(block, n + more.len));
}

void raw_request(struct raw *self, uint8_t flags, uint32_t stream, const char *path,
                 struct bytes more)
{
    static uint8_t block[1 << 16];
    size_t n = raw_field(block, "content-type", BYTES_LIT("application/grpc")).len;
    if (more.len)
        memcpy(block + n, more.data, more.len);
    raw_page(self, flags, stream, "POST", path, bytes_of(block, n + more.len));
}

void raw_take(struct raw *self, struct pair *pair)
{
    for (;;) {
        struct iovec iov[64];
        unsigned count;
        size_t n = rpc_conn_output(pair->conn, iov, 64, &count);
        for (unsigned i = 0; i < count; i++)
            assert_true(err_ok(buf_append(&self->from, bytes_of(iov[i].iov_base, iov[i].iov_len))));
        rpc_conn_wrote(pair->conn, n);
        if (n == 0)
            return;
    }
}

void raw_feed(struct raw *self, struct pair *pair, bool take)
{
    for (size_t at = 0; at < self->to.len;) {
        size_t n = self->to.len - at < 16384 ? self->to.len - at : 16384;
        uint8_t *copy = malloc(n);
        memcpy(copy, self->to.data + at, n);
        rpc_conn_read(pair->conn, bytes_of(copy, n), pair->now_ms);
        free(copy);
        at += n;
        if (take)
            raw_take(self, pair);
    }
    buf_clear(&self->to);
}

/* Every header block is decoded, as each changes HPACK's table. */
static const char *fields_of(struct raw *self, struct bytes block)
{
    static char text[8192];
    size_t n = 0;
    text[0] = 0;
    for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        nghttp2_nv field;
        ssize_t used =
            nghttp2_hd_inflate_hd2(self->inflater, &field, &flags, block.data, block.len, 1);
        assert_true(used >= 0);
        block = bytes_skip(block, (size_t)used);
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s: %s\n", field.name, field.value);
        assert_true(n < sizeof(text));
    }
    nghttp2_hd_inflate_end_headers(self->inflater);
    return text;
}

bool raw_next(struct raw *self, int type, struct raw_seen *ret_seen)
{
    static uint8_t payload[1 << 17];
    while (self->from.len >= 9) {
        const uint8_t *p = self->from.data;
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (self->from.len < 9 + len)
            return false;
        struct raw_seen seen = {.type = p[3], .flags = p[4]};
        seen.stream = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
        memcpy(payload, p + 9, len);
        seen.payload = bytes_of(payload, len);
        if (seen.type == HEADERS)
            seen.fields = fields_of(self, seen.payload);
        buf_consume(&self->from, 9 + len);
        if (seen.type != type)
            continue;
        *ret_seen = seen;
        return true;
    }
    return false;
}

uint32_t raw_u32(const struct raw_seen *seen, size_t at)
{
    assert_true(seen->payload.len >= at + 4);
    const uint8_t *p = seen->payload.data + at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
