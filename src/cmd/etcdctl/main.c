/* etcdctl: results on stdout, everything else on stderr. */
#include "etcdctl/command.h"
#include "etcdctl/v2.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 16384

/* A result that could not be written whole is no success. */
static int output_close(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return code ? code : ctl_fail(CTL_IO, "cannot write to stdout");
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    const struct strings args = {(const char *const *)argv + (argc > 0),
                                 (unsigned)(argc > 0 ? argc - 1 : 0)};
    const char *api = getenv("ETCDCTL_API");
    (void)signal(SIGPIPE, SIG_DFL);
    arena_init(&ctl.arena, ARENA_BLOCK_BYTES);
    int code = api && strcmp(api, "2") == 0 ? v2_main(&ctl.arena, args)
                                            : command_main(&ctl, &root_command, args);
    code = output_close(code);
    ctl_done(&ctl);
    return code;
}
