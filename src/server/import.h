/* A data directory of another etcd: its store, DATA/member/snap/db, is taken over into a store of
 * ours; its write-ahead log goes on as it is. Where that etcd ran on the directory after us, its
 * store is the newer one: it is taken over again, and ours is kept aside.
 *
 *     snap/db               its index is above our store's (or we have none): staged, then named
 *     snap/%016x.snap.db    instead, where the log has that snapshot's record and db is older
 *     store/%016x/imported  in the result: which index it came with. That etcd applies entries
 *                           before its log has them durably, so just this frame may lie beyond the
 *                           log's end
 *
 * Members, and with them raft's configuration, are those of the file's bucket; a term that the file
 * lacks (etcd 3.4) is the log's.
 *
 * Thread: the starting one. */
#pragma once

#include "server/staged_store.h"
#include "stage/log.h"

struct import {
    const struct stage_build_config *build; /* index and suffix are set here */
    const struct config *config;
    const char *snap_dir; /* DATA/member/snap */
    const struct stage_log *log;
    const struct stage_log_recovery *recovery; /* of the log */
    bool has_store;
    uint64_t store_index; /* of its directory */
    uint64_t frame_index; /* of its newest frame */
    struct arena *arena;
};

/* *ret_index: of the store that is to be opened now; 0 where there is nothing to take over.
 * *ret_path: the file that it came from. Our own store must be closed before import_name. Fails:
 * ERR_CORRUPT, ERR_DISK_FULL, ERR_ACCESS, ERR_IO, with *ret_reason. */
MUST err import_stage(const struct import *self, uint64_t *ret_index, const char **ret_path,
                      const char **ret_reason);
/* Gives what import_stage has staged its name, our own store aside. Fails: ERR_IO. */
MUST err import_name(const struct import *self, uint64_t index);
/* Whether the store in this directory was taken over with just this frame. */
bool import_is_frame(const struct io_fs *fs, const char *parent, uint64_t store_index,
                     uint64_t frame_index);
