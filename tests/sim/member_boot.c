/* A member's start: the server's own settings, boot and core over a simulated disk and network. */
#include "member_priv.h"

#include "base/check.h"

static void stage_fatal(void *ctx, const char *what, const char *file, err e)
{
    struct node *self = ctx;
    if (!self->error_hit && !self->suspect)
        sim_fail(self->sim, "m%u ends itself: %s %s: %s, but no call was made to fail", self->at,
                 what, file ? file : "", err_text(e));
    sim_say(self->sim, "m%u ends itself: %s: %s", self->at, what, err_text(e));
    member_leave(self, LEAVE_FATAL);
}

static void core_fatal(void *ctx, const char *what, err e)
{
    struct node *self = ctx;
    if (!self->suspect)
        sim_fail(self->sim, "m%u cannot go on: %s: %s", self->at, what, err_text(e));
    sim_say(self->sim, "m%u cannot go on: %s: %s", self->at, what, err_text(e));
    member_leave(self, LEAVE_FATAL);
}

static uint64_t now_ns(void *ctx)
{
    const struct node *self = ctx;
    return (self->sim->now_us * self->clock_rate / 1000 + self->clock_offset_us) * 1000;
}

/* ---- boot -------------------------------------------------------------------------------------
 */

static void load_config(struct node *self, struct life *life)
{
    char cluster[JOIN_TEXT_MAX];
    member_initial_cluster(self, cluster);
    char *url = self->url;
    const char *args[] = {"--name",
                          self->name,
                          "--data-dir",
                          "/data",
                          "--initial-cluster",
                          cluster,
                          "--initial-cluster-state",
                          self->joins ? "existing" : "new",
                          "--initial-advertise-peer-urls",
                          url,
                          "--listen-peer-urls",
                          url,
                          self->flags.pre_vote ? "--pre-vote=true" : "--pre-vote=false"};
    char *argv[24];
    int argc = 0;
    for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
        argv[argc++] = (char *)(uintptr_t)args[i];
    char *none[] = {NULL};
    const char *reason = "";
    if (config_load(&life->config, argc, argv, none, &reason) != CONFIG_GO)
        sim_fail(self->sim, "the settings are refused: %s", reason);
}

static void core_send(void *ctx, const struct raft_message *messages, size_t count)
{
    network_send(ctx, messages, count);
}

static void core_send_snapshot(void *ctx, const struct raft_message *message)
{
    streams_send(ctx, message);
}

/* As the server's: the next life opens what was received. */
static void core_installed(void *ctx)
{
    struct node *self = ctx;
    member_stop(self);
}

static void core_stopped(void *ctx)
{
    struct node *self = ctx;
    self->life->stopped = true;
}

static void core_ask_leader(void *ctx, const struct replica_lease_forward *asks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        network_ask(ctx, &asks[i]);
}

static void core_ask_promotion(void *ctx, const struct replica_promote_forward *asks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        network_ask_promotion(ctx, &asks[i]);
}

static void core_promoted(void *ctx, err outcome)
{
    struct node *self = ctx;
    sim_say(self->sim, "m%u has judged a promotion: %s", self->at, err_name(outcome));
}

