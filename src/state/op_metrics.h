/* How many operations ran: on the core's thread those that were applied, on fronts those that only
 * read.
 * Thread: any.  Source: etcd's interface, metrics. */
#pragma once

#include "base/metrics.h"
#include "state/state.h"

extern struct metric op_ranges, op_puts, op_deletes, op_txns, op_put_bytes;

/* Once, before threads start. */
void op_metrics_register(void);
static inline void op_count_put(size_t key_bytes, size_t value_bytes)
{
    metric_add(&op_puts, 1);
    metric_add(&op_put_bytes, (int64_t)(key_bytes + value_bytes));
}
/* A transaction that did so: counted where it is more than one operation. */
void op_count_txn(const struct state_op *op);

struct state;
/* Of the entry done last: how long it took. Thread: the core's. */
void state_metrics_applied(const struct state *state, uint64_t took_ns);
