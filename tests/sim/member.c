/* One member: assembled by the server's own boot, run by the server's own core; the stages' steps
 * are events, and whatever may end a process may come between two of them or inside a file call.
 *
 * Checked here:
 *  1. a member starts from whatever an end has left, unless its bytes were changed under it;
 *  2. what it had applied or vouched for is there again;
 *  3. a stage calls for the process' end only where a file call was made to fail;
 *  4. no frame of the store runs ahead of the write-ahead log;
 *  5. that a change of members which it has applied is committed is durable once its log rests;
 *  6. the core comes to rest, and so does cleaning. */
#include "sim.h"

#include "base/check.h"
#include "member_priv.h"
#include "stage/log_priv.h"
#include "stage/store_priv.h"

#include <stdlib.h>

#define PASS_COST_US  10
#define RESTLESS_MAX  5000
#define CLEANINGS_MAX 100 /* without any news for it */
#define LOG_TICK_US   (100 * MS)
#define STORE_TICK_US (200 * MS)
#define RESTART_US    (1 * SECOND)
#define STOP_US       (500 * MS) /* as long as the server waits */
#define HEARD_US      (2 * MS)   /* until the loop looks at what a worker has done */

uint64_t member_ms(const struct node *self)
{
    return (self->sim->now_us * self->clock_rate / 1000 + self->clock_offset_us) / MS;
}

static uint64_t sim_time_of(const struct node *self, uint64_t local_ms)
{
    uint64_t local_us = local_ms * MS;
    if (local_us <= self->clock_offset_us)
        return self->sim->now_us;
    return ((local_us - self->clock_offset_us) * 1000 + self->clock_rate - 1) / self->clock_rate;
}

/* As after a suspend: what the member waits for may be due at once. */
void member_clock_jump(struct node *self, uint64_t us)
{
    self->clock_offset_us += us;
    self->sim->counts->clock_jumped++;
    self->sim->jumped_us = self->sim->now_us;
    sim_say(self->sim, "m%u's clock jumps %llu ms ahead", self->at, (unsigned long long)(us / MS));
    member_wake(self);
}

struct replica *member_replica(const struct node *self)
{
    return self->life->replica;
}

struct stage_log *member_log(const struct node *self)
{
    return self->life->boot.log;
}

bool member_runs(const struct node *self)
{
    return self->state == MEMBER_UP && self->paused_until_us <= self->sim->now_us;
}

/* ---- ways out of production code --------------------------------------------------------------
 */

void member_leave(struct node *self, enum leave how)
{
    CHECK(self->life && self->life->inside);
    longjmp(self->life->leave, how);
}

static enum disk_fault before_call(void *ctx, const char *call, const char *name, bool is_sync)
{
    struct node *self = ctx;
    sim_note(self->sim, self->at, (uint64_t)(unsigned char)call[0]);
    if (self->sim->options.crash.on)
        return crash_before_call(self, call, name);
    bool is_late = strcmp(call, "late_sync") == 0;
    bool counts = self->end_in == END_IN_ANY || (self->end_in == END_IN_SYNC ? is_sync : is_late);
    if (counts && self->end_in_calls && --self->end_in_calls == 0)
        return self->end_by_power ? DISK_POWER_OFF : DISK_KILL;
    bool can_fail = is_sync || strcmp(call, "write") == 0;
    if (self->error_in_calls && can_fail && --self->error_in_calls == 0) {
        self->error_hit = true;
        if (is_sync)
            self->sim->counts->sync_error++;
        else
            self->sim->counts->write_error++;
        sim_say(self->sim, "m%u %s %s fails", self->at, call, name);
        return DISK_ERROR;
    }
    return DISK_FINE;
}

static void on_end(void *ctx, enum disk_fault how)
{
    member_leave(ctx, how == DISK_POWER_OFF ? LEAVE_POWER_OFF : LEAVE_KILLED);
}

static void free_batches(struct life *life)
{
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&life->front.batches); node; node = next) {
        next = node->next;
        free(LIST_ENTRY(node, struct front_batch, node));
    }
}

