#include "wire/encode.h"

#include <string.h>

#include "wire/field.h"
#include "wire/utf8.h"

/* Two passes: one sums the size, one writes from the back, where the length of what is nested is
 * known once it lies there. So no length is computed twice, however deep. */

static size_t message_size(const ProtobufCMessage *msg);
static uint8_t *message_put_back(const ProtobufCMessage *msg, uint8_t *end);

static size_t string_size(const char *text)
{
    size_t len = strlen(text);
    for (const char *p = text; (p = strstr(p, UTF8_NUL)); p += 2)
        len--;
    return len;
}

/* Without the tag; with the length where there is one. */
static size_t value_size(const ProtobufCFieldDescriptor *field, const void *value)
{
    size_t len;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        len = ((const ProtobufCBinaryData *)value)->len;
    else if (field->type == PROTOBUF_C_TYPE_STRING)
        len = string_size(*(const char *const *)value);
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        len = message_size(*(const ProtobufCMessage *const *)value);
    else
        return wire_varint_size(field_get_scalar(field, value));
    return wire_varint_size(len) + len;
}

static size_t repeated_size(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    size_t n = field_count_const(msg, field);
    size_t step = field_value_size(field);
    const uint8_t *value = *(const uint8_t *const *)field_member_const(msg, field);
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += value_size(field, value + i * step);
    if (field_is_packed(field))
        return wire_message_field_size(field->id, size);
    return size + n * wire_tag_size(field->id);
}

static size_t message_size(const ProtobufCMessage *msg)
{
    size_t size = 0;
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
        if (!field_is_present(msg, field))
            continue;
        if (field_is_repeated(field))
            size += repeated_size(msg, field);
        else
            size += wire_tag_size(field->id) + value_size(field, field_member_const(msg, field));
    }
    return size;
}

static uint8_t *put_back_varint(uint8_t *end, uint64_t v)
{
    end -= wire_varint_size(v);
    wire_put_varint(end, v);
    return end;
}

static uint8_t *put_back_tag(uint8_t *end, uint32_t number, enum wire_type type)
{
    return put_back_varint(end, (uint64_t)number << 3 | type);
}

static uint8_t *put_back_string(uint8_t *end, const char *text)
{
    struct bytes all = bytes_str(text);
    if (!strstr(text, UTF8_NUL)) {
        memcpy(end - all.len, all.data, all.len);
        return end - all.len;
    }
    for (const char *p = text + all.len; p > text;) {
        char c = *--p;
        if (c == UTF8_NUL[1] && p > text && p[-1] == UTF8_NUL[0]) {
            p--;
            c = 0;
        }
        *--end = (uint8_t)c;
    }
    return end;
}

static uint8_t *value_put_back(const ProtobufCFieldDescriptor *field, const void *value,
                               uint8_t *end)
{
    uint8_t *at;
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *data = value;
        at = end - data->len;
        if (data->len)
            memcpy(at, data->data, data->len);
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        at = put_back_string(end, *(const char *const *)value);
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        at = message_put_back(*(const ProtobufCMessage *const *)value, end);
    } else {
        return put_back_varint(end, field_get_scalar(field, value));
    }
    return put_back_varint(at, (uint64_t)(end - at));
}

static uint8_t *repeated_put_back(const ProtobufCMessage *msg,
                                  const ProtobufCFieldDescriptor *field, uint8_t *end)
{
    size_t step = field_value_size(field);
    const uint8_t *value = *(const uint8_t *const *)field_member_const(msg, field);
    uint8_t *at = end;
    for (size_t i = field_count_const(msg, field); i-- > 0;) {
        at = value_put_back(field, value + i * step, at);
        if (!field_is_packed(field))
            at = put_back_tag(at, field->id, field_wire_type(field));
    }
    if (field_is_packed(field))
        at = put_back_tag(put_back_varint(at, (uint64_t)(end - at)), field->id, WIRE_BYTES);
    return at;
}

static uint8_t *message_put_back(const ProtobufCMessage *msg, uint8_t *end)
{
    for (unsigned i = msg->descriptor->n_fields; i-- > 0;) {
        const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
        if (!field_is_present(msg, field))
            continue;
        if (field_is_repeated(field)) {
            end = repeated_put_back(msg, field, end);
        } else {
            end = value_put_back(field, field_member_const(msg, field), end);
            end = put_back_tag(end, field->id, field_wire_type(field));
        }
    }
    return end;
}

size_t wire_encoded_size(const ProtobufCMessage *msg)
{
    return message_size(msg);
}

void wire_encode_to(const ProtobufCMessage *msg, uint8_t *at, size_t size)
{
    CHECK(message_put_back(msg, at + size) == at);
}

err wire_encode(const ProtobufCMessage *msg, struct buf *out)
{
    size_t size = message_size(msg);
    if (size == 0)
        return OK;
    TRY(buf_reserve(out, size));
    wire_encode_to(msg, out->data + out->len, size);
    out->len += size;
    return OK;
}

struct bytes wire_encode_arena(const ProtobufCMessage *msg, struct arena *arena)
{
    size_t size = message_size(msg);
    uint8_t *at = arena_alloc_bytes(arena, size);
    wire_encode_to(msg, at, size);
    return bytes_of(at, size);
}
