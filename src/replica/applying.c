/* Committed entries, all of them durable here, go into the state one after the other; a budget of
 * operations ends the pass, and an entry that takes longer goes on in the next one. */
#include "base/bug.h"
#include "base/metrics.h"
#include "replica/replica_internal.h"
#include "state/op_metrics.h"

#include <stdlib.h>

/* In milliseconds, as etcd has it: the unit of an observation is a second. */
#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
static struct metric compaction_ms = {
    .name = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
    .help = "How long compactions took until all that they let go was marked.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 100,
    .bucket_factor = 2,
    .bucket_count = 14};
static struct metric compaction_entry_ms = {
    .name = "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
    .help = "How long the entry of a compaction kept the core.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 0.5,
    .bucket_factor = 2,
    .bucket_count = 14};
static struct metric sweep_ms = {
    .name = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
    .help = "How long each slice of what a compaction leaves to do kept the core.",
    .kind = METRIC_HISTOGRAM,
    .bucket_start = 1,
    .bucket_factor = 2,
    .bucket_count = 13};

void applying_register_metrics(void)
{
    metric_register(&compaction_ms);
    metric_register(&compaction_entry_ms);
    metric_register(&sweep_ms);
}

static void observe_ms(struct metric *metric, uint64_t took_ns)
{
    metric_observe_ns(metric, took_ns * (NS_PER_S / NS_PER_MS));
}

static uint64_t clock_now_ns(const struct replica *self)
{
    return self->clock_ns ? self->clock_ns() : 0;
}

/* What went by since the last look goes to the entry at hand. */
static uint64_t entry_time_ns(struct replica *self)
{
    uint64_t now_ns = clock_now_ns(self);
    uint64_t took_ns = now_ns - self->clock_seen_ns;
    self->clock_seen_ns = now_ns;
    return took_ns;
}

void applying_queue(struct replica *self, const struct raft_entry *entries, size_t count)
{
    if (self->committed_at == self->committed_count)
        self->committed_at = self->committed_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (self->committed_count == self->committed_cap && self->committed_at > 0) {
            size_t left = self->committed_count - self->committed_at;
            memmove(self->committed, self->committed + self->committed_at,
                    left * sizeof(self->committed[0]));
            self->committed_at = 0;
            self->committed_count = left;
        }
        self->committed = array_grow(self->committed, self->committed_count, &self->committed_cap,
                                     sizeof(self->committed[0]));
        self->committed[self->committed_count++] = entries[i];
    }
    raft_entries_ref(entries, count);
}

void applying_free(struct replica *self)
{
    raft_entries_unref(self->committed + self->committed_at,
                       self->committed_count - self->committed_at);
    free(self->committed);
}

/* --- conf changes ------------------------------------------------------------------------ */

/* Without it nothing could ever be agreed on again, so it stays; only a proposer that checks
 * nothing asks for that. */
static bool is_only_voter(const struct replica *self, uint64_t id)
{
    const struct raft_conf_state *conf = raft_conf(self->raft);
    return conf->voters.count == 1 && conf->voters_outgoing.count == 0 && conf->voters.ids[0] == id;
}

static err conf_change_apply(struct replica *self, const struct raft_conf_change *change)
{
    static const enum state_conf_type types[] = {
        [RAFT_ADD_NODE] = STATE_CONF_ADD,
        [RAFT_REMOVE_NODE] = STATE_CONF_REMOVE,
        [RAFT_UPDATE_NODE] = STATE_CONF_UPDATE,
        [RAFT_ADD_LEARNER] = STATE_CONF_ADD_LEARNER,
    };
    const struct raft_conf_single *single = &change->changes[0];
    enum state_conf_type type = types[single->type];
    if (type == STATE_CONF_REMOVE && is_only_voter(self, single->node_id))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    TRY(state_apply_conf_change(self->state, type, single->node_id, change->context));
    self->members_changed = true;
    struct raft_conf_state conf;
    err e = raft_apply_conf_change(self->raft, change, &conf);
    if (!err_ok(e)) { /* the members say yes and raft says no: the two have come apart */
        self->failure = ERR_CORRUPT;
        return e;
    }
    if (!BUG(change_unflushed))
        self->flushable.conf = conf;
    if (type == STATE_CONF_REMOVE)
        cluster_forget(self, single->node_id);
    /* What is given to it now is lost: it waits for the next leader. */
    if (type == STATE_CONF_REMOVE && single->node_id == raft_leader(self->raft) && !self->leading)
        raft_forget_leader(self->raft);
    if (type == STATE_CONF_REMOVE && single->node_id == self->member_id)
        self->is_removed = true;
    return OK;
}

/* A ConfChange of one member; the joint form is in no etcd's log and changes nothing here. */
static void conf_entry_apply(struct replica *self, const struct raft_entry *entry)
{
    struct raft_conf_change change;
    self->conf_applied = true;
    err e = raft_conf_change_decode(entry->type, entry->data, &change);
    if (!err_ok(e) || entry->type != RAFT_ENTRY_CONF_CHANGE || change.count != 1)
        return;
    struct state_result result = {.error = conf_change_apply(self, &change)};
    result.op.kind = STATE_MEMBERS;
    struct pending *pending = proposals_take(self, change.id);
    if (pending)
        proposals_answer(self, pending, &result);
}

/* --- entries ----------------------------------------------------------------------------- */

