/* URLs of members and clients as etcd takes them: scheme http, https, unix or unixs; host and
 * port; no path.  Thread: any.  Owns: nothing; texts live in the arena they were parsed into.
 * Source: etcd's interface, start-up refusals and configuration rules. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX, URL_UNIXS };

struct url {
    enum url_scheme scheme;
    const char *text;      /* scheme://host:port, as etcd prints it */
    const char *host;      /* without brackets; "" for every address; the path of a unix socket */
    uint16_t port;         /* 0 for unix sockets */
    const char *host_port; /* as written after scheme:// */
};

struct url_list {
    struct url *items;
    size_t count;
};

/* One URL. Fails: ERR_SYNTAX, and *ret_reason says why in etcd's words (arena). */
MUST err url_parse(struct arena *arena, struct bytes text, struct url *ret_url,
                   const char **ret_reason);
/* A comma list, sorted by text as etcd sorts them. */
MUST err url_list_parse(struct arena *arena, struct bytes text, struct url_list *ret_list,
                        const char **ret_reason);
bool url_list_equal(const struct url_list *a, const struct url_list *b);
bool url_list_has(const struct url_list *self, const struct url *url);
/* The texts joined by commas. */
const char *url_list_join(struct arena *arena, const struct url_list *self);
/* Whether a listener can bind there: an IP address, localhost, no host, or a unix socket. */
bool url_can_bind(const struct url *self);
