/* The HTTP API of etcd 2 as a facade over the store of etcd 3: no entry of its own in the log, no
 * store of its own. A node is a key below the reserved prefix `\0v2/`; indices are revisions, times
 * to live are leases; each write is one transaction that holds only where the nodes are still as
 * they were read, and is planned anew where they are not.
 *
 *     \0v2/                  the last change, as its watchers are told of it: its history is the
 *                            history of the API
 *     \0v2/a\0b\0c           the node /a/b/c: NUL for /, so that a directory's nodes follow it
 *
 *     pages ─> v2_params ─┬─ GET ──────────> v2_read     node or listing, slice by slice
 *                         ├─ GET wait ─────> v2_watch    the history of `\0v2/` and deletions
 *                         └─ PUT POST DELETE v2_write    plan ─> lease ─> transaction ─> answer
 *
 * A directory whose time is up goes by its lease; what lies below and has no lease of its own is
 * not seen any more, and cleaned away when the directory is made again.
 *
 * Thread: the front's.  Source: etcd's interface, v2 table. */
#pragma once

#include "api/front_internal.h"

/* /v2/keys…: false where the API is off or the path is none of its. */
bool v2_keys_serve(struct request *request, struct bytes body);
/* /v2/members…, whether the API is on or not: false where the path is none of its. */
bool v2_members_serve(struct request *request, struct bytes body);
/* /v2/stats/self, /store and /leader. */
void v2_stats_self(struct request *request);
void v2_stats_store(struct request *request);
void v2_stats_leader(struct request *request);
