/* The stable half of the log as raft reads it: the newest durable entries in memory up to a byte
 * bound, older ones by place through the stage.
 *
 *     first_index (stage) … | cached first … last |
 *
 * An entry gets in when its batch is durable; raft keeps it itself until then. What a batch
 * replaces is dropped from the cache as it comes in.
 * They lie in chunks: an array of them all that doubles would stop the core for as long as it takes
 * to touch as much fresh memory, 13 ms at 16,384 entries in a small virtual machine.
 * Thread: the core's.  Owns: references to cached entries. */
#pragma once

#include "raft/storage.h"
#include "replica/replica.h"

struct log_cache {
    struct replica_log older;
    /* As raft_storage's; set before raft begins. */
    err (*snapshot)(void *ctx, struct raft_snapshot *ret_snapshot);
    void *snapshot_ctx;
    struct raft_hard_state hard_state;
    struct raft_conf_state conf;
    uint64_t snapshot_index; /* what precedes the first entry of all */
    uint64_t snapshot_term;
    uint64_t last;              /* durable */
    struct raft_entry **chunks; /* a ring of them, as many as a power of two; NULL: not made */
    size_t chunk_cap;
    size_t first; /* slot of the oldest; slots are counted on and on */
    size_t count;
    size_t bytes;
    size_t bytes_max;
};

/* Fails: ERR_CORRUPT where the entries are not one run that ends at last_index. */
MUST err log_cache_init(struct log_cache *self, const struct replica_log *older,
                        const struct replica_start *start, size_t bytes_max);
void log_cache_done(struct log_cache *self);
/* Durable from now on; replaces what is at and after the first. entries[0].index <= last + 1. */
void log_cache_append(struct log_cache *self, const struct raft_entry *entries, size_t count);
/* The oldest entry of the log's newest `bytes`. */
uint64_t log_cache_first_within(const struct log_cache *self, uint64_t bytes);
/* raft's table over it. */
struct raft_storage log_cache_storage(struct log_cache *self);
