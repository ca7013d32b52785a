#include "base/bug.h"
#include "raft/internal.h"

#include <inttypes.h>

/* The word in a vote request that says: the leader itself asked for this election. */
#define CAMPAIGN_TRANSFER BYTES_LIT("CampaignTransfer")

static bool has_conf_change(const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i].type != RAFT_ENTRY_NORMAL)
            return true;
    return false;
}

/* Is a committed membership change not applied yet? Then we do not know who votes. Where the log
 * cannot be read now, it may be. */
static bool has_unapplied_conf_change(struct raft *self)
{
    uint64_t lo = self->log.applied + 1;
    while (lo <= self->log.committed) {
        const struct raft_entry *entries;
        size_t count;
        err e = raft_log_slice(&self->log, lo, self->log.committed + 1,
                               self->config.max_committed_size_per_ready, &entries, &count);
        if (!err_ok(e))
            return true;
        bool found = has_conf_change(entries, count);
        raft_entries_unref(entries, count);
        if (found)
            return true;
        lo += count;
    }
    return false;
}

/* How far the log is committed, where votes tell that. */
static void tell_commit(struct raft *self, struct raft_message *m)
{
    uint64_t term;
    if (!self->config.commit_in_votes ||
        !err_ok(raft_log_term(&self->log, self->log.committed, &term)))
        return;
    m->commit = self->log.committed;
    m->reject_hint = term;
}

/* The same entry here is committed too, and with it all before it (log matching). Who campaigns by
 * a membership that this changes begins anew. */
static void hear_commit(struct raft *self, const struct raft_message *m)
{
    uint64_t term;
    if (!self->config.commit_in_votes || self->role == RAFT_LEADER || m->reject_hint == 0 ||
        m->commit <= self->log.committed || m->commit > raft_log_last_index(&self->log) ||
        !err_ok(raft_log_term(&self->log, m->commit, &term)) || term != m->reject_hint)
        return;
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " hears of %" PRIx64 " that its log is committed up to %" PRIu64,
               self->config.id, m->from, m->commit);
    (void)raft_log_commit_to(&self->log, m->commit);
    bool campaigns = self->role == RAFT_CANDIDATE || self->role == RAFT_PRE_CANDIDATE;
    if (campaigns && has_unapplied_conf_change(self))
        raft_become_follower(self, self->term, RAFT_NONE);
}

static void campaign(struct raft *self, enum raft_campaign kind)
{
    enum raft_message_type type = RAFT_MSG_VOTE;
    uint64_t term;
    if (kind == RAFT_CAMPAIGN_PRE) {
        raft_become_pre_candidate(self);
        type = RAFT_MSG_PRE_VOTE;
        term = self->term + 1;
    } else {
        raft_become_candidate(self);
        term = self->term;
    }
    struct raft_message request = {
        .type = type,
        .term = term,
        .index = raft_log_last_index(&self->log),
        .log_term = raft_log_last_term(&self->log),
    };
    if (kind == RAFT_CAMPAIGN_TRANSFER)
        request.context = CAMPAIGN_TRANSFER;
    tell_commit(self, &request);
    RAFT_TRACKER_FOREACH(peer, &self->tracker)
    {
        if (!raft_conf_state_is_voter(&self->tracker.conf, peer->id))
            continue;
        if (peer->id == self->config.id) {
            /* Our own vote counts once it is durable, by the same way as everybody's. */
            raft_send(self,
                      (struct raft_message){.type = type == RAFT_MSG_VOTE ? RAFT_MSG_VOTE_RESP
                                                                          : RAFT_MSG_PRE_VOTE_RESP,
                                            .to = peer->id,
                                            .term = term});
            continue;
        }
        request.to = peer->id;
        raft_send(self, request);
    }
}

