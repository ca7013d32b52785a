/* The user, role and auth commands: their options and entries. */
#pragma once

#include "etcdctl/command.h"
#include "etcdctl/print.h"

struct user_add_options {
    const char *password;
    bool interactive, no_password;
};
struct user_get_options {
    bool detail;
};
struct user_passwd_options {
    bool interactive;
};
struct role_permission_options {
    bool prefix, from_key;
};

extern const struct flag user_add_flags[], user_get_flags[], user_passwd_flags[];
extern const struct flag role_permission_flags[];

int command_run_user_add(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_delete(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_get(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_list(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_passwd(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_grant_role(struct ctl *ctl, const void *options, struct strings args);
int command_run_user_revoke_role(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_add(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_delete(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_get(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_list(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_grant(struct ctl *ctl, const void *options, struct strings args);
int command_run_role_revoke(struct ctl *ctl, const void *options, struct strings args);
int command_run_auth_enable(struct ctl *ctl, const void *options, struct strings args);
int command_run_auth_disable(struct ctl *ctl, const void *options, struct strings args);
int command_run_auth_status(struct ctl *ctl, const void *options, struct strings args);

/* A call of those that wait without limit. */
int auth_ask(struct ctl *ctl, const struct client_method *method, const ProtobufCMessage *message,
             const ProtobufCMessage **ret_response);
/* Asks for the role and prints it. */
int role_show(struct ctl *ctl, const char *name);
/* Prompts twice, without echo where stdin is a terminal. Returns an exit code. */
int password_ask(struct ctl *ctl, const char *user, const char **ret_password);
/* One word from stdin; "" where there is none. */
const char *password_word(struct ctl *ctl);
