/* watch: one from the command line, or as many as stdin names in the interactive mode.
 *
 * stdin is read by a worker, a line at a time: the next when the one before has been done. A
 * command that is run for an event holds everything up until it ends, so that events keep their
 * order and nothing has to be kept. */
#include "client/watch.h"
#include "etcdctl/exec.h"
#include "etcdctl/text.h"
#include "etcdctl/txn_text.h"
#include "etcdctl/watch_args.h"
#include "io/worker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct watching {
    struct ctl *ctl;
    struct client_watch_stream *stream;
    struct arena told; /* of one answer */
    int code;
    bool over;
    bool interactive;
    /* The interactive mode's next line; NULL: the end of stdin. */
    struct io_workers *workers;
    struct io_job job;
    bool reading; /* the worker has the job */
    char *line;
    size_t line_room;
};

/* One watch and what is run for its events; in ctl's arena. */
struct watcher {
    struct watching *all;
    struct watch_args args;
};

static void end(struct watching *self, int code)
{
    if (!self->over)
        self->code = code;
    self->over = true;
    io_loop_stop(self->ctl->loop);
}

/* ---- commands --------------------------------------------------------------------------- */

static const char *quoted(struct arena *arena, struct bytes what)
{
    char *memory = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&memory, &len);
    const char *copy = "";
    if (stream) {
        text_quote(stream, what);
        if (fclose(stream) == 0)
            copy = arena_copy_str(arena, bytes_of(memory, len));
    }
    free(memory);
    return copy;
}

static void command_failed(struct strings command, const char *why)
{
    (void)fputs("command [", stderr);
    for (unsigned i = 0; i < command.count; i++) {
        (void)fputs(i ? " " : "", stderr);
        text_quote(stderr, bytes_str(command.items[i]));
    }
    (void)fprintf(stderr, "] error (%s)\n", why);
}

static bool command_run(struct watcher *self, int64_t revision, const Mvccpb__Event *event)
{
    static const Mvccpb__KeyValue none = MVCCPB__KEY_VALUE__INIT;
    struct arena *arena = &self->all->told;
    const Mvccpb__KeyValue *kv = event->kv ? event->kv : &none;
    bool put = event->type == MVCCPB__EVENT__EVENT_TYPE__PUT;
    const char *const extra[] = {
        arena_printf(arena, "ETCD_WATCH_REVISION=%" PRId64, revision),
        put ? "ETCD_WATCH_EVENT_TYPE=\"PUT\"" : "ETCD_WATCH_EVENT_TYPE=\"DELETE\"",
        arena_printf(arena, "ETCD_WATCH_KEY=%s", quoted(arena, bytes_of_field(kv->key))),
        arena_printf(arena, "ETCD_WATCH_VALUE=%s", quoted(arena, bytes_of_field(kv->value))),
    };
    const char *why = NULL;
    pid_t pid;
    if (err_ok(exec_start(self->args.command, (struct strings){extra, COUNT(extra)}, arena, &pid,
                          &why)))
        why = exec_status_text(exec_wait(pid), arena);
    if (why)
        command_failed(self->args.command, why);
    return why == NULL;
}

/* ---- what is told ----------------------------------------------------------------------- */

static const char *cancel_text(struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    struct bytes reason = bytes_str(response->cancel_reason);
    if (response->compact_revision)
        return "etcdserver: mvcc: required revision has been compacted";
    if (reason.len == 0)
        return "etcdserver: mvcc: required revision is a future revision";
    if (client_error_known(reason))
        return response->cancel_reason;
    return arena_printf(&ctl->arena, "rpc error: code = FailedPrecondition desc = %s",
                        response->cancel_reason);
}

static bool is_progress(const Etcdserverpb__WatchResponse *response)
{
    return response->n_events == 0 && !response->canceled && !response->created &&
           response->compact_revision == 0 && response->header && response->header->revision != 0;
}

static void on_told(void *ctx, const Etcdserverpb__WatchResponse *response)
{
    struct watcher *self = ctx;
    struct watching *all = self->all;
    if (all->over)
        return;
    if (response->canceled)
        (void)fprintf(stderr, "watch was canceled (%s)\n", cancel_text(all->ctl, response));
    if (is_progress(response))
        (void)printf("progress notify: %" PRId64 "\n", response->header->revision);
    int code = print_watch(all->ctl, response);
    if (fflush(stdout) != 0)
        code = CTL_ERROR;
    if (code) {
        end(all, code);
        return;
    }
    int64_t revision = response->header ? response->header->revision : 0;
    for (size_t i = 0; i < response->n_events && self->args.command.count > 0; i++) {
        arena_reset(&all->told);
        if (!command_run(self, revision, response->events[i])) {
            end(all, CTL_ERROR);
            return;
        }
    }
}

