#include "server/member.h"

#include "api/cluster.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "base/seed.h"
#include "io/worker.h"
#include "server/boot.h"
#include "server/core.h"
#include "server/corruption.h"
#include "server/defragment.h"
#include "server/fellows.h"
#include "server/fronts.h"
#include "server/listeners.h"
#include "server/member_changes.h"
#include "server/member_metrics.h"
#include "server/notices.h"
#include "server/supervisor.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS 500
#define NS_PER_MS       1000000
#define READY_POLL_MS   100
/* A removed member stays until another tells it so: who has not heard that the removal is committed
 * counts on it, and may be too few without it. It tells them by how it answers their elections.
 * Where nobody is left to tell it, it goes after a while. Once it is told, what was asked of it may
 * still be answered: the entry is perhaps on its way to its disk. */
#define LEAVE_MS      300000
#define LEAVE_TOLD_MS 200
#define LEAVE_LATE_MS 200
/* Older members of etcd hash tombstones at the compacted revision otherwise. */
#define CORRUPT_CHECK_VERSION ((struct cluster_version){3, 6})

struct member_run {
    const struct config *config;
    struct epoch epoch;
    struct epoch_slot *slot; /* of loop 0 */
    struct io_loop *loop;
    struct io_workers *workers;
    struct io_workers *bulk; /* for what takes long: states that are sent and received */
    struct request_ids ids;
    struct boot boot;
    struct arena reasons; /* of refusals that come before the boot */
    struct core *core;
    struct replica *replica;
    struct fellows fellows;
    struct corruption *corruption;
    struct fronts fronts;
    bool started; /* the core runs passes */
    struct listeners listeners;
    struct io_timer stop_timer, ready_timer, removed_timer;
    int signal_number;
    struct replica_compaction compaction;
    bool stopping, core_stopped;
    uint64_t leave_at_ms; /* it was removed from the cluster; 0: it was not */
    struct member_watch watch;
    struct member_changes changes;
    struct supervisor *supervisor; /* over all lives */
    bool reborn;                   /* another life follows, on what was received */
};

/* ── Failure ────────────────────────────────────────────────────────────────────────────────── */

__attribute__((noreturn)) static void die(const char *what, const char *file, err e)
{
    LOGF("the member cannot go on", LOG_STR("what", what), LOG_STR("file", file ? file : ""),
         LOG_ERR(e));
    log_done();
    _exit(1);
}

static void stage_fatal(void *ctx, const char *what, const char *file, err e)
{
    (void)ctx;
    die(what, file, e);
}

static void core_fatal(void *ctx, const char *what, err e)
{
    (void)ctx;
    die(what, NULL, e);
}

/* What changes the cluster is for everyone, the rest for who looks closely. */
static void raft_trace(void *ctx, const char *line)
{
    (void)ctx;
    bool news = strstr(line, " became ") || strstr(line, " is starting a new election");
    enum log_level level = news ? LOG_INFO : LOG_DEBUG;
    if (log_enabled(level))
        log_line(level, "raft", __FILE__, __LINE__, line, NULL, 0);
}

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

/* The cluster has no place for us any more: as etcd, the member stops by itself. */
static void leave(struct member_run *self, uint64_t after_ms)
{
    uint64_t at_ms = io_loop_now_ms(self->loop) + after_ms;
    if (self->leave_at_ms && self->leave_at_ms <= at_ms)
        return;
    self->leave_at_ms = at_ms;
    if (self->started)
        io_loop_timer_at(self->loop, &self->removed_timer, at_ms);
}

static void leave_soon(struct member_run *self)
{
    leave(self, LEAVE_MS);
}

static void told_removed(void *ctx)
{
    struct member_run *self = ctx;
    replica_told_removed(self->replica, io_loop_now_ms(self->loop));
    leave(self, LEAVE_TOLD_MS);
}

