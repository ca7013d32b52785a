#include "etcdutl/etcdutl.h"

int etcdutl_run_version(struct ctl *ctl, const void *options, struct strings args)
{
    (void)puts("etcdutl version: " ETCD_VERSION);
    (void)puts("API version: " ETCD_API_VERSION);
    return CTL_OK;
}
