#include "raft/inflights.h"

#include <stdlib.h>

void raft_inflights_init(struct raft_inflights *self, uint32_t max_count, uint64_t max_bytes)
{
    CHECK(max_count > 0);
    *self = (struct raft_inflights){.max_count = max_count, .max_bytes = max_bytes};
}

void raft_inflights_done(struct raft_inflights *self)
{
    free(self->ring);
    *self = (struct raft_inflights){0};
}

void raft_inflights_reset(struct raft_inflights *self)
{
    self->start = 0;
    self->count = 0;
    self->bytes = 0;
}

bool raft_inflights_full(const struct raft_inflights *self)
{
    return self->count == self->max_count ||
           (self->max_bytes != 0 && self->bytes >= self->max_bytes);
}

static struct raft_inflight *inflights_at(const struct raft_inflights *self, uint32_t i)
{
    return &self->ring[(self->start + i) % self->cap];
}

static void inflights_grow(struct raft_inflights *self)
{
    uint32_t cap = self->cap ? self->cap : 4;
    cap = cap > self->max_count / 2 ? self->max_count : cap * 2;
    struct raft_inflight *ring = calloc(cap, sizeof(*ring));
    CHECK(ring);
    for (uint32_t i = 0; i < self->count; i++)
        ring[i] = *inflights_at(self, i);
    free(self->ring);
    self->ring = ring;
    self->cap = cap;
    self->start = 0;
}

void raft_inflights_add(struct raft_inflights *self, uint64_t index, uint64_t bytes)
{
    CHECK(!raft_inflights_full(self));
    if (self->count == self->cap)
        inflights_grow(self);
    CHECK(self->count == 0 || inflights_at(self, self->count - 1)->index < index);
    *inflights_at(self, self->count) = (struct raft_inflight){index, bytes};
    self->count++;
    self->bytes += bytes;
}

void raft_inflights_free_to(struct raft_inflights *self, uint64_t index)
{
    while (self->count > 0 && self->ring[self->start].index <= index) {
        self->bytes -= self->ring[self->start].bytes;
        self->start = (self->start + 1) % self->cap;
        self->count--;
    }
}
