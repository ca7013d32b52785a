/* A run of changes on its way to the watchers of one list, in slices:
 *
 *     READ ── rows from first_seq on, to the end of a revision: bounded by number and bytes,
 *      │      but a revision is never cut, and a large one comes alone
 *     MATCH ─ each change: its key ─> ranges; each range gathers which changes it is told of
 *      │
 *     SEND ── each of those ranges: one response, made once, to all of its watchers
 *
 * Responses of watchers of one range differ only in filters, prev_kv and the least revision that
 * they may be told. What is small is made once and handed to all that want the same; of what is
 * large only the length is known, it is read again from the store as it is sent.
 *
 * 1. A pending's sums cover all its changes; its refs do, where `whole`: where its events are not
 *    too many to be made here, and all refs together not too many to be kept.
 * 2. A range that is pending or being matched is counted, so that its number stays its own.
 * 3. at_watcher is in the list of the range of at_pending; whoever leaves that list moves it. */
#include "mvcc/watch_internal.h"

#include "base/array.h"
#include "base/check.h"

#define CHUNK_CHANGES_MAX 1000
#define CHUNK_BYTES_MAX   ((size_t)1 << 20)
#define CHUNK_REFS_MAX    (UINT32_C(1) << 18)
/* Bytes copied that count as one step of the budget. */
#define BYTES_PER_STEP 1024

void watch_chunk_init(struct watch_chunk *self, enum watch_list list)
{
    *self = (struct watch_chunk){.list = list};
    buf_init(&self->payload, 0);
}

/* Memory of an unusual chunk is not kept. */
static void clear(struct watch_hub *hub, struct watch_chunk *self)
{
    for (uint32_t i = self->at_pending ? self->at_pending : 1; i < self->pending_count; i++) {
        watch_ranges_at(&hub->ranges, self->pendings[i].range)->pending[self->list] = 0;
        watch_ranges_unref(&hub->ranges, self->pendings[i].range);
    }
    if (self->at_range)
        watch_ranges_unref(&hub->ranges, self->at_range);
    if (hub->pins)
        mvcc_pin_drop(hub->pins, &self->pin);
    if (self->change_cap > 2 * CHUNK_CHANGES_MAX || self->ref_cap > 4 * CHUNK_CHANGES_MAX ||
        self->pending_cap > 4 * CHUNK_CHANGES_MAX) {
        free(self->changes);
        free(self->refs);
        free(self->pendings);
        self->changes = NULL;
        self->refs = NULL;
        self->pendings = NULL;
        self->change_cap = self->ref_cap = self->pending_cap = 0;
    }
    self->change_count = self->ref_count = self->pending_count = 0;
    self->at_pending = self->at_watcher = self->at_range = 0;
    self->phase = CHUNK_EMPTY;
}

void watch_chunk_done(struct watch_hub *hub, struct watch_chunk *self)
{
    clear(hub, self);
    free(self->changes);
    free(self->refs);
    free(self->pendings);
    buf_done(&self->payload);
}

void watch_chunk_begin(struct watch_hub *hub, struct watch_chunk *self,
                       const struct mvcc_view *view, uint64_t first_seq, uint64_t to_seq,
                       int64_t to_revision)
{
    CHECK(self->phase == CHUNK_EMPTY);
    self->phase = CHUNK_READ;
    self->first_seq = self->read_seq = first_seq;
    self->to_seq = to_seq;
    self->to_revision = to_revision;
    self->floor = view->compact_revision;
    self->header = self->list == WATCH_LIST_WALKED ? view->revision : 0;
    self->read_bytes = 0;
    self->revision_begin = 0;
    self->at_change = 0;
    self->key_matched = self->sending = false;
    self->ref_count = self->pending_count = 1;
    self->payload_pending = 0;
}

