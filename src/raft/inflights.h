/* The appends with entries that are on their way to one follower: a ring, bounded in messages and
 * in payload bytes, that grows only as far as it is used.
 * Thread: the core's.  Owns: its ring. */
#pragma once

#include "raft/types.h"

struct raft_inflight {
    uint64_t index; /* of the message's last entry */
    uint64_t bytes;
};

struct raft_inflights {
    uint32_t max_count;
    uint64_t max_bytes; /* 0: no limit */
    uint64_t bytes;
    uint32_t start;
    uint32_t count;
    uint32_t cap;
    struct raft_inflight *ring;
};

void raft_inflights_init(struct raft_inflights *self, uint32_t max_count, uint64_t max_bytes);
void raft_inflights_done(struct raft_inflights *self);
void raft_inflights_reset(struct raft_inflights *self);
/* True from the message on that reached or crossed a bound. */
bool raft_inflights_full(const struct raft_inflights *self);
/* Not full; index rises from call to call. */
void raft_inflights_add(struct raft_inflights *self, uint64_t index, uint64_t bytes);
/* The follower holds everything up to index. */
void raft_inflights_free_to(struct raft_inflights *self, uint64_t index);
