#include "raft/internal.h"

#include <inttypes.h>

/* What a leader owes its followers after the configuration has changed. */
static void lead_on(struct raft *self)
{
    const struct raft_progress *own = raft_tracker_peek(&self->tracker, self->config.id);
    if (!own || own->is_learner) {
        /* Removed or demoted. Without the option it goes on until somebody else is elected: the
         * rest may need it to learn of this very change. */
        if (self->config.step_down_on_removal)
            raft_become_follower(self, self->term, RAFT_NONE);
        return;
    }
    if (self->tracker.conf.voters.count == 0)
        return;
    if (raft_try_commit(self)) {
        /* The new quorum is smaller, or holds more. */
        raft_broadcast_append(self);
    } else {
        RAFT_TRACKER_FOREACH(peer, &self->tracker)
        if (peer->id != self->config.id)
            raft_send_append_to(self, peer, false);
    }
    raft_answer_confirmed_reads(self);
    if (self->transferee != RAFT_NONE &&
        !raft_conf_state_is_voter(&self->tracker.conf, self->transferee))
        self->transferee = RAFT_NONE;
}

void raft_switch_conf(struct raft *self, const struct raft_conf_state *conf, uint64_t next)
{
    raft_tracker_switch(&self->tracker, conf, next > 0 ? next : 1);
    if (self->config.trace) {
        char text[512];
        raft_conf_text(conf, text, sizeof(text));
        raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " switched to configuration %s",
                   self->config.id, text);
    }
    if (self->role == RAFT_LEADER)
        lead_on(self);
}

err raft_apply_conf_change(struct raft *self, const struct raft_conf_change *change,
                           struct raft_conf_state *ret_state)
{
    struct raft_conf_state conf;
    enum raft_conf_refusal refusal = raft_conf_apply(&self->tracker.conf, change, &conf);
    if (refusal != RAFT_CONF_FINE) {
        raft_trace(self, RAFT_TRACE_ERROR, "%" PRIx64 " cannot change its members: %s",
                   self->config.id, raft_conf_refusal_text(refusal));
        return ERR_MISMATCH;
    }
    raft_switch_conf(self, &conf, raft_log_last_index(&self->log));
    *ret_state = conf;
    return OK;
}

void raft_auto_leave(struct raft *self, uint64_t applied)
{
    if (!self->tracker.conf.auto_leave || self->role != RAFT_LEADER ||
        applied < self->pending_conf_index)
        return;
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " leaves the joint configuration",
               self->config.id);
    /* An empty change leaves. Empty data cannot be over max_uncommitted_size; where it is dropped
     * for a transfer, the next entry that is applied brings us here again. */
    struct raft_entry leave = {.type = RAFT_ENTRY_CONF_CHANGE_V2};
    err e = raft_propose_entries(self, &leave, 1);
    if (!err_ok(e))
        raft_trace(self, RAFT_TRACE_DEBUG, "%" PRIx64 " cannot leave it yet: %s", self->config.id,
                   err_text(e));
}