static void entry_finish(struct replica *self, const struct raft_entry *entry)
{
    struct mvcc_store *store = state_store(self->state);
    uint64_t seq = mvcc_store_seq(store);
    self->applied_index = entry->index;
    self->applied_term = entry->term;
    self->unpublished = true;
    if (!self->dirty_since_ms)
        self->dirty_since_ms = self->now_ms ? self->now_ms : 1;
    self->flushable.seq = BUG(frame_index_ahead) ? self->flushable.open_seq : seq;
    self->flushable.open_seq = seq;
    self->flushable.index = entry->index - BUG(frame_index_behind);
    self->flushable.term = entry->term;
    self->flushable.revision = mvcc_store_revision(store);
    self->flushable.compact_revision = mvcc_store_compact_revision(store);
    if (self->entry_begun && self->entry_passes) {
        self->effects.long_entry_index = entry->index;
        self->effects.long_entry_begin_ms = self->entry_begin_ms;
    }
    raft_entries_unref(entry, 1);
    self->committed_at++;
    self->entry_begun = false;
}

static void note_took(struct replica *self, const struct state_result *result)
{
    if (!self->clock_ns)
        return;
    uint64_t took_ns = self->entry_took_ns + entry_time_ns(self);
    state_metrics_applied(self->state, took_ns);
    if (result->op.kind == STATE_COMPACTION && err_ok(result->error))
        observe_ms(&compaction_entry_ms, took_ns);
}

static void normal_entry_finish(struct replica *self, const struct raft_entry *entry)
{
    const struct state_result *result = state_result_of(self->state);
    note_took(self, result);
    if (result->op.kind == STATE_COMPACTION && err_ok(result->error)) {
        self->sweep_more = true;
        if (!self->compaction_begin_ms)
            self->compaction_begin_ms = self->now_ms ? self->now_ms : 1;
    }
    if (result->op.kind == STATE_MEMBERS)
        self->members_changed = true;
    leases_applied(self, result);
    if (entry->data.len == 0)
        self->empty_applied = true;
    if (self->entry_id) {
        struct pending *pending = proposals_take(self, self->entry_id);
        if (pending)
            proposals_answer(self, pending, result);
    }
    entry_finish(self, entry);
}

/* False: the pass is to end here. */
static bool normal_entry_run(struct replica *self, const struct raft_entry *entry, unsigned *budget)
{
    if (!self->entry_begun) {
        self->entry_id = state_begin(self->state, entry->data);
        self->entry_begun = true;
        self->entry_begin_ms = self->now_ms;
        self->entry_passes = 0;
        self->entry_took_ns = 0;
        if (self->unpublished && state_is_long(self->state))
            return false;
    }
    bool done = false;
    err e = state_run(self->state, budget, &done);
    if (!err_ok(e)) {
        self->failure = e;
        return false;
    }
    if (!done) {
        self->entry_passes++;
        self->entry_took_ns += entry_time_ns(self);
        self->flushable.open_seq = mvcc_store_seq(state_store(self->state));
        return false;
    }
    normal_entry_finish(self, entry);
    return true;
}

bool applying_run(struct replica *self)
{
    unsigned budget = self->apply_ops_max;
    uint64_t before = self->applied_index;
    (void)entry_time_ns(self);
    while (budget && err_ok(self->failure) && self->committed_at < self->committed_count &&
           !tail_is_full(self->tail)) {
        const struct raft_entry *entry = &self->committed[self->committed_at];
        CHECK(entry->index == self->applied_index + 1);
        if (entry->index <= self->skip_until) {
            self->applied_index = entry->index;
            raft_entries_unref(entry, 1);
            self->committed_at++;
        } else if (entry->type == RAFT_ENTRY_NORMAL) {
            if (!normal_entry_run(self, entry, &budget))
                break;
        } else {
            conf_entry_apply(self, entry);
            entry_finish(self, entry);
            (void)entry_time_ns(self);
            budget--;
        }
    }
    if (self->applied_index != before)
        raft_applied(self->raft, self->applied_index);
    return self->committed_at < self->committed_count && !tail_is_full(self->tail) &&
           err_ok(self->failure);
}

/* --- what compactions leave to do -------------------------------------------------------- */

static void note_compaction(struct replica *self)
{
    if (!self->compaction_begin_ms)
        return;
    metric_observe_ns(&compaction_ms, (self->now_ms - self->compaction_begin_ms) * NS_PER_S);
    self->compaction_done_ms = self->now_ms;
    self->compaction_begin_ms = 0;
}

void applying_sweep(struct replica *self)
{
    struct mvcc_store *store = state_store(self->state);
    if (self->now_ms >= self->sweep_retry_ms) {
        (void)mvcc_pins_expire(mvcc_store_pins(store), self->now_ms);
        self->sweep_retry_ms = self->now_ms + PIN_CHECK_MS;
        self->sweep_more |= !mvcc_store_is_swept(store);
    }
    if (!self->sweep_more || state_is_busy(self->state) || self->swept_ms == self->now_ms)
        return;
    self->swept_ms = self->now_ms;
    unsigned budget = SWEEP_ROWS;
    uint64_t seq = mvcc_store_seq(store);
    uint64_t begin_ns = clock_now_ns(self);
    err e = mvcc_store_sweep(store, &budget, &self->sweep_more, NULL);
    if (self->clock_ns && budget < SWEEP_ROWS)
        observe_ms(&sweep_ms, clock_now_ns(self) - begin_ns);
    if (!err_ok(e)) {
        self->failure = e;
        return;
    }
    if (budget < SWEEP_ROWS || mvcc_store_seq(store) != seq)
        self->unpublished = true;
    if (mvcc_store_is_swept(store)) {
        proposals_sweep_done(self);
        note_compaction(self);
    }
}

uint64_t applying_deadline_ms(const struct replica *self)
{
    return self->sweep_more && !state_is_busy(self->state) ? self->swept_ms + 1 : UINT64_MAX;
}
