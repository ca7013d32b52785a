#include "client_priv.h"

#include "base/check.h"
#include "model_hash.h"

static ProtobufCBinaryData key_data(struct clients *self, unsigned key)
{
    char name[8];
    model_key_name(key, name);
    struct bytes copy = arena_copy(&self->arena, bytes_str(name));
    return (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.data};
}

/* No two values are the same. */
static ProtobufCBinaryData value_data(struct clients *self)
{
    struct sim *sim = self->sim;
    const struct sim_plan *plan = &sim->plan;
    size_t len = plan->value_bytes ? plan->value_bytes : 16 + (size_t)sim_below(sim, 64);
    if (sim_chance(sim, plan->large_permille))
        len = 16 + (size_t)sim_below(sim, plan->value_bytes_max);
    uint8_t *value = arena_alloc_bytes(&self->arena, len);
    memset(value, 'a' + (int)sim_below(sim, 26), len);
    bytes_put_be64(value, self->count);
    return (ProtobufCBinaryData){len, value};
}

static Etcdserverpb__PutRequest *put_of(struct clients *self, unsigned key)
{
    Etcdserverpb__PutRequest *put = ARENA_NEW(&self->arena, Etcdserverpb__PutRequest);
    etcdserverpb__put_request__init(put);
    put->key = key_data(self, key);
    put->value = value_data(self);
    put->prev_kv = true;
    if (self->sim->plan.weight_lease && !self->sim->healed && sim_chance(self->sim, 300))
        put->lease = lease_any(self);
    return put;
}

static Etcdserverpb__DeleteRangeRequest *delete_of(struct clients *self, unsigned key,
                                                   unsigned count)
{
    Etcdserverpb__DeleteRangeRequest *r = ARENA_NEW(&self->arena, Etcdserverpb__DeleteRangeRequest);
    etcdserverpb__delete_range_request__init(r);
    r->key = key_data(self, key);
    if (count > 1)
        r->range_end = key_data(self, key + count);
    return r;
}

static Etcdserverpb__RequestOp *op_of(struct clients *self)
{
    Etcdserverpb__RequestOp *op = ARENA_NEW(&self->arena, Etcdserverpb__RequestOp);
    etcdserverpb__request_op__init(op);
    return op;
}

static Etcdserverpb__RequestOp *op_put(struct clients *self, unsigned key)
{
    Etcdserverpb__RequestOp *op = op_of(self);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put_of(self, key);
    return op;
}

static Etcdserverpb__RequestOp *op_range(struct clients *self, unsigned key)
{
    Etcdserverpb__RequestOp *op = op_of(self);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = ARENA_NEW(&self->arena, Etcdserverpb__RangeRequest);
    etcdserverpb__range_request__init(op->request_range);
    op->request_range->key = key_data(self, key);
    return op;
}

static Etcdserverpb__RequestOp *op_delete(struct clients *self, unsigned key)
{
    Etcdserverpb__RequestOp *op = op_of(self);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = delete_of(self, key, 1);
    return op;
}

