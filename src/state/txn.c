#include "state/txn.h"

#include "base/budget.h"
#include "base/bug.h"
#include "base/check.h"
#include "state/op_metrics.h"
#include "state/state_internal.h"

#define RANGE_SLICE_OPS 1u /* what judging one compare or op takes off the budget at least */

enum { PUT_COST_BYTES = 256 };

static bool spend(unsigned *budget)
{
    if (*budget < RANGE_SLICE_OPS)
        return false;
    *budget -= RANGE_SLICE_OPS;
    return true;
}

/* --- the path ---------------------------------------------------------------------------- */

static struct txn_node *node_add(struct txn_run *self, const Etcdserverpb__TxnRequest *request,
                                 struct state_op *op, struct txn_node *parent)
{
    struct txn_node *node = ARENA_NEW(self->arena, struct txn_node);
    node->request = request;
    node->op = op;
    node->parent = parent;
    op->kind = STATE_TXN;
    if (self->last)
        self->last->next = node;
    self->last = node;
    return node;
}

static void node_take_branch(struct txn_run *self, struct txn_node *node, bool succeeded)
{
    const Etcdserverpb__TxnRequest *r = node->request;
    size_t n = succeeded ? r->n_success : r->n_failure;
    node->branch = succeeded ? r->success : r->failure;
    struct state_op *children = ARENA_ARRAY(self->arena, struct state_op, n);
    node->nested = ARENA_ARRAY(self->arena, struct txn_node *, n);
    node->op->succeeded = succeeded;
    node->op->child_count = (uint32_t)n;
    node->op->children = children;
    for (size_t i = 0; i < n; i++) {
        const Etcdserverpb__RequestOp *op = node->branch[i];
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            node->nested[i] = node_add(self, op->request_txn, &children[i], node);
    }
}

static void walk_begin(struct txn_run *self, enum txn_phase phase)
{
    for (struct txn_node *node = self->root; node; node = node->next)
        node->at = 0;
    self->node = self->root;
    self->phase = phase;
}

/* The op where the walk stands; false at the end. */
static bool walk_op(struct txn_run *self, const Etcdserverpb__RequestOp **ret_request,
                    struct state_op **ret_op)
{
    while (self->node) {
        struct txn_node *node = self->node;
        if (node->at == node->op->child_count) {
            self->node = node->parent;
            continue;
        }
        struct txn_node *nested = node->nested[node->at];
        if (nested) {
            node->at++;
            self->node = nested;
            continue;
        }
        *ret_request = node->branch[node->at];
        *ret_op = (struct state_op *)&node->op->children[node->at];
        return true;
    }
    return false;
}

static void walk_next(struct txn_run *self)
{
    self->node->at++;
}

/* --- compares ---------------------------------------------------------------------------- */

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

struct compared {
    int64_t version;
    int64_t create;
    int64_t mod;
    int64_t lease;
    struct bytes value;
};

static bool compare_holds(const Etcdserverpb__Compare *c, const struct compared *kv)
{
    int order = 0;
    int64_t number = 0;
    switch ((int)c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION)
            number = c->version;
        order = order_of(kv->version, number);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION)
            number = c->create_revision;
        order = order_of(kv->create, number);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION)
            number = c->mod_revision;
        order = order_of(kv->mod, number);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE)
            number = c->lease;
        order = order_of(kv->lease, number);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        order = bytes_compare(kv->value,
                              c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE
                                  ? bytes_pb(c->value)
                                  : BYTES_NONE);
        break;
    default: /* a target of a later version compares as equal */
        break;
    }
    switch ((int)c->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    default: /* a result of a later version matches */
        return true;
    }
}

static bool compare_wants_value(const Etcdserverpb__Compare *c)
{
    return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
}

/* Where no key is: numbers compare as 0, a value never matches. */
static bool compare_holds_without_key(const Etcdserverpb__Compare *c)
{
    const struct compared none = {0};
    return !compare_wants_value(c) && compare_holds(c, &none);
}

static err compared_value(const struct mvcc_view *view, uint64_t seq, struct compared *kv)
{
    struct mvcc_record record;
    struct mvcc_kv stored;
    TRY(mvcc_view_read(view, seq, &record, NULL));
    TRY(mvcc_kv_decode(record.blob, &stored));
    kv->value = stored.value;
    return OK;
}

