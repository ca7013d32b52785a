/* get, ls, set, mk, update, mkdir, setdir, updatedir, rm, rmdir. */
#include "etcdctl/v2_keys.h"

#include "base/buf.h"
#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_BYTES_MAX (1UL << 31)

#define O struct v2_read_options
const struct flag v2_get_flags[] = {
    BOOL_FLAG(O, sort, "sort", "in the order of keys"),
    {"quorum", 'q', FLAG_BOOL, "false", offsetof(O, quorum), "as a quorum of members knows it"},
    {0},
};
const struct flag v2_ls_flags[] = {
    BOOL_FLAG(O, sort, "sort", "in the order of keys"),
    {"recursive", 'r', FLAG_BOOL, "false", offsetof(O, recursive), "with all that is below"},
    BOOL_FLAG(O, slash, "p", "'/' behind the names of directories"),
    {"quorum", 'q', FLAG_BOOL, "false", offsetof(O, quorum), "as a quorum of members knows it"},
    {0},
};
#undef O
#define O struct v2_write_options
const struct flag v2_ttl_flags[] = {
    INT_FLAG(O, ttl, "ttl", "0", "seconds to live; 0: for ever"),
    {0},
};
const struct flag v2_mk_flags[] = {
    BOOL_FLAG(O, in_order, "in-order", "a key below the directory, in the order of creation"),
    INT_FLAG(O, ttl, "ttl", "0", "seconds to live; 0: for ever"),
    {0},
};
const struct flag v2_set_flags[] = {
    INT_FLAG(O, ttl, "ttl", "0", "seconds to live; 0: for ever"),
    STRING_FLAG(O, swap_with_value, "swap-with-value", "", "only where that is the value"),
    INT_FLAG(O, swap_with_index, "swap-with-index", "0",
             "only where it was modified at that index"),
    {0},
};
#undef O
#define O struct v2_rm_options
const struct flag v2_rm_flags[] = {
    BOOL_FLAG(O, dir, "dir", "an empty directory too"),
    {"recursive", 'r', FLAG_BOOL, "false", offsetof(O, recursive), "with all that is below"},
    STRING_FLAG(O, with_value, "with-value", "", "only where that is the value"),
    INT_FLAG(O, with_index, "with-index", "0", "only where it was modified at that index"),
    {0},
};
#undef O

/* ---- arguments -------------------------------------------------------------------------- */

static int key_take(struct strings args, const char **ret_key)
{
    if (args.count == 0)
        return v2_error(V2_BAD_ARGS, "key required");
    *ret_key = args.items[0];
    return V2_OK;
}

/* The second argument, or all of stdin. */
static int value_take(struct v2 *self, struct strings args, const char **ret_value)
{
    struct buf AUTO(buf_done) text;
    buf_init(&text, VALUE_BYTES_MAX);
    if (args.count > 1) {
        *ret_value = args.items[1];
        return V2_OK;
    }
    while (!feof(stdin) && !ferror(stdin)) {
        if (!err_ok(buf_reserve(&text, 65536)))
            return v2_error(V2_BAD_ARGS, "the value on stdin is too long");
        text.len += fread(text.data + text.len, 1, 65536, stdin);
    }
    if (text.len == 0)
        return v2_error(V2_BAD_ARGS, "value required");
    *ret_value = arena_copy_str(self->arena, buf_bytes(&text));
    return V2_OK;
}

const char *v2_key_path(struct v2 *self, const char *key)
{
    const char *whole = arena_printf(self->arena, "/v2/keys/%s", key);
    char *out = (char *)arena_alloc_bytes(self->arena, strlen(whole) + 2);
    size_t len = 0;
    for (const char *at = whole; *at;) {
        size_t part = strcspn(++at, "/");
        if (part == 2 && at[0] == '.' && at[1] == '.') {
            while (len > 0 && out[--len] != '/') {
            }
        } else if (part > 0 && !(part == 1 && at[0] == '.')) {
            out[len++] = '/';
            memcpy(out + len, at, part);
            len += part;
        }
        at += part;
    }
    if (len == 0 || (key[0] && key[strlen(key) - 1] == '/'))
        out[len++] = '/';
    out[len] = 0;
    return v2_path_escape(out, self->arena);
}

/* ---- asking ----------------------------------------------------------------------------- */