static err open_fellows(struct member_run *self)
{
    const struct boot_config boot = {
        .config = self->config, .fs = &io_fs_real, .seed = seed_new(), .fatal = stage_fatal};
    const struct stage_build_config build = boot_build_config(&self->boot, &boot);
    const struct fellows_config fellows = {.config = self->config,
                                           .loop = self->loop,
                                           .workers = self->workers,
                                           .bulk = self->bulk,
                                           .epoch = &self->epoch,
                                           .pins = mvcc_store_pins(self->boot.store.mvcc),
                                           .build = &build,
                                           .core = self->core,
                                           .replica = self->replica,
                                           .member_id = self->boot.member_id,
                                           .cluster_id = self->boot.cluster_id,
                                           .front = self->fronts.count,
                                           .removed = told_removed,
                                           .ctx = self};
    return fellows_open(&self->fellows, &fellows);
}

static void wake_core(void *ctx)
{
    struct member_run *self = ctx;
    core_wake(self->core);
}

/* A member that has been here before may be compared with the others before it serves anyone. */
static err check_corruption(struct member_run *self, const char **ret_reason)
{
    const struct config *config = self->config;
    int64_t full_ns = config_corrupt_check_ns(config);
    const struct corruption_config corruption = {
        .loop = self->loop,
        .replica = self->replica,
        .peers = self->fellows.peers,
        .pins = mvcc_store_pins(self->boot.store.mvcc),
        .member_id = self->boot.member_id,
        .compaction_check_ms = (uint64_t)(config->compact_hash_check_ns / NS_PER_MS),
        .full_check_ms = full_ns > 0 ? (uint64_t)(full_ns / NS_PER_MS) : 0,
        .full_check_version = config_corrupt_check_is_set(config) ? (struct cluster_version){0}
                                                                  : CORRUPT_CHECK_VERSION,
        .wake = wake_core,
        .ctx = self};
    char id[ID_TEXT_MAX];
    self->corruption = corruption_new(&corruption);
    self->fellows.corruption = self->corruption;
    if (self->boot.is_new ||
        !(config->feature_gates.on[GATE_InitialCorruptCheck] || config->old_initial_corrupt_check))
        return OK;
    *ret_reason = arena_printf(&self->boot.arena, "%s found data inconsistency with peers",
                               id_text(self->boot.member_id, id));
    return corruption_check_first(self->corruption);
}

/* ── The core's callbacks ───────────────────────────────────────────────────────────────────── */

static void core_send(void *ctx, const struct raft_message *messages, size_t count)
{
    struct member_run *self = ctx;
    peers_send(self->fellows.peers, messages, count);
}

static void core_ask_leader(void *ctx, const struct replica_lease_forward *asks, size_t count)
{
    struct member_run *self = ctx;
    peers_ask_leases(self->fellows.peers, asks, count);
}

static void core_ask_promotion(void *ctx, const struct replica_promote_forward *asks, size_t count)
{
    struct member_run *self = ctx;
    peers_ask_promotions(self->fellows.peers, asks, count);
}

static void core_promoted(void *ctx, err outcome)
{
    (void)ctx;
    member_changes_promoted(outcome);
}

static void core_member_replies(void *ctx, const struct replica_replies *replies)
{
    struct member_run *self = ctx;
    fellows_reply(&self->fellows, replies);
}

static void core_members_changed(void *ctx)
{
    struct member_run *self = ctx;
    const struct replica_view *view = replica_view_get(self->replica);
    peers_set_members(self->fellows.peers, view->members);
    member_changes_view(&self->changes, view);
}

static void stop_check(struct member_run *self);

static void core_view_changed(void *ctx)
{
    struct member_run *self = ctx;
    const struct replica_view *view = replica_view_get(self->replica);
    bool was_ready = self->watch.ready;
    member_metrics_alarms(view->alarms);
    uint64_t now_ms = io_loop_now_ms(self->loop);
    member_watch_view(&self->watch, view, now_ms);
    if (!self->stopping)
        supervisor_view(self->supervisor, view, self->watch.ready, now_ms);
    if (self->watch.ready != was_ready)
        fronts_wake(&self->fronts);
    fronts_view_changed(&self->fronts, view);
    corruption_view_changed(self->corruption);
    if (view->is_removed)
        leave_soon(self);
}

/* Time alone may make a member ready. */
static void ready_timer_fired(void *ctx)
{
    struct member_run *self = ctx;
    core_view_changed(self);
    if (!self->watch.ready)
        io_loop_timer_after(self->loop, &self->ready_timer, READY_POLL_MS);
    metrics_order(); /* what a start has registered, before it is asked for */
}