static void on_ended(void *ctx, const struct client_result *result)
{
    struct watcher *self = ctx;
    struct watching *all = self->all;
    if (all->over)
        return;
    if (result) {
        Etcdserverpb__WatchResponse closed = ETCDSERVERPB__WATCH_RESPONSE__INIT;
        closed.canceled = true;
        (void)fprintf(stderr, "watch was canceled (%s)\n", ctl_error_text(all->ctl, result));
        (void)print_watch(all->ctl, &closed);
        (void)fflush(stdout);
    }
    if (!all->interactive)
        end(all, ctl_fail(CTL_INTERRUPTED, "watch is canceled by the server"));
}

static void watcher_start(struct watching *all, const struct watch_args *args)
{
    struct watcher *self = ARENA_NEW(&all->ctl->arena, struct watcher);
    *self = (struct watcher){.all = all, .args = *args};
    const struct client_watch_request request = {
        .key = bytes_of_field(args->key),
        .range_end = bytes_of_field(args->range_end),
        .start_revision = args->options.revision,
        .prev_kv = args->options.prev_kv,
        .progress_notify = args->options.progress_notify,
        .told = on_told,
        .ended = on_ended,
        .ctx = self,
    };
    (void)client_watch_start(all->stream, &request);
}

/* ---- the interactive mode --------------------------------------------------------------- */

static void work_read(struct io_job *job)
{
    struct watching *self = LIST_ENTRY(job, struct watching, job);
    ssize_t len = getline(&self->line, &self->line_room, stdin);
    if (len > 0 && self->line[len - 1] == '\n') {
        self->line[len - 1] = 0;
        return;
    }
    free(TAKE(self->line)); /* a line that was cut off counts as the end */
}

static void watch_line(struct watching *self, const char *line, struct strings words)
{
    struct watch_args args;
    const char *why, *key = watch_args_environment_key(self->ctl, &why);
    if (words.count < 2 && !key[0]) {
        (void)fprintf(stderr, "Invalid command %s (command type or key is not provided)\n", line);
        return;
    }
    const struct strings rest = {words.items + 1, words.count - 1};
    why = watch_args_parse(self->ctl, rest, &args);
    if (why)
        end(self, ctl_fail(CTL_BAD_ARGS, "%s", why));
    else if (args.fault)
        (void)fprintf(stderr, "Invalid command %s (%s)\n", line, args.fault);
    else
        watcher_start(self, &args);
}

static void on_line(struct io_job *job)
{
    struct watching *self = LIST_ENTRY(job, struct watching, job);
    struct strings words;
    if (!self->line) {
        self->reading = false;
        end(self, ctl_fail(CTL_INVALID_INPUT, "error reading watch request line: EOF"));
        return;
    }
    if (!err_ok(txn_words(&self->ctl->arena, self->line, &words)) || words.count == 0)
        (void)fprintf(stderr, "Invalid command: %s (watch and progress supported)\n", self->line);
    else if (strcmp(words.items[0], "watch") == 0)
        watch_line(self, self->line, words);
    else if (strcmp(words.items[0], "progress") == 0)
        client_watch_stream_progress(self->stream);
    else
        (void)fprintf(stderr, "Invalid command %s (only support watch)\n", self->line);
    self->reading = !self->over;
    if (self->reading)
        io_workers_post(self->workers, &self->job);
}

static int watch_interactively(struct watching *self)
{
    struct io_workers *workers = NULL;
    if (!err_ok(io_workers_new(1, &workers)))
        return ctl_fail(CTL_ERROR, "no thread for stdin");
    self->workers = workers;
    self->job = (struct io_job){.work = work_read, .done = on_line, .loop = self->ctl->loop};
    self->reading = true;
    io_workers_post(workers, &self->job);
    while (!self->over)
        io_loop_run(self->ctl->loop);
    /* Where it ends before stdin does, a worker is still reading: nobody waits for it. */
    if (self->reading)
        _exit(fflush(stdout) == 0 ? self->code : CTL_IO);
    io_workers_free(workers);
    return self->code;
}

int command_run_watch(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct watch_options *options = opaque;
    struct watching self = {.ctl = ctl, .interactive = options->interactive};
    struct watch_args one = {0};
    const char *why;
    (void)watch_args_environment_key(ctl, &why);
    if (!why && !options->interactive)
        why = watch_args_take(ctl, options, args, ctl->dash, &one);
    if (!why)
        why = one.fault;
    if (why)
        return ctl_fail(CTL_BAD_ARGS, "%s", why);
    int code = ctl_client(ctl);
    if (code)
        return code;
    arena_init(&self.told, 4096);
    io_loop_refresh(ctl->loop);
    self.stream = client_watch_stream_new(ctl->client, true);
    if (options->interactive) {
        code = watch_interactively(&self);
    } else {
        watcher_start(&self, &one);
        while (!self.over)
            io_loop_run(ctl->loop);
        code = self.code;
    }
    client_watch_stream_free(self.stream);
    arena_done(&self.told);
    free(self.line);
    return code;
}
