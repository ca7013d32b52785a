/* Watching: who watches what, and what each is owed. Pure: views in, deliveries out.
 *
 *     create ─┬─> live ───────── its stream takes no more ─> parked on its stream ─┐
 *             └─> waiting <──────────────── stream_ready ──────────────────────────┘
 *                    └─> walked (by the one walk of the hub) ── has caught up ─> live
 *
 * A watcher is a revision, not a queue. A live one has no place of its own: the hub's `delivered`
 * revision is everybody's, and the changes above it are read once from the newest view, from the
 * tail as a rule. Who is behind is brought up by one walk over the changes from the least revision
 * wanted; each change is read once for all of them; who comes too late for a walk is served by the
 * next one. A watcher whose stream takes no more costs nothing but its place in a list.
 *
 *  1. Every watcher is told of each change of its range from its start revision on exactly once, in
 *     order, all changes of a revision in one delivery (filters apart).
 *  2. A watcher that would need changes below the compacted revision is cancelled instead.
 *  3. No stream delays another; memory a watcher is constant (below 100 bytes beside the bytes of
 *     each distinct range; test watch_memory).
 *
 * How to drive it (a front does, and the simulator does):
 *   - one hub a thread; streams with watch_stream_new, watchers with watch_create, whenever;
 *   - after each new view, and as long as it returns true: watch_hub_run(hub, view, now_ms,
 * &budget), each time under a guard with the then newest view (of the same store; its seq never
 * falls), until the slice is spent. It delivers through the ops. Inside an op only
 * watch_stream_free may be called;
 *   - deliver says false where the stream cannot take it; the hub then says nothing to that stream
 *     until watch_stream_ready;
 *   - a member that starts again begins with a new hub; clients come back with the revision that
 *     they have not seen.
 * Equal calls with an equal seed give equal deliveries in equal order.
 *
 * Thread: one at a time.  Owns: watchers, ranges, streams. Ranges are copied.
 * Source: etcd's interface, "Watch". */
#pragma once

#include "mvcc/view_pin.h"
#include "mvcc/watch_event.h"

struct watch_hub;
struct watch_stream;

/* What a watcher is told: its events of the changes [first_seq, last_seq], never none. */
struct watch_delivery {
    int64_t watch_id;
    int64_t revision; /* for the response's header */
    unsigned flags;   /* the watcher's */
    size_t bytes;     /* of all its events, framed: below */
    uint64_t count;   /* of its events */
    /* Framed events, field 11 of WatchResponse one after the other; valid during the op. Of no
     * length where they are many or large: then they are read with `reader`, now or, under a pin on
     * first_seq - 1 or lower, later. */
    struct bytes events;
    /* Reads just these events. Its span is the watcher's own and valid during the op: who reads
     * later copies it. */
    struct watch_reader reader;
};
/* Up to here deliveries carry their bytes. */
#define WATCH_EVENTS_BYTES_MAX ((size_t)32 << 10)

struct watch_ops {
    /* False: not now; not taken. */
    bool (*deliver)(void *owner, const struct watch_delivery *delivery);
    /* The watcher is gone, as what it wanted has been compacted. Never refused. */
    void (*compacted)(void *owner, int64_t watch_id, int64_t compact_revision);
    /* watch_id, or WATCH_ID_ALL, has been told everything up to revision. Never refused. */
    void (*progress)(void *owner, int64_t watch_id, int64_t revision);
};
#define WATCH_ID_ALL INT64_C(-1)

struct watch_hub_config {
    uint64_t seed;          /* of hashes: a client must not know it */
    struct mvcc_pins *pins; /* the store's; what a slice leaves half done is pinned; may be NULL */
    const struct watch_ops *ops;
};

struct watch_hub *watch_hub_new(const struct watch_hub_config *config);
/* Frees all streams. NULL is legal. */
void watch_hub_free(struct watch_hub *self);

/* Called at least each WATCH_HUB_IDLE_MS while there are watchers: the hub pins what it has yet to
 * tell, and pins that stand still are broken.
 * Work of *budget small steps at most (a change read, a range matched, a delivery made), counted
 * down; a thousand take about half a millisecond. True: there is more to do with this view.
 * Fails nothing: where changes cannot be read, watch_hub_fault says why and the hub stands still.
 */
bool watch_hub_run(struct watch_hub *self, const struct mvcc_view *view, uint64_t now_ms,
                   unsigned *budget);
#define WATCH_HUB_IDLE_MS 20000
/* Is there anything that a new view could bring? Costs nothing. */
bool watch_hub_has_work(const struct watch_hub *self, const struct mvcc_view *view);
/* ERR_CORRUPT: stored bytes are. ERR_AGAIN: the view is of another store, as after a snapshot.
 * ERR_NOT_FOUND: a compaction took what was being read. Its streams end, and begin again with a new
 * hub. */
err watch_hub_fault(const struct watch_hub *self);
/* All live watchers have been told everything up to this revision. */
int64_t watch_hub_delivered(const struct watch_hub *self);

struct watch_counts {
    uint64_t streams;
    uint64_t watchers;
    uint64_t behind;  /* of them, not live */
    uint64_t events;  /* delivered since the hub was made */
    uint64_t pending; /* events of the responses in the making */
};
void watch_hub_counts(const struct watch_hub *self, struct watch_counts *ret_counts);

/* A stream of one client: watchers that share one way out. owner is handed to the ops. */
struct watch_stream *watch_stream_new(struct watch_hub *hub, void *owner);
/* Its owner hears nothing any more; the watchers go in slices of watch_hub_run. NULL is legal. */
void watch_stream_free(struct watch_hub *hub, struct watch_stream *self);
/* It can take deliveries again. */
void watch_stream_ready(struct watch_hub *hub, struct watch_stream *self);
uint64_t watch_stream_watchers(const struct watch_stream *self);
/* ops.progress with WATCH_ID_ALL once everything up to the view has been delivered, if by then none
 * of its watchers is behind or waits for a future revision; else the wish is forgotten. */
void watch_stream_ask_progress(struct watch_hub *hub, struct watch_stream *self);
/* ops.progress for each watcher with WATCH_NOTIFY that is live and was told nothing since the last
 * call. Goes over the stream's watchers from *place on, within *budget, which it counts down.
 * True: done; begins with *place 0. */
bool watch_stream_notify(struct watch_hub *hub, struct watch_stream *self, uint32_t *place,
                         unsigned *budget);

/* What a client asks for. */
struct watch_spec {
    struct bytes key, range_end; /* as in a request: an empty key means all from the first */
    int64_t start_revision;      /* 0: what comes after the view */
    int64_t id;                  /* 0: the next free one */
    unsigned flags;
};
/* view: the newest one, under a guard.
 * Fails: ERR_COMPACTED (start_revision < 0), ERR_WATCH_EMPTY_RANGE, ERR_WATCH_DUPLICATE_ID,
 * ERR_LIMIT (WATCHERS_MAX). */
MUST err watch_create(struct watch_hub *hub, struct watch_stream *stream,
                      const struct watch_spec *spec, const struct mvcc_view *view, int64_t *ret_id);
#define WATCHERS_MAX (UINT32_C(1) << 26)
/* False: the stream has no such watcher. */
bool watch_cancel(struct watch_hub *hub, struct watch_stream *stream, int64_t id);
