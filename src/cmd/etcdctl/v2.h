/* etcdctl of the v2 API (ETCDCTL_API=2): keys, members and health over HTTP.
 * What returns int returns an exit code; it has said its error.
 * Source: etcd's interface, etcdctl 3.3 to 3.5 with ETCDCTL_API=2. */
#pragma once

#include "base/arena.h"
#include "client/page.h"
#include "etcdctl/flags.h"

enum v2_exit {
    V2_OK = 0,
    V2_BAD_ARGS = 1,
    V2_BAD_CONNECTION = 2,
    V2_UNKNOWN_COMMAND = 3,
    V2_SERVER_ERROR = 4,
    V2_NOT_HEALTHY = 5,
};

struct v2 {
    struct strings endpoints;
    unsigned pinned; /* the endpoint that answered last */
    const char *output;
    bool no_sync, debug;
    uint64_t timeout_ms;       /* of one request to one endpoint */
    uint64_t total_timeout_ms; /* of one request to all of them */
    struct arena *arena;
};

struct v2_command {
    const char *name;
    const char *use; /* behind "etcdctl" */
    const char *brief;
    const char *more; /* NULL */
    const struct flag *flags;
    size_t options_bytes;
    /* NULL and no children: not there yet. */
    int (*run)(struct v2 *self, const void *options, struct strings args);
    const struct v2_command *children;
    unsigned child_count;
};

extern const struct v2_command v2_commands[];
extern const unsigned v2_command_count;

/* args: without the program's name. Returns the exit code. */
int v2_main(struct arena *arena, struct strings args);
/* "Error:  …" to stderr; returns the code. */
int v2_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flags as Go's flag package reads them: "-name" and "--name" are the same, they end at the first
 * argument that is none. Fails: ERR_SYNTAX, *ret_why in Go's words. */
MUST err v2_flags_parse(struct flag_set *set, struct strings args, struct arena *arena,
                        struct strings *ret_rest, bool *ret_help, const char **ret_why);
/* The order in which a command's arguments are read: its flags first, wherever they stand before
 * "--", each with the argument behind it. */
struct strings v2_flags_first(const struct flag_set *set, struct strings args, struct arena *arena);

/* ---- requests --------------------------------------------------------------------------- */

struct v2_request {
    const char *method;
    const char *path;         /* and query */
    const char *content_type; /* NULL: no body */
    const char *body;
    bool waits;
    bool plain; /* an error is told without "Error:" and details */
};

/* Asks one endpoint after the other, beginning with the pinned one. Nobody answers: code. */
int v2_ask(struct v2 *self, const struct v2_request *request, int code, struct arena *arena,
           struct client_page *ret_page);
/* Unless --no-sync: from here on the endpoints that the members advertise are asked. */
int v2_sync(struct v2 *self);
/* Percent codes of a path, or of a form's value where a blank is '+'. */
const char *v2_path_escape(const char *text, struct arena *arena);
const char *v2_form_escape(const char *text, struct arena *arena);

/* ---- members ---------------------------------------------------------------------------- */

struct v2_member {
    const char *id, *name;
    struct strings peer_urls, client_urls;
};

struct v2_members {
    struct v2_member *items;
    unsigned count;
};

int v2_members_get(struct v2 *self, int code, struct v2_members *ret_members);

/* Every 10 s again with forever. */
int v2_cluster_health(struct v2 *self, bool forever);

/* ---- json ------------------------------------------------------------------------------- */

struct json_object;

/* An object, nested no deeper than any server makes it; NULL: it is none. Put it. */
struct json_object *v2_json_read(struct bytes text);
/* "" where it is no string. */
const char *v2_json_string(struct json_object *object, const char *name, struct arena *arena);
struct strings v2_json_strings(struct json_object *object, const char *name, struct arena *arena);
