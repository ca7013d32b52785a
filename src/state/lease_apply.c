/* What entries do to leases: grant, revoke, checkpoint; and their restoring at start. */
#include "base/bug.h"
#include "base/check.h"
#include "leasepb.pb-c.h"
#include "state/state_internal.h"
#include "wire/decode.h"
#include "wire/encode.h"

enum {
    GRANT_COST_BYTES = 64,
    /* A lease with no more keys goes in one piece, whatever is left of the budget. */
    REVOKE_KEYS_AT_ONCE = 64,
};

/* --- the bucket -------------------------------------------------------------------------- */

static void store_lease(struct state *self, const struct lease *lease)
{
    uint8_t key[LEASE_KEY_BYTES];
    Leasepb__Lease stored = LEASEPB__LEASE__INIT;
    stored.id = lease->id;
    stored.ttl = lease->ttl_s;
    stored.remainingttl = lease->remaining_s;
    bytes_put_be64(key, (uint64_t)lease->id);
    mvcc_store_bucket_put(self->store, MVCC_BUCKET_LEASE, bytes_of(key, sizeof(key)),
                          wire_encode_arena(&stored.base, &self->arena));
}

/* --- attachments ------------------------------------------------------------------------- */

void state_lease_moved(struct lease_table *leases, struct bytes key,
                       const struct mvcc_change *change, int64_t lease)
{
    if (BUG(lease_attach_lost) && change->before.lease && lease)
        return;
    lease_table_move(leases, key, change->before.lease, lease);
}

void state_lease_deleted(void *ctx, struct bytes key, const struct mvcc_change *change)
{
    state_lease_moved(ctx, key, change, 0);
}

/* --- grant ------------------------------------------------------------------------------- */

static err check_grant(const struct state *self, const Etcdserverpb__LeaseGrantRequest *request)
{
    TRY(state_check_alarms(self, GRANT_COST_BYTES));
    if (request->id == 0)
        return ERR_LEASE_NOT_FOUND;
    if (request->ttl > LEASE_TTL_MAX_S)
        return ERR_LEASE_TTL_TOO_LARGE;
    return lease_table_find(self->leases, request->id) ? ERR_LEASE_EXIST : OK;
}

void state_apply_lease_grant(struct state *self, const Etcdserverpb__LeaseGrantRequest *request)
{
    struct state_result *result = &self->result;
    result->op.kind = STATE_LEASE_GRANT;
    result->error = check_grant(self, request);
    if (!err_ok(result->error))
        return;
    self->over_quota = state_is_over_quota(self, GRANT_COST_BYTES);
    int64_t ttl_s = request->ttl < self->lease_ttl_min_s ? self->lease_ttl_min_s : request->ttl;
    struct lease *lease = lease_table_add(self->leases, request->id, ttl_s);
    store_lease(self, lease);
    result->lease_id = lease->id;
    result->lease_ttl_s = ttl_s;
    state_finish(self, mvcc_store_revision(self->store));
}

/* --- revoke ------------------------------------------------------------------------------ */

bool state_lease_revoke_is_long(const struct state *self,
                                const Etcdserverpb__LeaseRevokeRequest *request)
{
    const struct tree_node *keys = lease_table_root(self->leases);
    return lease_keys_count(keys, request->id) > REVOKE_KEYS_AT_ONCE;
}

/* The first key that the lease still holds, in the buffer; false: none. */
static bool next_key(struct state *self, int64_t id, struct bytes *ret_key)
{
    struct lease_keys at;
    lease_keys_seek(&at, lease_table_root(self->leases), id, BYTES_NONE);
    if (!lease_keys_valid(&at))
        return false;
    buf_clear(&self->revoke_key);
    err e = buf_reserve(&self->revoke_key, lease_keys_bytes(&at) + LEASE_KEY_BYTES);
    CHECK(err_ok(e));
    *ret_key = lease_keys_key(&at, self->revoke_key.data);
    return true;
}

/* Deleting a key takes it from its lease, so the first one is always the next one. */
static void delete_key(struct state *self, struct bytes key)
{
    struct mvcc_span span = mvcc_span_of(key, BYTES_NONE);
    struct mvcc_delete deletion;
    unsigned one = 1;
    mvcc_delete_init(&deletion, &span);
    deletion.on_deleted = state_lease_deleted;
    deletion.ctx = self->leases;
    (void)mvcc_txn_delete_run(self->store, &deletion, &one);
    CHECK(deletion.deleted == 1); /* what a lease holds is there (lease.h, 1) */
    mvcc_delete_done(&deletion);
}