static void core_notice(void *ctx, enum core_notice kind, const struct revlog_fault *fault)
{
    (void)ctx;
    notice_disk(kind, fault);
}

static void core_send_snapshot(void *ctx, const struct raft_message *message)
{
    struct member_run *self = ctx;
    fellows_send_snapshot(&self->fellows, message);
}

static void begin_stop(struct member_run *self);

/* What was received is opened by a life of its own, on the way that each start goes: nothing that
 * serves, reads or waits has to be told of another store. */
static void core_installed(void *ctx)
{
    struct member_run *self = ctx;
    if (self->stopping)
        return;
    LOGI("applying snapshot: this member starts anew from its disk");
    self->reborn = true;
    begin_stop(self);
}

static void core_has_stopped(void *ctx)
{
    struct member_run *self = ctx;
    self->core_stopped = true;
    stop_check(self);
}

/* ── Listeners ──────────────────────────────────────────────────────────────────────────────── */

static void accepted_client(void *ctx, int fd, const struct io_address *peer)
{
    struct member_run *self = ctx;
    fronts_accept(&self->fronts, fd, FRONT_CLIENTS);
}

static void accepted_metrics(void *ctx, int fd, const struct io_address *peer)
{
    struct member_run *self = ctx;
    fronts_accept(&self->fronts, fd, FRONT_METRICS);
}

static void accepted_peer(void *ctx, int fd, const struct io_address *peer)
{
    struct member_run *self = ctx;
    peers_accept(self->fellows.peers, fd);
}

static err open_listeners(struct member_run *self, const char **ret_reason)
{
    const struct config *config = self->config;
    struct listen_how how = {.loop = self->loop,
                             .reuse_port = config->socket_reuse_port,
                             .stage_order = PEERS_STAGE_INPUT - 1,
                             .accepted = accepted_peer,
                             .ctx = self,
                             .arena = &self->reasons};
    err e = listeners_add(&self->listeners, &config->listen_peer_urls, &how, ret_reason);
    if (e.code) {
        LOGE("creating peer listener failed", LOG_STR("error", *ret_reason));
        return e;
    }
    how.stage_order = FRONT_STAGE_CLIENTS - 1;
    how.accepted = accepted_client;
    TRY(listeners_add(&self->listeners, &config->listen_client_urls, &how, ret_reason));
    how.accepted = accepted_metrics;
    return listeners_add(&self->listeners, &config->listen_metrics_urls, &how, ret_reason);
}

/* ── Stop ───────────────────────────────────────────────────────────────────────────────────── */

static void stop_check(struct member_run *self)
{
    if (self->stopping && self->core_stopped && fronts_idle(&self->fronts))
        io_loop_stop(self->loop);
}

#define STOP_POLL_MS 5

static void stop_timer_fired(void *ctx)
{
    struct member_run *self = ctx;
    uint64_t now_ms = io_loop_now_ms(self->loop);
    stop_check(self);
    if (now_ms >= self->watch.stop_deadline_ms)
        io_loop_stop(self->loop);
    else
        io_loop_timer_after(self->loop, &self->stop_timer, STOP_POLL_MS);
}

static void begin_stop(struct member_run *self)
{
    self->stopping = true;
    if (!self->reborn)
        supervisor_stopping(self->supervisor);
    uint64_t now_ms = io_loop_now_ms(self->loop);
    LOGI("closing etcd server", LOG_STR("name", self->config->name),
         LOG_STR("data-dir", self->config->data_dir));
    listeners_close(&self->listeners);
    fronts_tell(&self->fronts, front_shutdown);
    replica_stop(self->replica, now_ms);
    core_wake(self->core);
    self->watch.stop_deadline_ms = now_ms + STOP_TIMEOUT_MS;
    io_loop_timer_after(self->loop, &self->stop_timer, STOP_POLL_MS);
}

static void signal_arrived(void *ctx, int number)
{
    struct member_run *self = ctx;
    if (self->stopping && self->reborn) { /* then this life is the last */
        self->reborn = false;
        self->signal_number = number;
        supervisor_stopping(self->supervisor);
        return;
    }
    if (self->stopping) {
        (void)signal(number, SIG_DFL); /* asked twice: at once */
        (void)raise(number);
        return;
    }
    self->signal_number = number;
    LOGI("received signal; shutting down",
         LOG_STR("signal", number == SIGINT ? "interrupt" : "terminated"));
    begin_stop(self);
}

