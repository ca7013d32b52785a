/* Leases: what is replicated of them, and which keys each one holds.
 *
 *     bucket lease   id, u64 big endian ──> leasepb.Lease {ID, TTL, RemainingTTL}   (stored)
 *     table          id ──> struct lease                                            (the core's)
 *     keys           id, u64 big endian ‖ key                                       (published)
 *
 * 1. A key lies under the lease that its newest change names, and under no other; a key whose
 *    lease is not there (which only a foreign store can hold) lies under none.
 * 2. The keys of a lease are found in byte order: a revoke deletes them so on every member.
 * 3. When a lease ends is no part of this: deadlines are the leader's alone (replica/leases.c).
 *
 * Memory: about 100 bytes a lease, and of each attachment the key and some 30 bytes.
 * Thread: the core's; the published keys, any thread under a guard.
 * Source: etcd's interface, limits "Leases", semantics "Store", on-disk "Backend buckets". */
#pragma once

#include "base/bytes.h"
#include "mvcc/index.h"

#define LEASE_TTL_MAX_S INT64_C(9000000000)
#define LEASE_KEY_BYTES 8 /* of a lease id, in the bucket and before its keys */

struct lease {
    int64_t id;
    int64_t ttl_s;       /* as granted */
    int64_t remaining_s; /* as of the last checkpoint; 0: all of it */
    /* The rest belongs to the replica, which keeps the leader's deadlines here; apply neither
     * reads nor changes it. */
    uint64_t term;         /* of the leadership that set the deadline */
    uint64_t deadline_ms;  /* when it ends */
    uint64_t scheduled_ms; /* its place in the queue: not above the deadline */
    size_t queue_at;       /* where it stands there, from 1; 0: nowhere */
};

/* --- the table --------------------------------------------------------------------------- */

struct lease_table;

/* Goes over the leases by id (as unsigned numbers), from the first id at or above `from`.
 * *ret_ids gets at most max of them; returns how many. */
size_t lease_table_list(const struct lease_table *self, uint64_t from, size_t max,
                        int64_t *ret_ids);
/* NULL where there is none. */
struct lease *lease_table_find(const struct lease_table *self, int64_t id);
size_t lease_table_count(const struct lease_table *self);

/* --- the keys of a lease, in a published root ---------------------------------------------- */

struct lease_keys {
    struct mvcc_cursor at;
    uint8_t prefix[LEASE_KEY_BYTES];
};

/* At the lease's first key that is >= from (BYTES_NONE: at its first). root: as the view has it. */
void lease_keys_seek(struct lease_keys *self, const struct tree_node *root, int64_t id,
                     struct bytes from);
bool lease_keys_valid(const struct lease_keys *self);
void lease_keys_next(struct lease_keys *self);
size_t lease_keys_bytes(const struct lease_keys *self);
/* Writes the key's lease_keys_bytes bytes. scratch has LEASE_KEY_BYTES more than they. */
struct bytes lease_keys_key(const struct lease_keys *self, uint8_t *scratch);
/* O(log n). */
uint64_t lease_keys_count(const struct tree_node *root, int64_t id);
