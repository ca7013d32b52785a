/* A new member's data directory out of a snapshot: its keys, leases and users in a new cluster of
 * the members that are named.
 *
 *     DATA/member.restoring/{store/N, wal}  ──synced, renamed──>  DATA/member
 *
 * so that whatever ends it half-way, nothing half-made is taken for a member's directory: a server
 * refuses to start beside an unfinished one, and the next restore begins anew. A log directory of
 * its own is filled before that name is given, and is refused by a server as long as it has no
 * store.
 *
 * Thread: the program's.  Errors: *ret_reason, in the arena, in etcd's words where it has some. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct restore_options {
    const char *snapshot;
    const char *name;
    const char *data_dir; /* "": NAME.etcd */
    const char *wal_dir;  /* "": inside the data directory */
    const char *initial_cluster;
    const char *initial_cluster_token;
    const char *advertise_peer_urls;
    bool skip_hash_check;
    bool mark_compacted;
    uint64_t bump_revision;
    bool for_etcd; /* etcd's own layout: snap/db instead of our store */
};

MUST err restore_run(const struct restore_options *options, struct arena *arena,
                     const char **ret_reason);
