/* A disk in memory that can lose its power: the table of file calls over it, and what is left
 * when the power goes at a chosen call.
 *
 * What survives a cut: of each file what was synced, and of the rest each 512-byte sector either
 * as it was or as it was last written; of the size likewise. Of the names all up to the last
 * sync_dir, and of those behind it the first few. Which, a seed decides. One cut in four is only
 * the process's end: everything stays as it was, what is synced and what is not, for a later cut.
 *
 * The life under test goes on after the cut as if nothing had happened; only the copy made at the
 * cut knows. So nothing needs to be torn down in the middle.
 * Thread: one at a time. */
#pragma once

#include "base/prng.h"
#include "io/file.h"

struct memory_disk;

struct memory_disk *memory_disk_new(void);
void memory_disk_free(struct memory_disk *self);
/* Valid as long as the disk is. */
struct io_fs memory_disk_fs(struct memory_disk *self);
/* A directory "/name" that is durable. */
void memory_disk_mkdir(struct memory_disk *self, const char *name);
/* Calls so far that change something. */
uint64_t memory_disk_calls(const struct memory_disk *self);
/* Before that call from now on (0: the next one) the power goes: on_cut is called with a disk
 * that holds what is left; the callee owns it. */
void memory_disk_cut_at(struct memory_disk *self, uint64_t calls, uint64_t seed,
                        void (*on_cut)(void *ctx, struct memory_disk *left), void *ctx);