static int ask(struct v2 *self, const struct v2_request *request, struct v2_event *ret_event)
{
    struct client_page page;
    int code = v2_sync(self);
    if (!code)
        code = v2_ask(self, request, V2_SERVER_ERROR, self->arena, &page);
    return code ? code : v2_event_read(&page, self->arena, ret_event);
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static int get(struct v2 *self, const char *key, const struct v2_read_options *options,
               struct v2_event *ret_event)
{
    const struct v2_request request = {
        .method = "GET",
        .path =
            arena_printf(self->arena, "%s?quorum=%s&recursive=%s&sorted=%s", v2_key_path(self, key),
                         word(options->quorum), word(options->recursive), word(options->sort)),
    };
    return ask(self, &request, ret_event);
}

/* A parameter more, behind '?' or '&'. */
static const char *with(struct v2 *self, const char *path, const char *name, const char *value)
{
    return arena_printf(self->arena, "%s%c%s=%s", path, strchr(path, '?') ? '&' : '?', name,
                        v2_form_escape(value, self->arena));
}

struct put {
    const char *method, *key;
    const char *value;  /* NULL: a directory */
    const char *exists; /* prevExist; NULL: either way */
    const struct v2_write_options *options;
};

static int put(struct v2 *self, const struct put *put, struct v2_event *ret_event)
{
    const struct v2_write_options *options = put->options;
    const char *path = v2_key_path(self, put->key), *body = "";
    if (!put->value)
        path = with(self, path, "dir", "true");
    if (put->exists)
        path = with(self, path, "prevExist", put->exists);
    if (options->swap_with_index)
        path = with(self, path, "prevIndex",
                    arena_printf(self->arena, "%" PRIu64, (uint64_t)options->swap_with_index));
    if (options->swap_with_value && options->swap_with_value[0])
        path = with(self, path, "prevValue", options->swap_with_value);
    if (options->ttl > 0)
        body = arena_printf(self->arena, "ttl=%" PRId64 "%s", options->ttl, put->value ? "&" : "");
    if (put->value)
        body =
            arena_printf(self->arena, "%svalue=%s", body, v2_form_escape(put->value, self->arena));
    const struct v2_request request = {
        .method = put->method,
        .path = path,
        .content_type = "application/x-www-form-urlencoded",
        .body = body,
    };
    return ask(self, &request, ret_event);
}

static bool is_simple(const struct v2 *self)
{
    return strcmp(self->output, "simple") == 0;
}

/* ---- reading ---------------------------------------------------------------------------- */

int v2_run_get(struct v2 *self, const void *options, struct strings args)
{
    struct v2_event event;
    const char *key = "";
    int code = key_take(args, &key);
    if (!code)
        code = get(self, key, options, &event);
    if (code)
        return code;
    if (event.node->dir) {
        (void)fprintf(stderr, "%s: is a directory\n", event.node->key);
        return V2_BAD_ARGS;
    }
    v2_event_print(self, &event);
    return V2_OK;
}

static void print_names(const struct v2_node *node, bool slash)
{
    for (unsigned i = 0; i < node->node_count; i++) {
        const struct v2_node *child = &node->nodes[i];
        (void)printf("%s%s\n", child->key, child->dir && slash ? "/" : "");
        print_names(child, slash);
    }
}

int v2_run_ls(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_read_options *options = opaque;
    struct v2_event event;
    int code = get(self, args.count ? args.items[0] : "/", options, &event);
    if (code)
        return code;
    if (!is_simple(self)) {
        v2_event_print(self, &event);
        return V2_OK;
    }
    if (!event.node->dir)
        (void)puts(event.node->key);
    print_names(event.node, options->slash);
    return V2_OK;
}

/* ---- writing ---------------------------------------------------------------------------- */

static int write_key(struct v2 *self, const char *method, const char *exists, const void *options,
                     struct strings args)
{
    struct put one = {.key = "", .method = method, .exists = exists, .options = options};
    struct v2_event event;
    int code = key_take(args, &one.key);
    if (!code)
        code = value_take(self, args, &one.value);
    if (!code)
        code = put(self, &one, &event);
    if (!code)
        v2_event_print(self, &event);
    return code;
}

int v2_run_set(struct v2 *self, const void *options, struct strings args)
{
    return write_key(self, "PUT", NULL, options, args);
}

int v2_run_mk(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_write_options *options = opaque;
    return options->in_order ? write_key(self, "POST", NULL, options, args)
                             : write_key(self, "PUT", "false", options, args);
}

int v2_run_update(struct v2 *self, const void *options, struct strings args)
{
    return write_key(self, "PUT", "true", options, args);
}

static int write_dir(struct v2 *self, const char *exists, const void *options, struct strings args)
{
    struct put one = {.key = "", .method = "PUT", .exists = exists, .options = options};
    struct v2_event event;
    int code = key_take(args, &one.key);
    if (!code)
        code = put(self, &one, &event);
    if (!code && !is_simple(self))
        v2_event_print(self, &event);
    return code;
}

int v2_run_mkdir(struct v2 *self, const void *options, struct strings args)
{
    return write_dir(self, "false", options, args);
}

int v2_run_setdir(struct v2 *self, const void *options, struct strings args)
{
    return write_dir(self, NULL, options, args);
}

int v2_run_updatedir(struct v2 *self, const void *options, struct strings args)
{
    return write_dir(self, "true", options, args);
}

/* ---- removing --------------------------------------------------------------------------- */

static int rm(struct v2 *self, const char *key, const struct v2_rm_options *options)
{
    const char *path = v2_key_path(self, key);
    struct v2_event event;
    if (options->dir)
        path = with(self, path, "dir", "true");
    if (options->with_index)
        path = with(self, path, "prevIndex",
                    arena_printf(self->arena, "%" PRIu64, (uint64_t)options->with_index));
    if (options->with_value[0])
        path = with(self, path, "prevValue", options->with_value);
    if (options->recursive)
        path = with(self, path, "recursive", "true");
    const struct v2_request request = {.method = "DELETE", .path = path};
    int code = ask(self, &request, &event);
    if (code)
        return code;
    if (!event.node->dir || !is_simple(self))
        v2_event_print(self, &event);
    return V2_OK;
}

int v2_run_rm(struct v2 *self, const void *options, struct strings args)
{
    const char *key = "";
    int code = key_take(args, &key);
    return code ? code : rm(self, key, options);
}

int v2_run_rmdir(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_rm_options options = {.dir = true, .with_value = ""};
    const char *key = "";
    int code = key_take(args, &key);
    return code ? code : rm(self, key, &options);
}
