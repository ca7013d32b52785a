#include "api/v2_plan.h"

#include "base/check.h"
#include "etcdserverpb.pb-c.h"
#include "mvcc/range.h"
#include "wire/encode.h"

/* Keys that are looked at to see whether a directory is empty, dead ones included. */
#define EMPTY_BUDGET 4096

/* ── A transaction in the making ────────────────────────────────────────────────────────────── */

/* A compare for each part, one for the last change, one for what lies below; a put for each part
 * that is missing, for the node and for the event, two deletions. */
#define COMPARES_MAX (V2_PARTS_MAX + 2)
#define OPS_MAX      (V2_PARTS_MAX + 4)

struct txn {
    struct arena *arena;
    Etcdserverpb__TxnRequest request;
    Etcdserverpb__Compare *compares[COMPARES_MAX];
    Etcdserverpb__RequestOp *ops[OPS_MAX];
};

static struct txn *txn_new(struct arena *arena)
{
    struct txn *self = ARENA_NEW(arena, struct txn);
    self->arena = arena;
    self->request = (Etcdserverpb__TxnRequest)ETCDSERVERPB__TXN_REQUEST__INIT;
    self->request.compare = self->compares;
    self->request.success = self->ops;
    return self;
}

static ProtobufCBinaryData pb_bytes(struct bytes what)
{
    return (ProtobufCBinaryData){what.len, (uint8_t *)what.data};
}

/* Of one key, or with an end of all keys in the range. */
static void txn_compare_mod(struct txn *self, struct bytes key, struct bytes end,
                            Etcdserverpb__Compare__CompareResult result, int64_t revision)
{
    CHECK(self->request.n_compare < COMPARES_MAX);
    Etcdserverpb__Compare *compare = ARENA_NEW(self->arena, Etcdserverpb__Compare);
    *compare = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    compare->result = result;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->key = pb_bytes(key);
    compare->range_end = pb_bytes(end);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->mod_revision = revision;
    self->compares[self->request.n_compare++] = compare;
}

static Etcdserverpb__RequestOp *txn_op(struct txn *self)
{
    CHECK(self->request.n_success < OPS_MAX);
    Etcdserverpb__RequestOp *op = ARENA_NEW(self->arena, Etcdserverpb__RequestOp);
    *op = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    self->ops[self->request.n_success++] = op;
    return op;
}

static void txn_put(struct txn *self, struct bytes key, struct bytes value, int64_t lease)
{
    Etcdserverpb__RequestOp *op = txn_op(self);
    Etcdserverpb__PutRequest *put = ARENA_NEW(self->arena, Etcdserverpb__PutRequest);
    *put = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    put->key = pb_bytes(key);
    put->value = pb_bytes(value);
    put->lease = lease;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
}

static void txn_delete(struct txn *self, struct bytes key, struct bytes end)
{
    Etcdserverpb__RequestOp *op = txn_op(self);
    Etcdserverpb__DeleteRangeRequest *del =
        ARENA_NEW(self->arena, Etcdserverpb__DeleteRangeRequest);
    *del = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del->key = pb_bytes(key);
    del->range_end = pb_bytes(end);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = del;
}

/* ── What is asked ──────────────────────────────────────────────────────────────────────────── */

struct planner {
    const struct mvcc_view *view;
    struct arena *arena;
    const struct v2_plan_input *input;
    const struct v2_params *params;
    struct v2_plan *plan;
    struct v2_place *place;
    struct bytes path; /* of the node; in order: with its name */
    struct txn *txn;
};

enum v2_action v2_action_of(struct bytes method, const struct v2_params *params)
{
    bool compares = params->prev_index > 0 || params->prev_value.len > 0;
    if (bytes_equal(method, BYTES_LIT("DELETE")))
        return compares ? V2_COMPARE_AND_DELETE : V2_DELETE;
    if (bytes_equal(method, BYTES_LIT("POST")) || (params->has_prev_exist && !params->prev_exist))
        return V2_CREATE;
    if (compares)
        return V2_COMPARE_AND_SWAP;
    return params->has_prev_exist ? V2_UPDATE : V2_SET;
}

static err refuse(struct planner *self, enum v2_error error, struct bytes cause)
{
    self->plan->step = V2_STEP_REFUSE;
    self->plan->refusal = (struct v2_refusal){error, arena_copy_str(self->arena, cause)};
    return OK;
}

static bool exists(const struct planner *self)
{
    return self->place->present == self->place->count;
}

static err refuse_missing(struct planner *self)
{
    self->plan->step = V2_STEP_REFUSE;
    self->plan->refusal = v2_place_missing(self->arena, self->place);
    return OK;
}

/* True: the stored value and index are what the request wants. */
static bool compare_holds(const struct planner *self, const char **ret_cause)
{
    const struct v2_params *params = self->params;
    const struct v2_node *node = &self->place->node;
    bool value_differs = params->prev_value.len && !bytes_equal(params->prev_value, node->value);
    bool index_differs = params->prev_index && params->prev_index != (uint64_t)node->modified;
    const char *value = arena_printf(self->arena, "[%.*s != %.*s]", (int)params->prev_value.len,
                                     (const char *)params->prev_value.data, (int)node->value.len,
                                     (const char *)node->value.data);
    const char *index =
        arena_printf(self->arena, "[%llu != %lld]", (unsigned long long)params->prev_index,
                     (long long)node->modified);
    *ret_cause = value_differs && index_differs ? arena_printf(self->arena, "%s %s", value, index)
                 : value_differs                ? value
                                                : index;
    return !value_differs && !index_differs;
}

