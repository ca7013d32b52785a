/* etcdutl: what is done to files and data directories without a server. Its command tree and the
 * commands that etcdctl has not. */
#pragma once

#include "etcdctl/command.h"

extern const struct command etcdutl_root;

struct hashkv_options {
    int64_t revision;
};
extern const struct flag hashkv_flags[];
int etcdutl_run_hashkv(struct ctl *ctl, const void *options, struct strings args);

struct data_dir_options {
    const char *data_dir, *wal_dir;
    bool remove_store;
};
extern const struct flag export_flags[];
int etcdutl_run_export(struct ctl *ctl, const void *options, struct strings args);

/* A server still holds the data directory (etcd's own tool panics then). */
#define ETCDUTL_LOCKED 2

extern const struct flag defrag_flags[];
int etcdutl_run_defrag(struct ctl *ctl, const void *options, struct strings args);
/* Writes etcd's own store anew; returns an exit code. storage_version as in offline/rewrite.h. */
int etcdutl_rewrite(struct ctl *ctl, const char *data_dir, const char *storage_version);

struct migrate_options {
    const char *data_dir, *target;
    bool force;
};
extern const struct flag migrate_flags[];
int etcdutl_run_migrate(struct ctl *ctl, const void *options, struct strings args);

int etcdutl_run_version(struct ctl *ctl, const void *options, struct strings args);
