/* One member's disk: struct io_fs in memory, with all that a disk may do to us.
 *
 * A sector (512 bytes) is
 *     clean    what is read is on the device
 *     dirty    written, not yet synced: the device has what it had
 *     lost     a sync failed: it reads as written, the device never got it, nobody will try again
 * A name (create, rename, unlink, mkdir) waits in its directory until that is synced.
 *
 * When the power goes: of the dirty sectors of each file none, all, any, those written first or
 * those written last have reached the device (one write is so torn at sectors, several are kept
 * out of order); the size is the old or the new one; of each directory's waiting names the first
 * few are there. When only the process is killed everything stays as it was, dirty and lost too;
 * pages of lost sectors may have been evicted: then the device's bytes show.
 *
 * Mappings alias the file's bytes, as the system's do.
 *
 * A life is what one process sees. disk_end_life leaves the life's own table of calls working on a
 * dead copy, so that the process' memory can be torn down by the code that did not see its end.
 * Thread: one. */
#pragma once

#include "base/prng.h"
#include "io/file.h"

#define DISK_SECTOR_BYTES 512u

struct disk;

/* What a call that changes something meets. */
enum disk_fault {
    DISK_FINE,
    DISK_POWER_OFF, /* the call does not happen, on_fault does not return */
    DISK_KILL,
    DISK_ERROR, /* a write or sync fails */
};

struct disk_hooks {
    void *ctx;
    /* Before each call that changes something, is_sync: one that makes durable. */
    enum disk_fault (*before)(void *ctx, const char *call, const char *name, bool is_sync);
    /* DISK_POWER_OFF and DISK_KILL end here: must not return. */
    void (*on_end)(void *ctx, enum disk_fault how);
};

struct disk *disk_new(const struct disk_hooks *hooks, uint64_t seed);
void disk_free(struct disk *self);
/* Valid as long as the disk is. */
const struct io_fs *disk_fs(struct disk *self);

/* What is left when the power goes (or the process is killed). self is dead from now on: its calls
 * succeed and change nothing that anybody will see. The caller frees both. */
struct disk *disk_end_life(struct disk *self, bool power_off);
/* What would be left: self goes on by itself. */
struct disk *disk_copy_after(const struct disk *self, const struct disk_hooks *hooks, uint64_t seed,
                             bool power_off);
/* The same where nobody makes a call any more: the next life goes on with this one. */
void disk_end_life_here(struct disk *self, bool power_off);
/* There is no next life. */
void disk_die(struct disk *self);

/* What becomes of the dirty sectors of each file, and of how many of a folder's waiting names, when
 * the power goes next: decided, not drawn. */
enum disk_fate_kind {
    DISK_FATE_NONE,
    DISK_FATE_ALL,
    DISK_FATE_ANY,
    DISK_FATE_FIRST, /* written no later than the edge */
    DISK_FATE_LAST,
    DISK_FATE_COUNT
};
struct disk_fate {
    enum disk_fate_kind kind;
    unsigned edge_permille; /* between the first and the last write */
    unsigned names_permille;
};
void disk_set_fate(struct disk *self, const struct disk_fate *fate);

/* Bytes that files may take in all; 0: no bound. */
void disk_set_room(struct disk *self, uint64_t bytes);
uint64_t disk_used(struct disk *self);
/* Sectors that the last end of a life treated each way. */
struct disk_toll {
    uint64_t kept, dropped, reordered, names_lost, evicted;
};
struct disk_toll disk_toll(const struct disk *self);

/* Rot at rest: one bit, or a sector of one place written to another of the same file. Files whose
 * name ends in `suffix`; false where there is none with bytes in it. Of the places that a sector
 * may land in, those where bytes like its own were are the worst, and often taken. */
bool disk_flip_bit(struct disk *self, const char *suffix);
bool disk_misdirect(struct disk *self, const char *suffix);
/* Over all names and durable bytes, for the trace. */
uint64_t disk_hash(const struct disk *self);
