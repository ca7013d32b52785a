#include "api/contend.h"

#include "api/kv.h"
#include "api/quota.h"
#include "api/watch_tell.h"
#include "base/check.h"
#include "state/request.h"
#include "state/txn.h"
#include "wire/encode.h"

#include <inttypes.h>
#include <stdio.h>

enum { FIELD_DELETE_RANGE = 5, FIELD_TXN = 6, FIELD_LEASE_GRANT = 8 };
#define GRANT_COST_BYTES 64
#define SEARCH_BUDGET    2000

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static ProtobufCBinaryData pb_bytes(struct bytes bytes)
{
    return (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.data};
}

struct conditional {
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare;
    Etcdserverpb__RequestOp op;
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest del;
    Etcdserverpb__Compare *compares[1];
    Etcdserverpb__RequestOp *ops[1];
};

/* If the key's create revision is this, then put (or delete) it. */
static void conditional_init(struct conditional *self, struct bytes key, int64_t create)
{
    etcdserverpb__txn_request__init(&self->txn);
    etcdserverpb__compare__init(&self->compare);
    etcdserverpb__request_op__init(&self->op);
    etcdserverpb__put_request__init(&self->put);
    etcdserverpb__delete_range_request__init(&self->del);
    self->compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    self->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    self->compare.key = pb_bytes(key);
    self->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    self->compare.create_revision = create;
    self->compares[0] = &self->compare;
    self->ops[0] = &self->op;
    self->txn.n_compare = self->txn.n_success = 1;
    self->txn.compare = self->compares;
    self->txn.success = self->ops;
    self->del.key = self->put.key = pb_bytes(key);
    self->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    self->op.request_delete_range = &self->del;
}

static void conditional_put(struct conditional *self, struct bytes value, int64_t lease)
{
    self->put.value = pb_bytes(value);
    self->put.lease = lease;
    self->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    self->op.request_put = &self->put;
}

static void propose(struct request *request, unsigned field, const ProtobufCMessage *message,
                    void (*on_reply)(struct request *, const struct replica_reply *))
{
    request->raw = wire_encode_arena(message, &request->arena);
    request->canonical = true;
    kv_propose(request, field, on_reply);
}

static void propose_conditional(struct request *request, const struct conditional *what,
                                void (*on_reply)(struct request *, const struct replica_reply *))
{
    if (!quota_admits(request, txn_cost(&what->txn)))
        return;
    err e = kv_check_txn(&request->arena, &what->txn, 1);
    if (e.code)
        request_fail(request, e);
    else
        propose(request, FIELD_TXN, &what->txn.base, on_reply);
}

/* ── A contender ────────────────────────────────────────────────────────────────────────────── */

/* Nobody waits for what comes of it. */
static void take_key_away(struct request *request)
{
    struct contender *self = request->data;
    struct front *front = request->front;
    struct arena arena;
    struct conditional what;
    self->queued = false;
    if (front->shutting_down)
        return;
    arena_init(&arena, 512);
    conditional_init(&what, self->key, self->create);
    unsigned field = self->only_own_create ? FIELD_TXN : FIELD_DELETE_RANGE;
    struct bytes body =
        wire_encode_arena(self->only_own_create ? &what.txn.base : &what.del.base, &arena);
    uint64_t id = front_next_id(front);
    size_t size = state_request_size(field, body.len, id, BYTES_NONE, 0);
    state_request_write(front_propose_unasked(front, id, size), field, body, id, BYTES_NONE, 0);
    arena_done(&arena);
}

static void search_end(struct request *request)
{
    struct contender *self = request->data;
    if (!self->searching)
        return;
    self->searching = false;
    mvcc_range_done(&self->walk);
    mvcc_pin_drop(request->front->config.pins, &self->pin);
}

void contend_release(struct request *request)
{
    struct contender *self = request->data;
    search_end(request);
    if (self->queued)
        take_key_away(request);
}

