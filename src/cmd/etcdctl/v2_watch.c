/* watch and exec-watch of the v2 API: one request an event, each waiting for the first change
 * behind the one before. */
#include "etcdctl/exec.h"
#include "etcdctl/v2_keys.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENA_BYTES 4096

#define O struct v2_watch_options
const struct flag v2_watch_flags[] = {
    {"forever", 'f', FLAG_BOOL, "false", offsetof(O, forever), "all changes, until Ctrl-C"},
    INT_FLAG(O, after_index, "after-index", "0", "those behind that index; 0: from now on"),
    {"recursive", 'r', FLAG_BOOL, "false", offsetof(O, recursive), "of all that is below too"},
    {0},
};
const struct flag v2_exec_watch_flags[] = {
    INT_FLAG(O, after_index, "after-index", "0", "those behind that index; 0: from now on"),
    {"recursive", 'r', FLAG_BOOL, "false", offsetof(O, recursive), "of all that is below too"},
    {0},
};
#undef O

/* A user's Ctrl-C is how a watch ends well. */
static void on_interrupt(int number)
{
    _exit(V2_OK);
}

static const char *number(uint64_t value, struct arena *arena)
{
    return arena_printf(arena, "%" PRIu64, value);
}

/* The next change; *after is its index then. */
static int next(struct v2 *self, const char *key, bool recursive, uint64_t *after,
                struct arena *arena, struct v2_event *ret_event)
{
    struct client_page page = {0};
    do { /* a server that stops ends its waits without a word */
        arena_reset(arena);
        const struct v2_request request = {
            .method = "GET",
            .path = arena_printf(arena, "%s?recursive=%s&wait=true%s%s", key,
                                 recursive ? "true" : "false", *after ? "&waitIndex=" : "",
                                 *after ? number(*after + 1, arena) : ""),
            .waits = true,
        };
        int code = v2_ask(self, &request, V2_SERVER_ERROR, arena, &page);
        if (code)
            return code;
    } while (page.body.len == 0 && page.status == 200);
    int code = v2_event_read(&page, arena, ret_event);
    if (!code)
        *after = ret_event->node->modified;
    return code;
}

int v2_run_watch(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_watch_options *options = opaque;
    struct arena AUTO(arena_done) arena;
    struct v2_event event;
    uint64_t after = (uint64_t)options->after_index;
    bool more = true;
    arena_init(&arena, ARENA_BYTES);
    if (args.count == 0)
        return v2_error(V2_BAD_ARGS, "key required");
    int code = v2_sync(self);
    const char *key = v2_key_path(self, args.items[0]);
    (void)signal(SIGINT, on_interrupt);
    while (!code && more) {
        code = next(self, key, options->recursive, &after, &arena, &event);
        if (code || event.node->dir)
            continue;
        if (options->recursive)
            (void)printf("[%s] %s\n", event.action, event.node->key);
        v2_event_print(self, &event);
        more = fflush(stdout) == 0 && options->forever;
    }
    return code;
}

/* Runs beside what comes next, as several changes' commands may. */
static int command_start(struct strings words, const struct v2_event *event, struct arena *arena)
{
    const struct v2_node *node = event->node;
    const char *const extra[] = {
        arena_printf(arena, "ETCD_WATCH_ACTION=%s", event->action),
        arena_printf(arena, "ETCD_WATCH_MODIFIED_INDEX=%" PRIu64, node->modified),
        arena_printf(arena, "ETCD_WATCH_KEY=%s", node->key),
        arena_printf(arena, "ETCD_WATCH_VALUE=%s", node->value),
    };
    const char *why = NULL;
    pid_t pid;
    (void)fflush(stdout);
    while (waitpid(-1, NULL, WNOHANG) > 0) { /* those that have ended meanwhile */
    }
    if (err_ok(exec_start(words, (struct strings){extra, 4}, arena, &pid, &why)))
        return V2_OK;
    (void)fputs(why, stderr);
    return V2_BAD_ARGS;
}

int v2_run_exec_watch(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_watch_options *options = opaque;
    struct arena AUTO(arena_done) arena;
    struct v2_event event;
    uint64_t after = (uint64_t)options->after_index;
    arena_init(&arena, ARENA_BYTES);
    if (args.count < 2)
        return v2_error(V2_BAD_ARGS, "key and command to exec required");
    unsigned skip = strcmp(args.items[1], "--") == 0 ? 2 : 1;
    const struct strings words = {args.items + skip, args.count - skip};
    if (words.count == 0)
        return v2_error(V2_BAD_ARGS, "key and command to exec required");
    int code = v2_sync(self);
    const char *key = v2_key_path(self, args.items[0]);
    (void)signal(SIGINT, on_interrupt);
    while (!code) {
        code = next(self, key, options->recursive, &after, &arena, &event);
        if (code)
            break;
        if (event.node->dir)
            (void)fprintf(stderr, "Ignored dir %s change\n", event.node->key);
        else
            code = command_start(words, &event, &arena);
    }
    return code;
}
