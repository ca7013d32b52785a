/* Watches that outlive the members that serve them: many on one stream, each taken up again at
 * the first revision that it has not told when the stream's member dies.
 *
 *     client_watch_start ─> WAITING ─stream opened─> CREATING ─created─> LIVE ─canceled─> over
 *                              ▲                         │                 │
 *                              └────── the stream ended ─┴─────────────────┘
 *
 * Rules
 * 1. Requests are answered in their order, so the first of CREATING is who a `created` is for.
 * 2. `next` is the first revision of which nothing was told; a change of revision r lets it be
 *    r + 1, so do an answer without events and (of a watch from now on) the creation. What is
 *    taken up again begins there: no event is left out and none told twice, since a server sends
 *    a revision's events in one answer where it was not asked for fragments.
 * 3. Ends for good: canceled by the server (a revision that is compacted, a key that may not be
 *    read), or a stream that ended with what another member would say too. What ends Unavailable,
 *    Internal, or by the server's own will is begun anew, 25 ms later and then ever more slowly to
 *    1 s, for as long as it takes.
 *
 * Thread: the client's loop.  Owns: its watches. Freed before its client.
 * Source: etcd's interface (contract: grpc, services), what its own client takes up again. */
#pragma once

#include "client/client.h"
#include "etcdserverpb.pb-c.h"

struct client_watch_stream;
struct client_watch;

/* has_leader: a member that sees no leader ends the watches ("etcdserver: no leader"). */
struct client_watch_stream *client_watch_stream_new(struct client *client, bool has_leader);
/* Its watches are not told. NULL is legal. Not from inside an event. */
void client_watch_stream_free(struct client_watch_stream *self);
/* Asks how far all has been told: each live watch gets an answer without events. Where the stream
 * is just being opened, once it is. */
void client_watch_stream_progress(struct client_watch_stream *self);

/* Nothing is told until it is resumed; then the servers wait too. */
void client_watch_stream_pause(struct client_watch_stream *self);
void client_watch_stream_resume(struct client_watch_stream *self);

struct client_watch_request {
    struct bytes key, range_end; /* copied */
    int64_t start_revision;      /* 0: from now on */
    bool prev_kv;
    bool progress_notify;
    /* Events, progress (no events), and last of all the cancellation, where the server sent one.
     * The answer lives for this event. */
    void (*told)(void *ctx, const Etcdserverpb__WatchResponse *response);
    /* Watching has begun for the first time, at this revision; NULL: not told. */
    void (*created)(void *ctx, int64_t revision);
    /* Exactly once, last, unless cancelled or freed before; the watch dies with it. result is NULL
     * where a cancellation was told, else why the stream ended; it lives for this event. */
    void (*ended)(void *ctx, const struct client_result *result);
    void *ctx;
};

struct client_watch *client_watch_start(struct client_watch_stream *self,
                                        const struct client_watch_request *request);
/* No further event. Not after `ended`; in an event of a watch only of this watch. */
void client_watch_cancel(struct client_watch *self);
