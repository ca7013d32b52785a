#include "etcdctl/cluster.h"
#include "etcdserverpb.pb-c.h"

#include <inttypes.h>

const struct flag compaction_flags[] = {
    BOOL_FLAG(struct compaction_options, physical, "physical",
              "answer only when the old revisions are gone from the store"),
    {0},
};

int command_run_compaction(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct compaction_options *options = opaque;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *why;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "compaction command needs 1 argument");
    if (!err_ok(number_parse(args.items[0], 10, &ctl->arena, &request.revision, &why)))
        return ctl_fail(CTL_ERROR, "%s", why);
    request.physical = options->physical;
    int code = ctl_call(ctl, &client_kv_compact, &request.base, &response);
    if (code)
        return code;
    (void)printf("compacted revision %" PRId64 "\n", request.revision);
    return CTL_OK;
}
