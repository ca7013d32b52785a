#include "raft/unstable.h"
#include "base/bug.h"

#include <stdlib.h>

void raft_unstable_init(struct raft_unstable *self, uint64_t offset)
{
    *self = (struct raft_unstable){.offset = offset, .offset_in_progress = offset};
}

static void unstable_drop_snapshot(struct raft_unstable *self)
{
    if (!self->has_snapshot)
        return;
    raft_blob_unref(self->snapshot->blob);
    self->has_snapshot = false;
    self->snapshot_in_progress = false;
}

/* Keeps the first n entries. */
static void unstable_truncate(struct raft_unstable *self, size_t n)
{
    raft_entries_unref(&self->entries[self->head + n], self->count - n);
    self->count = n;
}

void raft_unstable_done(struct raft_unstable *self)
{
    if (self->count > 0)
        unstable_truncate(self, 0);
    unstable_drop_snapshot(self);
    free(self->snapshot);
    free(self->entries);
    *self = (struct raft_unstable){0};
}

bool raft_unstable_term(const struct raft_unstable *self, uint64_t index, uint64_t *ret_term)
{
    if (index >= self->offset && index < raft_unstable_end(self)) {
        *ret_term = raft_unstable_at(self, index)->term;
        return true;
    }
    if (self->has_snapshot && self->snapshot->index == index) {
        *ret_term = self->snapshot->term;
        return true;
    }
    return false;
}

size_t raft_unstable_next(const struct raft_unstable *self, const struct raft_entry **ret_entries)
{
    size_t n = raft_unstable_end(self) - self->offset_in_progress;
    if (n > 0)
        *ret_entries = raft_unstable_at(self, self->offset_in_progress);
    return n;
}

bool raft_unstable_has_next_snapshot(const struct raft_unstable *self)
{
    return self->has_snapshot && !self->snapshot_in_progress;
}

void raft_unstable_accept(struct raft_unstable *self)
{
    self->offset_in_progress = raft_unstable_end(self);
    if (self->has_snapshot)
        self->snapshot_in_progress = true;
}

bool raft_unstable_stable_to(struct raft_unstable *self, uint64_t index, uint64_t term)
{
    /* Below the offset it is the snapshot, or long since stable. */
    if (index < self->offset || index >= raft_unstable_end(self))
        return false;
    if (raft_unstable_at(self, index)->term != term && !BUG(stale_completion))
        return false;
    size_t n = index + 1 - self->offset;
    raft_entries_unref(&self->entries[self->head], n);
    self->head += n;
    self->count -= n;
    self->offset = index + 1;
    if (self->offset_in_progress < self->offset)
        self->offset_in_progress = self->offset;
    if (self->count == 0)
        self->head = 0;
    return true;
}

void raft_unstable_snapshot_stable(struct raft_unstable *self, uint64_t index)
{
    if (self->has_snapshot && self->snapshot->index == index)
        unstable_drop_snapshot(self);
}

void raft_unstable_restore(struct raft_unstable *self, const struct raft_snapshot *snapshot)
{
    if (self->count > 0)
        unstable_truncate(self, 0);
    unstable_drop_snapshot(self);
    self->head = 0;
    self->offset = snapshot->index + 1;
    self->offset_in_progress = self->offset;
    if (!self->snapshot)
        self->snapshot = malloc(sizeof(*self->snapshot));
    CHECK(self->snapshot);
    *self->snapshot = *snapshot;
    if (snapshot->blob)
        raft_blob_ref(snapshot->blob);
    else
        self->snapshot->blob = raft_blob_copy(snapshot->data, &self->snapshot->data);
    self->has_snapshot = true;
    self->snapshot_in_progress = false;
}

static void unstable_reserve(struct raft_unstable *self, size_t more)
{
    if (self->head + self->count + more <= self->cap)
        return;
    /* What was answered leaves room at the front: use it where that moves little. */
    if (self->head > self->count && self->count + more <= self->cap) {
        memmove(self->entries, &self->entries[self->head], self->count * sizeof(*self->entries));
        self->head = 0;
        return;
    }
    size_t cap = self->cap ? self->cap : 16;
    while (cap < self->count + more)
        cap *= 2;
    struct raft_entry *entries = calloc(cap, sizeof(*entries));
    CHECK(entries);
    if (self->count > 0)
        memcpy(entries, &self->entries[self->head], self->count * sizeof(*entries));
    free(self->entries);
    self->entries = entries;
    self->cap = cap;
    self->head = 0;
}

void raft_unstable_append(struct raft_unstable *self, const struct raft_entry *entries,
                          size_t count)
{
    if (count == 0)
        return;
    uint64_t first = entries[0].index;
    CHECK(first <= raft_unstable_end(self));
    if (first <= self->offset) {
        if (self->count > 0)
            unstable_truncate(self, 0);
        self->head = 0;
        self->offset = first;
        self->offset_in_progress = first;
    } else if (first < raft_unstable_end(self)) {
        unstable_truncate(self, first - self->offset);
        if (self->offset_in_progress > first)
            self->offset_in_progress = first;
    }
    unstable_reserve(self, count);
    for (size_t i = 0; i < count; i++) {
        struct raft_entry *entry = &self->entries[self->head + self->count++];
        *entry = entries[i];
        if (entry->blob)
            raft_blob_ref(entry->blob);
        else
            entry->blob = raft_blob_copy(entries[i].data, &entry->data);
        DCHECK(entry->index == first + i);
    }
}
