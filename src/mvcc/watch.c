#include "base/bug.h"
#include "mvcc/watch_internal.h"

#include "base/check.h"

/* What the walk is left of a run that live watchers would use up. */
#define WALK_SHARE 4

/* ── Numbers ────────────────────────────────────────────────────────────────────────────────── */

void watch_numbers_push(struct watch_numbers *self, uint32_t number)
{
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 16;
        self->items = realloc(self->items, self->cap * sizeof(self->items[0]));
        CHECK(self->items);
    }
    self->items[self->count++] = number;
}

void watch_numbers_take(struct watch_numbers *self, struct watch_numbers *from)
{
    if (self->count == 0) {
        struct watch_numbers empty = *self;
        *self = *from;
        *from = empty;
    } else {
        for (uint32_t i = 0; i < from->count; i++)
            watch_numbers_push(self, from->items[i]);
    }
    watch_numbers_done(from);
}

void watch_numbers_done(struct watch_numbers *self)
{
    free(self->items);
    *self = (struct watch_numbers){0};
}

/* ── A stream's watchers by id ──────────────────────────────────────────────────────────────── */

static uint64_t id_hash(const struct watch_hub *hub, int64_t id)
{
    uint8_t bytes[8];
    bytes_put_le64(bytes, (uint64_t)id);
    return watch_hash(hub->ranges.seed, bytes_of(bytes, 8));
}

static uint64_t watcher_hash(const void *ctx, uint32_t number)
{
    return id_hash(ctx, watcher_at(ctx, number)->id);
}

static bool watcher_is(const void *ctx, uint32_t number, const void *wanted)
{
    return watcher_at(ctx, number)->id == *(const int64_t *)wanted;
}

static uint32_t find_watcher(const struct watch_hub *hub, const struct watch_stream *self,
                             int64_t id)
{
    return watch_table_find(&self->table, id_hash(hub, id), watcher_is, hub, &id);
}

/* ── Watchers ───────────────────────────────────────────────────────────────────────────────── */

static uint32_t *list_head(struct watch_hub *hub, const struct watcher *watcher)
{
    enum watch_list list = watcher->state == WATCHER_LIVE ? WATCH_LIST_LIVE : WATCH_LIST_WALKED;
    /* Packed, but aligned for its words. */
    return (uint32_t *)(void *)watch_ranges_at(&hub->ranges, watcher->range)->watchers + list;
}

static void list_link(struct watch_hub *hub, uint32_t number)
{
    struct watcher *watcher = watcher_at(hub, number);
    uint32_t *head = list_head(hub, watcher);
    watcher->prev = 0;
    watcher->next = *head;
    if (*head)
        watcher_at(hub, *head)->prev = number;
    *head = number;
}

static void list_unlink(struct watch_hub *hub, uint32_t number)
{
    struct watcher *watcher = watcher_at(hub, number);
    struct watch_chunk *chunks[] = {&hub->live, &hub->walk.chunk};
    for (unsigned i = 0; i < 2; i++)
        if (chunks[i]->at_watcher == number)
            chunks[i]->at_watcher = watcher->next;
    if (watcher->prev)
        watcher_at(hub, watcher->prev)->next = watcher->next;
    else
        *list_head(hub, watcher) = watcher->next;
    if (watcher->next)
        watcher_at(hub, watcher->next)->prev = watcher->prev;
}

static bool is_listed(enum watcher_state state)
{
    return state == WATCHER_LIVE || state == WATCHER_WALKED;
}

static struct watch_stream *stream_of(const struct watch_hub *hub, const struct watcher *watcher)
{
    return hub->streams[watcher->stream];
}

static void watcher_free(struct watch_hub *hub, uint32_t number)
{
    struct watcher *watcher = watcher_at(hub, number);
    struct watch_stream *stream = stream_of(hub, watcher);
    watch_table_remove(&stream->table, number, watcher_hash, hub);
    watch_ranges_unref(&hub->ranges, watcher->range);
    hub->watcher_count--;
    hub->before_count -= (watcher->flags & WATCH_PREV_KV) != 0;
    watch_slab_free(&hub->watchers, number);
}

