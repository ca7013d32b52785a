#include "wire/decode.h"

#include "wire/build.h"
#include "wire/field.h"
#include "wire/scan.h"
#include "wire/utf8.h"

struct decoder {
    struct builder builder;
    bool canonical;
};

/* Where in one message the reading stands. */
struct place {
    const uint8_t *at;
    const uint8_t *end;
    unsigned depth;
};

static err decoder_fields(struct decoder *self, ProtobufCMessage *msg, struct bytes in,
                          unsigned depth);

static err decoder_tag(struct decoder *self, struct place *place, uint32_t *ret_number,
                       enum wire_type *ret_type, bool *minimal)
{
    err e = scan_tag(&place->at, place->end, ret_number, ret_type, minimal);
    if (err_ok(e) || !self->builder.from_log)
        return e;
    *minimal = false;
    return scan_tag_loose(&place->at, place->end, ret_number, ret_type);
}

static err decoder_string(struct decoder *self, const ProtobufCFieldDescriptor *field,
                          struct bytes text, char **ret_copy)
{
    bool is_proto2 = field->label == PROTOBUF_C_LABEL_OPTIONAL;
    if (is_proto2 || self->builder.from_log) {
        /* Would be written back as a NUL. */
        if (text.len && memmem(text.data, text.len, UTF8_NUL, 2))
            self->canonical = false;
    } else if (!utf8_valid(text)) {
        return ERR_NOT_UTF8;
    }
    return builder_copy_string(&self->builder, text, ret_copy);
}

/* One value of a length-delimited type into its place in the struct. A message that is already
 * there is added to. */
static err decoder_delimited(struct decoder *self, const ProtobufCFieldDescriptor *field,
                             struct place *place, void *value)
{
    struct bytes in;
    TRY(scan_bytes(&place->at, place->end, &in, &self->canonical));
    if (in.len == 0 && field_omits_zero(field) && field->type != PROTOBUF_C_TYPE_MESSAGE)
        self->canonical = false;
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        *(ProtobufCBinaryData *)value = (ProtobufCBinaryData){in.len, (uint8_t *)in.data};
        return OK;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return decoder_string(self, field, in, value);
    ProtobufCMessage **msg = value;
    if (!*msg)
        TRY(builder_new_message(&self->builder, field->descriptor, msg));
    return decoder_fields(self, *msg, in, place->depth + 1);
}

static err decoder_scalar(struct decoder *self, const ProtobufCFieldDescriptor *field,
                          struct place *place, void *value)
{
    uint64_t varint;
    TRY(scan_varint(&place->at, place->end, &varint, &self->canonical));
    bool whole = field_put_scalar(field, value, varint);
    if (!whole || (varint == 0 && field_omits_zero(field)))
        self->canonical = false;
    return OK;
}

static err decoder_value(struct decoder *self, const ProtobufCFieldDescriptor *field,
                         struct place *place, void *value)
{
    return field_is_delimited(field) ? decoder_delimited(self, field, place, value)
                                     : decoder_scalar(self, field, place, value);
}

static err decoder_singular(struct decoder *self, ProtobufCMessage *msg,
                            const ProtobufCFieldDescriptor *field, struct place *place)
{
    if (field_is_oneof(field) && *field_case(msg, field))
        self->canonical = false;
    return decoder_value(self, field, place, builder_singular(msg, field));
}

static err decoder_packed(struct decoder *self, ProtobufCMessage *msg,
                          const ProtobufCFieldDescriptor *field, struct place *place)
{
    struct bytes in;
    TRY(scan_bytes(&place->at, place->end, &in, &self->canonical));
    if (in.len == 0 || !field_is_packed(field))
        self->canonical = false;
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++)
        n += in.data[i] < 0x80;
    if (n == 0)
        return in.len ? ERR_SYNTAX : OK;
    void *value;
    TRY(builder_array_grow(&self->builder, msg, field, n, &value));
    struct place inside = {in.data, in.data + in.len, place->depth};
    for (; inside.at < inside.end; value = (uint8_t *)value + field_value_size(field))
        TRY(decoder_scalar(self, field, &inside, value));
    return OK;
}

