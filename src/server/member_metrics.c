#include "server/member_metrics.h"

#include "api/cluster.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "state/ids.h"
#include "state/op_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* X(field, name, help, value read from `view`) */
#define VIEW_GAUGES(X)                                                                             \
    X(has_leader, "etcd_server_has_leader", "Whether a leader is known.", view->leader_id != 0)    \
    X(is_leader, "etcd_server_is_leader", "Whether this member leads.",                            \
      view->leader_id == view->member_id)                                                          \
    X(is_learner, "etcd_server_is_learner", "Whether this member is a learner.", view->is_learner) \
    X(committed, "etcd_server_proposals_committed_total", "Index of the last commit.",             \
      (int64_t)view->commit_index)                                                                 \
    X(applied, "etcd_server_proposals_applied_total", "Index of the last entry applied.",          \
      (int64_t)view->applied_index)                                                                \
    X(pending, "etcd_server_proposals_pending", "Proposals that wait for their outcome.",          \
      view->proposals_pending)                                                                     \
    X(size, "etcd_mvcc_db_total_size_in_bytes", "Size of the store.", view->size_bytes)            \
    X(in_use, "etcd_mvcc_db_total_size_in_use_in_bytes", "Of it in use.", view->size_in_use_bytes) \
    X(revision, "etcd_debugging_mvcc_current_revision", "Current revision.", view->mvcc->revision) \
    X(compacted, "etcd_debugging_mvcc_compact_revision", "Compacted revision.",                    \
      view->mvcc->compact_revision)                                                                \
    X(keys, "etcd_debugging_mvcc_keys_total", "Keys there are.",                                   \
      (int64_t)mvcc_root_count(view->mvcc->root, &all_keys))                                       \
    X(open_reads, "etcd_mvcc_db_open_read_transactions",                                           \
      "Lists, snapshots, hashes and watches that hold on to a state of the store.",                \
      mvcc_pins_count(store_pins))                                                                 \
    X(compacted_at, "etcd_debugging_mvcc_db_compaction_last",                                      \
      "When the last compaction ended, in seconds since 1970.",                                    \
      wall_s_of(view->compaction_done_ms))

/* The same, since the start. */
#define VIEW_COUNTERS(X)                                                                        \
    X(failed, "etcd_server_proposals_failed_total", "Proposals that failed.",                   \
      (int64_t)view->proposals_failed)                                                          \
    X(leader_changes, "etcd_server_leader_changes_seen_total",                                  \
      "Changes of leader that were seen.", view->leader_changes)                                \
    X(heartbeats_late, "etcd_server_heartbeat_send_failures_total",                             \
      "Heartbeats that left later than two intervals after the one before.",                    \
      view->heartbeats_late)                                                                    \
    X(reads_failed, "etcd_server_read_indexes_failed_total", "Barriers of reads that failed.",  \
      view->reads_failed)                                                                       \
    X(reads_slow, "etcd_server_slow_read_indexes_total",                                        \
      "Rounds of barriers that were answered too late, or never.", view->reads_slow)            \
    X(lease_granted, "etcd_debugging_lease_granted_total", "Leases granted.",                   \
      (int64_t)view->leases_granted)                                                            \
    X(lease_revoked, "etcd_debugging_lease_revoked_total", "Leases revoked.",                   \
      (int64_t)view->leases_revoked)                                                            \
    X(lease_renewed, "etcd_debugging_lease_renewed_total", "Leases kept alive, by the leader.", \
      (int64_t)view->leases_renewed)                                                            \
    X(lease_expired, "etcd_debugging_server_lease_expired_total", "Leases that ended in time.", \
      (int64_t)view->leases_expired)                                                            \
    X(compacted_keys, "etcd_debugging_mvcc_db_compaction_keys_total",                           \
      "Changes that compactions let go.", (int64_t)view->compacted_count)

#define X(field, name_, help_, value) \
    static struct metric field = {.name = name_, .help = help_, .kind = METRIC_GAUGE};
VIEW_GAUGES(X)
#undef X
#define X(field, name_, help_, value) \
    static struct metric field = {.name = name_, .help = help_, .kind = METRIC_COUNTER};
VIEW_COUNTERS(X)
#undef X

/* 0 stays 0: it has not been. */
static int64_t wall_s_of(uint64_t mono_ms)
{
    if (mono_ms == 0)
        return 0;
    uint64_t ago_ms = clock_mono_ns() / 1000000 - mono_ms;
    return (int64_t)((clock_wall_ns() / 1000000 - ago_ms) / 1000);
}

static struct metric quota = {
    .name = "etcd_server_quota_backend_bytes", .help = "Quota of the store.", .kind = METRIC_GAUGE};
