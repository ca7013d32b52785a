#include "wire/splice.h"

#include "wire/scan.h"

/* mvccpb.KeyValue; a stored format, so its numbers stand here too. */
enum {
    KV_KEY = 1,
    KV_CREATE_REVISION = 2,
    KV_MOD_REVISION = 3,
    KV_VERSION = 4,
    KV_VALUE = 5,
    KV_LEASE = 6,
};

/* etcdserverpb.ResponseHeader, and its own number in the responses. */
enum {
    HEADER = 1,
    HEADER_CLUSTER_ID = 1,
    HEADER_MEMBER_ID = 2,
    HEADER_REVISION = 3,
    HEADER_RAFT_TERM = 4,
};

static size_t header_size(const struct wire_header *header)
{
    return wire_varint_field_size(HEADER_CLUSTER_ID, header->cluster_id) +
           wire_varint_field_size(HEADER_MEMBER_ID, header->member_id) +
           wire_varint_field_size(HEADER_REVISION, (uint64_t)header->revision) +
           wire_varint_field_size(HEADER_RAFT_TERM, header->raft_term);
}

size_t wire_header_field_size(const struct wire_header *header)
{
    return wire_message_field_size(HEADER, header_size(header));
}

uint8_t *wire_put_header_field(uint8_t *at, const struct wire_header *header)
{
    at = wire_put_prefix(at, HEADER, header_size(header));
    at = wire_put_varint_field(at, HEADER_CLUSTER_ID, header->cluster_id);
    at = wire_put_varint_field(at, HEADER_MEMBER_ID, header->member_id);
    at = wire_put_varint_field(at, HEADER_REVISION, (uint64_t)header->revision);
    return wire_put_varint_field(at, HEADER_RAFT_TERM, header->raft_term);
}

err wire_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    bool minimal;
    return scan_varint(at, end, ret_value, &minimal);
}

bool wire_field_iter_next(struct wire_field_iter *self, struct wire_field *ret_field)
{
    if (self->at == self->end || !err_ok(self->failed))
        return false;
    uint32_t number;
    enum wire_type type;
    bool minimal;
    self->failed = scan_tag(&self->at, self->end, &number, &type, &minimal);
    if (err_ok(self->failed))
        self->failed =
            scan_field(&self->at, self->end, number, type, WIRE_GROUP_DEPTH_MAX, ret_field);
    return err_ok(self->failed);
}

size_t wire_kv_size(const struct wire_kv *kv)
{
    return wire_bytes_field_size(KV_KEY, kv->key.len) +
           wire_varint_field_size(KV_CREATE_REVISION, (uint64_t)kv->create_revision) +
           wire_varint_field_size(KV_MOD_REVISION, (uint64_t)kv->mod_revision) +
           wire_varint_field_size(KV_VERSION, (uint64_t)kv->version) +
           wire_bytes_field_size(KV_VALUE, kv->value.len) +
           wire_varint_field_size(KV_LEASE, (uint64_t)kv->lease);
}

uint8_t *wire_put_kv(uint8_t *at, const struct wire_kv *kv)
{
    at = wire_put_bytes_field(at, KV_KEY, kv->key);
    at = wire_put_varint_field(at, KV_CREATE_REVISION, (uint64_t)kv->create_revision);
    at = wire_put_varint_field(at, KV_MOD_REVISION, (uint64_t)kv->mod_revision);
    at = wire_put_varint_field(at, KV_VERSION, (uint64_t)kv->version);
    at = wire_put_bytes_field(at, KV_VALUE, kv->value);
    return wire_put_varint_field(at, KV_LEASE, (uint64_t)kv->lease);
}

/* All numbers are below 16, so each tag is one byte. The field, if it is next; its absence is
 * no error, its zero is. */
static err kv_bytes(const uint8_t **at, const uint8_t *end, uint32_t number, bool *canonical,
                    struct bytes *ret_value)
{
    if (*at == end || **at != (number << 3 | WIRE_BYTES))
        return OK;
    const uint8_t *p = *at + 1;
    TRY(scan_bytes(&p, end, ret_value, canonical));
    if (ret_value->len == 0)
        *canonical = false;
    *at = p;
    return OK;
}

static err kv_varint(const uint8_t **at, const uint8_t *end, uint32_t number, bool *canonical,
                     int64_t *ret_value)
{
    if (*at == end || **at != (number << 3 | WIRE_VARINT))
        return OK;
    const uint8_t *p = *at + 1;
    uint64_t v;
    TRY(scan_varint(&p, end, &v, canonical));
    if (v == 0)
        *canonical = false;
    *ret_value = (int64_t)v;
    *at = p;
    return OK;
}

err wire_kv_read(struct bytes blob, struct wire_kv *ret_kv)
{
    struct wire_kv kv = {0};
    bool canonical = true;
    const uint8_t *at = blob.data;
    const uint8_t *end = bytes_end(blob);
    TRY(kv_bytes(&at, end, KV_KEY, &canonical, &kv.key));
    TRY(kv_varint(&at, end, KV_CREATE_REVISION, &canonical, &kv.create_revision));
    TRY(kv_varint(&at, end, KV_MOD_REVISION, &canonical, &kv.mod_revision));
    TRY(kv_varint(&at, end, KV_VERSION, &canonical, &kv.version));
    TRY(kv_bytes(&at, end, KV_VALUE, &canonical, &kv.value));
    TRY(kv_varint(&at, end, KV_LEASE, &canonical, &kv.lease));
    if (at != end || !canonical)
        return ERR_SYNTAX;
    *ret_kv = kv;
    return OK;
}

err wire_kv_read_key(struct bytes blob, struct bytes *ret_key)
{
    struct bytes key = BYTES_NONE;
    bool canonical = true;
    const uint8_t *at = blob.data;
    TRY(kv_bytes(&at, bytes_end(blob), KV_KEY, &canonical, &key));
    if (!canonical)
        return ERR_SYNTAX;
    *ret_key = key;
    return OK;
}