/* ── Below a directory ──────────────────────────────────────────────────────────────────────── */

static struct bytes with_byte(struct arena *arena, struct bytes key, uint8_t byte)
{
    uint8_t *copy = arena_alloc_bytes(arena, key.len + 1);
    memcpy(copy, key.data, key.len);
    copy[key.len] = byte;
    return bytes_of(copy, key.len + 1);
}

/* What lies below the key: *ret_any a key at all, *ret_node one that is seen, a direct child. */
static err look_below(const struct planner *self, struct bytes key, bool *ret_any, bool *ret_node)
{
    struct bytes from = with_byte(self->arena, key, '\0'), end = v2_key_end(self->arena, key);
    struct mvcc_range_options options = {.span = mvcc_span_of(from, end), .skip_count = true};
    struct mvcc_range range;
    mvcc_range_init(&range, &options, self->view->seq);
    unsigned budget = EMPTY_BUDGET;
    enum mvcc_range_step step = MVCC_RANGE_ITEM;
    err e = OK;
    *ret_any = *ret_node = false;
    while (err_ok(e) && step == MVCC_RANGE_ITEM && !*ret_node) {
        e = mvcc_range_run(&range, self->view, &budget, &step);
        if (err_ok(e) && step == MVCC_RANGE_ITEM) {
            struct bytes name = bytes_skip(mvcc_range_key(&range), from.len);
            *ret_any = true;
            *ret_node = name.len > 0 && !memchr(name.data, '\0', name.len);
        }
    }
    mvcc_range_done(&range);
    return e;
}

/* ── Judging ────────────────────────────────────────────────────────────────────────────────── */

static err judge_put(struct planner *self, bool *ret_fine)
{
    enum v2_action action = self->input->action;
    const struct v2_node *node = &self->place->node;
    *ret_fine = false;
    if (self->place->under_file)
        return refuse_missing(self);
    if (action == V2_CREATE) {
        if (exists(self))
            return refuse(self, V2_EXISTS, self->path);
    } else if (action == V2_SET) {
        if (self->params->refresh && !exists(self))
            return refuse_missing(self);
        if (exists(self) && node->dir)
            return refuse(self, V2_NOT_FILE, self->path);
    } else {
        if (!exists(self))
            return refuse_missing(self);
        if (node->dir && (action == V2_COMPARE_AND_SWAP || self->params->value.len))
            return refuse(self, V2_NOT_FILE, self->path);
        const char *cause;
        if (action == V2_COMPARE_AND_SWAP && !compare_holds(self, &cause))
            return refuse(self, V2_COMPARE_FAILED, bytes_str(cause));
    }
    *ret_fine = true;
    return OK;
}

static err judge_delete(struct planner *self, bool *ret_fine)
{
    const struct v2_node *node = &self->place->node;
    *ret_fine = false;
    if (!exists(self))
        return refuse_missing(self);
    if (self->input->action == V2_COMPARE_AND_DELETE) {
        const char *cause;
        if (node->dir)
            return refuse(self, V2_NOT_FILE, self->path);
        if (!compare_holds(self, &cause))
            return refuse(self, V2_COMPARE_FAILED, bytes_str(cause));
    } else if (node->dir && !self->params->dir && !self->params->recursive) {
        return refuse(self, V2_NOT_FILE, self->path);
    } else if (node->dir && !self->params->recursive) {
        bool any, seen;
        TRY(look_below(self, v2_key(self->arena, self->path), &any, &seen));
        if (seen)
            return refuse(self, V2_NOT_EMPTY, self->path);
    }
    *ret_fine = true;
    return OK;
}

/* ── Building ───────────────────────────────────────────────────────────────────────────────── */

static void compare_parts(struct planner *self)
{
    for (unsigned i = 0; i < self->place->count; i++)
        txn_compare_mod(self->txn, self->place->parts[i].key, BYTES_NONE,
                        ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                        self->place->parts[i].modified);
}

/* The first operation: deletions behind it, in the same revision, are its own to a watcher, and
 * those of a revision without it are an expiry. */
static void put_event(struct planner *self)
{
    struct bytes log = v2_key(self->arena, BYTES_LIT("/"));
    compare_parts(self);
    txn_put(self->txn, log, v2_event_encode(self->arena, &self->plan->event), 0);
}

static void txn_seal(struct planner *self, enum v2_step step)
{
    self->plan->txn = wire_encode_arena(&self->txn->request.base, self->arena);
    self->plan->step = step;
}

/* What an expired directory left below the first part that is missing goes first: in one
 * transaction no key may be deleted and put. */
