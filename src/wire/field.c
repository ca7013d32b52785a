#include "wire/field.h"

bool field_is_present(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    const void *value = field_member_const(msg, field);
    const void *quantifier = (const uint8_t *)msg + field->quantifier_offset;
    if (field_is_repeated(field))
        return *(const size_t *)quantifier != 0;
    if (field_is_oneof(field) && *(const uint32_t *)quantifier != field->id)
        return false;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)value != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)value;
        return text && (!field_omits_zero(field) || text[0] != 0);
    }
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
        return *(const protobuf_c_boolean *)quantifier;
    if (!field_omits_zero(field))
        return true;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len != 0;
    return field_get_scalar(field, value) != 0;
}
