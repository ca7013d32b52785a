#include "wire/json.h"

#include "wire/base64.h"
#include "wire/field.h"
#include "wire/utf8.h"

struct writer {
    struct buf *out;
    enum wire_json_form form;
};

static err writer_message(struct writer *self, const ProtobufCMessage *msg);

static err writer_text(struct writer *self, const char *text)
{
    return buf_append(self->out, bytes_str(text));
}

static err writer_byte(struct writer *self, char c)
{
    return buf_append(self->out, bytes_of(&c, 1));
}

/* The letter of a short escape, or 0. */
static char short_escape(uint32_t rune)
{
    switch (rune) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static bool is_escaped(uint32_t rune, enum wire_json_form form)
{
    if (rune < 0x20 || rune == '"' || rune == '\\')
        return true;
    if (form != WIRE_JSON_GO)
        return false;
    return rune == '<' || rune == '>' || rune == '&' || rune == 0x2028 || rune == 0x2029;
}

static err writer_escape(struct writer *self, uint32_t rune)
{
    char c = short_escape(rune);
    return c ? buf_printf(self->out, "\\%c", c) : buf_printf(self->out, "\\u%04x", rune);
}

/* c_string: a NUL lies as C0 80 in it. */
static err writer_string(struct writer *self, struct bytes text, bool c_string)
{
    TRY(writer_byte(self, '"'));
    size_t plain = 0; /* bytes before text that go out as they are */
    for (;;) {
        uint32_t rune = 0;
        unsigned len = utf8_next(text, &rune);
        bool bad = len == 0 && text.len > 0;
        if (len > 0 && !is_escaped(rune, self->form)) {
            plain += len;
            text = bytes_skip(text, len);
            continue;
        }
        if (plain)
            TRY(buf_append(self->out, bytes_of(text.data - plain, plain)));
        plain = 0;
        if (text.len == 0)
            return writer_byte(self, '"');
        if (bad && c_string && bytes_has_prefix(text, BYTES_LIT(UTF8_NUL))) {
            TRY(writer_escape(self, 0));
            len = 2;
        } else if (bad) {
            TRY(writer_text(self, self->form == WIRE_JSON_GO ? "\\ufffd" : "\xEF\xBF\xBD"));
            len = 1;
        } else {
            TRY(writer_escape(self, rune));
        }
        text = bytes_skip(text, len);
    }
}

static err writer_enum(struct writer *self, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    if (self->form == WIRE_JSON_GO || !value)
        return buf_printf(self->out, "%d", number);
    return buf_printf(self->out, "\"%s\"", value->name);
}

static err writer_integer(struct writer *self, const ProtobufCFieldDescriptor *field,
                          uint64_t number)
{
    bool is_wide = field_value_size(field) == sizeof(uint64_t);
    bool is_signed = field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_INT32;
    const char *quote = is_wide && self->form == WIRE_JSON_GATEWAY ? "\"" : "";
    if (is_signed)
        return buf_printf(self->out, "%s%lld%s", quote, (long long)number, quote);
    return buf_printf(self->out, "%s%llu%s", quote, (unsigned long long)number, quote);
}

static err writer_value(struct writer *self, const ProtobufCFieldDescriptor *field,
                        const void *value)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return writer_message(self, *(const ProtobufCMessage *const *)value);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return writer_string(self, bytes_str(*(const char *const *)value), true);
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *data = value;
        TRY(writer_byte(self, '"'));
        TRY(base64_write(bytes_of(data->data, data->len), self->out));
        return writer_byte(self, '"');
    }
    uint64_t number = field_get_scalar(field, value);
    if (field->type == PROTOBUF_C_TYPE_BOOL)
        return writer_text(self, number ? "true" : "false");
    if (field->type == PROTOBUF_C_TYPE_ENUM)
        return writer_enum(self, field, (int32_t)number);
    return writer_integer(self, field, number);
}

static err writer_array(struct writer *self, const ProtobufCMessage *msg,
                        const ProtobufCFieldDescriptor *field)
{
    size_t n = field_count_const(msg, field);
    size_t step = field_value_size(field);
    const uint8_t *value = *(const uint8_t *const *)field_member_const(msg, field);
    for (size_t i = 0; i < n; i++) {
        TRY(writer_byte(self, i ? ',' : '['));
        TRY(writer_value(self, field, value + i * step));
    }
    return writer_byte(self, ']');
}

static err writer_field(struct writer *self, const ProtobufCMessage *msg,
                        const ProtobufCFieldDescriptor *field)
{
    TRY(buf_printf(self->out, "\"%s\":", field->name));
    if (field_is_repeated(field))
        return writer_array(self, msg, field);
    return writer_value(self, field, field_member_const(msg, field));
}

/* What Go calls omitempty, of a field that is present. */
static bool is_zero(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    const void *value = field_member_const(msg, field);
    if (field_is_repeated(field) || field->type == PROTOBUF_C_TYPE_MESSAGE)
        return false;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return (*(const char *const *)value)[0] == 0;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len == 0;
    return field_get_scalar(field, value) == 0;
}

/* In Go a oneof is a field of the struct, called so, that holds a struct with the member. The
 * generated descriptors do not have its name; no message has two. */
static const char *go_oneof_name(const ProtobufCMessageDescriptor *descriptor)
{
    static const struct {
        const char *message;
        const char *oneof;
    } names[] = {
        {"etcdserverpb.RequestOp", "Request"},
        {"etcdserverpb.ResponseOp", "Response"},
        {"etcdserverpb.Compare", "TargetUnion"},
        {"etcdserverpb.WatchRequest", "RequestUnion"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].message, descriptor->name) == 0)
            return names[i].oneof;
    CHECK(false); /* a oneof that this table lacks */
    return NULL;
}

static err writer_go_oneof(struct writer *self, const ProtobufCMessage *msg,
                           const ProtobufCFieldDescriptor *field)
{
    TRY(buf_printf(self->out, "\"%s\":{", go_oneof_name(msg->descriptor)));
    if (!is_zero(msg, field))
        TRY(writer_field(self, msg, field));
    return writer_byte(self, '}');
}

static err writer_message(struct writer *self, const ProtobufCMessage *msg)
{
    bool is_go = self->form == WIRE_JSON_GO;
    bool first = true;
    TRY(writer_byte(self, '{'));
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
        bool wrapped = is_go && field_is_oneof(field);
        if (!field_is_present(msg, field) || (is_go && !wrapped && is_zero(msg, field)))
            continue;
        if (!first)
            TRY(writer_byte(self, ','));
        first = false;
        TRY(wrapped ? writer_go_oneof(self, msg, field) : writer_field(self, msg, field));
    }
    return writer_byte(self, '}');
}

err wire_json_write(const ProtobufCMessage *msg, enum wire_json_form form, struct buf *out)
{
    struct writer self = {out, form};
    return writer_message(&self, msg);
}

err wire_json_write_string(struct bytes text, enum wire_json_form form, struct buf *out)
{
    struct writer self = {out, form};
    return writer_string(&self, text, false);
}

err wire_json_write_base64(struct bytes what, struct buf *out)
{
    return base64_write(what, out);
}
