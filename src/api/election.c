#include "api/election.h"

#include "api/contend.h"
#include "api/kv.h"
#include "api/watch_tell.h"
#include "base/check.h"
#include "v3electionpb.pb-c.h"
#include "wire/encode.h"

#define NOT_LEADER     "election: not leader"
#define NO_LEADER      "election: no leader"
#define MISSING_LEADER "\"leader\" field must be provided"

static void fail_text(struct request *request, const char *text)
{
    request_fail_text(request, GRPC_UNKNOWN, bytes_str(text));
}

static void answer_header(struct request *request, int64_t revision)
{
    struct wire_header header = request_header(request, front_view(request->front), revision);
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX];
    struct bytes part = bytes_of(bytes, (size_t)(wire_put_header_field(bytes, &header) - bytes));
    request_answer(request, &part, 1);
}

/* ── Campaign ───────────────────────────────────────────────────────────────────────────────── */

static void elected(struct request *request)
{
    struct contender *self = request->data;
    struct bytes name = bytes_of(self->prefix.data, self->prefix.len - 1);
    struct wire_header header =
        request_header(request, front_view(request->front), self->made_revision);
    size_t leader = wire_bytes_field_size(1, name.len) + wire_bytes_field_size(2, self->key.len) +
                    wire_varint_field_size(3, (uint64_t)self->create) +
                    wire_varint_field_size(4, (uint64_t)self->lease);
    uint8_t *bytes = arena_alloc_bytes(&request->arena, WIRE_HEADER_FIELD_BYTES_MAX +
                                                            wire_message_field_size(2, leader));
    uint8_t *at = wire_put_header_field(bytes, &header);
    at = wire_put_prefix(at, 2, leader);
    at = wire_put_bytes_field(at, 1, name);
    at = wire_put_bytes_field(at, 2, self->key);
    at = wire_put_varint_field(at, 3, (uint64_t)self->create);
    at = wire_put_varint_field(at, 4, (uint64_t)self->lease);
    struct bytes part = bytes_of(bytes, (size_t)(at - bytes));
    contend_keep_key(request);
    request_answer(request, &part, 1);
}

static void proclaimed_anew(struct request *request)
{
    struct contender *self = request->data;
    if (self->changed) {
        contend_wait(request, elected);
        return;
    }
    contend_keep_key(request); /* it is another's, or gone */
    fail_text(request, NOT_LEADER);
}

static bool has_value(struct request *request, struct bytes value)
{
    const struct contender *self = request->data;
    struct mvcc_record record;
    struct mvcc_kv kv;
    return err_ok(mvcc_view_read(front_view(request->front)->mvcc, self->own_seq, &record, NULL)) &&
           err_ok(mvcc_kv_decode(record.blob, &kv)) && bytes_equal(kv.value, value);
}

/* The same lease once more: its key stays where it is in the queue, with the newer value. */
static void candidate_made(struct request *request)
{
    struct contender *self = request->data;
    const V3electionpb__CampaignRequest *campaign = (const void *)request->message;
    if (self->was_there && !has_value(request, bytes_pb(campaign->value)))
        contend_change(request, self->key, self->create, contend_value(campaign->value),
                       proclaimed_anew);
    else
        contend_wait(request, elected);
}

static void candidate_has_lease(struct request *request)
{
    const V3electionpb__CampaignRequest *campaign = (const void *)request->message;
    contend_make_key(request, bytes_pb(campaign->value), candidate_made);
}

void election_campaign(struct request *request, const ProtobufCMessage *message)
{
    const V3electionpb__CampaignRequest *campaign = (const void *)message;
    contend_new(request, bytes_pb(campaign->name), campaign->lease)->only_own_create = true;
    contend_make_lease(request, candidate_has_lease);
}

/* ── Proclaim, resign ───────────────────────────────────────────────────────────────────────── */

static void proclaimed(struct request *request)
{
    struct contender *self = request->data;
    if (self->changed)
        answer_header(request, self->revision);
    else
        fail_text(request, NOT_LEADER);
}

static void leader_has_lease(struct request *request)
{
    const V3electionpb__ProclaimRequest *proclaim = (const void *)request->message;
    contend_change(request, bytes_pb(proclaim->leader->key), proclaim->leader->rev,
                   contend_value(proclaim->value), proclaimed);
}

void election_proclaim(struct request *request, const ProtobufCMessage *message)
{
    const V3electionpb__ProclaimRequest *proclaim = (const void *)message;
    if (!proclaim->leader) {
        fail_text(request, MISSING_LEADER);
        return;
    }
    contend_new(request, bytes_pb(proclaim->leader->name), proclaim->leader->lease);
    contend_make_lease(request, leader_has_lease);
}

static void resigned(struct request *request)
{
    struct contender *self = request->data;
    answer_header(request, self->revision); /* whoever leads: it is not this one */
}

void election_resign(struct request *request, const ProtobufCMessage *message)
{
    const V3electionpb__ResignRequest *resign = (const void *)message;
    if (!resign->leader) {
        fail_text(request, MISSING_LEADER);
        return;
    }
    contend_new(request, bytes_pb(resign->leader->name), resign->leader->lease);
    contend_change(request, bytes_pb(resign->leader->key), resign->leader->rev, BYTES_NONE,
                   resigned);
}

/* ── Leader ─────────────────────────────────────────────────────────────────────────────────── */