/* If the key is as it was seen, several keys change together; else it is only read. */
static Etcdserverpb__TxnRequest *txn_of(struct clients *self, unsigned key)
{
    struct sim *sim = self->sim;
    struct arena *arena = &self->arena;
    Etcdserverpb__TxnRequest *txn = ARENA_NEW(arena, Etcdserverpb__TxnRequest);
    etcdserverpb__txn_request__init(txn);
    struct model_state seen =
        model_get(sim->model, key, oracle_revision_at(sim->oracle, oracle_last(sim->oracle)));
    Etcdserverpb__Compare *compare = ARENA_NEW(arena, Etcdserverpb__Compare);
    etcdserverpb__compare__init(compare);
    compare->key = key_data(self, key);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    if (sim_chance(sim, 500)) {
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = seen.mod;
    } else {
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = seen.version;
    }
    txn->n_compare = 1;
    txn->compare = ARENA_ARRAY(arena, Etcdserverpb__Compare *, 1);
    txn->compare[0] = compare;
    unsigned other = (key + 1) % sim->plan.keys;
    unsigned third = (key + 2) % sim->plan.keys;
    txn->success = ARENA_ARRAY(arena, Etcdserverpb__RequestOp *, MODEL_OPS_MAX);
    txn->success[txn->n_success++] = op_put(self, key);
    if (sim_chance(sim, 500))
        txn->success[txn->n_success++] = op_range(self, key);
    if (sim_chance(sim, 700))
        txn->success[txn->n_success++] =
            sim_chance(sim, 300) ? op_delete(self, other) : op_put(self, other);
    if (third != key && sim_chance(sim, 300)) /* a key twice is refused before it is proposed */
        txn->success[txn->n_success++] = op_put(self, third);
    txn->failure = ARENA_ARRAY(arena, Etcdserverpb__RequestOp *, 1);
    txn->failure[txn->n_failure++] = op_range(self, key);
    return txn;
}

/* Mostly what is new; or all that is older than a while, as clusters are compacted that keep some
 * history; or up to a deletion, which is then neither old nor new. */
static int64_t compaction_of(struct sim *sim)
{
    int64_t revision = oracle_revision_at(sim->oracle, oracle_last(sim->oracle));
    int64_t oldest = model_compacted(sim->model) > 0 ? model_compacted(sim->model) : 0;
    unsigned way = (unsigned)sim_below(sim, 10);
    if (way < 6 || revision <= oldest)
        return revision - (int64_t)sim_below(sim, 20) + 2;
    int64_t any = oldest + 1 + (int64_t)sim_below(sim, (uint64_t)(revision - oldest));
    return way < 7 ? any : model_rows_deletion_before(model_rows(sim->model), any);
}

void request_make(struct clients *self, struct op *op, Etcdserverpb__InternalRaftRequest *request)
{
    struct sim *sim = self->sim;
    struct arena *arena = &self->arena;
    if (op->kind == OP_DISARM) {
        request->alarm = ARENA_NEW(arena, Etcdserverpb__AlarmRequest);
        etcdserverpb__alarm_request__init(request->alarm);
        request->alarm->action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
        request->alarm->memberid = model_alarm(sim->model);
        request->alarm->alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    } else if (op->kind == OP_PUT) {
        request->put = put_of(self, op->key);
    } else if (op->kind == OP_TXN) {
        request->txn = txn_of(self, op->key);
    } else if (op->kind == OP_DELETE) {
        unsigned left = sim->plan.keys - op->key;
        request->delete_range =
            delete_of(self, op->key, 1 + (unsigned)sim_below(sim, left < 6 ? left : 6));
    } else if (op->kind == OP_GRANT) {
        request->lease_grant = ARENA_NEW(arena, Etcdserverpb__LeaseGrantRequest);
        etcdserverpb__lease_grant_request__init(request->lease_grant);
        request->lease_grant->id = op->lease;
        request->lease_grant->ttl = LEASE_TTL_MIN_S + (int64_t)sim_below(sim, sim->plan.lease_ttls);
    } else if (op->kind == OP_REVOKE) {
        request->lease_revoke = ARENA_NEW(arena, Etcdserverpb__LeaseRevokeRequest);
        etcdserverpb__lease_revoke_request__init(request->lease_revoke);
        request->lease_revoke->id = op->lease;
        struct model_lease *lease = model_lease_find(sim->model, op->lease);
        if (lease)
            lease->to_revoke = true;
    } else {
        CHECK(op->kind == OP_COMPACT);
        request->compaction = ARENA_NEW(arena, Etcdserverpb__CompactionRequest);
        etcdserverpb__compaction_request__init(request->compaction);
        request->compaction->revision = compaction_of(sim);
        op->swept = sim_chance(sim, 500);
    }
}