/* The state before the txn: what the store holds now, or the view at the txn's seq. */
static void view_of(const struct txn_run *self, struct mvcc_view *ret_view)
{
    if (self->store) {
        mvcc_store_peek(self->store, ret_view);
        if (BUG(compare_at_published))
            *ret_view = *mvcc_store_view(self->store);
        return;
    }
    *ret_view = *self->view;
    ret_view->seq = self->seq;
}

static err compare_key(struct txn_run *self, const Etcdserverpb__Compare *c, bool *ret_holds)
{
    struct mvcc_view view;
    struct mvcc_state key;
    bool found;
    view_of(self, &view);
    TRY(mvcc_view_find(&view, bytes_pb(c->key), view.seq, &key, &found, NULL));
    if (!found) {
        *ret_holds = compare_holds_without_key(c);
        return OK;
    }
    if (!key.has_meta)
        TRY(mvcc_view_fill(&view, &key, NULL));
    struct compared kv = {key.version, key.create, key.main, key.lease, BYTES_NONE};
    if (compare_wants_value(c))
        TRY(compared_value(&view, key.seq, &kv));
    *ret_holds = compare_holds(c, &kv);
    return OK;
}

/* So many bytes of a value that are compared count as one key. */
#define COMPARED_COST_BYTES 4096

static err compare_item(const Etcdserverpb__Compare *c, struct mvcc_range *range,
                        const struct mvcc_view *view, unsigned *budget, bool *ret_holds)
{
    struct mvcc_state *item = &range->item;
    if (!item->has_meta)
        TRY(mvcc_view_fill(view, item, &range->fault));
    struct compared kv = {item->version, item->create, item->main, item->lease, BYTES_NONE};
    if (compare_wants_value(c)) {
        TRY(compared_value(view, item->seq, &kv));
        size_t compared = kv.value.len < c->value.len ? kv.value.len : c->value.len;
        budget_spend(budget, compared / COMPARED_COST_BYTES);
    }
    *ret_holds = compare_holds(c, &kv);
    return OK;
}

/* All keys of the span must match; *ret_done false: the budget is used up. */
static err compare_span(struct txn_run *self, const Etcdserverpb__Compare *c, unsigned *budget,
                        bool *ret_done, bool *ret_holds)
{
    struct mvcc_view view;
    view_of(self, &view);
    if (!self->ranging) {
        struct mvcc_range_options options = {
            .span = mvcc_span_of(bytes_pb(c->key), bytes_pb(c->range_end)),
            .keys_only = true,
            .skip_count = true,
        };
        mvcc_range_init(&self->range, &options, view.seq);
        self->ranging = true;
        self->range_any = false;
    }
    bool holds = true;
    enum mvcc_range_step step = MVCC_RANGE_ITEM;
    err e = OK;
    while (err_ok(e) && holds && step == MVCC_RANGE_ITEM) {
        e = mvcc_range_run(&self->range, &view, budget, &step);
        if (err_ok(e) && step == MVCC_RANGE_ITEM) {
            self->range_any = true;
            e = compare_item(c, &self->range, &view, budget, &holds);
        }
    }
    if (err_ok(e) && holds && step == MVCC_RANGE_MORE) {
        mvcc_range_pause(&self->range);
        *ret_done = false;
        return OK;
    }
    mvcc_range_done(&self->range);
    self->ranging = false;
    TRY(e);
    *ret_holds = self->range_any ? holds : compare_holds_without_key(c);
    *ret_done = true;
    return OK;
}

static err run_compares(struct txn_run *self, unsigned *budget)
{
    while (self->node) {
        struct txn_node *node = self->node;
        bool holds = true;
        while (holds && self->compare_at < node->request->n_compare) {
            const Etcdserverpb__Compare *c = node->request->compare[self->compare_at];
            bool done = true;
            if (!self->ranging && !spend(budget))
                return OK;
            if (c->range_end.len == 0)
                TRY(compare_key(self, c, &holds));
            else
                TRY(compare_span(self, c, budget, &done, &holds));
            if (!done)
                return OK;
            self->compare_at++;
        }
        node_take_branch(self, node, holds);
        self->compare_at = 0;
        self->node = node->next;
    }
    walk_begin(self, TXN_CHECK);
    return OK;
}

