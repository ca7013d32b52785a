/* gRPC's small formats: status codes, the message prefix, grpc-timeout, percent-encoded
 * grpc-message, method paths.
 * Source: "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md), sections Requests and Responses.
 * Thread: any.  Owns: nothing. */
#pragma once

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* "NotFound" and so on, as Go prints codes; "Code(N)" numbers give "Unknown". Never NULL. */
const char *grpc_status_name(unsigned status);

/* Every message on the wire: one byte (0 plain, 1 compressed), its length in 4 bytes big-endian. */
#define GRPC_PREFIX_BYTES 5
static inline void grpc_prefix_put(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len)
{
    out[0] = 0;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}

static inline uint32_t grpc_prefix_length(const uint8_t in[GRPC_PREFIX_BYTES])
{
    return (uint32_t)in[1] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 8 | in[4];
}

/* grpc-timeout: 1 to 8 digits and one of H M S m u n. Rounded up to milliseconds, so that only
 * a timeout of 0 gives 0.  Fails: ERR_SYNTAX. */
MUST err grpc_timeout_parse(struct bytes text, uint64_t *ret_timeout_ms);
/* The finest unit whose number has at most 8 digits; writes a NUL too. */
#define GRPC_TIMEOUT_TEXT_BYTES 12
void grpc_timeout_format(uint64_t timeout_ms, char out[GRPC_TIMEOUT_TEXT_BYTES]);

/* Percent coding of grpc-message: bytes outside 0x20..0x7e and '%' become %XX.
 * Bytes that the text takes encoded. */
size_t grpc_message_encoded_size(struct bytes text);
/* Writes exactly that many. */
void grpc_message_encode(struct bytes text, uint8_t *out);
/* Decodes into out (at least text.len bytes); a broken escape stands for itself.
 * Returns the decoded length. */
size_t grpc_message_decode(struct bytes text, uint8_t *out);

/* "/etcdserverpb.KV/Range" -> "etcdserverpb.KV", "Range"; both lie inside path.
 * Fails: ERR_SYNTAX where there is no leading or no second slash ("malformed method name"). */
MUST err grpc_path_split(struct bytes path, struct bytes *ret_service, struct bytes *ret_method);

/* Is it application/grpc, with a subtype (+proto) or parameters (;…) or without? */
bool grpc_content_type_ok(struct bytes value);

/* What a client makes of a stream that ended without grpc-status (PROTOCOL-HTTP2.md,
 * "Errors"; grpc/doc/http-grpc-status-mapping.md). */
enum grpc_status grpc_status_of_http2_error(uint32_t http2_error);
enum grpc_status grpc_status_of_http_status(unsigned http_status);
