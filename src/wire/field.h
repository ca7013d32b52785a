/* How protobuf-c lays a field out in its struct, in one place for decoder, encoder and JSON.
 *
 *     label     type            member at `offset`            at `quantifier_offset`
 *     NONE      scalar          the value                     member of a oneof: the case
 *     NONE      string          char *, never NULL            likewise
 *     NONE      bytes           ProtobufCBinaryData           likewise
 *     OPTIONAL  scalar, bytes   the value                     has_x
 *     OPTIONAL  string          char *, NULL if absent        -
 *     any       message         pointer, NULL if absent       oneof: the case
 *     REPEATED  any             pointer to an array of those  their number, a size_t
 *
 * The types are those that the schema uses; tests/unit/wire proves that it uses no others.
 * Thread: any.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/check.h"
#include "wire/splice.h"

static inline void *field_member(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    return (uint8_t *)msg + field->offset;
}

static inline const void *field_member_const(const ProtobufCMessage *msg,
                                             const ProtobufCFieldDescriptor *field)
{
    return (const uint8_t *)msg + field->offset;
}

/* The case of the oneof, an enum in the struct: the number of the member that is set, or 0. */
static inline uint32_t *field_case(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    return (uint32_t *)(void *)((uint8_t *)msg + field->quantifier_offset);
}

static inline size_t *field_count(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    return (size_t *)(void *)((uint8_t *)msg + field->quantifier_offset);
}

static inline size_t field_count_const(const ProtobufCMessage *msg,
                                       const ProtobufCFieldDescriptor *field)
{
    return *(const size_t *)(const void *)((const uint8_t *)msg + field->quantifier_offset);
}

static inline bool field_is_oneof(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static inline bool field_is_repeated(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED;
}

static inline bool field_is_packed(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_PACKED;
}

static inline bool field_is_delimited(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_BYTES ||
           field->type == PROTOBUF_C_TYPE_STRING;
}

static inline enum wire_type field_wire_type(const ProtobufCFieldDescriptor *field)
{
    return field_is_delimited(field) ? WIRE_BYTES : WIRE_VARINT;
}

/* Zero is left out by proto3 unless the field is a member of a oneof. */
static inline bool field_omits_zero(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_NONE && !field_is_oneof(field);
}

/* Bytes of one value, as member or as element of an array. */
static inline size_t field_value_size(const ProtobufCFieldDescriptor *field)
{
    static const uint8_t sizes[PROTOBUF_C_TYPE_MESSAGE + 1] = {
        [PROTOBUF_C_TYPE_INT64] = sizeof(int64_t),
        [PROTOBUF_C_TYPE_UINT64] = sizeof(uint64_t),
        [PROTOBUF_C_TYPE_INT32] = sizeof(int32_t),
        [PROTOBUF_C_TYPE_UINT32] = sizeof(uint32_t),
        [PROTOBUF_C_TYPE_ENUM] = sizeof(int32_t),
        [PROTOBUF_C_TYPE_BOOL] = sizeof(protobuf_c_boolean),
        [PROTOBUF_C_TYPE_STRING] = sizeof(char *),
        [PROTOBUF_C_TYPE_BYTES] = sizeof(ProtobufCBinaryData),
        [PROTOBUF_C_TYPE_MESSAGE] = sizeof(ProtobufCMessage *),
    };
    CHECK(field->type <= PROTOBUF_C_TYPE_MESSAGE && sizes[field->type]);
    return sizes[field->type];
}

/* A scalar as the varint that the wire has for it, and back. The way back cuts to the type's
 * width, as Go does; field_put_scalar returns whether nothing was lost. */
static inline uint64_t field_get_scalar(const ProtobufCFieldDescriptor *field, const void *value)
{
    if (field_value_size(field) == sizeof(uint64_t))
        return *(const uint64_t *)value;
    int32_t v = *(const int32_t *)value;
    if (field->type == PROTOBUF_C_TYPE_BOOL)
        return v != 0;
    if (field->type == PROTOBUF_C_TYPE_UINT32)
        return (uint32_t)v;
    return (uint64_t)(int64_t)v;
}

static inline bool field_put_scalar(const ProtobufCFieldDescriptor *field, void *value,
                                    uint64_t varint)
{
    if (field_value_size(field) == sizeof(uint64_t)) {
        *(uint64_t *)value = varint;
        return true;
    }
    *(uint32_t *)value = field->type == PROTOBUF_C_TYPE_BOOL ? varint != 0 : (uint32_t)varint;
    return field_get_scalar(field, value) == varint;
}

/* Whether the field has something to be written: see the table and field_omits_zero. */
bool field_is_present(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field);
