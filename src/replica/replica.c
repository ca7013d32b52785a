#include "replica/replica.h"

#include "base/bug.h"

#include "replica/replica_internal.h"

#include <stdlib.h>

/* --- life -------------------------------------------------------------------------------- */

static void trace_line(void *ctx, enum raft_trace_level level, const char *text)
{
    struct replica *self = ctx;
    if (level != RAFT_TRACE_DEBUG)
        self->trace(self->trace_ctx, text);
}

static err raft_start(struct replica *self, const struct replica_config *config)
{
    const struct raft_config raft = {
        .id = config->member_id,
        .election_ticks = config->election_ticks,
        .heartbeat_ticks = 1,
        .applied = config->start.applied_index,
        .max_size_per_msg =
            config->message_bytes_max ? config->message_bytes_max : MESSAGE_BYTES_MAX,
        .max_inflight_msgs = INFLIGHT_MESSAGES_MAX,
        .max_inflight_bytes = INFLIGHT_BYTES_MAX,
        .read_mode = RAFT_READ_SAFE,
        .check_quorum = true,
        .pre_vote = config->pre_vote,
        .async_storage_writes = true,
        .group_appends = true,
        .idle_acks_wait = true,
        .commit_in_votes = !BUG(votes_without_commit),
        .seed = config->seed,
        .trace = config->trace ? trace_line : NULL,
        .trace_ctx = self,
    };
    self->log.snapshot = snapshots_offer;
    self->log.snapshot_ctx = self;
    struct raft_storage storage = log_cache_storage(&self->log);
    return raft_new(&raft, &storage, &self->raft);
}

static void take_config(struct replica *self, const struct replica_config *config)
{
    self->member_id = config->member_id;
    self->cluster_id = config->cluster_id;
    arena_init(&self->config_arena, 1024);
    self->name = arena_copy_str(&self->config_arena, bytes_str(config->name ? config->name : ""));
    const char **urls = ARENA_ARRAY(&self->config_arena, const char *, config->client_urls.count);
    for (size_t i = 0; i < config->client_urls.count; i++)
        urls[i] = arena_copy_str(&self->config_arena, bytes_str(config->client_urls.items[i]));
    self->client_urls = (struct text_list){urls, config->client_urls.count};
    if (config->boot)
        self->boot = membership_versioned(config->boot, config->boot->version);
    self->version_max = config->version_max.major ? config->version_max : config->server_version;
    self->heartbeat_ms = config->heartbeat_ms;
    self->election_ticks = config->election_ticks;
    self->apply_ops_max = config->apply_ops_max ? config->apply_ops_max : 512;
    self->backlog_max = config->backlog_max ? config->backlog_max : 5000;
    self->front_count = config->front_count;
    self->flush_bytes = config->flush_bytes ? config->flush_bytes : (size_t)1 << 20;
    self->flush_ms = config->flush_ms ? config->flush_ms : 100;
    self->snapshot_entries = config->snapshot_entries ? config->snapshot_entries : SNAPSHOT_ENTRIES;
    self->kept_entries = config->kept_entries ? config->kept_entries : KEPT_ENTRIES;
    self->release_log = config->release_log;
    self->strict_reconfig = config->strict_reconfig;
    self->kept_bytes_max = config->kept_bytes_max ? config->kept_bytes_max : KEPT_BYTES_MAX;
    self->lease_checkpoints = config->lease_checkpoints;
    self->compaction = config->compaction;
    self->clock_ns = config->clock_ns;
    self->ids = config->ids;
    self->epoch = config->epoch;
    self->trace = config->trace;
    self->trace_ctx = config->trace_ctx;
    self->tail = config->tail;
    self->state = config->state;
}

