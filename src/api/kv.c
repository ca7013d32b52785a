#include "api/kv.h"

#include "api/answer.h"
#include "api/quota.h"
#include "base/check.h"
#include "base/clock.h"
#include "etcdserverpb_internal.pb-c.h"
#include "mvcc/store.h"
#include "state/op_metrics.h"
#include "state/request.h"
#include "state/txn.h"

/* Fields of InternalRaftRequest. */
enum { FIELD_PUT = 4, FIELD_DELETE_RANGE = 5, FIELD_TXN = 6, FIELD_COMPACTION = 7 };

void kv_propose_body(struct request *request, unsigned field, struct bytes body,
                     void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct front *front = request->front;
    uint64_t id = front_next_id(front);
    size_t size = state_request_size(field, body.len, id, BYTES_NONE, 0);
    if (size > front->config.max_request_bytes) {
        request_fail(request, ERR_REQUEST_TOO_LARGE);
        return;
    }
    uint8_t *at = front_propose(front, request, id, size, on_reply);
    state_request_write(at, field, body, id, BYTES_NONE, 0);
}

void kv_propose(struct request *request, unsigned field,
                void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct bytes body = request->raw;
    if (!request->canonical) {
        err e = state_request_canonical(field, request->raw, &request->arena, &body);
        if (e.code) {
            request_fail_text(request, GRPC_INTERNAL, bytes_str(err_text(e)));
            return;
        }
    }
    kv_propose_body(request, field, body, on_reply);
}

/* ── Range ──────────────────────────────────────────────────────────────────────────────────── */

struct mvcc_range_options kv_range_options(struct front *front,
                                           const Etcdserverpb__RangeRequest *range)
{
    return (struct mvcc_range_options){
        .span = mvcc_span_of(bytes_pb(range->key), bytes_pb(range->range_end)),
        .limit = range->limit,
        .order = (enum mvcc_order)range->sort_order,
        .target = (enum mvcc_target)range->sort_target,
        .min_mod_revision = range->min_mod_revision,
        .max_mod_revision = range->max_mod_revision,
        .min_create_revision = range->min_create_revision,
        .max_create_revision = range->max_create_revision,
        .keys_only = range->keys_only,
        .count_only = range->count_only,
        .room = &front->sort_room,
    };
}

/* RangeResponse without its header: walk, more, count. */
static size_t range_tail_size(const struct answer_walk *walk)
{
    return wire_varint_field_size(3, walk->more) + wire_varint_field_size(4, walk->count);
}

static void range_tail_put(struct answer *answer, const struct answer_walk *walk)
{
    size_t size = range_tail_size(walk);
    if (size == 0)
        return;
    uint8_t *at = answer_literal(answer, size);
    at = wire_put_varint_field(at, 3, walk->more);
    wire_put_varint_field(at, 4, walk->count);
}

static void put_header(struct answer *answer, const struct wire_header *header)
{
    wire_put_header_field(answer_literal(answer, wire_header_field_size(header)), header);
}

/* A response around at most one walk: header, what the call puts before and after it. */
struct walk_answer {
    struct wire_header header;
    struct answer_walk *walk; /* NULL: none */
    int64_t deleted;
};

static void compose_range(struct answer *answer, void *ctx)
{
    struct walk_answer *self = ctx;
    put_header(answer, &self->header);
    answer_splice(answer, self->walk);
    range_tail_put(answer, self->walk);
}

static void range_read(struct request *request)
{
    const Etcdserverpb__RangeRequest *range = (const void *)request->message;
    const struct replica_view *view = front_view(request->front);
    uint64_t seq;
    request->range_ns = clock_mono_ns();
    err e = mvcc_view_seq_of(view->mvcc, range->revision, &seq);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    metric_add(&op_ranges, 1);
    struct mvcc_range_options options = kv_range_options(request->front, range);
    struct wire_header header = request_header(request, view, view->mvcc->revision);
    if (request->exchange) {
        kv_range_json(request, &options, seq, &header);
        return;
    }
    struct walk_answer *ctx = ARENA_NEW(&request->arena, struct walk_answer);
    ctx->header = header;
    struct answer *answer = answer_new(request);
    ctx->walk = answer_walk(answer, &options, seq, 2);
    answer_start(answer, compose_range, ctx);
}

