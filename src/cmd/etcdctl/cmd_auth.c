/* auth enable, disable, status. */
#include "etcdctl/auth.h"

#include <inttypes.h>

static int no_arguments(struct strings args, const char *what)
{
    if (args.count == 0)
        return CTL_OK;
    return ctl_fail(CTL_BAD_ARGS, "auth %s command does not accept any arguments", what);
}

/* Gives the user root the role of that name, which may be missing too. */
static int root_complete(struct ctl *ctl)
{
    static char root[] = "root";
    Etcdserverpb__AuthRoleAddRequest add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *error = NULL;
    add.name = root;
    grant.user = root;
    grant.role = root;
    const struct client_request request = {
        .method = &client_auth_role_add,
        .message = &add.base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    int code = ctl_try(ctl, &request, &response, &error);
    if (code && (!error ||
                 !bytes_equal(bytes_str(error), BYTES_LIT("etcdserver: role name already exists"))))
        return error ? ctl_fail(code, "%s", error) : code;
    return ctl_call(ctl, &client_auth_user_grant_role, &grant.base, &response);
}

int command_run_auth_enable(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AuthEnableRequest message = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    const struct client_request request = {
        .method = &client_auth_enable,
        .message = &message.base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    const ProtobufCMessage *response = NULL;
    const char *error = NULL;
    int code = no_arguments(args, "enable");
    if (code)
        return code;
    code = ctl_try(ctl, &request, &response, &error);
    if (code && error &&
        bytes_equal(bytes_str(error), BYTES_LIT("etcdserver: root user does not have root role"))) {
        code = root_complete(ctl);
        if (!code)
            code = ctl_request(ctl, &request, &response);
    } else if (error) {
        code = ctl_fail(code, "%s", error);
    }
    if (!code)
        (void)puts("Authentication Enabled");
    return code;
}

int command_run_auth_disable(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AuthDisableRequest request =
        ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    int code = no_arguments(args, "disable");
    if (!code)
        code = ctl_call(ctl, &client_auth_disable, &request.base, &response);
    if (!code)
        (void)puts("Authentication Disabled");
    return code;
}

int command_run_auth_status(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AuthStatusRequest request = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    int code = no_arguments(args, "status");
    if (!code)
        code = ctl_call(ctl, &client_auth_status, &request.base, &message);
    if (code)
        return code;
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, message);
    const Etcdserverpb__AuthStatusResponse *status =
        (const Etcdserverpb__AuthStatusResponse *)message;
    (void)printf("Authentication Status: %s\nAuthRevision: %" PRIu64 "\n",
                 status->enabled ? "true" : "false", status->authrevision);
    return CTL_OK;
}