void watcher_set(struct watch_hub *hub, uint32_t number, enum watcher_state state)
{
    struct watcher *watcher = watcher_at(hub, number);
    enum watcher_state before = (enum watcher_state)watcher->state;
    struct watch_stream *stream = stream_of(hub, watcher);
    if (is_listed(before))
        list_unlink(hub, number);
    hub->live_count -= before == WATCHER_LIVE;
    hub->live_count += state == WATCHER_LIVE;
    stream->behind -= before != WATCHER_FREE && before != WATCHER_LIVE;
    stream->behind += state != WATCHER_FREE && state != WATCHER_LIVE;
    watcher->state = (uint64_t)state & 7;
    if (is_listed(state))
        list_link(hub, number);
    if (state == WATCHER_FREE)
        watcher_free(hub, number);
}

static void set_least(struct watcher *watcher, int64_t least)
{
    if (least > WATCH_REVISION_MAX)
        least = WATCH_REVISION_MAX;
    watcher->least = (uint64_t)least & ((UINT64_C(1) << 54) - 1);
}

static void watcher_wait(struct watch_hub *hub, uint32_t number)
{
    struct watch_walk *walk = &hub->walk;
    int64_t least = (int64_t)watcher_at(hub, number)->least;
    if (walk->next.count == 0 || least < walk->next_least)
        walk->next_least = least;
    watcher_set(hub, number, WATCHER_WAITING);
    watch_numbers_push(&walk->next, number);
}

void watcher_park(struct watch_hub *hub, uint32_t number, int64_t least)
{
    struct watcher *watcher = watcher_at(hub, number);
    struct watch_stream *stream = stream_of(hub, watcher);
    set_least(watcher, least + BUG(watch_starved_loses));
    if (stream->parked.count == 0 || least < stream->parked_least)
        stream->parked_least = least;
    watcher_set(hub, number, WATCHER_PARKED);
    watch_numbers_push(&stream->parked, number);
}

void watcher_compacted(struct watch_hub *hub, uint32_t number, int64_t compact_revision)
{
    const struct watcher *watcher = watcher_at(hub, number);
    const struct watch_stream *stream = stream_of(hub, watcher);
    int64_t id = watcher->id;
    watcher_set(hub, number, WATCHER_FREE);
    if (!stream->dead)
        hub->ops->compacted(stream->owner, id, compact_revision);
}

/* ── Streams ────────────────────────────────────────────────────────────────────────────────── */

struct watch_stream *watch_stream_new(struct watch_hub *hub, void *owner)
{
    struct watch_stream *self = calloc(1, sizeof(*self));
    CHECK(self);
    list_init(&self->node);
    self->owner = owner;
    if (hub->free_stream_count) {
        self->number = hub->free_streams[--hub->free_stream_count];
    } else {
        if (hub->stream_next >= hub->stream_cap) {
            hub->stream_cap = hub->stream_cap ? hub->stream_cap * 2 : 64;
            hub->streams = realloc(hub->streams, hub->stream_cap * sizeof(void *));
            hub->free_streams =
                realloc(hub->free_streams, hub->stream_cap * sizeof(hub->free_streams[0]));
            CHECK(hub->streams && hub->free_streams);
        }
        self->number = hub->stream_next++;
    }
    hub->streams[self->number] = self;
    hub->stream_count++;
    return self;
}

void watch_stream_free(struct watch_hub *hub, struct watch_stream *self)
{
    if (!self || self->dead)
        return;
    self->dead = true;
    hub->stream_count--;
    list_remove(&self->node);
    list_push(&hub->dying, &self->node);
}

static void stream_bury(struct watch_hub *hub, struct watch_stream *self)
{
    list_remove(&self->node);
    hub->streams[self->number] = NULL;
    hub->free_streams[hub->free_stream_count++] = self->number;
    watch_numbers_done(&self->parked);
    watch_table_done(&self->table);
    free(self);
}

/* One slot; false: that was the last. */
static bool reap_one(struct watch_hub *self, struct watch_stream *stream)
{
    uint32_t place = stream->reaped;
    uint32_t number;
    if (!watch_table_step(&stream->table, &place, &number))
        return false;
    if (number)
        watcher_set(self, number, WATCHER_FREE); /* what is shifted back stands there now */
    else
        stream->reaped = place;
    return true;
}

