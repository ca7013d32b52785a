/* Watching from within the front: a request that waits until something happens to keys, as the
 * services for locks and elections do.
 *
 *     watch_tell ──> told(event)… ── returns true ─> told of the next one
 *                                 └─ returns false ─> the tale is over, its memory free
 *
 * Events come in order, each once, from `revision` on, also when that lies in the past. None is
 * said from inside watch_tell. One tale a request at a time; it ends with the request by itself.
 * Thread: the front's.  Owns: a copy of the range. */
#pragma once

#include "api/front_internal.h"
#include "mvcc/watch.h"

struct watch_tale;

struct watch_tale_spec {
    struct bytes key, range_end; /* as in a request */
    int64_t revision;            /* the first that counts; 0: what comes next */
    unsigned flags;              /* WATCH_NO_PUT, WATCH_NO_DELETE, WATCH_PREV_KV */
};

/* event: valid during the call. NULL: the tale is over with `why` (ERR_COMPACTED: what was to be
 * told has been compacted away; ERR_CORRUPT); what is returned then does not count.
 * The request may be answered or failed in it, and then false must be returned. */
typedef bool watch_told(struct request *request, const struct watch_event *event, err why);

/* Fails: as watch_create. */
MUST err watch_tell(struct request *request, const struct watch_tale_spec *spec, watch_told *told);
/* Nothing more is told; legal where nothing was asked for, not from inside `told`. */
void watch_tell_stop(struct request *request);
