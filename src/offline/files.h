/* What the tools share: directories, and what happens when a disk fails. */
#pragma once

#include "io/file.h"

/* As the stages' configs want it: says what failed on stderr and ends the program. */
__attribute__((noreturn)) void offline_disk_failed(void *ctx, const char *what, const char *file,
                                                   err e);
/* A directory and all that is in it, so many levels deep; absent is fine. */
MUST err offline_remove_tree(int parent, const char *name, unsigned depth);
MUST err offline_sync_dir(const char *path);
