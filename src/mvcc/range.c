/* The walk's phases, and the function of each:
 *
 *     START ──> WALK ──────────────────> ROWS ──> ENDED      range_walk, range_rows
 *                └──> SORT ──> GIVE ─────────────┘           range_sort, range_give
 *
 * How the count is had, decided at the start (range_choose_count):
 *     KNOWN   the span is read at the view's own seq: from the index's live counts
 *     WALKED  the walk sees every key of the span anyway, or that is cheapest
 *     ROWS    today's count, less births and plus deaths since the seq read at */
#include "mvcc/range.h"

#include "base/budget.h"
#include "base/check.h"
#include "mvcc/range_sort.h"

enum range_phase { RANGE_START, RANGE_WALK, RANGE_ROWS, RANGE_SORT, RANGE_GIVE, RANGE_ENDED };
enum range_counting { COUNT_KNOWN, COUNT_WALKED, COUNT_ROWS };

/* What going back in history, or reading a record for its key, counts against the budget. */
#define RANGE_BACK_COST 4

void mvcc_range_init(struct mvcc_range *self, const struct mvcc_range_options *options,
                     uint64_t seq)
{
    *self = (struct mvcc_range){.options = *options, .seq = seq, .phase = RANGE_START};
    buf_init(&self->key, 0);
    if (self->options.target != MVCC_TARGET_KEY && self->options.order == MVCC_ORDER_NONE)
        self->options.order = MVCC_ORDER_ASCEND;
    if (self->options.refs_max == 0)
        self->options.refs_max = MVCC_RANGE_REFS_MAX;
    self->descend =
        self->options.target == MVCC_TARGET_KEY && self->options.order == MVCC_ORDER_DESCEND;
}

void mvcc_range_done(struct mvcc_range *self)
{
    buf_done(&self->key);
    range_sort_done(self);
}

static bool range_is_sorted(const struct mvcc_range *self)
{
    return self->options.target != MVCC_TARGET_KEY;
}

static bool range_is_limited(const struct mvcc_range *self)
{
    return self->options.limit > 0;
}

/* ── Place in the tree ──────────────────────────────────────────────────────────────────────── */

static void range_make_key(struct mvcc_range *self)
{
    if (self->key_made)
        return;
    size_t bytes = mvcc_cursor_key_bytes(&self->at);
    buf_clear(&self->key);
    err e = buf_reserve(&self->key, bytes + 1);
    CHECK(err_ok(e));
    mvcc_cursor_key(&self->at, self->key.data);
    self->key.len = bytes;
    self->key_made = true;
}

struct bytes mvcc_range_key(struct mvcc_range *self)
{
    if (range_is_sorted(self))
        return BYTES_NONE;
    if (self->options.span.kind == MVCC_SPAN_KEY)
        return self->options.span.key;
    range_make_key(self);
    return buf_bytes(&self->key);
}

void mvcc_range_pause(struct mvcc_range *self)
{
    if (!self->view)
        return;
    if (self->phase == RANGE_WALK && mvcc_cursor_valid(&self->at))
        range_make_key(self);
    self->view = NULL;
}

static void range_seek_first(struct mvcc_range *self, const struct mvcc_view *view)
{
    const struct mvcc_span *span = &self->options.span;
    if (!self->descend)
        mvcc_cursor_seek(&self->at, view->root, span->key);
    else
        mvcc_cursor_seek_before(&self->at, view->root, span->end, span->kind == MVCC_SPAN_FROM);
}

static void range_step(struct mvcc_range *self)
{
    self->key_made = false;
    if (self->descend)
        mvcc_cursor_prev(&self->at);
    else
        mvcc_cursor_next(&self->at);
}

/* Back to the remembered key, in a newer root where it may be gone. */
static void range_seek_again(struct mvcc_range *self, const struct mvcc_view *view)
{
    struct bytes key = buf_bytes(&self->key);
    if (self->descend) {
        self->key.data[self->key.len] = 0;
        struct bytes bound = {key.data, key.len + !self->passed};
        mvcc_cursor_seek_before(&self->at, view->root, bound, false);
    } else {
        mvcc_cursor_seek(&self->at, view->root, key);
        if (self->passed && mvcc_cursor_valid(&self->at) &&
            mvcc_cursor_compare(&self->at, key) == 0)
            mvcc_cursor_next(&self->at);
    }
    self->passed = false;
    self->key_made = false;
}

