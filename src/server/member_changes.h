/* The membership as people see it: each change is a line of the log, and metrics show who is known
 * and which version the cluster has.
 * Thread: the core's loop.  Source: etcd's interface, "Log lines" and metrics. */
#pragma once

#include "replica/view.h"

struct member_changes {
    uint64_t member_id, cluster_id;
    struct membership *seen;
};

/* known: what this member had applied when it started; copied. */
void member_changes_init(struct member_changes *self, uint64_t member_id, uint64_t cluster_id,
                         const struct membership *known);
void member_changes_done(struct member_changes *self);
/* What has changed since the last call. */
void member_changes_view(struct member_changes *self, const struct replica_view *view);
/* A promotion that this member judged as the leader has come to this end. */
void member_changes_promoted(err outcome);
