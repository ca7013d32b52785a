/* The leases of one member in memory, as src/state changes them. Not for other folders.
 * Thread: the core's. */
#pragma once

#include "base/epoch.h"
#include "state/lease.h"

struct lease_table *lease_table_new(struct epoch *epoch);
/* No reader may be left. NULL is legal. */
void lease_table_free(struct lease_table *self);

/* CHECK: there is none with this id. */
struct lease *lease_table_add(struct lease_table *self, int64_t id, int64_t ttl_s);
/* CHECK: it holds no key. Frees it. */
void lease_table_remove(struct lease_table *self, struct lease *lease);

/* The key's newest change names `to` instead of `from`; 0: none. Ids without a lease count as 0. */
void lease_table_move(struct lease_table *self, struct bytes key, int64_t from, int64_t to);

/* The root being built, for the core's own reading. */
const struct tree_node *lease_table_root(const struct lease_table *self);
/* As mvcc_index_publish and mvcc_index_retire. */
const struct tree_node *lease_table_publish(struct lease_table *self);
void lease_table_retire(struct lease_table *self);
