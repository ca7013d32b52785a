/* --initial-cluster: NAME=URL,NAME=URL,… into members, with the checks that a new cluster makes.
 * Thread: any.  Owns: nothing; texts live in the arena. Source: etcd's interface, start-up
 * refusals; configuration rules. */
#pragma once

#include "server/config.h"

struct cluster_member {
    const char *name;
    struct url_list peer_urls;
};

struct cluster_list {
    struct cluster_member *members; /* by name */
    size_t count;
};

#define CLUSTER_MEMBERS_MAX 1024

/* Fails: ERR_SYNTAX, ERR_LIMIT; *ret_reason in etcd's words. */
MUST err cluster_list_parse(struct arena *arena, const char *text, struct cluster_list *ret_list,
                            const char **ret_reason);
/* That this member is in it, with the URLs that it advertises (both ways), no URL twice, and no
 * client URL of its own on another member's host. The URL comparison is left out for a member that
 * joins (must_match false). Fails: ERR_USAGE. */
MUST err cluster_list_check(struct arena *arena, const struct cluster_list *self,
                            const struct config *config, bool must_match, const char **ret_reason);
