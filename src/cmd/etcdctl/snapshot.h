/* snapshot save, status, restore; the latter two are etcdutl's as well. */
#pragma once

#include "etcdctl/command.h"
#include "offline/restore.h"

int command_run_snapshot_save(struct ctl *ctl, const void *options, struct strings args);

int command_run_snapshot_status(struct ctl *ctl, const void *options, struct strings args);

struct snapshot_restore_options {
    const char *name, *data_dir, *wal_dir, *initial_cluster, *initial_cluster_token,
        *advertise_peer_urls;
    bool skip_hash_check, mark_compacted, for_etcd;
    int64_t bump_revision;
    int64_t initial_memory_map_size; /* accepted: nothing is mapped ahead */
};
extern const struct flag snapshot_restore_flags[];
int command_run_snapshot_restore(struct ctl *ctl, const void *options, struct strings args);

/* The same with what the host knows of its member. */
struct restore_command_options {
    const char *backup_dir, *data_dir, *wal_dir, *name, *initial_cluster, *token,
        *advertise_peer_urls, *settings;
    bool skip_hash_check;
};
extern const struct flag restore_flags[];
int command_run_restore(struct ctl *ctl, const void *options, struct strings args);