void raft_hup(struct raft *self, enum raft_campaign kind)
{
    if (self->role == RAFT_LEADER) {
        raft_trace(self, RAFT_TRACE_DEBUG, "%" PRIx64 " leads already, it does not campaign",
                   self->config.id);
        return;
    }
    if (!raft_promotable(self)) {
        raft_trace(self, RAFT_TRACE_WARN, "%" PRIx64 " may not lead, it does not campaign",
                   self->config.id);
        return;
    }
    if (self->elections_held) {
        raft_trace(self, RAFT_TRACE_WARN, "%" PRIx64 " holds its elections, it does not campaign",
                   self->config.id);
        return;
    }
    if (has_unapplied_conf_change(self)) {
        raft_trace(self, RAFT_TRACE_WARN,
                   "%" PRIx64 " has a membership change to apply, it does not campaign",
                   self->config.id);
        return;
    }
    raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " is starting a new election at term %" PRIu64,
               self->config.id, self->term);
    campaign(self, kind);
}

err raft_recv_hup(struct raft *self, const struct raft_message *m)
{
    (void)m;
    raft_hup(self, self->config.pre_vote ? RAFT_CAMPAIGN_PRE : RAFT_CAMPAIGN_ELECTION);
    return OK;
}

bool raft_vote_is_disruptive(const struct raft *self, const struct raft_message *m)
{
    if (m->type != RAFT_MSG_VOTE && m->type != RAFT_MSG_PRE_VOTE)
        return false;
    bool in_lease = self->config.check_quorum && self->leader != RAFT_NONE &&
                    self->election_elapsed < self->config.election_ticks;
    return in_lease && !bytes_equal(m->context, CAMPAIGN_TRANSFER);
}

err raft_recv_vote_request(struct raft *self, const struct raft_message *m)
{
    bool pre = m->type == RAFT_MSG_PRE_VOTE;
    hear_commit(self, m);
    /* A repeated vote for the same candidate, a free one, or a pre-vote, which binds nobody, for a
     * term to come. A learner votes too: whoever asks may know of its promotion before it does. */
    bool may = self->vote == m->from || (self->vote == RAFT_NONE && self->leader == RAFT_NONE) ||
               (pre && m->term > self->term) || BUG(vote_twice);
    bool granted = may && (raft_log_is_up_to_date(&self->log, m->index, m->log_term) ||
                           BUG(vote_for_short_log));
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " %s the %s of %" PRIx64 " [its log: %" PRIu64 "/%" PRIu64 "]",
               self->config.id, granted ? "grants" : "rejects", raft_message_type_text(m->type),
               m->from, m->log_term, m->index);
    /* Before the first term of all there is none that a rejection could name. */
    if (!granted && self->term == 0)
        return OK;
    struct raft_message answer = {
        .type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP,
        .to = m->from,
        /* A granted pre-vote is about the term asked for, which we are not in. */
        .term = granted ? m->term : self->term,
        .reject = !granted,
    };
    tell_commit(self, &answer);
    raft_send(self, answer);
    if (granted && !pre) {
        self->election_elapsed = 0;
        self->vote = m->from;
    }
    return OK;
}

/* A leader's term is durable with it. Else one that ends before that may come to lead in the same
 * term again, by the votes that it had, and give other entries the places of its first ones. */
static bool own_vote_is_in(const struct raft *self)
{
    const struct raft_progress *own = raft_tracker_peek(&self->tracker, self->config.id);
    return !own || own->ballot == RAFT_BALLOT_YES || BUG(leads_before_durable);
}

err raft_recv_vote_answer(struct raft *self, const struct raft_message *m)
{
    enum raft_role role = self->role;
    hear_commit(self, m);
    if (self->role != role)
        return OK;
    raft_tracker_record_ballot(&self->tracker, m->from, !m->reject);
    uint32_t granted;
    uint32_t rejected;
    enum raft_vote_result result = raft_tracker_tally(&self->tracker, &granted, &rejected);
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " has %u votes and %u rejections of its %s, the last from %" PRIx64,
               self->config.id, granted, rejected, raft_message_type_text(m->type), m->from);
    switch (result) {
    case RAFT_VOTE_WON:
        if (self->role == RAFT_PRE_CANDIDATE) {
            campaign(self, RAFT_CAMPAIGN_ELECTION);
        } else if (own_vote_is_in(self)) {
            raft_become_leader(self);
            raft_broadcast_append(self);
        }
        break;
    case RAFT_VOTE_LOST:
        /* The term is the one of the rejections that were counted, or ours. */
        raft_become_follower(self, self->term, RAFT_NONE);
        break;
    case RAFT_VOTE_PENDING:
        break;
    }
    return OK;
}
