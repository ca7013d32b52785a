/* The C client of an etcd cluster: several endpoints behind one object, unary calls, answers in
 * pieces and streams, with deadlines, over gRPC. Streams that outlive a member: client/watch.h,
 * client/keepalive.h.
 *
 * Which server a call goes to
 * - Connections are made when a call needs one (or at once and for good: `eager`). Calls take
 *   the connected endpoints in turn; the first is a random one.
 * - While none is connected, the next endpoint is tried after 250 ms beside the one that is being
 *   connected, so that a dead host costs little. One that failed is left alone for 100 ms,
 *   growing to 10 s.
 * - A call may name one endpoint (Status, HashKV); it goes there or nowhere.
 *
 * What is tried again, within the call's deadline and at most 100 times, 25 ms apart
 * - Everything, while there is no connection: such a call waits for one.
 * - Everything that its server has surely not looked at (refused streams, GOAWAY).
 * - Reads that end Unavailable. Never writes: they might happen twice.
 *
 * Errors keep the server's status and text as they came. `local` marks what was found here: the
 * deadline has passed, or a message is too long.
 *
 * Not there yet: TLS, users.
 *
 * Thread: that of its loop.  Owns: its connections and calls; the loop is the caller's.
 * Source: etcd's interface, what its own client retries (contract: grpc). */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "io/loop.h"
#include "rpc/grpc.h"

#include <protobuf-c/protobuf-c.h>

struct client;
struct client_call;

#define CLIENT_NO_TIMEOUT   UINT64_MAX
#define CLIENT_ANY_ENDPOINT (-1)

struct client_config {
    const char *const *endpoints;
    unsigned endpoint_count;
    const char *user_agent;   /* NULL: none */
    uint64_t dial_timeout_ms; /* for lookup, connecting and the server's first frame; 0: 2 s */
    uint64_t
        keepalive_time_ms; /* PING after so long without input while calls are open; 0: never */
    uint64_t keepalive_timeout_ms; /* then the connection is given up; 0: 6 s */
    size_t send_bytes_max;         /* 0: 2 MiB */
    size_t receive_bytes_max;      /* 0: 2^31 - 1 */
    bool eager;
};

/* Fails: ERR_USAGE no endpoint at all; ERR_UNSUPPORTED an https or unixs endpoint; ERR_SYNTAX
 * where no endpoint can be understood. One bad endpoint among good ones is never connected. */
MUST err client_new(struct io_loop *loop, const struct client_config *config,
                    struct client **ret_client);
/* Ends open calls Canceled. Waits for name lookups that are under way. Not from inside a
 * callback. NULL is legal. */
void client_free(struct client *self);
/* Names are being looked up: client_free would wait for them. */
bool client_looking_up(const struct client *self);
unsigned client_endpoint_count(const struct client *self);
/* As it was given. */
const char *client_endpoint(const struct client *self, unsigned index);
/* Why the endpoint was last not reachable, in Go's words ("dial tcp 127.0.0.1:1: connect:
 * connection refused"); "" where it was not tried or is connected. */
const char *client_endpoint_failure(const struct client *self, unsigned index);

/* One RPC of the schema. */
struct client_method {
    const char *path;
    const ProtobufCMessageDescriptor *response;
    bool read; /* changes nothing: may be repeated */
};

#define X(name, path, response, read) extern const struct client_method client_##name;
#include "client/method_table.h"
#undef X

struct client_result {
    enum grpc_status status;
    bool local;                       /* found here, not said by a server */
    struct bytes text;                /* of the status */
    const ProtobufCMessage *response; /* the last message; NULL where status is not GRPC_OK */
    unsigned endpoint;                /* who answered; for what never left: 0 */
    struct bytes detail;              /* local: the last reason of a connection's failure */
};

struct client_request {
    const struct client_method *method;
    const ProtobufCMessage *message; /* encoded before client_call_start returns */
    uint64_t timeout_ms;             /* for the call with all its retries; CLIENT_NO_TIMEOUT */
    uint64_t delay_ms;               /* goes to no server before so long */
    int endpoint;                    /* its index, or CLIENT_ANY_ENDPOINT */
    bool read;                       /* this very message changes nothing (a txn of reads) */
    bool has_leader;                 /* refuse at a member that sees no leader */
    struct arena *arena;             /* response and texts live there, results' too */
    /* Server streams: each message, in order. Once one has come nothing is repeated. */
    void (*piece)(void *ctx, const ProtobufCMessage *message);
    bool pieces_pass; /* each lives for its event alone: a stream of any size */
    /* A stream to which this end writes too, from this event on, with client_call_send; message is
     * NULL. Its pieces live for their event alone. It belongs to one connection and ends with it:
     * nothing is repeated. */
    void (*opened)(void *ctx);
    /* Exactly once, last, later than client_call_start. The call dies with it. */
    void (*done)(void *ctx, const struct client_result *result);
    void *ctx;
};

struct client_call *client_call_start(struct client *self, const struct client_request *request);
/* Only from `opened` until `done`. A message that is too long is a bug of the caller's. */
void client_call_send(struct client_call *self, const ProtobufCMessage *message);
/* Likewise. No piece until it is resumed; what has come meanwhile waits, then its server does. */
void client_call_pause(struct client_call *self);
void client_call_resume(struct client_call *self);
/* done (Canceled, local) comes later. */
void client_call_cancel(struct client_call *self);
/* Runs the loop until the call is done; done may be NULL here. Not from inside a callback. */
struct client_result client_call_wait(struct client *self, const struct client_request *request);

/* Whether etcd's clients know the text as a named error: such are shown without their code. */
bool client_error_known(struct bytes text);
