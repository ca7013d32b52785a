/* A range at the gateway: JSON of any size, made as the client reads it.
 *
 *     {"header":{…} ─> ,"kvs":[ item , item … ] ─> ,"more":true,"count":"5"}
 *
 * A short one is one slice and goes out whole. A longer one takes a pin, and then goes out in
 * chunks; where its pin breaks the answer breaks off, and the client sees that. */
#include "api/kv.h"

#include "base/check.h"
#include "etcdserverpb.pb-c.h"
#include "mvcc/range.h"
#include "wire/json.h"

#define SLICE_KEYS  2000
#define SLICE_BYTES ((size_t)64 << 10)

struct range_json {
    struct mvcc_range range;
    struct mvcc_pin pin;
    struct arena scratch; /* of one item */
    struct buf text;      /* not sent yet */
    uint64_t items;
    bool begun; /* the response's head is out */
};

static void json_release(struct request *request)
{
    struct range_json *self = request->data;
    mvcc_range_done(&self->range);
    mvcc_pin_drop(request->front->config.pins, &self->pin);
    arena_done(&self->scratch);
    buf_done(&self->text);
}

static err put_head(struct range_json *self, const struct wire_header *header)
{
    Etcdserverpb__ResponseHeader head = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    head.cluster_id = header->cluster_id;
    head.member_id = header->member_id;
    head.revision = header->revision;
    head.raft_term = header->raft_term;
    response.header = &head;
    TRY(wire_json_write(&response.base, WIRE_JSON_GATEWAY, &self->text));
    self->text.len--; /* the object goes on */
    return OK;
}

static err put_item(struct range_json *self, const struct mvcc_view *view)
{
    const struct mvcc_range_options *options = &self->range.options;
    struct mvcc_record record;
    ProtobufCMessage *message;
    TRY(mvcc_view_read(view, self->range.item.seq, &record, &self->range.fault));
    arena_reset(&self->scratch);
    TRY(wire_decode(&mvccpb__key_value__descriptor, record.blob, &self->scratch, NULL, &message,
                    NULL));
    Mvccpb__KeyValue *kv = (Mvccpb__KeyValue *)message;
    if (options->keys_only) { /* as answer.c strips it */
        kv->value = (ProtobufCBinaryData){0, NULL};
        kv->lease = options->target == MVCC_TARGET_VALUE ? kv->lease : 0;
    }
    TRY(buf_append(&self->text, self->items ? BYTES_LIT(",") : BYTES_LIT(",\"kvs\":[")));
    self->items++;
    return wire_json_write(message, WIRE_JSON_GATEWAY, &self->text);
}

static err put_tail(struct range_json *self)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.more = self->range.more;
    response.count = (int64_t)self->range.count;
    if (self->items)
        TRY(buf_append(&self->text, BYTES_LIT("]")));
    size_t at = self->text.len;
    TRY(wire_json_write(&response.base, WIRE_JSON_GATEWAY, &self->text));
    if (self->text.data[at + 1] != '}') {
        self->text.data[at] = ','; /* the object's members, without its brace */
        return OK;
    }
    self->text.len = at;
    return buf_append(&self->text, BYTES_LIT("}"));
}

static err fill(struct range_json *self, const struct mvcc_view *view, bool *ret_end)
{
    unsigned budget = SLICE_KEYS;
    *ret_end = false;
    while (self->text.len < SLICE_BYTES) {
        enum mvcc_range_step step;
        TRY(mvcc_range_run(&self->range, view, &budget, &step));
        *ret_end = step == MVCC_RANGE_END;
        if (step != MVCC_RANGE_ITEM)
            return *ret_end ? put_tail(self) : OK;
        TRY(put_item(self, view));
    }
    return OK;
}

static void send_text(struct request *request, bool is_all)
{
    struct range_json *self = request->data;
    if (!self->begun)
        request_begin_json(request, is_all ? self->text.len : HTTP_LENGTH_UNKNOWN);
    self->begun = true;
    http_response_body(request->exchange, buf_bytes(&self->text));
    buf_clear(&self->text);
    if (is_all)
        request_end_json(request);
}

/* One slice; true: there is more. */
static bool json_job(struct request *request)
{
    struct range_json *self = request->data;
    struct front *front = request->front;
    if (!request_writable(request)) {
        list_remove(&request->node); /* until it is again */
        return true;
    }
    bool end = false;
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop));
    if (err_ok(e))
        e = fill(self, front_view(front)->mvcc, &end);
    mvcc_range_pause(&self->range);
    if (e.code && self->begun)
        request_break_json(request, e);
    else if (e.code)
        request_fail(request, e);
    else if (end || (self->pin.slot && self->text.len >= SLICE_BYTES))
        send_text(request, end);
    return err_ok(e) && !end;
}

void kv_range_json(struct request *request, const struct mvcc_range_options *options, uint64_t seq,
                   const struct wire_header *header)
{
    struct front *front = request->front;
    struct range_json *self = ARENA_NEW(&request->arena, struct range_json);
    mvcc_range_init(&self->range, options, seq);
    arena_init(&self->scratch, 1024);
    buf_init(&self->text, 0);
    request->data = self;
    request->release = json_release;
    CHECK(err_ok(put_head(self, header))); /* our own */
    if (!json_job(request))
        return;
    err e = mvcc_pin_take(front->config.pins, seq, io_loop_now_ms(front->config.loop), &self->pin);
    if (e.code)
        request_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
    else
        front_add_job(request, json_job);
}
