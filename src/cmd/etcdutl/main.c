/* etcdutl: results on stdout, everything else on stderr. */
#include "etcdutl/etcdutl.h"

#include <signal.h>

#define ARENA_BLOCK_BYTES 16384

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    const struct strings args = {(const char *const *)argv + (argc > 0),
                                 (unsigned)(argc > 0 ? argc - 1 : 0)};
    (void)signal(SIGPIPE, SIG_DFL);
    arena_init(&ctl.arena, ARENA_BLOCK_BYTES);
    int code = command_main(&ctl, &etcdutl_root, args);
    /* A result that could not be written whole is no success. */
    if (!code && (fflush(stdout) != 0 || ferror(stdout)))
        code = ctl_fail(CTL_IO, "cannot write to stdout");
    ctl_done(&ctl);
    return code;
}
