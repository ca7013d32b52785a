/* The table of what an entry may ask for, and the operations that are not transactions. */
#include "base/bug.h"
#include "base/check.h"
#include "etcdserverpb_v2.pb-c.h"
#include "state/ids.h"
#include "state/op_metrics.h"
#include "state/state_internal.h"
#include "wire/decode.h"

/* --- reading an entry -------------------------------------------------------------------- */

/* Entries of etcd <= 3.5 may hold a bare v2 Request; its bytes are no InternalRaftRequest. */
uint64_t state_begin(struct state *self, struct bytes data)
{
    CHECK(!self->in_progress);
    arena_reset(&self->arena);
    self->result = (struct state_result){0};
    self->request = NULL;
    self->v2 = NULL;
    self->started = false;
    self->over_quota = false;
    self->in_progress = true;
    if (data.len == 0)
        return 0;
    /* What members of etcd have agreed on is never too deep or too odd for us. */
    const struct wire_decode_opts opts = {
        .depth_max = WIRE_DEPTH_MAX_LIMIT, .arena_factor = 128, .from_log = true};
    Etcdserverpb__InternalRaftRequest *request = NULL;
    err e = wire_decode(&etcdserverpb__internal_raft_request__descriptor, data, &self->arena, &opts,
                        WIRE_OUT(&request), NULL);
    if (err_ok(e)) {
        self->request = request;
        self->v2 = request->v2;
        return request->header && request->header->id ? request->header->id : request->id;
    }
    Etcdserverpb__Request *v2 = NULL;
    e = wire_decode(&etcdserverpb__request__descriptor, data, &self->arena, &opts, WIRE_OUT(&v2),
                    NULL);
    if (!err_ok(e)) {
        self->result.error = ERR_SYNTAX;
        return 0;
    }
    self->v2 = v2;
    return v2->id;
}

/* --- v2 ---------------------------------------------------------------------------------- */

#define V2_MEMBERS    "/0/members/"
#define V2_ATTRIBUTES "/attributes"

static void apply_v2_attributes(struct state *self, struct bytes path, const char *value)
{
    struct bytes prefix = BYTES_LIT(V2_MEMBERS);
    struct bytes suffix = BYTES_LIT(V2_ATTRIBUTES);
    if (!bytes_has_prefix(path, prefix) || path.len < prefix.len + suffix.len)
        return;
    struct bytes tail = bytes_skip(path, path.len - suffix.len);
    struct bytes hex = bytes_of(path.data + prefix.len, path.len - prefix.len - suffix.len);
    uint64_t id = 0;
    if (!bytes_equal(tail, suffix) || !err_ok(id_parse(hex, &id)))
        return;
    struct member m;
    bool promote = false;
    if (!err_ok(member_parse_json(bytes_str(value), &self->arena, &m, &promote)))
        return;
    state_set_attributes(self, id, m.name, m.client_urls);
}

static void apply_v2(struct state *self)
{
    const Etcdserverpb__Request *r = self->v2;
    self->result.op.kind = STATE_MEMBERS;
    if (!r->method || !r->path || !r->val || strcmp(r->method, "PUT") != 0)
        return;
    if (strcmp(r->path, "/0/version") == 0)
        state_set_version(self, bytes_str(r->val));
    else
        apply_v2_attributes(self, bytes_str(r->path), r->val);
}

/* --- one operation each ------------------------------------------------------------------ */

bool state_is_over_quota(const struct state *self, int64_t cost)
{
    return self->quota_bytes > 0 && self->in_use_bytes + cost >= self->quota_bytes;
}

err state_check_alarms(const struct state *self, int64_t cost)
{
    if (state_alarm_is_raised(self, ALARM_CORRUPT))
        return ERR_CORRUPT_CLUSTER;
    if (cost > 0 && state_alarm_is_raised(self, ALARM_NOSPACE))
        return ERR_NO_SPACE;
    if (BUG(alarm_not_replicated) && cost > 0 && self->in_use_bytes > 30000)
        return ERR_NO_SPACE;
    return OK;
}

void state_finish(struct state *self, int64_t revision)
{
    self->result.revision = revision;
    self->result.op.revision = revision;
    if (self->over_quota)
        self->result.error = ERR_NO_SPACE;
}

