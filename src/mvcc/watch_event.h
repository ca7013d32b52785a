/* Events of watchers, made out of stored changes: which change of a run of changes a watcher is
 * told of, and the bytes of etcd's mvccpb.Event around the stored ones.
 *
 *     field 11 of WatchResponse:  5a len [08 01] 12 len <stored KeyValue [18 mod_revision]>
 *                                        [1a len <stored KeyValue before>]
 *
 * Nothing stored is encoded again: a tombstone's event is its stored bytes with the revision
 * behind them. The state before is what the key was one revision earlier; where that lies below the
 * floor of prev_kv, and for the first put of a key, there is none.
 *
 * Thread: any, under a guard of the view's epoch.  Owns: nothing; blobs are lent for the guard.
 * Source: etcd's interface, "Watch", "Store". */
#pragma once

#include "mvcc/span.h"
#include "mvcc/view.h"

#include <sys/uio.h>

enum watch_flags {
    WATCH_NO_PUT = 1,    /* filters */
    WATCH_NO_DELETE = 2, /* filters */
    WATCH_PREV_KV = 4,
    WATCH_FRAGMENT = 8, /* large responses may come in parts */
    WATCH_NOTIFY = 16,  /* timed progress */
    WATCH_FLAGS_ALL = 31,
};

struct watch_event {
    uint64_t seq;
    uint64_t before_seq; /* the key's state one revision earlier; 0: none, or not asked for */
    int64_t revision;
    bool is_delete;
    bool is_create;
    struct bytes kv;     /* as stored */
    struct bytes before; /* the KeyValue of before_seq; of no length: none */
};

/* The five runs of bytes that an event is: literal, kv, literal, before. */
#define WATCH_EVENT_HEAD_BYTES_MAX 32
#define WATCH_EVENT_MID_BYTES_MAX  32
struct watch_event_parts {
    struct bytes kv, before;
    unsigned head_len, mid_len;
    uint8_t head[WATCH_EVENT_HEAD_BYTES_MAX];
    uint8_t mid[WATCH_EVENT_MID_BYTES_MAX];
};
/* The framed length from the lengths of what is stored. */
size_t watch_event_size(const struct watch_event *self, size_t kv_bytes, size_t before_bytes);
void watch_event_split(const struct watch_event *self, struct watch_event_parts *ret_parts);
/* Writes watch_event_size(self, kv.len, before.len) bytes, returns the place behind. */
uint8_t *watch_event_put(const struct watch_event *self, uint8_t *out);

/* Where the key of the change stood one revision earlier: *ret_seq 0 where it was not there, or
 * where that revision is below floor (the compacted revision of the moment that counts).
 * Fails: ERR_CORRUPT; ERR_NOT_FOUND where cleaning took what should be there. */
MUST err watch_before(const struct mvcc_view *view, const struct revlog_row *change, int64_t floor,
                      uint64_t *ret_seq, uint32_t *ret_bytes);

/* A run of changes as one watcher sees it. */
struct watch_reader {
    struct mvcc_span span; /* bytes lent as long as the reader */
    unsigned flags;        /* filters and WATCH_PREV_KV count */
    int64_t least;         /* the least revision that it may be told */
    int64_t floor;         /* of prev_kv: the compacted revision when the run was measured */
    uint64_t next, last;   /* seqs */
};
/* The next event, looking at no more than *budget changes, which it counts down. *ret_found false:
 * the budget is used up, or self->next > self->last: the end.
 * Fails: ERR_CORRUPT; ERR_NOT_FOUND where what the run was measured with has gone. */
MUST err watch_reader_next(struct watch_reader *self, const struct mvcc_view *view,
                           unsigned *budget, struct watch_event *ret_event, bool *ret_found);
