/* Compaction: from the request to dead bits. The phases are drawn in store_state.h.
 *
 * 1. Nothing that a view, a guard's or a pin's holder may still read is marked: the floor is
 *    computed only after the guards of views older than the compaction are gone, since such a
 *    reader may pin below it until then.
 * 2. A put dies when a later change of its key is at or below the floor; a tombstone when it is
 *    below the compaction's revision. The tombstones at that revision stay until the next one,
 *    whose rows therefore begin with them.
 *    A snapshot's pin may lie below a floor that was reached before, for the sake of the tombstones
 *    at the compacted revision (dump.h): rows above the oldest pin are not looked at.
 * 3. Only one compaction is carried out at a time; of those that arrive meanwhile the newest
 *    follows it and leaves no hash, as etcd's leaves none when the one before had not finished.
 * 4. Nothing is marked on the strength of a compaction whose own note is not yet synced: marks
 *    outlive a crash by checkpoints and dead bits, and would then lie above the compaction that the
 *    store knows of, until the log has replayed the newer one. */
#include "base/bug.h"
#include "base/check.h"
#include "mvcc/store.h"
#include "mvcc/store_state.h"

#include <stdlib.h>

/* Reading a tombstone and taking its key out cost about as much as so many rows. */
#define SWEEP_TOMBSTONE_COST 8

static void store_note_revision(struct mvcc_store *self, const char *name, int64_t revision)
{
    uint8_t value[META_REVISION_BYTES] = {0};
    bytes_put_be64(value, (uint64_t)revision);
    value[8] = '_';
    mvcc_store_bucket_put(self, MVCC_BUCKET_META, bytes_str(name), bytes_of(value, sizeof(value)));
}

/* The first row that a compaction after this one has to look at: the tombstones at its revision. */
static err store_first_at(const struct mvcc_store *self, int64_t revision, uint64_t *ret_seq)
{
    uint64_t before = 0;
    if (revision > 0)
        TRY(revlog_find_revision(self->log, revision - 1, self->seq, &before, NULL));
    *ret_seq = before + 1;
    return OK;
}

static void compaction_start(struct mvcc_store *self, const struct store_compaction *compaction)
{
    self->mark_next = self->mark_first;
    self->compaction = *compaction;
    self->phase = COMPACT_SCHEDULED;
    self->note_finish = true;
}

err mvcc_store_compact(struct mvcc_store *self, int64_t revision)
{
    CHECK(self->open && !self->in_txn);
    if (revision <= self->compact_revision)
        return ERR_COMPACTED;
    if (revision > self->revision)
        return ERR_FUTURE_REV;
    uint64_t seq;
    TRY(revlog_find_revision(self->log, revision, self->seq, &seq, NULL));
    /* A sweep that only repeats what had finished before the store was opened does not count. */
    bool finished = self->phase == COMPACT_IDLE || !self->note_finish;
    struct store_compaction compaction = {
        .revision = revision,
        .seq = seq,
        .previous_revision = self->compact_revision,
        .previous_seq = self->compact_seq,
        .hashed = finished && self->next.revision == STORE_NO_COMPACTION,
    };
    if (compaction.seq < self->compact_seq)
        compaction.seq = self->compact_seq;
    self->compact_revision = revision;
    self->compact_seq = compaction.seq;
    store_note_revision(self, META_SCHEDULED, revision);
    compaction.noted = self->seq;
    if (self->phase == COMPACT_IDLE)
        compaction_start(self, &compaction);
    else
        self->next = compaction;
    return OK;
}

err store_compaction_resume(struct mvcc_store *self, int64_t finished, int64_t scheduled)
{
    /* What was marked behind the checkpoint's floor is forgotten, and the replay may have brought
     * back keys that were taken out. */
    self->mark_first = self->loaded_floor + 1;
    if (self->replay_first && self->replay_first < self->mark_first)
        self->mark_first = self->replay_first;
    self->compact_revision = scheduled > finished ? scheduled : finished;
    if (self->compact_revision < 0)
        return OK;
    TRY(revlog_find_revision(self->log, self->compact_revision, self->seq, &self->compact_seq,
                             NULL));
    struct store_compaction compaction = {
        .revision = self->compact_revision,
        .seq = self->compact_seq,
        .noted = self->seq,
        .previous_revision = finished,
    };
    compaction_start(self, &compaction);
    self->note_finish = scheduled > finished;
    return OK;
}

