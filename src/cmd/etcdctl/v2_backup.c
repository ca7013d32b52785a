/* backup: a data directory made out of another one, for a new cluster of one member. */
#include "etcdctl/v2_backup.h"

#include "base/seed.h"
#include "offline/export.h"
#include "offline/restore.h"

#include <unistd.h>

#define O struct v2_backup_options
const struct flag v2_backup_flags[] = {
    STRING_FLAG(O, data_dir, "data-dir", "", "the data directory; its server must not run"),
    STRING_FLAG(O, wal_dir, "wal-dir", "", "its write-ahead log, if apart"),
    STRING_FLAG(O, backup_dir, "backup-dir", "", "where to make the backup"),
    STRING_FLAG(O, backup_wal_dir, "backup-wal-dir", "", "and its write-ahead log, if apart"),
    BOOL_FLAG(O, with_v3, "with-v3", "accepted: both APIs' keys are in one store"),
    {0},
};
#undef O

/* No other cluster's: two backups of one directory must never talk to each other. */
static const char *new_token(struct arena *arena)
{
    return arena_printf(arena, "etcd-backup-%016llx", (unsigned long long)seed_new());
}

int v2_run_backup(struct v2 *self, const void *opaque, struct strings args)
{
    const struct v2_backup_options *options = opaque;
    const char *reason = NULL;
    if (args.count || !options->data_dir[0] || !options->backup_dir[0])
        return v2_error(V2_BAD_ARGS, "backup takes --data-dir and --backup-dir");
    const char *db = arena_printf(self->arena, "%s.db", options->backup_dir);
    const struct export_options from = {.data_dir = options->data_dir, .wal_dir = options->wal_dir};
    err e = export_db(&from, db, self->arena, &reason);
    if (err_ok(e)) {
        const struct restore_options to = {.snapshot = db,
                                           .name = "default",
                                           .data_dir = options->backup_dir,
                                           .wal_dir = options->backup_wal_dir,
                                           .initial_cluster = "default=http://localhost:2380",
                                           .initial_cluster_token = new_token(self->arena),
                                           .advertise_peer_urls = "http://localhost:2380",
                                           .skip_hash_check = true};
        e = restore_run(&to, self->arena, &reason);
        (void)unlink(db);
    }
    return e.code ? v2_error(V2_BAD_ARGS, "%s", reason) : V2_OK;
}
