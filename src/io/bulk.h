/* Much to write, or much room to give back, on a disk that somebody's log shares.
 *
 * What it protects: the log's fdatasync, which waits behind all that the disk was given before, no
 * matter by whom. Two things stretch it, by measurement (a virtual disk of 1 to 2 GB/s, ext4 with
 * online discard; beside it 2,000 writes of 512 bytes a second, each of them synced):
 *
 *     written at full speed, 8 MiB in flight           p99 0.4 ms ─> 60 ms and beyond
 *     the same in pieces of 256 KiB, two in flight     p99 1.4 ms
 *     128 MiB of room given back by one unlink         p99 0.3 ms ─> 18 to 60 ms
 *     the same in pieces of 1 MiB, a sync behind each  p99 0.9 ms
 *
 * Room is given back by unlinking a file, replacing it by a rename, or cutting it: the filesystem
 * frees and discards all of it behind one commit of its journal, and nothing else gets to the disk
 * meanwhile. Whoever discards in the background only loses a sync a MiB.
 *
 * Limits: it makes work small, not slow; who has more to do rests in between by itself.
 * Thread: any; a call blocks as long as the disk does. */
#pragma once

#include "io/file.h"

#define IO_BULK_PIECE_BYTES ((uint64_t)256 << 10)
#define IO_BULK_ROOM_BYTES  ((uint64_t)1 << 20)

/* A file that is written from its begin to its end. `file` is the owner's. */
struct io_bulk {
    int file;
    bool forget;      /* the cache is not to keep what is on the disk */
    uint64_t started; /* up to here write-back was asked for, */
    uint64_t waited;  /* and up to here waited for */
};

/* Writes `what` at offset. Each piece is sent on its way once it is full, when the one before has
 * arrived. Nothing is durable by that. Fails: as io_write. */
MUST err io_bulk_write(const struct io_fs *fs, struct io_bulk *self, struct bytes what,
                       uint64_t offset);

/* Gives back one piece of the room of a file that has been unlinked, durably: else a crash could
 * leave the name and no bytes. False: so little is left that closing does it, the file has another
 * name, or the disk refuses; no bytes that anybody wants depend on it. */
bool io_bulk_give_back_some(const struct io_fs *fs, int file);
/* All of it, and closes the file. */
void io_bulk_give_back(const struct io_fs *fs, int file);