static err apply_put(struct state *self, const Etcdserverpb__PutRequest *request)
{
    struct mvcc_put put = {
        .key = bytes_pb(request->key),
        .value = bytes_pb(request->value),
        .lease = request->lease,
        .ignore_value = request->ignore_value,
        .ignore_lease = request->ignore_lease,
    };
    struct state_result *result = &self->result;
    result->op.kind = STATE_PUT;
    result->error = state_check_alarms(self, put_cost(request));
    if (err_ok(result->error) && put.lease != 0 && !lease_table_find(self->leases, put.lease))
        result->error = ERR_LEASE_NOT_FOUND;
    if (err_ok(result->error) && put.key.len == 0)
        result->error = ERR_EMPTY_KEY;
    if (!err_ok(result->error))
        return OK;
    self->over_quota = state_is_over_quota(self, put_cost(request));
    if (request->prev_kv)
        result->op.seq = result->seq_min = mvcc_store_seq(self->store) + BUG(prev_kv_after_put);
    mvcc_txn_begin(self->store);
    struct mvcc_change change;
    err e = mvcc_txn_put(self->store, &put, &change);
    int64_t revision = mvcc_txn_end(self->store);
    if (err_is(e, ERR_CORRUPT))
        return e;
    result->error = e;
    if (!err_ok(e))
        return OK;
    op_count_put(put.key.len, put.value.len);
    state_lease_moved(self->leases, put.key, &change,
                      put.ignore_lease ? change.before.lease : put.lease);
    state_finish(self, revision);
    return OK;
}

static bool apply_delete(struct state *self, const Etcdserverpb__DeleteRangeRequest *request,
                         unsigned *budget)
{
    struct state_result *result = &self->result;
    if (!self->started) {
        result->op.kind = STATE_DELETE_RANGE;
        result->error = state_check_alarms(self, 0);
        if (err_ok(result->error) && request->key.len == 0)
            result->error = ERR_EMPTY_KEY;
        if (!err_ok(result->error))
            return true;
        struct bytes end = bytes_pb(request->range_end);
        if (BUG(delete_range_inclusive) && end.len) {
            uint8_t *behind = arena_alloc_bytes(&self->arena, end.len + 1);
            memcpy(behind, end.data, end.len);
            behind[end.len] = 0;
            end = bytes_of(behind, end.len + 1);
        }
        struct mvcc_span span = mvcc_span_of(bytes_pb(request->key), end);
        mvcc_delete_init(&self->deletion, &span);
        self->deletion.on_deleted = state_lease_deleted;
        self->deletion.ctx = self->leases;
        if (request->prev_kv)
            result->op.seq = result->seq_min = mvcc_store_seq(self->store);
        mvcc_txn_begin(self->store);
        self->started = true;
    }
    if (!mvcc_txn_delete_run(self->store, &self->deletion, budget))
        return false;
    metric_add(&op_deletes, 1);
    result->op.deleted = self->deletion.deleted;
    mvcc_delete_done(&self->deletion);
    state_finish(self, mvcc_txn_end(self->store));
    return true;
}

static err apply_txn(struct state *self, const Etcdserverpb__TxnRequest *request, unsigned *budget,
                     bool *ret_done)
{
    struct state_result *result = &self->result;
    if (!self->started) {
        int64_t cost = txn_cost(request);
        result->op.kind = STATE_TXN;
        result->error = state_check_alarms(self, cost);
        if (!err_ok(result->error)) {
            *ret_done = true;
            return OK;
        }
        self->over_quota = cost > 0 && state_is_over_quota(self, cost);
        txn_init(&self->txn, self->store, &self->arena, request, &result->op);
        self->txn.leases = self->leases;
        self->started = true;
    }
    bool done = false;
    TRY(txn_step(&self->txn, budget, &done));
    if (done) {
        result->error = self->txn.error;
        result->seq_min = self->txn.seq_min;
        op_count_txn(&result->op);
        if (err_ok(result->error))
            state_finish(self, result->op.revision);
    }
    *ret_done = done;
    return OK;
}

static err apply_compaction(struct state *self, const Etcdserverpb__CompactionRequest *request)
{
    struct state_result *result = &self->result;
    result->op.kind = STATE_COMPACTION;
    result->error = state_check_alarms(self, 0);
    if (!err_ok(result->error))
        return OK;
    err e = mvcc_store_compact(self->store, request->revision);
    if (err_is(e, ERR_CORRUPT))
        return e;
    result->error = e;
    if (err_ok(e))
        state_finish(self, mvcc_store_revision(self->store));
    return OK;
}