void watch_chunk_hold(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                      uint64_t now_ms)
{
    if (self->phase == CHUNK_EMPTY || !hub->pins)
        return;
    uint64_t seq = self->first_seq - 1;
    if (seq < view->compact_seq)
        seq = view->compact_seq;
    /* Without a pin, too, nothing goes unless a compaction and a cleaning fall into the middle of
     * it; then the hub stands still, and its clients begin again. */
    err e = self->pin.slot ? mvcc_pin_touch(&self->pin, now_ms)
                           : mvcc_pin_take(hub->pins, seq, now_ms, &self->pin);
    if (e.code && self->pin.slot)
        mvcc_pin_drop(hub->pins, &self->pin);
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

/* Is the chunk complete without the revision that `row` begins? */
static bool ends_before(const struct watch_chunk *self, const struct revlog_row *row)
{
    return self->change_count > 0 && row->main != self->changes[self->change_count - 1].row.main &&
           (self->change_count >= CHUNK_CHANGES_MAX || self->read_bytes >= CHUNK_BYTES_MAX);
}

static void read_end(struct watch_chunk *self, uint64_t last_seq, int64_t last_revision)
{
    self->last_seq = last_seq;
    self->last_revision = last_revision;
    self->phase = CHUNK_MATCH;
}

/* Takes the row in. False: the chunk is complete without it. */
static bool read_row(struct watch_chunk *self, const struct revlog_row *row)
{
    if (row->kind != MVCC_PUT && row->kind != MVCC_TOMBSTONE)
        return true;
    if (ends_before(self, row)) {
        read_end(self, row->seq - 1, self->changes[self->change_count - 1].row.main);
        return false;
    }
    if (self->change_count == 0 || row->main != self->changes[self->change_count - 1].row.main)
        self->revision_begin = self->change_count;
    self->changes =
        array_grow(self->changes, self->change_count, &self->change_cap, sizeof(self->changes[0]));
    self->changes[self->change_count++] = (struct chunk_change){.row = *row};
    self->read_bytes += row->blob_bytes;
    /* A large revision comes alone. */
    if (self->revision_begin > 0 && self->change_count - self->revision_begin > CHUNK_CHANGES_MAX) {
        uint64_t seq = self->changes[self->revision_begin].row.seq;
        self->change_count = self->revision_begin;
        read_end(self, seq - 1, self->changes[self->change_count - 1].row.main);
        return false;
    }
    return true;
}

static err read_rows(struct watch_chunk *self, const struct mvcc_view *view, unsigned *budget)
{
    struct revlog_rows rows;
    revlog_rows_begin(&rows, view->log, self->read_seq, self->to_seq);
    while (*budget > 0) {
        struct revlog_row row;
        bool found;
        TRY(revlog_rows_next(&rows, &row, &found, NULL));
        (*budget)--;
        if (!found) {
            read_end(self, self->to_seq, self->to_revision);
            return OK;
        }
        self->read_seq = row.seq + 1;
        if (!read_row(self, &row))
            return OK;
    }
    return OK;
}

/* ── Matching ───────────────────────────────────────────────────────────────────────────────── */

static unsigned kind_of(const struct chunk_change *change)
{
    return change->row.kind == MVCC_TOMBSTONE;
}

static struct watch_event event_of(const struct chunk_change *change)
{
    return (struct watch_event){.seq = change->row.seq,
                                .revision = change->row.main,
                                .is_delete = kind_of(change),
                                .is_create = !kind_of(change) && change->row.birth};
}

static size_t change_bytes(const struct chunk_change *change, bool with_before)
{
    struct watch_event event = event_of(change);
    return watch_event_size(&event, change->row.blob_bytes, with_before ? change->before_bytes : 0);
}

/* What was before is looked for only where some watcher may want it. */
static err know_before(const struct watch_hub *hub, const struct watch_chunk *self,
                       const struct mvcc_view *view, struct chunk_change *change)
{
    if (change->before_known || !hub->before_count)
        return OK;
    TRY(watch_before(view, &change->row, self->floor, &change->before_seq, &change->before_bytes));
    change->before_known = true;
    return OK;
}

static struct chunk_pending *pending_of(struct watch_hub *hub, struct watch_chunk *self,
                                        uint32_t number)
{
    struct watch_range *range = watch_ranges_at(&hub->ranges, number);
    if (!range->pending[self->list]) {
        self->pendings = array_grow(self->pendings, self->pending_count, &self->pending_cap,
                                    sizeof(self->pendings[0]));
        self->pendings[self->pending_count] =
            (struct chunk_pending){.range = number, .first_change = self->at_change, .whole = true};
        watch_ranges_ref(&hub->ranges, number);
        range->pending[self->list] = self->pending_count++;
    }
    return &self->pendings[range->pending[self->list]];
}

static void add_ref(struct watch_chunk *self, struct chunk_pending *pending)
{
    uint64_t bytes = pending->bytes[0][0] + pending->bytes[1][0];
    if (bytes > WATCH_EVENTS_BYTES_MAX || self->ref_count > 2 * CHUNK_REFS_MAX)
        pending->whole = false;
    if (!pending->whole)
        return;
    self->refs = array_grow(self->refs, self->ref_count, &self->ref_cap, sizeof(self->refs[0]));
    self->refs[self->ref_count] = (struct chunk_ref){.change = self->at_change};
    if (pending->last_ref)
        self->refs[pending->last_ref].next = self->ref_count;
    else
        pending->first_ref = self->ref_count;
    pending->last_ref = self->ref_count++;
}

/* The change at hand is told to the watchers of a range. */
static void match_range(struct watch_hub *hub, struct watch_chunk *self, uint32_t number)
{
    if (!watch_ranges_at(&hub->ranges, number)->watchers[self->list])
        return;
    const struct chunk_change *change = &self->changes[self->at_change];
    struct chunk_pending *pending = pending_of(hub, self, number);
    unsigned kind = kind_of(change);
    pending->last_change = self->at_change;
    pending->counts[kind]++;
    pending->bytes[kind][0] += change_bytes(change, false);
    pending->bytes[kind][1] += change_bytes(change, true);
    add_ref(self, pending);
}

static err match_change(struct watch_hub *hub, struct watch_chunk *self,
                        const struct mvcc_view *view, unsigned *budget)
{
    struct chunk_change *change = &self->changes[self->at_change];
    struct mvcc_record record;
    struct bytes key;
    TRY(mvcc_view_read(view, change->row.seq, &record, NULL));
    TRY(mvcc_record_key(&record, &key));
    TRY(know_before(hub, self, view, change));
    if (!self->key_matched) {
        uint32_t number = watch_ranges_key(&hub->ranges, key);
        self->key_matched = true;
        (*budget)--;
        if (number)
            match_range(hub, self, number);
    }
    while (*budget > 0) {
        uint32_t number = watch_ranges_stab(&hub->ranges, key, self->at_range);
        if (number)
            watch_ranges_ref(&hub->ranges, number);
        if (self->at_range)
            watch_ranges_unref(&hub->ranges, self->at_range);
        self->at_range = number;
        if (!number) {
            self->at_change++;
            self->key_matched = false;
            return OK;
        }
        (*budget)--;
        match_range(hub, self, number);
    }
    return OK;
}

/* Many ranges with many changes: what has been matched goes out first. A revision is not cut. */
static void cut(struct watch_chunk *self)
{
    if (self->ref_count <= CHUNK_REFS_MAX || self->at_change == self->change_count)
        return;
    int64_t before = self->changes[self->at_change - 1].row.main;
    if (self->changes[self->at_change].row.main == before)
        return;
    self->last_seq = self->changes[self->at_change].row.seq - 1;
    self->last_revision = before;
    self->change_count = self->at_change;
}

static err match(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                 unsigned *budget)
{
    while (*budget > 0 && self->at_change < self->change_count) {
        uint32_t before = self->at_change;
        TRY(match_change(hub, self, view, budget));
        if (self->at_change > before)
            cut(self);
    }
    if (self->at_change == self->change_count) {
        self->phase = CHUNK_SEND;
        self->at_pending = 1;
    }
    return OK;
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

static bool filtered(unsigned flags, unsigned kind)
{
    return flags & (kind ? WATCH_NO_DELETE : WATCH_NO_PUT);
}

/* What one watcher is owed of a pending. */
struct share {
    unsigned flags; /* filters and prev_kv */
    int64_t least;  /* 0: all revisions of it */
    uint64_t count;
    uint64_t bytes;
};

static void share_of_sums(const struct chunk_pending *pending, struct share *share)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        if (filtered(share->flags, kind))
            continue;
        share->count += pending->counts[kind];
        share->bytes += pending->bytes[kind][(share->flags & WATCH_PREV_KV) != 0];
    }
}

