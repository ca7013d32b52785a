/* etcd's own store, DATA/member/snap/db, written anew: without its free pages, and with one fact of
 * its bucket meta changed where that is asked for. The new file gets the old one's name only when
 * all of it is on the disk.
 *
 * Thread: the program's.  Errors: *ret_reason, in the arena, is for people. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

struct rewrite_options {
    const char *data_dir;
    uint64_t lock_timeout_ms;    /* to wait for a server to let go of the file */
    const char *storage_version; /* NULL: as it is; "": none */
};

/* Whose data directory it is. Fails: ERR_NOT_FOUND where it is neither's. */
enum data_dir_kind { DATA_DIR_OURS, DATA_DIR_OF_ETCD };
MUST err data_dir_kind(const char *data_dir, struct arena *arena, enum data_dir_kind *ret_kind,
                       const char **ret_reason);
/* Of etcd's. *ret_before, *ret_after: bytes of the file. Fails: ERR_LOCKED, ERR_CORRUPT,
 * ERR_DISK_FULL, … */
MUST err rewrite_run(const struct rewrite_options *options, struct arena *arena,
                     uint64_t *ret_before, uint64_t *ret_after, const char **ret_reason);
