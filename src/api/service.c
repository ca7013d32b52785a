/* Which method a path names. */
#include "api/cluster.h"
#include "api/election.h"
#include "api/front_internal.h"
#include "api/kv.h"
#include "api/lease.h"
#include "api/lock.h"
#include "api/watch.h"
#include "etcdserverpb.pb-c.h"
#include "health.pb-c.h"
#include "v3electionpb.pb-c.h"
#include "v3lockpb.pb-c.h"

const struct method methods[] = {
#define M(service_, name_, input_, output_, run_, gateway_, client_, server_, keeps_, learner_) \
    {.service = service_,                                                                       \
     .name = name_,                                                                             \
     .input = &input_##__descriptor,                                                            \
     .output = &output_##__descriptor,                                                          \
     .client_streams = client_,                                                                 \
     .server_streams = server_,                                                                 \
     .keeps = keeps_,                                                                           \
     .on_learner = learner_,                                                                    \
     .run = run_,                                                                               \
     .gateway = gateway_},
#include "api/methods_table.h"
#undef M
};
const unsigned method_count = sizeof(methods) / sizeof(methods[0]);

const struct method *method_find(struct bytes service, struct bytes name, bool *ret_service_known)
{
    *ret_service_known = false;
    for (unsigned i = 0; i < method_count; i++) {
        if (!bytes_equal(service, bytes_str(methods[i].service)))
            continue;
        *ret_service_known = true;
        if (bytes_equal(name, bytes_str(methods[i].name)))
            return &methods[i];
    }
    return NULL;
}

/* What a path was called at first is answered as well. */
static struct bytes newest_path(struct bytes path)
{
    static const char *const paths[][2] = {
        {"/v3/kv/lease/revoke", "/v3/lease/revoke"},
        {"/v3/kv/lease/timetolive", "/v3/lease/timetolive"},
        {"/v3/kv/lease/leases", "/v3/lease/leases"},
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (bytes_equal(path, bytes_str(paths[i][0])))
            return bytes_str(paths[i][1]);
    return path;
}

const struct method *method_find_gateway(struct bytes path)
{
    path = newest_path(path);
    for (unsigned i = 0; i < method_count; i++)
        if (methods[i].gateway && bytes_equal(path, bytes_str(methods[i].gateway)))
            return &methods[i];
    return NULL;
}
