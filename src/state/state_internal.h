/* What the files of src/state share. Not for other folders. */
#pragma once

#include "base/arena.h"
#include "etcdserverpb_internal.pb-c.h"
#include "mvcc/range.h"
#include "mvcc/store.h"
#include "state/lease_table.h"
#include "state/state.h"
#include "state/txn.h"

struct state {
    struct mvcc_store *store;
    struct epoch *epoch;
    uint64_t member_id;
    unsigned learners_max;
    int64_t quota_bytes;
    int64_t in_use_bytes;
    int64_t lease_ttl_min_s;
    bool store_checkpoints;
    struct membership *members;
    struct alarms *alarms;
    struct lease_table *leases;
    const struct tree_node *lease_keys; /* published */
    void (*on_lease_removed)(void *ctx, struct lease *lease);
    void *lease_ctx;
    /* what was replaced since the last publish: views still show it */
    struct epoch_item *replaced_members;
    struct epoch_item *replaced_alarms;

    /* the entry in progress, or done last */
    struct arena arena;
    const Etcdserverpb__InternalRaftRequest *request; /* NULL: none in progress */
    const Etcdserverpb__Request *v2;
    struct state_result result;
    bool in_progress;
    bool over_quota; /* judged before the effects */
    bool started;
    struct mvcc_delete deletion; /* of a delete range */
    struct txn_run txn;
    struct buf revoke_key; /* of a revoke: the key that is deleted next, behind its lease */
    bool revoke_at_once;
};

static inline struct bytes bytes_pb(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* --- members.c's counterpart in the store: membership.c ---------------------------------- */

void state_set_members(struct state *self, struct membership *next);
void state_set_attributes(struct state *self, uint64_t id, const char *name,
                          struct text_list client_urls);
void state_set_version(struct state *self, struct bytes text);
void state_set_downgrade(struct state *self, bool enabled, const char *target);
MUST err state_load_members(struct state *self);

/* --- what every operation asks and says (apply.c) ----------------------------------------- */

/* What stands before any write: the alarms, CORRUPT first. */
MUST err state_check_alarms(const struct state *self, int64_t cost);
bool state_is_over_quota(const struct state *self, int64_t cost);
/* The entry in progress has done what it was to do. */
void state_finish(struct state *self, int64_t revision);
/* A put or a deletion changed the key: its leases let go and take hold. */
void state_lease_moved(struct lease_table *leases, struct bytes key,
                       const struct mvcc_change *change, int64_t lease);
/* on_deleted of a deletion; ctx is the lease table. */
void state_lease_deleted(void *ctx, struct bytes key, const struct mvcc_change *change);

/* --- leases (lease_apply.c) ---------------------------------------------------------------- */

void state_apply_lease_grant(struct state *self, const Etcdserverpb__LeaseGrantRequest *request);
/* True: done. */
bool state_apply_lease_revoke(struct state *self, const Etcdserverpb__LeaseRevokeRequest *request,
                              unsigned *budget);
bool state_lease_revoke_is_long(const struct state *self,
                                const Etcdserverpb__LeaseRevokeRequest *request);
void state_apply_lease_checkpoint(struct state *self,
                                  const Etcdserverpb__LeaseCheckpointRequest *request);
MUST err state_load_leases(struct state *self);

/* --- alarms ------------------------------------------------------------------------------ */

void state_retire_alarms(struct state *self);
MUST err state_load_alarms(struct state *self);
void state_apply_alarm(struct state *self, const Etcdserverpb__AlarmRequest *request);
/* Is one of this type raised by anyone? */
bool state_alarm_is_raised(const struct state *self, enum alarm_type type);
