#include "etcdctl/cluster.h"
#include "etcdctl/print.h"

#include <inttypes.h>

/* The endpoint that leads; none: CTL_BAD_ARGS. */
static int leader_find(struct ctl *ctl, unsigned *ret_index, uint64_t *ret_leader)
{
    static const Etcdserverpb__StatusRequest message = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const char *all = "";
    int code = ctl_client(ctl);
    if (code)
        return code;
    for (unsigned i = 0; i < client_endpoint_count(ctl->client); i++) {
        const struct client_request request = {
            .method = &client_maintenance_status,
            .message = &message.base,
            .timeout_ms = ctl_timeout_ms(ctl),
            .endpoint = (int)i,
        };
        const ProtobufCMessage *response = NULL;
        code = ctl_request(ctl, &request, &response);
        if (code)
            return code;
        const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)response;
        if (status->header && status->header->member_id == status->leader) {
            *ret_index = i;
            *ret_leader = status->leader;
            return CTL_OK;
        }
        all =
            arena_printf(&ctl->arena, "%s%s%s", all, i ? " " : "", client_endpoint(ctl->client, i));
    }
    return ctl_fail(CTL_BAD_ARGS, "no leader endpoint given at [%s]", all);
}

int command_run_move_leader(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__MoveLeaderRequest message = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *why;
    unsigned index = 0;
    uint64_t leader = 0;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "move-leader command needs 1 argument");
    if (!err_ok(number_parse_unsigned(args.items[0], 16, &ctl->arena, &message.targetid, &why)))
        return ctl_fail(CTL_BAD_ARGS, "%s", why);
    int code = leader_find(ctl, &index, &leader);
    if (code)
        return code;
    const struct client_request request = {
        .method = &client_maintenance_move_leader,
        .message = &message.base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = (int)index,
    };
    code = ctl_request(ctl, &request, &response);
    if (code)
        return code;
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, response);
    (void)printf("Leadership transferred from %" PRIx64 " to %" PRIx64 "\n", leader,
                 message.targetid);
    return CTL_OK;
}
