/* Protobuf messages from protobuf-c's structs to bytes, as Go's library writes them: fields
 * ascending, zero fields of proto3 left out, presence honoured where a field has it (optional
 * of proto2, members of oneofs, messages), minimal varints, negative int32 and enums as ten
 * bytes, repeated scalars packed where the schema says so.
 * Hashes and comparisons cover stored bytes, so this form is part of the interface.
 * One message looks different from member to member: etcd 3.7 writes the oneof of a Compare
 * behind range_end, etcd up to 3.6 and all else ascending, as here. Nothing covers a Compare.
 *
 * Whoever builds a struct by hand starts from the generated X__INIT; depth is the builder's
 * affair (what wire_decode made is bounded). An optional bytes field with has_ set and a string
 * that is not NULL are present, even if empty.
 *
 * Thread: any.  Owns: nothing. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"

/* Linear in the number of fields. Pass &msg->base. */
size_t wire_encoded_size(const ProtobufCMessage *msg);
/* Writes exactly `size` bytes at `at`; size is what wire_encoded_size said. Never fails. */
void wire_encode_to(const ProtobufCMessage *msg, uint8_t *at, size_t size);
/* Appends to out. Fails: ERR_LIMIT, out as it was. */
MUST err wire_encode(const ProtobufCMessage *msg, struct buf *out);
struct bytes wire_encode_arena(const ProtobufCMessage *msg, struct arena *arena);
