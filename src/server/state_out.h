/* The state as it goes to another member: one moment, read slice by slice on a worker.
 * Thread: the core's, but for the reading. */
#pragma once

#include "base/epoch.h"
#include "mvcc/view_pin.h"
#include "peer/peers.h"

#include <pthread.h>

struct state_out {
    const struct replica *replica;
    struct epoch *epoch;
    struct epoch_slot *slot; /* for whoever reads, one at a time */
    struct mvcc_pins *pins;
    uint64_t (*now_ms)(void *ctx); /* NULL: the clock (a simulator has another) */
    void *now_ctx;
    pthread_mutex_t lock;
};

void state_out_init(struct state_out *self, const struct replica *replica, struct epoch *epoch,
                    struct mvcc_pins *pins);
/* No reading may be under way. */
void state_out_done(struct state_out *self);
/* What the newest view shows when it is opened. */
struct peer_snapshot_body state_out_body(struct state_out *self);