static void reap(struct watch_hub *self, unsigned *budget)
{
    while (!list_empty(&self->dying)) {
        struct watch_stream *stream = LIST_ENTRY(self->dying.next, struct watch_stream, node);
        bool more = true;
        for (; *budget > 0 && more; (*budget)--)
            more = reap_one(self, stream); // NOLINT(clang-analyzer-unix.Malloc): popped by bury
        if (more)
            return;
        CHECK(stream->table.count == 0);
        stream_bury(self, stream);
    }
}

void watch_stream_ready(struct watch_hub *hub, struct watch_stream *self)
{
    struct watch_walk *walk = &hub->walk;
    self->blocked = false;
    if (self->parked.count == 0)
        return;
    if (walk->next.count == 0 || self->parked_least < walk->next_least)
        walk->next_least = self->parked_least;
    watch_numbers_take(&walk->next, &self->parked);
}

uint64_t watch_stream_watchers(const struct watch_stream *self)
{
    return self->table.count;
}

/* ── Creating, cancelling ───────────────────────────────────────────────────────────────────── */

int64_t watch_hub_read(const struct watch_hub *self)
{
    return watch_chunk_is_empty(&self->live) ? self->delivered : self->live.to_revision;
}

/* Where nobody is live there is nobody to be told of what lies between. */
static void skip_ahead(struct watch_hub *self, const struct mvcc_view *view)
{
    if (self->started && (self->live_count || !watch_chunk_is_empty(&self->live)))
        return;
    self->started = true;
    self->log = view->log;
    self->delivered_seq = view->seq;
    self->delivered = view->revision;
}

static err check_spec(const struct watch_hub *hub, const struct watch_stream *stream,
                      const struct watch_spec *spec, const struct mvcc_span *span)
{
    if (spec->start_revision < 0)
        return ERR_COMPACTED;
    if (span->kind == MVCC_SPAN_RANGE && bytes_compare(span->key, span->end) >= 0)
        return ERR_WATCH_EMPTY_RANGE;
    if (spec->id && find_watcher(hub, stream, spec->id))
        return ERR_WATCH_DUPLICATE_ID;
    if (hub->watcher_count >= WATCHERS_MAX || span->key.len > MVCC_KEY_BYTES_MAX ||
        (span->kind == MVCC_SPAN_RANGE && span->end.len > MVCC_KEY_BYTES_MAX))
        return ERR_LIMIT;
    return OK;
}

static int64_t choose_id(const struct watch_hub *hub, struct watch_stream *stream, int64_t wanted)
{
    if (wanted)
        return wanted;
    while (find_watcher(hub, stream, stream->next_id))
        stream->next_id++;
    return stream->next_id++;
}

err watch_create(struct watch_hub *hub, struct watch_stream *stream, const struct watch_spec *spec,
                 const struct mvcc_view *view, int64_t *ret_id)
{
    struct bytes key = spec->key.len ? spec->key : bytes_of((const uint8_t *)"", 1);
    struct mvcc_span span = mvcc_span_of(key, spec->range_end);
    TRY(check_spec(hub, stream, spec, &span));
    skip_ahead(hub, view);
    int64_t id = choose_id(hub, stream, spec->id);
    uint32_t number = watch_slab_alloc(&hub->watchers);
    struct watcher *watcher = watcher_at(hub, number);
    watcher->stream = stream->number;
    watcher->id = id;
    watcher->flags = spec->flags & WATCH_FLAGS_ALL;
    watcher->range = watch_ranges_get(&hub->ranges, &span);
    watcher->ordered = spec->start_revision > view->revision;
    set_least(watcher, spec->start_revision ? spec->start_revision : view->revision + 1);
    if (BUG(watch_back_in_time) && watcher->ordered)
        set_least(watcher, view->revision + 1);
    watch_table_add(&stream->table, number, watcher_hash, hub);
    hub->watcher_count++;
    hub->before_count += (spec->flags & WATCH_PREV_KV) != 0;
    if (watcher->ordered && spec->start_revision > stream->future)
        stream->future = spec->start_revision;
    if ((int64_t)watcher->least > watch_hub_read(hub))
        watcher_set(hub, number, WATCHER_LIVE);
    else
        watcher_wait(hub, number);
    *ret_id = id;
    return OK;
}

