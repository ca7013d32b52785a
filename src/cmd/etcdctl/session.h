/* What a command holds by a lease that is kept alive: a lock, a leadership. Everyone who wants it
 * puts a key below its name, NAME/LEASE; the one whose key was created first has it, and each of
 * the others waits for the key right before its own to go.
 *
 * All calls run the loop until they are done. SIGINT and SIGTERM interrupt them ("context
 * canceled"), and so does the loss of the lease where it matters.
 * What returns int returns an exit code; it has said its error.
 * Thread: one at a time.  Owns: lease, keepalive, watches.
 * Source: etcd's interface, how its clients lock and elect. */
#pragma once

#include "client/keepalive.h"
#include "client/watch.h"
#include "etcdctl/print.h"

struct session {
    struct ctl *ctl;
    int64_t lease; /* 0: none */
    struct client_keepalive *keepalive;
    struct client_watch_stream *watches;
    bool lost, interrupted;
    bool quiet; /* an interruption is what its user waits for: no word of it */
};

/* ttl_s 0: without a lease, to look on. */
int session_begin(struct session *self, struct ctl *ctl, int64_t ttl_s);
/* Ends the lease, and with it the key. */
void session_end(struct session *self);

int session_call(struct session *self, const struct client_method *method,
                 const ProtobufCMessage *message, const ProtobufCMessage **ret_response);
/* The keys of [key, range_end); range_end may be empty. */
int session_range(struct session *self, const Etcdserverpb__RangeRequest *request,
                  const Etcdserverpb__RangeResponse **ret_response);
/* The key that was created first below NAME/, alone, if there is any. */
int session_first(struct session *self, const char *name,
                  const Etcdserverpb__RangeResponse **ret_response);

struct session_turn {
    const char *key;  /* NAME/LEASE; ctl's arena */
    int64_t created;  /* its revision */
    int64_t revision; /* at which it was seen to be first */
};

/* Queues up with value, and waits for the turn. */
int session_take_turn(struct session *self, const char *name, const char *value,
                      struct session_turn *ret_turn);
/* Deletes the key, unless another has taken its place. */
int session_give_up(struct session *self, const struct session_turn *turn);

/* Watches [key, range_end) from a revision on until event says true. */
int session_watch(struct session *self, struct bytes key, struct bytes range_end, int64_t revision,
                  bool (*event)(void *ctx, const Etcdserverpb__WatchResponse *response,
                                const Mvccpb__Event *event),
                  void *ctx);
/* Until the lease is lost or a signal comes. */
void session_wait(struct session *self);
