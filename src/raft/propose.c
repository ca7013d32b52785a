#include "raft/internal.h"

#include "base/bug.h"

#include "raft/conf_codec.h"

#include <inttypes.h>

static bool increase_uncommitted(struct raft *self, uint64_t payload)
{
    uint64_t max = self->config.max_uncommitted_size;
    /* The first always passes, or a large one never would. Empty entries, which raft itself needs,
     * too. */
    if (max != 0 && payload > 0 && self->uncommitted_bytes > 0 &&
        self->uncommitted_bytes + payload > max)
        return false;
    self->uncommitted_bytes += payload;
    return true;
}

void raft_reduce_uncommitted(struct raft *self, uint64_t payload)
{
    /* What was proposed by the leader before us was never counted here. */
    self->uncommitted_bytes -=
        payload < self->uncommitted_bytes ? payload : self->uncommitted_bytes;
}

bool raft_append_own(struct raft *self, struct raft_entry *entries, size_t count)
{
    uint64_t last = raft_log_last_index(&self->log);
    for (size_t i = 0; i < count; i++) {
        entries[i].term = self->term;
        entries[i].index = last + 1 + i;
    }
    if (!increase_uncommitted(self, raft_entries_payload(entries, count))) {
        raft_trace(self, RAFT_TRACE_WARN,
                   "%" PRIx64 " drops proposals: %" PRIu64 " bytes are not applied yet",
                   self->config.id, self->uncommitted_bytes);
        return false;
    }
    raft_unstable_append(&self->log.unstable, entries, count);
    /* We acknowledge to ourselves like everybody else: once the entries are durable. */
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_APP_RESP, .to = self->config.id, .index = last + count});
    return true;
}

/* Why the change may not be proposed now; NULL: it may. */
static const char *conf_change_refused(const struct raft *self,
                                       const struct raft_conf_change *change)
{
    bool joint = raft_conf_is_joint(&self->tracker.conf);
    bool leaves = raft_conf_change_leaves(change);
    if (self->pending_conf_index > self->log.applied && !BUG(two_changes_at_once))
        return "another change is not applied yet";
    if (joint && !leaves)
        return "the joint configuration must be left first";
    if (!joint && leaves)
        return "there is no joint configuration to leave";
    return NULL;
}

/* The bug of that name. */
static void count_at_once(struct raft *self, const struct raft_entry *entries, size_t count)
{
    struct raft_conf_change change;
    struct raft_conf_state conf;
    for (size_t i = 0; i < count; i++)
        if (entries[i].type != RAFT_ENTRY_NORMAL &&
            err_ok(raft_conf_change_decode(entries[i].type, entries[i].data, &change)))
            (void)raft_apply_conf_change(self, &change, &conf).code;
}

/* Turns membership changes that may not be made now into empty entries.
 * Fails: ERR_MISMATCH  one does not decode. */
static err gate_conf_changes(struct raft *self, struct raft_entry *entries, size_t count)
{
    uint64_t last = raft_log_last_index(&self->log);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].type == RAFT_ENTRY_NORMAL)
            continue;
        struct raft_conf_change change;
        if (!err_ok(raft_conf_change_decode(entries[i].type, entries[i].data, &change)))
            return ERR_MISMATCH;
        const char *refused = conf_change_refused(self, &change);
        if (refused && !self->config.disable_conf_change_validation) {
            raft_trace(self, RAFT_TRACE_INFO, "%" PRIx64 " ignores a membership change: %s",
                       self->config.id, refused);
            entries[i] = (struct raft_entry){.type = RAFT_ENTRY_NORMAL};
        } else {
            self->pending_conf_index = last + 1 + i;
        }
    }
    return OK;
}

static bool entries_are_sound(const struct raft_message *m)
{
    if (m->entry_count == 0 || m->entry_count > RAFT_ENTRIES_MAX)
        return false;
    for (size_t i = 0; i < m->entry_count; i++)
        if ((unsigned)m->entries[i].type > RAFT_ENTRY_CONF_CHANGE_V2)
            return false;
    return true;
}

err raft_recv_proposal(struct raft *self, const struct raft_message *m)
{
    if (!entries_are_sound(m))
        return ERR_MISMATCH;
    /* Removed while leading: what we append now would not count us, and we leave soon. */
    if (!raft_tracker_peek(&self->tracker, self->config.id))
        return ERR_PROPOSAL_DROPPED;
    if (self->transferee != RAFT_NONE) {
        raft_trace(self, RAFT_TRACE_DEBUG,
                   "%" PRIx64 " drops a proposal: leadership is on its way to %" PRIx64,
                   self->config.id, self->transferee);
        return ERR_PROPOSAL_DROPPED;
    }
    struct raft_entry *entries = self->proposal_scratch;
    memcpy(entries, m->entries, m->entry_count * sizeof(*entries));
    uint64_t pending_before = self->pending_conf_index;
    err e = gate_conf_changes(self, entries, m->entry_count);
    if (err_ok(e) && !raft_append_own(self, entries, m->entry_count))
        e = ERR_PROPOSAL_DROPPED;
    if (!err_ok(e)) {
        self->pending_conf_index = pending_before;
        return e;
    }
    if (BUG(change_before_commit))
        count_at_once(self, entries, m->entry_count);
    raft_broadcast_append(self);
    return OK;
}

err raft_forward_proposal(struct raft *self, const struct raft_message *m)
{
    if (!entries_are_sound(m))
        return ERR_MISMATCH;
    if (self->leader == RAFT_NONE || self->config.disable_proposal_forwarding)
        return raft_drop_proposal(self, m);
    /* In our own name, whoever it came from: it may be the leader's own from before it led. */
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_PROP,
                        .to = self->leader,
                        .from = self->config.id,
                        .entries = raft_keep_entries(self, m->entries, m->entry_count, false),
                        .entry_count = m->entry_count,
                    });
    return OK;
}

err raft_drop_proposal(struct raft *self, const struct raft_message *m)
{
    (void)m;
    raft_trace(self, RAFT_TRACE_INFO,
               "%" PRIx64 " drops a proposal: nobody to give it to at term %" PRIu64,
               self->config.id, self->term);
    return ERR_PROPOSAL_DROPPED;
}

err raft_propose_entries(struct raft *self, const struct raft_entry *entries, size_t count)
{
    struct raft_message m = {
        .type = RAFT_MSG_PROP,
        .from = self->config.id,
        .to = self->config.id,
        .entries = entries,
        .entry_count = count,
    };
    return raft_step_any(self, &m);
}

err raft_propose(struct raft *self, struct bytes data, struct raft_blob *blob)
{
    struct raft_entry entry = {.type = RAFT_ENTRY_NORMAL, .data = data, .blob = blob};
    return raft_propose_entries(self, &entry, 1);
}

err raft_propose_conf_change(struct raft *self, const struct raft_conf_change *change, bool v1)
{
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 0);
    enum raft_entry_type type = v1 ? RAFT_ENTRY_CONF_CHANGE : RAFT_ENTRY_CONF_CHANGE_V2;
    TRY(raft_conf_change_encode(type, change, &buf));
    struct raft_entry entry = {.type = type, .data = buf_bytes(&buf)};
    return raft_propose_entries(self, &entry, 1);
}
