/* The front: clients' connections of one loop, their calls, reads, and the way of writes to the
 * core and back.
 *
 *     accept ─> client_conn ─ bytes ─> rpc ─ call ─> request ─┬─ read: barrier? ─> view ─> answer
 *                                                             ├─ write: propose ─> reply ─> answer
 *                                                             └─ page: view ─> text
 *
 * Credits, not full queues: a request takes count and bytes when it is admitted and gives them
 * back when its answer is written or dropped; cancelling frees nothing early. Out of its own
 * credit a connection is not read; out of the front's, new calls wait undecoded in their windows.
 *
 * Stages of a pass, by order: what the core sent (40), watchers (50), clients' bytes and long reads
 * until 1 ms is spent (60), one write a connection and one batch to the core (90).
 * Thread: the loop's, but for what the inbox receives. Owns: connections, requests. */
#pragma once

#include "api/link.h"
#include "io/address.h"
#include "io/worker.h"

enum {
    FRONT_STAGE_REPLIES = 40,
    FRONT_STAGE_WATCH = 50,
    FRONT_STAGE_CLIENTS = 60,
    FRONT_STAGE_OUTPUT = 90
};

/* What a listener serves. */
enum front_kind {
    FRONT_CLIENTS, /* everything */
    FRONT_METRICS, /* metrics and health alone */
};

struct front;

/* A unary call that took longer than warning_unary_ns, from its head to its answer. */
struct front_slow_call {
    const char *service, *method;
    const struct io_address *remote; /* NULL: gone */
    uint64_t took_ns;
    size_t request_bytes;
    unsigned code; /* gRPC's */
};

struct front_config {
    unsigned index; /* in tokens */
    struct io_loop *loop;
    struct epoch *epoch;
    struct epoch_slot *epoch_slot; /* the loop's; shared by all roles of one loop */
    const struct replica *replica; /* for views */
    struct mvcc_pins *pins;
    struct core_inbox *core;
    struct request_ids *ids;
    uint64_t cluster_id, member_id;
    uint64_t max_request_bytes;
    uint64_t max_txn_ops;
    uint32_t max_concurrent_streams;
    uint64_t keepalive_min_ms, keepalive_interval_ms, keepalive_timeout_ms;
    uint64_t election_timeout_ms;
    uint64_t warning_unary_ns; /* slower unary calls are told of; 0: none */
    void (*slow)(const struct front_slow_call *call);
    /* A snapshot's first bytes are about to be sent; version of the storage, "" where unknown. */
    void (*snapshot)(uint64_t bytes, const char *version);
    struct io_workers *workers; /* for what reads long */
    int64_t quota_bytes;        /* shown by Status */
    uint64_t watch_progress_ms; /* between two timed progress reports */
    uint64_t seed;              /* of hashes over what clients choose; secret */
    bool gateway;
    bool enable_v2;                    /* serve /v2/keys */
    const char *const *cors;           /* NULL-terminated; "*" allows all */
    const char *const *host_whitelist; /* the same */
};

/* Fails: ERR_LIMIT. */
MUST err front_new(const struct front_config *config, struct front **ret_front);
/* Closes all connections, gives up all requests and hands back what is the core's, which takes it
 * before it is freed. NULL is legal. */
void front_close(struct front *self);
/* After front_close, and after replica and log have let go of the last entry. NULL is legal. */
void front_free(struct front *self);
struct front_inbox *front_inbox(struct front *self);

/* Takes the descriptor. Thread: the front's. */
void front_accept(struct front *self, int fd, enum front_kind kind);
/* Connections open, for whoever hands sockets to the emptiest front. Thread: any. */
unsigned front_conn_count(const struct front *self);
/* A new view is there: wakes the front's loop if its watchers may want it. Thread: the core's. */
void front_view_changed(struct front *self, const struct replica_view *view);
/* GOAWAY to all; calls in flight go on. */
void front_shutdown(struct front *self);
/* Ends every open stream with Unavailable `server stopped`, so that watches and the like resume
 * elsewhere. */
void front_end_streams(struct front *self);