void contend_init(struct contender *self, struct request *request, struct bytes name, int64_t lease)
{
    struct arena *arena = &request->arena;
    uint8_t *prefix = arena_alloc_bytes(arena, name.len + 1);
    uint8_t *end = arena_alloc_bytes(arena, name.len + 1);
    if (name.len) {
        memcpy(prefix, name.data, name.len);
        memcpy(end, name.data, name.len);
    }
    prefix[name.len] = '/';
    end[name.len] = '/' + 1;
    self->prefix = bytes_of(prefix, name.len + 1);
    self->end = bytes_of(end, name.len + 1);
    self->lease = lease;
    request->data = self;
    request->release = contend_release;
    request->hides_codes = true;
}

struct contender *contend_new(struct request *request, struct bytes name, int64_t lease)
{
    struct contender *self = ARENA_NEW(&request->arena, struct contender);
    contend_init(self, request, name, lease);
    return self;
}

void contend_keep_key(struct request *request)
{
    struct contender *self = request->data;
    self->queued = false;
}

void contend_fail(struct request *request, err e)
{
    struct contender *self = request->data;
    if (self->queued)
        take_key_away(request);
    request_fail(request, e);
}

/* ── Lease and key ──────────────────────────────────────────────────────────────────────────── */

/* As Go prints a number in hex. */
static void name_key(struct request *request)
{
    struct contender *self = request->data;
    uint64_t magnitude = self->lease < 0 ? -(uint64_t)self->lease : (uint64_t)self->lease;
    char digits[20];
    int n = snprintf(digits, sizeof(digits), "%s%" PRIx64, self->lease < 0 ? "-" : "", magnitude);
    uint8_t *key = arena_alloc_bytes(&request->arena, self->prefix.len + (size_t)n);
    memcpy(key, self->prefix.data, self->prefix.len);
    memcpy(key + self->prefix.len, digits, (size_t)n);
    self->key = bytes_of(key, self->prefix.len + (size_t)n);
}

static void granted(struct request *request, const struct replica_reply *reply)
{
    struct contender *self = request->data;
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    self->lease = reply->result.lease_id;
    name_key(request);
    self->then(request);
}

void contend_make_lease(struct request *request, void (*then)(struct request *request))
{
    struct contender *self = request->data;
    if (self->lease) {
        name_key(request);
        then(request);
        return;
    }
    if (!quota_admits(request, GRANT_COST_BYTES))
        return;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    do
        grant.id = (int64_t)(front_next_id(request->front) & INT64_MAX);
    while (grant.id == 0);
    grant.ttl = CONTEND_LEASE_TTL_S;
    self->then = then;
    propose(request, FIELD_LEASE_GRANT, &grant.base, granted);
}

bool contend_has_key(struct request *request, struct mvcc_state *ret_state)
{
    struct contender *self = request->data;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    bool found = false;
    err e = mvcc_view_find(view, self->key, view->seq, ret_state, &found, NULL);
    if (err_ok(e) && found && !ret_state->has_meta)
        e = mvcc_view_fill(view, ret_state, NULL);
    if (e.code) {
        contend_fail(request, e);
        return false;
    }
    if (!found) {
        self->queued = false;
        request_fail_text(request, GRPC_UNKNOWN, BYTES_LIT("mutex: session is expired"));
    }
    return found;
}

static void key_made(struct request *request, const struct replica_reply *reply)
{
    struct contender *self = request->data;
    struct mvcc_state own;
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    self->made_revision = self->create = reply->result.revision;
    self->was_there = !reply->result.op.succeeded;
    if (self->was_there) {
        if (!contend_has_key(request, &own))
            return;
        self->create = own.create;
        self->own_seq = own.seq;
    }
    self->queued = true;
    self->then(request);
}

void contend_make_key(struct request *request, struct bytes value,
                      void (*then)(struct request *request))
{
    struct contender *self = request->data;
    struct conditional what;
    conditional_init(&what, self->key, 0);
    conditional_put(&what, value, self->lease);
    self->then = then;
    propose_conditional(request, &what, key_made);
}

/* ── Changes ────────────────────────────────────────────────────────────────────────────────── */

static void key_changed(struct request *request, const struct replica_reply *reply)
{
    struct contender *self = request->data;
    if (reply->result.error.code) {
        contend_fail(request, reply->result.error);
        return;
    }
    self->changed = reply->result.op.succeeded;
    self->revision = reply->result.revision;
    self->then(request);
}

