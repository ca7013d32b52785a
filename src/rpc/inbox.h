/* Cuts one stream's DATA into gRPC messages.
 *
 *     DATA chunks ──> [ 1 byte flag │ 4 bytes length │ message ] …
 *
 * A message that lies whole in one chunk is shown where it lies; otherwise it is gathered in a
 * buffer that grows with what arrives, and is made whole at once only after room for it was
 * reserved. Bounds: one buffer of window bytes, or of a message whose reservation was granted.
 * Thread: the connection's.  Owns: its buffers (malloc, so that a message can be taken over). */
#pragma once

#include "rpc/grpc.h"
#include "rpc/pool_internal.h"

struct inbox {
    uint8_t *data; /* start..len is not yet delivered */
    size_t start, len, cap;
    struct bytes chunk;   /* what the connection's input still holds, after data */
    size_t message_wire;  /* bytes on the wire of the message that is shown; 0: none */
    struct bytes message; /* it, unpacked */
    uint8_t *unpacked;    /* where it was unpacked to */
    bool in_chunk;        /* it lies in the chunk */
    bool granted;         /* room for the message in the making is reserved */
    bool gzip;            /* grpc-encoding of the stream */
};

enum inbox_result {
    INBOX_MORE,    /* no whole message yet */
    INBOX_MESSAGE, /* self->message; inbox_shown must follow */
    INBOX_RESERVE, /* *ret_need bytes of message want room first: inbox_grant */
    INBOX_BAD,     /* the stream ends with this status */
};

struct inbox_bad {
    enum grpc_status status;
    char text[128];
};

void inbox_done(struct inbox *self);
/* More input; valid until inbox_settle. */
void inbox_feed(struct inbox *self, struct bytes chunk);
enum inbox_result inbox_next(struct inbox *self, struct rpc_pool *pool, size_t *ret_need,
                             struct inbox_bad *ret_bad);
void inbox_grant(struct inbox *self);
/* The message was delivered; returns the wire bytes that are consumed by it. */
size_t inbox_shown(struct inbox *self);
/* Hands over the memory of the shown message (free it); ret_message is its place there. */
void *inbox_take(struct inbox *self, struct bytes *ret_message);
/* Copies what is left of the chunk, whose memory is about to go. */
void inbox_settle(struct inbox *self);
/* Something is waiting, whole or not. */
static inline size_t inbox_waiting(const struct inbox *self)
{
    return self->len - self->start + self->chunk.len;
}
