/* JSON of protobuf messages by descriptor, both ways.
 *
 * Two forms are written:
 *
 *                   WIRE_JSON_GATEWAY (the /v3 pages)      WIRE_JSON_GO (etcdctl -w json)
 *     names         of the schema (create_revision, TTL)   the same
 *     int64 uint64  strings                                plain numbers
 *     enums         by name, unknown ones as numbers       numbers
 *     bytes         base64 with padding                    the same
 *     oneof         its member, even if zero               {"Oneof":{"member":…}}
 *     text          control characters, " and \ escaped    also < > & U+2028 U+2029
 *
 * Both: one line, no blanks; fields in the order of their numbers, which is the order of
 * declaration in every message that clients see; left out are zero scalars, empty lists and
 * absent messages (not empty ones). Fields with presence are written whenever present by the
 * gateway's form; Go's form leaves zero out all the same.
 *
 * Read is what protojson reads: names of the schema or lowerCamel, exact case; int64 as number
 * or string, numbers like 1e3 and 2.0 where they are whole; enums by name or number; base64
 * standard or URL-safe, padded or not; null leaves a field out. Unknown fields and unknown names
 * of enums are ignored. Refused: a field or oneof given twice, numbers out of range, text that is
 * not UTF-8, null inside a list. Not json-c: it rounds numbers above 64 bits silently, takes
 * doubled names, and builds a tree many times the size of the text.
 *
 * Thread: any.  Owns: nothing; parsed messages live in the arena whole. */
#pragma once

#include "base/buf.h"
#include "wire/decode.h"

enum wire_json_form {
    WIRE_JSON_GATEWAY,
    WIRE_JSON_GO,
};

/* Appends. Pass &msg->base. Fails: ERR_LIMIT of out, which then holds part of the text. */
MUST err wire_json_write(const ProtobufCMessage *msg, enum wire_json_form form, struct buf *out);
/* Appends text as a JSON string, quotes included, escaped as the form does; what is not UTF-8
 * becomes U+FFFD. Fails: ERR_LIMIT. */
MUST err wire_json_write_string(struct bytes text, enum wire_json_form form, struct buf *out);
/* Appends standard base64, without quotes. Fails: ERR_LIMIT. */
MUST err wire_json_write_base64(struct bytes what, struct buf *out);

/* Reads one object; the bounds of opts (or NULL) hold as in wire_decode, from_log does
 * not. With ret_consumed NULL nothing but white space may follow; else it is told how far the
 * object reaches, and more objects may follow.
 * Fails: ERR_SYNTAX; with ret_consumed ERR_TORN where the text ends before the object does
 * (more may come; an empty text too); ERR_LIMIT. */
MUST err wire_json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                         struct arena *arena, const struct wire_decode_opts *opts,
                         ProtobufCMessage **ret_msg, size_t *ret_consumed);
