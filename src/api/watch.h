/* The Watch service: clients' streams, at gRPC and at the gateway, and what a front needs to
 * serve them.
 *
 *     WatchRequest ─> watch_serve ─> hub (mvcc/watch.h) ─ deliveries ─> WatchResponse
 *
 * A stream holds at most the bytes that a call may have unsent (256 KiB) and one response more;
 * then its watchers wait in the hub without any. Requests of a stream that does not take its
 * answers are not read. A stream ends only with Unavailable, which makes clients begin again.
 *
 * Thread: the front's.  Source: etcd's interface, "Watch". */
#pragma once

#include "api/front_internal.h"

struct watch_front *watch_front_new(struct front *front);
/* After all requests of the front are gone. NULL is legal. */
void watch_front_free(struct watch_front *self);
/* New views matter from now on, until there are no streams of watchers or of those that want a
 * leader. */
void watch_front_want_views(struct watch_front *self);

void watch_serve(struct request *request, const ProtobufCMessage *message);