static void take_start(struct replica *self, const struct replica_config *config)
{
    const struct replica_start *start = &config->start;
    struct mvcc_store *store = state_store(config->state);
    self->now_ms = self->start_ms = config->now_ms;
    self->next_tick_ms = config->now_ms + config->heartbeat_ms;
    self->leaderless_since_ms = config->now_ms ? config->now_ms : 1;
    self->applied_index = self->published_index = start->applied_index;
    self->applied_term = self->published_term = start->applied_term;
    self->skip_until = start->skip_until;
    self->snapshot_recorded = start->recorded_index;
    self->released = start->snapshot_index;
    self->flushable = (struct replica_flush){
        .seq = mvcc_store_seq(store),
        .open_seq = mvcc_store_seq(store),
        .index = start->applied_index,
        .term = start->applied_term,
        .revision = mvcc_store_revision(store),
        .compact_revision = mvcc_store_compact_revision(store),
        .conf = start->conf,
    };
    self->flush = self->flushable;
    self->written_seq = self->synced_seq = self->flush.seq;
    self->written_index = start->applied_index;
    self->synced = (struct frame_note){start->applied_index, start->applied_term, start->conf};
    self->is_removed = membership_was_removed(state_members(config->state), config->member_id);
    self->size_bytes = start->size_bytes;
    self->size_in_use_bytes = start->size_in_use_bytes;
    state_set_size(config->state, start->size_in_use_bytes);
}

err replica_new(const struct replica_config *config, struct replica **ret_replica)
{
    CHECK(config->heartbeat_ms > 0 && config->election_ticks > 1);
    CHECK(config->front_count > 0 && config->front_count <= 1u << TOKEN_FRONT_BITS);
    struct replica *self = calloc(1, sizeof(*self));
    CHECK(self);
    list_init(&self->aging);
    list_init(&self->unsent);
    list_init(&self->unsent_changes);
    list_init(&self->promotions);
    list_init(&self->sweeping);
    map_init(&self->pending);
    leases_init(self);
    self->appends_end = &self->appends;
    self->groups_end = &self->groups;
    self->next_batch = 1;
    take_config(self, config);
    take_start(self, config);
    compactor_init(self);
    self->open_replies = calloc(self->front_count, sizeof(struct replica_replies *));
    CHECK(self->open_replies);
    size_t cache = config->log_cache_bytes_max ? config->log_cache_bytes_max : (size_t)16 << 20;
    err e = log_cache_init(&self->log, &config->log, &config->start, cache);
    if (err_ok(e))
        e = raft_start(self, config);
    if (!err_ok(e)) {
        self->state = NULL;
        replica_free(self);
        return e;
    }
    state_watch_leases(self->state, leases_on_removed, self);
    self->unpublished = true;
    publish_view(self);
    *ret_replica = self;
    return OK;
}

void replica_free(struct replica *self)
{
    if (!self)
        return;
    while (!list_empty(&self->aging) || !list_empty(&self->sweeping))
        proposals_drop_first(self);
    proposals_free(self);
    barriers_free(self);
    leases_free(self);
    members_free(self);
    compactor_free(self);
    appends_free(self);
    snapshots_free(self);
    applying_free(self);
    if (self->state)
        publish_free(self);
    else
        free(self->open_replies);
    raft_free(self->raft);
    log_cache_done(&self->log);
    state_free(self->state);
    map_done(&self->pending);
    membership_free(self->boot);
    arena_done(&self->config_arena);
    free(self);
}

/* --- events ------------------------------------------------------------------------------ */

static bool has_joint_change(const struct raft_message *message)
{
    for (size_t i = 0; i < message->entry_count; i++) {
        if (message->entries[i].type == RAFT_ENTRY_CONF_CHANGE_V2)
            return true;
    }
    return false;
}

void replica_step(struct replica *self, const struct raft_message *message, uint64_t now_ms)
{
    self->now_ms = now_ms;
    /* More than the log can take: the leader sends them again. */
    if (message->type == RAFT_MSG_APP && message->entry_count && appends_are_many(self))
        return;
    /* What it would refuse for now it can take once the state that is arriving is here. */
    if (message->type == RAFT_MSG_APP && self->staging &&
        message->index > raft_last_index(self->raft))
        return;
    if (message->type == RAFT_MSG_SNAP ||
        (message->type == RAFT_MSG_PROP && has_joint_change(message)))
        return;
    if (message->type == RAFT_MSG_PROP && proposals_hold(self, message))
        return;
    (void)raft_step(self->raft, message).code; /* refused: as if it had been lost */
}

void replica_task_done(struct replica *self, uint64_t token, err error)
{
    publish_error(self, token, REPLY_TASK, error);
}

void replica_log_done(struct replica *self, uint64_t batch, uint64_t now_ms)
{
    self->now_ms = now_ms;
    CHECK(batch < self->next_batch);
    appends_done(self, batch);
}

void replica_log_full(struct replica *self, bool full, uint64_t now_ms)
{
    self->now_ms = now_ms;
    self->log_full = full;
}