bool watch_cancel(struct watch_hub *hub, struct watch_stream *stream, int64_t id)
{
    uint32_t number = find_watcher(hub, stream, id);
    if (!number)
        return false;
    watcher_set(hub, number, WATCHER_FREE);
    return true;
}

/* ── Progress ───────────────────────────────────────────────────────────────────────────────── */

void watch_stream_ask_progress(struct watch_hub *hub, struct watch_stream *self)
{
    if (self->dead)
        return;
    list_remove(&self->node);
    list_push(&hub->wishes, &self->node);
}

static bool waits_for_future(const struct watch_hub *hub, const struct watcher *watcher)
{
    return watcher->ordered && (int64_t)watcher->least > hub->delivered;
}

/* Looks at each watcher only where one of them once waited for a revision that is yet to come. */
static bool stream_waits_for_future(const struct watch_hub *hub, struct watch_stream *stream)
{
    int64_t future = 0;
    if (stream->future <= hub->delivered)
        return false;
    uint32_t place = 0, number;
    while (watch_table_step(&stream->table, &place, &number)) {
        if (!number)
            continue;
        const struct watcher *watcher = watcher_at(hub, number);
        if (waits_for_future(hub, watcher) && (int64_t)watcher->least > future)
            future = (int64_t)watcher->least;
    }
    stream->future = future;
    return future > 0;
}

static void answer_wishes(struct watch_hub *self)
{
    while (!list_empty(&self->wishes)) {
        struct watch_stream *stream =
            LIST_ENTRY(list_pop(&self->wishes), struct watch_stream, node);
        if (stream->table.count && (!stream->behind || BUG(watch_progress_ahead)) &&
            !stream_waits_for_future(self, stream))
            self->ops->progress(stream->owner, WATCH_ID_ALL, self->delivered);
    }
}

bool watch_stream_notify(struct watch_hub *hub, struct watch_stream *self, uint32_t *place,
                         unsigned *budget)
{
    uint32_t number;
    while (*budget > 0) {
        (*budget)--;
        if (!watch_table_step(&self->table, place, &number))
            return true;
        struct watcher *watcher = number ? watcher_at(hub, number) : NULL;
        if (!watcher || !(watcher->flags & WATCH_NOTIFY))
            continue;
        if (!watcher->told && watcher->state == WATCHER_LIVE && !waits_for_future(hub, watcher))
            hub->ops->progress(self->owner, watcher->id, hub->delivered);
        watcher->told = false;
    }
    return false;
}

/* ── Work ───────────────────────────────────────────────────────────────────────────────────── */

/* False: there is nothing new. */
static bool live_begin(struct watch_hub *self, const struct mvcc_view *view)
{
    skip_ahead(self, view);
    if (self->delivered_seq >= view->seq) {
        self->delivered = view->revision;
        return false;
    }
    watch_chunk_begin(self, &self->live, view, self->delivered_seq + 1, view->seq, view->revision);
    return true;
}

static err live_run(struct watch_hub *self, const struct mvcc_view *view, unsigned *budget)
{
    bool done;
    TRY(watch_chunk_run(self, &self->live, view, budget, &done));
    if (done) {
        self->delivered_seq = self->live.last_seq - BUG(watch_event_twice);
        self->delivered = self->live.last_revision;
    }
    return OK;
}

/* Live ones first; but each fourth step, at least, is the walk's, so that it ends. */
static err run(struct watch_hub *self, const struct mvcc_view *view, unsigned *budget,
               bool *ret_more)
{
    unsigned kept = watch_walk_has_work(self) ? *budget / WALK_SHARE : 0;
    unsigned live = *budget - kept;
    bool walks = kept > 0;
    *ret_more = true;
    while (live > 0) {
        if (!watch_chunk_is_empty(&self->live)) {
            TRY(live_run(self, view, &live));
        } else if (!live_begin(self, view)) {
            answer_wishes(self);
            break;
        }
    }
    kept += live;
    /* What arrives must not miss a response in the making: between two is when it can. */
    while (walks && kept > 0)
        TRY(watch_walk_run(self, view, &kept, &walks));
    *budget = kept;
    *ret_more = live == 0 || walks || watch_walk_has_work(self) || !list_empty(&self->dying);
    return OK;
}

