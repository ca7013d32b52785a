/* The reads that wait for the leader to prove that it still leads.
 *
 * Each read has a position, 1 for the first of a leadership. A heartbeat carries the position of
 * the newest read as its context, eight bytes little endian; an answer with it confirms that read
 * and all before it. Other members' context styles do not matter: followers echo what they get.
 * Until an entry of its own term is committed, a leader does not know the commit index (R 8):
 * reads wait without a round.
 *
 *   asked --(commit in term)--> index set, round due --(heartbeats sent)--> --(quorum)--> answered
 *
 * Thread: the core's.  Owns: its queue; contexts are copied. */
#pragma once

#include "raft/types.h"

/* The most reads that may wait at a time. */
#define RAFT_READS_MAX 16384

struct raft_read {
    uint64_t from; /* RAFT_NONE or our own id: asked here */
    uint64_t index;
    uint8_t context_len;
    uint8_t context[RAFT_CONTEXT_BYTES_MAX];
};

struct raft_read_only {
    struct raft_read *reads; /* live from head on */
    size_t head;
    size_t count;
    size_t cap;
    uint64_t base; /* position of the read before the first */
    bool round_due;
};

void raft_read_only_done(struct raft_read_only *self);
/* A new leadership: nobody waits, positions start again. */
void raft_read_only_reset(struct raft_read_only *self);
/* Fails: ERR_LIMIT  too many wait, or the context is too long. */
MUST err raft_read_only_add(struct raft_read_only *self, uint64_t from, struct bytes context,
                            uint64_t index);
/* The first entry of the term is committed: those that wait get their index. */
void raft_read_only_release(struct raft_read_only *self, uint64_t index);
/* The position of the newest read; 0: none waits. */
uint64_t raft_read_only_position(const struct raft_read_only *self);
/* The next read at or below the confirmed position, taken off; lives until the next call. NULL:
 * none. */
const struct raft_read *raft_read_only_pop(struct raft_read_only *self, uint64_t confirmed);
