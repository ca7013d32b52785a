#include "server/core.h"

#include "base/check.h"
#include "base/clock.h"
#include "mvcc/view_pin.h"
#include "server/defragment.h"
#include "server/notices.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

/* How often pins that stand still are looked for. */
#define PINS_EXPIRE_MS 1000

struct core {
    struct core_config config;
    struct core_inbox inbox;
    struct mailbox log_completions, store_completions;
    struct io_stage stage;
    struct io_timer timer;
    struct buf conf_state; /* of the newest flush, encoded */
    uint64_t pins_expired_ms;
    uint64_t floor_seq;
    bool running;
    bool woken;
    bool told_stopped;
    bool store_full, store_fault; /* as last said */
    struct defragment defragment;
};

struct core *core_new(struct io_loop *loop)
{
    struct core *self = calloc(1, sizeof(*self));
    CHECK(self);
    void (*wake)(void *) = loop ? io_loop_wake_fn : NULL;
    mailbox_init(&self->inbox.batches, wake, loop);
    mailbox_init(&self->inbox.replies_back, wake, loop);
    mailbox_init(&self->log_completions, wake, loop);
    mailbox_init(&self->store_completions, wake, loop);
    buf_init(&self->conf_state, MVCC_FRAME_CONF_STATE_BYTES);
    return self;
}

void core_free(struct core *self)
{
    if (!self)
        return;
    buf_done(&self->conf_state);
    free(self);
}

struct core_inbox *core_inbox(struct core *self)
{
    return &self->inbox;
}

struct mailbox *core_log_completions(struct core *self)
{
    return &self->log_completions;
}

struct mailbox *core_store_completions(struct core *self)
{
    return &self->store_completions;
}

/* What few appends carry beside entries and state. */
struct append_extra {
    uint64_t release_index;
    struct buf conf_state; /* of a snapshot record */
};

static void extra_free(struct append_extra *self)
{
    if (!self)
        return;
    buf_done(&self->conf_state);
    free(self);
}

static struct append_extra *extra_of(const struct replica_append *append)
{
    if (!append->has_snapshot && !append->release_index)
        return NULL;
    struct append_extra *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->release_index = append->release_index;
    buf_init(&self->conf_state, MVCC_FRAME_CONF_STATE_BYTES);
    if (append->has_snapshot) {
        err e = raft_codec_conf_state_encode(append->snapshot_conf, &self->conf_state);
        CHECK(err_ok(e)); /* RAFT_MEMBERS_MAX ids fit by far */
    }
    return self;
}

/* ── Events ─────────────────────────────────────────────────────────────────────────────────── */

static void take_log(struct core *self, uint64_t now_ms)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&self->log_completions); node; node = next) {
        next = node->next;
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        stage_log_settle(self->config.log, reply);
        if (reply->kind != STAGE_LOG_DONE) {
            replica_log_full(self->config.replica, reply->kind == STAGE_LOG_FULL, now_ms);
            self->config.notice(self->config.ctx,
                                reply->kind == STAGE_LOG_FULL ? CORE_LOG_FULL : CORE_LOG_ROOM,
                                NULL);
            continue;
        }
        struct stage_log_batch *batch = LIST_ENTRY(reply, struct stage_log_batch, reply);
        struct append_extra *extra = batch->owner;
        replica_log_done(self->config.replica, batch->id, now_ms);
        if (extra && extra->release_index)
            stage_log_release(self->config.log, extra->release_index);
        extra_free(extra);
        stage_log_batch_free(batch);
    }
}

static void watch_store(struct core *self, const struct stage_store_status *status)
{
    const struct core_config *config = &self->config;
    if (status->disk_full != self->store_full)
        config->notice(config->ctx, status->disk_full ? CORE_STORE_FULL : CORE_STORE_ROOM, NULL);
    self->store_full = status->disk_full;
    if (status->fault.seq && !self->store_fault)
        config->notice(config->ctx, CORE_STORE_FAULT, &status->fault);
    self->store_fault = status->fault.seq != 0;
}

static void take_store(struct core *self, uint64_t now_ms)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&self->store_completions); node; node = next) {
        next = node->next;
        struct stage_store_status status;
        struct revlog_sizes sizes;
        stage_store_settle(self->config.store, LIST_ENTRY(node, struct stage_store_reply, node),
                           &status);
        watch_store(self, &status);
        revlog_sizes(self->config.revlog, &sizes);
        struct replica_flushed flushed = {.written_seq = status.written_seq,
                                          .written_index = status.written_index,
                                          .synced_seq = status.synced_seq,
                                          .synced_index = status.synced_index,
                                          .size_bytes = (int64_t)sizes.size_bytes,
                                          .size_in_use_bytes = (int64_t)sizes.in_use_bytes,
                                          .disk_full = status.disk_full};
        replica_flush_done(self->config.replica, &flushed, now_ms);
        if (status.cleaned)
            defragment_cleaned(&self->defragment, self->config.replica, self->config.revlog,
                               now_ms);
    }
}

