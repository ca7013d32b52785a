/* A message's way: its shape is proved, then its term settled, then the handler for (role, type)
 * is called; a pair that has none is ignored, as Raft says. */
#include "raft/internal.h"

#include <inttypes.h>

typedef err (*handler)(struct raft *self, const struct raft_message *m);

static const handler handlers[4][RAFT_MESSAGE_TYPE_COUNT] = {
    [RAFT_FOLLOWER] =
        {
            [RAFT_MSG_PROP] = raft_forward_proposal,
            [RAFT_MSG_APP] = raft_recv_append,
            [RAFT_MSG_HEARTBEAT] = raft_recv_heartbeat,
            [RAFT_MSG_SNAP] = raft_recv_snapshot,
            [RAFT_MSG_TRANSFER_LEADER] = raft_forward_transfer,
            [RAFT_MSG_TIMEOUT_NOW] = raft_recv_timeout_now,
            [RAFT_MSG_FORGET_LEADER] = raft_recv_forget_leader,
            [RAFT_MSG_READ_INDEX] = raft_forward_read_index,
            [RAFT_MSG_READ_INDEX_RESP] = raft_recv_read_index_answer,
        },
    [RAFT_PRE_CANDIDATE] =
        {
            [RAFT_MSG_PROP] = raft_drop_proposal,
            [RAFT_MSG_APP] = raft_recv_append,
            [RAFT_MSG_HEARTBEAT] = raft_recv_heartbeat,
            [RAFT_MSG_SNAP] = raft_recv_snapshot,
            [RAFT_MSG_PRE_VOTE_RESP] = raft_recv_vote_answer,
            [RAFT_MSG_READ_INDEX] = raft_forward_read_index,
        },
    [RAFT_CANDIDATE] =
        {
            [RAFT_MSG_PROP] = raft_drop_proposal,
            [RAFT_MSG_APP] = raft_recv_append,
            [RAFT_MSG_HEARTBEAT] = raft_recv_heartbeat,
            [RAFT_MSG_SNAP] = raft_recv_snapshot,
            [RAFT_MSG_VOTE_RESP] = raft_recv_vote_answer,
            [RAFT_MSG_READ_INDEX] = raft_forward_read_index,
        },
    [RAFT_LEADER] =
        {
            [RAFT_MSG_PROP] = raft_recv_proposal,
            [RAFT_MSG_BEAT] = raft_recv_beat,
            [RAFT_MSG_CHECK_QUORUM] = raft_recv_check_quorum,
            [RAFT_MSG_APP_RESP] = raft_recv_append_answer,
            [RAFT_MSG_HEARTBEAT_RESP] = raft_recv_heartbeat_answer,
            [RAFT_MSG_SNAP_STATUS] = raft_recv_snapshot_status,
            [RAFT_MSG_UNREACHABLE] = raft_recv_unreachable,
            [RAFT_MSG_TRANSFER_LEADER] = raft_recv_transfer,
            [RAFT_MSG_READ_INDEX] = raft_recv_read_index,
        },
};

static bool type_is_answer(enum raft_message_type type)
{
    return type == RAFT_MSG_APP_RESP || type == RAFT_MSG_VOTE_RESP ||
           type == RAFT_MSG_PRE_VOTE_RESP || type == RAFT_MSG_HEARTBEAT_RESP ||
           type == RAFT_MSG_READ_INDEX_RESP;
}

/* What members say to each other; all else is said inside one member only. */
static bool type_travels(enum raft_message_type type)
{
    return type_is_answer(type) || type == RAFT_MSG_PROP || type == RAFT_MSG_APP ||
           type == RAFT_MSG_VOTE || type == RAFT_MSG_PRE_VOTE || type == RAFT_MSG_SNAP ||
           type == RAFT_MSG_HEARTBEAT || type == RAFT_MSG_TRANSFER_LEADER ||
           type == RAFT_MSG_TIMEOUT_NOW || type == RAFT_MSG_READ_INDEX;
}

/* The entries of an append follow on one another and on (index, log_term), and are not from the
 * sender's future. */
static bool append_is_sound(const struct raft_message *m)
{
    if (m->entry_count > RAFT_NUMBER_MAX - m->index || m->log_term > m->term)
        return false;
    uint64_t term = m->log_term;
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *entry = &m->entries[i];
        if (entry->index != m->index + 1 + i || entry->term < term || entry->term > m->term ||
            entry->term == 0)
            return false;
        if ((unsigned)entry->type > RAFT_ENTRY_CONF_CHANGE_V2)
            return false;
        term = entry->term;
    }
    return true;
}

static bool snapshot_is_sound(const struct raft_message *m)
{
    const struct raft_snapshot *s = m->snapshot;
    return s && s->index > 0 && s->index <= RAFT_NUMBER_MAX && s->term > 0 && s->term <= m->term &&
           s->conf_state.voters.count > 0 && raft_conf_check(&s->conf_state) == RAFT_CONF_FINE;
}

static bool shape_is_sound(const struct raft_message *m)
{
    if (m->term > RAFT_NUMBER_MAX || m->index > RAFT_NUMBER_MAX || m->commit > RAFT_NUMBER_MAX ||
        m->log_term > RAFT_NUMBER_MAX || m->reject_hint > RAFT_NUMBER_MAX)
        return false;
    if (m->context.len > RAFT_CONTEXT_BYTES_MAX)
        return false;
    /* A message without a term is taken as our own word: only what is forwarded has none. */
    bool forwarded = m->type == RAFT_MSG_PROP || m->type == RAFT_MSG_READ_INDEX;
    if (m->term == 0 && !forwarded)
        return false;
    if (m->type == RAFT_MSG_APP)
        return append_is_sound(m);
    if (m->type == RAFT_MSG_SNAP)
        return snapshot_is_sound(m);
    return true;
}

