#include "etcdctl/cluster.h"
#include "etcdctl/v2.h"

const struct flag cluster_health_flags[] = {
    {"forever", 'f', FLAG_BOOL, "false", offsetof(struct health_v2_options, forever),
     "check again every 10 seconds"},
    {0},
};

int command_run_cluster_health(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct health_v2_options *options = opaque;
    struct v2 v2 = {
        .endpoints = ctl->options.endpoints,
        .timeout_ms = (uint64_t)ctl->options.dial_timeout_ns / 1000000 + 1,
        .total_timeout_ms = UINT32_MAX,
        .arena = &ctl->arena,
    };
    return v2_cluster_health(&v2, options->forever);
}
