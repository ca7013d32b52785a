#include "support.h"

#include <ctype.h>

#include "authpb.pb-c.h"
#include "etcdserverpb.pb-c.h"
#include "etcdserverpb_internal.pb-c.h"
#include "etcdserverpb_v2.pb-c.h"
#include "health.pb-c.h"
#include "leasepb.pb-c.h"
#include "membershippb.pb-c.h"
#include "mvccpb.pb-c.h"
#include "raftpb.pb-c.h"
#include "snappb.pb-c.h"
#include "v3electionpb.pb-c.h"
#include "v3lockpb.pb-c.h"
#include "walpb.pb-c.h"

#define Enum(descriptor)
#define Service(descriptor)
#define Message(descriptor) &descriptor,
const ProtobufCMessageDescriptor *const schema_messages[] = {
#include "descriptors.inc"
};
const size_t schema_message_count = sizeof(schema_messages) / sizeof(schema_messages[0]);
#undef Message
#undef Enum

#define Message(descriptor)
#define Enum(descriptor) &descriptor,
const ProtobufCEnumDescriptor *const schema_enums[] = {
#include "descriptors.inc"
};
const size_t schema_enum_count = sizeof(schema_enums) / sizeof(schema_enums[0]);
#undef Enum
#undef Service

#define Enum(descriptor)
#define Service(descriptor) &descriptor,
const ProtobufCServiceDescriptor *const schema_services[] = {
#include "descriptors.inc"
};
const size_t schema_service_count = sizeof(schema_services) / sizeof(schema_services[0]);

struct bytes hex_bytes(struct arena *arena, const char *text)
{
    size_t digits = 0;
    for (const char *p = text; *p; p++)
        digits += isxdigit((unsigned char)*p) != 0;
    uint8_t *to = arena_alloc_bytes(arena, digits / 2);
    size_t n = 0;
    unsigned byte = 0;
    for (; *text; text++) {
        if (!isxdigit((unsigned char)*text))
            continue;
        unsigned digit = isdigit((unsigned char)*text)
                             ? (unsigned)(*text - '0')
                             : (unsigned)(tolower((unsigned char)*text) - 'a') + 10;
        byte = byte << 4 | digit;
        if (n++ % 2)
            to[n / 2 - 1] = (uint8_t)byte;
    }
    return bytes_of(to, digits / 2);
}

static uint64_t random_number(struct prng *prng)
{
    static const uint64_t edges[] = {0,          1,         2,
                                     127,        128,       16383,
                                     16384,      INT32_MAX, (uint64_t)INT32_MIN,
                                     UINT32_MAX, INT64_MAX, (uint64_t)INT64_MIN,
                                     UINT64_MAX};
    if (prng_below(prng, 3) == 0)
        return prng_next(prng) >> prng_below(prng, 64);
    return edges[prng_below(prng, sizeof(edges) / sizeof(edges[0]))];
}

static void random_value(const ProtobufCFieldDescriptor *field, void *value, struct prng *prng,
                         struct arena *arena, unsigned depth)
{
    static const char *const texts[] = {"", "a", "name", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\xA3",
                                        "<&> \" \\ \n \x7f"};
    static const uint8_t data[200] = {0, 0xff, 'k', 0xC0, 0x80};
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        *(ProtobufCMessage **)value = random_message(field->descriptor, prng, arena, depth - 1);
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = texts[prng_below(prng, sizeof(texts) / sizeof(texts[0]))];
        *(char **)value = arena_copy_str(arena, bytes_str(text));
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        ProtobufCBinaryData *bytes = value;
        *bytes = (ProtobufCBinaryData){prng_below(prng, sizeof(data)), (uint8_t *)data};
    } else if (field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_UINT64) {
        *(uint64_t *)value = random_number(prng);
    } else if (field->type == PROTOBUF_C_TYPE_BOOL) {
        *(protobuf_c_boolean *)value = prng_below(prng, 2) != 0;
    } else {
        *(uint32_t *)value = (uint32_t)random_number(prng);
    }
}

static size_t value_bytes(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return 8;
    default:
        return 4;
    }
}

static void random_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field,
                         struct prng *prng, struct arena *arena, unsigned depth)
{
    uint8_t *member = (uint8_t *)msg + field->offset;
    uint8_t *quantifier = (uint8_t *)msg + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = prng_below(prng, 4);
        uint8_t *array = arena_alloc(arena, n * value_bytes(field));
        for (size_t i = 0; i < n; i++)
            random_value(field, array + i * value_bytes(field), prng, arena, depth);
        *(void **)(void *)member = array;
        *(size_t *)(void *)quantifier = n;
        return;
    }
    random_value(field, member, prng, arena, depth);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)(void *)quantifier = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset)
        *(protobuf_c_boolean *)(void *)quantifier = true;
}

ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor, struct prng *prng,
                                 struct arena *arena, unsigned depth)
{
    ProtobufCMessage *msg = arena_alloc(arena, descriptor->sizeof_message);
    descriptor->message_init(msg);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        bool nests = field->type == PROTOBUF_C_TYPE_MESSAGE;
        if ((nests && depth <= 1) || prng_below(prng, nests ? 4 : 2) == 0)
            continue;
        random_field(msg, field, prng, arena, depth);
    }
    return msg;
}