void contend_change(struct request *request, struct bytes key, int64_t create, struct bytes value,
                    void (*then)(struct request *request))
{
    struct contender *self = request->data;
    struct conditional what;
    conditional_init(&what, key, create);
    if (value.data)
        conditional_put(&what, value, self->lease);
    self->then = then;
    propose_conditional(request, &what, key_changed);
}

/* ── Looking for keys ───────────────────────────────────────────────────────────────────────── */

/* A slice; true: there is more. */
static bool search_run(struct request *request)
{
    struct contender *self = request->data;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    unsigned budget = SEARCH_BUDGET;
    for (;;) {
        enum mvcc_range_step step;
        err e = mvcc_range_run(&self->walk, view, &budget, &step);
        if (e.code) {
            search_end(request);
            contend_fail(request, e);
            return false;
        }
        if (step == MVCC_RANGE_MORE) {
            mvcc_range_pause(&self->walk);
            return true;
        }
        if (step == MVCC_RANGE_ITEM) {
            self->found_seq = self->walk.item.seq;
            continue;
        }
        search_end(request);
        self->found(request, self->found_seq);
        return false;
    }
}

static bool search_job(struct request *request)
{
    struct contender *self = request->data;
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(request->front->config.loop));
    if (e.code) {
        search_end(request);
        contend_fail(request, e);
        return false;
    }
    (void)search_run(request);
    return request->job && self->searching; /* this search, or one that follows from it */
}

/* The oldest of the prefix, or the newest of those up to create_max. */
static void search(struct request *request, int64_t create_max,
                   void (*found)(struct request *request, uint64_t seq))
{
    struct contender *self = request->data;
    struct front *front = request->front;
    struct mvcc_range_options options = {
        .span = mvcc_span_of(self->prefix, self->end),
        .limit = 1,
        .order = create_max ? MVCC_ORDER_DESCEND : MVCC_ORDER_ASCEND,
        .target = MVCC_TARGET_CREATE,
        .max_create_revision = create_max,
        .skip_count = true,
    };
    uint64_t seq = front_view(front)->mvcc->seq;
    mvcc_range_init(&self->walk, &options, seq);
    self->searching = true;
    self->found_seq = 0;
    self->found = found;
    if (!search_run(request))
        return;
    err e = mvcc_pin_take(front->config.pins, seq, io_loop_now_ms(front->config.loop), &self->pin);
    if (e.code) {
        search_end(request);
        contend_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
        return;
    }
    front_add_job(request, search_job);
}

void contend_find_first(struct request *request,
                        void (*found)(struct request *request, uint64_t seq))
{
    search(request, 0, found);
}

static bool later_job(struct request *request)
{
    struct contender *self = request->data;
    request->job = NULL;
    list_remove(&request->node);
    self->then(request);
    return request->job != NULL;
}

void contend_later(struct request *request, void (*then)(struct request *request))
{
    struct contender *self = request->data;
    self->then = then;
    front_add_job(request, later_job);
}

/* ── Waiting ────────────────────────────────────────────────────────────────────────────────── */

static void look(struct request *request);

static bool older_told(struct request *request, const struct watch_event *event, err why)
{
    if (!event && !err_is(why, ERR_COMPACTED)) {
        contend_fail(request, why);
        return false;
    }
    contend_later(request, look); /* it is gone, or may have gone meanwhile */
    return false;
}

static void older_found(struct request *request, uint64_t seq)
{
    struct contender *self = request->data;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    struct mvcc_record record;
    struct mvcc_kv kv;
    if (seq == 0) {
        self->waited(request);
        return;
    }
    err e = mvcc_view_read(view, seq, &record, NULL);
    if (err_ok(e))
        e = mvcc_kv_decode(record.blob, &kv);
    struct watch_tale_spec spec = {.revision = view->revision + 1, .flags = WATCH_NO_PUT};
    if (err_ok(e)) {
        spec.key = kv.key;
        self->stood_in_line = true;
        e = request_rest(request); /* it may wait for ever */
    }
    if (err_ok(e))
        e = watch_tell(request, &spec, older_told);
    if (e.code)
        contend_fail(request, e);
}

static void look(struct request *request)
{
    struct contender *self = request->data;
    search(request, self->create - 1, older_found);
}

void contend_wait(struct request *request, void (*then)(struct request *request))
{
    struct contender *self = request->data;
    self->waited = then;
    look(request);
}
