#include "world_disk.h"

#include <stdlib.h>

static struct raft_entry entry_owned(const struct raft_entry *from)
{
    struct raft_entry e = *from;
    e.blob = raft_blob_copy(from->data, &e.data);
    return e;
}

void disk_append(struct disk *d, const struct raft_entry *entries, size_t count)
{
    if (count == 0)
        return;
    assert_true(entries[0].index <= d->entry_count + 1);
    while (d->entry_count >= entries[0].index)
        raft_entries_unref(&d->entries[--d->entry_count], 1);
    for (size_t i = 0; i < count; i++) {
        if (d->entry_count == d->entry_cap) {
            d->entry_cap = d->entry_cap ? d->entry_cap * 2 : 64;
            d->entries = realloc(d->entries, d->entry_cap * sizeof(*d->entries));
        }
        d->entries[d->entry_count++] = entry_owned(&entries[i]);
    }
}

void disk_flush(struct disk *d, const struct tail *tail, const struct replica_flush *frame)
{
    /* Another state's records lie there: what this one would append is of no use to anybody. */
    if (d->installs)
        return;
    uint64_t from = d->record_count + 1;
    for (uint64_t seq = from; seq <= frame->seq; seq++) {
        const struct mvcc_record *r = tail_find(tail, seq);
        assert_non_null(r);
        if (d->record_count == d->record_cap) {
            d->record_cap = d->record_cap ? d->record_cap * 2 : 64;
            d->records = realloc(d->records, d->record_cap * sizeof(*d->records));
        }
        struct mvcc_record copy = *r;
        uint8_t *blob = malloc(r->blob.len ? r->blob.len : 1);
        memcpy(blob, r->blob.data, r->blob.len);
        copy.blob.data = blob;
        d->records[d->record_count++] = copy;
    }
    d->frame = *frame;
}

void disk_free(struct disk *d)
{
    raft_entries_unref(d->entries, d->entry_count);
    free(d->entries);
    for (size_t i = 0; i < d->record_count; i++)
        free((void *)d->records[i].blob.data);
    free(d->records);
    if (d->staged)
        disk_free(d->staged);
    free(d->staged);
}

void disk_staged_drop(struct disk *d)
{
    if (d->staged)
        disk_free(d->staged);
    free(d->staged);
    d->staged = NULL;
}

/* What a start does with a received state that the log covers, or does not. */
void disk_staged_settle(struct disk *d)
{
    if (!d->installs) {
        disk_staged_drop(d);
        return;
    }
    struct disk *staged = d->staged;
    assert_non_null(staged);
    struct raft_hard_state hard_state = d->hard_state;
    uint64_t index = staged->frame.index;
    assert_int_equal(d->snapshot_index, index);
    assert_true(hard_state.commit >= index);
    /* Entries behind it, in one batch with it. */
    size_t behind = d->entry_count > index ? d->entry_count - index : 0;
    struct raft_entry *entries = calloc(index + behind + 1, sizeof(*entries));
    for (size_t i = 0; i < behind; i++)
        entries[index + i] = d->entries[index + i];
    raft_entries_unref(d->entries, d->entry_count - behind);
    free(d->entries);
    entries[index - 1] = (struct raft_entry){.index = index, .term = staged->frame.term};
    staged->entries = entries;
    staged->entry_count = staged->entry_cap = index + behind;
    staged->hard_state = hard_state;
    staged->snapshot_index = staged->released = index;
    d->entries = NULL;
    d->entry_count = 0;
    d->staged = NULL;
    disk_free(d);
    *d = *staged;
    free(staged);
}

err disk_log_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                     struct raft_entry *ret_entries, size_t *ret_count)
{
    struct disk *d = &((struct node *)ctx)->disk;
    uint64_t bytes = 0;
    size_t n = 0;
    assert_true(lo > d->released && hi <= d->entry_count + 1);
    for (uint64_t i = lo; i < hi && n < room; i++) {
        bytes += raft_entry_bytes(&d->entries[i - 1]);
        if (n && bytes > max_bytes)
            break;
        ret_entries[n] = d->entries[i - 1];
        raft_entries_ref(&ret_entries[n++], 1);
    }
    *ret_count = n;
    return OK;
}

