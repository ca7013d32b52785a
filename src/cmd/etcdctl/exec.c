#include "etcdctl/exec.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* extra before what is there: the first of a name counts. */
static char **environment(struct strings extra, struct arena *arena)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **whole = ARENA_ARRAY(arena, char *, extra.count + count + 1);
    for (unsigned i = 0; i < extra.count; i++)
        whole[i] = arena_copy_str(arena, bytes_str(extra.items[i]));
    memcpy(whole + extra.count, environ, count * sizeof(*whole));
    return whole;
}

err exec_start(struct strings words, struct strings extra, struct arena *arena, pid_t *ret_pid,
               const char **ret_why)
{
    posix_spawn_file_actions_t actions;
    char **argv = ARENA_ARRAY(arena, char *, words.count + 1);
    for (unsigned i = 0; i < words.count; i++)
        argv[i] = arena_copy_str(arena, bytes_str(words.items[i]));
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0);
    int failed = posix_spawnp(ret_pid, argv[0], &actions, NULL, argv, environment(extra, arena));
    (void)posix_spawn_file_actions_destroy(&actions);
    if (failed == 0)
        return OK;
    if (failed == ENOENT && !strchr(argv[0], '/')) {
        *ret_why = arena_printf(arena, "exec: \"%s\": executable file not found in $PATH", argv[0]);
        return ERR_NOT_FOUND;
    }
    char text[128];
    const char *said = strerror_r(failed, text, sizeof(text));
    char *lower = arena_copy_str(arena, bytes_str(said));
    if (lower[0] >= 'A' && lower[0] <= 'Z')
        lower[0] = (char)(lower[0] | 0x20);
    *ret_why = arena_printf(arena, "fork/exec %s: %s", argv[0], lower);
    return failed == ENOENT ? ERR_NOT_FOUND : ERR_IO;
}

int exec_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

const char *exec_status_text(int status, struct arena *arena)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return NULL;
    if (WIFEXITED(status))
        return arena_printf(arena, "exit status %d", WEXITSTATUS(status));
    char *name = arena_copy_str(arena, bytes_str(strsignal(WTERMSIG(status))));
    if (name[0] >= 'A' && name[0] <= 'Z')
        name[0] = (char)(name[0] | 0x20);
    return arena_printf(arena, "signal: %s", name);
}