static void take_batch(struct core *self, struct front_batch *batch, uint64_t now_ms)
{
    struct replica *replica = self->config.replica;
    if (batch->proposal_count)
        replica_propose(replica, batch->proposals, batch->proposal_count, now_ms);
    if (batch->read_count)
        replica_read(replica, batch->reads, batch->read_count, now_ms);
    for (unsigned i = 0; i < batch->member_count; i++) {
        const struct link_member_request *member = &batch->members[i];
        if (member->is_transfer)
            replica_transfer_leader(replica, member->token, member->change.member.id, now_ms);
        else
            replica_change_members(replica, member->token, &member->change, false, now_ms);
    }
    if (batch->lease_count)
        replica_ask_leases(replica, batch->leases, batch->lease_count, now_ms);
    for (unsigned i = 0; i < batch->defragment_count; i++)
        defragment_ask(&self->defragment, replica, batch->defragments[i], now_ms);
    raft_blob_unref(batch->blob);
    mailbox_post(&self->config.fronts[batch->front]->batches, &batch->node);
}

static void take_fronts(struct core *self, uint64_t now_ms)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&self->inbox.batches); node; node = next) {
        next = node->next;
        take_batch(self, LIST_ENTRY(node, struct front_batch, node), now_ms);
    }
    for (struct mailbox_node *node = mailbox_take(&self->inbox.replies_back); node; node = next) {
        next = node->next;
        replica_replies_give_back(self->config.replica,
                                  LIST_ENTRY(node, struct replica_replies, node));
    }
}

/* ── Effects ────────────────────────────────────────────────────────────────────────────────── */

static void submit(struct core *self, const struct replica_append *append)
{
    struct stage_log_batch *batch = stage_log_batch_new(append->entry_count);
    for (size_t i = 0; i < append->entry_count; i++)
        stage_log_batch_add(batch, &append->entries[i]);
    batch->id = append->batch;
    batch->term = append->hard_state.term;
    batch->must_sync = append->must_sync;
    batch->has_state = append->has_hard_state;
    batch->state = append->hard_state;
    batch->has_snapshot = append->has_snapshot;
    batch->installs = append->installs;
    batch->owner = extra_of(append);
    if (append->has_snapshot) {
        struct append_extra *extra = batch->owner;
        batch->snapshot = (struct wal_snapshot){.index = append->snapshot_index,
                                                .term = append->snapshot_term,
                                                .conf_state = buf_bytes(&extra->conf_state)};
    }
    stage_log_submit(self->config.log, batch);
}

static void flush(struct core *self, const struct replica_flush *flush)
{
    buf_clear(&self->conf_state);
    err e = raft_codec_conf_state_encode(&flush->conf, &self->conf_state);
    CHECK(err_ok(e)); /* RAFT_MEMBERS_MAX ids fit by far */
    if (flush->index) {
        struct mvcc_frame frame = {.seq = flush->seq,
                                   .index = flush->index,
                                   .term = flush->term,
                                   .revision = flush->revision,
                                   .compact_revision = flush->compact_revision,
                                   .conf_state = buf_bytes(&self->conf_state)};
        stage_store_flush(self->config.store, &frame);
    }
    if (flush->open_seq > flush->seq)
        stage_store_spill(self->config.store, flush->open_seq);
}

static void carry_out(struct core *self, const struct replica_effects *effects)
{
    const struct core_config *config = &self->config;
    if (effects->failure.code)
        config->fatal(config->ctx, "this member's own data contradict each other",
                      effects->failure);
    if (effects->view_changed)
        config->view_changed(config->ctx);
    if (effects->send_count)
        config->send(config->ctx, effects->sends, effects->send_count);
    if (effects->members_changed) /* who is removed is told so before its streams end */
        config->members_changed(config->ctx);
    for (size_t i = 0; i < effects->append_count; i++)
        submit(self, effects->appends[i]);
    for (size_t i = 0; i < effects->snapshot_count; i++)
        config->send_snapshot(config->ctx, effects->snapshots[i]);
    if (effects->installed)
        config->installed(config->ctx);
    struct replica_replies *next;
    for (struct replica_replies *replies = effects->replies; replies; replies = next) {
        next = replies->next;
        if (replies->front < config->front_count) {
            mailbox_post(&config->fronts[replies->front]->replies, &replies->node);
            continue;
        }
        config->member_replies(config->ctx, replies);
        replica_replies_give_back(config->replica, replies);
    }
    if (effects->lease_forward_count)
        config->ask_leader(config->ctx, effects->lease_forwards, effects->lease_forward_count);
    if (effects->promote_forward_count)
        config->ask_promotion(config->ctx, effects->promote_forwards,
                              effects->promote_forward_count);
    for (size_t i = 0; i < effects->promoted_count; i++)
        config->promoted(config->ctx, effects->promoted[i]);
    if (effects->flush)
        flush(self, effects->flush);
    if (effects->sync_store)
        stage_store_sync(config->store);
    if (effects->floor_seq > self->floor_seq) {
        self->floor_seq = effects->floor_seq;
        stage_store_swept(config->store, effects->floor_seq);
    }
    if (effects->stopped && !self->told_stopped) {
        self->told_stopped = true;
        config->stopped(config->ctx);
    }
}

