/* The stable half of the log, as raft reads it. Whoever drives raft implements it: in memory
 * (raft/memory_storage.h), or with old entries read by place from the log's files.
 * first_index .. last_index are held; the term of first_index - 1 is known too (the point where
 * the log was cut, or a snapshot). Errors are the storage's own where none is named here.
 * Thread: the core's. */
#pragma once

#include "raft/types.h"

struct raft_storage {
    void *ctx;
    /* What was stored before: asked once, by raft_new. Nothing stored: all zero. */
    err (*initial_state)(void *ctx, struct raft_hard_state *ret_hard_state,
                         struct raft_conf_state *ret_conf_state);
    /* Entries lo, lo+1, ... while they are below hi, no more than room (<= RAFT_ENTRIES_MAX), and
     * together within max_bytes (raft_entry_bytes); the first always. Each comes with one
     * reference that the caller owns. lo <= last_index, lo < hi, hi <= last_index + 1.
     * Fails: ERR_COMPACTED_LOG  lo < first_index; ERR_AGAIN  not now: raft asks again. */
    err (*entries)(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                   struct raft_entry *ret_entries, size_t *ret_count);
    /* For first_index - 1 .. last_index never fails, and reads memory only.
     * Fails: ERR_COMPACTED_LOG  below; ERR_NOT_FOUND  beyond last_index. */
    err (*term)(void *ctx, uint64_t index, uint64_t *ret_term);
    uint64_t (*first_index)(void *ctx);
    uint64_t (*last_index)(void *ctx);
    /* The newest snapshot that a follower could be given; its blob comes with one reference that
     * the caller owns. One that does not name the follower yet is of no use: raft asks again
     * later. Fails: ERR_AGAIN  none can be made now: raft asks again later. */
    err (*snapshot)(void *ctx, struct raft_snapshot *ret_snapshot);
};
