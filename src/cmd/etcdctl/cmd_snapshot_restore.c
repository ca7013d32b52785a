#include "etcdctl/snapshot.h"

#define O struct snapshot_restore_options
const struct flag snapshot_restore_flags[] = {
    STRING_FLAG(O, data_dir, "data-dir", "", "where to make the data directory; NAME.etcd"),
    STRING_FLAG(O, wal_dir, "wal-dir", "", "where to make the write-ahead log, if apart"),
    STRING_FLAG(O, initial_cluster, "initial-cluster", "default=http://localhost:2380",
                "members of the new cluster: NAME=URL,..."),
    STRING_FLAG(O, initial_cluster_token, "initial-cluster-token", "etcd-cluster",
                "what tells this cluster from others of the same members"),
    STRING_FLAG(O, advertise_peer_urls, "initial-advertise-peer-urls", "http://localhost:2380",
                "this member's peer URLs, a comma list"),
    STRING_FLAG(O, name, "name", "default", "this member's name"),
    BOOL_FLAG(O, skip_hash_check, "skip-hash-check",
              "pass over the file's sha256 (for a db that was copied from a data directory)"),
    INT_FLAG(O, initial_memory_map_size, "initial-memory-map-size", "10737418240",
             "accepted; nothing is mapped ahead"),
    INT_FLAG(O, bump_revision, "bump-revision", "0",
             "raise the revision by so much, so that clients' caches never see one again"),
    BOOL_FLAG(O, mark_compacted, "mark-compacted",
              "all revisions of the file count as compacted, so that watches begin anew"),
    BOOL_FLAG(O, for_etcd, "for-etcd",
              "make the directory that etcd itself starts from (etcd's own tool has no such flag)"),
    {0},
};
#undef O

int command_run_snapshot_restore(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct snapshot_restore_options *options = opaque;
    const char *why = NULL;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "snapshot restore requires exactly one argument");
    if (options->bump_revision < 0)
        return ctl_fail(CTL_BAD_ARGS, "--bump-revision is below zero");
    if ((options->bump_revision > 0) != options->mark_compacted)
        return ctl_fail(CTL_BAD_ARGS, "--mark-compacted required if --revision-bump > 0");
    const struct restore_options restore = {
        .snapshot = args.items[0],
        .name = options->name,
        .data_dir = options->data_dir,
        .wal_dir = options->wal_dir,
        .initial_cluster = options->initial_cluster,
        .initial_cluster_token = options->initial_cluster_token,
        .advertise_peer_urls = options->advertise_peer_urls,
        .skip_hash_check = options->skip_hash_check,
        .mark_compacted = options->mark_compacted,
        .bump_revision = (uint64_t)options->bump_revision,
        .for_etcd = options->for_etcd,
    };
    err e = restore_run(&restore, &ctl->arena, &why);
    return e.code ? ctl_fail(CTL_ERROR, "%s", why) : CTL_OK;
}
