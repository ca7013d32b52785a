/* user add, delete, get, list, passwd, grant-role, revoke-role. */
#include "etcdctl/auth.h"

#include <string.h>

const struct flag user_add_flags[] = {
    {"interactive", 0, FLAG_BOOL, "true", offsetof(struct user_add_options, interactive),
     "prompt for the password; else it is the first word on stdin"},
    STRING_FLAG(struct user_add_options, password, "new-user-password", "", "the password"),
    BOOL_FLAG(struct user_add_options, no_password, "no-password",
              "a user without password, who signs in by certificate alone"),
    {0},
};
const struct flag user_get_flags[] = {
    BOOL_FLAG(struct user_get_options, detail, "detail", "with what each of the roles may do"),
    {0},
};
const struct flag user_passwd_flags[] = {
    {"interactive", 0, FLAG_BOOL, "true", offsetof(struct user_passwd_options, interactive),
     "prompt for the password; else it is the first word on stdin"},
    {0},
};

int auth_ask(struct ctl *ctl, const struct client_method *method, const ProtobufCMessage *message,
             const ProtobufCMessage **ret_response)
{
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    return ctl_request(ctl, &request, ret_response);
}

static char *text(struct ctl *ctl, const char *what)
{
    return arena_copy_str(&ctl->arena, bytes_str(what));
}

/* ---- add and passwd --------------------------------------------------------------------- */

/* "name" or "name:password", and where else the password may come from. */
static int user_take(struct ctl *ctl, const struct user_add_options *options, const char *arg,
                     const char **ret_name, const char **ret_password)
{
    const char *colon = strchr(arg, ':');
    *ret_name = arg;
    *ret_password = options->password;
    if (options->no_password)
        *ret_password = "";
    if (options->no_password || options->password[0])
        return CTL_OK;
    if (colon) {
        *ret_name = arena_copy_str(&ctl->arena, bytes_of(arg, (size_t)(colon - arg)));
        *ret_password = colon + 1;
        return colon > arg ? CTL_OK : ctl_fail(CTL_BAD_ARGS, "empty user name is not allowed");
    }
    if (options->interactive)
        return password_ask(ctl, arg, ret_password);
    *ret_password = password_word(ctl);
    return CTL_OK;
}

int command_run_user_add(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct user_add_options *options = opaque;
    Etcdserverpb__AuthUserAddRequest request = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Authpb__UserAddOptions add = AUTHPB__USER_ADD_OPTIONS__INIT;
    const ProtobufCMessage *response = NULL;
    const char *name = "", *password = "";
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "user add command requires user name as its argument");
    int code = user_take(ctl, options, args.items[0], &name, &password);
    if (code)
        return code;
    add.no_password = options->no_password;
    request.name = text(ctl, name);
    request.password = text(ctl, password);
    request.options = &add;
    code = auth_ask(ctl, &client_auth_user_add, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response, ((const Etcdserverpb__AuthUserAddResponse *)response)->header,
                      arena_printf(&ctl->arena, "User %s created", name));
}

int command_run_user_passwd(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct user_passwd_options *options = opaque;
    Etcdserverpb__AuthUserChangePasswordRequest request =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *password = "";
    int code = CTL_OK;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "user passwd command requires user name as its argument");
    if (options->interactive)
        code = password_ask(ctl, args.items[0], &password);
    else
        password = password_word(ctl);
    if (code)
        return code;
    request.name = text(ctl, args.items[0]);
    request.password = text(ctl, password);
    code = auth_ask(ctl, &client_auth_user_change_password, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response,
                      ((const Etcdserverpb__AuthUserChangePasswordResponse *)response)->header,
                      "Password updated");
}

/* ---- delete, roles ---------------------------------------------------------------------- */

int command_run_user_delete(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthUserDeleteRequest request = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "user delete command requires user name as its argument");
    request.name = text(ctl, args.items[0]);
    int code = auth_ask(ctl, &client_auth_user_delete, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response,
                      ((const Etcdserverpb__AuthUserDeleteResponse *)response)->header,
                      arena_printf(&ctl->arena, "User %s deleted", args.items[0]));
}

int command_run_user_grant_role(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthUserGrantRoleRequest request =
        ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count != 2)
        return ctl_fail(CTL_BAD_ARGS,
                        "user grant command requires user name and role name as its argument");
    request.user = text(ctl, args.items[0]);
    request.role = text(ctl, args.items[1]);
    int code = auth_ask(ctl, &client_auth_user_grant_role, &request.base, &response);
    if (code)
        return code;
    return print_done(
        ctl, response, ((const Etcdserverpb__AuthUserGrantRoleResponse *)response)->header,
        arena_printf(&ctl->arena, "Role %s is granted to user %s", args.items[1], args.items[0]));
}

int command_run_user_revoke_role(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthUserRevokeRoleRequest request =
        ETCDSERVERPB__AUTH_USER_REVOKE_ROLE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count != 2)
        return ctl_fail(CTL_BAD_ARGS,
                        "user revoke-role requires user name and role name as its argument");
    request.name = text(ctl, args.items[0]);
    request.role = text(ctl, args.items[1]);
    int code = auth_ask(ctl, &client_auth_user_revoke_role, &request.base, &response);
    if (code)
        return code;
    return print_done(
        ctl, response, ((const Etcdserverpb__AuthUserRevokeRoleResponse *)response)->header,
        arena_printf(&ctl->arena, "Role %s is revoked from user %s", args.items[1], args.items[0]));
}

/* ---- get and list ----------------------------------------------------------------------- */

/* In every form, each role in the form that -w names. */
static int print_detail(struct ctl *ctl, const char *user,
                        const Etcdserverpb__AuthUserGetResponse *response)
{
    int code = CTL_OK;
    (void)printf("User: %s\n", user);
    for (size_t i = 0; i < response->n_roles && !code; i++) {
        (void)putchar('\n');
        code = role_show(ctl, response->roles[i]);
    }
    return code;
}

int command_run_user_get(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct user_get_options *options = opaque;
    Etcdserverpb__AuthUserGetRequest request = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "user get command requires user name as its argument");
    request.name = text(ctl, args.items[0]);
    int code = auth_ask(ctl, &client_auth_user_get, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__AuthUserGetResponse *response =
        (const Etcdserverpb__AuthUserGetResponse *)message;
    if (options->detail)
        return print_detail(ctl, args.items[0], response);
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, message);
    (void)printf("User: %s\nRoles:", args.items[0]);
    for (size_t i = 0; i < response->n_roles; i++)
        (void)printf(" %s", response->roles[i]);
    (void)putchar('\n');
    return CTL_OK;
}

int command_run_user_list(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AuthUserListRequest request =
        ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    if (args.count > 0)
        return ctl_fail(CTL_BAD_ARGS, "user list command requires no arguments");
    int code = auth_ask(ctl, &client_auth_user_list, &request.base, &message);
    if (code)
        return code;
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, message);
    const Etcdserverpb__AuthUserListResponse *response =
        (const Etcdserverpb__AuthUserListResponse *)message;
    for (size_t i = 0; i < response->n_users; i++)
        (void)puts(response->users[i]);
    return CTL_OK;
}
