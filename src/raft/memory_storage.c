#include "raft/memory_storage.h"

#include <stdlib.h>

struct raft_memory_storage {
    struct raft_hard_state hard_state;
    struct raft_snapshot snapshot; /* what followers get */
    uint64_t cut_index;            /* the log begins after it */
    uint64_t cut_term;
    struct raft_entry *entries; /* entries[i].index == cut_index + 1 + i */
    size_t count;
    size_t cap;
};

struct raft_memory_storage *raft_memory_storage_new(void)
{
    struct raft_memory_storage *self = calloc(1, sizeof(*self));
    CHECK(self);
    return self;
}

void raft_memory_storage_free(struct raft_memory_storage *self)
{
    if (!self)
        return;
    raft_entries_unref(self->entries, self->count);
    raft_blob_unref(self->snapshot.blob);
    free(self->entries);
    free(self);
}

static uint64_t memory_first(void *ctx)
{
    const struct raft_memory_storage *self = ctx;
    return self->cut_index + 1;
}

static uint64_t memory_last(void *ctx)
{
    const struct raft_memory_storage *self = ctx;
    return self->cut_index + self->count;
}

static err memory_initial_state(void *ctx, struct raft_hard_state *ret_hard_state,
                                struct raft_conf_state *ret_conf_state)
{
    const struct raft_memory_storage *self = ctx;
    *ret_hard_state = self->hard_state;
    *ret_conf_state = self->snapshot.conf_state;
    return OK;
}

static err memory_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                          struct raft_entry *ret_entries, size_t *ret_count)
{
    const struct raft_memory_storage *self = ctx;
    if (lo <= self->cut_index)
        return ERR_COMPACTED_LOG;
    CHECK(lo < hi && hi <= memory_last(ctx) + 1);
    uint64_t bytes = 0;
    size_t count = 0;
    while (lo + count < hi && count < room) {
        const struct raft_entry *entry = &self->entries[lo + count - self->cut_index - 1];
        bytes += raft_entry_bytes(entry);
        if (bytes > max_bytes && count > 0)
            break;
        ret_entries[count++] = *entry;
        raft_blob_ref(entry->blob);
    }
    *ret_count = count;
    return OK;
}

static err memory_term(void *ctx, uint64_t index, uint64_t *ret_term)
{
    const struct raft_memory_storage *self = ctx;
    if (index < self->cut_index)
        return ERR_COMPACTED_LOG;
    if (index > memory_last(ctx))
        return ERR_NOT_FOUND;
    *ret_term =
        index == self->cut_index ? self->cut_term : self->entries[index - self->cut_index - 1].term;
    return OK;
}

static err memory_snapshot(void *ctx, struct raft_snapshot *ret_snapshot)
{
    const struct raft_memory_storage *self = ctx;
    *ret_snapshot = self->snapshot;
    raft_blob_ref(self->snapshot.blob);
    return OK;
}

struct raft_storage raft_memory_storage_table(struct raft_memory_storage *self)
{
    return (struct raft_storage){
        .ctx = self,
        .initial_state = memory_initial_state,
        .entries = memory_entries,
        .term = memory_term,
        .first_index = memory_first,
        .last_index = memory_last,
        .snapshot = memory_snapshot,
    };
}

void raft_memory_storage_set_hard_state(struct raft_memory_storage *self,
                                        const struct raft_hard_state *state)
{
    self->hard_state = *state;
}

err raft_memory_storage_append(struct raft_memory_storage *self, const struct raft_entry *entries,
                               size_t count)
{
    /* What was compacted is not written again. */
    while (count > 0 && entries[0].index <= self->cut_index) {
        entries++;
        count--;
    }
    if (count == 0)
        return OK;
    if (entries[0].index > memory_last(self) + 1)
        return ERR_MISMATCH;
    size_t keep = entries[0].index - self->cut_index - 1;
    if (self->count > keep)
        raft_entries_unref(&self->entries[keep], self->count - keep);
    self->count = keep;
    if (keep + count > self->cap) {
        size_t cap = self->cap ? self->cap : 16;
        while (cap < keep + count)
            cap *= 2;
        struct raft_entry *grown = realloc(self->entries, cap * sizeof(*grown));
        CHECK(grown);
        self->entries = grown;
        self->cap = cap;
    }
    for (size_t i = 0; i < count; i++) {
        struct raft_entry *entry = &self->entries[self->count++];
        *entry = entries[i];
        if (entry->blob)
            raft_blob_ref(entry->blob);
        else
            entry->blob = raft_blob_copy(entries[i].data, &entry->data);
    }
    return OK;
}

void raft_memory_storage_set_snapshot(struct raft_memory_storage *self,
                                      const struct raft_snapshot *snapshot)
{
    struct raft_blob *old = self->snapshot.blob;
    struct raft_snapshot copy = *snapshot;
    if (copy.blob)
        raft_blob_ref(copy.blob);
    else
        copy.blob = raft_blob_copy(snapshot->data, &copy.data);
    self->snapshot = copy;
    raft_blob_unref(old);
}

err raft_memory_storage_install(struct raft_memory_storage *self,
                                const struct raft_snapshot *snapshot)
{
    if (snapshot->index <= self->cut_index && self->cut_index > 0)
        return ERR_MISMATCH;
    raft_memory_storage_set_snapshot(self, snapshot);
    raft_entries_unref(self->entries, self->count);
    self->count = 0;
    self->cut_index = snapshot->index;
    self->cut_term = snapshot->term;
    return OK;
}

err raft_memory_storage_compact(struct raft_memory_storage *self, uint64_t index)
{
    if (index <= self->cut_index)
        return ERR_COMPACTED_LOG;
    if (index > memory_last(self))
        return ERR_NOT_FOUND;
    size_t n = index - self->cut_index;
    self->cut_term = self->entries[n - 1].term;
    self->cut_index = index;
    raft_entries_unref(self->entries, n);
    self->count -= n;
    memmove(self->entries, &self->entries[n], self->count * sizeof(*self->entries));
    return OK;
}