/* ── Guards of older views ──────────────────────────────────────────────────────────────────── */

static void compaction_guards_gone(struct epoch_item *item)
{
    struct store_grace *grace = (struct store_grace *)item;
    if (grace->store) {
        grace->store->grace = NULL;
        grace->store->phase = COMPACT_HASH;
    }
    free(grace);
}

void store_compaction_published(struct mvcc_store *self)
{
    if (self->phase != COMPACT_SCHEDULED)
        return;
    struct store_grace *grace = calloc(1, sizeof(*grace));
    CHECK(grace);
    grace->store = self;
    self->grace = grace;
    self->phase = COMPACT_GRACE;
    if (self->compaction.hashed)
        mvcc_hash_begin_compaction(&self->hash, self->compaction.previous_revision,
                                   self->compaction.previous_seq, self->compaction.revision,
                                   self->compaction.seq);
    epoch_retire(self->epoch, &grace->retired, compaction_guards_gone);
}

void store_compaction_free(struct mvcc_store *self)
{
    if (self->grace)
        self->grace->store = NULL;
    if (self->phase >= COMPACT_GRACE && self->compaction.hashed)
        mvcc_hash_done(&self->hash);
}

/* ── Phases ─────────────────────────────────────────────────────────────────────────────────── */

static err sweep_hash(struct mvcc_store *self, unsigned *budget, struct revlog_fault *fault)
{
    bool done = true;
    if (self->compaction.hashed) {
        struct mvcc_view view;
        mvcc_store_peek(self, &view);
        err e = mvcc_hash_run(&self->hash, &view, budget, &done);
        if (!err_ok(e) && fault)
            *fault = self->hash.fault;
        TRY(e);
    }
    if (!done)
        return OK;
    if (self->compaction.hashed) {
        if (self->hash_count == MVCC_COMPACT_HASHES_MAX) {
            memmove(self->hashes, self->hashes + 1,
                    (MVCC_COMPACT_HASHES_MAX - 1) * sizeof(self->hashes[0]));
            self->hash_count--;
        }
        self->hashes[self->hash_count++] =
            (struct mvcc_compact_hash){.revision = self->compaction.revision,
                                       .compact_revision = self->compaction.previous_revision,
                                       .hash = self->hash.hash};
        mvcc_hash_done(&self->hash);
        self->compaction.hashed = false;
    }
    self->phase = COMPACT_MARK;
    return OK;
}

/* A tombstone below the compaction: it dies, and its key leaves the index where nothing came after
 * it. */
static err sweep_tombstone(struct mvcc_store *self, uint64_t seq, struct revlog_fault *fault)
{
    struct mvcc_record record;
    struct bytes key;
    struct mvcc_head head;
    TRY(revlog_read(self->log, seq, &record, fault));
    TRY(mvcc_record_key(&record, &key));
    if (mvcc_index_find(self->index, key, &head) && head.seq == seq)
        mvcc_index_remove(self->index, key);
    revlog_mark_dead(self->log, seq);
    self->swept_count++;
    return OK;
}

static err sweep_row(struct mvcc_store *self, const struct revlog_row *row, unsigned *budget,
                     struct revlog_fault *fault)
{
    if (row->prev) {
        revlog_mark_dead(self->log, row->prev);
        self->swept_count++;
    }
    if (row->kind == MVCC_BUCKET_DELETE)
        revlog_mark_dead(self->log, row->seq);
    int64_t kept_from = self->compaction.revision + BUG(tombstone_at_compaction_dropped);
    if (row->kind != MVCC_TOMBSTONE || row->main >= kept_from)
        return OK;
    *budget -= *budget < SWEEP_TOMBSTONE_COST ? *budget : SWEEP_TOMBSTONE_COST;
    return sweep_tombstone(self, row->seq, fault);
}

