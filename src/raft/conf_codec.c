/* ConfChange:        1 id, 2 type, 3 node_id: varints; 4 context: bytes
 * ConfChangeV2:      1 transition: varint; 2 changes: repeated message; 3 context: bytes
 * ConfChangeSingle:  1 type, 2 node_id: varints
 * Varint fields are always written, zero or not; empty contexts are left out. */
#include "raft/conf_codec.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;     /* WIRE_VARINT */
    struct bytes bytes; /* WIRE_BYTES */
};

static err take_varint(struct bytes *at, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < at->len; i++) {
        uint8_t b = at->data[i];
        value |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b < 0x80) {
            *at = bytes_skip(*at, i + 1);
            *ret_value = value;
            return OK;
        }
    }
    return ERR_SYNTAX;
}

static err take_run(struct bytes *at, uint64_t n, struct bytes *ret_run)
{
    if (n > at->len)
        return ERR_SYNTAX;
    *ret_run = bytes_of(at->data, n);
    *at = bytes_skip(*at, n);
    return OK;
}

static err take_field(struct bytes *at, struct field *ret_field)
{
    struct field field = {0};
    uint64_t tag;
    TRY(take_varint(at, &tag));
    field.number = tag >> 3;
    field.type = (enum wire_type)(tag & 7);
    if (field.number == 0)
        return ERR_SYNTAX;
    switch (field.type) {
    case WIRE_VARINT:
        TRY(take_varint(at, &field.value));
        break;
    case WIRE_FIXED64:
        TRY(take_run(at, 8, &field.bytes));
        break;
    case WIRE_FIXED32:
        TRY(take_run(at, 4, &field.bytes));
        break;
    case WIRE_BYTES: {
        uint64_t n;
        TRY(take_varint(at, &n));
        TRY(take_run(at, n, &field.bytes));
        break;
    }
    default:
        return ERR_SYNTAX;
    }
    *ret_field = field;
    return OK;
}

static bool field_is(const struct field *self, uint64_t number, enum wire_type type)
{
    return self->number == number && self->type == type;
}

static err type_of(uint64_t value, enum raft_conf_change_type *ret_type)
{
    if (value > RAFT_ADD_LEARNER)
        return ERR_SYNTAX;
    *ret_type = (enum raft_conf_change_type)value;
    return OK;
}

static err decode_v1(struct bytes data, struct raft_conf_change *change)
{
    change->count = 1;
    while (data.len > 0) {
        struct field field;
        TRY(take_field(&data, &field));
        if (field_is(&field, 1, WIRE_VARINT))
            change->id = field.value;
        else if (field_is(&field, 2, WIRE_VARINT))
            TRY(type_of(field.value, &change->changes[0].type));
        else if (field_is(&field, 3, WIRE_VARINT))
            change->changes[0].node_id = field.value;
        else if (field_is(&field, 4, WIRE_BYTES))
            change->context = field.bytes;
    }
    return OK;
}

static err decode_single(struct bytes data, struct raft_conf_single *single)
{
    while (data.len > 0) {
        struct field field;
        TRY(take_field(&data, &field));
        if (field_is(&field, 1, WIRE_VARINT))
            TRY(type_of(field.value, &single->type));
        else if (field_is(&field, 2, WIRE_VARINT))
            single->node_id = field.value;
    }
    return OK;
}

static err decode_v2(struct bytes data, struct raft_conf_change *change)
{
    while (data.len > 0) {
        struct field field;
        TRY(take_field(&data, &field));
        if (field_is(&field, 1, WIRE_VARINT)) {
            if (field.value > RAFT_TRANSITION_JOINT_EXPLICIT)
                return ERR_SYNTAX;
            change->transition = (enum raft_conf_transition)field.value;
        } else if (field_is(&field, 2, WIRE_BYTES)) {
            if (change->count == RAFT_MEMBERS_MAX)
                return ERR_LIMIT;
            TRY(decode_single(field.bytes, &change->changes[change->count]));
            change->count++;
        } else if (field_is(&field, 3, WIRE_BYTES)) {
            change->context = field.bytes;
        }
    }
    return OK;
}

err raft_conf_change_decode(enum raft_entry_type type, struct bytes data,
                            struct raft_conf_change *ret_change)
{
    CHECK(type != RAFT_ENTRY_NORMAL);
    struct raft_conf_change change = {0};
    if (type == RAFT_ENTRY_CONF_CHANGE)
        TRY(decode_v1(data, &change));
    else
        TRY(decode_v2(data, &change));
    *ret_change = change;
    return OK;
}

static err put_varint(struct buf *buf, uint64_t value)
{
    uint8_t raw[10];
    size_t n = 0;
    while (value >= 0x80) {
        raw[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    raw[n++] = (uint8_t)value;
    return buf_append(buf, bytes_of(raw, n));
}

static err put_number(struct buf *buf, uint64_t number, uint64_t value)
{
    TRY(put_varint(buf, number << 3 | WIRE_VARINT));
    return put_varint(buf, value);
}

static err put_bytes(struct buf *buf, uint64_t number, struct bytes bytes)
{
    TRY(put_varint(buf, number << 3 | WIRE_BYTES));
    TRY(put_varint(buf, bytes.len));
    return buf_append(buf, bytes);
}

static err encode_single(struct buf *buf, const struct raft_conf_single *single)
{
    TRY(put_number(buf, 1, single->type));
    return put_number(buf, 2, single->node_id);
}

static err encode_v1(const struct raft_conf_change *change, struct buf *buf)
{
    if (change->count != 1 || change->transition != RAFT_TRANSITION_AUTO)
        return ERR_USAGE;
    TRY(put_number(buf, 1, change->id));
    TRY(put_number(buf, 2, change->changes[0].type));
    TRY(put_number(buf, 3, change->changes[0].node_id));
    return change->context.len > 0 ? put_bytes(buf, 4, change->context) : OK;
}

err raft_conf_change_encode(enum raft_entry_type type, const struct raft_conf_change *change,
                            struct buf *buf)
{
    if (type == RAFT_ENTRY_CONF_CHANGE)
        return encode_v1(change, buf);
    CHECK(type == RAFT_ENTRY_CONF_CHANGE_V2 && change->count <= RAFT_MEMBERS_MAX);
    TRY(put_number(buf, 1, change->transition));
    for (uint32_t i = 0; i < change->count; i++) {
        struct buf AUTO(buf_done) single;
        buf_init(&single, 32);
        TRY(encode_single(&single, &change->changes[i]));
        TRY(put_bytes(buf, 2, buf_bytes(&single)));
    }
    return change->context.len > 0 ? put_bytes(buf, 3, change->context) : OK;
}