static void revoke_end(struct state *self, int64_t id)
{
    uint8_t key[LEASE_KEY_BYTES];
    bytes_put_be64(key, (uint64_t)id);
    struct lease *lease = lease_table_find(self->leases, id);
    if (self->on_lease_removed)
        self->on_lease_removed(self->lease_ctx, lease);
    lease_table_remove(self->leases, lease);
    (void)mvcc_store_bucket_delete(self->store, MVCC_BUCKET_LEASE, bytes_of(key, sizeof(key)));
    self->result.lease_id = id;
    state_finish(self, mvcc_txn_end(self->store));
}

bool state_apply_lease_revoke(struct state *self, const Etcdserverpb__LeaseRevokeRequest *request,
                              unsigned *budget)
{
    struct state_result *result = &self->result;
    if (!self->started) {
        result->op.kind = STATE_LEASE_REVOKE;
        result->error = state_check_alarms(self, 0);
        if (err_ok(result->error) && !lease_table_find(self->leases, request->id))
            result->error = ERR_LEASE_NOT_FOUND;
        if (!err_ok(result->error))
            return true;
        self->revoke_at_once = !state_lease_revoke_is_long(self, request);
        mvcc_txn_begin(self->store);
        self->started = true;
    }
    struct bytes key;
    while (!BUG(lease_keys_survive) && next_key(self, request->id, &key)) {
        if (*budget == 0 && !self->revoke_at_once)
            return false;
        delete_key(self, key);
        *budget -= *budget > 0;
    }
    revoke_end(self, request->id);
    return true;
}

/* --- checkpoint -------------------------------------------------------------------------- */

/* Up to the first lease that is not there, as etcd does. What remains is stored from cluster
 * version 3.6 on, or where the member was told so; else it is known until the next start. */
void state_apply_lease_checkpoint(struct state *self,
                                  const Etcdserverpb__LeaseCheckpointRequest *request)
{
    const struct cluster_version stored_from = {3, 6};
    bool stored = self->store_checkpoints ||
                  cluster_version_compare(self->members->version, stored_from) >= 0;
    struct state_result *result = &self->result;
    result->op.kind = STATE_LEASE_CHECKPOINT;
    for (size_t i = 0; i < request->n_checkpoints; i++) {
        const Etcdserverpb__LeaseCheckpoint *checkpoint = request->checkpoints[i];
        struct lease *lease = lease_table_find(self->leases, checkpoint->id);
        if (!lease) {
            result->error = ERR_LEASE_NOT_FOUND;
            return;
        }
        lease->remaining_s = checkpoint->remaining_ttl;
        if (stored)
            store_lease(self, lease);
    }
    state_finish(self, mvcc_store_revision(self->store));
}

/* --- restoring --------------------------------------------------------------------------- */

static err load_lease(struct state *self, const struct mvcc_bucket_cursor *at)
{
    uint8_t key[LEASE_KEY_BYTES];
    Leasepb__Lease *stored = NULL;
    if (mvcc_bucket_cursor_key_bytes(at) != sizeof(key))
        return ERR_CORRUPT;
    mvcc_bucket_cursor_key(at, key);
    if (!err_ok(wire_decode(&leasepb__lease__descriptor, mvcc_bucket_cursor_value(at), &self->arena,
                            NULL, WIRE_OUT(&stored), NULL)) ||
        stored->id == 0 || (uint64_t)stored->id != bytes_get_be64(key))
        return ERR_CORRUPT;
    int64_t ttl_s = stored->ttl < self->lease_ttl_min_s ? self->lease_ttl_min_s : stored->ttl;
    lease_table_add(self->leases, stored->id, ttl_s)->remaining_s = stored->remainingttl;
    arena_reset(&self->arena);
    return OK;
}

static void load_attachments(struct state *self, const struct mvcc_view *view)
{
    struct mvcc_cursor at;
    AUTO(buf_done) struct buf key = {0};
    for (mvcc_cursor_seek(&at, view->root, BYTES_NONE); mvcc_cursor_valid(&at);
         mvcc_cursor_next(&at)) {
        struct mvcc_head head;
        mvcc_cursor_head(&at, &head);
        if (!mvcc_head_is_live(&head) || head.lease == 0)
            continue;
        buf_clear(&key);
        err e = buf_reserve(&key, mvcc_cursor_key_bytes(&at));
        CHECK(err_ok(e));
        mvcc_cursor_key(&at, key.data);
        lease_table_move(self->leases, bytes_of(key.data, mvcc_cursor_key_bytes(&at)), 0,
                         head.lease);
    }
}

err state_load_leases(struct state *self)
{
    struct mvcc_view view;
    struct mvcc_bucket_cursor at;
    mvcc_store_peek(self->store, &view);
    mvcc_bucket_cursor_seek(&at, &view, MVCC_BUCKET_LEASE, BYTES_NONE);
    for (; mvcc_bucket_cursor_valid(&at); mvcc_bucket_cursor_next(&at))
        TRY(load_lease(self, &at));
    if (lease_table_count(self->leases) > 0)
        load_attachments(self, &view);
    return OK;
}
