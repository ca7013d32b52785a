/* From settings and what lies in the data directory to a member that may start: ids, log, store,
 * state, as the table of starts (wal/start.h) decides.
 *
 *     DATA/member/wal         the write-ahead log (or --wal-dir)
 *     DATA/member/store/%016x the revision log, named by the applied index it began with
 *
 * Thread: the starting one.  Owns: what it opened, until boot_done. */
#pragma once

#include "base/epoch.h"
#include "io/worker.h"
#include "replica/replica.h"
#include "server/opened_store.h"
#include "stage/log.h"
#include "state/ids.h"

struct join_wire;

struct boot_config {
    const struct config *config;
    const struct io_fs *fs;
    struct epoch *epoch;
    struct io_workers *workers;
    bool may_ask;                      /* other members, before there is a log (server/join.h) */
    const struct join_wire *join_wire; /* how, where there is no network; NULL: over one */
    struct mailbox *log_completions;
    struct mailbox *store_completions;
    uint64_t seed;
    /* As the stages call it: must not return. */
    void (*fatal)(void *ctx, const char *what, const char *file, err e);
    void *fatal_ctx;
    /* As the stages' own configs have them; 0 and NULL: the usual ones. */
    uint64_t log_segment_bytes, store_segment_bytes, checkpoint_bytes;
    struct tail_limits tail;
    uint64_t (*now_ns)(void *ctx);
    void *now_ctx;
};

/* Entries that the replica begins with in memory. */
#define BOOT_ENTRIES_MAX 512

struct boot {
    uint64_t member_id, cluster_id;
    bool is_new;              /* made by this start */
    const char *made_dirs[3]; /* by this start too, parents first */
    unsigned made_count;
    struct membership *initial; /* of --initial-cluster, or of the cluster that is joined */
    struct stage_log *log;
    struct stage_log_recovery log_recovery;
    struct opened_store store;
    uint64_t store_index;      /* of its directory */
    uint64_t installed_index;  /* this start has gone on from a received store; 0: no */
    const char *imported_from; /* this start has taken over another etcd's store; NULL: no */
    struct replica_start start;
    struct raft_entry entries[BOOT_ENTRIES_MAX];
    struct io_loop *asking; /* NULL: nobody was asked */
    struct arena arena;     /* paths and reasons */
};

/* Fails: any; *ret_reason (arena) is for people, in etcd's words where etcd has some.
 * boot_done is to be called whatever the outcome. */
MUST err boot_open(struct boot *self, const struct boot_config *config, const char **ret_reason);
/* For stores that are built beside the one in use; index and suffix are the caller's. */
struct stage_build_config boot_build_config(struct boot *self, const struct boot_config *config);
/* The replica has begun: lets go of the entries that it began with, so that the log may let go of
 * the segments they lie in. */
void boot_handed_on(struct boot *self);
/* Gives back what was not handed on: after a failure all, after the replica took the state the
 * rest. Stages must have stopped. */
void boot_done(struct boot *self);
