#include "base/bug.h"
#include "raft/internal.h"

#include <inttypes.h>

static void trace_peer(const struct raft *self, const char *what, const struct raft_progress *peer)
{
    if (!self->config.trace)
        return;
    struct raft_peer_status status;
    raft_progress_status(peer, &status);
    char text[160];
    raft_peer_status_text(&status, text, sizeof(text));
    raft_trace(self, RAFT_TRACE_DEBUG, "%" PRIx64 " %s %" PRIx64 " [%s]", self->config.id, what,
               peer->id, text);
}

/* False: nothing was sent. */
static bool send_snapshot(struct raft *self, struct raft_progress *peer)
{
    /* To one who is silent it would be built and sent for nothing. */
    if (!peer->recent_active) {
        trace_peer(self, "sends no snapshot to the silent", peer);
        return false;
    }
    struct raft_snapshot snapshot;
    err e = self->log.storage.snapshot(self->log.storage.ctx, &snapshot);
    /* One that does not name the member would be ignored by it, and asked for again at once. */
    if (!err_ok(e) || snapshot.index == 0 || !raft_conf_state_has(&snapshot.conf_state, peer->id)) {
        raft_trace(self, RAFT_TRACE_DEBUG, "%" PRIx64 " has no snapshot for %" PRIx64 ": %s",
                   self->config.id, peer->id, err_ok(e) ? "it is too old" : err_text(e));
        if (err_ok(e))
            raft_blob_unref(snapshot.blob);
        return false;
    }
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_SNAP,
                        .to = peer->id,
                        .snapshot = raft_keep_snapshot(self, &snapshot, true),
                    });
    raft_progress_become_snapshot(peer, snapshot.index);
    trace_peer(self, "sends a snapshot to", peer);
    return true;
}

bool raft_send_append_to(struct raft *self, struct raft_progress *peer, bool even_empty)
{
    if (raft_progress_paused(peer))
        return false;
    uint64_t before = peer->next - 1;
    uint64_t before_term;
    if (!err_ok(raft_log_term(&self->log, before, &before_term)))
        return send_snapshot(self, peer);

    const struct raft_entry *entries = NULL;
    size_t count = 0;
    uint64_t last = raft_log_last_index(&self->log);
    /* With the ring full, only an empty append goes, which finds out what was lost. */
    bool room = peer->state != RAFT_REPLICATE || !raft_inflights_full(&peer->inflights);
    if (room && peer->next <= last) {
        err e = raft_log_slice(&self->log, peer->next, last + 1, self->config.max_size_per_msg,
                               &entries, &count);
        if (err_is(e, ERR_COMPACTED_LOG))
            return send_snapshot(self, peer);
        if (!err_ok(e)) {
            raft_trace(self, RAFT_TRACE_WARN, "%" PRIx64 " cannot read entry %" PRIu64 ": %s",
                       self->config.id, peer->next, err_text(e));
            return false;
        }
    }
    if (count == 0 && !even_empty)
        return false;
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_APP,
                        .to = peer->id,
                        .index = before,
                        .log_term = before_term,
                        .entries = raft_keep_entries(self, entries, count, true),
                        .entry_count = count,
                        .commit = self->log.committed,
                    });
    raft_progress_sent(peer, count, raft_entries_payload(entries, count));
    peer->sent_commit = self->log.committed;
    return true;
}

/* Now, or with the ready. */
static void send_append(struct raft *self, struct raft_progress *peer, bool even_empty)
{
    if (!self->config.group_appends) {
        raft_send_append_to(self, peer, even_empty);
        return;
    }
    peer->append_due = true;
    peer->append_due_empty |= even_empty;
    self->append_due = true;
}

void raft_broadcast_append(struct raft *self)
{
    RAFT_TRACKER_FOREACH(peer, &self->tracker)
    if (peer->id != self->config.id)
        send_append(self, peer, true);
}

void raft_flush_appends(struct raft *self)
{
    if (!self->append_due)
        return;
    self->append_due = false;
    RAFT_TRACKER_FOREACH(peer, &self->tracker)
    {
        if (!peer->append_due)
            continue;
        bool even_empty = peer->append_due_empty;
        peer->append_due = false;
        peer->append_due_empty = false;
        while (raft_send_append_to(self, peer, even_empty))
            even_empty = false;
    }
}

void raft_broadcast_heartbeat(struct raft *self)
{
    uint8_t raw[8];
    struct bytes context = BYTES_NONE;
    uint64_t position = raft_read_only_position(&self->reads);
    if (position != 0 && raft_may_answer_reads(self)) {
        bytes_put_le64(raw, position);
        context = raft_keep_bytes(self, bytes_of(raw, sizeof(raw)));
        self->reads.round_due = false;
    }
    RAFT_TRACKER_FOREACH(peer, &self->tracker)
    {
        if (peer->id == self->config.id)
            continue;
        /* A member may not hold what is committed, and heartbeats overtake appends: it is told
         * only of what it is known to hold. */
        uint64_t commit = peer->match < self->log.committed && !BUG(commit_beyond_match)
                              ? peer->match
                              : self->log.committed;
        raft_send(self, (struct raft_message){.type = RAFT_MSG_HEARTBEAT,
                                              .to = peer->id,
                                              .commit = commit,
                                              .context = context});
        if (peer->sent_commit < commit)
            peer->sent_commit = commit;
    }
}

bool raft_try_commit(struct raft *self)
{
    uint64_t index = raft_tracker_committed(&self->tracker);
    if (index > raft_log_last_index(&self->log))
        return false;
    if (!raft_log_matches(&self->log, index, self->term) && !BUG(commit_old_term))
        return false;
    if (!raft_log_commit_to(&self->log, index))
        return false;
    if (!self->committed_in_term) {
        self->committed_in_term = true;
        raft_release_reads(self);
    }
    return true;
}

