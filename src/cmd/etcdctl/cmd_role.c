/* role add, delete, get, list, grant-permission, revoke-permission. */
#include "etcdctl/auth.h"
#include "etcdctl/kv.h"
#include "etcdctl/text.h"

#include <string.h>
#include <strings.h>

const struct flag role_permission_flags[] = {
    BOOL_FLAG(struct role_permission_options, prefix, "prefix", "all keys that begin with the key"),
    BOOL_FLAG(struct role_permission_options, from_key, "from-key", "all keys from the key on"),
    {0},
};

static char *text(struct ctl *ctl, const char *what)
{
    return arena_copy_str(&ctl->arena, bytes_str(what));
}

/* ---- showing a role --------------------------------------------------------------------- */

static bool open_ended(ProtobufCBinaryData end)
{
    return end.len == 1 && end.data[0] == 0;
}

static void print_interval(ProtobufCBinaryData key, ProtobufCBinaryData end)
{
    (void)putchar('[');
    print_bytes(key);
    (void)fputs(", ", stdout);
    if (open_ended(end)) {
        (void)fputs("<open ended>", stdout);
        return;
    }
    print_bytes(end);
    (void)putchar(')');
}

static void print_permission(struct ctl *ctl, const Authpb__Permission *permission)
{
    ProtobufCBinaryData key = permission->key, end = permission->range_end;
    (void)putchar('\t');
    if (end.len == 0) {
        print_bytes(key);
    } else {
        print_interval(key, end);
        ProtobufCBinaryData prefix_end = key_prefix_end(ctl, bytes_of_field(key));
        if (key.len > 0 && bytes_equal(bytes_of_field(end), bytes_of_field(prefix_end))) {
            (void)fputs(" (prefix ", stdout);
            print_bytes(key);
            (void)putchar(')');
        }
    }
    (void)putchar('\n');
}

static void print_allowed(struct ctl *ctl, const Etcdserverpb__AuthRoleGetResponse *role,
                          const char *what, Authpb__Permission__Type type)
{
    (void)printf("KV %s:\n", what);
    for (size_t i = 0; i < role->n_perm; i++)
        if (role->perm[i]->permtype == type ||
            role->perm[i]->permtype == AUTHPB__PERMISSION__TYPE__READWRITE)
            print_permission(ctl, role->perm[i]);
}

static void fields_role(const struct ctl *ctl, const Etcdserverpb__AuthRoleGetResponse *role)
{
    print_fields_header(ctl, role->header);
    for (size_t i = 0; i < role->n_perm; i++) {
        const ProtobufCEnumValue *type = protobuf_c_enum_descriptor_get_value(
            &authpb__permission__type__descriptor, (int)role->perm[i]->permtype);
        (void)printf("\"PermType\" :  %s\n", type ? type->name : "?");
        print_fields_bytes("Key", role->perm[i]->key);
        print_fields_bytes("RangeEnd", role->perm[i]->range_end);
    }
}

int role_show(struct ctl *ctl, const char *name)
{
    Etcdserverpb__AuthRoleGetRequest request = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    request.role = text(ctl, name);
    int code = auth_ask(ctl, &client_auth_role_get, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__AuthRoleGetResponse *role =
        (const Etcdserverpb__AuthRoleGetResponse *)message;
    if (ctl->format == FORMAT_FIELDS) {
        fields_role(ctl, role);
        return CTL_OK;
    }
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, message);
    (void)printf("Role %s\n", name);
    print_allowed(ctl, role, "Read", AUTHPB__PERMISSION__TYPE__READ);
    print_allowed(ctl, role, "Write", AUTHPB__PERMISSION__TYPE__WRITE);
    return CTL_OK;
}

int command_run_role_get(struct ctl *ctl, const void *options, struct strings args)
{
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "role get command requires role name as its argument");
    return role_show(ctl, args.items[0]);
}

int command_run_role_list(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AuthRoleListRequest request =
        ETCDSERVERPB__AUTH_ROLE_LIST_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    if (args.count > 0)
        return ctl_fail(CTL_BAD_ARGS, "role list command requires no arguments");
    int code = auth_ask(ctl, &client_auth_role_list, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__AuthRoleListResponse *response =
        (const Etcdserverpb__AuthRoleListResponse *)message;
    if (ctl->format == FORMAT_FIELDS) {
        print_fields_header(ctl, response->header);
        (void)fputs("\"Roles\" :", stdout);
        for (size_t i = 0; i < response->n_roles; i++) {
            (void)putchar(' ');
            text_quote(stdout, bytes_str(response->roles[i]));
        }
        (void)putchar('\n');
        return CTL_OK;
    }
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, message);
    for (size_t i = 0; i < response->n_roles; i++)
        (void)puts(response->roles[i]);
    return CTL_OK;
}

