/* watch, lock, elect and make-mirror: their options and entries. */
#pragma once

#include "etcdctl/command.h"

struct watch_options {
    bool interactive, prefix, prev_kv, progress_notify;
    int64_t revision;
};
struct lock_options {
    int64_t ttl;
};
struct elect_options {
    bool listen;
};

struct mirror_options {
    const char *prefix, *dest_prefix;
    int64_t revision, txn_ops_max;
    bool no_dest_prefix, insecure_transport;
    const char *cert, *key, *cacert, *user, *password; /* of the destination */
};

extern const struct flag watch_flags[], lock_flags[], elect_flags[], mirror_flags[];

int command_run_watch(struct ctl *ctl, const void *options, struct strings args);
int command_run_lock(struct ctl *ctl, const void *options, struct strings args);
int command_run_mirror(struct ctl *ctl, const void *options, struct strings args);
int command_run_elect(struct ctl *ctl, const void *options, struct strings args);