static err plan_clean(struct planner *self, bool *ret_needed)
{
    *ret_needed = false;
    if (exists(self) || self->input->cleaned)
        return OK;
    struct bytes key = self->place->parts[self->place->present].key;
    bool any, seen;
    TRY(look_below(self, key, &any, &seen));
    if (!any)
        return OK;
    /* Nobody is told: to the API they have not been there since the directory went. */
    self->plan->event = (struct v2_event){.action = V2_DELETE, .path = self->path, .refresh = true};
    put_event(self);
    txn_delete(self->txn, with_byte(self->arena, key, '\0'), v2_key_end(self->arena, key));
    txn_seal(self, V2_STEP_CLEAN);
    *ret_needed = true;
    return OK;
}

/* The node as it will be. */
static struct v2_node node_after(const struct planner *self)
{
    const struct v2_params *params = self->params;
    const struct v2_node *old = &self->place->node;
    bool keeps = self->input->action == V2_UPDATE || self->input->action == V2_COMPARE_AND_SWAP;
    struct v2_node node = {.dir = keeps ? old->dir : params->dir,
                           .own_created = !keeps,
                           .created = keeps ? v2_node_created(old) : 0,
                           .expiration_ns = params->has_ttl ? self->input->expiration_ns : 0};
    if (keeps && node.dir)
        node.modified = old->modified;
    if (!node.dir)
        node.value = params->refresh ? old->value : params->value;
    return node;
}

static err plan_put(struct planner *self)
{
    bool fine, cleans;
    TRY(judge_put(self, &fine));
    if (!fine)
        return OK;
    TRY(plan_clean(self, &cleans));
    if (cleans)
        return OK;
    if (self->params->has_ttl && !self->input->lease) {
        self->plan->step = V2_STEP_LEASE;
        return OK;
    }
    struct v2_event *event = &self->plan->event;
    struct v2_node node = node_after(self);
    bool had = exists(self);
    *event = (struct v2_event){.action = self->input->action,
                               .path = self->path,
                               .node = node,
                               .before = self->place->node,
                               .has_before = had,
                               .has_value = !node.dir,
                               .refresh = self->params->refresh};
    put_event(self);
    const struct v2_node parent = {.dir = true, .own_created = true};
    for (unsigned i = self->place->present; i + 1 < self->place->count; i++)
        txn_put(self->txn, self->place->parts[i].key, v2_node_encode(self->arena, &parent), 0);
    txn_put(self->txn, self->place->parts[self->place->count - 1].key,
            v2_node_encode(self->arena, &node), self->params->has_ttl ? self->input->lease : 0);
    txn_seal(self, V2_STEP_WRITE);
    return OK;
}

static err plan_delete(struct planner *self)
{
    bool fine;
    TRY(judge_delete(self, &fine));
    if (!fine)
        return OK;
    const struct v2_node *old = &self->place->node;
    self->plan->event =
        (struct v2_event){.action = self->input->action,
                          .path = self->path,
                          .node = {.dir = old->dir, .created = v2_node_created(old)},
                          .before = *old,
                          .has_before = true};
    put_event(self);
    struct bytes key = self->place->parts[self->place->count - 1].key;
    txn_delete(self->txn, key, BYTES_NONE);
    if (old->dir) {
        struct bytes from = with_byte(self->arena, key, '\0'), end = v2_key_end(self->arena, key);
        if (!self->params->recursive)
            txn_compare_mod(self->txn, from, end, ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS,
                            self->view->revision + 1);
        txn_delete(self->txn, from, end);
    }
    txn_seal(self, V2_STEP_WRITE);
    return OK;
}

/* The name that the next index gives: greater than all before it, as no change of the API may come
 * between. */
static struct bytes path_in_order(struct planner *self)
{
    struct bytes log = v2_key(self->arena, BYTES_LIT("/"));
    struct mvcc_state state = {.main = 0};
    bool found;
    if (mvcc_view_find(self->view, log, self->view->seq, &state, &found, NULL).code || !found)
        state.main = 0;
    txn_compare_mod(self->txn, log, BYTES_NONE, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                    state.main);
    struct bytes dir = self->params->path;
    return bytes_str(arena_printf(self->arena, "%.*s/%020lld", dir.len > 1 ? (int)dir.len : 0,
                                  (const char *)dir.data, (long long)self->view->revision + 1));
}

err v2_plan(const struct mvcc_view *view, struct arena *arena, const struct v2_plan_input *input,
            struct v2_plan *ret_plan)
{
    struct planner self = {.view = view,
                           .arena = arena,
                           .input = input,
                           .params = input->params,
                           .plan = ret_plan,
                           .path = input->params->path,
                           .txn = txn_new(arena)};
    self.place = ARENA_NEW(arena, struct v2_place);
    if (input->in_order)
        self.path = path_in_order(&self);
    TRY(v2_find(view, arena, self.path, self.place));
    bool deletes = input->action == V2_DELETE || input->action == V2_COMPARE_AND_DELETE;
    if (self.place->count == 0)
        return refuse(&self, input->action == V2_COMPARE_AND_DELETE ? V2_NOT_FILE : V2_ROOT,
                      BYTES_LIT("/"));
    return deletes ? plan_delete(&self) : plan_put(&self);
}
