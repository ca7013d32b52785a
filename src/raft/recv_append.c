#include "raft/internal.h"

#include <inttypes.h>

err raft_follow(struct raft *self, const struct raft_message *m)
{
    if (self->role != RAFT_FOLLOWER) {
        /* Somebody won the election that we are campaigning in. */
        raft_become_follower(self, m->term, m->from);
        return OK;
    }
    if (self->leader != RAFT_NONE && self->leader != m->from)
        return ERR_MISMATCH;
    self->election_elapsed = 0;
    self->leader = m->from;
    return OK;
}

static void reject_append(struct raft *self, const struct raft_message *m)
{
    raft_trace(self, RAFT_TRACE_DEBUG,
               "%" PRIx64 " rejects an append of %" PRIx64 ": it has no entry %" PRIu64 "/%" PRIu64,
               self->config.id, m->from, m->log_term, m->index);
    /* Not just where our log ends: entries of higher terms than the leader's at that place cannot
     * be its, so they are skipped with one answer instead of one each. */
    uint64_t last = raft_log_last_index(&self->log);
    uint64_t hint;
    uint64_t hint_term;
    raft_log_find_conflict(&self->log, m->index < last ? m->index : last, m->log_term, &hint,
                           &hint_term);
    raft_send(self, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                          .to = m->from,
                                          .index = m->index,
                                          .reject = true,
                                          .reject_hint = hint,
                                          .log_term = hint_term});
}

static bool may_wait(const struct raft *self, const struct raft_message *m, uint64_t last)
{
    const struct raft_acknowledged *acked = &self->acked;
    return self->config.idle_acks_wait && m->entry_count == 0 && acked->to == m->from &&
           acked->term == self->term && last <= acked->index;
}

static void accept_append(struct raft *self, const struct raft_message *m, uint64_t last)
{
    if (may_wait(self, m, last)) {
        self->acked.due = true;
        return;
    }
    self->acked = (struct raft_acknowledged){.to = m->from, .term = self->term, .index = last};
    raft_send(self, (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = m->from, .index = last});
}

void raft_acknowledge_due(struct raft *self)
{
    struct raft_acknowledged *acked = &self->acked;
    bool due = acked->due && acked->to == self->leader && acked->term == self->term;
    acked->due = false;
    if (due && self->role == RAFT_FOLLOWER)
        raft_send(self, (struct raft_message){
                            .type = RAFT_MSG_APP_RESP, .to = acked->to, .index = acked->index});
}

err raft_recv_append(struct raft *self, const struct raft_message *m)
{
    TRY(raft_follow(self, m));
    if (m->index < self->log.committed) {
        /* An old one, overtaken. What we hold for certain is more. */
        raft_send(self, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                              .to = m->from,
                                              .index = self->log.committed});
        return OK;
    }
    uint64_t last;
    err e = raft_log_try_append(&self->log, m->index, m->log_term, m->entries, m->entry_count,
                                m->commit, &last);
    if (err_is(e, ERR_NOT_FOUND)) {
        reject_append(self, m);
        return OK;
    }
    if (!err_ok(e)) {
        raft_trace(self, RAFT_TRACE_ERROR,
                   "%" PRIx64 " refuses an append of %" PRIx64
                   ": it would replace what is committed",
                   self->config.id, m->from);
        return e;
    }
    accept_append(self, m, last);
    return OK;
}

err raft_recv_heartbeat(struct raft *self, const struct raft_message *m)
{
    if (m->commit > raft_log_last_index(&self->log)) {
        /* The leader knows of more than we hold: it is not honest, or our log lost what we had
         * acknowledged. */
        raft_trace(self, RAFT_TRACE_ERROR,
                   "%" PRIx64 " refuses a heartbeat of %" PRIx64 ": commit %" PRIu64
                   " is beyond its log",
                   self->config.id, m->from, m->commit);
        return ERR_MISMATCH;
    }
    TRY(raft_follow(self, m));
    raft_log_commit_to(&self->log, m->commit);
    raft_send(self, (struct raft_message){.type = RAFT_MSG_HEARTBEAT_RESP,
                                          .to = m->from,
                                          .context = raft_keep_bytes(self, m->context)});
    return OK;
}
