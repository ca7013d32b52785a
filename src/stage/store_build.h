/* Builds a store's directory out of a file of etcd's store: for a snapshot that was restored or
 * received, and for a data directory of etcd.
 *
 *     begin ──load──> (changes of the caller's own: mvcc/store_import.h) ──end──> PARENT/%016x
 *
 * What is being built lies in PARENT/%016x.new; end writes a checkpoint, syncs all and gives it its
 * name, so that a store with a name is whole. Nothing else runs on it: no thread is started.
 *
 * Thread: any one, which may block for long.  Owns: the unfinished directory, removed by free.
 * Memory: the key index of the store that is built, and at most 8 MiB of changes. */
#pragma once

#include "bolt/reader.h"
#include "mvcc/store_import.h"
#include "stage/store.h"

#include <stdatomic.h>

struct stage_build;

struct stage_build_config {
    const struct io_fs *fs;
    const char *parent;          /* exists; copied */
    uint64_t index;              /* applied: the directory's name, */
    const char *suffix;          /* and what follows (stage/store.h), as ".staged"; NULL: nothing */
    const atomic_bool *given_up; /* set elsewhere: load ends with ERR_CANCELED; may be NULL */
    struct segment_owner owner;
    uint64_t seed; /* random */
    /* As stage_store_config's: for a write or sync that failed. */
    void (*fatal)(void *ctx, const char *what, const char *file, err e);
    void *fatal_ctx;
};

/* Removes what an earlier build to this index left unfinished. Fails: ERR_IO, ERR_ACCESS,
 * ERR_DISK_FULL. */
MUST err stage_build_begin(const struct stage_build_config *config, struct stage_build **ret_build);
/* Everything in the file, which has passed bolt_file_check.
 * Fails: ERR_CORRUPT with *fault; ERR_DISK_FULL; ERR_CANCELED. */
MUST err stage_build_load(struct stage_build *self, const struct bolt_file *file,
                          bool without_members, struct bolt_fault *fault);
/* For what the caller imports itself. */
struct mvcc_store *stage_build_store(struct stage_build *self);
/* Closes all by a frame; conf_state is raftpb.ConfState's bytes.
 * Fails: ERR_CORRUPT, ERR_DISK_FULL, ERR_IO (also where the name is taken). */
MUST err stage_build_end(struct stage_build *self, uint64_t term, struct bytes conf_state);
/* NULL is legal. */
void stage_build_free(struct stage_build *self);
