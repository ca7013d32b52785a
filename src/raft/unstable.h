/* The end of the log that the storage does not vouch for yet, and a snapshot on its way in.
 *
 *      storage            offset      offset_in_progress          end
 *   ... | . | . | . |  e | e | e | e |  e | e | e |
 *                     being written      not yet handed out
 *
 * Invariants
 *   U1  entries[i].index == offset + i
 *   U2  offset <= offset_in_progress <= end
 *   U3  a write that is answered removes entries only where the last of them still has the term
 *       that was written: an entry that was replaced and restored is not stable early
 * Thread: the core's.  Owns: a reference to the blob of each entry, and the snapshot's. */
#pragma once

#include "raft/types.h"

struct raft_unstable {
    struct raft_entry *entries; /* start of a growable array; the live ones begin at head */
    size_t head;
    size_t count;
    size_t cap;
    uint64_t offset;
    uint64_t offset_in_progress;
    bool has_snapshot;
    bool snapshot_in_progress;
    struct raft_snapshot *snapshot; /* one, kept for reuse */
};

void raft_unstable_init(struct raft_unstable *self, uint64_t offset);
void raft_unstable_done(struct raft_unstable *self);

static inline const struct raft_entry *raft_unstable_at(const struct raft_unstable *self,
                                                        uint64_t index)
{
    return &self->entries[self->head + (index - self->offset)];
}

/* One past the last entry held. */
static inline uint64_t raft_unstable_end(const struct raft_unstable *self)
{
    return self->offset + self->count;
}

/* False where index is neither an entry held here nor the snapshot. */
bool raft_unstable_term(const struct raft_unstable *self, uint64_t index, uint64_t *ret_term);
/* Entries not yet handed out. */
size_t raft_unstable_next(const struct raft_unstable *self, const struct raft_entry **ret_entries);
bool raft_unstable_has_next_snapshot(const struct raft_unstable *self);
/* All that is held has been handed out. */
void raft_unstable_accept(struct raft_unstable *self);
/* Entries up to index, of which the last had this term, are written. False: they have been
 * replaced since, nothing was done. */
bool raft_unstable_stable_to(struct raft_unstable *self, uint64_t index, uint64_t term);
void raft_unstable_snapshot_stable(struct raft_unstable *self, uint64_t index);
/* Forgets the entries; the log goes on after the snapshot. */
void raft_unstable_restore(struct raft_unstable *self, const struct raft_snapshot *snapshot);
/* Appends; what is held at and after the first one's index goes. The first is at most one past the
 * end. References are taken, data without a blob are copied. */
void raft_unstable_append(struct raft_unstable *self, const struct raft_entry *entries,
                          size_t count);
