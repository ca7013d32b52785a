/* A store without files: the segments of a revision log on the heap, through the same formats.
 * For tests of what stands above the log, and for tools that build a store in memory.
 * Thread: one, that of the core.
 * Owns: the bytes of the segments it made; they live until the segments are released. */
#pragma once

#include "mvcc/frame.h"
#include "mvcc/revlog.h"

struct revlog_memory;

/* epoch, log and tail are borrowed and outlive it; segments hold segment_bytes each. */
struct revlog_memory *revlog_memory_new(struct epoch *epoch, struct revlog *log, struct tail *tail,
                                        size_t segment_bytes);
/* Before revlog_free. NULL is legal. */
void revlog_memory_free(struct revlog_memory *self);
/* Writes all changes of the tail up to frame->seq, then the frame; trims the tail. Does at once
 * what the store thread does on its own time. */
void revlog_memory_flush(struct revlog_memory *self, const struct mvcc_frame *frame);
/* Seals the segment that is written to; the next flush begins a new one. False where it is empty.
 */
bool revlog_memory_seal(struct revlog_memory *self);
/* Rewrites the sealed segments without what is dead (tombstones too), as one. False where none
 * is sealed. */
bool revlog_memory_clean(struct revlog_memory *self);
