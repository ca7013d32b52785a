/* A raft_storage in memory, for tests and the simulator: what it holds is what survives a crash
 * of the node that it belongs to.
 * Thread: one at a time.  Owns: references to the entries it holds. */
#pragma once

#include "raft/storage.h"

struct raft_memory_storage;

struct raft_memory_storage *raft_memory_storage_new(void);
/* NULL is legal. */
void raft_memory_storage_free(struct raft_memory_storage *self);
/* The table that reads it; valid as long as it is. */
struct raft_storage raft_memory_storage_table(struct raft_memory_storage *self);

void raft_memory_storage_set_hard_state(struct raft_memory_storage *self,
                                        const struct raft_hard_state *state);
/* Entries that follow on or overlap what is there; what they replace is dropped. Data without a
 * blob are copied. Fails: ERR_MISMATCH  they leave a gap. */
MUST err raft_memory_storage_append(struct raft_memory_storage *self,
                                    const struct raft_entry *entries, size_t count);
/* The log becomes empty, behind the snapshot. Fails: ERR_MISMATCH  it is older than the last. */
MUST err raft_memory_storage_install(struct raft_memory_storage *self,
                                     const struct raft_snapshot *snapshot);
/* Makes this the snapshot that followers get; the log stays. */
void raft_memory_storage_set_snapshot(struct raft_memory_storage *self,
                                      const struct raft_snapshot *snapshot);
/* Drops entries up to index, which is held. Fails: ERR_COMPACTED_LOG, ERR_NOT_FOUND. */
MUST err raft_memory_storage_compact(struct raft_memory_storage *self, uint64_t index);
