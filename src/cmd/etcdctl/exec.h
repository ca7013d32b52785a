/* Programs that etcdctl runs for its user: found by PATH, stdin from /dev/null, stdout and stderr
 * shared.  Thread: one at a time.  Owns: nothing; texts lie in the arena. */
#pragma once

#include "base/arena.h"
#include "etcdctl/flags.h"

#include <sys/types.h>

/* words: at least one. extra: more of the environment, "NAME=value".
 * Fails: ERR_NOT_FOUND, ERR_IO; *ret_why says it in Go's words. */
MUST err exec_start(struct strings words, struct strings extra, struct arena *arena, pid_t *ret_pid,
                    const char **ret_why);
/* Waits for its end; the status as waitpid tells it. */
int exec_wait(pid_t pid);
/* "exit status 3", "signal: killed"; NULL of success. */
const char *exec_status_text(int status, struct arena *arena);
