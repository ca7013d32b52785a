/* What the member says of itself on /metrics: leadership, proposals, revisions, sizes.
 * Thread: updated where metrics are collected, by a view under that thread's guard.
 * Source: etcd's interface, metrics. */
#pragma once

#include "mvcc/view_pin.h"
#include "replica/replica.h"
#include "server/config.h"

/* Registers; replica and pins outlive all collecting. */
void member_metrics_init(const struct config *config, const struct replica *replica,
                         const struct mvcc_pins *pins, uint64_t member_id);
void member_metrics_slow_apply(void);
/* Another view's alarms. Thread: the core's. */
void member_metrics_alarms(const struct alarms *alarms);
