#include "api/lock.h"

#include "api/contend.h"
#include "api/kv.h"
#include "v3lockpb.pb-c.h"
#include "wire/encode.h"

enum { FIELD_DELETE_RANGE = 5 };

static void answer_locked(struct request *request, int64_t revision)
{
    struct contender *self = request->data;
    struct wire_header header = request_header(request, front_view(request->front), revision);
    uint8_t *bytes = arena_alloc_bytes(
        &request->arena, WIRE_HEADER_FIELD_BYTES_MAX + wire_bytes_field_size(2, self->key.len));
    uint8_t *at = wire_put_header_field(bytes, &header);
    at = wire_put_bytes_field(at, 2, self->key);
    struct bytes part = bytes_of(bytes, (size_t)(at - bytes));
    contend_keep_key(request);
    request_answer(request, &part, 1);
}

/* The lease may have ended while its key waited for others. */
static void looked_once_more(struct request *request, const struct replica_reply *reply)
{
    struct mvcc_state own;
    if (reply->result.error.code)
        contend_fail(request, reply->result.error);
    else if (contend_has_key(request, &own))
        answer_locked(request, front_view(request->front)->mvcc->revision);
}

static void waited(struct request *request)
{
    struct contender *self = request->data;
    if (self->stood_in_line)
        front_read_barrier(request->front, request, looked_once_more);
    else
        answer_locked(request, self->made_revision);
}

static void key_made(struct request *request)
{
    contend_wait(request, waited);
}

static void lease_made(struct request *request)
{
    contend_make_key(request, BYTES_LIT(""), key_made);
}

void lock_lock(struct request *request, const ProtobufCMessage *message)
{
    const V3lockpb__LockRequest *lock = (const void *)message;
    contend_new(request, bytes_pb(lock->name), lock->lease);
    contend_make_lease(request, lease_made);
}

static void unlocked(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code) {
        request_fail(request, reply->result.error);
        return;
    }
    struct wire_header header =
        request_header(request, front_view(request->front), reply->result.revision);
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX];
    struct bytes part = bytes_of(bytes, (size_t)(wire_put_header_field(bytes, &header) - bytes));
    request_answer(request, &part, 1);
}

void lock_unlock(struct request *request, const ProtobufCMessage *message)
{
    const V3lockpb__UnlockRequest *unlock = (const void *)message;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = unlock->key;
    request->hides_codes = true;
    err e = kv_check_delete(&del);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    request->raw = wire_encode_arena(&del.base, &request->arena);
    request->canonical = true;
    kv_propose(request, FIELD_DELETE_RANGE, unlocked);
}
