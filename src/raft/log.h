/* The log: what the storage holds, and behind it what it does not hold yet.
 *
 *   first                applied    applying   committed              last
 *     | . . . storage . . . |  .  .  .  | . . . . | . . unstable . . . . |
 *
 * Invariant I1: applied <= applying <= committed <= last; none falls.
 * Thread: the core's.  Owns: its unstable entries. */
#pragma once

#include "raft/storage.h"
#include "raft/unstable.h"

/* A batch of committed entries that was handed out and not yet reported as applied. */
struct raft_apply_batch {
    uint64_t last;
    uint64_t bytes;
    uint64_t payload;
};

struct raft_log {
    struct raft_storage storage;
    struct raft_unstable unstable;
    uint64_t committed;
    uint64_t applying;
    uint64_t applied;
    uint64_t applying_bytes;
    uint64_t applying_bytes_max;
    bool applying_paused;
    struct raft_apply_batch *batches; /* in order; the oldest at batch_head */
    size_t batch_head;
    size_t batch_count;
    size_t batch_cap;
    struct raft_entry *scratch; /* RAFT_ENTRIES_MAX */
};

/* Starts with everything up to the storage's first entry committed and applied. */
void raft_log_init(struct raft_log *self, const struct raft_storage *storage,
                   uint64_t applying_bytes_max);
void raft_log_done(struct raft_log *self);

uint64_t raft_log_first_index(const struct raft_log *self);
uint64_t raft_log_last_index(const struct raft_log *self);
uint64_t raft_log_last_term(const struct raft_log *self);
/* Fails: ERR_COMPACTED_LOG, ERR_NOT_FOUND (beyond the last). */
MUST err raft_log_term(const struct raft_log *self, uint64_t index, uint64_t *ret_term);
bool raft_log_matches(const struct raft_log *self, uint64_t index, uint64_t term);
/* Is a log that ends in (index, term) at least as new as ours? (R 5.4.1) */
bool raft_log_is_up_to_date(const struct raft_log *self, uint64_t index, uint64_t term);
/* The last of our indexes at or below index whose term is at most term, and its term. Where that
 * lies before what is held, the index before the first known one and term 0. */
void raft_log_find_conflict(const struct raft_log *self, uint64_t index, uint64_t term,
                            uint64_t *ret_index, uint64_t *ret_term);

/* Entries lo .. hi-1 as far as max_bytes and RAFT_ENTRIES_MAX allow, the first always. They lie in
 * the log's scratch until the next call, each with one reference that the caller owns.
 * Fails: ERR_COMPACTED_LOG, and what the storage fails with. */
MUST err raft_log_slice(struct raft_log *self, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                        const struct raft_entry **ret_entries, size_t *ret_count);

/* A follower's append: entries follow on (index, term), each other included. *ret_last: the last
 * index now known to equal the leader's. commit is taken as far as that.
 * Fails: ERR_NOT_FOUND  (index, term) is not in our log; ERR_MISMATCH  they contradict an entry
 *        that is committed. */
MUST err raft_log_try_append(struct raft_log *self, uint64_t index, uint64_t term,
                             const struct raft_entry *entries, size_t count, uint64_t commit,
                             uint64_t *ret_last);
/* index <= last; a lower one is ignored. True: committed rose. */
bool raft_log_commit_to(struct raft_log *self, uint64_t index);
/* Drops everything, goes on after the snapshot. */
void raft_log_restore(struct raft_log *self, const struct raft_snapshot *snapshot);

bool raft_log_has_unstable(const struct raft_log *self);
/* What may be handed out to be applied: [*ret_lo, *ret_hi). allow_unstable: also what the storage
 * does not hold yet. False: nothing. */
bool raft_log_next_committed(const struct raft_log *self, bool allow_unstable, uint64_t *ret_lo,
                             uint64_t *ret_hi);
/* The bytes that may be handed out on top of what is being applied. */
uint64_t raft_log_applying_room(const struct raft_log *self);
void raft_log_accept_applying(struct raft_log *self, const struct raft_entry *entries, size_t count,
                              bool allow_unstable);
/* Everything up to index is applied; *ret_payload: payload bytes of the batches that are done. */
void raft_log_applied_to(struct raft_log *self, uint64_t index, uint64_t *ret_payload);