static void share_of_refs(const struct watch_chunk *self, const struct chunk_pending *pending,
                          struct share *share)
{
    for (uint32_t i = pending->first_ref; i; i = self->refs[i].next) {
        const struct chunk_change *change = &self->changes[self->refs[i].change];
        if (change->row.main < share->least || filtered(share->flags, kind_of(change)))
            continue;
        share->count++;
        share->bytes += change_bytes(change, share->flags & WATCH_PREV_KV);
    }
}

static struct watch_reader reader_of(const struct watch_hub *hub, const struct watch_chunk *self,
                                     const struct chunk_pending *pending, const struct share *share)
{
    return (struct watch_reader){
        .span = watch_range_span(watch_ranges_at(&hub->ranges, pending->range)),
        .flags = share->flags,
        .least = share->least,
        .floor = self->floor,
        .next = self->changes[pending->first_change].row.seq,
        .last = self->changes[pending->last_change].row.seq,
    };
}

/* Of few changes: a revision of many comes alone, and none begins in the middle of it. */
static err share_of_reader(const struct watch_hub *hub, const struct watch_chunk *self,
                           const struct chunk_pending *pending, const struct mvcc_view *view,
                           struct share *share)
{
    struct watch_reader reader = reader_of(hub, self, pending, share);
    while (reader.next <= reader.last) {
        struct watch_event event;
        unsigned budget = CHUNK_CHANGES_MAX;
        bool found;
        TRY(watch_reader_next(&reader, view, &budget, &event, &found));
        if (!found)
            continue;
        share->count++;
        share->bytes += watch_event_size(&event, event.kv.len, event.before.len);
    }
    return OK;
}

