#include "wire/json.h"

#include "wire/base64.h"
#include "wire/field.h"
#include "wire/json_scan.h"

static err parse_message(struct json_scan *self, ProtobufCMessage *msg, unsigned depth);

/* The lowerCamel form of a name: each _ goes, and the letter behind it is raised. */
static bool is_camel_of(const char *name, struct bytes key)
{
    bool raise = false;
    size_t n = 0;
    for (; *name; name++) {
        if (*name == '_') {
            raise = true;
            continue;
        }
        char c = raise && *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
        raise = false;
        if (n == key.len || key.data[n++] != (uint8_t)c)
            return false;
    }
    return n == key.len;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  struct bytes key)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        if (bytes_equal(bytes_str(field->name), key) || is_camel_of(field->name, key))
            return field;
    }
    return NULL;
}

/* The number that a string begins with. As protojson has it, what follows behind a delimiter
 * counts for nothing ("12,5" is 12), but white space at the end is refused. */
static struct bytes number_prefix(struct bytes text)
{
    size_t n = 0;
    while (n < text.len && json_is_word(text.data[n]))
        n++;
    uint8_t last = text.len ? text.data[text.len - 1] : 0;
    bool ends_blank = last == ' ' || (last >= '\t' && last <= '\r');
    return bytes_of(text.data, ends_blank ? 0 : n);
}

/* A number, or a string that holds one. */
static err parse_integer(struct json_scan *self, const ProtobufCFieldDescriptor *field, void *value)
{
    uint8_t next;
    struct bytes text;
    bool negative;
    uint64_t magnitude;
    TRY(json_peek(self, &next));
    if (next == '"' && field->type != PROTOBUF_C_TYPE_ENUM) {
        TRY(json_string(self, &text));
        text = number_prefix(text);
    } else {
        TRY(json_number(self, &text));
    }
    TRY(json_integer(text, &negative, &magnitude));
    bool is_unsigned =
        field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_UINT32;
    if (is_unsigned ? negative : magnitude > (uint64_t)INT64_MAX + negative)
        return ERR_SYNTAX;
    if (negative)
        magnitude = -magnitude;
    return field_put_scalar(field, value, magnitude) ? OK : ERR_SYNTAX;
}

static err parse_bool(struct json_scan *self, const ProtobufCFieldDescriptor *field, void *value)
{
    uint8_t next;
    TRY(json_peek(self, &next));
    TRY(json_literal(self, next == 't' ? "true" : "false"));
    field_put_scalar(field, value, next == 't');
    return OK;
}

static err parse_bytes(struct json_scan *self, void *value)
{
    struct bytes text;
    void *memory;
    size_t len;
    TRY(json_string(self, &text));
    TRY(builder_alloc(self->builder, base64_room(text.len), &memory));
    TRY(base64_read(text, memory, &len));
    *(ProtobufCBinaryData *)value = (ProtobufCBinaryData){len, memory};
    return OK;
}

static err parse_value(struct json_scan *self, const ProtobufCFieldDescriptor *field, void *value,
                       unsigned depth)
{
    struct bytes text;
    ProtobufCMessage **msg = value;
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        TRY(builder_new_message(self->builder, field->descriptor, msg));
        return parse_message(self, *msg, depth + 1);
    case PROTOBUF_C_TYPE_STRING:
        TRY(json_string(self, &text));
        return builder_copy_string(self->builder, text, value);
    case PROTOBUF_C_TYPE_BYTES:
        return parse_bytes(self, value);
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(self, field, value);
    default:
        return parse_integer(self, field, value);
    }
}

/* An enum's name is looked up before there is a place for it: an unknown one leaves none. */
static err parse_enum_name(struct json_scan *self, const ProtobufCFieldDescriptor *field,
                           const ProtobufCEnumValue **ret_value)
{
    const ProtobufCEnumDescriptor *names = field->descriptor;
    struct bytes text;
    TRY(json_string(self, &text));
    *ret_value = NULL;
    for (unsigned i = 0; i < names->n_values; i++)
        if (bytes_equal(bytes_str(names->values[i].name), text))
            *ret_value = &names->values[i];
    return OK;
}

