#include "wire/build.h"

#include <stdint.h>

#include "wire/field.h"
#include "wire/utf8.h"

struct builder builder_of(struct arena *arena, const struct wire_decode_opts *opts,
                          size_t input_bytes)
{
    static const struct wire_decode_opts defaults;
    if (!opts)
        opts = &defaults;
    CHECK(opts->depth_max <= WIRE_DEPTH_MAX_LIMIT);
    size_t factor = opts->arena_factor ? opts->arena_factor : WIRE_ARENA_FACTOR_DEFAULT;
    size_t slack =
        opts->arena_slack_bytes ? opts->arena_slack_bytes : WIRE_ARENA_SLACK_BYTES_DEFAULT;
    size_t room;
    if (__builtin_mul_overflow(input_bytes, factor, &room) ||
        __builtin_add_overflow(room, slack, &room))
        room = SIZE_MAX;
    return (struct builder){
        .arena = arena,
        .room_bytes = room,
        .depth_max = opts->depth_max ? opts->depth_max : WIRE_DEPTH_MAX_DEFAULT,
        .from_log = opts->from_log,
    };
}

err builder_alloc(struct builder *self, size_t n, void **ret_memory)
{
    size_t padded = (n + 15) & ~(size_t)15;
    if (padded < n || padded > self->room_bytes)
        return ERR_LIMIT;
    self->room_bytes -= padded;
    *ret_memory = arena_alloc(self->arena, n);
    return OK;
}

err builder_new_message(struct builder *self, const ProtobufCMessageDescriptor *descriptor,
                        ProtobufCMessage **ret_msg)
{
    void *memory;
    TRY(builder_alloc(self, descriptor->sizeof_message, &memory));
    descriptor->message_init(memory);
    *ret_msg = memory;
    return OK;
}

static size_t count_nuls(struct bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == 0;
    return n;
}

err builder_copy_string(struct builder *self, struct bytes text, char **ret_copy)
{
    size_t nuls = count_nuls(text);
    void *memory;
    TRY(builder_alloc(self, text.len + nuls + 1, &memory));
    char *to = memory;
    *ret_copy = to;
    if (nuls == 0) {
        if (text.len)
            memcpy(to, text.data, text.len);
        return OK;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i]) {
            *to++ = (char)text.data[i];
        } else {
            *to++ = UTF8_NUL[0];
            *to++ = UTF8_NUL[1];
        }
    }
    return OK;
}

static size_t array_cap(size_t n)
{
    return n < 2 ? n : (size_t)1 << (64 - __builtin_clzll(n - 1));
}

err builder_array_grow(struct builder *self, ProtobufCMessage *msg,
                       const ProtobufCFieldDescriptor *field, size_t more, void **ret_first)
{
    size_t *count = field_count(msg, field);
    void **array = field_member(msg, field);
    size_t element = field_value_size(field);
    if (more > SIZE_MAX / 64 - *count)
        return ERR_LIMIT;
    size_t cap = array_cap(*count + more);
    if (cap != array_cap(*count)) {
        void *memory;
        TRY(builder_alloc(self, cap * element, &memory));
        if (*count)
            memcpy(memory, *array, *count * element);
        *array = memory;
    }
    *ret_first = (uint8_t *)*array + *count * element;
    *count += more;
    return OK;
}

void *builder_singular(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    void *value = field_member(msg, field);
    if (field_is_oneof(field)) {
        uint32_t *which = field_case(msg, field);
        if (*which != field->id && field->type == PROTOBUF_C_TYPE_MESSAGE)
            *(ProtobufCMessage **)value = NULL;
        *which = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset) {
        *(protobuf_c_boolean *)(void *)((uint8_t *)msg + field->quantifier_offset) = true;
    }
    return value;
}

struct bytes wire_string_bytes(struct arena *arena, const char *text)
{
    if (!text)
        return BYTES_NONE;
    struct bytes all = bytes_str(text);
    if (!strstr(text, UTF8_NUL))
        return all;
    uint8_t *copy = arena_alloc_bytes(arena, all.len);
    size_t n = 0;
    for (size_t i = 0; i < all.len; i++) {
        bool nul = text[i] == UTF8_NUL[0] && text[i + 1] == UTF8_NUL[1];
        copy[n++] = nul ? 0 : all.data[i];
        i += nul;
    }
    return bytes_of(copy, n);
}

char *wire_string_of(struct arena *arena, struct bytes text)
{
    struct builder self = {.arena = arena, .room_bytes = SIZE_MAX};
    char *copy = NULL;
    err e = builder_copy_string(&self, text, &copy);
    CHECK(err_ok(e));
    return copy;
}