static err measure(const struct watch_hub *hub, const struct watch_chunk *self,
                   const struct chunk_pending *pending, const struct mvcc_view *view,
                   struct share *share)
{
    if (share->least == 0)
        share_of_sums(pending, share);
    else if (share->least > self->changes[pending->last_change].row.main)
        return OK;
    else if (pending->whole)
        share_of_refs(self, pending, share);
    else
        return share_of_reader(hub, self, pending, view, share);
    return OK;
}

static err put_change(struct watch_chunk *self, const struct mvcc_view *view,
                      const struct chunk_change *change, bool with_before)
{
    struct watch_event event = event_of(change);
    struct mvcc_record record;
    TRY(mvcc_view_read(view, change->row.seq, &record, NULL));
    event.kv = record.blob;
    if (with_before && change->before_seq) {
        TRY(mvcc_view_read(view, change->before_seq, &record, NULL));
        event.before = record.blob;
    }
    TRY(buf_reserve(&self->payload, watch_event_size(&event, event.kv.len, event.before.len)));
    uint8_t *at = self->payload.data + self->payload.len;
    self->payload.len += (size_t)(watch_event_put(&event, at) - at);
    return OK;
}

/* Makes the response's events, unless the last watcher was owed the same. */
static err make_payload(struct watch_chunk *self, const struct mvcc_view *view,
                        const struct share *share, unsigned *budget)
{
    if (self->payload_pending == self->at_pending && self->payload_flags == share->flags &&
        self->payload_count == share->count && self->payload.len == share->bytes)
        return OK; /* a later least revision leaves a shorter rest of the same */
    const struct chunk_pending *pending = &self->pendings[self->at_pending];
    buf_clear(&self->payload);
    self->payload_pending = 0;
    for (uint32_t i = pending->first_ref; i; i = self->refs[i].next) {
        const struct chunk_change *change = &self->changes[self->refs[i].change];
        if (change->row.main >= share->least && !filtered(share->flags, kind_of(change)))
            TRY(put_change(self, view, change, share->flags & WATCH_PREV_KV));
    }
    CHECK(self->payload.len == share->bytes);
    self->payload_pending = self->at_pending;
    self->payload_flags = share->flags;
    self->payload_count = share->count;
    *budget = *budget > share->count ? *budget - (unsigned)share->count : 0;
    return OK;
}