/* One value to where it belongs: the field itself or the next element of its list. */
static err parse_into(struct json_scan *self, ProtobufCMessage *msg,
                      const ProtobufCFieldDescriptor *field, unsigned depth)
{
    uint8_t next;
    void *value;
    const ProtobufCEnumValue *name = NULL;
    TRY(json_peek(self, &next));
    if (field->type == PROTOBUF_C_TYPE_ENUM && next == '"') {
        TRY(parse_enum_name(self, field, &name));
        if (!name)
            return OK;
    }
    if (field_is_repeated(field))
        TRY(builder_array_grow(self->builder, msg, field, 1, &value));
    else
        value = builder_singular(msg, field);
    if (name) {
        field_put_scalar(field, value, (uint64_t)name->value);
        return OK;
    }
    return parse_value(self, field, value, depth);
}

static err parse_list(struct json_scan *self, ProtobufCMessage *msg,
                      const ProtobufCFieldDescriptor *field, unsigned depth)
{
    bool more;
    TRY(json_take(self, '['));
    TRY(json_first(self, ']', &more));
    while (more) {
        TRY(parse_into(self, msg, field, depth));
        TRY(json_more(self, ']', &more));
    }
    return OK;
}

static err parse_field(struct json_scan *self, ProtobufCMessage *msg,
                       const ProtobufCFieldDescriptor *field, unsigned depth)
{
    uint8_t next;
    TRY(json_peek(self, &next));
    if (next == 'n')
        return json_literal(self, "null");
    if (field_is_repeated(field))
        return parse_list(self, msg, field, depth);
    if (field_is_oneof(field) && *field_case(msg, field))
        return ERR_SYNTAX;
    return parse_into(self, msg, field, depth);
}

static err parse_message(struct json_scan *self, ProtobufCMessage *msg, unsigned depth)
{
    const ProtobufCMessageDescriptor *descriptor = msg->descriptor;
    uint64_t seen = 0;
    bool more;
    CHECK(descriptor->n_fields <= 64);
    if (depth > self->builder->depth_max)
        return ERR_LIMIT;
    TRY(json_take(self, '{'));
    TRY(json_first(self, '}', &more));
    while (more) {
        struct bytes key;
        TRY(json_string(self, &key));
        TRY(json_take(self, ':'));
        const ProtobufCFieldDescriptor *field = find_field(descriptor, key);
        if (!field) {
            TRY(json_skip(self, self->builder->depth_max - depth));
        } else {
            uint64_t bit = (uint64_t)1 << (field - descriptor->fields);
            if (seen & bit)
                return ERR_SYNTAX;
            seen |= bit;
            TRY(parse_field(self, msg, field, depth));
        }
        TRY(json_more(self, '}', &more));
    }
    return OK;
}

static err parse_one(struct json_scan *self, const ProtobufCMessageDescriptor *descriptor,
                     ProtobufCMessage **ret_msg)
{
    ProtobufCMessage *msg;
    TRY(builder_new_message(self->builder, descriptor, &msg));
    TRY(parse_message(self, msg, 1));
    *ret_msg = msg;
    return OK;
}

err wire_json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                    struct arena *arena, const struct wire_decode_opts *opts,
                    ProtobufCMessage **ret_msg, size_t *ret_consumed)
{
    struct builder builder = builder_of(arena, opts, text.len);
    struct json_scan scan = {text.data, bytes_end(text), &builder};
    ProtobufCMessage *msg;
    err e = parse_one(&scan, descriptor, &msg);
    if (!ret_consumed && err_is(e, ERR_TORN))
        return ERR_SYNTAX;
    TRY(e);
    uint8_t next;
    if (!ret_consumed && err_ok(json_peek(&scan, &next)))
        return ERR_SYNTAX;
    *ret_msg = msg;
    if (ret_consumed)
        *ret_consumed = (size_t)(scan.at - text.data);
    return OK;
}
