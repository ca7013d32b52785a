/* The walk brings up who is behind.
 *
 *     IDLE ─ somebody waits ─> ENTER ──> CHUNKS ──> ARRIVE ──> IDLE
 *                                ▲ │        │ ▲        │
 *                                │ └─ PURGE <─┘        └─ the live ones went on: CHUNKS
 *
 * One walk at a time. Entering puts the watchers that wait into the walked lists of their ranges
 * and finds the least revision wanted; changes are then read from there, once for all. Who is not
 * yet wanted a change is skipped by its own least revision. At the live ones' revision walked
 * watchers become live, in slices; where the live ones go on in between, so does the walk.
 *
 * 1. A walked watcher has been told all changes of its range below walk.revision.
 * 2. In `current` lie all walked watchers; numbers whose watcher is no longer walked are skipped.
 * 3. A watcher becomes live only while no live response is in the making, at equal revisions. */
#include "base/bug.h"
#include "mvcc/watch_internal.h"

#include "base/check.h"

bool watch_walk_has_work(const struct watch_hub *hub)
{
    return hub->walk.phase != WALK_IDLE || hub->walk.next.count > 0;
}

static void begin(struct watch_walk *self)
{
    watch_numbers_take(&self->current, &self->next);
    self->phase = WALK_ENTER;
    self->enter_least = INT64_MAX;
    self->at = self->arrived = 0;
}

/* Numbers of watchers that have gone may name others by now, wherever those stand: they are taken
 * as they are. */
static void enter_one(struct watch_hub *hub, uint32_t number, int64_t compact_revision)
{
    struct watch_walk *self = &hub->walk;
    struct watcher *watcher = watcher_at(hub, number);
    if (watcher->state != WATCHER_WAITING && watcher->state != WATCHER_PARKED)
        return;
    struct watch_stream *stream = hub->streams[watcher->stream];
    int64_t least = (int64_t)watcher->least;
    if (watcher->state == WATCHER_PARKED && stream->blocked) {
        watcher_park(hub, number, least);
    } else if (least < compact_revision + BUG(watch_compacted_revision_lost)) {
        watcher_compacted(hub, number, compact_revision);
    } else {
        watcher_set(hub, number, WATCHER_WALKED);
        if (least < self->enter_least)
            self->enter_least = least;
    }
}

static err walk_from(struct watch_walk *self, const struct mvcc_view *view, int64_t revision)
{
    uint64_t before;
    TRY(revlog_find_revision(view->log, revision - 1, view->seq, &before, NULL));
    self->phase = WALK_CHUNKS;
    self->revision = revision;
    self->seq = before + 1;
    return OK;
}

static err enter(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget)
{
    struct watch_walk *self = &hub->walk;
    for (; self->at < self->current.count; self->at++) {
        if (*budget == 0)
            return OK;
        (*budget)--;
        enter_one(hub, self->current.items[self->at], view->compact_revision);
    }
    if (self->enter_least == INT64_MAX) {
        watch_numbers_done(&self->current);
        self->phase = WALK_IDLE;
        return OK;
    }
    return walk_from(self, view, self->enter_least);
}

static err purge(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget)
{
    struct watch_walk *self = &hub->walk;
    for (; self->at < self->current.count; self->at++) {
        if (*budget == 0)
            return OK;
        (*budget)--;
        uint32_t number = self->current.items[self->at];
        const struct watcher *watcher = watcher_at(hub, number);
        if (watcher->state == WATCHER_WALKED && (int64_t)watcher->least < self->purge)
            watcher_compacted(hub, number, self->purge);
    }
    return walk_from(self, view, self->purge);
}

/* At equal revisions with the live ones, none of their responses being in the making. */
static void arrive(struct watch_hub *hub, unsigned *budget)
{
    struct watch_walk *self = &hub->walk;
    for (; self->arrived < self->current.count; self->arrived++) {
        if (*budget == 0)
            return;
        (*budget)--;
        uint32_t number = self->current.items[self->arrived];
        if (watcher_at(hub, number)->state == WATCHER_WALKED)
            watcher_set(hub, number, WATCHER_LIVE);
    }
    watch_numbers_done(&self->current);
    self->phase = WALK_IDLE;
}

/* Between two chunks. */
static err go_on(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget)
{
    struct watch_walk *self = &hub->walk;
    (*budget)--;
    if (view->compact_revision > self->revision && self->revision <= hub->delivered) {
        self->phase = WALK_PURGE;
        self->purge = view->compact_revision;
        self->at = 0;
        return OK;
    }
    if (self->seq + BUG(watch_arrives_early) > hub->delivered_seq) {
        if (!watch_chunk_is_empty(&hub->live)) {
            *budget = 0; /* until it has been delivered */
            return OK;
        }
        self->phase = WALK_ARRIVE;
        arrive(hub, budget);
        return OK;
    }
    watch_chunk_begin(hub, &self->chunk, view, self->seq, hub->delivered_seq, hub->delivered);
    return OK;
}

static err run_chunk(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget)
{
    struct watch_walk *self = &hub->walk;
    bool done;
    TRY(watch_chunk_run(hub, &self->chunk, view, budget, &done));
    if (done) {
        self->seq = self->chunk.last_seq + 1;
        self->revision = self->chunk.last_revision + 1;
    }
    return OK;
}

err watch_walk_run(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget,
                   bool *ret_more)
{
    struct watch_walk *self = &hub->walk;
    if (self->phase == WALK_IDLE && self->next.count > 0)
        begin(self);
    *ret_more = self->phase != WALK_IDLE;
    switch (self->phase) {
    case WALK_ENTER:
        return enter(hub, view, budget);
    case WALK_PURGE:
        return purge(hub, view, budget);
    case WALK_CHUNKS:
    case WALK_ARRIVE:
        return watch_chunk_is_empty(&self->chunk) ? go_on(hub, view, budget)
                                                  : run_chunk(hub, view, budget);
    case WALK_IDLE:
    default:
        return OK;
    }
}
