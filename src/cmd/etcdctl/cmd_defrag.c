/* defrag: one endpoint after the other, since a member may stop serving while it is at it. */
#include "etcdctl/endpoint.h"

#include "base/clock.h"
#include "base/duration.h"

const struct flag defrag_flags[] = {
    BOOL_FLAG(struct endpoint_options, cluster, "cluster",
              "every endpoint that the cluster's members advertise"),
    {0},
};

static bool defrag(struct ctl *ctl, unsigned index)
{
    static const Etcdserverpb__DefragmentRequest message = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    const struct client_request request = {
        .method = &client_maintenance_defragment,
        .message = &message.base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = (int)index,
    };
    const ProtobufCMessage *response = NULL;
    const char *endpoint = client_endpoint(ctl->client, index), *error = "";
    char took[DURATION_TEXT_MAX];
    uint64_t begun_ns = clock_mono_ns();
    int code = ctl_try(ctl, &request, &response, &error);
    (void)duration_text((int64_t)(clock_mono_ns() - begun_ns), took);
    if (code)
        (void)fprintf(stderr, "Failed to defragment etcd member[%s]. took %s. (%s)\n", endpoint,
                      took, error);
    else
        (void)printf("Finished defragmenting etcd member[%s]. took %s\n", endpoint, took);
    (void)fflush(stdout);
    return code == CTL_OK;
}

int command_run_defrag(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct endpoint_options *options = opaque;
    struct strings endpoints;
    unsigned failures = 0;
    int code = endpoint_list(ctl, options, &endpoints);
    if (!code)
        code = ctl_connect(ctl, endpoints);
    if (code)
        return code;
    for (unsigned i = 0; i < endpoints.count; i++)
        failures += !defrag(ctl, i);
    return failures ? CTL_ERROR : CTL_OK;
}
