/* Questions to a cluster before one belongs to it: who are its members, which version do they
 * run. Needs no identity and no struct peers.
 *
 *     peer_fetch_start ── URL after URL, each with a deadline ──> done, once
 *
 * Thread: the loop's.  Owns: its connections; itself until `done` has returned. */
#pragma once

#include "io/loop.h"
#include "io/worker.h"
#include "state/members.h"

enum peer_fetch_what {
    PEER_FETCH_MEMBERS,   /* GET /members */
    PEER_FETCH_VERSION,   /* GET /version */
    PEER_FETCH_DOWNGRADE, /* GET /downgrade/enabled */
};

struct peer_fetch_result {
    uint64_t cluster_id;          /* members: of X-Etcd-Cluster-ID */
    const struct member *members; /* ascending id */
    size_t member_count;
    uint64_t applied_index;   /* members: as of which entry; 0: not said, as etcd does not */
    char server_version[32];  /* version: "3.7.1" */
    char cluster_version[32]; /* "3.7.0" or "not_decided" */
    bool downgrading;
    const char *url; /* who answered */
};

struct peer_fetch_config {
    struct io_loop *loop;
    struct io_workers *workers;
    enum peer_fetch_what what;
    const char *const *urls; /* asked in this order; copied */
    size_t url_count;
    uint64_t timeout_ms; /* of each URL; etcd: 1 s + election timeout */
    /* Called once, later, from the loop. The result is valid during the call.
     * OK; ERR_UNREACHABLE nobody answered; ERR_SYNTAX, ERR_MISMATCH, ERR_UNSUPPORTED (https): what
     * the last one did, if all answered wrongly. */
    void (*done)(void *ctx, err error, const struct peer_fetch_result *result);
    void *ctx;
};

#define PEER_FETCH_URLS_MAX 512

struct peer_fetch;

/* Fails: ERR_LIMIT too many URLs; ERR_USAGE none. */
MUST err peer_fetch_start(const struct peer_fetch_config *config, struct peer_fetch **ret_fetch);
/* Gives it up: no `done`. Not from within done. NULL is legal. */
void peer_fetch_cancel(struct peer_fetch *self);

/* The answer to GET /members: an array of members, whatever their order.
 * Fails: ERR_SYNTAX; ERR_LIMIT more than MEMBERS_MAX. */
MUST err peer_members_parse(struct bytes json, struct arena *arena, const struct member **ret_items,
                            size_t *ret_count);
/* The answer to GET /version. Texts longer than their room: ERR_LIMIT. Fails: ERR_SYNTAX. */
MUST err peer_version_parse(struct bytes json, struct peer_fetch_result *ret_result);
