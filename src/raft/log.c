#include "raft/log.h"
#include "base/bug.h"

#include <stdlib.h>

void raft_log_init(struct raft_log *self, const struct raft_storage *storage,
                   uint64_t applying_bytes_max)
{
    *self = (struct raft_log){.storage = *storage, .applying_bytes_max = applying_bytes_max};
    uint64_t first = storage->first_index(storage->ctx);
    uint64_t last = storage->last_index(storage->ctx);
    CHECK(first > 0 && last + 1 >= first);
    raft_unstable_init(&self->unstable, last + 1);
    self->committed = self->applying = self->applied = first - 1;
    self->scratch = calloc(RAFT_ENTRIES_MAX, sizeof(*self->scratch));
    CHECK(self->scratch);
}

void raft_log_done(struct raft_log *self)
{
    raft_unstable_done(&self->unstable);
    free(self->batches);
    free(self->scratch);
}

uint64_t raft_log_first_index(const struct raft_log *self)
{
    if (self->unstable.has_snapshot)
        return self->unstable.snapshot->index + 1;
    return self->storage.first_index(self->storage.ctx);
}

uint64_t raft_log_last_index(const struct raft_log *self)
{
    if (self->unstable.count > 0 || self->unstable.has_snapshot)
        return raft_unstable_end(&self->unstable) - 1;
    return self->storage.last_index(self->storage.ctx);
}

err raft_log_term(const struct raft_log *self, uint64_t index, uint64_t *ret_term)
{
    if (raft_unstable_term(&self->unstable, index, ret_term))
        return OK;
    if (index + 1 < raft_log_first_index(self))
        return ERR_COMPACTED_LOG;
    if (index > raft_log_last_index(self))
        return ERR_NOT_FOUND;
    return self->storage.term(self->storage.ctx, index, ret_term);
}

uint64_t raft_log_last_term(const struct raft_log *self)
{
    uint64_t term = 0;
    err e = raft_log_term(self, raft_log_last_index(self), &term);
    CHECK(err_ok(e));
    return term;
}

bool raft_log_matches(const struct raft_log *self, uint64_t index, uint64_t term)
{
    uint64_t ours;
    return err_ok(raft_log_term(self, index, &ours)) && ours == term;
}

bool raft_log_is_up_to_date(const struct raft_log *self, uint64_t index, uint64_t term)
{
    uint64_t ours = raft_log_last_term(self);
    return term > ours || (term == ours && index >= raft_log_last_index(self));
}

