/* What a new cluster begins with, alike on each of its members: ids out of --initial-cluster and
 * its token, and a log whose first entries add the members.
 *
 * Thread: any one.  Owns: its membership; the rest lies in the arena.
 * Source: etcd's interface, on-disk formats, "IDs and raft entries". */
#pragma once

#include "raft/types.h"
#include "server/cluster_list.h"
#include "state/members.h"

struct founding {
    uint64_t member_id; /* of --name */
    uint64_t cluster_id;
    struct membership *members;
    struct cluster_list list; /* of --initial-cluster */
};

/* From --initial-cluster, --initial-cluster-token, --name and --initial-advertise-peer-urls.
 * Fails: as cluster_list_parse, cluster_list_check and membership_parse_initial. */
MUST err founding_of(const struct config *config, struct arena *arena,
                     struct founding *ret_founding, const char **ret_reason);
/* One committed conf change a member, ascending id, from index 1 in term 1.
 * Fails: ERR_LIMIT where a member's URLs are too long. */
MUST err founding_entries(const struct membership *members, struct arena *arena,
                          struct raft_entry **ret_entries);
/* The log's metadata: etcdserverpb.Metadata's bytes. */
struct bytes founding_metadata(uint64_t member_id, uint64_t cluster_id, struct arena *arena);