/* --- the pass ---------------------------------------------------------------------------- */

static void pass_begin(struct replica *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    bool stopped = self->effects.stopped;
    self->effects = (struct replica_effects){.stopped = stopped};
    self->append_out_count = 0;
    self->promoted_count = self->promote_forward_count = 0;
    self->empty_applied = false;
    self->members_changed = self->conf_applied = false;
}

/* What the last pass lent out goes now; what came in since stays for this one. */
static void pass_free_spent(struct replica *self)
{
    snapshots_free_spent(self);
    for (size_t i = 0; i < self->spent_given; i++)
        raft_message_free(self->spent[i]);
    self->spent_count -= self->spent_given;
    if (self->spent_count)
        memmove(self->spent, self->spent + self->spent_given,
                self->spent_count * sizeof(struct raft_message *));
    self->send_count -= self->send_given;
    if (self->send_count)
        memmove(self->send_out, self->send_out + self->send_given,
                self->send_count * sizeof(self->send_out[0]));
    self->spent_given = self->send_given = 0;
    self->lease_forward_count -= self->lease_forward_given;
    if (self->lease_forward_count)
        memmove(self->lease_forwards, self->lease_forwards + self->lease_forward_given,
                self->lease_forward_count * sizeof(self->lease_forwards[0]));
    self->lease_forward_given = 0;
}

/* One that leaves later than two intervals after the last comes too late to each of the others. */
static void note_late_heartbeat(struct replica *self)
{
    const struct raft_conf_state *conf = raft_conf(self->raft);
    if (!self->leading) {
        self->ticked_ms = 0;
        return;
    }
    if (self->ticked_ms && self->now_ms - self->ticked_ms > 2 * self->heartbeat_ms)
        self->heartbeats_late += conf->voters.count + conf->learners.count - 1; /* not itself */
    self->ticked_ms = self->now_ms ? self->now_ms : 1;
}

static void pass_tick(struct replica *self)
{
    if (self->now_ms < self->next_tick_ms)
        return;
    note_late_heartbeat(self);
    self->next_tick_ms = self->now_ms + self->heartbeat_ms; /* missed ones are dropped */
    raft_tick(self->raft);
    cluster_tick(self);
    compactor_tick(self);
    proposals_expire(self);
    barriers_expire(self);
}

static void pass_leadership(struct replica *self, const struct raft_soft_state *soft)
{
    bool changed = soft->leader != self->leader;
    self->leading = soft->role == RAFT_LEADER;
    if (!changed)
        return;
    self->leader = soft->leader;
    if (self->leader == RAFT_NONE) {
        self->leader_since_ms = 0;
        self->leaderless_since_ms = self->now_ms ? self->now_ms : 1;
        return;
    }
    self->leader_since_ms = self->now_ms ? self->now_ms : 1;
    self->leaderless_since_ms = 0;
    self->leader_changes++;
    leases_leader_changed(self);
    self->publish_retry_ms = 0;
    self->version_check_ms = 0;
    barriers_leader_changed(self);
}

/* That a change of members is committed is made durable at once: who was removed stops soon, and
 * where it was one of two the other one could not elect itself if it had forgotten that. Raft may
 * have said how far is committed in an earlier ready, while the change was still being written:
 * that was not waited for. */
static bool commits_change(const struct raft_ready *ready)
{
    if (BUG(change_commit_unsynced))
        return false;
    for (size_t i = 0; i < ready->committed_count; i++)
        if (ready->committed[i].type != RAFT_ENTRY_NORMAL)
            return true;
    return false;
}

static void pass_ready(struct replica *self)
{
    struct raft_ready ready;
    if (!raft_has_ready(self->raft))
        return;
    err e = raft_ready_take(self->raft, &ready);
    if (err_is(e, ERR_AGAIN))
        return;
    if (!err_ok(e)) {
        self->failure = e;
        return;
    }
    if (ready.has_soft_state)
        pass_leadership(self, &ready.soft_state);
    bool sync = commits_change(&ready);
    for (size_t i = 0; i < ready.message_count; i++) {
        const struct raft_message *m = &ready.messages[i];
        if (m->type == RAFT_MSG_STORAGE_APPEND) {
            appends_issue(self, m, ready.must_sync || sync);
            sync = false;
        } else if (m->type == RAFT_MSG_SNAP)
            snapshots_take(self, m);
        else if (m->type != RAFT_MSG_STORAGE_APPLY)
            appends_send(self, m);
    }
    if (sync)
        appends_sync_state(self);
    applying_queue(self, ready.committed, ready.committed_count);
    for (size_t i = 0; i < ready.read_state_count; i++)
        barriers_confirmed(self, ready.read_states[i].context, ready.read_states[i].index);
}

