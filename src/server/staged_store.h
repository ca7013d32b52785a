/* A store staged out of a file of etcd's store (a received snapshot, another etcd's snap/db): built
 * beside the store in use, whole and synced, and opened once to see that a start will take it.
 *
 *     file ─ checked ─> stage/store_build ─> %016x.staged ─ opened and closed ─>
 *
 * A received state without sockets (a simulator): snapshot_source_new on a view, measure and read
 * it to the end; at the other end staged_store_make with the message's index, then
 * replica_step_snapshot; where it says no, stage_store_remove. core_config.installed ends that
 * life, and boot_open begins the next one on the same disk. A crash may come between any two of
 * these, and inside each file call.
 *
 * Thread: any, for as long as it takes; it touches nothing of a running store. */
#pragma once

#include "raft/types.h"
#include "server/opened_store.h"
#include "stage/store_build.h"

struct staged_store {
    struct stage_build_config build; /* parent, index, owner and the like; suffix is set here */
    const struct config *config;
    uint64_t term; /* of the entry with that index */
    const struct raft_conf_state *conf;
    /* A MsgSnap's data: what counts about members where the file names no storage version, so that
     * it comes of a member up to 3.5; else, and where it is empty, the file does. */
    struct bytes v2_store;
};

/* The file may be anything. *ret_reason, in the arena, is for people.
 * Fails: ERR_CORRUPT what is in the file is no store of etcd, or of a later index; ERR_DISK_FULL;
 * ERR_CANCELED; ERR_IO. Nothing is left then. */
MUST err staged_store_make(const struct staged_store *self, struct bytes file, struct arena *arena,
                           const char **ret_reason);
/* Maps a file for it; unmapped with io_unmap. Fails: ERR_CORRUPT an empty one; ERR_NOT_FOUND,
 * ERR_ACCESS, ERR_IO. */
MUST err staged_file_map(const struct io_fs *fs, const char *path, struct bytes *ret_bytes);