static void removed_timer_fired(void *ctx)
{
    struct member_run *self = ctx;
    if (self->stopping)
        return;
    if (io_loop_now_ms(self->loop) > self->leave_at_ms + LEAVE_LATE_MS) {
        self->leave_at_ms = 0; /* it stood still meanwhile, and nobody has heard of anything */
        leave_soon(self);
        return;
    }
    LOGW("server error",
         LOG_STR("error", "the member has been permanently removed from the cluster"));
    LOGW("data-dir used by this member must be removed");
    begin_stop(self);
}

/* What is left waits for the disk, and some disks never answer: then the process ends as the
 * signal would have ended it, and the log brings back what was acknowledged. So does a signal that
 * comes now. */
static void end_now(int number)
{
    (void)number;
    (void)signal(SIGTERM, SIG_DFL);
    (void)raise(SIGTERM);
}

static void end_in_time(bool reborn)
{
    const struct itimerval limit = {.it_value = {.tv_usec = STOP_TIMEOUT_MS * 1000}};
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    if (reborn) /* nobody waits for the end */
        return;
    (void)signal(SIGALRM, end_now);
    (void)setitimer(ITIMER_REAL, &limit, NULL);
}

static void stop_threads(struct member_run *self)
{
    fronts_stop(&self->fronts);
    if (self->core)
        core_stop(self->core);
    if (self->boot.log)
        stage_log_stop(self->boot.log);
    if (self->boot.store.stage)
        stage_store_stop(self->boot.store.stage);
}

static void take_down(struct member_run *self)
{
    stop_threads(self);
    if (self->started) {
        io_loop_timer_stop(self->loop, &self->stop_timer);
        io_loop_timer_stop(self->loop, &self->ready_timer);
        io_loop_timer_stop(self->loop, &self->removed_timer);
        member_changes_done(&self->changes);
    }
    listeners_close(&self->listeners);
    fronts_close(&self->fronts);
    fellows_give_up_states(&self->fellows);
    if (self->bulk)
        io_workers_free(self->bulk);
    if (self->loop)
        io_loop_run_tasks(self->loop);
    if (self->replica && self->started)
        core_drain(self->core, io_loop_now_ms(self->loop));
    else if (self->boot.store.stage)
        core_settle_store(self->core, self->boot.store.stage);
    fellows_close(&self->fellows);
    corruption_free(self->corruption);
    if (self->replica) {
        opened_store_state_taken(&self->boot.store);
        replica_free(self->replica);
    }
    if (self->workers)
        io_workers_free(self->workers);
    struct stage_store *store = self->boot.store.stage;
    boot_done(&self->boot);
    fronts_free(&self->fronts);
    epoch_done(&self->epoch);
    stage_store_free(store);
    core_free(self->core);
    fronts_loops_free(&self->fronts);
    io_loop_free(self->loop);
    arena_done(&self->reasons);
}

/* ── Start ──────────────────────────────────────────────────────────────────────────────────── */

static err log_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                       struct raft_entry *ret_entries, size_t *ret_count)
{
    return stage_log_entries(ctx, lo, hi, max_bytes, room, ret_entries, ret_count);
}

static err log_term(void *ctx, uint64_t index, uint64_t *ret_term)
{
    return stage_log_term(ctx, index, ret_term);
}

static uint64_t log_first_index(void *ctx)
{
    return stage_log_first_index(ctx);
}

static uint64_t log_first_within(void *ctx, uint64_t bytes)
{
    return stage_log_first_within(ctx, bytes);
}

static struct cluster_version version_max_of(const struct config *config)
{
    struct cluster_version max = {0};
    err e = config_version_max(config, &max);
    CHECK(err_ok(e));
    return max;
}

