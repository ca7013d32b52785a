#include "api/lease.h"

#include "api/answer.h"
#include "api/gateway.h"
#include "api/kv.h"
#include "api/quota.h"
#include "base/budget.h"
#include "base/check.h"
#include "state/lease.h"
#include "wire/encode.h"

#include <stdlib.h>

/* Fields of InternalRaftRequest. */
enum { FIELD_LEASE_GRANT = 8, FIELD_LEASE_REVOKE = 9 };
/* Leases or keys that one slice lists. */
enum { LIST_BUDGET = 1000 };
/* So many bytes of a key count as one key. */
#define LIST_COST_BYTES  1024
#define LIST_BYTES_MAX   ((size_t)256 << 20)
#define GRANT_COST_BYTES 64

/* ── Grant, revoke ──────────────────────────────────────────────────────────────────────────── */

static size_t put_header(const struct request *request, int64_t revision,
                         uint8_t out[WIRE_HEADER_FIELD_BYTES_MAX])
{
    struct wire_header header = request_header(request, front_view(request->front), revision);
    return (size_t)(wire_put_header_field(out, &header) - out);
}

/* GrantResponse and the like: header, id, time. */
static void answer_lease(struct request *request, int64_t revision, int64_t id, int64_t ttl_s)
{
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX + 2 * (1 + WIRE_VARINT_BYTES_MAX)];
    uint8_t *at = bytes + put_header(request, revision, bytes);
    at = wire_put_varint_field(at, 2, (uint64_t)id);
    at = wire_put_varint_field(at, 3, (uint64_t)ttl_s);
    struct bytes part = bytes_of(bytes, (size_t)(at - bytes));
    request_answer(request, &part, 1);
}

static void grant_done(struct request *request, const struct replica_reply *reply)
{
    const struct state_result *result = &reply->result;
    if (result->error.code)
        request_fail(request, result->error);
    else
        answer_lease(request, result->revision, result->lease_id, result->lease_ttl_s);
}

void lease_grant(struct request *request, const ProtobufCMessage *message)
{
    if (!quota_admits(request, GRANT_COST_BYTES))
        return;
    Etcdserverpb__LeaseGrantRequest chosen = *(const Etcdserverpb__LeaseGrantRequest *)message;
    if (chosen.id == 0) {
        do
            chosen.id = (int64_t)(front_next_id(request->front) & INT64_MAX);
        while (chosen.id == 0);
        request->raw = wire_encode_arena(&chosen.base, &request->arena);
        request->canonical = true;
    }
    kv_propose(request, FIELD_LEASE_GRANT, grant_done);
}

static void revoke_done(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        answer_lease(request, reply->result.revision, 0, 0);
}

void lease_revoke(struct request *request, const ProtobufCMessage *message)
{
    (void)message;
    kv_propose(request, FIELD_LEASE_REVOKE, revoke_done);
}

/* ── Keeping alive ──────────────────────────────────────────────────────────────────────────────
 * One question at a time: the stream is paused while one is with the core, and while its client
 * does not read the answers. */

struct keep_alive {
    int64_t lease_id;
    int64_t revision; /* before the renewal */
    bool ended;       /* the client sends no more */
    bool unread;      /* paused until it can be written to */
};

static void keep_alive_release(struct request *request)
{
    free(request->data);
}

static void keep_alive_next(struct request *request)
{
    struct keep_alive *self = request->data;
    self->unread = !request_writable(request);
    if (self->unread)
        return;
    if (request->exchange)
        gateway_resume(request);
    else if (self->ended)
        request_finish(request);
    else
        rpc_call_resume(request->call);
}

static void keep_alive_writable(struct request *request)
{
    if (((struct keep_alive *)request->data)->unread)
        keep_alive_next(request);
}

static void keep_alive_done(struct request *request, const struct replica_reply *reply)
{
    struct keep_alive *self = request->data;
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX + 2 * (1 + WIRE_VARINT_BYTES_MAX)];
    uint8_t *at = bytes + put_header(request, self->revision, bytes);
    at = wire_put_varint_field(at, 2, (uint64_t)self->lease_id);
    at = wire_put_varint_field(at, 3, (uint64_t)reply->lease.ttl_s);
    struct bytes part = bytes_of(bytes, (size_t)(at - bytes));
    request_send(request, &part, 1);
    keep_alive_next(request);
}