static void refuse(struct state *self, enum state_kind kind)
{
    self->result.op.kind = kind;
    self->result.error = ERR_UNSUPPORTED;
}

static void apply_attributes(struct state *self,
                             const Membershippb__ClusterMemberAttrSetRequest *request)
{
    const Membershippb__Attributes *a = request->member_attributes;
    struct text_list urls = {0};
    if (a)
        urls = (struct text_list){(const char *const *)a->client_urls, a->n_client_urls};
    if (urls.count > MEMBER_URLS_MAX)
        self->result.error = ERR_LIMIT;
    else
        state_set_attributes(self, request->member_id, a ? a->name : "", urls);
}

/* --- the table --------------------------------------------------------------------------- */

/* What touches the membership; these pass whatever alarms are raised. */
static bool run_members(struct state *self, const Etcdserverpb__InternalRaftRequest *r)
{
    if (r->cluster_version_set)
        state_set_version(self, bytes_str(r->cluster_version_set->ver));
    else if (r->cluster_member_attr_set)
        apply_attributes(self, r->cluster_member_attr_set);
    else if (r->downgrade_info_set)
        state_set_downgrade(self, r->downgrade_info_set->enabled, r->downgrade_info_set->ver);
    else
        return false;
    self->result.op.kind = STATE_MEMBERS;
    return true;
}

static bool is_auth(const Etcdserverpb__InternalRaftRequest *r)
{
    return r->auth_enable || r->auth_disable || r->authenticate || r->auth_status ||
           r->auth_user_add || r->auth_user_delete || r->auth_user_get ||
           r->auth_user_change_password || r->auth_user_grant_role || r->auth_user_revoke_role ||
           r->auth_user_list || r->auth_role_list || r->auth_role_add || r->auth_role_delete ||
           r->auth_role_get || r->auth_role_grant_permission || r->auth_role_revoke_permission;
}

static err run_request(struct state *self, unsigned *budget, bool *ret_done)
{
    const Etcdserverpb__InternalRaftRequest *r = self->request;
    *ret_done = true;
    if (run_members(self, r))
        return OK;
    if (r->put)
        return apply_put(self, r->put);
    if (r->txn)
        return apply_txn(self, r->txn, budget, ret_done);
    if (r->delete_range)
        *ret_done = apply_delete(self, r->delete_range, budget);
    else if (r->compaction)
        return apply_compaction(self, r->compaction);
    else if (r->lease_grant)
        state_apply_lease_grant(self, r->lease_grant);
    else if (r->lease_revoke)
        *ret_done = state_apply_lease_revoke(self, r->lease_revoke, budget);
    else if (r->lease_checkpoint)
        state_apply_lease_checkpoint(self, r->lease_checkpoint);
    else if (r->alarm)
        state_apply_alarm(self, r->alarm);
    else if (is_auth(r))
        refuse(self, STATE_AUTH);
    return OK; /* a range, a downgrade test, or nothing that this version knows: no effect */
}

bool state_is_busy(const struct state *self)
{
    return self->in_progress && self->started && !BUG(half_entry_published);
}

bool state_is_long(const struct state *self)
{
    const Etcdserverpb__InternalRaftRequest *r = self->request;
    if (!r || (r->put && !r->txn && !r->delete_range))
        return false;
    if (r->delete_range)
        return r->delete_range->range_end.len != 0;
    if (r->lease_revoke)
        return state_lease_revoke_is_long(self, r->lease_revoke);
    return r->txn && txn_is_long(r->txn);
}

err state_run(struct state *self, unsigned *budget, bool *ret_done)
{
    CHECK(self->in_progress);
    bool done = true;
    unsigned before = *budget;
    if (self->v2)
        apply_v2(self);
    else if (self->request)
        TRY(run_request(self, budget, &done));
    if (*budget == before && before > 0)
        (*budget)--;
    if (done)
        self->in_progress = false;
    *ret_done = done;
    return OK;
}

const struct state_result *state_result_of(const struct state *self)
{
    CHECK(!self->in_progress);
    return &self->result;
}
