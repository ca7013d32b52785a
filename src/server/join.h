/* What a member asks of a cluster before it has a log: who belongs to it, whether it fits in.
 * Each question runs a loop until it is answered: not the member's, whose listeners are open
 * already though nobody is there yet to take what they accept.
 *
 *     existing   /members of those that --initial-cluster names ─> the same members? ─> ids
 *                /version, /downgrade/enabled of each ──────────> does our version fit?
 *     new        /members of the others ─────────────────────────> have we been there before?
 *
 * Thread: the starting one.  Source: etcd's interface, "Version negotiation", start-up refusals. */
#pragma once

#include "io/loop.h"
#include "io/worker.h"
#include "peer/fetch.h"
#include "server/cluster_list.h"
#include "server/config.h"
#include "state/members.h"

/* Who answers where there is no network (a simulator). What is asked for: as peer/fetch.h has it;
 * *ret_members: of PEER_FETCH_MEMBERS, the caller's. Fails: ERR_UNREACHABLE. */
struct join_wire {
    err (*ask)(void *ctx, enum peer_fetch_what what, struct text_list urls,
               struct peer_fetch_result *ret_result, struct membership **ret_members);
    void *ctx;
};

struct join {
    const struct join_wire *wire; /* NULL: the next two, */
    struct io_loop *loop;
    struct io_workers *workers;
    struct arena *arena; /* of reasons */
    const struct config *config;
    const struct cluster_list *list; /* --initial-cluster */
};

/* Our id and the cluster's, and its members (the caller's).
 * Fails: ERR_UNREACHABLE nobody answers; ERR_MISMATCH they are others, or run what does not fit;
 * ERR_EXISTS we were started before, and what we promised then is lost; *ret_reason in the
 * arena. */
MUST err join_existing(const struct join *self, struct membership **ret_members,
                       uint64_t *ret_member_id, uint64_t *ret_cluster_id, const char **ret_reason);
/* A new cluster's members: not of a member that has been started before and lost its disk.
 * Fails: ERR_EXISTS. */
MUST err join_check_new(const struct join *self, uint64_t member_id, const char **ret_reason);
