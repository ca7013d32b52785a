/* Copies of messages. A copy is one allocation: the message, then its arrays, then loose bytes:
 *
 *   raft_message | entries | snapshot | responses, each with its own arrays | bytes
 *
 * Two passes run the same code: the first, without memory, only counts. */
#include "raft/types.h"

#include <stdlib.h>

/* Responses carry none of their own. */
#define DEPTH_MAX 1

struct copier {
    uint8_t *memory; /* NULL: counting */
    size_t used;
};

static void *copier_place(struct copier *self, size_t n)
{
    void *at = self->memory ? self->memory + self->used : NULL;
    self->used += (n + 15) & ~(size_t)15;
    return at;
}

static struct bytes copier_bytes(struct copier *self, struct bytes data)
{
    if (data.len == 0)
        return BYTES_NONE;
    uint8_t *at = copier_place(self, data.len);
    if (at)
        memcpy(at, data.data, data.len);
    return bytes_of(at, data.len);
}

static const struct raft_entry *copier_entries(struct copier *self, const struct raft_entry *from,
                                               size_t count)
{
    if (count == 0)
        return NULL;
    struct raft_entry *to = copier_place(self, count * sizeof(*to));
    for (size_t i = 0; i < count; i++) {
        struct bytes data = from[i].blob ? from[i].data : copier_bytes(self, from[i].data);
        if (!to)
            continue;
        to[i] = from[i];
        to[i].data = data;
        raft_blob_ref(to[i].blob);
    }
    return to;
}

static const struct raft_snapshot *copier_snapshot(struct copier *self,
                                                   const struct raft_snapshot *from)
{
    if (!from)
        return NULL;
    struct raft_snapshot *to = copier_place(self, sizeof(*to));
    struct bytes data = from->blob ? from->data : copier_bytes(self, from->data);
    if (to) {
        *to = *from;
        to->data = data;
        raft_blob_ref(to->blob);
    }
    return to;
}

/* The depth is bounded: NOLINTNEXTLINE(misc-no-recursion) */
static void copier_message(struct copier *self, const struct raft_message *from,
                           struct raft_message *to, int depth)
{
    struct raft_message copy = *from;
    copy.entries = copier_entries(self, from->entries, from->entry_count);
    copy.snapshot = copier_snapshot(self, from->snapshot);
    copy.context = copier_bytes(self, from->context);
    copy.responses = NULL;
    copy.response_count = depth < DEPTH_MAX ? from->response_count : 0;
    if (copy.response_count > 0) {
        size_t bytes = copy.response_count * sizeof(struct raft_message);
        struct raft_message *responses = copier_place(self, bytes);
        for (size_t i = 0; i < copy.response_count; i++)
            copier_message(self, &from->responses[i], responses ? &responses[i] : NULL, depth + 1);
        copy.responses = responses;
    }
    if (to)
        *to = copy;
}

struct raft_message *raft_message_copy(const struct raft_message *self)
{
    struct copier counting = {0};
    copier_place(&counting, sizeof(*self));
    copier_message(&counting, self, NULL, 0);

    struct copier copying = {.memory = malloc(counting.used)};
    CHECK(copying.memory);
    struct raft_message *copy = copier_place(&copying, sizeof(*self));
    copier_message(&copying, self, copy, 0);
    CHECK(copying.used == counting.used);
    return copy;
}

static void message_unref(const struct raft_message *self)
{
    raft_entries_unref(self->entries, self->entry_count);
    if (self->snapshot)
        raft_blob_unref(self->snapshot->blob);
}

void raft_message_free(struct raft_message *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->response_count; i++)
        message_unref(&self->responses[i]);
    message_unref(self);
    free(self);
}
