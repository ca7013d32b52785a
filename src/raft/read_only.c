#include "raft/read_only.h"

#include <stdlib.h>

void raft_read_only_done(struct raft_read_only *self)
{
    free(self->reads);
    *self = (struct raft_read_only){0};
}

void raft_read_only_reset(struct raft_read_only *self)
{
    self->head = 0;
    self->count = 0;
    self->base = 0;
    self->round_due = false;
}

static void read_only_make_room(struct raft_read_only *self)
{
    if (self->head + self->count < self->cap)
        return;
    if (self->head > self->count) {
        memmove(self->reads, &self->reads[self->head], self->count * sizeof(*self->reads));
    } else {
        size_t cap = self->cap ? self->cap * 2 : 16;
        struct raft_read *reads = calloc(cap, sizeof(*reads));
        CHECK(reads);
        if (self->count > 0)
            memcpy(reads, &self->reads[self->head], self->count * sizeof(*reads));
        free(self->reads);
        self->reads = reads;
        self->cap = cap;
    }
    self->head = 0;
}

err raft_read_only_add(struct raft_read_only *self, uint64_t from, struct bytes context,
                       uint64_t index)
{
    if (self->count >= RAFT_READS_MAX || context.len > RAFT_CONTEXT_BYTES_MAX)
        return ERR_LIMIT;
    read_only_make_room(self);
    struct raft_read *read = &self->reads[self->head + self->count++];
    *read = (struct raft_read){.from = from, .index = index, .context_len = (uint8_t)context.len};
    if (context.len > 0)
        memcpy(read->context, context.data, context.len);
    return OK;
}

void raft_read_only_release(struct raft_read_only *self, uint64_t index)
{
    for (size_t i = 0; i < self->count; i++)
        self->reads[self->head + i].index = index;
    self->round_due = self->count > 0;
}

uint64_t raft_read_only_position(const struct raft_read_only *self)
{
    return self->count > 0 ? self->base + self->count : 0;
}

const struct raft_read *raft_read_only_pop(struct raft_read_only *self, uint64_t confirmed)
{
    if (self->count == 0 || self->base >= confirmed)
        return NULL;
    self->base++;
    self->count--;
    return &self->reads[self->head++];
}