static void range_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        range_read(request);
}

void kv_range(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeRequest *range = (const void *)message;
    if (front_view(request->front)->is_learner && !range->serializable) {
        request_fail(request, ERR_NOT_SUPPORTED_FOR_LEARNER);
        return;
    }
    err e = kv_check_range(range);
    if (e.code)
        request_fail(request, e);
    else if (range->serializable)
        range_read(request);
    else
        front_read_barrier(request->front, request, range_after_barrier);
}

/* ── Put, DeleteRange, Compact ──────────────────────────────────────────────────────────────── */

static void compose_put(struct answer *answer, void *ctx)
{
    struct walk_answer *self = ctx;
    put_header(answer, &self->header);
    if (self->walk)
        answer_splice(answer, self->walk);
}

static void answer_header(struct request *request, int64_t revision)
{
    struct wire_header header = request_header(request, front_view(request->front), revision);
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX];
    struct bytes part = bytes_of(bytes, (size_t)(wire_put_header_field(bytes, &header) - bytes));
    request_answer(request, &part, 1);
}

static void put_done(struct request *request, const struct replica_reply *reply)
{
    const struct state_result *result = &reply->result;
    const struct mvcc_span *span = request->data;
    if (result->error.code) {
        request_fail(request, result->error);
        return;
    }
    if (!span) {
        answer_header(request, result->revision);
        return;
    }
    struct walk_answer *ctx = ARENA_NEW(&request->arena, struct walk_answer);
    ctx->header = request_header(request, front_view(request->front), result->revision);
    struct mvcc_range_options options = {.span = *span, .skip_count = true};
    struct answer *answer = answer_new(request);
    ctx->walk = answer_walk(answer, &options, result->op.seq, 2);
    answer_start(answer, compose_put, ctx);
}

/* The span of a request, kept beyond the message. */
static struct mvcc_span *keep_span(struct request *request, ProtobufCBinaryData key,
                                   ProtobufCBinaryData end)
{
    struct mvcc_span *span = ARENA_NEW(&request->arena, struct mvcc_span);
    *span = mvcc_span_of(arena_copy(&request->arena, bytes_pb(key)),
                         arena_copy(&request->arena, bytes_pb(end)));
    return span;
}

void kv_put(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__PutRequest *put = (const void *)message;
    if (!quota_admits(request, put_cost(put)))
        return;
    err e = kv_check_put(put);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    if (put->prev_kv)
        request->data = keep_span(request, put->key, (ProtobufCBinaryData){0, NULL});
    kv_propose(request, FIELD_PUT, put_done);
}

static void compose_delete(struct answer *answer, void *ctx)
{
    struct walk_answer *self = ctx;
    put_header(answer, &self->header);
    size_t size = wire_varint_field_size(2, (uint64_t)self->deleted);
    if (size)
        wire_put_varint_field(answer_literal(answer, size), 2, (uint64_t)self->deleted);
    if (self->walk)
        answer_splice(answer, self->walk);
}

static void delete_done(struct request *request, const struct replica_reply *reply)
{
    const struct state_result *result = &reply->result;
    const struct mvcc_span *span = request->data;
    if (result->error.code) {
        request_fail(request, result->error);
        return;
    }
    struct walk_answer *ctx = ARENA_NEW(&request->arena, struct walk_answer);
    ctx->header = request_header(request, front_view(request->front), result->revision);
    ctx->deleted = result->op.deleted;
    struct answer *answer = answer_new(request);
    if (span && ctx->deleted) {
        struct mvcc_range_options options = {.span = *span, .skip_count = true};
        ctx->walk = answer_walk(answer, &options, result->op.seq, 3);
    }
    answer_start(answer, compose_delete, ctx);
}

void kv_delete_range(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__DeleteRangeRequest *del = (const void *)message;
    err e = kv_check_delete(del);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    if (del->prev_kv)
        request->data = keep_span(request, del->key, del->range_end);
    kv_propose(request, FIELD_DELETE_RANGE, delete_done);
}

static void compact_done(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        answer_header(request, reply->result.revision);
}

void kv_compact(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__CompactionRequest *compaction = (const void *)message;
    request->until_swept = compaction->physical;
    kv_propose(request, FIELD_COMPACTION, compact_done);
}
