/* What the tests and fuzz targets of wire share.
 * Thread: one at a time.  Owns: nothing; all lives in the arena given. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/prng.h"

/* Every message, enum and service of the schema. */
extern const ProtobufCMessageDescriptor *const schema_messages[];
extern const size_t schema_message_count;
extern const ProtobufCEnumDescriptor *const schema_enums[];
extern const size_t schema_enum_count;
extern const ProtobufCServiceDescriptor *const schema_services[];
extern const size_t schema_service_count;

/* "0a 01 6b" and so on; anything but hex digits is skipped. */
struct bytes hex_bytes(struct arena *arena, const char *text);

/* A message with any of its fields set, of edge values mostly, nested at most depth deep. Never
 * a NUL inside a string: protobuf-c has no such strings. */
ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor, struct prng *prng,
                                 struct arena *arena, unsigned depth);
