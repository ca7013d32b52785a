/* Gathers what a batch replaced and gives it to the epoch in bags of bounded size, so that neither
 * retiring costs an epoch item an object nor reclaiming one object frees a million.
 *
 * Thread: the core (reclaiming too). */
#pragma once

#include "base/epoch.h"

#include <stdbool.h>

struct retire_bag;

struct retire_box {
    struct epoch *epoch;
    struct retire_bag *open;   /* of this batch, newest first */
    struct retire_bag *sealed; /* of the batch published last */
    uint64_t out;              /* bags that the epoch holds */
    void (*drop)(void *ctx, uint64_t item);
    void (*closed)(void *ctx); /* nothing of the box is left anywhere */
    void *ctx;
    bool closing;
};

void retire_init(struct retire_box *self, struct epoch *epoch,
                 void (*drop)(void *ctx, uint64_t item), void (*closed)(void *ctx), void *ctx);
/* item: what drop gets once no guard can see it. */
void retire_add(struct retire_box *self, uint64_t item);
/* Ends the batch: what was added so far is what the next flush gives away. */
void retire_seal(struct retire_box *self);
/* All that was sealed is unreachable for guards entered from now on. */
void retire_flush(struct retire_box *self);
/* No reader is left: drops what was added and calls closed once the epoch has given back the rest,
 * perhaps at once. */
void retire_close(struct retire_box *self);