/* In the server's order. The stages' steps are run to their end on a disk that is dead. */
static void take_down(struct life *life, uint64_t now_ms, bool log_flies)
{
    struct stage_store *store = life->boot.store.stage;
    watch_hub_free(life->hub);
    if (life->in)
        streams_close(life);
    if (life->replica) {
        if (log_flies)
            stage_log_finish(life->boot.log);
        while (stage_log_begin(life->boot.log))
            stage_log_finish(life->boot.log);
        (void)stage_store_begin(store);
        stage_store_finish(store);
        core_drain(life->core, now_ms);
        free_batches(life);
        opened_store_state_taken(&life->boot.store);
        replica_free(life->replica);
    }
    boot_done(&life->boot);
    epoch_done(&life->epoch);
    stage_store_free(store);
    core_free(life->core);
    config_done(&life->config);
    free(life);
}

static void gone(struct node *self)
{
    self->state = MEMBER_GONE;
    self->sim->counts->boots_refused++;
    sim_say(self->sim, "m%u is gone for good", self->at);
}

static void boot_refused(struct node *self, struct life *life, err e, const char *reason)
{
    struct sim *sim = self->sim;
    sim_say(sim, "m%u does not start: %s (%s)", self->at, reason, err_name(e));
    bool asks = self->joins && (err_is(e, ERR_MISMATCH) || err_is(e, ERR_UNREACHABLE) ||
                                (self->same_url && err_is(e, ERR_EXISTS)));
    bool excused =
        asks || self->suspect || self->error_hit || (self->full && err_is(e, ERR_DISK_FULL));
    sim->counts->joins_refused += asks;
    if (!excused)
        sim_fail(sim, "m%u does not start: %s (%s)", self->at, reason, err_name(e));
    struct disk *left = disk_end_life(self->disk, false);
    take_down(life, member_ms(self), false);
    disk_free(self->disk);
    self->disk = left;
    self->life = NULL;
    if (self->suspect && !asks && !self->error_hit && !(self->full && err_is(e, ERR_DISK_FULL)))
        gone(self);
    else
        sim_at(sim, sim->now_us + RESTART_US, EVENT_BOOT, self->at, 0, NULL);
    self->error_hit = false;
}

static void ended(struct node *self, enum leave how);

static void check_recovered(struct node *self, const struct life *life)
{
    const struct stage_log_recovery *log = &life->boot.log_recovery;
    if (self->suspect)
        return;
    if (log->last_index < self->applied_max)
        sim_fail(self->sim, "m%u had applied up to %llu, its log ends at %llu", self->at,
                 (unsigned long long)self->applied_max, (unsigned long long)log->last_index);
    if (log->state.term < self->term_max)
        sim_fail(self->sim, "m%u had vouched in term %llu, its log knows %llu", self->at,
                 (unsigned long long)self->term_max, (unsigned long long)log->state.term);
}

