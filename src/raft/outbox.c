#include "base/bug.h"
#include "raft/internal.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES 16384

void raft_generation_init(struct raft_generation *self)
{
    *self = (struct raft_generation){0};
    arena_init(&self->arena, ARENA_BLOCK_BYTES);
}

static void generation_drop_blobs(struct raft_generation *self)
{
    for (size_t i = 0; i < self->blob_count; i++)
        raft_blob_unref(self->blobs[i]);
    self->blob_count = 0;
}

void raft_generation_reset(struct raft_generation *self)
{
    generation_drop_blobs(self);
    arena_reset(&self->arena);
}

void raft_generation_done(struct raft_generation *self)
{
    generation_drop_blobs(self);
    free(self->blobs);
    arena_done(&self->arena);
}

struct raft_generation *raft_collecting(struct raft *self)
{
    return &self->generations[self->generation];
}

/* Takes over a reference. */
static void generation_hold(struct raft_generation *self, struct raft_blob *blob)
{
    if (!blob)
        return;
    if (self->blob_count == self->blob_cap) {
        size_t cap = self->blob_cap ? self->blob_cap * 2 : 64;
        struct raft_blob **blobs = realloc(self->blobs, cap * sizeof(struct raft_blob *));
        CHECK(blobs);
        self->blobs = blobs;
        self->blob_cap = cap;
    }
    self->blobs[self->blob_count++] = blob;
}

struct bytes raft_keep_bytes(struct raft *self, struct bytes bytes)
{
    if (bytes.len == 0)
        return BYTES_NONE;
    return arena_copy(&raft_collecting(self)->arena, bytes);
}

const struct raft_entry *raft_keep_entries(struct raft *self, const struct raft_entry *entries,
                                           size_t count, bool adopt)
{
    if (count == 0)
        return NULL;
    struct raft_generation *generation = raft_collecting(self);
    struct raft_entry *copy = ARENA_ARRAY(&generation->arena, struct raft_entry, count);
    memcpy(copy, entries, count * sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        if (copy[i].blob)
            generation_hold(generation, adopt ? copy[i].blob : raft_blob_ref(copy[i].blob));
        else
            copy[i].data = raft_keep_bytes(self, copy[i].data);
    }
    return copy;
}

const struct raft_snapshot *raft_keep_snapshot(struct raft *self,
                                               const struct raft_snapshot *snapshot, bool adopt)
{
    struct raft_generation *generation = raft_collecting(self);
    struct raft_snapshot *copy = ARENA_NEW(&generation->arena, struct raft_snapshot);
    *copy = *snapshot;
    if (copy->blob)
        generation_hold(generation, adopt ? copy->blob : raft_blob_ref(copy->blob));
    else
        copy->data = raft_keep_bytes(self, copy->data);
    return copy;
}

void raft_outbox_push(struct raft_outbox *self, const struct raft_message *message)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 16;
        struct raft_message *messages = realloc(self->messages, cap * sizeof(*messages));
        CHECK(messages);
        self->messages = messages;
        self->cap = cap;
    }
    self->messages[self->count++] = *message;
}

static bool type_is_vote(enum raft_message_type type)
{
    return type == RAFT_MSG_VOTE || type == RAFT_MSG_VOTE_RESP || type == RAFT_MSG_PRE_VOTE ||
           type == RAFT_MSG_PRE_VOTE_RESP;
}

/* Acknowledgements are cumulative: one that follows another to the same member says it all.
 * True: the one before now says it. */
static bool merge_acknowledgement(struct raft *self, const struct raft_message *message)
{
    if (!self->config.group_appends || self->vouching.count == 0 ||
        message->type != RAFT_MSG_APP_RESP || message->reject)
        return false;
    struct raft_message *before = &self->vouching.messages[self->vouching.count - 1];
    if (before->type != RAFT_MSG_APP_RESP || before->reject || before->to != message->to ||
        before->term != message->term)
        return false;
    if (before->index < message->index)
        before->index = message->index;
    return true;
}

void raft_send(struct raft *self, struct raft_message message)
{
    if (message.from == RAFT_NONE)
        message.from = self->config.id;
    if (type_is_vote(message.type)) {
        /* A vote names the term that it is about, which is not always ours: the sender set it. */
        CHECK(message.term != 0);
    } else if (message.type != RAFT_MSG_PROP && message.type != RAFT_MSG_READ_INDEX) {
        /* Those two are forwarded and belong to no term. */
        CHECK(message.term == 0);
        message.term = self->term;
    }
    /* An answer that vouches for log, term or vote must not overtake their way to the disk. A
     * rejection says so of the term. */
    bool early = (BUG(vote_before_durable) && message.type == RAFT_MSG_VOTE_RESP) ||
                 (BUG(acknowledge_before_durable) && message.type == RAFT_MSG_APP_RESP);
    if (early && message.to != self->config.id) {
        raft_outbox_push(&self->messages, &message);
        return;
    }
    if (message.type == RAFT_MSG_APP_RESP || message.type == RAFT_MSG_VOTE_RESP ||
        message.type == RAFT_MSG_PRE_VOTE_RESP) {
        if (!merge_acknowledgement(self, &message))
            raft_outbox_push(&self->vouching, &message);
        return;
    }
    CHECK(message.to != self->config.id);
    raft_outbox_push(&self->messages, &message);
}

void raft_push_read_state(struct raft *self, uint64_t index, struct bytes context)
{
    if (self->read_state_count == self->read_state_cap) {
        size_t cap = self->read_state_cap ? self->read_state_cap * 2 : 16;
        struct raft_read_state *states = realloc(self->read_states, cap * sizeof(*states));
        CHECK(states);
        self->read_states = states;
        self->read_state_cap = cap;
    }
    self->read_states[self->read_state_count++] =
        (struct raft_read_state){.index = index, .context = raft_keep_bytes(self, context)};
}
