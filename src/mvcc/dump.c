#include "mvcc/dump.h"

#include "base/check.h"

/* So many changes of the compacted revision are looked at for a tombstone. */
#define TOMBSTONE_ROWS_MAX 1000

/* What is superseded above C counts too, so the floor must stay at C, or before all changes where
 * nothing was compacted. The next compaction would also take the tombstones at C: where there may
 * be one the pin goes below that revision, and a sweep goes no further than the oldest pin. */
static uint64_t dump_pin(const struct mvcc_view *view)
{
    if (view->compact_seq == 0)
        return view->seq > 0;
    struct revlog_rows rows;
    uint64_t before;
    /* Bad bytes are met again, and told, by who reads the rows. */
    if (!err_ok(
            revlog_find_revision(view->log, view->compact_revision - 1, view->seq, &before, NULL)))
        return 1;
    revlog_rows_begin(&rows, view->log, before + 1, view->compact_seq);
    for (unsigned i = 0; i < TOMBSTONE_ROWS_MAX; i++) {
        struct revlog_row row;
        bool found = false;
        if (!err_ok(revlog_rows_next(&rows, &row, &found, NULL)) || (found && row.death))
            return before > 0 ? before : 1;
        if (!found)
            return view->compact_seq;
    }
    return before > 0 ? before : 1;
}

void mvcc_dump_init(struct mvcc_dump *self, const struct mvcc_view *view)
{
    *self = (struct mvcc_dump){.seq = view->seq,
                               .compact_seq = view->compact_seq,
                               .compact_revision = view->compact_revision,
                               .scan_next = 1};
    self->pin_seq = dump_pin(view);
    map_init(&self->gone);
    /* Then the marks say it all. */
    if (view->swept_seq >= view->compact_seq)
        self->scan_next = view->compact_seq + 1;
}

void mvcc_dump_done(struct mvcc_dump *self)
{
    map_done(&self->gone);
}

static void gone_add(struct mvcc_dump *self, uint64_t seq)
{
    _Static_assert(sizeof(void *) == 8, "a map's value holds 64 bits");
    uintptr_t bits = (uintptr_t)map_get(&self->gone, seq >> 6);
    map_put(&self->gone, seq >> 6, (void *)(bits | (uintptr_t)1 << (seq & 63)));
}

static bool gone_has(const struct mvcc_dump *self, uint64_t seq)
{
    return (uintptr_t)map_get(&self->gone, seq >> 6) >> (seq & 63) & 1;
}

err mvcc_dump_scan(struct mvcc_dump *self, const struct mvcc_view *view, unsigned *budget,
                   bool *ret_done)
{
    struct revlog_rows rows;
    revlog_rows_begin(&rows, view->log, self->scan_next, self->compact_seq);
    while (self->scan_next <= self->compact_seq && *budget > 0) {
        struct revlog_row row;
        bool found;
        TRY(revlog_rows_next(&rows, &row, &found, &self->fault));
        if (!found) {
            self->scan_next = self->compact_seq + 1;
            break;
        }
        --*budget;
        if (row.prev && (row.kind == MVCC_PUT || row.kind == MVCC_TOMBSTONE))
            gone_add(self, row.prev);
        self->scan_next = row.seq + 1;
    }
    *ret_done = self->scan_next > self->compact_seq;
    return OK;
}

void mvcc_dump_rewind(struct mvcc_dump *self)
{
    CHECK(self->scan_next > self->compact_seq);
    self->next = 1;
    self->entered = false;
}

void mvcc_dump_enter(struct mvcc_dump *self, const struct mvcc_view *view)
{
    self->entered = self->next <= self->seq;
    if (self->entered)
        revlog_rows_begin(&self->rows, view->log, self->next, self->seq);
}

/* A mark says superseded at or below a floor that is not above C, or a tombstone below C. */
static bool dump_has(const struct mvcc_dump *self, const struct revlog_row *row)
{
    if (row->kind != MVCC_PUT && row->kind != MVCC_TOMBSTONE)
        return false;
    if (row->seq > self->compact_seq)
        return true;
    if (row->death && row->main < self->compact_revision)
        return false;
    return !row->dead && !gone_has(self, row->seq);
}

err mvcc_dump_next(struct mvcc_dump *self, unsigned *budget, struct revlog_row *ret_row,
                   enum mvcc_dump_step *ret_step)
{
    while (self->entered && *budget > 0) {
        struct revlog_row row;
        bool found;
        TRY(revlog_rows_next(&self->rows, &row, &found, &self->fault));
        if (!found) {
            self->next = self->seq + 1;
            self->entered = false;
            break;
        }
        --*budget;
        self->next = row.seq + 1;
        if (dump_has(self, &row)) {
            *ret_row = row;
            *ret_step = MVCC_DUMP_ROW;
            return OK;
        }
    }
    *ret_step = self->next > self->seq ? MVCC_DUMP_END : MVCC_DUMP_MORE;
    return OK;
}
