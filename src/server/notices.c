#include "server/notices.h"

#include "api/cluster.h"
#include "base/log.h"
#include "base/size.h"
#include "server/member_metrics.h"
#include "state/ids.h"

#include <stdio.h>

static const char *direction_text(enum peer_direction direction)
{
    return direction == PEER_RECEIVING ? "from the peer" : "to the peer";
}

static enum log_level level_of(enum peer_notice_kind kind)
{
    switch (kind) {
    case PEER_NOTICE_STREAM_UP:
    case PEER_NOTICE_ACTIVE:
    case PEER_NOTICE_SNAPSHOT_SENDING:
    case PEER_NOTICE_SNAPSHOT_SENT:
    case PEER_NOTICE_SNAPSHOT_RECEIVING:
    case PEER_NOTICE_SNAPSHOT_RECEIVED:
        return LOG_INFO;
    case PEER_NOTICE_CLUSTER_MISMATCH:
    case PEER_NOTICE_VERSION_MISMATCH:
    case PEER_NOTICE_REMOVED:
        return LOG_ERROR;
    case PEER_NOTICE_STREAM_DOWN:
    case PEER_NOTICE_INACTIVE:
    case PEER_NOTICE_UNREACHABLE:
    case PEER_NOTICE_BUFFER_FULL:
    case PEER_NOTICE_CLOCK:
    case PEER_NOTICE_REFUSED:
    case PEER_NOTICE_MALFORMED:
    case PEER_NOTICE_SNAPSHOT_NOT_SENT:
    case PEER_NOTICE_SNAPSHOT_NOT_RECEIVED:
    case PEER_NOTICE_URL_UNSUPPORTED:
        break;
    }
    return LOG_WARN;
}

void notice_peer(uint64_t member_id, uint64_t now_ms, const struct peer_notice *notice)
{
    enum log_level level = level_of(notice->kind);
    if (!log_enabled(level))
        return;
    struct log_field fields[14];
    unsigned count = 0;
    fields[count++] = LOG_HEX("local-member-id", member_id);
    if (notice->peer)
        fields[count++] = LOG_HEX("remote-peer-id", notice->peer);
    if (notice->way)
        fields[count++] = LOG_STR("way", notice->way);
    if (notice->kind == PEER_NOTICE_STREAM_UP || notice->kind == PEER_NOTICE_STREAM_DOWN ||
        notice->kind == PEER_NOTICE_INACTIVE)
        fields[count++] = LOG_STR("direction", direction_text(notice->direction));
    if (notice->since_ms && notice->since_ms <= now_ms)
        fields[count++] = LOG_NS("for", (int64_t)(now_ms - notice->since_ms) * 1000000);
    if (notice->kind == PEER_NOTICE_CLOCK) {
        fields[count++] = LOG_NS("clock-difference", notice->difference_ns);
        fields[count++] = LOG_NS("rtt", (int64_t)notice->round_trip_ns);
    }
    if (notice->kind == PEER_NOTICE_CLUSTER_MISMATCH)
        fields[count++] = LOG_HEX("remote-peer-cluster-id", notice->theirs);
    if (notice->index)
        fields[count++] = LOG_UINT("snapshot-index", notice->index);
    if (notice->bytes)
        fields[count++] = LOG_UINT("bytes", notice->bytes);
    if (notice->detail)
        fields[count++] = LOG_STR("detail", notice->detail);
    if (notice->error.code)
        fields[count++] = LOG_ERR(notice->error);
    log_line(level, NULL, __FILE__, __LINE__, peer_notice_text(notice->kind), fields, count);
}

void notice_start(const struct config *config, struct boot *boot)
{
    LOGI(boot->is_new ? "starting local member" : "restarting local member",
         LOG_HEX("local-member-id", boot->member_id), LOG_HEX("cluster-id", boot->cluster_id),
         LOG_UINT("commit-index", boot->start.hard_state.commit));
    if (boot->log_recovery.cut_bytes)
        LOGW("cut a torn end off the write-ahead log",
             LOG_UINT("bytes", boot->log_recovery.cut_bytes));
    if (boot->imported_from)
        LOGI("took over the store of another etcd", LOG_STR("path", boot->imported_from),
             LOG_UINT("index", boot->store_index));
    if (boot->installed_index)
        LOGI("applied snapshot", LOG_UINT("incoming-leader-snapshot-index", boot->installed_index));
    LOGI("starting etcd server", LOG_HEX("local-member-id", boot->member_id),
         LOG_STR("local-server-version", ETCD_VERSION),
         LOG_STR("cluster-version", "to_be_decided"));
    LOGI("now serving peer/client/metrics", LOG_HEX("local-member-id", boot->member_id),
         LOG_STR("listen-peer-urls", url_list_join(&boot->arena, &config->listen_peer_urls)),
         LOG_STR("advertise-client-urls",
                 url_list_join(&boot->arena, &config->advertise_client_urls)),
         LOG_STR("listen-client-urls", url_list_join(&boot->arena, &config->listen_client_urls)));
}

void notice_disk(enum core_notice kind, const struct revlog_fault *fault)
{
    switch (kind) {
    case CORE_LOG_FULL:
        LOGE("no room for the write-ahead log; writes of clients are refused until there is");
        return;
    case CORE_STORE_FULL:
        LOGE("no room for the store; writes of clients are refused until there is");
        return;
    case CORE_LOG_ROOM:
        LOGI("there is room for the write-ahead log again");
        return;
    case CORE_STORE_ROOM:
        LOGI("there is room for the store again");
        return;
    case CORE_STORE_FAULT:
        LOGE("bad bytes in the store; cleaning goes no further", LOG_STR("file", fault->file),
             LOG_UINT("offset", fault->offset), LOG_UINT("change", fault->seq));
        return;
    }
}