static void keep_alive_half_closed(struct request *request)
{
    struct keep_alive *self = request->data;
    self->ended = true;
    if (request->state == REQUEST_OPEN)
        request_finish(request);
}

void lease_keep_alive(struct request *request, const ProtobufCMessage *message)
{
    int64_t id = ((const Etcdserverpb__LeaseKeepAliveRequest *)message)->id;
    err e = request_rest(request);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    struct keep_alive *self = request->data;
    if (!self) {
        self = calloc(1, sizeof(*self));
        CHECK(self);
        request->data = self;
        request->release = keep_alive_release;
        request->on_half_closed = keep_alive_half_closed;
        request->on_writable = keep_alive_writable;
    }
    self->lease_id = id;
    self->revision = front_view(request->front)->mvcc->revision;
    if (request->call) {
        rpc_call_pause(request->call);
        request_forget_message(request);
    }
    front_ask_lease(request->front, request, LEASE_KEEP_ALIVE, id, keep_alive_done);
}

/* ── Lists of any length ────────────────────────────────────────────────────────────────────────
 * Made in slices, field by field, into a buffer; then sent as one message. */

struct lease_list {
    int64_t lease_id; /* of keys */
    int64_t ttl_s, granted_s;
    uint64_t next_id;    /* leases: go on here */
    struct buf next_key; /* keys: go on here */
    struct buf body;     /* after the header */
    struct wire_header header;
};

static void list_release(struct request *request)
{
    struct lease_list *self = request->data;
    buf_done(&self->next_key);
    buf_done(&self->body);
}

static struct lease_list *list_new(struct request *request, int64_t lease_id)
{
    struct lease_list *self = ARENA_NEW(&request->arena, struct lease_list);
    self->lease_id = lease_id;
    buf_init(&self->next_key, 0);
    buf_init(&self->body, 0);
    request->data = self;
    request->release = list_release;
    return self;
}

static void compose_list(struct answer *answer, void *ctx)
{
    struct lease_list *self = ctx;
    wire_put_header_field(answer_literal(answer, wire_header_field_size(&self->header)),
                          &self->header);
    if (self->body.len)
        memcpy(answer_literal(answer, self->body.len), self->body.data, self->body.len);
}

static void list_send(struct request *request)
{
    struct lease_list self = *(struct lease_list *)request->data;
    const struct replica_view *view = front_view(request->front);
    self.header = request_header(request, view, view->mvcc->revision);
    request->release = NULL;
    if (self.body.len > LIST_BYTES_MAX)
        request_fail(request, ERR_RESPONSE_TOO_LARGE);
    else /* without walks it is composed before this returns */
        answer_start(answer_new(request), compose_list, &self);
    buf_done(&self.next_key);
    buf_done(&self.body);
}

/* ── Time to live ───────────────────────────────────────────────────────────────────────────── */

static void put_key(struct buf *out, const struct lease_keys *at)
{
    size_t len = lease_keys_bytes(at);
    err e = buf_reserve(out, 2 * WIRE_VARINT_BYTES_MAX + LEASE_KEY_BYTES + len);
    CHECK(err_ok(e));
    /* The key is written behind its lease: to where only the key will count. */
    uint8_t *begin = out->data + out->len;
    uint8_t *room = begin + 2 * WIRE_VARINT_BYTES_MAX;
    struct bytes key = lease_keys_key(at, room);
    uint8_t *end = wire_put_prefix(begin, 5, len);
    memmove(end, key.data, key.len);
    out->len += (size_t)(end - begin) + len;
}

