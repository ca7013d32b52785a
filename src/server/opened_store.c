#include "server/opened_store.h"

#include <string.h>

static err stage_open(struct opened_store *self, const struct stage_store_config *config,
                      struct arena *arena, const char **ret_reason)
{
    struct revlog_fault fault = {0};
    err e = stage_store_open(config, 0, &self->stage, &self->recovery, &fault);
    if (err_is(e, ERR_CORRUPT) || err_is(e, ERR_MISMATCH))
        *ret_reason = arena_printf(arena, "the store is %s: %s/%s at offset %llu, change %llu",
                                   err_is(e, ERR_CORRUPT) ? "corrupt" : "another member's",
                                   config->dir, fault.file, (unsigned long long)fault.offset,
                                   (unsigned long long)fault.seq);
    else if (e.code)
        *ret_reason =
            arena_printf(arena, "the store in %s cannot be opened: %s", config->dir, err_text(e));
    return e;
}

static err mvcc_load(struct opened_store *self, struct epoch *epoch,
                     const struct tail_limits *limits, struct revlog_fault *fault)
{
    const struct mvcc_frame *frame = &self->recovery.frame;
    self->tail = tail_new(epoch, frame->seq, limits);
    revlog_set_tail(self->recovery.log, self->tail);
    struct mvcc_store_config store = {epoch, self->recovery.log, self->tail};
    self->mvcc = mvcc_store_new(&store);
    if (self->recovery.checkpoint)
        TRY(mvcc_store_load_checkpoint(self->mvcc, self->recovery.checkpoint));
    uint64_t from = self->recovery.replay_from - 1;
    bool done = from >= frame->seq;
    while (!done) {
        unsigned budget = 1U << 20;
        TRY(mvcc_store_replay_log(self->mvcc, &from, frame->seq, &budget, &done, fault));
    }
    return mvcc_store_open(self->mvcc, frame->seq, frame->revision);
}

static err state_load(struct opened_store *self, const struct stage_store_config *stage_config,
                      const struct config *config)
{
    struct state_config state = {.store = self->mvcc,
                                 .epoch = stage_config->epoch,
                                 .member_id = stage_config->owner.member_id,
                                 .learners_max = (unsigned)config->max_learners,
                                 .quota_bytes = config_quota_bytes(config),
                                 .lease_ttl_min_s = config_lease_ttl_min_s(config),
                                 .store_checkpoints =
                                     config->feature_gates.on[GATE_LeaseCheckpointPersist]};
    return state_new(&state, &self->state);
}

err opened_store_open(struct opened_store *self, const struct stage_store_config *stage_config,
                      const struct tail_limits *limits, const struct config *config,
                      struct arena *arena, const char **ret_reason)
{
    memset(self, 0, sizeof(*self));
    TRY(stage_open(self, stage_config, arena, ret_reason));
    struct revlog_fault fault = {0};
    err e = mvcc_load(self, stage_config->epoch, limits, &fault);
    if (e.code) {
        *ret_reason =
            arena_printf(arena, "the store is corrupt: %s at offset %llu, change %llu", fault.file,
                         (unsigned long long)fault.offset, (unsigned long long)fault.seq);
        return e;
    }
    stage_store_loaded(self->stage, self->tail);
    mvcc_checkpoint_source_init(&self->source, self->mvcc, stage_config->epoch);
    self->has_source = true;
    stage_store_set_source(self->stage, &self->source.source);
    e = state_load(self, stage_config, config);
    if (e.code)
        *ret_reason = arena_printf(arena, "the store's members or alarms: %s", err_text(e));
    return e;
}

void opened_store_state_taken(struct opened_store *self)
{
    self->state = NULL;
    self->mvcc = NULL;
}

void opened_store_close(struct opened_store *self)
{
    if (self->state)
        state_free(self->state);
    else
        mvcc_store_free(self->mvcc);
    opened_store_state_taken(self);
    if (self->has_source)
        mvcc_checkpoint_source_done(&self->source);
    self->has_source = false;
    tail_free(self->tail);
    self->tail = NULL;
    revlog_free(self->recovery.log);
    self->recovery.log = NULL;
}