static err make_replica(struct member_run *self, const char **ret_reason)
{
    const struct config *config = self->config;
    struct boot *boot = &self->boot;
    size_t url_count = config->advertise_client_urls.count;
    const char **urls = ARENA_ARRAY(&boot->arena, const char *, url_count + 1);
    for (size_t i = 0; i < url_count; i++)
        urls[i] = config->advertise_client_urls.items[i].text;
    struct replica_config replica = {
        .member_id = boot->member_id,
        .cluster_id = boot->cluster_id,
        .name = config->name,
        .client_urls = {.items = urls, .count = url_count},
        .boot = boot->initial,
        .server_version = {3, 7},
        .version_max = version_max_of(config),
        .heartbeat_ms = (unsigned)config->heartbeat_interval_ms,
        .election_ticks = (unsigned)(config->election_timeout_ms / config->heartbeat_interval_ms),
        .pre_vote = config->pre_vote,
        .strict_reconfig = config->strict_reconfig_check,
        .snapshot_entries = (unsigned)config->snapshot_count,
        .kept_entries = (unsigned)config->snapshot_catchup_entries,
        .release_log = true,
        .lease_checkpoints = config->feature_gates.on[GATE_LeaseCheckpoint],
        .clock_ns = clock_mono_ns,
        .compaction = self->compaction,
        .seed = seed_new(),
        .now_ms = io_loop_now_ms(self->loop),
        .front_count = self->fronts.count + 1, /* the last: other members' questions */
        .state = boot->store.state,
        .tail = boot->store.tail,
        .log = {boot->log, log_entries, log_term, log_first_index, log_first_within},
        .start = boot->start,
        .ids = &self->ids,
        .epoch = &self->epoch,
        .trace = raft_trace};
    err e = replica_new(&replica, &self->replica);
    if (e.code)
        *ret_reason = "log and store contradict each other";
    else
        boot_handed_on(boot);
    return e;
}

static err make_fronts(struct member_run *self)
{
    const struct fronts_config fronts = {.config = self->config,
                                         .loop = self->loop,
                                         .epoch = &self->epoch,
                                         .epoch_slot = self->slot,
                                         .replica = self->replica,
                                         .pins = mvcc_store_pins(self->boot.store.mvcc),
                                         .core = core_inbox(self->core),
                                         .ids = &self->ids,
                                         .workers = self->workers,
                                         .cluster_id = self->boot.cluster_id,
                                         .member_id = self->boot.member_id,
                                         .seed = seed_new()};
    return fronts_open(&self->fronts, &fronts);
}

static err set_up(struct member_run *self, const char **ret_reason)
{
    int64_t period_ns, revisions;
    TRY(config_compaction(self->config, &self->reasons, &period_ns, &revisions, ret_reason));
    self->compaction = (struct replica_compaction){
        .period_ms = ((uint64_t)period_ns + NS_PER_MS - 1) / NS_PER_MS, .revisions = revisions};
    *ret_reason = "out of descriptors or threads";
    TRY(io_loop_new(&self->loop));
    TRY(open_listeners(self, ret_reason));
    *ret_reason = "out of descriptors or threads";
    TRY(io_workers_new(2, &self->workers));
    TRY(io_workers_new(2, &self->bulk));
    self->slot = epoch_register(&self->epoch);
    self->core = core_new(self->loop);
    struct boot_config boot = {.config = self->config,
                               .fs = &io_fs_real,
                               .epoch = &self->epoch,
                               .workers = self->workers,
                               .may_ask = true,
                               .log_completions = core_log_completions(self->core),
                               .store_completions = core_store_completions(self->core),
                               .seed = seed_new(),
                               .fatal = stage_fatal};
    TRY(boot_open(&self->boot, &boot, ret_reason));
    request_ids_init(&self->ids, self->boot.member_id, clock_wall_ns() / 1000000);
    fronts_init(&self->fronts);
    TRY(make_replica(self, ret_reason));
    *ret_reason = "out of descriptors or threads";
    TRY(open_fellows(self));
    TRY(make_fronts(self));
    *ret_reason = "out of threads";
    TRY(stage_log_start(self->boot.log));
    TRY(stage_store_start(self->boot.store.stage));
    TRY(io_loop_signal_add(self->loop, SIGTERM, signal_arrived, self));
    TRY(io_loop_signal_add(self->loop, SIGINT, signal_arrived, self));
    return check_corruption(self, ret_reason);
}

