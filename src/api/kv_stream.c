/* RangeStream: a range in chunks that fit the client's pace, all at the seq of the first.
 * A chunk begins with ten keys; a small one doubles the next, a large one halves it.
 * Header, more and count stand in the last message alone.
 * Source: etcd's interface, limits, "RangeStream". */
#include "api/kv.h"

#include "base/check.h"
#include "mvcc/range.h"
#include "state/op_metrics.h"

#define FIRST_CHUNK_KEYS 10
#define BUDGET           2000

struct range_stream {
    struct mvcc_range range;
    struct mvcc_pin pin;
    struct wire_header header;
    uint64_t chunk_keys; /* wanted of the next message */
    uint64_t keys;       /* in the one being built */
    struct buf kvs;      /* its KeyValues, framed */
};

static void stream_release(struct request *request)
{
    struct range_stream *self = request->data;
    mvcc_range_done(&self->range);
    mvcc_pin_drop(request->front->config.pins, &self->pin);
    buf_done(&self->kvs);
}

static err add_item(struct range_stream *self, const struct mvcc_view *view)
{
    struct mvcc_record record;
    TRY(mvcc_view_read(view, self->range.item.seq, &record, &self->range.fault));
    struct bytes blob = record.blob;
    struct mvcc_kv kv;
    struct wire_kv plain;
    size_t inner = blob.len;
    if (self->range.options.keys_only) {
        TRY(mvcc_kv_decode(blob, &kv));
        plain = (struct wire_kv){.key = kv.key,
                                 .create_revision = kv.create,
                                 .mod_revision = kv.mod,
                                 .version = kv.version};
        inner = wire_kv_size(&plain);
    }
    size_t size = wire_message_field_size(2, inner);
    TRY(buf_reserve(&self->kvs, size));
    uint8_t *at = wire_put_prefix(self->kvs.data + self->kvs.len, 2, inner);
    if (self->range.options.keys_only)
        wire_put_kv(at, &plain);
    else
        memcpy(at, blob.data, blob.len);
    self->kvs.len += size;
    self->keys++;
    return OK;
}

/* RangeStreamResponse{range_response{…}}. */
static void send_chunk(struct request *request, bool last)
{
    struct range_stream *self = request->data;
    uint8_t head[WIRE_HEADER_FIELD_BYTES_MAX], tail[32], prefix[16];
    size_t head_len = 0, tail_len = 0;
    if (last) {
        head_len = (size_t)(wire_put_header_field(head, &self->header) - head);
        uint8_t *at = wire_put_varint_field(tail, 3, self->range.more);
        tail_len = (size_t)(wire_put_varint_field(at, 4, self->range.count) - tail);
    }
    size_t inner = head_len + self->kvs.len + tail_len;
    struct bytes parts[] = {
        bytes_of(prefix, (size_t)(wire_put_prefix(prefix, 1, inner) - prefix)),
        bytes_of(head, head_len),
        buf_bytes(&self->kvs),
        bytes_of(tail, tail_len),
    };
    request_send(request, parts, 4);
    uint64_t limit = request->front->config.max_request_bytes;
    if (self->kvs.len < limit / 2)
        self->chunk_keys *= 2;
    else if (self->kvs.len > limit * 2 && self->chunk_keys > 1)
        self->chunk_keys /= 2;
    buf_clear(&self->kvs);
    self->keys = 0;
}

/* One slice. *ret_end: the range is through. */
static err fill_chunk(struct request *request, const struct mvcc_view *view, bool *ret_full,
                      bool *ret_end)
{
    struct range_stream *self = request->data;
    unsigned budget = BUDGET;
    while (true) {
        enum mvcc_range_step step;
        *ret_full = self->keys >= self->chunk_keys ||
                    self->kvs.len > request->front->config.max_request_bytes * 2;
        if (*ret_full)
            return OK;
        TRY(mvcc_range_run(&self->range, view, &budget, &step));
        *ret_end = step == MVCC_RANGE_END;
        if (step != MVCC_RANGE_ITEM)
            return OK;
        TRY(add_item(self, view));
    }
}

static bool stream_job(struct request *request)
{
    struct range_stream *self = request->data;
    struct front *front = request->front;
    if (!request_writable(request)) {
        list_remove(&request->node); /* until it is again */
        return true;
    }
    bool full = false, end = false;
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop));
    if (err_ok(e))
        e = fill_chunk(request, front_view(front)->mvcc, &full, &end);
    mvcc_range_pause(&self->range);
    if (e.code) {
        request_fail(request, e);
        return false;
    }
    if (full || end)
        send_chunk(request, end);
    if (!end)
        return true;
    request_finish(request);
    return false;
}

static void stream_begin(struct request *request)
{
    const Etcdserverpb__RangeRequest *range = (const void *)request->message;
    struct front *front = request->front;
    const struct replica_view *view = front_view(front);
    struct range_stream *self = ARENA_NEW(&request->arena, struct range_stream);
    uint64_t seq;
    err e = mvcc_view_seq_of(view->mvcc, range->revision, &seq);
    if (err_ok(e))
        e = mvcc_pin_take(front->config.pins, seq, io_loop_now_ms(front->config.loop), &self->pin);
    if (e.code) {
        request_fail(request, err_is(e, ERR_LIMIT) ? ERR_REQUEST_TOO_MANY_REQUESTS : e);
        return;
    }
    metric_add(&op_ranges, 1);
    struct mvcc_range_options options = kv_range_options(front, range);
    mvcc_range_init(&self->range, &options, seq);
    self->header = request_header(request, view, view->mvcc->revision);
    self->chunk_keys = FIRST_CHUNK_KEYS;
    buf_init(&self->kvs, 0);
    request->data = self;
    request->release = stream_release;
    front_add_job(request, stream_job);
}

static void stream_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        stream_begin(request);
}

/* By key upwards is the order of the store. Without an order a target means ascending, as in a
 * unary range; etcd 3.7 lets it pass here, sorts chunk by chunk and sends some keys twice. */
static bool is_sorted(const Etcdserverpb__RangeRequest *range)
{
    return range->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY ||
           range->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
}

void kv_range_stream(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeRequest *range = (const void *)message;
    err e = kv_check_range(range);
    if (err_ok(e) && is_sorted(range))
        e = ERR_STREAM_SORT;
    if (err_ok(e) && (range->min_mod_revision || range->max_mod_revision ||
                      range->min_create_revision || range->max_create_revision))
        e = ERR_STREAM_REVISION_FILTER;
    if (e.code)
        request_fail(request, e);
    else if (range->serializable)
        stream_begin(request);
    else
        front_read_barrier(request->front, request, stream_after_barrier);
}