/* How many elements of this field follow one another from here, where the tag of the first was
 * read. */
static err count_run(struct decoder *self, const ProtobufCFieldDescriptor *field,
                     struct place place, size_t *ret_count)
{
    size_t n = 0;
    uint32_t number;
    enum wire_type type = field_wire_type(field);
    struct wire_field ignored;
    do {
        TRY(scan_field(&place.at, place.end, field->id, type, 0, &ignored));
        n++;
        if (place.at == place.end)
            break;
        bool minimal;
        TRY(decoder_tag(self, &place, &number, &type, &minimal));
    } while (number == field->id && type == field_wire_type(field));
    *ret_count = n;
    return OK;
}

static err decoder_run(struct decoder *self, ProtobufCMessage *msg,
                       const ProtobufCFieldDescriptor *field, struct place *place)
{
    size_t n;
    void *value;
    if (field_is_packed(field))
        self->canonical = false;
    TRY(count_run(self, field, *place, &n));
    TRY(builder_array_grow(&self->builder, msg, field, n, &value));
    for (size_t i = 0; i < n; i++, value = (uint8_t *)value + field_value_size(field)) {
        uint32_t number;
        enum wire_type type;
        if (i > 0)
            TRY(decoder_tag(self, place, &number, &type, &self->canonical));
        TRY(decoder_value(self, field, place, value));
    }
    return OK;
}

/* Fields mostly come in the order of the descriptor: the last one's neighbours are tried first.
 * NULL for an unknown one. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  uint32_t number, unsigned *hint)
{
    unsigned i = *hint;
    for (unsigned tries = 0; tries < 4 && i < descriptor->n_fields; tries++, i++) {
        if (descriptor->fields[i].id == number) {
            *hint = i;
            return &descriptor->fields[i];
        }
    }
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(descriptor, number);
    if (field)
        *hint = (unsigned)(field - descriptor->fields);
    return field;
}

static err decoder_unknown(struct decoder *self, struct place *place, uint32_t number,
                           enum wire_type type)
{
    struct wire_field ignored;
    self->canonical = false;
    if (self->builder.from_log)
        return scan_skip_loose(&place->at, place->end, type);
    unsigned depth_left = self->builder.depth_max - place->depth;
    if (depth_left > WIRE_GROUP_DEPTH_MAX)
        depth_left = WIRE_GROUP_DEPTH_MAX;
    return scan_field(&place->at, place->end, number, type, depth_left, &ignored);
}

static err decoder_fields(struct decoder *self, ProtobufCMessage *msg, struct bytes in,
                          unsigned depth)
{
    if (depth > self->builder.depth_max)
        return ERR_LIMIT;
    struct place place = {in.data, bytes_end(in), depth};
    unsigned hint = 0;
    uint32_t last = 0;
    while (place.at < place.end) {
        uint32_t number;
        enum wire_type type;
        TRY(decoder_tag(self, &place, &number, &type, &self->canonical));
        const ProtobufCFieldDescriptor *field = find_field(msg->descriptor, number, &hint);
        if (number <= last)
            self->canonical = false;
        last = number;
        if (!field) {
            TRY(decoder_unknown(self, &place, number, type));
        } else if (type == field_wire_type(field)) {
            TRY(field_is_repeated(field) ? decoder_run(self, msg, field, &place)
                                         : decoder_singular(self, msg, field, &place));
        } else if (type == WIRE_BYTES && field_is_repeated(field)) {
            TRY(decoder_packed(self, msg, field, &place));
        } else {
            TRY(decoder_unknown(self, &place, number, type));
        }
    }
    return OK;
}

err wire_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes in, struct arena *arena,
                const struct wire_decode_opts *opts, ProtobufCMessage **ret_msg,
                bool *ret_canonical)
{
    struct decoder self = {builder_of(arena, opts, in.len), .canonical = true};
    ProtobufCMessage *msg;
    TRY(builder_new_message(&self.builder, descriptor, &msg));
    TRY(decoder_fields(&self, msg, in, 1));
    *ret_msg = msg;
    if (ret_canonical)
        *ret_canonical = self.canonical;
    return OK;
}