/* The keys that this member knows, at or after what the leader's time was told from. */
static bool keys_job(struct request *request)
{
    struct lease_list *self = request->data;
    const struct replica_view *view = front_view(request->front);
    struct lease_keys at;
    unsigned budget = LIST_BUDGET;
    lease_keys_seek(&at, view->lease_keys, self->lease_id, buf_bytes(&self->next_key));
    for (; budget && lease_keys_valid(&at) && self->body.len <= LIST_BYTES_MAX;
         lease_keys_next(&at)) {
        budget_spend(&budget, 1 + lease_keys_bytes(&at) / LIST_COST_BYTES);
        put_key(&self->body, &at);
    }
    if (!lease_keys_valid(&at) || self->body.len > LIST_BYTES_MAX) {
        list_send(request);
        return false;
    }
    buf_clear(&self->next_key);
    err e = buf_reserve(&self->next_key, lease_keys_bytes(&at) + LEASE_KEY_BYTES);
    CHECK(err_ok(e));
    struct bytes key = lease_keys_key(&at, self->next_key.data);
    memmove(self->next_key.data, key.data, key.len);
    self->next_key.len = key.len;
    return true;
}

static void keys_begin(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else if (keys_job(request))
        front_add_job(request, keys_job);
}

static void put_times(struct lease_list *self)
{
    err e = buf_reserve(&self->body, 3 * (1 + WIRE_VARINT_BYTES_MAX));
    CHECK(err_ok(e));
    uint8_t *at = self->body.data;
    at = wire_put_varint_field(at, 2, (uint64_t)self->lease_id);
    at = wire_put_varint_field(at, 3, (uint64_t)self->ttl_s);
    at = wire_put_varint_field(at, 4, (uint64_t)self->granted_s);
    self->body.len = (size_t)(at - self->body.data);
}

static void time_left_done(struct request *request, const struct replica_reply *reply)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *asked = (const void *)request->message;
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    struct lease_list *self = list_new(request, asked->id);
    self->ttl_s = reply->lease.ttl_s;
    self->granted_s = reply->lease.granted_s;
    put_times(self);
    if (asked->keys && self->ttl_s >= 0)
        front_read_barrier(request->front, request, keys_begin);
    else
        list_send(request);
}

void lease_time_to_live(struct request *request, const ProtobufCMessage *message)
{
    int64_t id = ((const Etcdserverpb__LeaseTimeToLiveRequest *)message)->id;
    front_ask_lease(request->front, request, LEASE_TIME_LEFT, id, time_left_done);
}

/* ── All leases ─────────────────────────────────────────────────────────────────────────────── */

static void put_status(struct buf *out, int64_t id)
{
    err e = buf_reserve(out, 2 + 1 + WIRE_VARINT_BYTES_MAX);
    CHECK(err_ok(e));
    uint8_t *at = out->data + out->len;
    at = wire_put_prefix(at, 2, wire_varint_field_size(1, (uint64_t)id));
    at = wire_put_varint_field(at, 1, (uint64_t)id);
    out->len = (size_t)(at - out->data);
}

static bool leases_job(struct request *request)
{
    struct lease_list *self = request->data;
    const struct replica_view *view = front_view(request->front);
    struct mvcc_bucket_cursor at;
    uint8_t key[LEASE_KEY_BYTES];
    unsigned budget = LIST_BUDGET;
    bytes_put_be64(key, self->next_id);
    mvcc_bucket_cursor_seek(&at, view->mvcc, MVCC_BUCKET_LEASE, bytes_of(key, sizeof(key)));
    for (; budget && mvcc_bucket_cursor_valid(&at); mvcc_bucket_cursor_next(&at), budget--) {
        mvcc_bucket_cursor_key(&at, key);
        put_status(&self->body, (int64_t)bytes_get_be64(key));
        self->next_id = bytes_get_be64(key) + 1;
    }
    if (budget == 0 && self->next_id != 0)
        return true;
    list_send(request);
    return false;
}

/* The leader's order, soonest first, where it has one; else by id. */
static void leases_done(struct request *request, const struct replica_reply *reply)
{
    struct lease_list *self = list_new(request, 0);
    if (!reply->result.error.code) {
        for (size_t i = 0; i < reply->lease.id_count; i++)
            put_status(&self->body, reply->lease.ids[i]);
        list_send(request);
    } else if (leases_job(request)) {
        front_add_job(request, leases_job);
    }
}

void lease_leases(struct request *request, const ProtobufCMessage *message)
{
    (void)message;
    front_ask_lease(request->front, request, LEASE_LIST, 0, leases_done);
}