/* What live watchers have not been told must not vanish, however late the next run. */
static void hold(struct watch_hub *self, const struct mvcc_view *view, uint64_t now_ms)
{
    if (!self->pins)
        return;
    struct mvcc_pin before = self->pin;
    uint64_t seq = self->delivered_seq;
    self->holds = self->live_count > 0;
    if (self->holds && before.slot && (before.seq == seq || seq < view->compact_seq) &&
        err_ok(mvcc_pin_touch(&self->pin, now_ms)))
        return; /* a pin from before a compaction holds what that would let go */
    if (seq < view->compact_seq)
        seq = view->compact_seq;
    self->pin = (struct mvcc_pin){0};
    if (self->holds && mvcc_pin_take(self->pins, seq, now_ms, &self->pin).code)
        self->pin = (struct mvcc_pin){0};
    mvcc_pin_drop(self->pins, &before);
}

bool watch_hub_run(struct watch_hub *self, const struct mvcc_view *view, uint64_t now_ms,
                   unsigned *budget)
{
    bool more = false;
    reap(self, budget);
    if (self->started && self->log != view->log && !self->fault.code)
        self->fault = ERR_AGAIN;
    if (self->fault.code)
        return !list_empty(&self->dying);
    self->fault = run(self, view, budget, &more);
    hold(self, view, now_ms);
    watch_chunk_hold(self, &self->walk.chunk, view, now_ms);
    return more && !self->fault.code;
}

bool watch_hub_has_work(const struct watch_hub *self, const struct mvcc_view *view)
{
    if (!list_empty(&self->dying) || !list_empty(&self->wishes))
        return true;
    if (self->fault.code || !self->watcher_count)
        return false;
    bool unheld = self->pins && self->live_count && !self->holds;
    return !self->started || self->delivered_seq < view->seq || self->delivered < view->revision ||
           unheld || watch_walk_has_work(self);
}

err watch_hub_fault(const struct watch_hub *self)
{
    return self->fault;
}

int64_t watch_hub_delivered(const struct watch_hub *self)
{
    return self->delivered;
}

void watch_hub_counts(const struct watch_hub *self, struct watch_counts *ret_counts)
{
    *ret_counts = (struct watch_counts){
        .streams = self->stream_count,
        .watchers = self->watcher_count,
        .behind = self->watcher_count - self->live_count,
        .events = self->events,
        .pending = watch_chunk_events(&self->live) + watch_chunk_events(&self->walk.chunk),
    };
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct watch_hub *watch_hub_new(const struct watch_hub_config *config)
{
    struct watch_hub *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->ops = config->ops;
    self->pins = config->pins;
    self->stream_next = 1;
    watch_ranges_init(&self->ranges, config->seed);
    watch_slab_init(&self->watchers, sizeof(struct watcher));
    list_init(&self->dying);
    list_init(&self->wishes);
    watch_chunk_init(&self->live, WATCH_LIST_LIVE);
    watch_chunk_init(&self->walk.chunk, WATCH_LIST_WALKED);
    return self;
}

void watch_hub_free(struct watch_hub *self)
{
    if (!self)
        return;
    for (uint32_t i = 1; i < self->stream_next; i++)
        if (self->streams[i])
            stream_bury(self, self->streams[i]);
    if (self->pins)
        mvcc_pin_drop(self->pins, &self->pin);
    watch_chunk_done(self, &self->live);
    watch_chunk_done(self, &self->walk.chunk);
    watch_numbers_done(&self->walk.current);
    watch_numbers_done(&self->walk.next);
    watch_ranges_done(&self->ranges);
    watch_slab_done(&self->watchers);
    free(self->streams);
    free(self->free_streams);
    free(self);
}