static struct metric version = {.name = "etcd_server_version",
                                .help = "Version of the server.",
                                .kind = METRIC_GAUGE,
                                .labels = "server_version=\"" ETCD_VERSION "\""};
/* etcd's names the Go that it was built with. There is none here; tables that ask get this. */
static struct metric runtime = {.name = "etcd_server_go_version",
                                .help = "No Go is in this server: the language it is written in.",
                                .kind = METRIC_GAUGE,
                                .labels = "server_go_version=\"none, C (gnu17)\""};
static struct metric id = {
    .name = "etcd_server_id", .help = "Id of the member.", .kind = METRIC_GAUGE};
static struct metric fds = {
    .name = "process_open_fds", .help = "Open file descriptors.", .kind = METRIC_GAUGE};
static struct metric fd_limit = {
    .name = "process_max_fds", .help = "Most file descriptors.", .kind = METRIC_GAUGE};
static struct metric os_fds = {
    .name = "os_fd_used", .help = "Open file descriptors.", .kind = METRIC_GAUGE};
static struct metric os_fd_limit = {
    .name = "os_fd_limit", .help = "Most file descriptors.", .kind = METRIC_GAUGE};
static struct metric resident = {
    .name = "process_resident_memory_bytes", .help = "Resident memory.", .kind = METRIC_GAUGE};
static struct metric virtual_memory = {
    .name = "process_virtual_memory_bytes", .help = "Virtual memory.", .kind = METRIC_GAUGE};
static struct metric virtual_limit = {.name = "process_virtual_memory_max_bytes",
                                      .help = "Most virtual memory, 2^64: as much as there is.",
                                      .kind = METRIC_GAUGE,
                                      .scale = 4};
static struct metric network_received = {.name = "process_network_receive_bytes_total",
                                         .help = "Bytes that this host received over IP.",
                                         .kind = METRIC_COUNTER};
static struct metric network_sent = {.name = "process_network_transmit_bytes_total",
                                     .help = "Bytes that this host sent over IP.",
                                     .kind = METRIC_COUNTER};
static struct metric cpu = {.name = "process_cpu_seconds_total",
                            .help = "CPU time used.",
                            .kind = METRIC_COUNTER,
                            .scale = 1e-6};
static struct metric started = {.name = "process_start_time_seconds",
                                .help = "When the process began, in seconds since 1970.",
                                .kind = METRIC_GAUGE};

static const struct mvcc_pins *store_pins;
static const struct mvcc_span all_keys = {.kind = MVCC_SPAN_FROM};

/* Of the network namespace, as Prometheus' own collector of processes has it: two lines beginning
 * with "IpExt:", the names of the columns and then their values. */
static void collect_network(void)
{
    static const struct {
        const char *name;
        struct metric *metric;
    } columns[] = {{"InOctets", &network_received}, {"OutOctets", &network_sent}};
    char names[4096], values[4096];
    FILE *file = fopen("/proc/self/net/netstat", "re");
    if (!file)
        return;
    while (fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
        if (strncmp(names, "IpExt:", 6) != 0)
            continue;
        char *name_rest, *value_rest;
        char *name = strtok_r(names, " \n", &name_rest);
        char *value = strtok_r(values, " \n", &value_rest);
        while (name && value) {
            for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
                if (strcmp(name, columns[i].name) == 0)
                    metric_set(columns[i].metric, strtoll(value, NULL, 10));
            name = strtok_r(NULL, " \n", &name_rest);
            value = strtok_r(NULL, " \n", &value_rest);
        }
    }
    (void)fclose(file);
}

