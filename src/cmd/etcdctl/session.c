#include "etcdctl/session.h"

#include "base/check.h"
#include "etcdctl/kv.h"

#include <inttypes.h>
#include <signal.h>

/* ---- waiting ---------------------------------------------------------------------------- */

static void on_signal(void *ctx, int number)
{
    struct session *self = ctx;
    self->interrupted = true;
    io_loop_stop(self->ctl->loop);
}

static void on_lost(void *ctx)
{
    struct session *self = ctx;
    self->lost = true;
    io_loop_stop(self->ctl->loop);
}

static int canceled(const struct session *self)
{
    if (self->quiet)
        return CTL_ERROR;
    return ctl_fail(CTL_ERROR, "context canceled");
}

void session_wait(struct session *self)
{
    while (!self->lost && !self->interrupted)
        io_loop_run(self->ctl->loop);
}

/* ---- calls ------------------------------------------------------------------------------ */

struct asked {
    struct session *session;
    struct client_result result;
    bool over;
};

static void on_done(void *ctx, const struct client_result *result)
{
    struct asked *self = ctx;
    self->result = *result;
    self->over = true;
    io_loop_stop(self->session->ctl->loop);
}

/* interruptible: a signal ends it. */
static int call(struct session *self, const struct client_method *method,
                const ProtobufCMessage *message, bool interruptible,
                const ProtobufCMessage **ret_response)
{
    struct ctl *ctl = self->ctl;
    struct asked asked = {.session = self};
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = interruptible ? CLIENT_NO_TIMEOUT : ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
        .arena = &ctl->arena,
        .done = on_done,
        .ctx = &asked,
    };
    if (interruptible && self->interrupted)
        return canceled(self);
    io_loop_refresh(ctl->loop);
    struct client_call *started = client_call_start(ctl->client, &request);
    bool cancelled = false;
    while (!asked.over) {
        io_loop_run(ctl->loop);
        if (!asked.over && !cancelled && interruptible && self->interrupted) {
            cancelled = true;
            client_call_cancel(started);
        }
    }
    if (asked.result.status == GRPC_OK) {
        *ret_response = asked.result.response;
        return CTL_OK;
    }
    if (cancelled)
        return canceled(self);
    if (!asked.result.local)
        ctl_log_failure(ctl, method->path, &asked.result);
    return ctl_fail(CTL_ERROR, "%s", ctl_error_text(ctl, &asked.result));
}

int session_call(struct session *self, const struct client_method *method,
                 const ProtobufCMessage *message, const ProtobufCMessage **ret_response)
{
    return call(self, method, message, true, ret_response);
}

int session_range(struct session *self, const Etcdserverpb__RangeRequest *request,
                  const Etcdserverpb__RangeResponse **ret_response)
{
    const ProtobufCMessage *response = NULL;
    int code = session_call(self, &client_kv_range, &request->base, &response);
    *ret_response = (const Etcdserverpb__RangeResponse *)response;
    return code;
}

/* ---- birth and death -------------------------------------------------------------------- */

int session_begin(struct session *self, struct ctl *ctl, int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    *self = (struct session){.ctl = ctl};
    int code = ctl_client(ctl);
    if (code)
        return code;
    if (!err_ok(io_loop_signal_add(ctl->loop, SIGINT, on_signal, self)) ||
        !err_ok(io_loop_signal_add(ctl->loop, SIGTERM, on_signal, self)))
        return ctl_fail(CTL_ERROR, "signals cannot be caught");
    self->watches = client_watch_stream_new(ctl->client, false);
    if (ttl_s == 0)
        return CTL_OK;
    grant.ttl = ttl_s;
    code = session_call(self, &client_lease_grant, &grant.base, &response);
    if (code)
        return code;
    const Etcdserverpb__LeaseGrantResponse *granted =
        (const Etcdserverpb__LeaseGrantResponse *)response;
    const struct client_keepalive_request keep = {
        .lease = granted->id,
        .patience_ms = granted->ttl > 0 ? (uint64_t)granted->ttl * 1000 : 1000,
        .lost = on_lost,
        .ctx = self,
    };
    self->lease = granted->id;
    self->keepalive = client_keepalive_new(ctl->client, &keep);
    return CTL_OK;
}

void session_end(struct session *self)
{
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    client_watch_stream_free(TAKE(self->watches));
    client_keepalive_free(TAKE(self->keepalive));
    revoke.id = self->lease;
    if (self->lease && !self->lost)
        (void)call(self, &client_lease_revoke, &revoke.base, false, &response);
}

/* ---- the queue -------------------------------------------------------------------------- */

static void below(struct ctl *ctl, const char *name, Etcdserverpb__RangeRequest *request)
{
    struct bytes prefix = bytes_str(arena_printf(&ctl->arena, "%s/", name));
    request->key = field_of_bytes(prefix);
    request->range_end = key_prefix_end(ctl, prefix);
    request->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    request->limit = 1;
}

int session_first(struct session *self, const char *name,
                  const Etcdserverpb__RangeResponse **ret_response)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    below(self->ctl, name, &request);
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    return session_range(self, &request, ret_response);
}

