/* A frame closes whole raft entries in the revision log: what stands before it happened, what no
 * frame follows did not. It lies among the records as one of kind MVCC_FRAME:
 *
 *     seq   greatest seq that it closes (0: no change yet)
 *     main  revision                     prev  synced: what the newest frame known to be
 *     blob   0  u64  raft index                durable closed when this one was written
 *            8  u64  raft term
 *           16  i64  compact revision
 *           24  u64  nonce of the segment
 *           32       ConfState, encoded as the caller has it
 *
 * Every segment that is appended to begins with a copy of the newest frame, so that one segment
 * alone tells where the log stands.
 * The nonce is random and no client sees it, so that no stored value can pass for a frame where a
 * torn log is searched for one.
 * Thread: any. */
#pragma once

#include "mvcc/record.h"

#define MVCC_FRAME_FIXED_BYTES      32
#define MVCC_FRAME_CONF_STATE_BYTES 65536 /* at most */

struct mvcc_frame {
    uint64_t seq;
    uint64_t index;
    uint64_t term;
    int64_t revision;
    int64_t compact_revision;
    uint64_t synced;
    uint64_t nonce;          /* segment_writer_frame fills it in */
    struct bytes conf_state; /* lent */
};

static inline size_t mvcc_frame_bytes(const struct mvcc_frame *self)
{
    return mvcc_record_bytes(MVCC_FRAME_FIXED_BYTES + self->conf_state.len);
}

/* Writes mvcc_frame_bytes(self). CHECK: synced <= seq, conf_state within its limit. */
void mvcc_frame_encode(const struct mvcc_frame *self, uint8_t *out);
/* Takes apart what mvcc_record_decode gave with kind MVCC_FRAME. Fails: ERR_CORRUPT. */
MUST err mvcc_frame_from_record(const struct mvcc_record *record, struct mvcc_frame *ret_frame);
