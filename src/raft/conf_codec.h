/* Membership changes as they lie in an entry's data: raftpb.ConfChange and raftpb.ConfChangeV2.
 * Thread: any. */
#pragma once

#include "base/buf.h"
#include "raft/types.h"

/* type: the entry's, one of the two conf change types. *ret_change borrows from data. Unknown
 * fields are skipped; the last of a field given twice counts. Empty data are a V2 that leaves a
 * joint configuration, or a V1 that names nobody.
 * Fails: ERR_SYNTAX  not protobuf, or an unknown type or transition; ERR_LIMIT  more changes than
 *        RAFT_MEMBERS_MAX. */
MUST err raft_conf_change_decode(enum raft_entry_type type, struct bytes data,
                                 struct raft_conf_change *ret_change);
/* Appends the canonical encoding, the one that etcd writes.
 * Fails: ERR_LIMIT  (buf); ERR_USAGE  a V1 without exactly one change or with a transition. */
MUST err raft_conf_change_encode(enum raft_entry_type type, const struct raft_conf_change *change,
                                 struct buf *buf);