static void start(struct member_run *self)
{
    struct core_config core = {.loop = self->loop,
                               .replica = self->replica,
                               .log = self->boot.log,
                               .store = self->boot.store.stage,
                               .revlog = self->boot.store.recovery.log,
                               .pins = mvcc_store_pins(self->boot.store.mvcc),
                               .fronts = self->fronts.inboxes,
                               .front_count = self->fronts.count,
                               .send = core_send,
                               .send_snapshot = core_send_snapshot,
                               .installed = core_installed,
                               .ask_leader = core_ask_leader,
                               .ask_promotion = core_ask_promotion,
                               .promoted = core_promoted,
                               .member_replies = core_member_replies,
                               .members_changed = core_members_changed,
                               .view_changed = core_view_changed,
                               .notice = core_notice,
                               .warning_apply_ns = self->config->warning_apply_ns > 0
                                                       ? (uint64_t)self->config->warning_apply_ns
                                                       : 0,
                               .stopped = core_has_stopped,
                               .fatal = core_fatal,
                               .ctx = self};
    member_watch_init(&self->watch, self->config, self->boot.member_id, self->boot.cluster_id);
    member_changes_init(&self->changes, self->boot.member_id, self->boot.cluster_id,
                        state_members(self->boot.store.state));
    io_timer_init(&self->stop_timer, stop_timer_fired, self);
    io_timer_init(&self->ready_timer, ready_timer_fired, self);
    io_timer_init(&self->removed_timer, removed_timer_fired, self);
    io_loop_timer_after(self->loop, &self->ready_timer, READY_POLL_MS);
    notice_start(self->config, &self->boot);
    peers_set_members(self->fellows.peers, replica_view_get(self->replica)->members);
    core_start(self->core, &core);
    corruption_start(self->corruption);
    self->started = true;
    if (self->leave_at_ms) /* it was told so before it began */
        io_loop_timer_at(self->loop, &self->removed_timer, self->leave_at_ms);
}

static void register_metrics(const struct config *config)
{
    call_metrics_init(strcmp(config->metrics, "extensive") == 0);
    health_metrics_init();
    pages_metrics_init();
    watch_metrics_init();
    maintenance_snapshot_metrics_init();
    maintenance_metrics_init();
    stage_log_register_metrics();
    stage_store_register_metrics();
    replica_register_metrics();
    state_in_register_metrics();
    if (config->enable_v2)
        v2_metrics_init();
    defragment_register_metrics();
}

/* Ends with a signal's number, 0 or -1, or says that another life is to follow. */
static int live(const struct config *config, struct supervisor *supervisor, bool *ret_again)
{
    struct member_run *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = config;
    self->supervisor = supervisor;
    epoch_init(&self->epoch);
    arena_init(&self->reasons, 256);
    const char *reason = "";
    err e = set_up(self, &reason);
    if (err_ok(e))
        e = listeners_start(&self->listeners, &reason);
    if (err_ok(e)) {
        member_metrics_init(config, self->replica, mvcc_store_pins(self->boot.store.mvcc),
                            self->boot.member_id);
        start(self);
        e = fronts_start(&self->fronts);
    }
    if (err_ok(e)) {
        io_loop_run(self->loop);
        end_in_time(self->reborn);
        LOGI("closed etcd server", LOG_STR("name", config->name),
             LOG_STR("data-dir", config->data_dir));
    } else {
        LOGF("discovery failed", LOG_STR("error", reason));
    }
    bool left = err_ok(e) && self->leave_at_ms && !self->signal_number;
    if (left && !self->watch.ready) /* restarted only to hear of it */
        LOGF("listener failed", LOG_STR("error", "server is stopping"));
    int result = err_ok(e) && (!left || self->watch.ready) ? self->signal_number : -1;
    *ret_again = err_ok(e) && self->reborn;
    take_down(self);
    free(self);
    return result;
}

int member_run(const struct config *config)
{
    struct supervisor supervisor;
    (void)signal(SIGPIPE, SIG_IGN);
    register_metrics(config);
    supervisor_init(&supervisor, clock_mono_ms());
    bool again;
    int result;
    do
        result = live(config, &supervisor, &again);
    while (again);
    supervisor_done(&supervisor);
    return result;
}
