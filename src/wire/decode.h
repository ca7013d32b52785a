/* Protobuf messages out of bytes that someone else made, into protobuf-c's structs.
 *
 * protobuf-c's own unpack has no depth limit and copies every field; this one walks the same
 * descriptors, lends `bytes` fields straight from the input and puts the rest into an arena.
 *
 * What comes out
 * - `bytes` fields point into the input, which must outlive the message. An empty one may
 *   point anywhere: read len first.
 * - `string` fields are NUL-terminated copies in the arena. A NUL inside a string is kept as the
 *   two bytes C0 80, which no UTF-8 text contains, so that a C string stays exact; the encoder
 *   and the JSON writer turn it back (wire_string_bytes does it for others).
 * - Fields not seen have their default: 0, "", empty, NULL for messages and for optional strings
 *   of proto2. Optional scalars of proto2 and members of oneofs have presence.
 * - n_unknown_fields is always 0: what is not in the schema is skipped.
 *
 * How it reads (as etcd 3.7 does)
 * - A singular field given twice: the last wins; messages are merged. Of a oneof the last member
 *   wins. Repeated scalars are accepted packed and unpacked, whatever the schema says.
 * - A known field with another wire type than its own counts as unknown. Unknown fields are
 *   skipped, groups as a whole.
 * - Refused: field number 0 or above 2^29-1, wire types 6 and 7, an end of a group that never
 *   began, varints longer than 64 bits, lengths past the end, strings of proto3 that are not
 *   UTF-8.
 *
 * `canonical` is true when encoding the message again would give the same bytes: only known
 * fields, ascending, each given once (repeated ones in one run), minimal varints, nothing
 * proto3 would leave out, scalars packed where the schema packs them.
 *
 * Bounds
 * - Nesting deeper than depth_max is refused (messages and skipped groups), so the stack used is
 *   at most WIRE_DECODE_FRAME_BYTES_MAX a level.
 * - The arena gives at most arena_factor * input bytes + arena_slack_bytes: a message of nothing
 *   but empty submessages would else take 64 times its length. With the default factor no
 *   request is refused that holds a key of one byte in each of its parts.
 *
 * Thread: any.  Owns: nothing; the message lives in the arena, its bytes in the input. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    WIRE_DEPTH_MAX_DEFAULT = 100,
    /* What the Go library allows: for log entries that members of etcd have already accepted. */
    WIRE_DEPTH_MAX_LIMIT = 10000,
    WIRE_DECODE_FRAME_BYTES_MAX = 512,
    WIRE_ARENA_FACTOR_DEFAULT = 32,
    WIRE_ARENA_SLACK_BYTES_DEFAULT = 256 * 1024,
};

/* A member left 0 stands for its default. */
struct wire_decode_opts {
    unsigned depth_max; /* at most WIRE_DEPTH_MAX_LIMIT */
    unsigned arena_factor;
    size_t arena_slack_bytes;
    /* Reads what the library of etcd up to 3.6 lets into the log, where an unknown field stays as
     * its client wrote it: numbers up to 2^31-1, varints whose tenth byte says too much, groups
     * ended under another's number; and strings that are not UTF-8. */
    bool from_log;
};

/* The address of a pointer to a generated struct, as wire_decode and wire_json_parse want it;
 * does not compile for anything else. */
#define WIRE_OUT(pp) ((ProtobufCMessage **)(pp) + 0 * sizeof((*(pp))->base))

/* Decodes one whole message. opts may be NULL, ret_canonical too.
 * Fails: ERR_SYNTAX where it is no such message, ERR_NOT_UTF8 where a string is no text, ERR_LIMIT
 * past a bound; what the arena gave until then stays in it.
 *
 *     Etcdserverpb__PutRequest *put;
 *     bool canonical;
 *     TRY(wire_decode(&etcdserverpb__put_request__descriptor, in, arena, NULL, WIRE_OUT(&put),
 *                     &canonical));                                                            */
MUST err wire_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes in,
                     struct arena *arena, const struct wire_decode_opts *opts,
                     ProtobufCMessage **ret_msg, bool *ret_canonical);

/* The exact bytes of a decoded string: itself, or a copy where a NUL is inside. NULL is empty. */
struct bytes wire_string_bytes(struct arena *arena, const char *text);
/* The other way: bytes into the form that string fields have. */
char *wire_string_of(struct arena *arena, struct bytes text);
