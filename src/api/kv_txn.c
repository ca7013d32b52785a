/* Transactions: those that write go through the log, those that only read are judged here, on a
 * view, by the same code. Either way the outcome is a tree of ops, and the answer is composed of
 * it: sizes from the leaves up, then bytes from the top down. */
#include "api/answer.h"
#include "api/kv.h"
#include "api/quota.h"
#include "base/check.h"
#include "state/txn.h"

enum { FIELD_TXN = 6 };
/* Fields of ResponseOp's oneof. */
enum { RESPONSE_RANGE = 1, RESPONSE_PUT = 2, RESPONSE_DELETE = 3, RESPONSE_TXN = 4 };

/* One response of the tree, and its length without tag and length of its own. */
struct txn_part {
    const struct state_op *op;
    uint32_t field; /* of ResponseOp */
    struct answer_walk *walk;
    struct txn_part *children;
    size_t size;
};

struct txn_answer {
    struct wire_header header;
    struct txn_part root;
};

/* ── What is read for the answer ────────────────────────────────────────────────────────────── */

static void plan_txn(struct answer *answer, const Etcdserverpb__TxnRequest *txn,
                     const struct state_op *op, struct txn_part *ret_part);

static void plan_range(struct answer *answer, const Etcdserverpb__RangeRequest *range,
                       struct txn_part *part)
{
    struct mvcc_range_options options = kv_range_options(answer_request(answer)->front, range);
    part->field = RESPONSE_RANGE;
    part->walk = answer_walk(answer, &options, part->op->seq, 2);
}

static void plan_previous(struct answer *answer, struct mvcc_span span, uint32_t field,
                          struct txn_part *part)
{
    struct mvcc_range_options options = {.span = span, .skip_count = true};
    part->walk = answer_walk(answer, &options, part->op->seq, field);
}

