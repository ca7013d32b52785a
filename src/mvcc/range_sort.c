/* A heap with the worst item at its top. Where there is a limit it holds the best `limit` ones, so
 * that a newcomer is compared with the top alone; popping it into the place that becomes free
 * behind it leaves the array in order, best first. */
#include "mvcc/range_sort.h"

#include "base/budget.h"
#include "base/check.h"

#include <stdlib.h>

#define SORT_CAP_FIRST 64
/* So many bytes of values that a comparison may have to look at count as one key. */
#define SORT_COST_BYTES 4096

static err sort_value(const struct mvcc_view *view, uint64_t seq, struct bytes *ret_value,
                      struct revlog_fault *fault)
{
    struct mvcc_record record;
    struct mvcc_kv kv;
    TRY(mvcc_view_read(view, seq, &record, fault));
    TRY(mvcc_kv_decode(record.blob, &kv));
    *ret_value = kv.value;
    return OK;
}

static int sort_compare_values(struct mvcc_range *self, const struct mvcc_view *view, uint64_t a,
                               uint64_t b)
{
    struct bytes value_a, value_b;
    err e = sort_value(view, a, &value_a, &self->fault);
    if (err_ok(e))
        e = sort_value(view, b, &value_b, &self->fault);
    if (!err_ok(e)) {
        self->ref_error = e;
        return 0;
    }
    size_t looked_at = value_a.len < value_b.len ? value_a.len : value_b.len;
    self->sort_cost += (unsigned)(looked_at / SORT_COST_BYTES);
    return bytes_compare(value_a, value_b);
}

/* Is a given out before b? */
static bool sort_before(struct mvcc_range *self, const struct mvcc_view *view,
                        const struct mvcc_range_ref *a, const struct mvcc_range_ref *b)
{
    int c = (a->value > b->value) - (a->value < b->value);
    if (c == 0 && self->options.target == MVCC_TARGET_VALUE)
        c = sort_compare_values(self, view, a->seq, b->seq);
    if (c == 0)
        return a->ordinal < b->ordinal;
    return self->options.order == MVCC_ORDER_DESCEND ? c > 0 : c < 0;
}

/* Puts ref into the heap of `count` at a free place `hole`, or further down. */
static void sort_sink(struct mvcc_range *self, const struct mvcc_view *view, size_t hole,
                      size_t count, struct mvcc_range_ref ref)
{
    struct mvcc_range_ref *refs = self->refs;
    for (size_t child; (child = 2 * hole + 1) < count; hole = child) {
        if (child + 1 < count && sort_before(self, view, &refs[child], &refs[child + 1]))
            child++;
        if (!sort_before(self, view, &ref, &refs[child]))
            break;
        refs[hole] = refs[child];
    }
    refs[hole] = ref;
}

static void sort_rise(struct mvcc_range *self, const struct mvcc_view *view, size_t hole,
                      struct mvcc_range_ref ref)
{
    struct mvcc_range_ref *refs = self->refs;
    while (hole > 0 && sort_before(self, view, &refs[(hole - 1) / 2], &ref)) {
        refs[hole] = refs[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    refs[hole] = ref;
}

static err sort_make_ref(struct mvcc_range *self, const struct mvcc_view *view,
                         struct mvcc_state *state, struct mvcc_range_ref *ret_ref)
{
    struct mvcc_range_ref ref = {.seq = state->seq, .ordinal = self->matched};
    if (self->options.target == MVCC_TARGET_MOD) {
        ref.value = (uint64_t)state->main;
    } else if (self->options.target == MVCC_TARGET_VALUE) {
        struct bytes value;
        TRY(sort_value(view, state->seq, &value, &self->fault));
        for (size_t i = 0; i < 8 && i < value.len; i++)
            ref.value |= (uint64_t)value.data[i] << (56 - 8 * i);
    } else {
        TRY(mvcc_view_fill(view, state, &self->fault));
        ref.value =
            (uint64_t)(self->options.target == MVCC_TARGET_CREATE ? state->create : state->version);
    }
    *ret_ref = ref;
    return OK;
}

static err sort_grow(struct mvcc_range *self)
{
    if (self->ref_count < self->ref_cap)
        return OK;
    if (self->ref_cap >= self->options.refs_max)
        return ERR_LIMIT;
    size_t cap = self->ref_cap ? self->ref_cap * 2 : SORT_CAP_FIRST;
    if (cap > self->options.refs_max)
        cap = self->options.refs_max;
    struct mvcc_range_room *room = self->options.room;
    if (room) {
        size_t more = (cap - self->ref_cap) * sizeof(*self->refs);
        if (room->used_bytes + more > room->max_bytes)
            return ERR_LIMIT;
        room->used_bytes += more;
    }
    self->refs = reallocarray(self->refs, cap, sizeof(*self->refs));
    CHECK(self->refs);
    self->ref_cap = cap;
    return OK;
}

static void sort_spend(struct mvcc_range *self, unsigned *budget)
{
    budget_spend(budget, self->sort_cost);
    self->sort_cost = 0;
}

err range_sort_add(struct mvcc_range *self, const struct mvcc_view *view, struct mvcc_state *state,
                   unsigned *budget)
{
    struct mvcc_range_ref ref;
    TRY(sort_make_ref(self, view, state, &ref));
    self->matched++;
    bool full = self->options.limit > 0 && self->ref_count == (uint64_t)self->options.limit;
    if (full && sort_before(self, view, &ref, &self->refs[0])) {
        sort_sink(self, view, 0, self->ref_count, ref);
    } else if (!full) {
        TRY(sort_grow(self));
        sort_rise(self, view, self->ref_count++, ref);
    }
    sort_spend(self, budget);
    return self->ref_error;
}

err range_sort_run(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                   bool *ret_sorted)
{
    if (self->ref_next == 0)
        self->ref_next = self->ref_count;
    while (self->ref_next > 1 && *budget > 0) {
        struct mvcc_range_ref worst = self->refs[0];
        size_t last = --self->ref_next;
        sort_sink(self, view, 0, last, self->refs[last]);
        self->refs[last] = worst;
        --*budget;
        sort_spend(self, budget);
    }
    TRY(self->ref_error);
    *ret_sorted = self->ref_next <= 1;
    if (!*ret_sorted)
        return OK;
    self->ref_next = 0;
    self->more = self->matched > self->ref_count;
    return OK;
}

err range_sort_give(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                    bool *ret_item)
{
    *ret_item = false;
    if (self->ref_next == self->ref_count)
        return OK;
    --*budget;
    uint64_t seq = self->refs[self->ref_next++].seq;
    struct revlog_row row;
    TRY(revlog_row(view->log, seq, &row, &self->fault));
    self->item = (struct mvcc_state){.seq = seq, .main = row.main, .blob_bytes = row.blob_bytes};
    if (self->options.keys_only)
        TRY(mvcc_view_fill(view, &self->item, &self->fault));
    *ret_item = true;
    return OK;
}

void range_sort_done(struct mvcc_range *self)
{
    if (self->options.room)
        self->options.room->used_bytes -= self->ref_cap * sizeof(*self->refs);
    free(self->refs);
    self->refs = NULL;
    self->ref_count = self->ref_cap = 0;
}