void notice_slow_call(const struct front_slow_call *call)
{
    char path[128], remote[IO_ADDRESS_TEXT_BYTES_MAX] = "";
    (void)snprintf(path, sizeof(path), "/%s/%s", call->service, call->method);
    if (call->remote)
        io_address_text(call->remote, remote);
    LOGW("request stats", LOG_NS("time spent", (int64_t)call->took_ns), LOG_STR("remote", remote),
         LOG_STR("response type", path), LOG_UINT("request size", call->request_bytes),
         LOG_UINT("code", call->code));
}

void notice_snapshot(uint64_t bytes, const char *version)
{
    char size[SIZE_TEXT_MAX];
    size_text(bytes, size);
    LOGI("sending database snapshot to client", LOG_UINT("total-bytes", bytes),
         LOG_STR("size", size), LOG_STR("storage-version", version));
}

void notice_slow_apply(uint64_t took_ns, uint64_t limit_ns, uint64_t index)
{
    char request[48];
    member_metrics_slow_apply();
    (void)snprintf(request, sizeof(request), "index:%llu", (unsigned long long)index);
    LOGW("apply request took too long", LOG_NS("took", (int64_t)took_ns),
         LOG_NS("expected-duration", (int64_t)limit_ns), LOG_STR("prefix", ""),
         LOG_STR("request", request));
}

void member_watch_init(struct member_watch *self, const struct config *config, uint64_t member_id,
                       uint64_t cluster_id)
{
    *self =
        (struct member_watch){.config = config, .member_id = member_id, .cluster_id = cluster_id};
}

static void watch_leader(struct member_watch *self, const struct replica_view *view)
{
    if (view->leader_id == self->leader_id && view->term == self->term)
        return;
    char own[ID_TEXT_MAX], old[ID_TEXT_MAX], leader[ID_TEXT_MAX], line[160];
    id_text(self->member_id, own);
    id_text(self->leader_id, old);
    id_text(view->leader_id, leader);
    if (view->leader_id && !self->leader_id)
        (void)snprintf(line, sizeof(line), "raft.node: %s elected leader %s at term %llu", own,
                       leader, (unsigned long long)view->term);
    else if (view->leader_id && view->leader_id != self->leader_id)
        (void)snprintf(line, sizeof(line),
                       "raft.node: %s changed leader from %s to %s at term %llu", own, old, leader,
                       (unsigned long long)view->term);
    else if (!view->leader_id && self->leader_id)
        (void)snprintf(line, sizeof(line), "raft.node: %s lost leader %s at term %llu", own, old,
                       (unsigned long long)view->term);
    else
        line[0] = '\0';
    if (line[0])
        log_line(LOG_INFO, "raft", __FILE__, __LINE__, line, NULL, 0);
    self->leader_id = view->leader_id;
    self->term = view->term;
}

static void watch_version(struct member_watch *self, const struct replica_view *view)
{
    if (cluster_version_compare(view->version, self->version) == 0)
        return;
    char text[CLUSTER_VERSION_TEXT_MAX];
    cluster_version_text(view->version, text);
    LOGI(self->version.major ? "updated cluster version" : "set initial cluster version",
         LOG_HEX("cluster-id", self->cluster_id), LOG_HEX("local-member-id", self->member_id),
         LOG_STR("cluster-version", text));
    LOGI("enabled capabilities for version", LOG_STR("cluster-version", text));
    self->version = view->version;
}

static void watch_corrupt(struct member_watch *self, const struct replica_view *view)
{
    bool corrupt = false;
    for (size_t i = 0; i < view->alarms->count; i++)
        corrupt |= view->alarms->items[i].type == ALARM_CORRUPT &&
                   view->alarms->items[i].member_id == self->member_id;
    if (corrupt && !self->corrupt)
        LOGE(
            "this member's data differ from those of the others; remove it from the cluster and "
            "add it anew with an empty data directory",
            LOG_HEX("local-member-id", self->member_id), LOG_STR("alarm", "CORRUPT"));
    self->corrupt = corrupt;
}

void member_watch_view(struct member_watch *self, const struct replica_view *view, uint64_t now_ms)
{
    watch_leader(self, view);
    watch_version(self, view);
    if (view->is_published && !self->published) {
        self->published = true;
        LOGI("published local member to cluster through raft",
             LOG_HEX("local-member-id", self->member_id), LOG_HEX("cluster-id", self->cluster_id));
    }
    watch_corrupt(self, view);
    if (view->disk_stalled != self->stalled) {
        self->stalled = view->disk_stalled;
        if (self->stalled)
            LOGW("the disk of the write-ahead log stalls; another member shall lead",
                 LOG_NS("expected-duration", (int64_t)self->config->election_timeout_ms * 1000000));
        else
            LOGI("the disk of the write-ahead log answers again");
    }
    if (!self->ready && replica_view_is_ready(view, now_ms)) {
        self->ready = true;
        LOGI("ready to serve client requests");
        for (size_t i = 0; i < self->config->listen_client_urls.count; i++)
            LOGI("serving client traffic insecurely; this is strongly discouraged!",
                 LOG_STR("traffic", "grpc+http"),
                 LOG_STR("address", self->config->listen_client_urls.items[i].host_port));
    }
}
