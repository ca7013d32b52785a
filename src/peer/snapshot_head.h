/* What comes before the bytes of a state that one member sends another (POST /raft/snapshot):
 *
 *     0  u64  length of the message, big-endian
 *     8       the message, a MsgSnap as in the body of POST /raft
 *
 * Bytes come in pieces of any size; what follows the head is left to the caller.
 * Thread: one.  Owns: what came of the message.
 * Source: etcd's interface, "Snapshots between members". */
#pragma once

#include "peer/stream.h"

struct snapshot_head {
    uint8_t length[8];
    size_t length_got;
    uint64_t left; /* of the message */
    uint64_t message_bytes_max;
    struct message_collector *collector; /* NULL: the head is whole, or was refused */
};

void snapshot_head_init(struct snapshot_head *self, size_t message_bytes_max);
void snapshot_head_done(struct snapshot_head *self);
/* Takes what belongs to the head off the piece. *ret_whole: nothing more does, and the collector is
 * the caller's, to be ended and freed; NULL as long as some is missing.
 * Fails: ERR_LIMIT where the message is empty or too long. */
MUST err snapshot_head_feed(struct snapshot_head *self, struct bytes *piece,
                            struct message_collector **ret_whole);
