/* What the files of watching share.
 *
 *     watch.c         streams, watchers, the order of work
 *     watch_chunk.c   a run of changes: read, matched, delivered to the watchers of one list
 *     watch_walk.c    the walk that brings up who is behind
 *     watch_match.c   ranges
 *     watch_event.c   bytes of events */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "mvcc/watch.h"
#include "mvcc/watch_match.h"

/* ── Watchers ───────────────────────────────────────────────────────────────────────────────── */

enum watcher_state {
    WATCHER_FREE,
    WATCHER_LIVE,    /* in its range's live list */
    WATCHER_WALKED,  /* in its range's walked list, and in hub.walk.current */
    WATCHER_WAITING, /* in hub.walk.next */
    WATCHER_PARKED,  /* in its stream's parked list, or with that in hub.walk.next or current */
};

/* Revisions are kept in 54 bits: 10^9 a second for half a year, and etcd gives one a write. */
#define WATCH_REVISION_MAX ((INT64_C(1) << 53) - 1)

struct watcher {
    uint32_t next, prev; /* in its range's list; next first: the slab's link */
    uint32_t range;
    uint32_t stream;
    int64_t id;
    uint64_t least : 54; /* the least revision that it may still be told */
    uint64_t state : 3;
    uint64_t flags : 5;
    uint64_t told : 1;    /* events since the last timed progress */
    uint64_t ordered : 1; /* for a future revision */
};
_Static_assert(sizeof(struct watcher) == 32, "memory a watcher");

/* Numbers, appended; what is in it is judged only when it is looked at. */
struct watch_numbers {
    uint32_t *items;
    uint32_t count, cap;
};
void watch_numbers_push(struct watch_numbers *self, uint32_t number);
void watch_numbers_take(struct watch_numbers *self, struct watch_numbers *from);
void watch_numbers_done(struct watch_numbers *self);

struct watch_stream {
    struct list node; /* hub.dying, hub.wishes or none */
    void *owner;
    uint32_t number;
    struct watch_table table; /* watchers by id */
    uint32_t behind;          /* of its watchers, not live */
    uint32_t reaped;          /* dying: the place in the table */
    int64_t next_id;
    int64_t future; /* no watcher waits for a revision above this one */
    struct watch_numbers parked;
    int64_t parked_least;
    bool blocked; /* takes no more */
    bool dead;    /* freed by its owner */
};

/* ── A run of changes ───────────────────────────────────────────────────────────────────────── */

struct chunk_change {
    struct revlog_row row;
    uint64_t before_seq;
    uint32_t before_bytes;
    bool before_known;
};

/* Which changes a range is told of: a chain of places in the chunk. */
struct chunk_ref {
    uint32_t change;
    uint32_t next; /* 0: the last */
};

/* What the watchers of one range are owed. */
struct chunk_pending {
    uint32_t range;
    uint32_t first_ref, last_ref;
    uint32_t first_change, last_change;
    bool whole; /* refs name all changes */
    /* Framed lengths by kind: of puts and of deletions, without and with what was before. */
    uint64_t counts[2];
    uint64_t bytes[2][2];
};

enum chunk_phase { CHUNK_EMPTY, CHUNK_READ, CHUNK_MATCH, CHUNK_SEND };

struct watch_chunk {
    enum chunk_phase phase;
    enum watch_list list;
    uint64_t first_seq, last_seq; /* all of it */
    uint64_t to_seq;              /* where it must end at the latest */
    int64_t to_revision;
    int64_t last_revision; /* told when it is done */
    int64_t floor;         /* of prev_kv */
    int64_t header;        /* revision for headers; 0: that of the last event */
    uint64_t read_seq;
    size_t read_bytes;
    struct mvcc_pin pin;
    struct chunk_change *changes;
    struct chunk_ref *refs;         /* from 1 */
    struct chunk_pending *pendings; /* from 1 */
    uint32_t change_count, ref_count, pending_count;
    size_t change_cap, ref_cap, pending_cap;
    uint32_t revision_begin; /* the change with which the last revision begins */
    uint32_t at_change;      /* matching */
    uint32_t at_range;       /* the interval matched last, counted; 0: none */
    bool key_matched;        /* the change's own key has been looked up */
    uint32_t at_pending;     /* sending */
    uint32_t at_watcher;     /* the next one; 0: the pending is not begun, or done */
    bool sending;
    /* The response that was made last, for watchers that want the same. */
    struct buf payload;
    uint32_t payload_pending;
    unsigned payload_flags;
    uint64_t payload_count;
};