static void core_member_replies(void *ctx, const struct replica_replies *replies)
{
    struct node *self = ctx;
    for (size_t i = 0; i < replies->count; i++) {
        const struct replica_reply *reply = &replies->items[i];
        size_t at = (size_t)(reply->token & TOKEN_REST);
        CHECK(at > 0 && at <= self->served_count);
        const struct served_ask *served = &self->served[at - 1];
        network_answer(self, served, reply->result.error, &reply->lease);
    }
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void core_notice(void *ctx, enum core_notice kind, const struct revlog_fault *fault)
{
    struct node *self = ctx;
    if (kind == CORE_STORE_FAULT && !self->suspect)
        sim_fail(self->sim, "m%u: cleaning met bad bytes in %s at %llu, change %llu", self->at,
                 fault->file, (unsigned long long)fault->offset, (unsigned long long)fault->seq);
    sim_say(self->sim, "m%u notices %d", self->at, (int)kind);
}

static void raft_trace(void *ctx, const char *line)
{
    struct node *self = ctx;
    sim_say(self->sim, "m%u raft %s", self->at, line);
}

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

static err make_replica(struct node *self, struct life *life)
{
    struct sim *sim = self->sim;
    static const char *const urls[] = {"http://client"};
    struct replica_config replica = {
        .member_id = life->boot.member_id,
        .cluster_id = life->boot.cluster_id,
        .name = life->config.name,
        .client_urls = {urls, 1},
        .boot = life->boot.initial,
        .server_version = {3, 7},
        .heartbeat_ms = 100,
        .election_ticks = 10,
        .pre_vote = self->flags.pre_vote,
        .snapshot_entries = self->flags.snapshot_entries,
        .kept_entries = self->flags.kept_entries,
        .release_log = sim->plan.release_log,
        .strict_reconfig = sim->plan.strict_reconfig,
        .seed = prng_next(&sim->prng),
        .now_ms = member_ms(self),
        .front_count = 2, /* one for what members ask */
        .log_cache_bytes_max = self->flags.log_cache_bytes,
        .apply_ops_max = self->flags.apply_ops_max,
        .message_bytes_max = self->flags.message_bytes,
        .state = life->boot.store.state,
        .tail = life->boot.store.tail,
        .log = {life->boot.log, log_entries, log_term, log_first_index, log_first_within},
        .start = life->boot.start,
        .ids = &life->ids,
        .epoch = &life->epoch,
        .trace = sim->options.verbose ? raft_trace : NULL,
        .trace_ctx = self};
    TRY(replica_new(&replica, &life->replica));
    boot_handed_on(&life->boot);
    return OK;
}

err member_assemble(struct node *self, struct life *life, const char **ret_reason)
{
    struct sim *sim = self->sim;
    load_config(self, life);
    epoch_init(&life->epoch);
    life->slot = epoch_register(&life->epoch);
    life->core = core_new(NULL);
    mailbox_init(&life->front.replies, NULL, NULL);
    mailbox_init(&life->front.batches, NULL, NULL);
    mailbox_init(&life->front.blobs, NULL, NULL);
    const struct join_wire join = {.ask = member_join_ask, .ctx = self};
    struct boot_config boot = {.config = &life->config,
                               .may_ask = self->joins,
                               .join_wire = &join,
                               .fs = disk_fs(self->disk),
                               .epoch = &life->epoch,
                               .log_completions = core_log_completions(life->core),
                               .store_completions = core_store_completions(life->core),
                               .seed = prng_next(&sim->prng),
                               .fatal = stage_fatal,
                               .fatal_ctx = self,
                               .log_segment_bytes = self->flags.log_segment_bytes,
                               .store_segment_bytes = self->flags.store_segment_bytes,
                               .checkpoint_bytes = self->flags.checkpoint_bytes,
                               .tail.keep_bytes = self->flags.tail_bytes,
                               .now_ns = now_ns,
                               .now_ctx = self};
    TRY(boot_open(&life->boot, &boot, ret_reason));
    if (self->id && self->id != life->boot.member_id)
        sim_fail(sim, "m%u takes itself for another", self->at);
    self->id = life->boot.member_id;
    request_ids_init(&life->ids, self->id, UINT64_C(1700000000000) + sim->now_us / MS);
    *ret_reason = "log and store contradict each other";
    TRY(make_replica(self, life));
    life->pins = mvcc_store_pins(life->boot.store.mvcc);
    struct core_config core = {.replica = life->replica,
                               .log = life->boot.log,
                               .store = life->boot.store.stage,
                               .revlog = life->boot.store.recovery.log,
                               .pins = mvcc_store_pins(life->boot.store.mvcc),
                               .fronts = life->fronts,
                               .front_count = 1,
                               .send = core_send,
                               .send_snapshot = core_send_snapshot,
                               .installed = core_installed,
                               .ask_leader = core_ask_leader,
                               .ask_promotion = core_ask_promotion,
                               .promoted = core_promoted,
                               .member_replies = core_member_replies,
                               .members_changed = nothing,
                               .view_changed = nothing,
                               .notice = core_notice,
                               .stopped = core_stopped,
                               .fatal = core_fatal,
                               .ctx = self};
    life->fronts[0] = &life->front;
    core_attach(life->core, &core);
    streams_open(self, &boot);
    return OK;
}
