/* The numbers of etcd_network_* for one peer. They live as long as the process, like every
 * metric: a peer that comes back finds its own. Thread: made by the core's, updated there. */
#pragma once

#include "base/metrics.h"

struct peer_metrics {
    struct metric active;       /* Local, Remote */
    struct metric disconnected; /* Local, Remote */
    struct metric sent;         /* To */
    struct metric received;     /* From */
    struct metric sent_failures;
    struct metric received_failures;
    struct metric round_trip; /* To */
    struct peer_snapshot_metrics {
        struct metric success, failures, inflights, seconds;
    } snapshots_out /* To */, snapshots_in /* From */;
    uint64_t local, remote;
    char pair_labels[64];
    char to_label[32];
    char from_label[32];
    struct peer_metrics *next;
};

void peer_snapshot_metrics_begin(struct peer_snapshot_metrics *self);
void peer_snapshot_metrics_end(struct peer_snapshot_metrics *self, bool arrived, uint64_t took_ns);

struct peer_metrics *peer_metrics_of(uint64_t local, uint64_t remote);