static bool is_delete(void *ctx, const Etcdserverpb__WatchResponse *response,
                      const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
}

/* Until no key below name is older; *ret_waited says whether there was one. */
static int wait_for_older(struct session *self, const char *name, int64_t created, bool *ret_waited)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    below(self->ctl, name, &request);
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    request.max_create_revision = created - 1;
    *ret_waited = false;
    for (;;) {
        const Etcdserverpb__RangeResponse *response = NULL;
        int code = session_range(self, &request, &response);
        if (code || response->n_kvs == 0)
            return code;
        *ret_waited = true;
        code = session_watch(self, bytes_of_field(response->kvs[0]->key), BYTES_NONE,
                             response->header ? response->header->revision : 0, is_delete, NULL);
        if (code)
            return code;
    }
}

/* Puts the key unless it is there. */
static int enqueue(struct session *self, const char *value, struct session_turn *turn)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, *thens[] = {&then};
    Etcdserverpb__RequestOp or = ETCDSERVERPB__REQUEST_OP__INIT, *ors[] = {& or };
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    const ProtobufCBinaryData key = field_of_bytes(bytes_str(turn->key));
    compare.key = key;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    put.key = key;
    put.value = field_of_bytes(bytes_str(value));
    put.lease = self->lease;
    get.key = key;
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    or.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    or.request_range = &get;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    txn.compare = compares;
    txn.success = thens;
    txn.failure = ors;
    int code = session_call(self, &client_kv_txn, &txn.base, &message);
    if (code)
        return code;
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)message;
    turn->revision = turn->created = response->header ? response->header->revision : 0;
    if (!response->succeeded && response->n_responses == 1 &&
        response->responses[0]->response_range && response->responses[0]->response_range->n_kvs)
        turn->created = response->responses[0]->response_range->kvs[0]->create_revision;
    return CTL_OK;
}

int session_take_turn(struct session *self, const char *name, const char *value,
                      struct session_turn *ret_turn)
{
    struct session_turn turn = {
        .key = arena_printf(&self->ctl->arena, "%s/%" PRIx64, name, (uint64_t)self->lease),
    };
    bool waited = false;
    int code = enqueue(self, value, &turn);
    if (!code)
        code = wait_for_older(self, name, turn.created, &waited);
    if (code)
        return code;
    if (waited) { /* it may have gone in the meantime */
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        const Etcdserverpb__RangeResponse *response = NULL;
        request.key = field_of_bytes(bytes_str(turn.key));
        code = session_range(self, &request, &response);
        if (code)
            return code;
        if (response->n_kvs == 0)
            return ctl_fail(CTL_ERROR, "mutex: session is expired");
        turn.revision = response->header ? response->header->revision : 0;
    }
    *ret_turn = turn;
    return CTL_OK;
}

int session_give_up(struct session *self, const struct session_turn *turn)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, *thens[] = {&then};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    compare.key = del.key = field_of_bytes(bytes_str(turn->key));
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.create_revision = turn->created;
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    then.request_delete_range = &del;
    txn.n_compare = txn.n_success = 1;
    txn.compare = compares;
    txn.success = thens;
    return call(self, &client_kv_txn, &txn.base, false, &response);
}

/* ---- watching --------------------------------------------------------------------------- */

struct watched {
    struct session *session;
    bool (*event)(void *ctx, const Etcdserverpb__WatchResponse *response,
                  const Mvccpb__Event *event);
    void *ctx;
    bool over;  /* event said true */
    bool ended; /* the watch is gone */
};

static void on_told(void *ctx, const Etcdserverpb__WatchResponse *response)
{
    struct watched *self = ctx;
    for (size_t i = 0; i < response->n_events && !self->over; i++)
        self->over = self->event(self->ctx, response, response->events[i]);
    if (self->over)
        io_loop_stop(self->session->ctl->loop);
}

static void on_ended(void *ctx, const struct client_result *result)
{
    struct watched *self = ctx;
    self->ended = true;
    io_loop_stop(self->session->ctl->loop);
}

int session_watch(struct session *self, struct bytes key, struct bytes range_end, int64_t revision,
                  bool (*event)(void *ctx, const Etcdserverpb__WatchResponse *response,
                                const Mvccpb__Event *event),
                  void *ctx)
{
    struct watched watched = {.session = self, .event = event, .ctx = ctx};
    const struct client_watch_request request = {
        .key = key,
        .range_end = range_end,
        .start_revision = revision,
        .told = on_told,
        .ended = on_ended,
        .ctx = &watched,
    };
    struct client_watch *watch = client_watch_start(self->watches, &request);
    while (!watched.over && !watched.ended && !self->interrupted && !self->lost)
        io_loop_run(self->ctl->loop);
    if (!watched.ended)
        client_watch_cancel(watch);
    if (watched.over)
        return CTL_OK;
    if (self->interrupted)
        return canceled(self);
    if (self->lost)
        return ctl_fail(CTL_ERROR, "mutex: session is expired");
    return ctl_fail(CTL_ERROR, "lost watcher waiting for delete");
}
