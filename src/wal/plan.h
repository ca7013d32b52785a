/* What a batch puts into the log: records as pieces for one write, no file touched.
 *
 *     open(sequence…)            the head of a new segment: crc, metadata, last state
 *     [mark] [snapshot] entries state …   as many batches as one write takes
 *     pieces -> write, sync      the stage's work
 *     written(synced)            the offset moves on; only after a sync may a mark follow
 *
 * Small data is copied behind its head, large data is lent from the entry until `written`.
 * Order within a batch: the snapshot record, then entries, then state: a snapshot counts only when
 * a state's commit has reached it, so a torn batch leaves the log as it was or whole.
 * Thread: one at a time.  Owns: its buffers; borrows entries' data until `written`. */
#pragma once

#include "base/buf.h"
#include "raft/types.h"
#include "wal/format.h"
#include "wal/places.h"

#include <sys/uio.h>

/* A record of a snapshot that the store holds: the log before it may go. */
struct wal_snapshot {
    uint64_t index, term;
    /* raftpb.ConfState bytes; index 0 has none */
    struct bytes conf_state;
};

struct wal_plan {
    uint64_t sequence;
    uint64_t offset; /* where the pieces go */
    uint32_t crc;    /* running value behind the pieces */
    bool synced;     /* everything before `offset` is */
    bool marked;     /* the last record written is a mark */
    struct bytes metadata;
    struct raft_hard_state state; /* the last one */
    struct buf heads;             /* heads, pads and small data */
    struct iovec *pieces;
    size_t piece_count, piece_cap;
    uint64_t bytes; /* sum of the pieces */
};

/* metadata is borrowed for the plan's life. */
void wal_plan_init(struct wal_plan *self, struct bytes metadata);
void wal_plan_done(struct wal_plan *self);
/* Goes on behind a log that was read: nothing before offset is taken for synced. */
void wal_plan_resume(struct wal_plan *self, uint64_t sequence, uint64_t offset, uint32_t crc,
                     const struct raft_hard_state *state);
/* The head of segment `sequence`; no pieces may be waiting. */
void wal_plan_open(struct wal_plan *self, uint64_t sequence);
/* A mark, if everything before is synced and the last record is none; else nothing. */
void wal_plan_mark(struct wal_plan *self);
/* Fails: ERR_LIMIT, the record would exceed WAL_RECORD_BYTES_MAX; nothing is added. */
MUST err wal_plan_entry(struct wal_plan *self, const struct raft_entry *entry,
                        struct wal_place *ret_place);
/* An empty state is not written; neither term nor commit ever goes backwards. */
void wal_plan_state(struct wal_plan *self, const struct raft_hard_state *state);
/* Fails: ERR_LIMIT. */
MUST err wal_plan_snapshot(struct wal_plan *self, const struct wal_snapshot *snapshot);
/* The pieces in order; the array lives until the next call, and a write may use it as scratch. */
struct iovec *wal_plan_pieces(struct wal_plan *self, size_t *ret_count);
void wal_plan_written(struct wal_plan *self, bool synced);
