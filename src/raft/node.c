#include "raft/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static err config_check(const struct raft_config *config)
{
    if (config->id == RAFT_NONE || config->id >= RAFT_APPLY_THREAD)
        return ERR_USAGE;
    if (config->heartbeat_ticks == 0 || config->election_ticks <= config->heartbeat_ticks)
        return ERR_USAGE;
    if (config->max_inflight_msgs == 0)
        return ERR_USAGE;
    if (config->read_mode == RAFT_READ_LEASE_BASED && !config->check_quorum)
        return ERR_USAGE;
    return OK;
}

static err load_state(struct raft *self, const struct raft_hard_state *state)
{
    if (state->term == 0 && state->vote == RAFT_NONE && state->commit == 0)
        return OK;
    if (state->commit < self->log.committed || state->commit > raft_log_last_index(&self->log))
        return ERR_CORRUPT;
    self->log.committed = state->commit;
    self->term = state->term;
    self->vote = state->vote;
    return OK;
}

static err load_applied(struct raft *self)
{
    if (self->config.applied == 0)
        return OK;
    if (self->config.applied < self->log.applied || self->config.applied > self->log.committed)
        return ERR_CORRUPT;
    self->log.applied = self->log.applying = self->config.applied;
    return OK;
}

static err load(struct raft *self)
{
    struct raft_hard_state hard_state = {0};
    struct raft_conf_state conf = {0};
    TRY(self->log.storage.initial_state(self->log.storage.ctx, &hard_state, &conf));
    if (raft_conf_check(&conf) != RAFT_CONF_FINE)
        return ERR_CORRUPT;
    TRY(load_state(self, &hard_state));
    TRY(load_applied(self));
    raft_switch_conf(self, &conf, raft_log_last_index(&self->log));
    raft_become_follower(self, self->term, RAFT_NONE);
    self->last_hard_state = raft_hard_state(self);
    self->last_soft_state = raft_soft_state(self);
    return OK;
}

err raft_new(const struct raft_config *config, const struct raft_storage *storage,
             struct raft **ret_raft)
{
    TRY(config_check(config));
    struct raft *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    if (self->config.max_committed_size_per_ready == 0)
        self->config.max_committed_size_per_ready = config->max_size_per_msg;
    if (self->config.max_committed_size_per_ready == 0)
        self->config.max_committed_size_per_ready = 1;
    prng_init(&self->prng, config->seed);
    raft_log_init(&self->log, storage, self->config.max_committed_size_per_ready);
    raft_tracker_init(&self->tracker, config->max_inflight_msgs, config->max_inflight_bytes);
    raft_generation_init(&self->generations[0]);
    raft_generation_init(&self->generations[1]);
    self->proposal_scratch = calloc(RAFT_ENTRIES_MAX, sizeof(*self->proposal_scratch));
    CHECK(self->proposal_scratch);
    err e = load(self);
    if (!err_ok(e)) {
        raft_free(self);
        return e;
    }
    *ret_raft = self;
    return OK;
}

void raft_free(struct raft *self)
{
    if (!self)
        return;
    raft_generation_done(&self->generations[0]);
    raft_generation_done(&self->generations[1]);
    raft_log_done(&self->log);
    raft_tracker_done(&self->tracker);
    raft_read_only_done(&self->reads);
    free(self->messages.messages);
    free(self->vouching.messages);
    free(self->read_states);
    free(self->proposal_scratch);
    free(self);
}

/* A message of ours to ourselves, which nothing can refuse. */
static void step_own(struct raft *self, struct raft_message m)
{
    err e = raft_step_any(self, &m);
    CHECK(err_ok(e));
}

static void tick_leader(struct raft *self)
{
    self->heartbeat_elapsed++;
    self->election_elapsed++;
    if (self->election_elapsed >= self->config.election_ticks) {
        self->election_elapsed = 0;
        if (self->config.check_quorum)
            step_own(self,
                     (struct raft_message){.type = RAFT_MSG_CHECK_QUORUM, .from = self->config.id});
        /* Who has not taken over by now will not. */
        self->transferee = RAFT_NONE;
    }
    if (self->role != RAFT_LEADER)
        return;
    if (self->heartbeat_elapsed >= self->config.heartbeat_ticks) {
        self->heartbeat_elapsed = 0;
        step_own(self, (struct raft_message){.type = RAFT_MSG_BEAT, .from = self->config.id});
    }
}

void raft_tick(struct raft *self)
{
    if (self->role == RAFT_LEADER) {
        tick_leader(self);
        return;
    }
    raft_acknowledge_due(self);
    self->election_elapsed++;
    if (raft_promotable(self) && self->election_elapsed >= self->randomized_election_ticks) {
        self->election_elapsed = 0;
        raft_campaign(self);
    }
}

void raft_campaign(struct raft *self)
{
    step_own(self, (struct raft_message){.type = RAFT_MSG_HUP, .from = self->config.id});
}

void raft_transfer_leader(struct raft *self, uint64_t to)
{
    step_own(self, (struct raft_message){.type = RAFT_MSG_TRANSFER_LEADER, .from = to});
}

void raft_forget_leader(struct raft *self)
{
    step_own(self, (struct raft_message){.type = RAFT_MSG_FORGET_LEADER});
}

void raft_report_unreachable(struct raft *self, uint64_t peer)
{
    step_own(self, (struct raft_message){.type = RAFT_MSG_UNREACHABLE, .from = peer});
}

void raft_report_snapshot(struct raft *self, uint64_t peer, bool ok)
{
    step_own(self,
             (struct raft_message){.type = RAFT_MSG_SNAP_STATUS, .from = peer, .reject = !ok});
}

void raft_hold_elections(struct raft *self, bool hold)
{
    self->elections_held = hold;
}

void raft_set_election_timeout(struct raft *self, uint32_t ticks)
{
    self->randomized_election_ticks = ticks;
}

struct raft_hard_state raft_hard_state(const struct raft *self)
{
    return (struct raft_hard_state){self->term, self->vote, self->log.committed};
}

struct raft_soft_state raft_soft_state(const struct raft *self)
{
    return (struct raft_soft_state){self->leader, self->role};
}

void raft_trace(const struct raft *self, enum raft_trace_level level, const char *format, ...)
{
    if (!self->config.trace)
        return;
    char text[640];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CHECK(n >= 0);
    self->config.trace(self->config.trace_ctx, level, text);
}
