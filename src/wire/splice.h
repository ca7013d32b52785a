/* Protobuf by hand: for what is stored encoded and goes out as it is.
 *
 * A nested message on the wire is tag, length, bytes; so a response is a few header bytes
 * around stored blobs. Here are the sizes and writers for such bytes, a walk over the fields of
 * a message without its schema, and mvccpb.KeyValue, the blob that everything stores.
 *
 *     field   := tag value            tag := varint(number << 3 | type)
 *     value   := varint | 8 bytes | varint(n) n bytes | 4 bytes
 *
 * Writers take the place to write at and return the place behind; the caller has summed the
 * sizes first. A writer of a scalar leaves zero out, as proto3 does, and its size is then 0.
 *
 * Thread: any.  Owns: nothing. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP = 3, /* begin; its end is 4 */
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5,
};

enum {
    WIRE_FIELD_NUMBER_MAX = (1 << 29) - 1,
    WIRE_VARINT_BYTES_MAX = 10,
    WIRE_GROUP_DEPTH_MAX = 100,
};

/* ---- sizes and writers ---- */

static inline size_t wire_varint_size(uint64_t v)
{
    unsigned bits = 64U - (unsigned)__builtin_clzll(v | 1);
    return (bits * 9 + 64) / 64;
}

static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t v)
{
    while (v >= 0x80) {
        *at++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *at++ = (uint8_t)v;
    return at;
}

static inline size_t wire_tag_size(uint32_t number)
{
    return wire_varint_size((uint64_t)number << 3);
}

static inline uint8_t *wire_put_tag(uint8_t *at, uint32_t number, enum wire_type type)
{
    return wire_put_varint(at, (uint64_t)number << 3 | type);
}

/* A scalar of proto3; int64, int32 and enums are passed sign-extended, bool as 0 or 1. */
static inline size_t wire_varint_field_size(uint32_t number, uint64_t v)
{
    return v ? wire_tag_size(number) + wire_varint_size(v) : 0;
}

static inline uint8_t *wire_put_varint_field(uint8_t *at, uint32_t number, uint64_t v)
{
    return v ? wire_put_varint(wire_put_tag(at, number, WIRE_VARINT), v) : at;
}

/* Tag and length of a nested message, string or bytes of len; what follows is the caller's. */
static inline size_t wire_prefix_size(uint32_t number, size_t len)
{
    return wire_tag_size(number) + wire_varint_size(len);
}

static inline uint8_t *wire_put_prefix(uint8_t *at, uint32_t number, size_t len)
{
    return wire_put_varint(wire_put_tag(at, number, WIRE_BYTES), len);
}

/* A whole nested message or repeated element: written even if empty. */
static inline size_t wire_message_field_size(uint32_t number, size_t len)
{
    return wire_prefix_size(number, len) + len;
}

static inline uint8_t *wire_put_message_field(uint8_t *at, uint32_t number, struct bytes what)
{
    at = wire_put_prefix(at, number, what.len);
    if (what.len)
        memcpy(at, what.data, what.len);
    return at + what.len;
}

/* A bytes or string field of proto3: left out if empty. */
static inline size_t wire_bytes_field_size(uint32_t number, size_t len)
{
    return len ? wire_message_field_size(number, len) : 0;
}

static inline uint8_t *wire_put_bytes_field(uint8_t *at, uint32_t number, struct bytes what)
{
    return what.len ? wire_put_message_field(at, number, what) : at;
}

/* ---- etcdserverpb.ResponseHeader, field 1 of nearly every response ---- */

struct wire_header {
    uint64_t cluster_id;
    uint64_t member_id;
    int64_t revision;
    uint64_t raft_term;
};

enum { WIRE_HEADER_FIELD_BYTES_MAX = 2 + 4 * (1 + WIRE_VARINT_BYTES_MAX) };

/* With the field's own tag and length. */
size_t wire_header_field_size(const struct wire_header *header);
uint8_t *wire_put_header_field(uint8_t *at, const struct wire_header *header);

/* ---- reading without a schema ---- */

/* Reads one varint at *at and moves it on. Fails: ERR_SYNTAX (cut, or more than 64 bits). */
MUST err wire_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value);

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    struct bytes bytes; /* WIRE_BYTES; of a WIRE_GROUP what lies between begin and end */
};

struct wire_field_iter {
    const uint8_t *at;
    const uint8_t *end;
    err failed;
};

static inline struct wire_field_iter wire_field_iter_of(struct bytes message)
{
    return (struct wire_field_iter){message.data, bytes_end(message), OK};
}

/* The next field, in the order of the bytes. False at the end and where the bytes are no
 * message; wire_field_iter_end says which. */
bool wire_field_iter_next(struct wire_field_iter *self, struct wire_field *ret_field);
/* After false. Fails: ERR_SYNTAX, ERR_LIMIT (groups nested deeper than WIRE_GROUP_DEPTH_MAX). */
MUST static inline err wire_field_iter_end(const struct wire_field_iter *self)
{
    return self->failed;
}

/* ---- mvccpb.KeyValue ---- */

struct wire_kv {
    struct bytes key;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    struct bytes value;
    int64_t lease;
};

size_t wire_kv_size(const struct wire_kv *kv);
/* Writes wire_kv_size bytes. */
uint8_t *wire_put_kv(uint8_t *at, const struct wire_kv *kv);
/* Takes a stored blob apart; key and value point into it. Strict: exactly the bytes that
 * wire_put_kv writes, else ERR_SYNTAX. */
MUST err wire_kv_read(struct bytes blob, struct wire_kv *ret_kv);
/* The key alone: it is the first field. Empty for an empty blob. Fails: ERR_SYNTAX. */
MUST err wire_kv_read_key(struct bytes blob, struct bytes *ret_key);