static void store_raise_floor(struct mvcc_store *self)
{
    if (self->compaction.noted > self->synced_seq && !BUG(sweep_before_sync))
        return;
    uint64_t floor = self->compaction.seq;
    uint64_t pinned = mvcc_pins_oldest(&self->pins);
    if (pinned < floor && !BUG(sweep_ignores_pins))
        floor = pinned;
    if (self->synced_seq < floor && !BUG(sweep_before_sync))
        floor = self->synced_seq;
    if (floor > self->floor)
        self->floor = floor;
}

/* *ret_more false: waits for a pin or a sync. */
static err sweep_mark(struct mvcc_store *self, unsigned *budget, bool *ret_more,
                      struct revlog_fault *fault)
{
    store_raise_floor(self);
    struct revlog_rows rows;
    uint64_t end = mvcc_pins_oldest(&self->pins);
    if (end > self->floor || BUG(sweep_ignores_pins))
        end = self->floor;
    if (self->mark_next <= end)
        revlog_rows_begin(&rows, self->log, self->mark_next, end);
    while (self->mark_next <= end && *budget > 0) {
        struct revlog_row row;
        bool found;
        TRY(revlog_rows_next(&rows, &row, &found, fault));
        if (!found) {
            self->mark_next = end + 1;
            break;
        }
        --*budget;
        TRY(sweep_row(self, &row, budget, fault));
        self->mark_next = row.seq + 1;
    }
    *ret_more = self->mark_next <= end;
    if (self->mark_next > self->compaction.seq) {
        self->phase = COMPACT_TRIM;
        self->trim_started = false;
        *ret_more = true;
    }
    return OK;
}

static err sweep_trim(struct mvcc_store *self, unsigned *budget)
{
    uint64_t first_at;
    bool done = mvcc_index_trim(self->index, self->floor, !self->trim_started, budget);
    self->trim_started = true;
    if (!done)
        return OK;
    TRY(store_first_at(self, self->compaction.revision, &first_at));
    if (self->note_finish)
        store_note_revision(self, META_FINISHED, self->compaction.revision);
    self->mark_first = BUG(tombstone_at_compaction_dropped) ? self->compaction.seq + 1 : first_at;
    self->phase = COMPACT_IDLE;
    if (self->next.revision != STORE_NO_COMPACTION) {
        struct store_compaction next = self->next;
        self->next.revision = STORE_NO_COMPACTION;
        compaction_start(self, &next);
    }
    return OK;
}

err mvcc_store_sweep(struct mvcc_store *self, unsigned *budget, bool *ret_more,
                     struct revlog_fault *fault)
{
    CHECK(self->open && !self->in_txn);
    bool more = true;
    while (*budget > 0 && more) {
        switch (self->phase) {
        case COMPACT_IDLE:
        case COMPACT_SCHEDULED:
        case COMPACT_GRACE:
            more = false;
            break;
        case COMPACT_HASH:
            TRY(sweep_hash(self, budget, fault));
            break;
        case COMPACT_MARK:
            TRY(sweep_mark(self, budget, &more, fault));
            break;
        case COMPACT_TRIM:
            TRY(sweep_trim(self, budget));
            break;
        }
    }
    *ret_more = more;
    return OK;
}

void mvcc_store_synced(struct mvcc_store *self, uint64_t seq)
{
    CHECK(seq >= self->synced_seq);
    self->synced_seq = seq;
}

uint64_t mvcc_store_swept_count(const struct mvcc_store *self)
{
    return self->swept_count;
}

bool mvcc_store_is_swept(const struct mvcc_store *self)
{
    return self->phase == COMPACT_IDLE;
}

uint64_t mvcc_store_floor(const struct mvcc_store *self)
{
    return self->floor;
}

uint64_t mvcc_store_swept_seq(const struct mvcc_store *self)
{
    return self->mark_first ? self->mark_first - 1 : 0;
}
