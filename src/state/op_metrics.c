#include "state/op_metrics.h"

#define COUNTER(field, name_, help_) \
    struct metric field = {.name = name_, .help = help_, .kind = METRIC_COUNTER}
COUNTER(op_ranges, "etcd_mvcc_range_total", "Ranges read by this member.");
COUNTER(op_puts, "etcd_mvcc_put_total", "Keys put at this member.");
COUNTER(op_deletes, "etcd_mvcc_delete_total", "Deletions applied by this member.");
COUNTER(op_txns, "etcd_mvcc_txn_total", "Transactions of more than one operation.");
struct metric op_put_bytes = {.name = "etcd_debugging_mvcc_total_put_size_in_bytes",
                              .help = "Bytes of keys and values put at this member.",
                              .kind = METRIC_GAUGE};

void op_metrics_register(void)
{
    struct metric *all[] = {&op_ranges, &op_puts, &op_deletes, &op_txns, &op_put_bytes};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        metric_register(all[i]);
}

static uint64_t count_ops(const struct state_op *op)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < op->child_count; i++)
        count += op->children[i].kind == STATE_TXN ? count_ops(&op->children[i]) : 1;
    return count;
}

void op_count_txn(const struct state_op *op)
{
    if (count_ops(op) > 1)
        metric_add(&op_txns, 1);
}