static void watch_apply(const struct core *self, const struct replica_effects *effects,
                        uint64_t begin_ns)
{
    uint64_t limit_ns = self->config.warning_apply_ns, now_ns = clock_mono_ns();
    if (effects->long_entry_index)
        begin_ns = effects->long_entry_begin_ms * 1000000;
    if (!limit_ns || now_ns - begin_ns <= limit_ns)
        return;
    const struct replica_view *view = replica_view_get(self->config.replica);
    notice_slow_apply(now_ns - begin_ns, limit_ns, view->applied_index);
}

bool core_pass(struct core *self, uint64_t now_ms, uint64_t *ret_deadline_ms)
{
    take_log(self, now_ms);
    take_store(self, now_ms);
    take_fronts(self, now_ms);
    if (now_ms - self->pins_expired_ms >= PINS_EXPIRE_MS) {
        self->pins_expired_ms = now_ms;
        mvcc_pins_expire(self->config.pins, now_ms);
    }
    uint64_t defragment_ms = defragment_tick(&self->defragment, self->config.replica,
                                             self->config.store, self->config.revlog, now_ms);
    uint64_t begin_ns = clock_mono_ns();
    const struct replica_effects *effects = replica_pass(self->config.replica, now_ms);
    watch_apply(self, effects, begin_ns);
    bool more = effects->more;
    *ret_deadline_ms = effects->deadline_ms < defragment_ms ? effects->deadline_ms : defragment_ms;
    carry_out(self, effects);
    return more;
}

static bool run(void *ctx)
{
    struct core *self = ctx;
    struct mailbox *boxes[] = {&self->log_completions, &self->store_completions,
                               &self->inbox.batches, &self->inbox.replies_back};
    for (size_t i = 0; i < sizeof(boxes) / sizeof(boxes[0]); i++)
        mailbox_awake(boxes[i]);
    self->woken = false;
    uint64_t deadline_ms;
    bool more = core_pass(self, io_loop_now_ms(self->config.loop), &deadline_ms);
    more = more || self->woken;
    io_loop_timer_at(self->config.loop, &self->timer, deadline_ms);
    for (size_t i = 0; i < sizeof(boxes) / sizeof(boxes[0]); i++)
        more = !mailbox_sleep(boxes[i]) || more;
    return more;
}

static void timer_fired(void *ctx)
{
    /* The pass that follows is all there is to do. */
    (void)ctx;
}

void core_attach(struct core *self, const struct core_config *config)
{
    self->config = *config;
}

void core_start(struct core *self, const struct core_config *config)
{
    core_attach(self, config);
    self->stage = (struct io_stage){.order = CORE_STAGE, .run = run, .ctx = self};
    list_init(&self->stage.node);
    io_timer_init(&self->timer, timer_fired, self);
    io_loop_stage_add(config->loop, &self->stage);
    self->running = true;
    io_loop_wake(config->loop);
}

void core_stop(struct core *self)
{
    if (!self->running)
        return;
    self->running = false;
    io_loop_timer_stop(self->config.loop, &self->timer);
    io_loop_stage_remove(self->config.loop, &self->stage);
}

void core_drain(struct core *self, uint64_t now_ms)
{
    take_log(self, now_ms);
    take_store(self, now_ms);
    take_fronts(self, now_ms);
}

void core_settle_store(struct core *self, struct stage_store *store)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&self->store_completions); node; node = next) {
        struct stage_store_status status;
        next = node->next;
        stage_store_settle(store, LIST_ENTRY(node, struct stage_store_reply, node), &status);
    }
}

void core_wake(struct core *self)
{
    self->woken = true;
    if (self->config.loop)
        io_loop_wake(self->config.loop);
}
