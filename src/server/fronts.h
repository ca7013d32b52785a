/* The fronts of a member, and the loops and threads they run on: beside the core on its loop, or
 * apart, each on one of its own.
 * Thread: the core's, but for what a front's own thread runs. */
#pragma once

#include "api/front.h"
#include "server/config.h"

#include <pthread.h>

#define FRONTS_MAX 8

struct fronts {
    struct io_loop *loops[FRONTS_MAX]; /* the core's where they share it */
    pthread_t threads[FRONTS_MAX];
    struct front *items[FRONTS_MAX];
    struct front_inbox *inboxes[FRONTS_MAX];
    unsigned count;
    bool apart;
    bool running;
    const char **cors, **hosts;
};

/* What all of them share; borrowed until fronts_free. */
struct fronts_config {
    const struct config *config;
    struct io_loop *loop; /* the core's */
    struct epoch *epoch;
    struct epoch_slot *epoch_slot; /* of the core's loop */
    const struct replica *replica;
    struct mvcc_pins *pins;
    struct core_inbox *core;
    struct request_ids *ids;
    struct io_workers *workers;
    uint64_t cluster_id, member_id;
    uint64_t seed;
};

/* Chooses how many there will be, and where. */
void fronts_init(struct fronts *self);
/* Fails: ERR_LIMIT. */
MUST err fronts_open(struct fronts *self, const struct fronts_config *config);
/* Starts the threads. Fails: ERR_LIMIT. */
MUST err fronts_start(struct fronts *self);
/* Hands a socket to the emptiest. */
void fronts_accept(struct fronts *self, int fd, enum front_kind kind);
void fronts_wake(struct fronts *self);
void fronts_view_changed(struct fronts *self, const struct replica_view *view);
/* On each one's own thread. */
void fronts_tell(struct fronts *self, void (*what)(struct front *front));
/* No connection is open. */
bool fronts_idle(const struct fronts *self);

/* In this order: streams end and threads are joined; connections close; memory goes, once replica
 * and log have let go of the last entry; and the loops, once nothing is posted to them any more. */
void fronts_stop(struct fronts *self);
void fronts_close(struct fronts *self);
void fronts_free(struct fronts *self);
void fronts_loops_free(struct fronts *self);
