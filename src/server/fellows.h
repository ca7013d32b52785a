/* The other members: what stands between their protocol (peer/) and the replica.
 * Thread: the core's loop.  Owns: the peers. */
#pragma once

#include "peer/peers.h"
#include "server/config.h"
#include "server/core.h"
#include "server/corruption.h"
#include "server/state_in.h"
#include "server/state_out.h"

struct fellows {
    struct io_loop *loop;
    struct core *core;
    struct replica *replica;
    struct peers *peers;
    struct corruption *corruption; /* set before the loop runs */
    struct state_out state_out;
    struct state_in *state_in;
    uint64_t member_id;
    unsigned front; /* what they ask is answered as if a front of this number had asked */
    const char **urls;
    void (*removed)(void *ctx);
    void *ctx;
};

struct fellows_config {
    const struct config *config;
    struct io_loop *loop;
    struct io_workers *workers;
    struct io_workers *bulk; /* for states that are sent and received */
    struct epoch *epoch;
    struct mvcc_pins *pins;
    const struct stage_build_config *build; /* of stores out of what is received */
    struct core *core;
    struct replica *replica;
    uint64_t member_id, cluster_id;
    unsigned front;
    /* They say that this member is removed from the cluster. */
    void (*removed)(void *ctx);
    void *ctx;
};

/* Fails: as peers_new. fellows_close is to be called whatever the outcome. */
MUST err fellows_open(struct fellows *self, const struct fellows_config *config);
/* States that are on their way end early: the bulk workers are about to be joined. */
void fellows_give_up_states(struct fellows *self);
/* After the bulk workers have ended and their jobs have come back. */
void fellows_close(struct fellows *self);
/* A MsgSnap with the state that the newest view shows. */
void fellows_send_snapshot(struct fellows *self, const struct raft_message *message);
/* What the replica answered to what they asked; borrowed for the call. */
void fellows_reply(struct fellows *self, const struct replica_replies *replies);