err raft_recv_beat(struct raft *self, const struct raft_message *m)
{
    (void)m;
    raft_broadcast_heartbeat(self);
    return OK;
}

err raft_recv_check_quorum(struct raft *self, const struct raft_message *m)
{
    (void)m;
    if (!raft_tracker_quorum_active(&self->tracker)) {
        raft_trace(self, RAFT_TRACE_WARN, "%" PRIx64 " steps down: a quorum is silent",
                   self->config.id);
        raft_become_follower(self, self->term, RAFT_NONE);
    }
    RAFT_TRACKER_FOREACH(peer, &self->tracker)
    {
        peer->was_active = peer->recent_active;
        if (peer->id != self->config.id)
            peer->recent_active = false;
    }
    return OK;
}

static err append_rejected(struct raft *self, struct raft_progress *peer,
                           const struct raft_message *m)
{
    raft_trace(self, RAFT_TRACE_DEBUG,
               "%" PRIx64 " is told by %" PRIx64 " that entry %" PRIu64
               " does not follow (hint: %" PRIu64 "/%" PRIu64 ")",
               self->config.id, m->from, m->index, m->log_term, m->reject_hint);
    /* The member's log ends, or last agrees in terms, at the hint; in a term that we may not have
     * there, so that all of our entries of higher terms can be skipped too. */
    uint64_t hint = m->reject_hint;
    if (m->log_term > 0) {
        uint64_t term;
        raft_log_find_conflict(&self->log, hint, m->log_term, &hint, &term);
    }
    if (!raft_progress_decrease(peer, m->index, hint))
        return OK;
    if (peer->state == RAFT_REPLICATE)
        raft_progress_become_probe(peer);
    trace_peer(self, "goes back with", peer);
    send_append(self, peer, true);
    return OK;
}

static void append_accepted(struct raft *self, struct raft_progress *peer, uint64_t index)
{
    switch (peer->state) {
    case RAFT_PROBE:
        raft_progress_become_replicate(peer);
        break;
    case RAFT_SNAPSHOT:
        /* Whichever way it got there: our log reaches back to where it is. */
        if (peer->match + 1 >= raft_log_first_index(&self->log)) {
            trace_peer(self, "resumes replication to", peer);
            raft_progress_become_probe(peer);
            raft_progress_become_replicate(peer);
        }
        break;
    case RAFT_REPLICATE:
        raft_inflights_free_to(&peer->inflights, index);
        break;
    }
    bool own = peer->id == self->config.id;
    if (raft_try_commit(self)) {
        raft_broadcast_append(self);
    } else if (!own && raft_progress_can_bump_commit(peer, self->log.committed)) {
        send_append(self, peer, true);
    }
    if (own)
        return;
    /* Room was made in the ring: use it. */
    if (self->config.group_appends)
        send_append(self, peer, false);
    else
        while (raft_send_append_to(self, peer, false))
            continue;
    if (self->transferee == peer->id && peer->match == raft_log_last_index(&self->log)) {
        raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " tells %" PRIx64 ", now up to date, to lead",
                   self->config.id, peer->id);
        raft_send_timeout_now(self, peer->id);
    }
}

err raft_recv_append_answer(struct raft *self, const struct raft_message *m)
{
    struct raft_progress *peer = raft_tracker_get(&self->tracker, m->from);
    if (!peer)
        return OK;
    peer->recent_active = true;
    if (m->reject)
        return append_rejected(self, peer, m);
    /* In our term it can hold only what we sent. */
    if (m->index > raft_log_last_index(&self->log))
        return ERR_MISMATCH;
    bool news = raft_progress_update(peer, m->index);
    /* A member that is up to date and came to be probed is believed all the same. */
    if (news || (peer->match == m->index && peer->state == RAFT_PROBE))
        append_accepted(self, peer, m->index);
    return OK;
}

err raft_recv_heartbeat_answer(struct raft *self, const struct raft_message *m)
{
    struct raft_progress *peer = raft_tracker_get(&self->tracker, m->from);
    if (!peer)
        return OK;
    peer->recent_active = true;
    peer->flow_paused = false;
    /* Probes and full rings move on with each heartbeat, an empty append being enough. */
    if (peer->match < raft_log_last_index(&self->log) || peer->state == RAFT_PROBE)
        send_append(self, peer, true);
    if (m->context.len == 8) {
        uint64_t position = bytes_get_le64(m->context.data);
        bool known = position <= raft_read_only_position(&self->reads);
        if (known && position > peer->read_acked) {
            peer->read_acked = position;
            raft_answer_confirmed_reads(self);
        }
    }
    return OK;
}

err raft_recv_snapshot_status(struct raft *self, const struct raft_message *m)
{
    struct raft_progress *peer = raft_tracker_get(&self->tracker, m->from);
    if (!peer || peer->state != RAFT_SNAPSHOT)
        return OK;
    if (m->reject)
        peer->pending_snapshot = 0;
    raft_progress_become_probe(peer);
    trace_peer(self, m->reject ? "failed to bring a snapshot to" : "brought a snapshot to", peer);
    /* Arrived: wait for its answer. Failed: wait for a heartbeat before trying again. */
    peer->flow_paused = true;
    return OK;
}

err raft_recv_unreachable(struct raft *self, const struct raft_message *m)
{
    struct raft_progress *peer = raft_tracker_get(&self->tracker, m->from);
    if (!peer)
        return OK;
    /* What is on its way is probably lost. */
    if (peer->state == RAFT_REPLICATE)
        raft_progress_become_probe(peer);
    trace_peer(self, "cannot reach", peer);
    return OK;
}
