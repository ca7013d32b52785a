/* mvccpb.KeyValue, by hand: the one message that is made for each put and looked at for each old
 * revision. Field numbers: etcd's interface, table of messages. */
#include "base/check.h"
#include "mvcc/view.h"

enum kv_field { KV_KEY = 1, KV_CREATE, KV_MOD, KV_VERSION, KV_VALUE, KV_LEASE };
enum kv_wire { KV_VARINT = 0, KV_FIXED64 = 1, KV_LENGTH = 2, KV_FIXED32 = 5 };

static size_t varint_bytes(uint64_t v)
{
    return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static uint8_t *varint_put(uint8_t *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *out++ = (uint8_t)(v | 0x80);
    *out++ = (uint8_t)v;
    return out;
}

static bool varint_get(struct bytes *at, uint64_t *ret_v)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < at->len && i < 10; i++) {
        v |= (uint64_t)(at->data[i] & 0x7f) << (7 * i);
        if (at->data[i] < 0x80) {
            *at = bytes_skip(*at, i + 1);
            *ret_v = v;
            return true;
        }
    }
    return false;
}

static size_t bytes_field_bytes(struct bytes value)
{
    return value.len ? 1 + varint_bytes(value.len) + value.len : 0;
}

static size_t int_field_bytes(int64_t value)
{
    return value ? 1 + varint_bytes((uint64_t)value) : 0;
}

size_t mvcc_kv_bytes(const struct mvcc_kv *self)
{
    return bytes_field_bytes(self->key) + int_field_bytes(self->create) +
           int_field_bytes(self->mod) + int_field_bytes(self->version) +
           bytes_field_bytes(self->value) + int_field_bytes(self->lease);
}

static uint8_t *bytes_field_put(uint8_t *out, enum kv_field field, struct bytes value)
{
    if (value.len == 0)
        return out;
    *out++ = (uint8_t)(field << 3 | KV_LENGTH);
    out = varint_put(out, value.len);
    memcpy(out, value.data, value.len);
    return out + value.len;
}

static uint8_t *int_field_put(uint8_t *out, enum kv_field field, int64_t value)
{
    if (value == 0)
        return out;
    *out++ = (uint8_t)(field << 3 | KV_VARINT);
    return varint_put(out, (uint64_t)value);
}

void mvcc_kv_encode(const struct mvcc_kv *self, uint8_t *out)
{
    out = bytes_field_put(out, KV_KEY, self->key);
    out = int_field_put(out, KV_CREATE, self->create);
    out = int_field_put(out, KV_MOD, self->mod);
    out = int_field_put(out, KV_VERSION, self->version);
    out = bytes_field_put(out, KV_VALUE, self->value);
    int_field_put(out, KV_LEASE, self->lease);
}

/* One field's value behind its tag; unknown ones are passed over. */
static bool kv_field_get(struct mvcc_kv *kv, uint64_t tag, struct bytes *at)
{
    uint64_t v = 0;
    switch ((enum kv_wire)(tag & 7)) {
    case KV_VARINT:
        if (!varint_get(at, &v))
            return false;
        break;
    case KV_LENGTH:
        if (!varint_get(at, &v) || v > at->len)
            return false;
        if (tag >> 3 == KV_KEY)
            kv->key = bytes_of(at->data, v);
        else if (tag >> 3 == KV_VALUE)
            kv->value = bytes_of(at->data, v);
        *at = bytes_skip(*at, v);
        return true;
    case KV_FIXED64:
    case KV_FIXED32:
        v = (tag & 7) == KV_FIXED64 ? 8 : 4;
        if (v > at->len)
            return false;
        *at = bytes_skip(*at, v);
        return true;
    default:
        return false;
    }
    switch (tag >> 3) {
    case KV_CREATE:
        kv->create = (int64_t)v;
        break;
    case KV_MOD:
        kv->mod = (int64_t)v;
        break;
    case KV_VERSION:
        kv->version = (int64_t)v;
        break;
    case KV_LEASE:
        kv->lease = (int64_t)v;
        break;
    default:
        break;
    }
    return true;
}

err mvcc_kv_decode(struct bytes blob, struct mvcc_kv *ret_kv)
{
    struct mvcc_kv kv = {0};
    while (blob.len > 0) {
        uint64_t tag;
        if (!varint_get(&blob, &tag) || tag >> 3 == 0 || !kv_field_get(&kv, tag, &blob))
            return ERR_CORRUPT;
    }
    *ret_kv = kv;
    return OK;
}