/* LeaderResponse around a stored KeyValue. */
static unsigned leader_parts(const struct request *request, int64_t revision, struct bytes kv,
                             uint8_t *head, struct bytes ret_parts[2])
{
    struct wire_header header = request_header(request, front_view(request->front), revision);
    uint8_t *at = wire_put_prefix(wire_put_header_field(head, &header), 2, kv.len);
    ret_parts[0] = bytes_of(head, (size_t)(at - head));
    ret_parts[1] = kv;
    return 2;
}
#define LEADER_HEAD_BYTES (WIRE_HEADER_FIELD_BYTES_MAX + 1 + WIRE_VARINT_BYTES_MAX)

static void leader_found(struct request *request, uint64_t seq)
{
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    uint8_t head[LEADER_HEAD_BYTES];
    struct bytes parts[2];
    struct mvcc_record record;
    if (seq == 0) {
        fail_text(request, NO_LEADER);
        return;
    }
    err e = mvcc_view_read(view, seq, &record, NULL);
    if (e.code)
        request_fail(request, e);
    else
        request_answer(request, parts,
                       leader_parts(request, view->revision, record.blob, head, parts));
}

static void leader_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        contend_find_first(request, leader_found);
}

void election_leader(struct request *request, const ProtobufCMessage *message)
{
    const V3electionpb__LeaderRequest *leader = (const void *)message;
    contend_new(request, bytes_pb(leader->name), 0);
    front_read_barrier(request->front, request, leader_after_barrier);
}

/* ── Observe ────────────────────────────────────────────────────────────────────────────────────
 *
 *     look ── a leader ──> sent, its key watched ── put ──> sent
 *      ▲ └─── none ──────> the prefix watched ── put ──> sent, its key watched
 *      └──────────────────────────────────────── deleted, compacted, or the client reads again
 *
 * A client that reads slowly is told the present leader when it reads again, not all there were. */

struct observer {
    struct contender contender; /* first: the request's data */
    struct buf key;             /* watched; empty: nobody leads */
    int64_t sent;               /* mod revision of what was sent last */
    int64_t next;               /* what is watched begins here */
};

static void observe_look(struct request *request);
static void observe_watch(struct request *request);

static void observe_send(struct request *request, int64_t revision, struct bytes kv)
{
    uint8_t head[LEADER_HEAD_BYTES];
    struct bytes parts[2];
    request_send(request, parts, leader_parts(request, revision, kv, head, parts));
}

/* Takes up another key; false: its bytes make no sense. */
static bool observe_leader(struct request *request, int64_t revision, struct bytes blob)
{
    struct observer *self = request->data;
    struct mvcc_kv kv;
    err e = mvcc_kv_decode(blob, &kv);
    if (e.code) {
        request_fail(request, e);
        return false;
    }
    buf_clear(&self->key);
    e = buf_append(&self->key, kv.key);
    CHECK(err_ok(e));
    self->next = revision + 1;
    if (kv.mod != self->sent)
        observe_send(request, revision, blob);
    self->sent = kv.mod;
    return true;
}

static bool observe_told(struct request *request, const struct watch_event *event, err why)
{
    struct observer *self = request->data;
    if (!event) {
        if (err_is(why, ERR_COMPACTED))
            contend_later(request, observe_look);
        else
            request_fail(request, why);
        return false;
    }
    if (event->is_delete) {
        contend_later(request, observe_look);
        return false;
    }
    bool same = self->key.len != 0;
    if (!observe_leader(request, event->revision, event->kv))
        return false;
    if (!request_writable(request)) {
        contend_later(request, observe_look);
        list_remove(&request->node); /* until it is writable again */
        return false;
    }
    if (!same)
        contend_later(request, observe_watch);
    return same;
}

static void observe_watch(struct request *request)
{
    struct observer *self = request->data;
    struct watch_tale_spec spec = {.key = buf_bytes(&self->key), .revision = self->next};
    if (self->key.len == 0) {
        spec.key = self->contender.prefix;
        spec.range_end = self->contender.end;
        spec.flags = WATCH_NO_DELETE;
    }
    err e = watch_tell(request, &spec, observe_told);
    if (e.code)
        request_fail(request, e);
}

static void observe_found(struct request *request, uint64_t seq)
{
    struct observer *self = request->data;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    struct mvcc_record record;
    buf_clear(&self->key);
    self->next = view->revision + 1;
    if (seq) {
        err e = mvcc_view_read(view, seq, &record, NULL);
        if (e.code) {
            request_fail(request, e);
            return;
        }
        if (!observe_leader(request, view->revision, record.blob))
            return;
    }
    observe_watch(request);
}

static void observe_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        contend_find_first(request, observe_found);
}

static void observe_look(struct request *request)
{
    front_read_barrier(request->front, request, observe_after_barrier);
}

static void observe_release(struct request *request)
{
    struct observer *self = request->data;
    buf_done(&self->key);
    contend_release(request);
}

void election_observe(struct request *request, const ProtobufCMessage *message)
{
    const V3electionpb__LeaderRequest *leader = (const void *)message;
    struct observer *self = ARENA_NEW(&request->arena, struct observer);
    contend_init(&self->contender, request, bytes_pb(leader->name), 0);
    buf_init(&self->key, 0);
    request->release = observe_release;
    err e = request_rest(request);
    if (e.code)
        request_fail(request, e);
    else
        observe_look(request);
}
