/* What other processes of this machine use, from /proc: processor time and memory.
 * Thread: any.  Owns: nothing. */
#pragma once

#include "base/err.h"

#include <stdint.h>

#include <sys/types.h>

struct procs_usage {
    double cpu_s;      /* user and system, all threads, ended ones too */
    uint64_t anon_kib; /* memory not backed by files: anonymous and shared */
    uint64_t file_kib; /* mapped from files */
};

/* The sum over the processes. Fails: ERR_NOT_FOUND where one is not there. */
MUST err procs_read(const pid_t *pids, unsigned count, struct procs_usage *ret_usage);
