/* Members and cluster version as the v2 store's JSON: the data of a raft snapshot, and the truth
 * about members for etcd up to 3.5, which stops where it is missing; 3.7 passes over it.
 *
 *   {"Root":{"Path":"/",…,"Children":{
 *      "0":{… "members":{… "HEX":{… "raftAttributes":…, "attributes":…}},
 *             "removed_members":{… "HEX":…}, "version":… },
 *      "1":{…}}},
 *    "WatcherHub":{…},"CurrentIndex":N,"Stats":{…},"CurrentVersion":2}
 *
 * A node is a directory with Children or a key with a Value; leaves hold texts that are JSON
 * themselves: {"peerURLs":["u"],"isLearner":true} and {"name":"n","clientURLs":["u"]}.
 *
 * Source: etcd's interface, on-disk formats, "v2 store JSON".
 * Thread: any. */
#pragma once

#include "state/members.h"

/* Users' keys of the v2 API may lie beside what is read here. */
#define V2_STORE_BYTES_MAX ((size_t)48 << 20)

/* Appends. Fails: ERR_LIMIT of the buffer. */
MUST err membership_put_v2_store(const struct membership *self, struct buf *out);
/* Fails: ERR_SYNTAX (also where a member has no peer URL: nobody could reach it), ERR_LIMIT. */
MUST err membership_parse_v2_store(struct bytes json, struct membership **ret_membership);
