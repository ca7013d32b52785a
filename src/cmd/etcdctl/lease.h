/* The lease commands: their options and entries. */
#pragma once

#include "etcdctl/command.h"

struct lease_time_options {
    bool keys;
};
struct lease_keep_options {
    bool once;
};

extern const struct flag lease_time_flags[], lease_keep_flags[];

int command_run_lease_grant(struct ctl *ctl, const void *options, struct strings args);
int command_run_lease_revoke(struct ctl *ctl, const void *options, struct strings args);
int command_run_lease_time(struct ctl *ctl, const void *options, struct strings args);
int command_run_lease_list(struct ctl *ctl, const void *options, struct strings args);
int command_run_lease_keep(struct ctl *ctl, const void *options, struct strings args);
