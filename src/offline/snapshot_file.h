/* A file of etcd's store on the disk: a saved snapshot (the store and then its SHA-256), or the db
 * of a data directory. Never changed.
 *
 * Thread: any one.  Owns: the mapping.
 * Errors: *ret_reason, in the arena, is for people, in etcd's words where etcd has some. */
#pragma once

#include "base/arena.h"
#include "bolt/reader.h"
#include "state/snapshot.h"

struct snapshot_file {
    void *map;
    size_t map_bytes;
    uint64_t bytes; /* of the store, without a digest */
    bool has_digest;
    struct bolt_file bolt;
};

/* Opens the file and walks all of it.
 * Fails: ERR_NOT_FOUND, ERR_ACCESS, ERR_IO; ERR_CORRUPT where it is no store, or damaged. */
MUST err snapshot_file_open(struct snapshot_file *self, const char *path, struct arena *arena,
                            const char **ret_reason);
/* The same without the walk, for a file that was just written. */
MUST err snapshot_file_glance(struct snapshot_file *self, const char *path, struct arena *arena,
                              const char **ret_reason);
void snapshot_file_close(struct snapshot_file *self);
/* That the digest is there and right. Fails: ERR_MISMATCH. */
MUST err snapshot_file_verify(const struct snapshot_file *self, struct arena *arena,
                              const char **ret_reason);

struct snapshot_status {
    uint32_t hash;    /* over all buckets */
    int64_t revision; /* of the last change; 0: none */
    uint64_t keys;    /* that are live */
    uint64_t bytes;
    struct bytes version; /* of the storage; empty: not stored; lives as long as the file is open */
};
/* Fails: ERR_CORRUPT. */
MUST err snapshot_file_status(const struct snapshot_file *self, struct snapshot_status *ret_status,
                              const char **ret_reason);

/* The last change's alone; safe after a glance. 0: none. Fails: ERR_CORRUPT. */
MUST err snapshot_file_revision(const struct snapshot_file *self, int64_t *ret_revision);

struct snapshot_hashkv {
    uint32_t hash;
    int64_t revision;
    int64_t compact_revision;
};
/* HashKV as a member with this store answers it; revision 0: the last one.
 * Fails: ERR_COMPACTED, ERR_FUTURE_REV, ERR_CORRUPT. */
MUST err snapshot_file_hashkv(const struct snapshot_file *self, int64_t revision,
                              struct snapshot_hashkv *ret_hash, const char **ret_reason);