struct watch_hub;
void watch_chunk_init(struct watch_chunk *self, enum watch_list list);
void watch_chunk_done(struct watch_hub *hub, struct watch_chunk *self);
/* From first_seq to the view's end, or to to_seq; as much as is good for one. */
void watch_chunk_begin(struct watch_hub *hub, struct watch_chunk *self,
                       const struct mvcc_view *view, uint64_t first_seq, uint64_t to_seq,
                       int64_t to_revision);
/* Goes on. *ret_done: all is delivered or refused; self->last_seq and last_revision say how far.
 * Fails: what mvcc_view_read fails with. */
MUST err watch_chunk_run(struct watch_hub *hub, struct watch_chunk *self,
                         const struct mvcc_view *view, unsigned *budget, bool *ret_done);
/* A slice ends or begins with the chunk under way. */
void watch_chunk_hold(struct watch_hub *hub, struct watch_chunk *self, const struct mvcc_view *view,
                      uint64_t now_ms);
static inline bool watch_chunk_is_empty(const struct watch_chunk *self)
{
    return self->phase == CHUNK_EMPTY;
}
/* Events matched and not yet delivered to all. */
static inline uint64_t watch_chunk_events(const struct watch_chunk *self)
{
    return self->ref_count ? self->ref_count - 1 : 0;
}

/* ── The walk ───────────────────────────────────────────────────────────────────────────────── */

enum walk_phase {
    WALK_IDLE,
    WALK_ENTER,  /* who waited is entered in the walked lists */
    WALK_PURGE,  /* a compaction passed it: who wanted what has gone is cancelled */
    WALK_CHUNKS, /* changes */
    WALK_ARRIVE, /* at the live ones: they become live, too */
};

struct watch_walk {
    enum walk_phase phase;
    struct watch_numbers current, next;
    int64_t next_least;  /* no one in next wants less */
    int64_t enter_least; /* of those entered */
    uint32_t at;         /* in current: entering, purging */
    uint32_t arrived;    /* in current: arriving */
    int64_t revision;    /* the next to be read */
    int64_t purge;       /* below this all is compacted */
    uint64_t seq;        /* the next to be read */
    struct watch_chunk chunk;
};

/* True: it has more to do. */
MUST err watch_walk_run(struct watch_hub *hub, const struct mvcc_view *view, unsigned *budget,
                        bool *ret_more);
bool watch_walk_has_work(const struct watch_hub *hub);

/* ── The hub ────────────────────────────────────────────────────────────────────────────────── */

struct watch_hub {
    const struct watch_ops *ops;
    struct mvcc_pins *pins;
    struct watch_ranges ranges;
    struct watch_slab watchers;
    struct watch_stream **streams; /* by number, from 1 */
    uint32_t stream_cap, stream_next;
    uint32_t *free_streams;
    uint32_t free_stream_count;
    struct list dying, wishes;
    const struct revlog *log; /* of the views so far */
    struct watch_chunk live;
    struct watch_walk walk;
    struct mvcc_pin pin; /* on delivered_seq, while there are live watchers */
    uint64_t delivered_seq;
    int64_t delivered;
    bool started;
    bool holds; /* a pin was wanted; in want of one it goes on without */
    uint64_t stream_count, watcher_count, live_count, before_count, events;
    err fault;
};

static inline struct watcher *watcher_at(const struct watch_hub *self, uint32_t number)
{
    return watch_slab_at(&self->watchers, number);
}

/* Moves a watcher; state FREE takes it out of its stream too. */
void watcher_set(struct watch_hub *hub, uint32_t number, enum watcher_state state);
/* It missed `least`: it waits on its stream. */
void watcher_park(struct watch_hub *hub, uint32_t number, int64_t least);
/* What it wants is gone. */
void watcher_compacted(struct watch_hub *hub, uint32_t number, int64_t compact_revision);
/* The newest revision that live watchers have been told or are about to be. */
int64_t watch_hub_read(const struct watch_hub *self);