/* To the first key that has not been looked at. */
static void range_place(struct mvcc_range *self, const struct mvcc_view *view)
{
    if (self->view != view) {
        mvcc_range_pause(self);
        if (self->key_made)
            range_seek_again(self, view);
        self->view = view;
    }
    if (self->passed && mvcc_cursor_valid(&self->at))
        range_step(self);
    self->passed = false;
}

static bool range_is_past(const struct mvcc_range *self)
{
    if (!mvcc_cursor_valid(&self->at))
        return true;
    const struct mvcc_span *span = &self->options.span;
    if (self->descend)
        return span->key.len > 0 && mvcc_cursor_compare(&self->at, span->key) < 0;
    return span->kind == MVCC_SPAN_RANGE && mvcc_cursor_compare(&self->at, span->end) >= 0;
}

/* ── Items ──────────────────────────────────────────────────────────────────────────────────── */

static bool range_has_filters(const struct mvcc_range_options *options)
{
    return options->min_mod_revision || options->max_mod_revision || options->min_create_revision ||
           options->max_create_revision;
}

static err range_passes(struct mvcc_range *self, const struct mvcc_view *view,
                        struct mvcc_state *state, bool *ret_passes)
{
    const struct mvcc_range_options *options = &self->options;
    bool by_create = options->min_create_revision || options->max_create_revision;
    if (options->keys_only || by_create)
        TRY(mvcc_view_fill(view, state, &self->fault));
    *ret_passes = true;
    if (!range_has_filters(options))
        return OK;
    *ret_passes =
        (!options->min_mod_revision || state->main >= options->min_mod_revision) &&
        (!options->max_mod_revision || state->main <= options->max_mod_revision) &&
        (!options->min_create_revision || state->create >= options->min_create_revision) &&
        (!options->max_create_revision || state->create <= options->max_create_revision);
    return OK;
}

/* One visible key. *ret_item: it is to be given now. */
static err range_take(struct mvcc_range *self, const struct mvcc_view *view,
                      struct mvcc_state *state, unsigned *budget, bool *ret_item)
{
    bool passes;
    *ret_item = false;
    if (self->counting == COUNT_WALKED)
        self->count++;
    if (self->options.count_only || self->more)
        return OK;
    TRY(range_passes(self, view, state, &passes));
    if (!passes)
        return OK;
    if (range_is_sorted(self))
        return range_sort_add(self, view, state, budget);
    if (range_is_limited(self) && self->given == (uint64_t)self->options.limit) {
        self->more = true;
        return OK;
    }
    self->given++;
    self->item = *state;
    *ret_item = true;
    return OK;
}

/* Nothing that is still to come would be given or counted. */
static bool range_has_enough(const struct mvcc_range *self)
{
    return self->counting != COUNT_WALKED && (self->more || self->options.count_only);
}

static void range_walked(struct mvcc_range *self)
{
    self->view = NULL;
    self->key_made = false;
    if (range_is_sorted(self) && !self->options.count_only)
        self->phase = RANGE_SORT;
    else
        self->phase = self->counting == COUNT_ROWS ? RANGE_ROWS : RANGE_ENDED;
}

static err range_walk(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                      bool *ret_item)
{
    range_place(self, view);
    *ret_item = false;
    while (*budget > 0) {
        if (range_has_enough(self) || range_is_past(self)) {
            range_walked(self);
            return OK;
        }
        struct mvcc_head head;
        struct mvcc_state state;
        bool found;
        mvcc_cursor_head(&self->at, &head);
        budget_spend(budget, head.seq <= self->seq ? 1 : RANGE_BACK_COST);
        TRY(mvcc_view_resolve(view, &head, self->seq, &state, &found, &self->fault));
        if (found)
            TRY(range_take(self, view, &state, budget, ret_item));
        if (*ret_item) {
            self->passed = true;
            return OK;
        }
        range_step(self);
    }
    return OK;
}

/* ── Counting ───────────────────────────────────────────────────────────────────────────────── */

static bool span_is_all(const struct mvcc_span *span)
{
    return span->kind == MVCC_SPAN_FROM &&
           (span->key.len == 0 || (span->key.len == 1 && span->key.data[0] == 0));
}

