/* From a data directory of ours to one that etcd itself starts from: what a member's store holds is
 * written as DATA/member/snap/db, beside a .snap file and a record in the log, which etcd can read
 * as it is. The member stays the same one: its ids, members and log go on.
 *
 * Our store stays beside it. Whichever server runs next, its data is the newer: ours takes an
 * etcd's over at a start (server/import.h).
 *
 * Thread: the program's.  Errors: *ret_reason, in the arena, is for people. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct export_options {
    const char *data_dir;
    const char *wal_dir; /* "": inside the data directory */
    bool remove_store;   /* ours, once all is written */
};

/* No server may run on it. Fails: ERR_NOT_FOUND, ERR_LOCKED, ERR_CORRUPT, ERR_DISK_FULL, … */
MUST err export_run(const struct export_options *options, struct arena *arena,
                    const char **ret_reason);

/* The store alone, as a db of etcd in a file that is written beside and then named. remove_store is
 * not looked at. Fails: as export_run. */
MUST err export_db(const struct export_options *options, const char *file, struct arena *arena,
                   const char **ret_reason);