/* ---- add and delete --------------------------------------------------------------------- */

int command_run_role_add(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthRoleAddRequest request = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "role add command requires role name as its argument");
    request.name = text(ctl, args.items[0]);
    int code = auth_ask(ctl, &client_auth_role_add, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response, ((const Etcdserverpb__AuthRoleAddResponse *)response)->header,
                      arena_printf(&ctl->arena, "Role %s created", args.items[0]));
}

int command_run_role_delete(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthRoleDeleteRequest request = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "role delete command requires role name as its argument");
    request.role = text(ctl, args.items[0]);
    int code = auth_ask(ctl, &client_auth_role_delete, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response,
                      ((const Etcdserverpb__AuthRoleDeleteResponse *)response)->header,
                      arena_printf(&ctl->arena, "Role %s deleted", args.items[0]));
}

/* ---- permissions ------------------------------------------------------------------------ */

/* args: key [endkey]. */
static int range_take(struct ctl *ctl, const struct role_permission_options *options,
                      struct strings args, ProtobufCBinaryData *ret_key,
                      ProtobufCBinaryData *ret_end)
{
    const char *flag = options->prefix ? "prefix" : "from-key";
    if (options->prefix && options->from_key && args.count == 1)
        return ctl_fail(CTL_BAD_ARGS, "--from-key and --prefix flags are mutually exclusive");
    if (args.count > 1 && (options->prefix || options->from_key))
        return ctl_fail(CTL_BAD_ARGS, "unexpected endkey argument with --%s flag", flag);
    return key_range(ctl, args, options->prefix, options->from_key, ret_key, ret_end);
}

static int type_take(const char *name, Authpb__Permission__Type *ret_type)
{
    static const char *const names[] = {
        [AUTHPB__PERMISSION__TYPE__READ] = "READ",
        [AUTHPB__PERMISSION__TYPE__WRITE] = "WRITE",
        [AUTHPB__PERMISSION__TYPE__READWRITE] = "READWRITE",
    };
    for (unsigned i = 0; i < COUNT(names); i++)
        if (strcasecmp(name, names[i]) == 0) {
            *ret_type = (Authpb__Permission__Type)i;
            return CTL_OK;
        }
    return ctl_fail(CTL_BAD_ARGS, "invalid permission type: %s", name);
}

int command_run_role_grant(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthRoleGrantPermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count < 3)
        return ctl_fail(CTL_BAD_ARGS,
                        "role grant command requires role name, permission type, and key [endkey] "
                        "as its argument");
    int code = type_take(args.items[1], &permission.permtype);
    if (!code)
        code = range_take(ctl, options, (struct strings){args.items + 2, args.count - 2},
                          &permission.key, &permission.range_end);
    request.name = text(ctl, args.items[0]);
    request.perm = &permission;
    if (!code)
        code = auth_ask(ctl, &client_auth_role_grant_permission, &request.base, &response);
    if (code)
        return code;
    return print_done(ctl, response,
                      ((const Etcdserverpb__AuthRoleGrantPermissionResponse *)response)->header,
                      arena_printf(&ctl->arena, "Role %s updated", args.items[0]));
}

int command_run_role_revoke(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__AuthRoleRevokePermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_REVOKE_PERMISSION_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count < 2)
        return ctl_fail(CTL_BAD_ARGS,
                        "role revoke-permission command requires role name and key [endkey] as "
                        "its argument");
    int code = range_take(ctl, options, (struct strings){args.items + 1, args.count - 1},
                          &request.key, &request.range_end);
    request.role = text(ctl, args.items[0]);
    if (!code)
        code = auth_ask(ctl, &client_auth_role_revoke_permission, &request.base, &response);
    if (code)
        return code;
    if (ctl->format != FORMAT_SIMPLE)
        return print_done(
            ctl, response,
            ((const Etcdserverpb__AuthRoleRevokePermissionResponse *)response)->header, "");
    (void)fputs(request.range_end.len ? "Permission of range " : "Permission of key ", stdout);
    if (request.range_end.len)
        print_interval(request.key, request.range_end);
    else
        print_bytes(request.key);
    (void)printf(" is revoked from role %s\n", args.items[0]);
    return CTL_OK;
}