err raft_step(struct raft *self, const struct raft_message *m)
{
    if ((unsigned)m->type >= RAFT_MESSAGE_TYPE_COUNT || !type_travels(m->type))
        return ERR_MISMATCH;
    if (m->to != self->config.id || m->from == RAFT_NONE || m->from >= RAFT_APPLY_THREAD)
        return ERR_MISMATCH;
    if (m->from == self->config.id || !shape_is_sound(m))
        return ERR_MISMATCH;
    if (type_is_answer(m->type) && !raft_tracker_peek(&self->tracker, m->from))
        return ERR_NOT_FOUND;
    return raft_step_any(self, m);
}

err raft_step_local(struct raft *self, const struct raft_message *m)
{
    if (m->to != self->config.id)
        return ERR_MISMATCH;
    switch ((int)m->type) {
    case RAFT_MSG_STORAGE_APPEND_RESP:
    case RAFT_MSG_STORAGE_APPLY_RESP:
        return raft_step_any(self, m);
    case RAFT_MSG_APP_RESP:
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_PRE_VOTE_RESP:
        if (m->from != self->config.id)
            return ERR_MISMATCH;
        /* Removed since. */
        if (!raft_tracker_peek(&self->tracker, m->from))
            return ERR_NOT_FOUND;
        return raft_step_any(self, m);
    default:
        return ERR_MISMATCH;
    }
}

static void recv_storage_append_answer(struct raft *self, const struct raft_message *m)
{
    if (m->index != 0 && !raft_unstable_stable_to(&self->log.unstable, m->index, m->log_term))
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " keeps its unstable entries: what was written up to %" PRIu64
                   " at term %" PRIu64 " is not what it holds",
                   self->config.id, m->index, m->log_term);
    if (m->snapshot)
        raft_snapshot_stable(self, m->snapshot->index);
}

/* The message ends here. */
static void settle_lower_term(struct raft *self, const struct raft_message *m)
{
    bool from_old_leader = m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_APP;
    if (from_old_leader && (self->config.check_quorum || self->config.pre_vote)) {
        /* A member that was cut off, its term raised by campaigning in vain, does not disturb with
         * votes any more; so it tells the leader of its term in this way, and is not stuck. */
        raft_send(self, (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = m->from});
    } else if (m->type == RAFT_MSG_PRE_VOTE) {
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " at term %" PRIu64 " rejects a pre-vote of %" PRIx64
                   " for the older term %" PRIu64,
                   self->config.id, self->term, m->from, m->term);
        raft_send(self, (struct raft_message){.type = RAFT_MSG_PRE_VOTE_RESP,
                                              .to = m->from,
                                              .term = self->term,
                                              .reject = true});
    } else if (m->type == RAFT_MSG_STORAGE_APPEND_RESP) {
        /* The entries may be overwritten by a write that is under way: not stable. A snapshot
         * holds what is committed: nothing overwrites it. */
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " at term %" PRIu64 " leaves aside entries written at term %" PRIu64,
                   self->config.id, self->term, m->term);
        if (m->snapshot)
            raft_snapshot_stable(self, m->snapshot->index);
    } else {
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " at term %" PRIu64 " ignores a %s of %" PRIx64
                   " with the lower term %" PRIu64,
                   self->config.id, self->term, raft_message_type_text(m->type), m->from, m->term);
    }
}

/* True: the message ends here. */
static bool settle_term(struct raft *self, const struct raft_message *m)
{
    if (m->term == 0 || m->term == self->term)
        return false;
    if (m->term < self->term) {
        settle_lower_term(self, m);
        return true;
    }

    if (raft_vote_is_disruptive(self, m)) {
        raft_trace(self, RAFT_TRACE_INFO,
                   "%" PRIx64 " at term %" PRIu64 " ignores a %s of %" PRIx64
                   ": it hears its leader (%u ticks remain)",
                   self->config.id, self->term, raft_message_type_text(m->type), m->from,
                   self->config.election_ticks - self->election_elapsed);
        return true;
    }
    /* A pre-vote is about a term that nobody is in yet; so is its being granted. */
    if (m->type == RAFT_MSG_PRE_VOTE || (m->type == RAFT_MSG_PRE_VOTE_RESP && !m->reject))
        return false;
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " at term %" PRIu64 " received a %s of %" PRIx64
               " with the higher term %" PRIu64,
               self->config.id, self->term, raft_message_type_text(m->type), m->from, m->term);
    bool leads =
        m->type == RAFT_MSG_APP || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAP;
    raft_become_follower(self, m->term, leads ? m->from : RAFT_NONE);
    return false;
}

err raft_step_any(struct raft *self, const struct raft_message *m)
{
    if (settle_term(self, m))
        return OK;
    switch ((int)m->type) {
    case RAFT_MSG_HUP:
        return raft_recv_hup(self, m);
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        return raft_recv_vote_request(self, m);
    case RAFT_MSG_STORAGE_APPEND_RESP:
        recv_storage_append_answer(self, m);
        return OK;
    case RAFT_MSG_STORAGE_APPLY_RESP:
        if (m->entry_count > 0)
            raft_entries_applied(self, m->entries[m->entry_count - 1].index);
        return OK;
    default:
        break;
    }
    handler handle = handlers[self->role][m->type];
    return handle ? handle(self, m) : OK;
}
