#include "raft/internal.h"

#include <inttypes.h>

void raft_send_timeout_now(struct raft *self, uint64_t to)
{
    raft_send(self, (struct raft_message){.type = RAFT_MSG_TIMEOUT_NOW, .to = to});
}

err raft_recv_transfer(struct raft *self, const struct raft_message *m)
{
    uint64_t to = m->from;
    struct raft_progress *peer = raft_tracker_get(&self->tracker, to);
    if (!peer || peer->is_learner || to == self->config.id || to == self->transferee) {
        raft_trace(self, RAFT_TRACE_DEBUG, "%" PRIx64 " does not hand over to %" PRIx64,
                   self->config.id, to);
        return OK;
    }
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " hands its leadership over to %" PRIx64,
               self->config.id, to);
    /* It is given up after an election timeout from now. */
    self->election_elapsed = 0;
    self->transferee = to;
    if (peer->match == raft_log_last_index(&self->log))
        raft_send_timeout_now(self, to);
    else
        raft_send_append_to(self, peer, true);
    return OK;
}

err raft_forward_transfer(struct raft *self, const struct raft_message *m)
{
    if (self->leader == RAFT_NONE) {
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " drops a request to hand over: no leader at term %" PRIu64,
                   self->config.id, self->term);
        return OK;
    }
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_TRANSFER_LEADER, .to = self->leader, .from = m->from});
    return OK;
}

err raft_recv_timeout_now(struct raft *self, const struct raft_message *m)
{
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " is told by %" PRIx64 " to lead", self->config.id,
               m->from);
    /* No pre-vote: the leader itself wants it, nobody is disturbed. */
    raft_hup(self, RAFT_CAMPAIGN_TRANSFER);
    return OK;
}

err raft_recv_forget_leader(struct raft *self, const struct raft_message *m)
{
    (void)m;
    if (self->config.read_mode == RAFT_READ_LEASE_BASED) {
        /* The leader counts on our not voting while its lease runs. */
        raft_trace(self, RAFT_TRACE_ERROR,
                   "%" PRIx64 " does not forget its leader, whose lease reads depend on",
                   self->config.id);
        return OK;
    }
    if (self->leader == RAFT_NONE)
        return OK;
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " forgets leader %" PRIx64 " at term %" PRIu64,
               self->config.id, self->leader, self->term);
    self->leader = RAFT_NONE;
    return OK;
}
