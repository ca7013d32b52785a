#include "etcdctl/cluster.h"

int command_run_version(struct ctl *ctl, const void *options, struct strings args)
{
    (void)puts("etcdctl version: " ETCD_VERSION);
    (void)puts("API version: " ETCD_API_VERSION);
    return CTL_OK;
}
