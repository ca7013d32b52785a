/* backup of the v2 tool: works on files, asks no server. */
#pragma once

#include "etcdctl/v2.h"

struct v2_backup_options {
    const char *data_dir, *wal_dir, *backup_dir, *backup_wal_dir;
    bool with_v3;
};
extern const struct flag v2_backup_flags[];
int v2_run_backup(struct v2 *self, const void *options, struct strings args);
