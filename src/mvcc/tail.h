/* The tail: the newest changes, in memory, found by seq.
 *
 * A change lives here from its apply until the store thread has written it, and a little longer:
 * written changes stay while all of them together fit in keep_bytes. Nothing here ever moves: what
 * a reader found under its guard stays where it is until the guard is gone.
 *
 * Thread: append, trim, full: the core. find, first, last: any thread under a guard of the epoch,
 * the store thread too.
 * Owns: copies of the blobs. */
#pragma once

#include "base/epoch.h"
#include "mvcc/record.h"

struct tail;

struct tail_limits {
    size_t keep_bytes; /* written changes kept for reading; 0: TAIL_KEEP_BYTES */
    size_t max_bytes;  /* full from here on; 0: TAIL_MAX_BYTES */
};
#define TAIL_KEEP_BYTES ((size_t)8 << 20)
#define TAIL_MAX_BYTES  ((size_t)64 << 20)

/* Begins behind last_seq: the first append must carry last_seq + 1. epoch outlives the tail.
 * limits may be NULL. */
struct tail *tail_new(struct epoch *epoch, uint64_t last_seq, const struct tail_limits *limits);
/* No reader may be left. NULL is legal. */
void tail_free(struct tail *self);

/* Copies the record with its blob, computes its checksum and makes it visible to tail_find.
 * record->seq is last + 1 (CHECK), the form valid (CHECK). Never refused: the core looks at
 * tail_is_full before it begins an entry.
 * The stored record, its blob lent until it is trimmed and the guards of then are gone. */
const struct mvcc_record *tail_append(struct tail *self, const struct mvcc_record *record);
/* Room for a blob that the caller encodes in place, to be handed to tail_append as record->blob
 * next (then nothing is copied). Lost if another call comes between. */
uint8_t *tail_blob_reserve(struct tail *self, size_t bytes);

/* NULL where seq was trimmed (then the revision log has it) or is not there yet. */
const struct mvcc_record *tail_find(const struct tail *self, uint64_t seq);
/* The oldest that is found; last + 1 where none is. It only grows. */
uint64_t tail_first(const struct tail *self);
uint64_t tail_last(const struct tail *self);

/* All up to written_seq is in the revision log, and the published table shows it. Idempotent. */
void tail_trim(struct tail *self, uint64_t written_seq);
/* Bytes of the changes that are held: blobs, and a fixed sum for each change. */
size_t tail_bytes(const struct tail *self);
/* Bytes of those that are not yet written. */
size_t tail_unwritten_bytes(const struct tail *self);
/* Apply must pause until flush_done: what is not written reached the limit. */
bool tail_is_full(const struct tail *self);