static void range_choose_count(struct mvcc_range *self, const struct mvcc_view *view)
{
    const struct mvcc_range_options *options = &self->options;
    self->counting = COUNT_KNOWN;
    if (options->skip_count)
        return;
    uint64_t now = mvcc_root_count(view->root, &options->span);
    self->count = now;
    if (self->seq == view->seq)
        return;
    uint64_t rows = view->seq - self->seq;
    bool walks_all = !options->count_only && (!range_is_limited(self) || range_is_sorted(self));
    uint64_t cost = span_is_all(&options->span) ? rows : rows * RANGE_BACK_COST;
    if (walks_all || now * RANGE_BACK_COST <= cost) {
        self->counting = COUNT_WALKED;
        self->count = 0;
        return;
    }
    self->counting = COUNT_ROWS;
    self->rows_next = self->seq + 1;
    self->rows_end = view->seq;
}

static err range_count_row(struct mvcc_range *self, const struct mvcc_view *view,
                           const struct revlog_row *row, unsigned *budget)
{
    budget_spend(budget, 1);
    if (!row->birth && !row->death)
        return OK;
    if (!span_is_all(&self->options.span)) {
        struct mvcc_record record;
        struct bytes key;
        budget_spend(budget, RANGE_BACK_COST);
        TRY(mvcc_view_read(view, row->seq, &record, &self->fault));
        TRY(mvcc_record_key(&record, &key));
        if (!mvcc_span_has(&self->options.span, key))
            return OK;
    }
    /* Backwards in time: a birth since then was not there yet, a death had not come. */
    self->count += row->death ? 1 : (uint64_t)-1;
    return OK;
}

static err range_rows(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget)
{
    struct revlog_rows rows;
    revlog_rows_begin(&rows, view->log, self->rows_next, self->rows_end);
    while (*budget > 0) {
        struct revlog_row row;
        bool found;
        TRY(revlog_rows_next(&rows, &row, &found, &self->fault));
        if (!found) {
            self->phase = RANGE_ENDED;
            return OK;
        }
        TRY(range_count_row(self, view, &row, budget));
        self->rows_next = row.seq + 1;
    }
    return OK;
}

/* ── The machine ────────────────────────────────────────────────────────────────────────────── */

/* One key: no walk. */
static err range_single(struct mvcc_range *self, const struct mvcc_view *view, bool *ret_item)
{
    struct mvcc_state state;
    bool found;
    bool passes = false;
    TRY(mvcc_view_find(view, self->options.span.key, self->seq, &state, &found, &self->fault));
    if (found && !self->options.count_only)
        TRY(range_passes(self, view, &state, &passes));
    self->count = found && !self->options.skip_count;
    *ret_item = passes;
    if (passes)
        self->item = state;
    self->phase = RANGE_ENDED;
    return OK;
}

static err range_start(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                       bool *ret_item)
{
    *ret_item = false;
    if (self->options.span.kind == MVCC_SPAN_KEY) {
        budget_spend(budget, 1);
        return range_single(self, view, ret_item);
    }
    range_choose_count(self, view);
    self->phase = RANGE_WALK;
    self->view = view;
    range_seek_first(self, view);
    return OK;
}

err mvcc_range_run(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                   enum mvcc_range_step *ret_step)
{
    CHECK(self->seq <= view->seq);
    bool item = false;
    while (*budget > 0 && self->phase != RANGE_ENDED && !item) {
        switch ((enum range_phase)self->phase) {
        case RANGE_START:
            TRY(range_start(self, view, budget, &item));
            break;
        case RANGE_WALK:
            TRY(range_walk(self, view, budget, &item));
            break;
        case RANGE_ROWS:
            TRY(range_rows(self, view, budget));
            break;
        case RANGE_SORT:
            TRY(range_sort_run(self, view, budget, &item));
            if (item)
                self->phase = RANGE_GIVE;
            item = false;
            break;
        case RANGE_GIVE:
            TRY(range_sort_give(self, view, budget, &item));
            if (!item)
                self->phase = self->counting == COUNT_ROWS ? RANGE_ROWS : RANGE_ENDED;
            break;
        case RANGE_ENDED:
            break;
        }
    }
    if (item)
        *ret_step = MVCC_RANGE_ITEM;
    else
        *ret_step = self->phase == RANGE_ENDED ? MVCC_RANGE_END : MVCC_RANGE_MORE;
    return OK;
}
