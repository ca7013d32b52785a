#include "state/op_metrics.h"

#include "base/check.h"
#include "state/state_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* X(field of InternalRaftRequest, what etcd calls it), those first that are applied first. Asking
 * for the status of auth is unknown to etcd's table too. */
#define NAMES(X)                                               \
    X(cluster_version_set, "ClusterVersionSet")                \
    X(cluster_member_attr_set, "ClusterMemberAttrSet")         \
    X(downgrade_info_set, "DowngradeInfoSet")                  \
    X(put, "Put")                                              \
    X(txn, "Txn")                                              \
    X(delete_range, "DeleteRange")                             \
    X(compaction, "Compaction")                                \
    X(lease_grant, "LeaseGrant")                               \
    X(lease_revoke, "LeaseRevoke")                             \
    X(lease_checkpoint, "LeaseCheckpoint")                     \
    X(alarm, "Alarm")                                          \
    X(auth_enable, "AuthEnable")                               \
    X(auth_disable, "AuthDisable")                             \
    X(authenticate, "Authenticate")                            \
    X(auth_user_add, "AuthUserAdd")                            \
    X(auth_user_delete, "AuthUserDelete")                      \
    X(auth_user_change_password, "AuthUserChangePassword")     \
    X(auth_user_grant_role, "AuthUserGrantRole")               \
    X(auth_user_get, "AuthUserGet")                            \
    X(auth_user_revoke_role, "AuthUserRevokeRole")             \
    X(auth_role_add, "AuthRoleAdd")                            \
    X(auth_role_grant_permission, "AuthRoleGrantPermission")   \
    X(auth_role_get, "AuthRoleGet")                            \
    X(auth_role_revoke_permission, "AuthRoleRevokePermission") \
    X(auth_role_delete, "AuthRoleDelete")                      \
    X(auth_user_list, "AuthUserList")                          \
    X(auth_role_list, "AuthRoleList")

enum name {
#define X(field, text) NAME_##field,
    NAMES(X)
#undef X
        NAME_UNKNOWN,
    NAME_COUNT,
};

static enum name name_of(const Etcdserverpb__InternalRaftRequest *request)
{
#define X(field, text)  \
    if (request->field) \
        return NAME_##field;
    NAMES(X)
#undef X
    return NAME_UNKNOWN;
}

/* A series begins with its first observation, as it does in etcd. */
static void series_begin(struct metric *metric, enum name name, bool succeeded)
{
    static const char *const texts[] = {
#define X(field, text) [NAME_##field] = text,
        NAMES(X)
#undef X
            [NAME_UNKNOWN] = "unknown"};
    char *labels;
    int n = asprintf(&labels, "op=\"%s\",success=\"%s\",version=\"v3\"", texts[name],
                     succeeded ? "true" : "false");
    CHECK(n > 0);
    *metric = (struct metric){.name = "etcd_server_apply_duration_seconds",
                              .help = "Time that applying a request took.",
                              .kind = METRIC_HISTOGRAM,
                              .labels = labels, /* for ever */
                              .bucket_start = 0.0001,
                              .bucket_factor = 2,
                              .bucket_count = 20};
    metric_register(metric);
}

void state_metrics_applied(const struct state *state, uint64_t took_ns)
{
    static struct metric took[NAME_COUNT][2];
    if (!state->request || state->v2)
        return; /* an empty entry, or one of another time */
    enum name name = name_of(state->request);
    err e = state->result.error;
    bool succeeded = err_ok(e) || err_is(e, ERR_COMPACTED);
    struct metric *metric = &took[name][succeeded];
    if (!metric->name)
        series_begin(metric, name, succeeded);
    metric_observe_ns(metric, took_ns);
}
