#include "base/bug.h"
#include "raft/internal.h"

static void answer(struct raft *self, uint64_t from, uint64_t index, struct bytes context)
{
    if (from == RAFT_NONE || from == self->config.id) {
        raft_push_read_state(self, index, context);
        return;
    }
    struct raft_entry entry = {.type = RAFT_ENTRY_NORMAL, .data = context};
    raft_send(self, (struct raft_message){.type = RAFT_MSG_READ_INDEX_RESP,
                                          .to = from,
                                          .index = index,
                                          .entries = raft_keep_entries(self, &entry, 1, false),
                                          .entry_count = 1});
}

bool raft_may_answer_reads(const struct raft *self)
{
    return self->committed_in_term || BUG(read_before_term_commit);
}

void raft_answer_confirmed_reads(struct raft *self)
{
    if (!raft_may_answer_reads(self))
        return;
    struct raft_progress *own = raft_tracker_get(&self->tracker, self->config.id);
    if (own)
        own->read_acked = UINT64_MAX;
    uint64_t confirmed =
        BUG(read_unconfirmed) ? UINT64_MAX : raft_tracker_read_confirmed(&self->tracker);
    const struct raft_read *read;
    while ((read = raft_read_only_pop(&self->reads, confirmed)))
        answer(self, read->from, read->index, bytes_of(read->context, read->context_len));
    if (self->reads.count == 0)
        self->reads.round_due = false;
}

/* Sends the round, or, where nobody has to confirm, answers. */
static void start_round(struct raft *self)
{
    self->reads.round_due = true;
    if (self->config.read_mode == RAFT_READ_LEASE_BASED) {
        const struct raft_read *read;
        while ((read = raft_read_only_pop(&self->reads, UINT64_MAX)))
            answer(self, read->from, read->index, bytes_of(read->context, read->context_len));
        self->reads.round_due = false;
        return;
    }
    raft_answer_confirmed_reads(self);
}

err raft_recv_read_index(struct raft *self, const struct raft_message *m)
{
    if (m->entry_count != 1)
        return ERR_MISMATCH;
    TRY(raft_read_only_add(&self->reads, m->from, m->entries[0].data, self->log.committed));
    if (raft_may_answer_reads(self))
        start_round(self);
    return OK;
}

void raft_release_reads(struct raft *self)
{
    if (self->reads.count == 0)
        return;
    raft_read_only_release(&self->reads, self->log.committed);
    start_round(self);
}

err raft_forward_read_index(struct raft *self, const struct raft_message *m)
{
    if (m->entry_count != 1)
        return ERR_MISMATCH;
    if (self->leader == RAFT_NONE)
        return ERR_NO_LEADER;
    if (m->entries[0].data.len > RAFT_CONTEXT_BYTES_MAX)
        return ERR_LIMIT;
    raft_send(self, (struct raft_message){
                        .type = RAFT_MSG_READ_INDEX,
                        .to = self->leader,
                        .from = m->from,
                        .entries = raft_keep_entries(self, m->entries, 1, false),
                        .entry_count = 1,
                    });
    return OK;
}

err raft_recv_read_index_answer(struct raft *self, const struct raft_message *m)
{
    if (m->entry_count != 1 || m->entries[0].data.len > RAFT_CONTEXT_BYTES_MAX)
        return ERR_MISMATCH;
    raft_push_read_state(self, m->index, m->entries[0].data);
    return OK;
}

err raft_read_index(struct raft *self, struct bytes context)
{
    if (context.len > RAFT_CONTEXT_BYTES_MAX)
        return ERR_LIMIT;
    struct raft_entry entry = {.type = RAFT_ENTRY_NORMAL, .data = context};
    struct raft_message m = {
        .type = RAFT_MSG_READ_INDEX,
        .from = self->config.id,
        .to = self->config.id,
        .entries = &entry,
        .entry_count = 1,
    };
    return raft_step_any(self, &m);
}