static int64_t header_of(const struct watch_chunk *self, const struct chunk_pending *pending)
{
    return self->header ? self->header : self->changes[pending->last_change].row.main;
}

static err deliver(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                   uint32_t number, unsigned *budget)
{
    struct watcher *watcher = watcher_at(hub, number);
    struct watch_stream *stream = hub->streams[watcher->stream];
    const struct chunk_pending *pending = &self->pendings[self->at_pending];
    int64_t first = self->changes[pending->first_change].row.main;
    struct share share = {.flags =
                              watcher->flags & (WATCH_NO_PUT | WATCH_NO_DELETE | WATCH_PREV_KV)};
    if ((int64_t)watcher->least > first)
        share.least = (int64_t)watcher->least;
    (*budget)--;
    if (stream->dead)
        return OK;
    TRY(measure(hub, self, pending, view, &share));
    if (share.count == 0)
        return OK;
    bool taken = false;
    if (!stream->blocked) {
        struct watch_delivery delivery = {.watch_id = watcher->id,
                                          .revision = header_of(self, pending),
                                          .flags = watcher->flags,
                                          .bytes = share.bytes,
                                          .count = share.count,
                                          .reader = reader_of(hub, self, pending, &share)};
        if (pending->whole && share.bytes <= WATCH_EVENTS_BYTES_MAX) {
            TRY(make_payload(self, view, &share, budget));
            delivery.events = buf_bytes(&self->payload);
            unsigned steps = (unsigned)(share.bytes / BYTES_PER_STEP);
            *budget = *budget > steps ? *budget - steps : 0;
        }
        taken = hub->ops->deliver(stream->owner, &delivery);
    }
    if (taken) {
        watcher->told = true;
        hub->events += share.count;
    } else if (!stream->dead) {
        stream->blocked = true;
        watcher_park(hub, number, share.least ? share.least : first);
    }
    return OK;
}

static void next_pending(struct watch_hub *hub, struct watch_chunk *self)
{
    uint32_t number = self->pendings[self->at_pending].range;
    watch_ranges_at(&hub->ranges, number)->pending[self->list] = 0;
    self->at_pending++;
    self->sending = false;
    watch_ranges_unref(&hub->ranges, number);
}

static err send(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                unsigned *budget)
{
    while (*budget > 0 && self->at_pending < self->pending_count) {
        if (!self->sending) {
            uint32_t number = self->pendings[self->at_pending].range;
            self->at_watcher = watch_ranges_at(&hub->ranges, number)->watchers[self->list];
            self->sending = true;
        }
        uint32_t number = self->at_watcher;
        if (number) {
            self->at_watcher = watcher_at(hub, number)->next;
            TRY(deliver(hub, self, view, number, budget));
        } else {
            next_pending(hub, self);
        }
    }
    return OK;
}

err watch_chunk_run(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                    unsigned *budget, bool *ret_done)
{
    *ret_done = false;
    CHECK(*budget > 0);
    if (self->phase == CHUNK_READ)
        TRY(read_rows(self, view, budget));
    if (self->phase == CHUNK_MATCH)
        TRY(match(hub, self, view, budget));
    if (self->phase != CHUNK_SEND)
        return OK;
    TRY(send(hub, self, view, budget));
    *ret_done = self->at_pending == self->pending_count;
    if (*ret_done)
        clear(hub, self);
    return OK;
}