static void plan_op(struct answer *answer, const Etcdserverpb__RequestOp *request,
                    const struct state_op *op, struct txn_part *part)
{
    part->op = op;
    switch (request->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        plan_range(answer, request->request_range, part);
        return;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        part->field = RESPONSE_PUT;
        if (request->request_put->prev_kv)
            plan_previous(answer, mvcc_span_of(bytes_pb(request->request_put->key), BYTES_NONE), 2,
                          part);
        return;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        part->field = RESPONSE_DELETE;
        if (request->request_delete_range->prev_kv && op->deleted)
            plan_previous(answer,
                          mvcc_span_of(bytes_pb(request->request_delete_range->key),
                                       bytes_pb(request->request_delete_range->range_end)),
                          3, part);
        return;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        plan_txn(answer, request->request_txn, op, part);
        return;
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    CHECK(false); /* refused at the check */
}

/* As deep as the decoder lets through. */
static void plan_txn(struct answer *answer, const Etcdserverpb__TxnRequest *txn,
                     const struct state_op *op, struct txn_part *ret_part)
{
    struct request *request = answer_request(answer);
    Etcdserverpb__RequestOp *const *ops = op->succeeded ? txn->success : txn->failure;
    ret_part->op = op;
    ret_part->field = RESPONSE_TXN;
    ret_part->children = ARENA_ARRAY(&request->arena, struct txn_part, op->child_count);
    for (uint32_t i = 0; i < op->child_count; i++)
        plan_op(answer, ops[i], &op->children[i], &ret_part->children[i]);
}

/* ── Sizes, from the leaves up ──────────────────────────────────────────────────────────────── */

static size_t op_header_size(const struct state_op *op)
{
    return wire_message_field_size(1, wire_varint_field_size(3, (uint64_t)op->revision));
}

static size_t response_op_size(const struct txn_part *part)
{
    return wire_message_field_size(part->field, part->size);
}

static size_t txn_body_size(struct txn_part *part);

static void part_measure(struct txn_part *part)
{
    size_t size = op_header_size(part->op);
    if (part->walk)
        size += part->walk->bytes;
    switch (part->field) {
    case RESPONSE_RANGE:
        CHECK(part->walk);
        size += wire_varint_field_size(3, part->walk->more) +
                wire_varint_field_size(4, part->walk->count);
        break;
    case RESPONSE_DELETE:
        size += wire_varint_field_size(2, (uint64_t)part->op->deleted);
        break;
    case RESPONSE_TXN:
        size += txn_body_size(part);
        break;
    default:
        break;
    }
    part->size = size;
}

/* `succeeded` and the responses. */
static size_t txn_body_size(struct txn_part *part)
{
    size_t size = wire_varint_field_size(2, part->op->succeeded);
    for (uint32_t i = 0; i < part->op->child_count; i++) {
        part_measure(&part->children[i]);
        size += wire_message_field_size(3, response_op_size(&part->children[i]));
    }
    return size;
}

/* ── Bytes, from the top down ───────────────────────────────────────────────────────────────── */

static void put_varint_field(struct answer *answer, uint32_t number, uint64_t value)
{
    size_t size = wire_varint_field_size(number, value);
    if (size)
        wire_put_varint_field(answer_literal(answer, size), number, value);
}

static void put_txn_body(struct answer *answer, const struct txn_part *part);

static void put_part(struct answer *answer, const struct txn_part *part)
{
    size_t header = wire_varint_field_size(3, (uint64_t)part->op->revision);
    size_t prefix = wire_prefix_size(3, response_op_size(part)) +
                    wire_prefix_size(part->field, part->size) + op_header_size(part->op);
    uint8_t *at = answer_literal(answer, prefix);
    at = wire_put_prefix(at, 3, response_op_size(part));
    at = wire_put_prefix(at, part->field, part->size);
    at = wire_put_prefix(at, 1, header);
    wire_put_varint_field(at, 3, (uint64_t)part->op->revision);
    if (part->field == RESPONSE_DELETE)
        put_varint_field(answer, 2, (uint64_t)part->op->deleted);
    if (part->walk)
        answer_splice(answer, part->walk);
    if (part->field == RESPONSE_RANGE) {
        CHECK(part->walk);
        put_varint_field(answer, 3, part->walk->more);
        put_varint_field(answer, 4, part->walk->count);
    }
    if (part->field == RESPONSE_TXN)
        put_txn_body(answer, part);
}

static void put_txn_body(struct answer *answer, const struct txn_part *part)
{
    put_varint_field(answer, 2, part->op->succeeded);
    for (uint32_t i = 0; i < part->op->child_count; i++)
        put_part(answer, &part->children[i]);
}

static void compose_txn(struct answer *answer, void *ctx)
{
    struct txn_answer *self = ctx;
    txn_body_size(&self->root);
    wire_put_header_field(answer_literal(answer, wire_header_field_size(&self->header)),
                          &self->header);
    put_txn_body(answer, &self->root);
}

static void answer_txn(struct request *request, const struct state_op *op, int64_t revision)
{
    struct txn_answer *ctx = ARENA_NEW(&request->arena, struct txn_answer);
    ctx->header = request_header(request, front_view(request->front), revision);
    struct answer *answer = answer_new(request);
    plan_txn(answer, (const void *)request->message, op, &ctx->root);
    answer_start(answer, compose_txn, ctx);
}

/* ── Transactions that write ────────────────────────────────────────────────────────────────── */

/* The reply goes back to the core; the answer may take longer. */
static void copy_children(struct arena *arena, struct state_op *op)
{
    struct state_op *copy = ARENA_ARRAY(arena, struct state_op, op->child_count);
    for (uint32_t i = 0; i < op->child_count; i++) {
        copy[i] = op->children[i];
        copy_children(arena, &copy[i]);
    }
    op->children = copy;
}

static void txn_done(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    struct state_op *op = ARENA_NEW(&request->arena, struct state_op);
    *op = reply->result.op;
    copy_children(&request->arena, op);
    answer_txn(request, op, reply->result.revision);
}

/* ── Transactions that only read ────────────────────────────────────────────────────────────── */

struct txn_read {
    struct txn_run run;
    struct state_op op;
    struct mvcc_pin pin;
};

static void read_release(struct request *request)
{
    struct txn_read *self = request->data;
    txn_abandon(&self->run);
    mvcc_pin_drop(request->front->config.pins, &self->pin);
}

#define READ_BUDGET 2000

static bool read_job(struct request *request)
{
    struct txn_read *self = request->data;
    struct front *front = request->front;
    unsigned budget = READ_BUDGET;
    bool done = false;
    self->run.view = front_view(front)->mvcc;
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop));
    if (err_ok(e))
        e = txn_step(&self->run, &budget, &done);
    txn_pause(&self->run);
    if (err_ok(e) && done)
        e = self->run.error;
    if (e.code) {
        request_fail(request, e);
        return false;
    }
    if (!done)
        return true;
    /* The answer takes a pin of its own, under this guard, before the txn's goes. */
    struct mvcc_pin pin = self->pin;
    answer_txn(request, &self->op, self->run.revision);
    mvcc_pin_drop(front->config.pins, &pin);
    return request->job != NULL && request->job != read_job;
}

static void txn_read(struct request *request)
{
    struct front *front = request->front;
    const struct mvcc_view *view = front_view(front)->mvcc;
    struct txn_read *self = ARENA_NEW(&request->arena, struct txn_read);
    txn_init_read(&self->run, &request->arena, (const void *)request->message, &self->op, view);
    request->data = self;
    request->release = read_release;
    if (!read_job(request) || request->state == REQUEST_ANSWERED || request->data != self)
        return;
    err e = mvcc_pin_take(front->config.pins, self->run.seq, io_loop_now_ms(front->config.loop),
                          &self->pin);
    if (e.code)
        request_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
    else
        front_add_job(request, read_job);
}

static void read_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        txn_read(request);
}

void kv_txn(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__TxnRequest *txn = (const void *)message;
    if (!quota_admits(request, txn_cost(txn)))
        return;
    err e = kv_check_txn(&request->arena, txn, request->front->config.max_txn_ops);
    request->only_reads = !e.code && kv_txn_is_read_only(txn);
    if (e.code)
        request_fail(request, e);
    else if (!request->only_reads)
        kv_propose(request, FIELD_TXN, txn_done);
    else if (kv_txn_is_serializable(txn))
        txn_read(request);
    else
        front_read_barrier(request->front, request, read_after_barrier);
}