void raft_log_find_conflict(const struct raft_log *self, uint64_t index, uint64_t term,
                            uint64_t *ret_index, uint64_t *ret_term)
{
    /* Terms never fall along the log, so the place is found by halving. [low, high) holds the
     * indexes whose term may be at most `term`. */
    uint64_t low = raft_log_first_index(self) - 1;
    uint64_t last = raft_log_last_index(self);
    uint64_t high = (index < last ? index : last) + 1;
    uint64_t found = 0;
    uint64_t found_term = 0;
    bool any = false;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t ours = 0;
        err e = raft_log_term(self, middle, &ours);
        CHECK(err_ok(e));
        if (ours <= term) {
            found = middle;
            found_term = ours;
            any = true;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (!any) {
        uint64_t first = raft_log_first_index(self);
        found = first >= 2 ? first - 2 : 0;
        found = found < index ? found : index;
    }
    *ret_index = found;
    *ret_term = found_term;
}

err raft_log_slice(struct raft_log *self, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                   const struct raft_entry **ret_entries, size_t *ret_count)
{
    CHECK(lo < hi && hi <= raft_log_last_index(self) + 1);
    if (lo < raft_log_first_index(self))
        return ERR_COMPACTED_LOG;
    if (hi - lo > RAFT_ENTRIES_MAX)
        hi = lo + RAFT_ENTRIES_MAX;
    size_t count = 0;
    uint64_t stable_end = hi < self->unstable.offset ? hi : self->unstable.offset;
    if (lo < stable_end) {
        TRY(self->storage.entries(self->storage.ctx, lo, stable_end, max_bytes, stable_end - lo,
                                  self->scratch, &count));
        CHECK(count > 0 && count <= stable_end - lo && self->scratch[0].index == lo);
    }
    if (lo + count == stable_end || lo >= stable_end) {
        uint64_t bytes = raft_entries_bytes(self->scratch, count);
        for (uint64_t index = lo + count; index < hi; index++) {
            const struct raft_entry *entry = raft_unstable_at(&self->unstable, index);
            bytes += raft_entry_bytes(entry);
            if (bytes > max_bytes && count > 0)
                break;
            self->scratch[count++] = *entry;
            raft_blob_ref(entry->blob);
        }
    }
    *ret_entries = self->scratch;
    *ret_count = count;
    return OK;
}

/* The first of the entries that our log does not hold with the same term; count: none. */
static size_t log_first_new(const struct raft_log *self, const struct raft_entry *entries,
                            size_t count)
{
    size_t i = 0;
    while (i < count && (raft_log_matches(self, entries[i].index, entries[i].term) ||
                         (BUG(append_over_conflict) && entries[i].index > self->committed &&
                          entries[i].index <= raft_log_last_index(self))))
        i++;
    return i;
}

err raft_log_try_append(struct raft_log *self, uint64_t index, uint64_t term,
                        const struct raft_entry *entries, size_t count, uint64_t commit,
                        uint64_t *ret_last)
{
    if (!raft_log_matches(self, index, term))
        return ERR_NOT_FOUND;
    size_t fresh = log_first_new(self, entries, count);
    if (fresh < count) {
        if (entries[fresh].index <= self->committed)
            return ERR_MISMATCH;
        raft_unstable_append(&self->unstable, &entries[fresh], count - fresh);
    }
    uint64_t last = index + count;
    raft_log_commit_to(self, commit < last ? commit : last);
    *ret_last = last;
    return OK;
}

bool raft_log_commit_to(struct raft_log *self, uint64_t index)
{
    if (index <= self->committed)
        return false;
    CHECK(index <= raft_log_last_index(self));
    self->committed = index;
    return true;
}

void raft_log_restore(struct raft_log *self, const struct raft_snapshot *snapshot)
{
    CHECK(snapshot->index > self->committed);
    self->committed = snapshot->index;
    raft_unstable_restore(&self->unstable, snapshot);
}

bool raft_log_has_unstable(const struct raft_log *self)
{
    return self->unstable.count > 0;
}

static uint64_t log_appliable(const struct raft_log *self, bool allow_unstable)
{
    uint64_t stable = self->unstable.offset - 1;
    if (BUG(frame_ahead_of_log))
        return self->committed;
    return allow_unstable || self->committed < stable ? self->committed : stable;
}

bool raft_log_next_committed(const struct raft_log *self, bool allow_unstable, uint64_t *ret_lo,
                             uint64_t *ret_hi)
{
    /* A snapshot goes before the entries that follow it. */
    if (self->applying_paused || self->unstable.has_snapshot)
        return false;
    uint64_t lo = self->applying + 1;
    uint64_t hi = log_appliable(self, allow_unstable) + 1;
    if (lo >= hi)
        return false;
    *ret_lo = lo;
    *ret_hi = hi;
    return true;
}

uint64_t raft_log_applying_room(const struct raft_log *self)
{
    CHECK(self->applying_bytes < self->applying_bytes_max || self->applying_bytes == 0);
    return self->applying_bytes_max - self->applying_bytes;
}

static void log_push_batch(struct raft_log *self, struct raft_apply_batch batch)
{
    if (self->batch_head + self->batch_count == self->batch_cap) {
        if (self->batch_head > self->batch_count) {
            memmove(self->batches, &self->batches[self->batch_head],
                    self->batch_count * sizeof(batch));
        } else {
            size_t cap = self->batch_cap ? self->batch_cap * 2 : 16;
            struct raft_apply_batch *batches = calloc(cap, sizeof(batch));
            CHECK(batches);
            if (self->batch_count > 0)
                memcpy(batches, &self->batches[self->batch_head],
                       self->batch_count * sizeof(batch));
            free(self->batches);
            self->batches = batches;
            self->batch_cap = cap;
        }
        self->batch_head = 0;
    }
    self->batches[self->batch_head + self->batch_count++] = batch;
}

void raft_log_accept_applying(struct raft_log *self, const struct raft_entry *entries, size_t count,
                              bool allow_unstable)
{
    CHECK(count > 0 && entries[0].index == self->applying + 1);
    struct raft_apply_batch batch = {
        .last = entries[count - 1].index,
        .bytes = raft_entries_bytes(entries, count),
        .payload = raft_entries_payload(entries, count),
    };
    CHECK(batch.last <= self->committed);
    log_push_batch(self, batch);
    self->applying = batch.last;
    self->applying_bytes += batch.bytes;
    /* Also paused where the limit left something behind: the rest would fit only now and then,
     * entry by entry. */
    self->applying_paused = self->applying_bytes >= self->applying_bytes_max ||
                            batch.last < log_appliable(self, allow_unstable);
}

void raft_log_applied_to(struct raft_log *self, uint64_t index, uint64_t *ret_payload)
{
    CHECK(index <= self->committed);
    uint64_t payload = 0;
    while (self->batch_count > 0 && self->batches[self->batch_head].last <= index) {
        self->applying_bytes -= self->batches[self->batch_head].bytes;
        payload += self->batches[self->batch_head].payload;
        self->batch_head++;
        self->batch_count--;
    }
    if (self->batch_count == 0)
        self->batch_head = 0;
    if (index > self->applied)
        self->applied = index;
    if (self->applying < self->applied)
        self->applying = self->applied;
    self->applying_paused = self->applying_bytes >= self->applying_bytes_max;
    *ret_payload = payload;
}
