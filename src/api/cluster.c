#include "api/cluster.h"

#include "api/kv.h"
#include "etcdserverpb.pb-c.h"
#include "health.pb-c.h"
#include "wire/encode.h"

enum { FIELD_ALARM = 10 }; /* of InternalRaftRequest */

void cluster_set_header(struct request *request, Etcdserverpb__ResponseHeader *header,
                        int64_t revision)
{
    struct wire_header values = request_header(request, front_view(request->front), revision);
    etcdserverpb__response_header__init(header);
    header->cluster_id = values.cluster_id;
    header->member_id = values.member_id;
    header->revision = values.revision;
    header->raft_term = values.raft_term;
}

/* ── Status ─────────────────────────────────────────────────────────────────────────────────── */

static const char *alarm_name(enum alarm_type type)
{
    return type == ALARM_NOSPACE ? "NOSPACE" : type == ALARM_CORRUPT ? "CORRUPT" : "NONE";
}

void maintenance_status(struct request *request, const ProtobufCMessage *message)
{
    struct arena *arena = &request->arena;
    const struct replica_view *view = front_view(request->front);
    struct cluster_version target = view->members->downgrade_to;
    char storage[CLUSTER_VERSION_TEXT_MAX], target_text[CLUSTER_VERSION_TEXT_MAX];
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    Etcdserverpb__ResponseHeader header;
    cluster_set_header(request, &header, view->mvcc->revision);
    response.header = &header;
    response.version = ETCD_VERSION;
    response.dbsize = view->size_bytes;
    response.dbsizeinuse = view->size_in_use_bytes;
    response.dbsizequota = request->front->config.quota_bytes;
    response.leader = view->leader_id;
    response.raftindex = view->commit_index;
    response.raftappliedindex = view->applied_index;
    response.raftterm = view->term;
    response.islearner = view->is_learner;
    if (view->storage_version.major)
        response.storageversion = (char *)cluster_version_text(view->storage_version, storage);
    response.downgradeinfo = &downgrade;
    downgrade.enabled = target.major != 0;
    if (downgrade.enabled)
        downgrade.targetversion = (char *)cluster_version_text(target, target_text);
    response.errors = ARENA_ARRAY(arena, char *, 1 + view->alarms->count);
    if (view->leader_id == 0)
        response.errors[response.n_errors++] = (char *)err_text(ERR_NO_LEADER);
    for (size_t i = 0; i < view->alarms->count; i++)
        response.errors[response.n_errors++] = arena_printf(
            arena, "memberID:%llu alarm:%s ", (unsigned long long)view->alarms->items[i].member_id,
            alarm_name(view->alarms->items[i].type));
    request_answer_message(request, &response.base);
}

/* ── Alarms ─────────────────────────────────────────────────────────────────────────────────── */

static void answer_alarms(struct request *request, int64_t revision, const struct alarm *alarms,
                          size_t count)
{
    struct arena *arena = &request->arena;
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    cluster_set_header(request, &header, revision);
    response.header = &header;
    response.alarms = ARENA_ARRAY(arena, Etcdserverpb__AlarmMember *, count);
    for (size_t i = 0; i < count; i++) {
        Etcdserverpb__AlarmMember *to = ARENA_NEW(arena, Etcdserverpb__AlarmMember);
        etcdserverpb__alarm_member__init(to);
        to->memberid = alarms[i].member_id;
        to->alarm = (Etcdserverpb__AlarmType)alarms[i].type;
        response.alarms[response.n_alarms++] = to;
    }
    request_answer_message(request, &response.base);
}

static void alarm_changed(struct request *request, const struct replica_reply *reply)
{
    const struct state_result *result = &reply->result;
    if (result->error.code)
        request_fail(request, result->error);
    else
        answer_alarms(request, result->revision, result->alarms, result->alarm_count);
}

/* Those of the type asked for (NONE: of any), whosever they are. */
static void alarms_after_barrier(struct request *request, const struct replica_reply *reply)
{
    const Etcdserverpb__AlarmRequest *asked = (const void *)request->message;
    const struct replica_view *view = front_view(request->front);
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    struct alarm *found = ARENA_ARRAY(&request->arena, struct alarm, view->alarms->count);
    size_t count = 0;
    for (size_t i = 0; i < view->alarms->count; i++) {
        if ((int)asked->alarm == ALARM_NONE ||
            (int)asked->alarm == (int)view->alarms->items[i].type)
            found[count++] = view->alarms->items[i];
    }
    answer_alarms(request, view->mvcc->revision, found, count);
}

/* A read never becomes an entry. */
void maintenance_alarm(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__AlarmRequest *alarm = (const void *)message;
    if (alarm->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET)
        front_read_barrier(request->front, request, alarms_after_barrier);
    else
        kv_propose(request, FIELD_ALARM, alarm_changed);
}

/* ── grpc.health.v1 ─────────────────────────────────────────────────────────────────────────── */

void health_check(struct request *request, const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *check = (const void *)message;
    if (check->service[0]) {
        request_fail_text(request, GRPC_NOT_FOUND, BYTES_LIT("unknown service"));
        return;
    }
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    request_answer_message(request, &response.base);
}

void health_list(struct request *request, const ProtobufCMessage *message)
{
    Grpc__Health__V1__HealthCheckResponse status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    status.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    Grpc__Health__V1__HealthListResponse__StatusesEntry entry =
        GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
    entry.key = "";
    entry.value = &status;
    Grpc__Health__V1__HealthListResponse__StatusesEntry *entries[] = {&entry};
    Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    response.n_statuses = 1;
    response.statuses = entries;
    request_answer_message(request, &response.base);
}