static void collect_process(void)
{
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(&cpu, (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                             usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        metric_set(&fd_limit, (int64_t)limit.rlim_cur);
        metric_set(&os_fd_limit, (int64_t)limit.rlim_cur);
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0)
        metric_set(&virtual_limit, limit.rlim_cur == RLIM_INFINITY ? INT64_C(1) << 62
                                                                   : (int64_t)(limit.rlim_cur / 4));
    collect_network();
    unsigned long pages = 0, resident_pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    char text[128];
    if (file && fgets(text, sizeof(text), file)) {
        char *end;
        pages = strtoul(text, &end, 10);
        resident_pages = strtoul(end, NULL, 10);
    }
    if (file)
        (void)fclose(file);
    metric_set(&virtual_memory, (int64_t)pages * sysconf(_SC_PAGESIZE));
    metric_set(&resident, (int64_t)resident_pages * sysconf(_SC_PAGESIZE));
    int64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        (void)closedir(dir);
    metric_set(&fds, count - 3); /* ., .. and the one that lists */
    metric_set(&os_fds, count - 3);
}

/* The core's counters are read as it left them: each is one word, and a metric may be a pass old.
 */
static void collect(void *ctx)
{
    const struct replica *replica = ctx;
    const struct replica_view *view = replica_view_get(replica);
#define X(field, name_, help_, value) metric_set(&field, (value));
    VIEW_GAUGES(X)
    VIEW_COUNTERS(X)
#undef X
    collect_process();
}

static struct metric slow_applies = {.name = "etcd_server_slow_apply_total",
                                     .help = "Passes and entries that took long to apply.",
                                     .kind = METRIC_COUNTER};

void member_metrics_slow_apply(void)
{
    metric_add(&slow_applies, 1);
}

static void init_features(const struct config *config)
{
    static struct metric features[GATE_COUNT];
    if (features[0].name)
        return; /* another life with the same settings */
    for (unsigned g = 0; g < GATE_COUNT; g++) {
        char *label;
        int n =
            asprintf(&label, "name=\"%s\",stage=\"%s\"", config_gate_name(g), config_gate_stage(g));
        CHECK(n > 0);
        features[g] = (struct metric){.name = "etcd_server_feature_enabled",
                                      .help = "Whether a feature gate is on.",
                                      .kind = METRIC_GAUGE,
                                      .labels = label}; /* for ever */
        metric_register(&features[g]);
        metric_set(&features[g], config->feature_gates.on[g]);
    }
}

/* One gauge for each alarm that was ever raised here, of however many members. */
static struct alarm_gauge {
    struct metric metric;
    struct alarm alarm;
} * alarm_gauges[2 * MEMBERS_MAX];
static unsigned alarm_gauge_count;

static struct alarm_gauge *alarm_gauge_of(const struct alarm *alarm)
{
    for (unsigned i = 0; i < alarm_gauge_count; i++)
        if (alarm_gauges[i]->alarm.member_id == alarm->member_id &&
            alarm_gauges[i]->alarm.type == alarm->type)
            return alarm_gauges[i];
    if (alarm_gauge_count == sizeof(alarm_gauges) / sizeof(alarm_gauges[0]))
        return NULL;
    char text[ID_TEXT_MAX], *label;
    struct alarm_gauge *gauge = calloc(1, sizeof(*gauge));
    CHECK(gauge);
    int n = asprintf(&label, "alarm_type=\"%s\",server_id=\"%s\"",
                     alarm->type == ALARM_NOSPACE ? "NOSPACE" : "CORRUPT",
                     id_text(alarm->member_id, text));
    CHECK(n > 0);
    *gauge = (struct alarm_gauge){.metric = {.name = "etcd_debugging_server_alarms",
                                             .help = "Alarms that are raised.",
                                             .kind = METRIC_GAUGE,
                                             .labels = label},
                                  .alarm = *alarm};
    metric_register(&gauge->metric);
    alarm_gauges[alarm_gauge_count++] = gauge;
    return gauge;
}

void member_metrics_alarms(const struct alarms *alarms)
{
    if (alarm_gauge_count == 0 && alarms->count == 0)
        return;
    for (unsigned i = 0; i < alarm_gauge_count; i++)
        metric_set(&alarm_gauges[i]->metric, 0);
    for (size_t i = 0; i < alarms->count; i++) {
        struct alarm_gauge *gauge = alarm_gauge_of(&alarms->items[i]);
        if (gauge)
            metric_set(&gauge->metric, 1);
    }
}

void member_metrics_init(const struct config *config, const struct replica *replica,
                         const struct mvcc_pins *pins, uint64_t member_id)
{
    char text[ID_TEXT_MAX];
    static char label[sizeof("server_id=\"\"") + ID_TEXT_MAX];
    (void)snprintf(label, sizeof(label), "server_id=\"%s\"", id_text(member_id, text));
    id.labels = label;
    store_pins = pins;
#define X(field, name_, help_, value) metric_register(&field);
    VIEW_GAUGES(X)
    VIEW_COUNTERS(X)
#undef X
    struct metric *others[] = {&quota,    &version,        &runtime,       &id,
                               &fds,      &fd_limit,       &os_fds,        &os_fd_limit,
                               &resident, &virtual_memory, &virtual_limit, &network_received,
                               &cpu,      &started,        &network_sent};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        metric_register(others[i]);
    metric_set(&quota, config_quota_bytes(config));
    init_features(config);
    op_metrics_register();
    metric_register(&slow_applies);
    metric_set(&version, 1);
    metric_set(&runtime, 1);
    metric_set(&id, 1);
    metric_set(&started, (int64_t)(clock_wall_ns() / 1000000000));
    metrics_on_collect(collect, (void *)(uintptr_t)replica);
}