static uint64_t pass_deadline(const struct replica *self)
{
    uint64_t deadline = self->next_tick_ms;
    /* While one flush is under way the next waits for its end, which is an event. */
    if (self->dirty_since_ms && !self->flush_pending &&
        self->dirty_since_ms + self->flush_ms < deadline)
        deadline = self->dirty_since_ms + self->flush_ms;
    uint64_t sweep = applying_deadline_ms(self);
    if (sweep < deadline)
        deadline = sweep;
    uint64_t leases = leases_deadline_ms(self);
    if (leases < deadline)
        deadline = leases;
    if (self->stop_handed_ms && self->stop_handed_ms + STOP_LINGER_MS < deadline)
        deadline = self->stop_handed_ms + STOP_LINGER_MS;
    return deadline > self->now_ms ? deadline : self->now_ms;
}

static void pass_end(struct replica *self, bool more)
{
    struct replica_effects *e = &self->effects;
    e->appends = self->append_out;
    e->append_count = self->append_out_count;
    e->sends = self->send_out;
    e->send_count = self->send_given = self->send_count;
    self->spent_given = self->spent_count;
    snapshots_hand_out(self);
    e->installed = self->installed;
    e->members_changed = self->members_changed;
    e->lease_forwards = self->lease_forwards;
    e->lease_forward_count = self->lease_forward_given = self->lease_forward_count;
    e->promoted = self->promoted;
    e->promoted_count = self->promoted_count;
    e->promote_forwards = self->promote_forwards;
    e->promote_forward_count = self->promote_forward_count;
    e->failure = self->failure;
    e->floor_seq = mvcc_store_swept_seq(state_store(self->state));
    /* The change that others waited for is done. */
    bool next_change =
        self->conf_applied && (self->held_count || !list_empty(&self->unsent_changes));
    e->more = err_ok(self->failure) && (more || next_change || raft_has_ready(self->raft));
    e->deadline_ms = pass_deadline(self);
}

const struct replica_effects *replica_pass(struct replica *self, uint64_t now_ms)
{
    pass_begin(self, now_ms);
    pass_free_spent(self);
    pass_tick(self);
    members_run(self);
    cluster_hasten_election(self);
    barriers_start_round(self);
    proposals_unhold(self);
    proposals_send(self);
    if (err_ok(self->failure))
        pass_ready(self);
    applying_sweep(self); /* before apply promises what a sweep could take */
    bool more = applying_run(self);
    if (self->empty_applied)
        barriers_start_round(self);
    appends_note_frame(self);
    publish_view(self);
    barriers_release(self);
    cluster_run(self);
    more |= leases_run(self);
    publish_hand_out(self);
    publish_flush(self);
    (void)epoch_reclaim(self->epoch, RECLAIM_MAX);
    pass_end(self, more);
    return &self->effects;
}

/* --- looking in -------------------------------------------------------------------------- */

bool replica_is_swept(const struct replica *self)
{
    return mvcc_store_is_swept(state_store(self->state));
}

void replica_status_get(const struct replica *self, struct replica_status *ret_status)
{
    *ret_status = (struct replica_status){
        .leader_id = self->leader,
        .term = raft_term(self->raft),
        .commit_index = raft_commit(self->raft),
        .applied_index = self->applied_index,
        .durable_index = self->log.last,
        .last_index = raft_last_index(self->raft),
        .is_leader = self->leading,
        .proposals_pending = self->proposals_pending,
        .proposals_failed = self->proposals_failed,
        .proposals_committed = self->proposals_committed,
        .leader_changes = self->leader_changes,
        .reads_failed = self->reads_failed,
        .reads_slow = self->reads_slow,
        .heartbeats_late = self->heartbeats_late,
        .appends_in_flight = self->append_count,
        .oldest_append_ms = self->appends ? self->appends->issued_ms : 0,
        .conf = raft_conf(self->raft),
    };
}

bool replica_progress_get(const struct replica *self, uint64_t id, uint64_t *ret_match)
{
    return raft_peer_match(self->raft, id, ret_match);
}
