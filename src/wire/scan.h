/* The inner steps of everything here that reads protobuf: one varint, one length, one skip.
 * Each moves *at on, only on success. *minimal is set to false where the encoder would have
 * written fewer bytes, and left alone otherwise.
 * Thread: any.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include "wire/splice.h"

MUST err scan_varint_long(const uint8_t **at, const uint8_t *end, uint64_t *ret_value,
                          bool *minimal);

/* Fails: ERR_SYNTAX where it is cut or longer than 64 bits. */
MUST static inline err scan_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value,
                                   bool *minimal)
{
    const uint8_t *p = *at;
    if (p < end && p[0] < 0x80) {
        *ret_value = p[0];
        *at = p + 1;
        return OK;
    }
    if (end - p >= 2 && p[1] < 0x80 && p[1] != 0) {
        *ret_value = (p[0] & 0x7fU) | (uint64_t)p[1] << 7;
        *at = p + 2;
        return OK;
    }
    return scan_varint_long(at, end, ret_value, minimal);
}

/* A tag. Fails: ERR_SYNTAX for field number 0 or above the maximum, wire types 6 and 7. */
MUST static inline err scan_tag(const uint8_t **at, const uint8_t *end, uint32_t *ret_number,
                                enum wire_type *ret_type, bool *minimal)
{
    const uint8_t *p = *at;
    uint64_t tag;
    TRY(scan_varint(&p, end, &tag, minimal));
    if (tag >> 3 == 0 || tag >> 3 > WIRE_FIELD_NUMBER_MAX || (tag & 7) > WIRE_FIXED32)
        return ERR_SYNTAX;
    *ret_number = (uint32_t)(tag >> 3);
    *ret_type = (enum wire_type)(tag & 7);
    *at = p;
    return OK;
}

/* As the library of etcd up to 3.6 reads a tag: bits beyond the 64th and the number's 32nd are
 * dropped. Fails: ERR_SYNTAX. */
MUST err scan_tag_loose(const uint8_t **at, const uint8_t *end, uint32_t *ret_number,
                        enum wire_type *ret_type);
/* As it skips a field whose tag was read; in groups the ends are counted and their numbers not
 * looked at. Fails: ERR_SYNTAX. */
MUST err scan_skip_loose(const uint8_t **at, const uint8_t *end, enum wire_type type);

/* A length and the bytes that it announces. Fails: ERR_SYNTAX where they pass the end. */
MUST static inline err scan_bytes(const uint8_t **at, const uint8_t *end, struct bytes *ret_bytes,
                                  bool *minimal)
{
    const uint8_t *p = *at;
    uint64_t len;
    TRY(scan_varint(&p, end, &len, minimal));
    if (len > (uint64_t)(end - p))
        return ERR_SYNTAX;
    *ret_bytes = bytes_of(p, (size_t)len);
    *at = p + len;
    return OK;
}

/* The value of a field whose tag was read, whatever it is; a group with all that is in it.
 * Fails: ERR_SYNTAX; ERR_LIMIT for groups nested deeper than depth_max (which is at most
 * WIRE_GROUP_DEPTH_MAX). */
MUST err scan_field(const uint8_t **at, const uint8_t *end, uint32_t number, enum wire_type type,
                    unsigned depth_max, struct wire_field *ret_field);
