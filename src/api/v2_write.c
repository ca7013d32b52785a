/* PUT, POST and DELETE of the v2 API.
 *
 *     plan ─┬─ refused ── by a view after a barrier? ── no ─> barrier ─> plan
 *           │                                        └─ yes ─> give the lease back ─> answer
 *           ├─ a lease is needed ─> grant ─> plan
 *           ├─ leftovers ─> clean ─> plan
 *           └─ transaction ─┬─ held ─> answer
 *                           └─ did not hold ─> barrier ─> plan
 */
#include "api/kv.h"
#include "api/quota.h"
#include "api/v2_plan.h"
#include "base/check.h"
#include "base/clock.h"
#include "state/request.h"
#include "wire/encode.h"

#include <stdlib.h>

/* Fields of InternalRaftRequest. */
enum { FIELD_TXN = 6, FIELD_LEASE_GRANT = 8, FIELD_LEASE_REVOKE = 9 };
/* Plans that others' writes spoil before a request is given up. */
#define TRIES_MAX 1000
#define TTL_MAX_S UINT64_C(9000000000)
#define NS_PER_S  INT64_C(1000000000)

struct v2_write {
    struct request *request;
    struct v2_plan_input input;
    struct v2_plan plan;
    struct arena arena; /* of the plan */
    bool after_barrier; /* the view that comes next is not older than the request */
    bool failed;        /* with error, once the lease is given back; else with plan.refusal */
    err error;
    unsigned tries;
};

static void attempt(struct v2_write *self);

static void write_release(struct request *request)
{
    struct v2_write *self = request->data;
    arena_done(&self->arena);
    free(self);
}

static void propose(struct v2_write *self, unsigned field, struct bytes body,
                    void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct request *request = self->request;
    uint64_t id = front_next_id(request->front);
    size_t size = state_request_size(field, body.len, id, BYTES_NONE, 0);
    uint8_t *at = front_propose(request->front, request, id, size, on_reply);
    state_request_write(at, field, body, id, BYTES_NONE, 0);
}

/* ── Ends ───────────────────────────────────────────────────────────────────────────────────── */

static void say_end(struct v2_write *self)
{
    v2_count_action(self->input.action, false);
    if (self->failed)
        v2_fail(self->request, self->error);
    else
        v2_refuse(self->request, self->plan.refusal,
                  front_view(self->request->front)->mvcc->revision);
}

static void revoked(struct request *request, const struct replica_reply *reply)
{
    (void)reply; /* whatever came of it: it ends by itself */
    say_end(request->data);
}

/* A lease that no node got would only run out. */
static void end(struct v2_write *self)
{
    if (!self->input.lease) {
        say_end(self);
        return;
    }
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = self->input.lease;
    struct arena arena;
    arena_init(&arena, 64);
    propose(self, FIELD_LEASE_REVOKE, wire_encode_arena(&revoke.base, &arena), revoked);
    arena_done(&arena);
}

static void fail(struct v2_write *self, err e)
{
    self->failed = true;
    self->error = e;
    end(self);
}

static void answer(struct v2_write *self, int64_t revision)
{
    const struct v2_params *params = self->input.params;
    struct v2_event *event = &self->plan.event;
    event->node.modified = revision;
    bool created = event->action == V2_CREATE || (event->action == V2_SET && !event->has_before);
    bool is_put = event->action != V2_DELETE && event->action != V2_COMPARE_AND_DELETE;
    v2_count_action(event->action, true);
    struct buf out;
    buf_init(&out, 0);
    err e = params->no_value && is_put ? v2_put_action(&out, event->action)
                                       : v2_put_event(&out, event, (int64_t)clock_wall_ns());
    if (e.code)
        v2_fail(self->request, e);
    else
        v2_answer(self->request, created ? 201 : 200, revision, &out);
    buf_done(&out);
}

/* ── Steps ──────────────────────────────────────────────────────────────────────────────────── */

static void barrier_passed(struct request *request, const struct replica_reply *reply)
{
    struct v2_write *self = request->data;
    if (reply->result.error.code) {
        fail(self, reply->result.error);
        return;
    }
    self->after_barrier = true;
    attempt(self);
}

static void written(struct request *request, const struct replica_reply *reply)
{
    struct v2_write *self = request->data;
    const struct state_result *result = &reply->result;
    if (result->error.code) {
        fail(self, result->error);
    } else if (result->op.succeeded && self->plan.step == V2_STEP_WRITE) {
        answer(self, result->revision);
    } else {
        self->input.cleaned = self->input.cleaned || result->op.succeeded;
        self->after_barrier = false;
        front_read_barrier(request->front, request, barrier_passed);
    }
}

static void granted(struct request *request, const struct replica_reply *reply)
{
    struct v2_write *self = request->data;
    const struct state_result *result = &reply->result;
    if (result->error.code) {
        fail(self, result->error);
        return;
    }
    self->input.lease = result->lease_id;
    self->input.expiration_ns = (int64_t)clock_wall_ns() + result->lease_ttl_s * NS_PER_S;
    attempt(self);
}

static void grant(struct v2_write *self)
{
    uint64_t ttl_s = self->input.params->ttl_s;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.ttl = ttl_s == 0 ? 1 : ttl_s < TTL_MAX_S ? (int64_t)ttl_s : (int64_t)TTL_MAX_S;
    do
        grant.id = (int64_t)(front_next_id(self->request->front) & INT64_MAX);
    while (grant.id == 0);
    propose(self, FIELD_LEASE_GRANT, wire_encode_arena(&grant.base, &self->arena), granted);
}

static void attempt(struct v2_write *self)
{
    struct request *request = self->request;
    struct front *front = request->front;
    arena_reset(&self->arena);
    err e = self->tries++ < TRIES_MAX
                ? v2_plan(front_view(front)->mvcc, &self->arena, &self->input, &self->plan)
                : ERR_TIMEOUT;
    if (e.code) {
        fail(self, e);
        return;
    }
    switch (self->plan.step) {
    case V2_STEP_REFUSE:
        if (self->after_barrier)
            end(self);
        else
            front_read_barrier(front, request, barrier_passed);
        return;
    case V2_STEP_LEASE:
        grant(self);
        return;
    case V2_STEP_WRITE:
    case V2_STEP_CLEAN:
        if (self->plan.txn.len > front->config.max_request_bytes)
            fail(self, ERR_REQUEST_TOO_LARGE);
        else
            propose(self, FIELD_TXN, self->plan.txn, written);
        return;
    }
}

void v2_write(struct request *request, const struct v2_params *params)
{
    struct bytes method = http_exchange_method(request->exchange);
    struct v2_write *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->request = request;
    self->input.params = params;
    self->input.action = v2_action_of(method, params);
    self->input.in_order = bytes_equal(method, BYTES_LIT("POST"));
    arena_init(&self->arena, 4096);
    request->data = self;
    request->release = write_release;
    bool deletes = self->input.action == V2_DELETE || self->input.action == V2_COMPARE_AND_DELETE;
    int64_t cost = deletes ? 0 : (int64_t)(params->path.len + params->value.len);
    if (quota_admits(request, cost))
        attempt(self);
}