static void boot(struct node *self)
{
    struct sim *sim = self->sim;
    if (self->state != MEMBER_DOWN)
        return;
    if (self->away_until_us > sim->now_us) {
        sim_at(sim, self->away_until_us, EVENT_BOOT, self->at, 0, NULL);
        return;
    }
    struct life *life = calloc(1, sizeof(*life));
    CHECK(life);
    self->life = life;
    self->life_number++;
    self->log_flies = self->store_flies = false;
    self->served_count = 0;
    self->pass_at_us = UINT64_MAX;
    sim->counts->boots++;
    if (self->life_number > 1 && sim->plan.flags_change && sim_chance(sim, 300)) {
        nemesis_flags(sim, &self->flags);
        sim->counts->flags_changed++;
    }
    sim_say(sim, "m%u boots", self->at);
    if (self->rots_in_rest)
        nemesis_rot(sim, self, ".row", true);
    self->rots_in_rest = false;
    int how = setjmp(life->leave);
    if (how) {
        sim->counts->power_off_in_boot += how == LEAVE_POWER_OFF;
        ended(self, (enum leave)how);
        return;
    }
    life->inside = true;
    const char *reason = "";
    err e = member_assemble(self, life, &reason);
    life->inside = false;
    if (!err_ok(e)) {
        boot_refused(self, life, e, reason);
        return;
    }
    self->state = MEMBER_UP;
    sim->counts->installs += life->boot.installed_index != 0;
    self->installs = false;
    member_hub_renew(self);
    check_recovered(self, life);
    self->durable = life->boot.log_recovery.state;
    self->changed_index = 0;
    self->cleanings = 0; /* one that finds rotten bytes ends its life, each time */
    nemesis_booted(sim, self);
    sim_say(sim, "m%u is up: applied %llu, log [%llu, %llu], term %llu vote %llx commit %llu",
            self->at, (unsigned long long)life->boot.start.applied_index,
            (unsigned long long)life->boot.log_recovery.first_index,
            (unsigned long long)life->boot.log_recovery.last_index,
            (unsigned long long)life->boot.log_recovery.state.term,
            (unsigned long long)life->boot.log_recovery.state.vote,
            (unsigned long long)life->boot.log_recovery.state.commit);
    for (unsigned i = 0; i < SIM_MEMBERS_MAX; i++)
        sim->linked[self->at][i] = sim->linked[i][self->at] = false;
    oracle_boot(sim->oracle, self, life->boot.start.applied_index);
    member_wake(self);
    sim_at(sim, sim->now_us + LOG_TICK_US, EVENT_LOG_TICK, self->at, self->life_number, NULL);
    sim_at(sim, sim->now_us + sim_below(sim, STORE_TICK_US), EVENT_STORE_TICK, self->at,
           self->life_number, NULL);
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void toll(struct node *self)
{
    struct disk_toll toll = disk_toll(self->disk);
    struct sim_counts *counts = self->sim->counts;
    counts->sectors_kept += toll.kept;
    counts->sectors_dropped += toll.dropped;
    counts->sectors_reordered += toll.reordered;
    counts->sectors_evicted += toll.evicted;
    counts->names_lost += toll.names_lost;
}

static void ended_common(struct node *self, uint64_t wait_us)
{
    struct sim *sim = self->sim;
    if (self->state == MEMBER_UP)
        clients_member_ended(sim->clients, self);
    if (self->suspect)
        sim->rotten_ended_us = sim->now_us;
    self->state = MEMBER_DOWN;
    self->life = NULL;
    self->paused_until_us = 0;
    self->end_in_calls = self->error_in_calls = 0;
    self->error_hit = false;
    for (unsigned i = 0; i < sim->slots; i++)
        sim->linked[self->at][i] = false;
    toll(self);
    sim_at(sim, sim->now_us + wait_us, EVENT_BOOT, self->at, 0, NULL);
}

static uint64_t restart_wait_us(struct sim *sim)
{
    return sim->healed ? 100 * MS : sim_around(sim, sim->plan.restart_us);
}

/* In the middle of a call: what the process had in memory is left where it is, as nobody could
 * take it down from there. */
static void ended(struct node *self, enum leave how)
{
    struct sim *sim = self->sim;
    bool power_off = how == LEAVE_POWER_OFF;
    if (how == LEAVE_FATAL) /* the machine may well go with its disk */
        power_off = sim_chance(sim, 300);
    else if (power_off)
        sim->counts->power_off_in_call++;
    else
        sim->counts->kill_in_call++;
    sim_say(sim, "m%u ended in a call%s", self->at, power_off ? ", power off" : "");
    self->life->inside = false;
    disk_end_life_here(self->disk, power_off);
    sim->counts->crash_in_install += self->installs;
    ended_common(self, restart_wait_us(sim));
}

void member_end(struct node *self, bool power_off)
{
    struct sim *sim = self->sim;
    if (self->state != MEMBER_UP)
        return;
    sim_say(sim, "m%u ends%s", self->at, power_off ? ", power off" : "");
    struct disk *old = self->disk;
    struct life *life = self->life;
    sim->counts->crash_in_install += self->installs;
    self->disk = disk_end_life(old, power_off);
    streams_life_over(self);
    ended_common(self, restart_wait_us(sim));
    take_down(life, member_ms(self), self->log_flies);
    disk_free(old);
}

/* ---- orderly ends -----------------------------------------------------------------------------
 */

void member_stop(struct node *self)
{
    struct life *life = self->life;
    if (life->stopping)
        return;
    sim_say(self->sim, "m%u stops%s", self->at, life->leave_at_us ? "" : " to start anew");
    life->stopping = true;
    life->stop_at_us = self->sim->now_us + STOP_US;
    if (!life->leave_at_us)
        nemesis_installs(self->sim, self);
    replica_stop(life->replica, member_ms(self));
    member_wake(self);
}

/* In the server's order: the stages write what they were given. */
static void stop_stages(struct node *self)
{
    struct boot *boot = &self->life->boot;
    if (self->log_flies)
        stage_log_finish(boot->log);
    while (stage_log_begin(boot->log))
        stage_log_finish(boot->log);
    if (self->store_flies)
        stage_store_finish(boot->store.stage);
    while (stage_store_begin(boot->store.stage))
        stage_store_finish(boot->store.stage);
    self->log_flies = self->store_flies = false;
}

/* The process is the same, so what was to befall it still is. */
static void begin_anew(struct node *self)
{
    struct life *life = self->life;
    struct disk *old = self->disk;
    uint64_t end_in_calls = self->end_in_calls, error_in_calls = self->error_in_calls;
    self->disk = disk_end_life(old, false);
    streams_life_over(self);
    bool leaves = life->leave_at_us != 0;
    ended_common(self, 1 * MS);
    take_down(life, member_ms(self), false);
    disk_free(old);
    self->end_in_calls = end_in_calls;
    self->error_in_calls = error_in_calls;
    if (leaves)
        member_left(self);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

void member_wake(struct node *self)
{
    struct sim *sim = self->sim;
    if (self->state != MEMBER_UP)
        return;
    uint64_t at_us = sim->now_us + PASS_COST_US;
    if (self->pass_at_us <= at_us)
        return;
    self->pass_at_us = at_us;
    sim_at(sim, at_us, EVENT_PASS, self->at, self->life_number, NULL);
}

static uint64_t disk_time(struct node *self, uint64_t usual_us)
{
    struct sim *sim = self->sim;
    uint64_t us = usual_us / 2 + sim_below(sim, usual_us), longer_us = 0;
    if (self->slow_until_us > sim->now_us)
        longer_us = 49 * us;
    if (self->stalls && sim->now_us < sim->plan.chaos_us) {
        longer_us += self->stall_us;
        self->stalls--;
    }
    /* No fault outlasts the chaos: where it ends within, the work is as if begun then. */
    uint64_t left_us = sim->now_us < sim->plan.chaos_us ? sim->plan.chaos_us - sim->now_us : 0;
    return us + (longer_us < left_us ? longer_us : left_us);
}

static void log_begin(struct node *self)
{
    if (self->log_flies || !stage_log_begin(self->life->boot.log))
        return;
    self->log_flies = true;
    sim_at(self->sim, self->sim->now_us + disk_time(self, 400), EVENT_LOG_DONE, self->at,
           self->life_number, NULL);
}

static void note_durable(struct node *self)
{
    const struct wal_plan *plan = &self->life->boot.log->plan;
    if (plan->synced)
        self->durable = plan->state;
}

/* Who was removed stops soon: where it was one of two the other one could not elect itself if it
 * forgot that. What waits for room on a full disk is not there yet. */
static void check_change_durable(struct node *self)
{
    bool rests = !self->log_flies && !self->life->boot.log->waiting;
    if (rests && self->durable.commit < self->changed_index)
        sim_fail(self->sim,
                 "m%u has applied the change of members at %llu, its log rests, durable is that "
                 "%llu is committed",
                 self->at, (unsigned long long)self->changed_index,
                 (unsigned long long)self->durable.commit);
}

static void log_done(struct node *self)
{
    self->log_flies = false;
    stage_log_finish(self->life->boot.log);
    note_durable(self);
    log_begin(self);
    check_change_durable(self);
    member_wake(self);
}

static void log_tick(struct node *self)
{
    if (!self->log_flies)
        log_begin(self);
    if (!self->log_flies)
        stage_log_mark(self->life->boot.log);
    member_wake(self);
    sim_at(self->sim, self->sim->now_us + LOG_TICK_US, EVENT_LOG_TICK, self->at, self->life_number,
           NULL);
}

void member_check_stored(struct node *self)
{
    const struct stage_store *store = self->life->boot.store.stage;
    if (store->frame.index > stage_log_last_index(self->life->boot.log))
        sim_fail(self->sim, "m%u: the store's frame %llu is ahead of the durable log, %llu",
                 self->at, (unsigned long long)store->frame.index,
                 (unsigned long long)stage_log_last_index(self->life->boot.log));
}

static void store_begin(struct node *self)
{
    if (self->store_flies || !stage_store_begin(self->life->boot.store.stage))
        return;
    member_check_stored(self);
    self->store_flies = true;
    sim_at(self->sim, self->sim->now_us + disk_time(self, 1000), EVENT_STORE_DONE, self->at,
           self->life_number, NULL);
}

/* There are never that many segments: it rewrites the same ones. */
static void cleaning_begun(struct node *self, const struct stage_store *store)
{
    uint64_t news = store->synced_seq + store->floor + store->checkpoint_seqs[1];
    self->sim->counts->cleanings++;
    self->cleanings = news == self->cleaned_at ? self->cleanings + 1 : 0;
    self->cleaned_at = news;
    if (self->cleanings > CLEANINGS_MAX)
        sim_fail(self->sim, "m%u cleans over and over", self->at);
}

static void store_done(struct node *self)
{
    struct stage_store *store = self->life->boot.store.stage;
    self->store_flies = false;
    stage_store_finish(store);
    uint64_t checkpoint = store->checkpoint_seqs[0];
    enum store_clean_step step = store->clean.step;
    if (!store_wants_write(store) && stage_store_work(store)) {
        stage_store_finish(store);
        self->store_flies = true; /* the next slice after a while */
        sim_at(self->sim, self->sim->now_us + disk_time(self, 500), EVENT_STORE_DONE, self->at,
               self->life_number, NULL);
    }
    if (store->checkpoint_seqs[0] != checkpoint) {
        self->sim->counts->checkpoints++;
        nemesis_checkpointed(self->sim, self);
    }
    if (step != CLEAN_COPY && store->clean.step == CLEAN_COPY)
        cleaning_begun(self, store);
    self->cleaned |= step != CLEAN_IDLE && store->clean.step == CLEAN_IDLE;
    member_wake(self);
}

static void store_tick(struct node *self)
{
    if (!self->store_flies)
        store_begin(self);
    if (!self->store_flies)
        store_done(self);
    sim_at(self->sim, self->sim->now_us + STORE_TICK_US, EVENT_STORE_TICK, self->at,
           self->life_number, NULL);
}

static void take_replies(struct node *self)
{
    struct life *life = self->life;
    struct mailbox_node *next;
    for (struct mailbox_node *node = mailbox_take(&life->front.replies); node; node = next) {
        next = node->next;
        struct replica_replies *replies = LIST_ENTRY(node, struct replica_replies, node);
        for (size_t i = 0; i < replies->count; i++)
            clients_reply(self->sim->clients, self, &replies->items[i]);
        mailbox_post(&core_inbox(life->core)->replies_back, &replies->node);
    }
    free_batches(life);
}

static void pass(struct node *self)
{
    struct sim *sim = self->sim;
    struct life *life = self->life;
    self->pass_at_us = UINT64_MAX;
    uint64_t deadline_ms;
    bool more = core_pass(life->core, member_ms(self), &deadline_ms);
    oracle_look(sim->oracle, self);
    member_look_removed(self);
    bool again = more || deadline_ms <= member_ms(self);
    uint64_t applied = member_view_enter(self)->applied_index;
    member_view_leave(self);
    self->restless = again && applied == self->restless_applied ? self->restless + 1 : 0;
    self->restless_applied = applied;
    if (self->restless > RESTLESS_MAX)
        sim_fail(sim, "m%u: the core asks for pass after pass", self->at);
    take_replies(self);
    watchers_run(sim->clients, self);
    log_begin(self);
    store_begin(self);
    uint64_t at_us = more ? sim->now_us + PASS_COST_US : sim_time_of(self, deadline_ms);
    if (at_us <= sim->now_us)
        at_us = sim->now_us + PASS_COST_US;
    if (at_us < self->pass_at_us) {
        self->pass_at_us = at_us;
        sim_at(sim, at_us, EVENT_PASS, self->at, self->life_number, NULL);
    }
}

/* An event of the member's own. False: it is stopped, ask again later. */
bool member_event(struct node *self, const struct event *event)
{
    if (event->kind == EVENT_BOOT) {
        boot(self);
        return true;
    }
    if (self->state != MEMBER_UP || event->life != self->life_number)
        return true;
    if (self->paused_until_us > self->sim->now_us)
        return false;
    struct life *life = self->life;
    int how = setjmp(life->leave);
    if (how) {
        ended(self, (enum leave)how);
        return true;
    }
    life->inside = true;
    switch (event->kind) {
    case EVENT_PASS:
        if (event->at_us >= self->pass_at_us)
            pass(self);
        break;
    case EVENT_LOG_DONE:
        log_done(self);
        break;
    case EVENT_LOG_TICK:
        log_tick(self);
        break;
    case EVENT_STORE_DONE:
        store_done(self);
        break;
    case EVENT_STORE_TICK:
        store_tick(self);
        break;
    case EVENT_JOB:
        self->installs = true;
        streams_job(self, event->what);
        break;
    case EVENT_BOOT:
    case EVENT_PACKET:
    case EVENT_ASK:
    case EVENT_STREAM:
    case EVENT_CHANGE:
    case EVENT_CLIENT:
    case EVENT_WATCH:
    case EVENT_NEMESIS:
    case EVENT_LINKS:
    case EVENT_FLAP:
    case EVENT_CHASE:
    case EVENT_HEAL:
    case EVENT_CALM:
    case EVENT_END:
    case EVENT_KINDS:
        CHECK(false);
    }
    if (life->stopping && (life->stopped || life->stop_at_us <= self->sim->now_us)) {
        stop_stages(self);
        life->inside = false;
        begin_anew(self);
        return true;
    }
    life->inside = false;
    return true;
}

bool member_inside(struct node *self, void (*call)(void *ctx), void *ctx)
{
    struct life *life = self->life;
    int how = setjmp(life->leave);
    if (how) {
        ended(self, (enum leave)how);
        return false;
    }
    life->inside = true;
    call(ctx);
    life->inside = false;
    return true;
}

void member_job_later(struct node *self, struct io_job *job, bool worked)
{
    struct sim *sim = self->sim;
    uint64_t us;
    if (worked) {
        us = 1 + sim_below(sim, HEARD_US);
    } else {
        nemesis_strike(sim, self);
        us = disk_time(self, sim->plan.worker_us);
    }
    sim_at(sim, sim->now_us + us, EVENT_JOB, self->at, self->life_number, job);
}

void member_step(struct node *self, const struct raft_message *message)
{
    replica_step(self->life->replica, message, member_ms(self));
    member_wake(self);
}

void member_report(struct node *self, uint64_t peer, bool up)
{
    const struct cluster_version version = {3, 7};
    struct replica *replica = self->life->replica;
    replica_peer_report(replica, peer, up ? PEER_ACTIVE : PEER_INACTIVE, version, member_ms(self));
    if (up)
        replica_peer_report(replica, peer, PEER_VERSION, version, member_ms(self));
    member_wake(self);
}

/* ---- looking in --------------------------------------------------------------------------------
 */

struct watch_hub *member_hub(const struct node *self)
{
    return self->life->hub;
}

void member_hub_renew(struct node *self)
{
    const struct watch_hub_config config = {
        .seed = 1 + self->life_number, .pins = self->life->pins, .ops = &watchers_ops};
    watch_hub_free(self->life->hub);
    self->life->hub = watch_hub_new(&config);
}

struct mvcc_pins *member_pins(const struct node *self)
{
    return self->life->pins;
}

uint64_t member_request_id(struct node *self)
{
    return request_ids_take(&self->life->ids, 1);
}

const struct replica_view *member_view_enter(struct node *self)
{
    epoch_enter(&self->life->epoch, self->life->slot);
    return replica_view_get(self->life->replica);
}

void member_view_leave(struct node *self)
{
    epoch_leave(self->life->slot);
}

void member_disk_new(struct node *self)
{
    struct disk_hooks hooks = {self, before_call, on_end};
    self->disk = disk_new(&hooks, prng_next(&self->sim->prng));
}

/* ---- birth and death ---------------------------------------------------------------------------
 */

struct node *member_new(struct sim *sim, unsigned at)
{
    struct node *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    self->at = at;
    self->flags = sim->plan.flags;
    self->clock_rate = sim->plan.drift ? 980 + sim_below(sim, 41) : 1000;
    sim->counts->clock_drifted += self->clock_rate != 1000;
    self->clock_offset_us = SECOND + sim_below(sim, 1000 * SECOND);
    member_disk_new(self);
    self->state = at < sim->plan.members ? MEMBER_DOWN : MEMBER_ABSENT;
    (void)snprintf(self->name, sizeof(self->name), "m%u", at);
    (void)snprintf(self->url, sizeof(self->url), "http://10.0.0.%u:2380", at + 1);
    return self;
}

void member_free(struct node *self)
{
    if (self->state == MEMBER_UP) {
        disk_die(self->disk);
        streams_life_over(self);
        take_down(self->life, member_ms(self), self->log_flies);
    }
    disk_free(self->disk);
    free(self->served);
    free(self);
}
