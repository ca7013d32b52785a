#include "peer/peer_metrics.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Registered once each; the list finds them again. */
static struct peer_metrics *known;

static void add(struct metric *metric, const char *name, const char *help, enum metric_kind kind,
                const char *labels)
{
    metric->name = name;
    metric->help = help;
    metric->kind = kind;
    metric->labels = labels;
    metric_register(metric);
}

static void register_snapshots(struct peer_snapshot_metrics *self, const char *const names[4],
                               const char *labels)
{
    self->seconds.bucket_start = 0.1;
    self->seconds.bucket_factor = 2;
    self->seconds.bucket_count = 10;
    add(&self->success, names[0], "Snapshots that arrived.", METRIC_COUNTER, labels);
    add(&self->failures, names[1], "Snapshots that did not arrive.", METRIC_COUNTER, labels);
    add(&self->inflights, names[2], "Snapshots on their way.", METRIC_GAUGE, labels);
    add(&self->seconds, names[3], "Time that a snapshot took.", METRIC_HISTOGRAM, labels);
}

static void register_all(struct peer_metrics *self)
{
    static const char *const out[] = {"etcd_network_snapshot_send_success",
                                      "etcd_network_snapshot_send_failures",
                                      "etcd_network_snapshot_send_inflights_total",
                                      "etcd_network_snapshot_send_total_duration_seconds"};
    static const char *const in[] = {"etcd_network_snapshot_receive_success",
                                     "etcd_network_snapshot_receive_failures",
                                     "etcd_network_snapshot_receive_inflights_total",
                                     "etcd_network_snapshot_receive_total_duration_seconds"};
    register_snapshots(&self->snapshots_out, out, self->to_label);
    register_snapshots(&self->snapshots_in, in, self->from_label);
    self->round_trip.bucket_start = 0.0001;
    self->round_trip.bucket_factor = 2;
    self->round_trip.bucket_count = 16;
    add(&self->active, "etcd_network_active_peers", "Whether messages go both ways to a peer.",
        METRIC_GAUGE, self->pair_labels);
    add(&self->disconnected, "etcd_network_disconnected_peers_total",
        "How often a peer went from active to inactive.", METRIC_COUNTER, self->pair_labels);
    add(&self->sent, "etcd_network_peer_sent_bytes_total", "Bytes of messages sent to a peer.",
        METRIC_COUNTER, self->to_label);
    add(&self->received, "etcd_network_peer_received_bytes_total",
        "Bytes of messages received from a peer.", METRIC_COUNTER, self->from_label);
    add(&self->sent_failures, "etcd_network_peer_sent_failures_total",
        "Messages to a peer that were dropped or could not be delivered.", METRIC_COUNTER,
        self->to_label);
    add(&self->received_failures, "etcd_network_peer_received_failures_total",
        "Messages and streams of a peer that could not be read.", METRIC_COUNTER, self->from_label);
    add(&self->round_trip, "etcd_network_peer_round_trip_time_seconds",
        "Time from a probe to its answer.", METRIC_HISTOGRAM, self->to_label);
}

void peer_snapshot_metrics_begin(struct peer_snapshot_metrics *self)
{
    metric_add(&self->inflights, 1);
}

void peer_snapshot_metrics_end(struct peer_snapshot_metrics *self, bool arrived, uint64_t took_ns)
{
    metric_add(&self->inflights, -1);
    metric_add(arrived ? &self->success : &self->failures, 1);
    if (arrived)
        metric_observe_ns(&self->seconds, took_ns);
}

struct peer_metrics *peer_metrics_of(uint64_t local, uint64_t remote)
{
    for (struct peer_metrics *at = known; at; at = at->next)
        if (at->local == local && at->remote == remote)
            return at;
    struct peer_metrics *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->local = local;
    self->remote = remote;
    snprintf(self->pair_labels, sizeof(self->pair_labels),
             "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"", local, remote);
    snprintf(self->to_label, sizeof(self->to_label), "To=\"%" PRIx64 "\"", remote);
    snprintf(self->from_label, sizeof(self->from_label), "From=\"%" PRIx64 "\"", remote);
    register_all(self);
    self->next = known;
    known = self;
    return self;
}
