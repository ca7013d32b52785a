/* Bytes of a frame or body while they arrive, and afterwards what entries' data lie in.
 * Grows by doubling as bytes come, so a length that was only announced costs nothing.
 * Thread: the core's (its count is a plain int).  Owns: itself, by references. */
#pragma once

#include "raft/types.h"

struct peer_blob {
    struct raft_blob blob;
    size_t len;
    size_t cap;
    uint8_t data[];
};

/* Appends; *self may be NULL (a new one) and may move, so nobody else may refer to it yet.
 * expected: how many bytes it will surely not exceed. */
void peer_blob_append(struct peer_blob **self, struct bytes piece, uint64_t expected);
/* Gives back what it took too much; it may move. */
void peer_blob_fit(struct peer_blob **self);
/* Lets all entries and the snapshot of a message that was decoded out of it refer to it. No
 * references are counted: they live as long as the caller's own. */
void peer_blob_bind(struct peer_blob *self, const struct raft_message *message);
