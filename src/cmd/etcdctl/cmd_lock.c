#include "etcdctl/concurrency.h"
#include "etcdctl/exec.h"
#include "etcdctl/session.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

const struct flag lock_flags[] = {
    INT_FLAG(struct lock_options, ttl, "ttl", "10",
             "seconds after which the lock is free where its holder has died"),
    {0},
};

struct running {
    struct ctl *ctl;
    pid_t pid;
    int status;
    bool over;
};

static void on_child(void *ctx, int number)
{
    struct running *self = ctx;
    if (self->pid > 0 && waitpid(self->pid, &self->status, WNOHANG) == self->pid) {
        self->over = true;
        io_loop_stop(self->ctl->loop);
    }
}

/* While it runs the lease is kept alive; a signal is left to the command. */
static int command_run(struct session *session, const struct session_turn *turn,
                       struct strings words)
{
    struct ctl *ctl = session->ctl;
    struct running running = {.ctl = ctl};
    const char *why = NULL;
    const char *const extra[] = {
        arena_printf(&ctl->arena, "ETCD_LOCK_KEY=%s", turn->key),
        arena_printf(&ctl->arena, "ETCD_LOCK_REV=%" PRId64, turn->revision),
    };
    (void)fflush(stdout);
    if (!err_ok(io_loop_signal_add(ctl->loop, SIGCHLD, on_child, &running)))
        return ctl_fail(CTL_ERROR, "signals cannot be caught");
    err e =
        exec_start(words, (struct strings){extra, COUNT(extra)}, &ctl->arena, &running.pid, &why);
    if (!err_ok(e))
        return ctl_fail(CTL_ERROR, "%s", why);
    while (!running.over)
        io_loop_run(ctl->loop);
    running.pid = 0;
    why = exec_status_text(running.status, &ctl->arena);
    if (!why)
        return CTL_OK;
    return ctl_fail(WIFEXITED(running.status) ? WEXITSTATUS(running.status) : UINT8_MAX, "%s", why);
}

static int hold(struct session *session, const struct session_turn *turn)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const Etcdserverpb__RangeResponse *response = NULL;
    request.key = field_of_bytes(bytes_str(turn->key));
    int code = session_range(session, &request, &response);
    if (code)
        return code;
    if (response->n_kvs == 0)
        return ctl_fail(CTL_ERROR, "lock lost on init");
    code = print_range(session->ctl, response, false);
    (void)fflush(stdout);
    if (code)
        return code;
    session_wait(session);
    return session->interrupted ? CTL_OK : ctl_fail(CTL_ERROR, "session expired");
}

int command_run_lock(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct lock_options *options = opaque;
    struct session session;
    struct session_turn turn;
    if (args.count == 0)
        return ctl_fail(CTL_BAD_ARGS,
                        "lock takes a lock name argument and an optional command to execute");
    const struct strings command = {args.items + 1, args.count - 1};
    int code = session_begin(&session, ctl, options->ttl > 0 ? options->ttl : 1);
    if (!code) {
        code = session_take_turn(&session, args.items[0], "", &turn);
        if (!code) {
            code =
                command.count > 0 ? command_run(&session, &turn, command) : hold(&session, &turn);
            if (!session.lost)
                code = session_give_up(&session, &turn) && !code ? CTL_ERROR : code;
        }
    }
    session_end(&session);
    return code;
}