/* --- checks ------------------------------------------------------------------------------ */

static err check_put(struct txn_run *self, const Etcdserverpb__PutRequest *put)
{
    struct mvcc_head head;
    if (put->lease != 0 && !BUG(txn_lease_unchecked) &&
        !(self->leases && lease_table_find(self->leases, put->lease)))
        return ERR_LEASE_NOT_FOUND;
    if ((put->ignore_value || put->ignore_lease) &&
        !mvcc_store_find(self->store, bytes_pb(put->key), &head))
        return ERR_KEY_NOT_FOUND;
    return put->key.len ? OK : ERR_EMPTY_KEY;
}

/* Also turns a requested revision into the seq it reads at, while that can be told. */
static err check_range(struct txn_run *self, const Etcdserverpb__RangeRequest *range,
                       struct state_op *op)
{
    if (range->revision == 0)
        return OK;
    struct mvcc_view view;
    view_of(self, &view);
    if (range->revision > (self->store ? view.revision : self->revision))
        return ERR_FUTURE_REV;
    if (range->revision < view.compact_revision)
        return ERR_COMPACTED;
    if (range->revision < 0)
        return OK;
    return mvcc_view_seq_of(&view, range->revision, &op->seq);
}

static err check_op(struct txn_run *self, const Etcdserverpb__RequestOp *request,
                    struct state_op *op)
{
    switch ((int)request->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return check_put(self, request->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return request->request_delete_range->key.len ? OK : ERR_EMPTY_KEY;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_range(self, request->request_range, op);
    default:
        return OK;
    }
}

static void run_checks(struct txn_run *self, unsigned *budget)
{
    const Etcdserverpb__RequestOp *request;
    struct state_op *op;
    while (walk_op(self, &request, &op)) {
        if (!spend(budget))
            return;
        self->error = check_op(self, request, op);
        if (!err_ok(self->error)) {
            self->phase = TXN_DONE;
            return;
        }
        walk_next(self);
    }
    walk_begin(self, TXN_EFFECTS);
    if (self->store)
        mvcc_txn_begin(self->store);
}

/* --- effects ----------------------------------------------------------------------------- */

static void promise(struct txn_run *self, struct state_op *op, uint64_t seq)
{
    op->seq = seq;
    if (seq && (self->seq_min == 0 || seq < self->seq_min))
        self->seq_min = seq;
}

static err effect_put(struct txn_run *self, const Etcdserverpb__PutRequest *request,
                      struct state_op *op)
{
    struct mvcc_put put = {
        .key = bytes_pb(request->key),
        .value = bytes_pb(request->value),
        .lease = request->lease,
        .ignore_value = request->ignore_value,
        .ignore_lease = request->ignore_lease,
    };
    op->kind = STATE_PUT;
    if (request->prev_kv)
        promise(self, op, mvcc_store_seq(self->store));
    struct mvcc_change change;
    err e = mvcc_txn_put(self->store, &put, &change);
    if (err_is(e, ERR_CORRUPT))
        return e;
    op_count_put(put.key.len, put.value.len);
    if (err_ok(e))
        state_lease_moved(self->leases, put.key, &change,
                          put.ignore_lease ? change.before.lease : put.lease);
    /* A key that this txn itself deleted before: no front lets that pass, so it does nothing. */
    op->revision = mvcc_txn_revision(self->store);
    return OK;
}

static bool effect_delete(struct txn_run *self, const Etcdserverpb__DeleteRangeRequest *request,
                          struct state_op *op, unsigned *budget)
{
    if (!self->deleting) {
        struct mvcc_span span = mvcc_span_of(bytes_pb(request->key), bytes_pb(request->range_end));
        mvcc_delete_init(&self->deletion, &span);
        self->deletion.on_deleted = state_lease_deleted;
        self->deletion.ctx = self->leases;
        self->deleting = true;
        op->kind = STATE_DELETE_RANGE;
        if (request->prev_kv)
            promise(self, op, mvcc_store_seq(self->store));
    }
    if (!mvcc_txn_delete_run(self->store, &self->deletion, budget))
        return false;
    metric_add(&op_deletes, 1);
    op->deleted = self->deletion.deleted;
    op->revision = mvcc_txn_revision(self->store);
    mvcc_delete_done(&self->deletion);
    self->deleting = false;
    return true;
}

static void effect_range(struct txn_run *self, const Etcdserverpb__RangeRequest *request,
                         struct state_op *op)
{
    metric_add(&op_ranges, 1);
    op->kind = STATE_RANGE;
    op->revision = self->store ? mvcc_txn_revision(self->store) : self->revision;
    uint64_t newest = self->store ? mvcc_store_seq(self->store) : self->seq;
    promise(self, op, request->revision > 0 ? op->seq : newest + BUG(txn_reads_its_end));
}

static err run_effects(struct txn_run *self, unsigned *budget)
{
    const Etcdserverpb__RequestOp *request;
    struct state_op *op;
    while (walk_op(self, &request, &op)) {
        if (!self->deleting && !spend(budget))
            return OK;
        switch ((int)request->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            TRY(effect_put(self, request->request_put, op));
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            if (!effect_delete(self, request->request_delete_range, op, budget))
                return OK;
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            effect_range(self, request->request_range, op);
            break;
        default:
            break;
        }
        walk_next(self);
    }
    self->root->op->revision = self->store ? mvcc_txn_end(self->store) : self->revision;
    self->phase = TXN_DONE;
    return OK;
}

/* --- the whole --------------------------------------------------------------------------- */

void txn_init(struct txn_run *self, struct mvcc_store *store, struct arena *arena,
              const Etcdserverpb__TxnRequest *request, struct state_op *op)
{
    *self = (struct txn_run){.phase = TXN_COMPARE, .store = store, .arena = arena};
    self->root = node_add(self, request, op, NULL);
    self->node = self->root;
}

void txn_init_read(struct txn_run *self, struct arena *arena,
                   const Etcdserverpb__TxnRequest *request, struct state_op *op,
                   const struct mvcc_view *view)
{
    txn_init(self, NULL, arena, request, op);
    self->view = view;
    self->seq = view->seq;
    self->revision = view->revision;
}

void txn_pause(struct txn_run *self)
{
    if (self->ranging)
        mvcc_range_pause(&self->range);
}

err txn_step(struct txn_run *self, unsigned *budget, bool *ret_done)
{
    enum txn_phase before;
    do {
        before = self->phase;
        if (before == TXN_COMPARE)
            TRY(run_compares(self, budget));
        else if (before == TXN_EFFECTS)
            TRY(run_effects(self, budget));
        else if (before != TXN_DONE)
            run_checks(self, budget);
    } while (self->phase != before);
    *ret_done = self->phase == TXN_DONE;
    return OK;
}

static bool op_is_long(const Etcdserverpb__RequestOp *op)
{
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
        return op->request_delete_range->range_end.len != 0;
    return op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
}

bool txn_is_long(const Etcdserverpb__TxnRequest *request)
{
    for (size_t i = 0; i < request->n_compare; i++) {
        if (request->compare[i]->range_end.len)
            return true;
    }
    for (size_t i = 0; i < request->n_success; i++) {
        if (op_is_long(request->success[i]))
            return true;
    }
    for (size_t i = 0; i < request->n_failure; i++) {
        if (op_is_long(request->failure[i]))
            return true;
    }
    return false;
}

void txn_abandon(struct txn_run *self)
{
    if (self->ranging)
        mvcc_range_done(&self->range);
    if (self->deleting)
        mvcc_delete_done(&self->deletion);
}

int64_t put_cost(const Etcdserverpb__PutRequest *request)
{
    return (int64_t)(PUT_COST_BYTES + request->key.len + request->value.len);
}

static int64_t branch_cost(Etcdserverpb__RequestOp **ops, size_t count)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            sum += put_cost(ops[i]->request_put);
        else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            sum += txn_cost(ops[i]->request_txn); /* as deep as the decoder lets through */
    }
    return sum;
}

int64_t txn_cost(const Etcdserverpb__TxnRequest *request)
{
    int64_t success = branch_cost(request->success, request->n_success);
    int64_t failure = branch_cost(request->failure, request->n_failure);
    return success > failure ? success : failure;
}
