/* The other commands: their options and entries. */
#pragma once

#include "etcdctl/command.h"

struct txn_options {
    bool interactive;
};
struct compaction_options {
    bool physical;
};
struct member_list_options {
    const char *consistency;
};
/* Those of the group and of each of its children. */
struct endpoint_options {
    bool cluster;
    int64_t revision;
};
struct member_change_options {
    const char *peer_urls;
    bool learner;
};
struct health_v2_options {
    bool forever;
};

extern const struct flag txn_flags[], compaction_flags[], member_list_flags[];
extern const struct flag member_add_flags[], member_update_flags[], defrag_flags[];
extern const struct flag endpoint_flags[], endpoint_hashkv_flags[], cluster_health_flags[];

int command_run_txn(struct ctl *ctl, const void *options, struct strings args);
int command_run_compaction(struct ctl *ctl, const void *options, struct strings args);
int command_run_member_list(struct ctl *ctl, const void *options, struct strings args);
int command_run_member_add(struct ctl *ctl, const void *options, struct strings args);
int command_run_member_remove(struct ctl *ctl, const void *options, struct strings args);
int command_run_member_update(struct ctl *ctl, const void *options, struct strings args);
int command_run_member_promote(struct ctl *ctl, const void *options, struct strings args);
int command_run_alarm_list(struct ctl *ctl, const void *options, struct strings args);
int command_run_alarm_disarm(struct ctl *ctl, const void *options, struct strings args);
int command_run_defrag(struct ctl *ctl, const void *options, struct strings args);
int command_run_move_leader(struct ctl *ctl, const void *options, struct strings args);
int command_run_downgrade_validate(struct ctl *ctl, const void *options, struct strings args);
int command_run_downgrade_enable(struct ctl *ctl, const void *options, struct strings args);
int command_run_downgrade_cancel(struct ctl *ctl, const void *options, struct strings args);
int command_run_endpoint_health(struct ctl *ctl, const void *options, struct strings args);
int command_run_endpoint_status(struct ctl *ctl, const void *options, struct strings args);
int command_run_endpoint_hashkv(struct ctl *ctl, const void *options, struct strings args);
int command_run_cluster_health(struct ctl *ctl, const void *options, struct strings args);
int command_run_version(struct ctl *ctl, const void *options, struct strings args);
