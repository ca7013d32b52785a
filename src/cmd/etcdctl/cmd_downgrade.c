/* downgrade validate, enable, cancel. */
#include "etcdctl/cluster.h"
#include "etcdctl/print.h"

static int downgrade(struct ctl *ctl, Etcdserverpb__DowngradeRequest__DowngradeAction action,
                     const char *version, const char *what)
{
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    request.action = action;
    request.version = arena_copy_str(&ctl->arena, bytes_str(version));
    int code = ctl_call(ctl, &client_maintenance_downgrade, &request.base, &response);
    if (code)
        return code;
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, response);
    (void)printf("Downgrade %s success, cluster version %s\n", what,
                 ((const Etcdserverpb__DowngradeResponse *)response)->version);
    return CTL_OK;
}

static int version_check(struct strings args)
{
    if (args.count == 0)
        return ctl_fail(CTL_BAD_ARGS, "TARGET_VERSION not provided");
    return args.count == 1 ? CTL_OK : ctl_fail(CTL_BAD_ARGS, "too many arguments");
}

int command_run_downgrade_validate(struct ctl *ctl, const void *options, struct strings args)
{
    int code = version_check(args);
    return code ? code
                : downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE,
                            args.items[0], "validate");
}

int command_run_downgrade_enable(struct ctl *ctl, const void *options, struct strings args)
{
    int code = version_check(args);
    return code ? code
                : downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE,
                            args.items[0], "enable");
}

int command_run_downgrade_cancel(struct ctl *ctl, const void *options, struct strings args)
{
    return downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL, "", "cancel");
}
