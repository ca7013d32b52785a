#include "replica/log_cache.h"

#include <stdlib.h>

/* What an entry costs beside its data, so that empty ones are bounded too. */
#define ENTRY_OVERHEAD_BYTES 64
#define LOG_CACHE_CHUNK      256 /* entries */

static size_t entry_cost(const struct raft_entry *entry)
{
    return entry->data.len + ENTRY_OVERHEAD_BYTES;
}

static struct raft_entry **chunk_of(const struct log_cache *self, size_t slot)
{
    return &self->chunks[slot / LOG_CACHE_CHUNK & (self->chunk_cap - 1)];
}

static struct raft_entry *entry_at(const struct log_cache *self, size_t i)
{
    size_t slot = self->first + i;
    return *chunk_of(self, slot) + slot % LOG_CACHE_CHUNK;
}

static uint64_t cached_first(const struct log_cache *self)
{
    return self->last + 1 - self->count;
}

static void drop_last(struct log_cache *self)
{
    struct raft_entry *entry = entry_at(self, --self->count);
    self->bytes -= entry_cost(entry);
    raft_entries_unref(entry, 1);
}

static void drop_first(struct log_cache *self)
{
    struct raft_entry *entry = entry_at(self, 0);
    self->bytes -= entry_cost(entry);
    raft_entries_unref(entry, 1);
    struct raft_entry **chunk = chunk_of(self, self->first);
    self->first++;
    self->count--;
    if (self->first % LOG_CACHE_CHUNK == 0) {
        free(*chunk);
        *chunk = NULL;
    }
}

/* All chunks that there are have their places in the ring of now. */
static void grow(struct log_cache *self)
{
    size_t cap = self->chunk_cap ? self->chunk_cap * 2 : 4, begin = self->first / LOG_CACHE_CHUNK;
    struct raft_entry **chunks = calloc(cap, sizeof(struct raft_entry *));
    CHECK(chunks);
    for (size_t i = begin; i < begin + self->chunk_cap; i++)
        chunks[i & (cap - 1)] = self->chunks[i & (self->chunk_cap - 1)];
    free(self->chunks);
    self->chunks = chunks;
    self->chunk_cap = cap;
}

/* Where the next entry goes. */
static struct raft_entry *next_place(struct log_cache *self)
{
    size_t slot = self->first + self->count;
    if (slot / LOG_CACHE_CHUNK - self->first / LOG_CACHE_CHUNK >= self->chunk_cap)
        grow(self);
    struct raft_entry **chunk = chunk_of(self, slot);
    if (!*chunk) {
        *chunk = malloc(LOG_CACHE_CHUNK * sizeof(struct raft_entry));
        CHECK(*chunk);
    }
    return *chunk + slot % LOG_CACHE_CHUNK;
}

void log_cache_append(struct log_cache *self, const struct raft_entry *entries, size_t count)
{
    if (count == 0)
        return;
    CHECK(entries[0].index <= self->last + 1 && entries[0].index > self->snapshot_index);
    while (self->count && self->last >= entries[0].index) {
        drop_last(self);
        self->last--;
    }
    self->last = entries[0].index - 1;
    for (size_t i = 0; i < count; i++) {
        CHECK(entries[i].index == self->last + 1);
        *next_place(self) = entries[i];
        self->count++;
        raft_entries_ref(&entries[i], 1);
        self->bytes += entry_cost(&entries[i]);
        self->last++;
    }
    while (self->bytes > self->bytes_max && self->count > 1)
        drop_first(self);
}

err log_cache_init(struct log_cache *self, const struct replica_log *older,
                   const struct replica_start *start, size_t bytes_max)
{
    *self = (struct log_cache){
        .older = *older,
        .hard_state = start->hard_state,
        .conf = start->conf,
        .snapshot_index = start->snapshot_index,
        .snapshot_term = start->snapshot_term,
        .last = start->last_index - start->entry_count,
        .bytes_max = bytes_max,
    };
    if (start->last_index < start->snapshot_index ||
        start->last_index - start->snapshot_index < start->entry_count)
        return ERR_CORRUPT;
    for (size_t i = 0; i < start->entry_count; i++) {
        if (start->entries[i].index != self->last + 1 + i)
            return ERR_CORRUPT;
    }
    log_cache_append(self, start->entries, start->entry_count);
    return OK;
}

void log_cache_done(struct log_cache *self)
{
    while (self->count)
        drop_last(self);
    for (size_t i = 0; i < self->chunk_cap; i++)
        free(self->chunks[i]);
    free(self->chunks);
    self->chunks = NULL;
    self->chunk_cap = 0;
}

uint64_t log_cache_first_within(const struct log_cache *self, uint64_t bytes)
{
    return self->older.first_within(self->older.ctx, bytes);
}

/* --- raft's table ------------------------------------------------------------------------ */

static err storage_initial_state(void *ctx, struct raft_hard_state *ret_hard_state,
                                 struct raft_conf_state *ret_conf_state)
{
    struct log_cache *self = ctx;
    *ret_hard_state = self->hard_state;
    *ret_conf_state = self->conf;
    return OK;
}

static uint64_t storage_first_index(void *ctx)
{
    struct log_cache *self = ctx;
    uint64_t first = self->older.first_index(self->older.ctx);
    /* The stage may not know of entries yet that are in memory alone. */
    uint64_t least = self->snapshot_index + 1;
    if (first > self->last + 1)
        first = self->last + 1;
    return first > least ? first : least;
}

static uint64_t storage_last_index(void *ctx)
{
    return ((struct log_cache *)ctx)->last;
}

static err storage_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                           struct raft_entry *ret_entries, size_t *ret_count)
{
    struct log_cache *self = ctx;
    if (lo < storage_first_index(ctx))
        return ERR_COMPACTED_LOG;
    CHECK(hi <= self->last + 1 && lo < hi);
    uint64_t first = cached_first(self);
    if (lo < first) /* raft asks again for what follows */
        return self->older.entries(self->older.ctx, lo, hi < first ? hi : first, max_bytes, room,
                                   ret_entries, ret_count);
    uint64_t bytes = 0;
    size_t n = 0;
    for (uint64_t i = lo; i < hi && n < room; i++) {
        const struct raft_entry *entry = entry_at(self, (size_t)(i - first));
        bytes += raft_entry_bytes(entry);
        if (n && bytes > max_bytes)
            break;
        ret_entries[n++] = *entry;
        raft_entries_ref(entry, 1);
    }
    *ret_count = n;
    return OK;
}

static err storage_term(void *ctx, uint64_t index, uint64_t *ret_term)
{
    struct log_cache *self = ctx;
    if (index > self->last)
        return ERR_NOT_FOUND;
    if (self->count && index >= cached_first(self)) {
        *ret_term = entry_at(self, (size_t)(index - cached_first(self)))->term;
        return OK;
    }
    if (index == self->snapshot_index) {
        *ret_term = self->snapshot_term;
        return OK;
    }
    return self->older.term(self->older.ctx, index, ret_term);
}

static err storage_snapshot(void *ctx, struct raft_snapshot *ret_snapshot)
{
    struct log_cache *self = ctx;
    return self->snapshot(self->snapshot_ctx, ret_snapshot);
}

struct raft_storage log_cache_storage(struct log_cache *self)
{
    return (struct raft_storage){
        .ctx = self,
        .initial_state = storage_initial_state,
        .entries = storage_entries,
        .term = storage_term,
        .first_index = storage_first_index,
        .last_index = storage_last_index,
        .snapshot = storage_snapshot,
    };
}
