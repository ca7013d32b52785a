#include "raft/internal.h"

#include <inttypes.h>

/* False: the snapshot brings nothing. */
static bool restore(struct raft *self, const struct raft_snapshot *s)
{
    if (s->index <= self->log.committed)
        return false;
    /* Whom it does not name would never hear of anything again. */
    if (!raft_conf_state_has(&s->conf_state, self->config.id)) {
        raft_trace(self, RAFT_TRACE_WARN,
                   "%" PRIx64 " ignores the snapshot at %" PRIu64 ", which does not name it",
                   self->config.id, s->index);
        return false;
    }
    if (raft_log_matches(&self->log, s->index, s->term)) {
        /* All of it is here, only not known to be committed. */
        raft_log_commit_to(&self->log, s->index);
        return false;
    }
    raft_log_restore(&self->log, s);
    raft_tracker_done(&self->tracker);
    uint64_t next = raft_log_last_index(&self->log);
    raft_switch_conf(self, &s->conf_state, next);
    struct raft_progress *own = raft_tracker_get(&self->tracker, self->config.id);
    CHECK(own);
    raft_progress_update(own, own->next - 1);
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " goes on from the snapshot at %" PRIu64 ", term %" PRIu64,
               self->config.id, s->index, s->term);
    return true;
}

err raft_recv_snapshot(struct raft *self, const struct raft_message *m)
{
    TRY(raft_follow(self, m));
    uint64_t index =
        restore(self, m->snapshot) ? raft_log_last_index(&self->log) : self->log.committed;
    raft_send(self,
              (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = m->from, .index = index});
    return OK;
}

void raft_snapshot_stable(struct raft *self, uint64_t index)
{
    raft_unstable_snapshot_stable(&self->log.unstable, index);
    raft_entries_applied(self, index);
}
