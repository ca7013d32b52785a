#include "model.h"

#include "base/array.h"
#include "base/check.h"
#include "base/map.h"
#include "etcdserverpb_internal.pb-c.h"
#include "model_hash.h"
#include "sim.h"
#include "wire/decode.h"

#include <stdlib.h>

#define LEASES_MAX 200000u
#define ALARMS_MAX 256u /* of members, former ones too */

struct version {
    int64_t main, create, version, lease;
    uint64_t value;
    bool deleted;
    size_t row;
};

struct key {
    struct version *versions;
    size_t count, cap;
};

struct model {
    struct sim *sim;
    struct key keys[SIM_KEYS];
    struct model_rows rows;
    int64_t revision, compacted;
    uint64_t full[ALARMS_MAX]; /* members that have raised NOSPACE */
    struct model_result **results;
    size_t result_count, result_cap;
    struct map by_id; /* request id -> result */
    struct model_lease *leases;
    size_t lease_count;
    uint64_t lease_sum, alarm_sum;
    struct arena arena;
};

uint64_t model_hash_bytes(struct bytes what)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ what.len;
    for (; what.len >= 8; what = bytes_skip(what, 8)) {
        hash = (hash ^ bytes_get_le64(what.data)) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    for (size_t i = 0; i < what.len; i++)
        hash = (hash ^ what.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void model_key_name(unsigned key, char out[8])
{
    (void)snprintf(out, 8, "k%02u", key % 100);
}

/* ---- the plain store ---------------------------------------------------------------------------
 */

static int key_of(ProtobufCBinaryData name)
{
    if (name.len != 3 || name.data[0] != 'k')
        return -1;
    int key = (name.data[1] - '0') * 10 + (name.data[2] - '0');
    return key < SIM_KEYS ? key : -1;
}

struct model_state model_get(const struct model *self, unsigned key, int64_t revision)
{
    const struct key *k = &self->keys[key];
    size_t lo = 0, hi = k->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (k->versions[mid].main <= revision)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0 || k->versions[lo - 1].deleted)
        return (struct model_state){0};
    const struct version *v = &k->versions[lo - 1];
    return (struct model_state){true, v->create, v->main, v->version, v->lease, v->value};
}

static int by_revision(const void *a, const void *b)
{
    const struct model_change *x = a, *y = b;
    return (x->revision > y->revision) - (x->revision < y->revision);
}

size_t model_changes(const struct model *self, unsigned from, unsigned to, int64_t lo, int64_t hi,
                     struct model_change **ret_changes)
{
    size_t count = 0, cap = 64;
    struct model_change *changes = calloc(cap, sizeof(*changes));
    CHECK(changes);
    for (unsigned key = from; key < to && key < SIM_KEYS; key++) {
        const struct key *k = &self->keys[key];
        for (size_t i = k->count; i-- > 0 && k->versions[i].main >= lo;) {
            if (k->versions[i].main > hi)
                continue;
            changes = array_grow(changes, count, &cap, sizeof(*changes));
            changes[count++] =
                (struct model_change){k->versions[i].main, key, k->versions[i].deleted};
        }
    }
    qsort(changes, count, sizeof(*changes), by_revision);
    *ret_changes = changes;
    return count;
}

/* value NULL: it goes. */
static void write_key(struct model *self, unsigned key, int64_t main, const struct bytes *value,
                      int64_t lease)
{
    struct model_state before = model_get(self, key, main);
    struct key *k = &self->keys[key];
    k->versions = array_grow(k->versions, k->count, &k->cap, sizeof(k->versions[0]));
    size_t row_before = k->count ? k->versions[k->count - 1].row : SIZE_MAX;
    struct version *v = &k->versions[k->count++];
    *v = (struct version){.main = main, .deleted = !value, .lease = lease};
    if (value) {
        v->create = before.exists ? before.create : main;
        v->version = before.exists ? before.version + 1 : 1;
        v->value = model_hash_bytes(*value);
    }
    char name[8];
    model_key_name(key, name);
    v->row = model_rows_add(&self->rows, bytes_str(name), main, v->create, v->version,
                            value ? *value : BYTES_NONE, lease, row_before);
}

static bool compare_holds(const struct model *self, const Etcdserverpb__Compare *compare)
{
    int key = key_of(compare->key);
    CHECK(key >= 0 && compare->result == ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    struct model_state state = model_get(self, (unsigned)key, self->revision);
    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION)
        return state.version == compare->version;
    CHECK(compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
    return state.mod == compare->mod_revision;
}

static void apply_put(struct model *self, const Etcdserverpb__PutRequest *put, int64_t main,
                      struct model_result *result, unsigned op)
{
    int key = key_of(put->key);
    CHECK(key >= 0);
    struct bytes value = bytes_of(put->value.data, put->value.len);
    result->ops[op].key = (unsigned)key;
    result->ops[op].seen = model_get(self, (unsigned)key, main);
    write_key(self, (unsigned)key, main, &value, put->lease);
}

/* Keys are deleted in order, from the first to before the end. */
static bool apply_delete(struct model *self, const Etcdserverpb__DeleteRangeRequest *request,
                         int64_t main, struct model_result *result, unsigned op)
{
    int64_t deleted = 0;
    for (unsigned key = 0; key < SIM_KEYS; key++) {
        char name[8];
        model_key_name(key, name);
        struct bytes at = bytes_str(name);
        struct bytes from = bytes_of(request->key.data, request->key.len);
        struct bytes to = bytes_of(request->range_end.data, request->range_end.len);
        bool in = to.len ? bytes_compare(at, from) >= 0 && bytes_compare(at, to) < 0
                         : bytes_equal(at, from);
        if (!in || !model_get(self, key, main).exists)
            continue;
        write_key(self, key, main, NULL, 0);
        deleted++;
    }
    result->ops[op].deleted = deleted;
    return deleted > 0;
}

/* ---- leases -----------------------------------------------------------------------------------
 */

struct model_lease *model_lease_at(struct model *self, size_t at)
{
    CHECK(at < self->lease_count);
    return &self->leases[at];
}

struct model_lease *model_lease_find(struct model *self, int64_t id)
{
    for (size_t i = self->lease_count; i-- > 0;)
        if (self->leases[i].id == id)
            return &self->leases[i];
    return NULL;
}

static struct model_lease *lease_live(struct model *self, int64_t id)
{
    struct model_lease *lease = model_lease_find(self, id);
    return lease && !lease->revoked ? lease : NULL;
}

size_t model_lease_count(const struct model *self)
{
    return self->lease_count;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void apply_txn(struct model *self, const Etcdserverpb__TxnRequest *txn,
                      struct model_result *result)
{
    bool holds = true;
    for (size_t i = 0; i < txn->n_compare; i++)
        holds = holds && compare_holds(self, txn->compare[i]);
    result->succeeded = holds;
    size_t count = holds ? txn->n_success : txn->n_failure;
    Etcdserverpb__RequestOp **ops = holds ? txn->success : txn->failure;
    CHECK(count <= MODEL_OPS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT &&
            ops[i]->request_put->lease && !lease_live(self, ops[i]->request_put->lease)) {
            result->code = ERR_LEASE_NOT_FOUND.code;
            return;
        }
    }
    int64_t main = self->revision + 1;
    bool changed = false;
    for (unsigned i = 0; i < count; i++) {
        const Etcdserverpb__RequestOp *op = ops[i];
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            apply_put(self, op->request_put, main, result, i);
            changed = true;
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            changed |= apply_delete(self, op->request_delete_range, main, result, i);
        } else {
            int key = key_of(op->request_range->key);
            CHECK(key >= 0);
            result->ops[i].key = (unsigned)key;
            result->ops[i].seen = model_get(self, (unsigned)key, main);
        }
    }
    result->count = (unsigned)count;
    if (changed)
        self->revision = main;
}

static void apply_grant(struct model *self, const Etcdserverpb__LeaseGrantRequest *request,
                        struct model_result *result)
{
    if (lease_live(self, request->id)) {
        result->code = ERR_LEASE_EXIST.code;
        return;
    }
    CHECK(self->lease_count < LEASES_MAX);
    self->leases[self->lease_count++] = (struct model_lease){
        .id = request->id, .ttl_s = request->ttl, .granted_us = self->sim->now_us};
    self->lease_sum += model_lease_hash(request->id, request->ttl);
}

/* Its keys go in their order, all in one revision. */
static void apply_revoke(struct model *self, int64_t id, struct model_result *result)
{
    struct model_lease *lease = lease_live(self, id);
    if (!lease) {
        result->code = ERR_LEASE_NOT_FOUND.code;
        return;
    }
    bool any = false;
    for (unsigned key = 0; key < SIM_KEYS; key++) {
        struct model_state state = model_get(self, key, self->revision);
        if (!state.exists || state.lease != id)
            continue;
        write_key(self, key, self->revision + 1, NULL, 0);
        any = true;
    }
    self->revision += any;
    lease->revoked = true;
    lease->revoked_us = self->sim->now_us;
    self->lease_sum -= model_lease_hash(lease->id, lease->ttl_s);
    clients_lease_ended(self->sim->clients, lease);
}

static void apply_compaction(struct model *self, int64_t revision, struct model_result *result)
{
    if (revision <= self->compacted)
        result->code = ERR_COMPACTED.code;
    else if (revision > self->revision)
        result->code = ERR_FUTURE_REV.code;
    else
        self->compacted = revision;
}

uint64_t model_alarm(const struct model *self)
{
    for (unsigned i = 0; i < ALARMS_MAX && self->alarm_sum; i++)
        if (self->full[i])
            return self->full[i];
    return 0;
}

uint64_t model_lease_hash(int64_t id, int64_t ttl_s)
{
    int64_t both[] = {id, ttl_s};
    return model_hash_bytes(bytes_of((const uint8_t *)both, sizeof(both)));
}

uint64_t model_alarm_hash(uint64_t member_id)
{
    return model_hash_bytes(bytes_of((const uint8_t *)&member_id, sizeof(member_id)));
}

uint64_t model_lease_sum(const struct model *self)
{
    return self->lease_sum;
}

uint64_t model_alarm_sum(const struct model *self)
{
    return self->alarm_sum;
}

static void apply_alarm(struct model *self, const Etcdserverpb__AlarmRequest *request)
{
    CHECK(request->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    bool raise = request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    uint64_t *place = NULL;
    for (unsigned i = 0; i < ALARMS_MAX; i++) {
        if (self->full[i] == request->memberid) {
            place = &self->full[i];
            break;
        }
        if (!self->full[i] && !place)
            place = &self->full[i];
    }
    CHECK(place);
    if (raise != (*place == request->memberid))
        self->alarm_sum +=
            raise ? model_alarm_hash(request->memberid) : -model_alarm_hash(request->memberid);
    *place = raise ? request->memberid : *place == request->memberid ? 0 : *place;
}

/* While a member has no room only deletions and compactions go on. */
static bool is_refused(const struct model *self, const Etcdserverpb__InternalRaftRequest *request)
{
    return model_alarm(self) && (request->put || request->txn || request->lease_grant);
}

/* A lease that a put names is not there. */
static bool misses_lease(struct model *self, const Etcdserverpb__InternalRaftRequest *request)
{
    return request->put && request->put->lease && !lease_live(self, request->put->lease);
}

static bool apply_request(struct model *self, const Etcdserverpb__InternalRaftRequest *request,
                          struct model_result *result)
{
    if (is_refused(self, request)) {
        result->code = ERR_NO_SPACE.code;
    } else if (misses_lease(self, request)) {
        result->code = ERR_LEASE_NOT_FOUND.code;
    } else if (request->lease_grant) {
        apply_grant(self, request->lease_grant, result);
    } else if (request->lease_revoke) {
        apply_revoke(self, request->lease_revoke->id, result);
    } else if (request->alarm) {
        apply_alarm(self, request->alarm);
    } else if (request->put) {
        apply_put(self, request->put, self->revision + 1, result, 0);
        self->revision++;
        result->count = 1;
    } else if (request->delete_range) {
        if (apply_delete(self, request->delete_range, self->revision + 1, result, 0))
            self->revision++;
        result->count = 1;
    } else if (request->txn) {
        apply_txn(self, request->txn, result);
    } else if (request->compaction) {
        apply_compaction(self, request->compaction->revision, result);
    } else {
        return false;
    }
    result->revision = self->revision;
    return true;
}

void model_apply(struct model *self, const struct raft_entry *entry)
{
    arena_reset(&self->arena);
    Etcdserverpb__InternalRaftRequest *request;
    if (entry->type != RAFT_ENTRY_NORMAL || entry->data.len == 0)
        return;
    err e = wire_decode(&etcdserverpb__internal_raft_request__descriptor, entry->data, &self->arena,
                        NULL, WIRE_OUT(&request), NULL);
    if (!err_ok(e))
        sim_fail(self->sim, "entry %llu does not decode", (unsigned long long)entry->index);
    struct model_result *result = calloc(1, sizeof(*result));
    CHECK(result);
    if (!apply_request(self, request, result)) {
        free(result);
        return;
    }
    result->request_id = request->header ? request->header->id : 0;
    result->index = entry->index;
    sim_say(self->sim, "entry %llu term %llu: %s, request %llx, revision %lld",
            (unsigned long long)entry->index, (unsigned long long)entry->term,
            request->put            ? "put"
            : request->lease_grant  ? "grant"
            : request->lease_revoke ? "revoke"
            : request->delete_range ? "delete"
            : request->txn          ? "txn"
            : request->alarm        ? "alarm"
                                    : "compaction",
            (unsigned long long)result->request_id, (long long)result->revision);
    if (map_get(&self->by_id, result->request_id))
        sim_fail(self->sim, "request %llx is applied twice, at %llu again",
                 (unsigned long long)result->request_id, (unsigned long long)entry->index);
    self->results = array_grow(self->results, self->result_count, &self->result_cap,
                               sizeof(struct model_result *));
    self->results[self->result_count++] = result;
    map_put(&self->by_id, result->request_id, result);
}

const struct model_result *model_result_of(const struct model *self, uint64_t request_id)
{
    return map_get(&self->by_id, request_id);
}

int64_t model_revision(const struct model *self)
{
    return self->revision;
}

int64_t model_compacted(const struct model *self)
{
    return self->compacted;
}

const struct model_rows *model_rows(const struct model *self)
{
    return &self->rows;
}

struct model *model_new(struct sim *sim)
{
    struct model *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    self->revision = 1;
    self->compacted = -1;
    self->leases = calloc(LEASES_MAX, sizeof(*self->leases));
    CHECK(self->leases);
    map_init(&self->by_id);
    arena_init(&self->arena, 65536);
    return self;
}

void model_free(struct model *self)
{
    for (size_t i = 0; i < self->result_count; i++)
        free(self->results[i]);
    for (unsigned i = 0; i < SIM_KEYS; i++)
        free(self->keys[i].versions);
    free(self->rows.rows);
    free(self->results);
    free(self->leases);
    map_done(&self->by_id);
    arena_done(&self->arena);
    free(self);
}
