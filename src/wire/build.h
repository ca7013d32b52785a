/* Building protobuf-c's structs in an arena, within bounds: what decoder and JSON parser share.
 * Thread: one at a time.  Owns: nothing.  Internal to src/wire. */
#pragma once

#include "wire/decode.h"

struct builder {
    struct arena *arena;
    size_t room_bytes; /* what the arena may still give */
    unsigned depth_max;
    bool from_log;
};

/* opts may be NULL. */
struct builder builder_of(struct arena *arena, const struct wire_decode_opts *opts,
                          size_t input_bytes);

/* Zeroed. All of these fail with ERR_LIMIT, past the bound. */
MUST err builder_alloc(struct builder *self, size_t n, void **ret_memory);
MUST err builder_new_message(struct builder *self, const ProtobufCMessageDescriptor *descriptor,
                             ProtobufCMessage **ret_msg);
/* NUL-terminated; a NUL inside becomes C0 80. */
MUST err builder_copy_string(struct builder *self, struct bytes text, char **ret_copy);

/* Room for `more` elements, all zero, behind those that a repeated field has; raises its count.
 * The capacity is always the power of two that the count needs, so it is noted nowhere, and a
 * field whose elements lie scattered costs no more than twice its array. */
MUST err builder_array_grow(struct builder *self, ProtobufCMessage *msg,
                            const ProtobufCFieldDescriptor *field, size_t more, void **ret_first);

/* Where the value of a singular field goes, now marked as set. Of a oneof whose other member is
 * set, the memory is cleared where a pointer would be read from it. */
void *builder_singular(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field);
