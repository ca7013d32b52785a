/* What the world's own files share: the disks, on which a member's log and store survive a kill. */
#pragma once

#include "world.h"

void disk_append(struct disk *d, const struct raft_entry *entries, size_t count);
void disk_flush(struct disk *d, const struct tail *tail, const struct replica_flush *frame);
void disk_free(struct disk *d);
void disk_staged_drop(struct disk *d);
void disk_staged_settle(struct disk *d);
err disk_log_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                     struct raft_entry *ret_entries, size_t *ret_count);
err disk_log_term(void *ctx, uint64_t index, uint64_t *ret_term);
uint64_t disk_log_first(void *ctx);
uint64_t disk_log_first_within(void *ctx, uint64_t bytes);
void disk_job_free(struct disk_job *job);
void disk_job_carry_out(struct disk *d, const struct disk_job *job);
void node_take_append(struct node *n, const struct replica_append *a);
void node_complete(struct node *n);