err disk_log_term(void *ctx, uint64_t index, uint64_t *ret_term)
{
    struct disk *d = &((struct node *)ctx)->disk;
    if (index > d->entry_count)
        return ERR_NOT_FOUND;
    if (index < d->released)
        return ERR_COMPACTED_LOG;
    *ret_term = index ? d->entries[index - 1].term : 0;
    return OK;
}

uint64_t disk_log_first(void *ctx)
{
    return ((struct node *)ctx)->disk.released + 1;
}

uint64_t disk_log_first_within(void *ctx, uint64_t bytes)
{
    const struct disk *d = &((struct node *)ctx)->disk;
    uint64_t first = d->entry_count + 1, sum = 0;
    while (first > d->released + 1) {
        sum += raft_entry_bytes(&d->entries[first - 2]);
        if (sum > bytes)
            break;
        first--;
    }
    return first;
}

void disk_job_free(struct disk_job *job)
{
    raft_entries_unref(job->entries, job->entry_count);
    free(job->entries);
    free(job);
}

void disk_job_carry_out(struct disk *d, const struct disk_job *job)
{
    if (job->installs) {
        /* The log goes on behind it, whatever it held; entries below stay for their places. */
        uint64_t index = job->snapshot_index;
        assert_true(d->staged && d->staged->frame.index == index);
        d->installs = true;
        while (d->entry_count > index)
            raft_entries_unref(&d->entries[--d->entry_count], 1);
        while (d->entry_count < index) {
            const struct raft_entry hole = {.index = d->entry_count + 1, .term = 1};
            disk_append(d, &hole, 1);
        }
    }
    disk_append(d, job->entries, job->entry_count);
    if (job->has_hard_state)
        d->hard_state = job->hard_state;
    if (job->must_sync)
        d->synced_commit = d->hard_state.commit;
    if (job->snapshot_index)
        d->snapshot_index = job->snapshot_index;
    if (job->release_index) {
        /* What the store does not hold durably may not go. */
        assert_true(job->release_index <= d->snapshot_index);
        assert_true(d->snapshot_index <= d->frame.index);
        assert_true(d->snapshot_index <= d->hard_state.commit);
        d->released = job->release_index;
    }
}

void node_take_append(struct node *n, const struct replica_append *a)
{
    struct world *w = n->world;
    struct disk_job *job = calloc(1, sizeof(*job));
    job->due_ms = w->now_ms + (w->log_delay_ms ? prng_below(&w->prng, w->log_delay_ms) : 0);
    job->batch = a->batch;
    job->entry_count = a->entry_count;
    job->entries = calloc(a->entry_count + 1, sizeof(*job->entries));
    memcpy(job->entries, a->entries, a->entry_count * sizeof(*job->entries));
    raft_entries_ref(job->entries, job->entry_count);
    job->has_hard_state = a->has_hard_state;
    job->must_sync = a->must_sync;
    job->hard_state = a->hard_state;
    job->snapshot_index = a->has_snapshot ? a->snapshot_index : 0;
    job->release_index = a->release_index;
    job->installs = a->installs;
    *n->jobs_end = job;
    n->jobs_end = &job->next;
}

void node_complete(struct node *n)
{
    struct world *w = n->world;
    uint64_t done = 0;
    while (!n->hold_log && n->jobs && n->jobs->due_ms <= w->now_ms) {
        struct disk_job *job = n->jobs;
        n->jobs = job->next;
        if (!n->jobs)
            n->jobs_end = &n->jobs;
        disk_job_carry_out(&n->disk, job);
        done = job->batch;
        disk_job_free(job);
    }
    if (done)
        replica_log_done(n->replica, done, w->now_ms);
    if (n->flush_waits && n->flush_due_ms <= w->now_ms) {
        n->flush_waits = false;
        disk_flush(&n->disk, n->tail, &n->flush);
        struct replica_flushed flushed = {
            .written_seq = n->flush.open_seq,
            .written_index = n->flush.index,
            .synced_seq = n->flush.seq,
            .synced_index = n->flush.index,
            .size_bytes = 20480,
            .size_in_use_bytes = 10240,
            .disk_full = n->disk_full,
        };
        replica_flush_done(n->replica, &flushed, w->now_ms);
    }
}
