#include "wal/places.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

void wal_places_init(struct wal_places *self, uint64_t base_index, uint64_t base_term)
{
    *self = (struct wal_places){.base_index = base_index, .base_term = base_term};
}

void wal_places_done(struct wal_places *self)
{
    free(self->places);
    free(self->runs);
    *self = (struct wal_places){0};
}

void wal_places_reset(struct wal_places *self, uint64_t base_index, uint64_t base_term)
{
    self->base_index = base_index;
    self->base_term = base_term;
    self->start = 0;
    self->count = 0;
    self->run_count = 0;
}

uint64_t wal_places_last_index(const struct wal_places *self)
{
    return self->base_index + self->count;
}

uint64_t wal_places_last_term(const struct wal_places *self)
{
    return self->run_count ? self->runs[self->run_count - 1].term : self->base_term;
}

/* Forgets index and what follows it. */
static void truncate_from(struct wal_places *self, uint64_t index)
{
    self->count = (size_t)(index - self->base_index - 1);
    while (self->run_count && self->runs[self->run_count - 1].from >= index)
        self->run_count--;
}

static void make_room(struct wal_places *self)
{
    if (self->start + self->count < self->cap)
        return;
    if (self->start > self->cap / 2) {
        memmove(self->places, self->places + self->start, self->count * sizeof(*self->places));
        self->start = 0;
        return;
    }
    self->cap = self->cap ? self->cap * 2 : 1024;
    self->places = realloc(self->places, self->cap * sizeof(*self->places));
    CHECK(self->places);
}

err wal_places_put(struct wal_places *self, uint64_t index, uint64_t term, struct wal_place place)
{
    uint64_t last = wal_places_last_index(self);
    if (index <= self->base_index || index > last + 1)
        return ERR_CORRUPT;
    if (index <= last)
        truncate_from(self, index);
    make_room(self);
    self->places[self->start + self->count++] = place;
    if (self->run_count && self->runs[self->run_count - 1].term == term)
        return OK;
    if (self->run_count == self->run_cap) {
        self->run_cap = self->run_cap ? self->run_cap * 2 : 8;
        self->runs = realloc(self->runs, self->run_cap * sizeof(*self->runs));
        CHECK(self->runs);
    }
    self->runs[self->run_count++] = (struct wal_term_run){index, term};
    return OK;
}

void wal_places_release(struct wal_places *self, uint64_t index)
{
    if (index <= self->base_index)
        return;
    CHECK(index <= wal_places_last_index(self));
    uint64_t term = 0;
    CHECK(err_ok(wal_places_term(self, index, &term)));
    size_t gone = (size_t)(index - self->base_index);
    self->start += gone;
    self->count -= gone;
    self->base_index = index;
    self->base_term = term;
    size_t runs_gone = 0;
    while (runs_gone < self->run_count &&
           (runs_gone + 1 < self->run_count ? self->runs[runs_gone + 1].from - 1
                                            : wal_places_last_index(self)) <= index)
        runs_gone++;
    self->run_count -= runs_gone;
    memmove(self->runs, self->runs + runs_gone, self->run_count * sizeof(*self->runs));
    /* An index that swings between large and small gives its memory back. */
    if (self->cap > 4096 && self->count < self->cap / 8) {
        memmove(self->places, self->places + self->start, self->count * sizeof(*self->places));
        self->start = 0;
        self->cap /= 4;
        self->places = realloc(self->places, self->cap * sizeof(*self->places));
        CHECK(self->places);
    }
}

err wal_places_term(const struct wal_places *self, uint64_t index, uint64_t *ret_term)
{
    if (index < self->base_index)
        return ERR_COMPACTED_LOG;
    if (index > wal_places_last_index(self))
        return ERR_NOT_FOUND;
    if (index == self->base_index) {
        *ret_term = self->base_term;
        return OK;
    }
    size_t lo = 0, hi = self->run_count; /* the last run with from <= index */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (self->runs[mid].from <= index)
            lo = mid;
        else
            hi = mid;
    }
    *ret_term = self->runs[lo].term;
    return OK;
}

err wal_places_get(const struct wal_places *self, uint64_t index, struct wal_place *ret_place)
{
    if (index <= self->base_index)
        return ERR_COMPACTED_LOG;
    if (index > wal_places_last_index(self))
        return ERR_NOT_FOUND;
    *ret_place = self->places[self->start + (size_t)(index - self->base_index - 1)];
    return OK;
}
