/* The v2 tool's commands over /v2/keys: their options and entries. */
#pragma once

#include "etcdctl/v2.h"

struct v2_read_options {
    bool sort, quorum, recursive, slash;
};
struct v2_write_options {
    int64_t ttl;
    bool in_order;
    const char *swap_with_value;
    int64_t swap_with_index;
};
struct v2_rm_options {
    bool dir, recursive;
    const char *with_value;
    int64_t with_index;
};
struct v2_watch_options {
    bool forever, recursive;
    int64_t after_index;
};

extern const struct flag v2_get_flags[], v2_ls_flags[], v2_ttl_flags[], v2_mk_flags[];
extern const struct flag v2_set_flags[], v2_rm_flags[], v2_watch_flags[], v2_exec_watch_flags[];

int v2_run_get(struct v2 *self, const void *options, struct strings args);
int v2_run_ls(struct v2 *self, const void *options, struct strings args);
int v2_run_set(struct v2 *self, const void *options, struct strings args);
int v2_run_mk(struct v2 *self, const void *options, struct strings args);
int v2_run_update(struct v2 *self, const void *options, struct strings args);
int v2_run_mkdir(struct v2 *self, const void *options, struct strings args);
int v2_run_setdir(struct v2 *self, const void *options, struct strings args);
int v2_run_updatedir(struct v2 *self, const void *options, struct strings args);
int v2_run_rm(struct v2 *self, const void *options, struct strings args);
int v2_run_rmdir(struct v2 *self, const void *options, struct strings args);
int v2_run_watch(struct v2 *self, const void *options, struct strings args);
int v2_run_exec_watch(struct v2 *self, const void *options, struct strings args);

/* /v2/keys/KEY as Go's path.Clean makes it, a slash at its end kept, escaped. */
const char *v2_key_path(struct v2 *self, const char *key);

/* ---- events ----------------------------------------------------------------------------- */

struct v2_node {
    const char *key, *value, *expiration; /* expiration NULL: none */
    bool dir;
    bool has_nodes;
    uint64_t created, modified;
    int64_t ttl;
    struct v2_node *nodes;
    unsigned node_count;
};

struct v2_event {
    const char *action;
    const struct v2_node *node, *before; /* before: NULL where there was none */
    const char *index;
};

/* What the server answered; an error that it told is said, and V2_SERVER_ERROR. */
int v2_event_read(const struct client_page *page, struct arena *arena, struct v2_event *ret_event);
/* In the form that --output names. */
void v2_event_print(const struct v2 *self, const struct v2_event *event);
