#include "api/cluster.h"
#include "api/front_internal.h"
#include "api/lease.h"
#include "api/room.h"
#include "api/unsent.h"
#include "api/watch.h"

#include "base/check.h"
#include "base/clock.h"
#include "state/ids.h"

#include <stdlib.h>

#define HTTP2_REFUSED_STREAM 7
/* How often calls that wait for the member's readiness look for it. */
#define READY_POLL_MS 50

/* ── Guards ─────────────────────────────────────────────────────────────────────────────────── */

void front_guard_enter(struct front *self)
{
    if (self->guard_depth++ == 0)
        epoch_enter(self->config.epoch, self->config.epoch_slot);
}

void front_guard_leave(struct front *self)
{
    CHECK(self->guard_depth > 0);
    if (--self->guard_depth == 0)
        epoch_leave(self->config.epoch_slot);
}

const struct replica_view *front_view(struct front *self)
{
    CHECK(self->guard_depth > 0);
    return replica_view_get(self->config.replica);
}

bool front_slice_over(struct front *self, uint64_t begin_ns)
{
    return clock_mono_ns() - begin_ns > FRONT_SLICE_NS;
}

/* ── To the core ────────────────────────────────────────────────────────────────────────────── */

static void blob_release(struct raft_blob *blob)
{
    struct link_blob *self = LIST_ENTRY(blob, struct link_blob, blob);
    mailbox_post(&self->home->blobs, &self->node);
}

/* The pass's proposals move into a buffer of just their size: log entries keep it for long. */
static void batch_close_blob(struct front *self, struct front_batch *batch)
{
    if (batch->proposal_count == 0)
        return;
    struct link_blob *blob = malloc(sizeof(*blob) + self->entries.len);
    CHECK(blob);
    blob->blob = (struct raft_blob){.refs = 1, .release = blob_release};
    blob->home = &self->inbox;
    memcpy(blob->data, self->entries.data, self->entries.len);
    size_t at = 0;
    for (unsigned i = 0; i < batch->proposal_count; i++) {
        batch->proposals[i].data.data = blob->data + at;
        batch->proposals[i].blob = &blob->blob;
        at += batch->proposals[i].data.len;
    }
    CHECK(at == self->entries.len);
    batch->blob = &blob->blob;
    buf_clear(&self->entries);
}

static void batch_post(struct front *self)
{
    struct front_batch *batch = self->batch;
    if (!batch)
        return;
    self->batch = NULL;
    batch_close_blob(self, batch);
    mailbox_post(&self->config.core->batches, &batch->node);
}

static struct front_batch *batch_get(struct front *self)
{
    struct front_batch *batch = self->batch;
    if (batch && batch->proposal_count < LINK_BATCH_MAX && batch->read_count < LINK_BATCH_MAX &&
        batch->member_count < LINK_BATCH_MEMBERS_MAX &&
        batch->lease_count < LINK_BATCH_LEASES_MAX &&
        batch->defragment_count < LINK_BATCH_TASKS_MAX && self->entries.len < LINK_BATCH_BYTES)
        return batch;
    batch_post(self);
    batch = self->spare_batches;
    if (batch) {
        self->spare_batches = (struct front_batch *)(void *)batch->node.next;
    } else {
        batch = malloc(sizeof(*batch));
        CHECK(batch);
    }
    batch->front = self->config.index;
    batch->proposal_count = batch->read_count = batch->member_count = batch->lease_count = 0;
    batch->defragment_count = 0;
    batch->blob = NULL;
    self->batch = batch;
    return batch;
}

uint64_t front_next_id(struct front *self)
{
    if (self->ids_left == 0) {
        self->ids_left = 256;
        self->next_id = request_ids_take(self->config.ids, self->ids_left);
    }
    uint64_t id = self->next_id;
    self->next_id = request_id_next(id);
    self->ids_left--;
    return id;
}

static uint8_t *propose(struct front *self, const struct replica_proposal *proposal)
{
    struct front_batch *batch = batch_get(self);
    CHECK(err_ok(buf_reserve(&self->entries, proposal->data.len)));
    uint8_t *at = self->entries.data + self->entries.len;
    self->entries.len += proposal->data.len;
    /* Where data lies is settled when the batch is closed. */
    batch->proposals[batch->proposal_count++] = *proposal;
    return at;
}

uint8_t *front_propose_unasked(struct front *self, uint64_t request_id, size_t len)
{
    return propose(self, &(struct replica_proposal){.token = TOKEN_NONE,
                                                    .request_id = request_id,
                                                    .data = bytes_of(NULL, len)});
}

static void wait_for_core(struct request *request,
                          void (*on_reply)(struct request *request, const struct replica_reply *))
{
    request->on_reply = on_reply;
    request->state = REQUEST_AT_CORE;
    request->asked = true;
}

uint8_t *front_propose(struct front *self, struct request *request, uint64_t request_id, size_t len,
                       void (*on_reply)(struct request *, const struct replica_reply *))
{
    const struct replica_proposal proposal = {.token = request_token(request),
                                              .request_id = request_id,
                                              .data = bytes_of(NULL, len),
                                              .until_swept = request->until_swept};
    uint8_t *at = propose(self, &proposal);
    wait_for_core(request, on_reply);
    return at;
}

void front_read_barrier(struct front *self, struct request *request,
                        void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct front_batch *batch = batch_get(self);
    batch->reads[batch->read_count++] = request_token(request);
    wait_for_core(request, on_reply);
}

void front_member_request(struct front *self, struct request *request,
                          const struct link_member_request *what,
                          void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct front_batch *batch = batch_get(self);
    struct link_member_request *item = &batch->members[batch->member_count++];
    *item = *what;
    item->token = request_token(request);
    wait_for_core(request, on_reply);
}

void front_ask_lease(struct front *self, struct request *request, enum replica_lease_kind kind,
                     int64_t lease_id,
                     void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct front_batch *batch = batch_get(self);
    batch->leases[batch->lease_count++] = (struct replica_lease_ask){
        .token = request_token(request), .kind = kind, .lease_id = lease_id};
    wait_for_core(request, on_reply);
}

void front_defragment(struct front *self, struct request *request,
                      void (*on_reply)(struct request *, const struct replica_reply *))
{
    struct front_batch *batch = batch_get(self);
    batch->defragments[batch->defragment_count++] = request_token(request);
    wait_for_core(request, on_reply);
}

void front_add_job(struct request *request, bool (*job)(struct request *))
{
    request->job = job;
    list_remove(&request->node);
    list_push(&request->front->jobs, &request->node);
}

/* ── From the core ──────────────────────────────────────────────────────────────────────────── */

static void take_replies(struct front *self, struct replica_replies *replies)
{
    for (size_t i = 0; i < replies->count; i++) {
        const struct replica_reply *reply = &replies->items[i];
        struct request *request = request_of_token(self, reply->token);
        if (!request || request->state != REQUEST_AT_CORE)
            continue;
        request->state = REQUEST_OPEN;
        if (!request->call && !request->exchange)
            request_free(request); /* its client had left */
        else
            request->on_reply(request, reply);
    }
    mailbox_post(&self->config.core->replies_back, &replies->node);
}

static bool run_replies(void *ctx)
{
    struct front *self = ctx;
    mailbox_awake(&self->inbox.replies);
    mailbox_awake(&self->inbox.batches);
    mailbox_awake(&self->inbox.blobs);
    mailbox_awake(&self->snapshot_results);
    struct mailbox_node *next;
    front_guard_enter(self);
    for (struct mailbox_node *node = mailbox_take(&self->inbox.replies); node; node = next) {
        next = node->next;
        take_replies(self, LIST_ENTRY(node, struct replica_replies, node));
    }
    maintenance_snapshot_results(self);
    front_guard_leave(self);
    for (struct mailbox_node *node = mailbox_take(&self->inbox.batches); node; node = next) {
        next = node->next;
        struct front_batch *batch = LIST_ENTRY(node, struct front_batch, node);
        batch->node.next = (struct mailbox_node *)(void *)self->spare_batches;
        self->spare_batches = batch;
    }
    for (struct mailbox_node *node = mailbox_take(&self->inbox.blobs); node; node = next) {
        next = node->next;
        struct link_blob *blob = LIST_ENTRY(node, struct link_blob, node);
        free(blob);
    }
    bool quiet = mailbox_sleep(&self->inbox.replies);
    quiet = mailbox_sleep(&self->inbox.batches) && quiet;
    quiet = mailbox_sleep(&self->inbox.blobs) && quiet;
    quiet = mailbox_sleep(&self->snapshot_results) && quiet;
    return !quiet;
}

/* ── Connections ────────────────────────────────────────────────────────────────────────────── */

static void conn_free(struct client_conn *self)
{
    self->closing = true;
    rpc_conn_free(self->rpc); /* closes its calls, with their events */
    while (!list_empty(&self->requests))
        LIST_ENTRY(list_pop(&self->requests), struct request, conn_node)->conn = NULL;
    io_socket_close(&self->socket);
    list_remove(&self->node);
    list_remove(&self->output_node);
    atomic_fetch_sub(&self->front->conn_count, 1);
    free(self);
}

/* Reads while it has credit of its own and its pipeline has room. */
static void conn_update_want(struct client_conn *self)
{
    bool room = self->front->waiting_bytes < FRONT_WAITING_BYTES_MAX;
    bool read = !self->read_ended && rpc_conn_wants_read(self->rpc) && room &&
                self->request_count < CONN_REQUESTS_MAX &&
                self->request_bytes < CONN_REQUEST_BYTES_MAX;
    self->front->held_back |= !room;
    unsigned want = (self->socket.want & ~(unsigned)IO_READY_READ) | (read ? IO_READY_READ : 0U);
    if (want != self->socket.want)
        io_socket_want(&self->socket, want);
}

void front_has_output(struct client_conn *self)
{
    if (self->closing || !list_empty(&self->output_node))
        return;
    list_push(&self->front->output, &self->output_node);
}

static void conn_active(void *ctx, struct rpc_conn *rpc)
{
    front_has_output(ctx);
}

static void conn_read(struct client_conn *self)
{
    struct front *front = self->front;
    size_t len;
    err e = io_socket_read(&self->socket, front->read_buffer, sizeof(front->read_buffer), &len);
    uint64_t now_ms = io_loop_now_ms(front->config.loop);
    if (err_is(e, ERR_AGAIN))
        return;
    if (e.code) {
        self->read_ended = true;
        conn_update_want(self);
        if (err_is(e, ERR_CLOSED))
            rpc_conn_read_end(self->rpc, now_ms);
        else
            self->closing = true;
        return;
    }
    call_metrics_bytes(false, len);
    rpc_conn_read(self->rpc, bytes_of(front->read_buffer, len), now_ms);
    conn_update_want(self);
}

/* One write; false: nothing left, or the socket is full. */
static bool conn_write(struct client_conn *self)
{
    struct iovec iov[1000];
    unsigned count;
    size_t bytes = rpc_conn_output(self->rpc, iov, sizeof(iov) / sizeof(iov[0]), &count);
    if (bytes == 0)
        return false;
    size_t wrote = 0;
    err e = io_socket_write(&self->socket, iov, count, &wrote);
    rpc_conn_wrote(self->rpc, wrote);
    call_metrics_bytes(true, wrote);
    if (e.code && !err_is(e, ERR_AGAIN)) {
        self->closing = true;
        return false;
    }
    self->writable = wrote == bytes;
    return self->writable && rpc_conn_wants_write(self->rpc);
}

static bool run_output(void *ctx)
{
    struct front *self = ctx;
    struct list busy;
    list_init(&busy);
    front_guard_enter(self);
    LIST_FOREACH_SAFE (node, after, &self->output) {
        struct client_conn *conn = LIST_ENTRY(node, struct client_conn, output_node);
        list_remove(node);
        if (conn->writable && !conn->closing && conn_write(conn))
            list_push(&busy, node);
        if (conn->closing || rpc_conn_finished(conn->rpc)) {
            conn_free(conn);
            continue;
        }
        conn_update_want(conn);
        unsent_note(conn);
    }
    front_guard_leave(self);
    while (!list_empty(&busy))
        list_push(&self->output, list_pop(&busy));
    batch_post(self);
    uint64_t next_ms = rpc_pool_next_ms(self->pool);
    if (!self->ready && !list_empty(&self->waiting) &&
        next_ms > io_loop_now_ms(self->config.loop) + READY_POLL_MS)
        next_ms = io_loop_now_ms(self->config.loop) + READY_POLL_MS;
    if (next_ms == UINT64_MAX)
        io_loop_timer_stop(self->config.loop, &self->timer);
    else
        io_loop_timer_at(self->config.loop, &self->timer, next_ms);
    return !list_empty(&self->output);
}

static void run_timer(void *ctx)
{
    struct front *self = ctx;
    front_guard_enter(self);
    rpc_pool_tick(self->pool, io_loop_now_ms(self->config.loop));
    front_guard_leave(self);
}

/* Before the member is ready calls wait, as they do with etcd, which does not accept them yet. */
bool front_may_admit(struct front *self)
{
    if (!self->ready) {
        front_guard_enter(self);
        const struct replica_view *view = front_view(self);
        self->ready = replica_view_is_ready(view, io_loop_now_ms(self->config.loop));
        front_guard_leave(self);
    }
    return self->ready && self->request_count < FRONT_REQUESTS_MAX &&
           self->request_bytes < FRONT_REQUEST_BYTES_MAX;
}

static void serve_message(struct request *request, struct bytes raw);

/* Calls that waited for credit, oldest first. */
static void admit_waiting(struct front *self)
{
    while (!list_empty(&self->waiting) && front_may_admit(self)) {
        struct request *request = LIST_ENTRY(list_pop(&self->waiting), struct request, node);
        struct client_conn *conn = request->conn;
        request->state = REQUEST_OPEN;
        rpc_call_resume(request->call);
        serve_message(request, request->raw);
        front_has_output(conn);
    }
    if (!self->held_back || self->waiting_bytes > FRONT_WAITING_BYTES_MAX / 2)
        return;
    self->held_back = false;
    LIST_FOREACH_SAFE (node, after, &self->conns)
        conn_update_want(LIST_ENTRY(node, struct client_conn, node));
}

static void run_jobs(struct front *self, uint64_t begin_ns)
{
    struct list round;
    list_init(&round);
    while (!list_empty(&self->jobs))
        list_push(&round, list_pop(&self->jobs));
    while (!list_empty(&round)) {
        struct request *request = LIST_ENTRY(list_pop(&round), struct request, node);
        list_push(&self->jobs, &request->node);
        if (front_slice_over(self, begin_ns))
            continue;
        if (!request->job(request) && request->job) {
            request->job = NULL;
            list_remove(&request->node);
        }
    }
}

static bool run_clients(void *ctx)
{
    struct front *self = ctx;
    uint64_t begin_ns = clock_mono_ns();
    struct io_socket *socket;
    front_guard_enter(self);
    while (!front_slice_over(self, begin_ns) &&
           (socket = io_socket_take_ready(&self->sockets_ready))) {
        struct client_conn *conn = socket->owner;
        unsigned ready = socket->ready;
        socket->ready = 0;
        if (ready & IO_READY_WRITE) {
            conn->writable = true;
            front_has_output(conn);
        }
        if (ready & IO_READY_READ)
            conn_read(conn);
        if (conn->closing || rpc_conn_finished(conn->rpc))
            if (list_empty(&conn->output_node))
                list_push(&self->output, &conn->output_node);
    }
    admit_waiting(self);
    run_jobs(self, begin_ns);
    front_guard_leave(self);
    return !list_empty(&self->sockets_ready) || !list_empty(&self->jobs);
}

/* ── Calls ──────────────────────────────────────────────────────────────────────────────────── */

/* Clients ask the same again and again: the last method is looked at first. */
static const struct method *conn_method(struct client_conn *self, const struct rpc_call *call,
                                        bool *ret_service_known)
{
    const struct method *last = self->last_method;
    if (self->kind != FRONT_CLIENTS)
        return NULL;
    if (!last || !bytes_equal(rpc_call_method(call), bytes_str(last->name)) ||
        !bytes_equal(rpc_call_service(call), bytes_str(last->service)))
        self->last_method =
            method_find(rpc_call_service(call), rpc_call_method(call), ret_service_known);
    return self->last_method;
}

static void note_leader_wish(struct request *request)
{
    struct bytes wish = rpc_call_metadata(request->call, RPC_METADATA_HASLEADER);
    if (!bytes_equal(wish, BYTES_LIT("true")))
        return;
    request->wants_leader = true;
    request->front->leader_wishes++;
    watch_front_want_views(request->front->watch);
}

static void call_begin(void *ctx, struct rpc_call *call)
{
    struct client_conn *conn = ctx;
    bool known = false;
    if (conn->unread_bytes > CONN_UNREAD_BYTES_MAX) {
        rpc_call_reset(call, HTTP2_REFUSED_STREAM);
        return;
    }
    const struct method *method = conn_method(conn, call, &known);
    if (!method) {
        rpc_call_finish_unknown(call, known);
        return;
    }
    struct request *request = request_new(conn->front, conn);
    request->call = call;
    request->method = method;
    rpc_call_set_data(call, request);
    call_metrics_started(method);
    call_metrics_client(method, rpc_call_metadata(call, RPC_METADATA_CLIENT_API_VERSION));
    if (!method->run) {
        request_fail_text(request, GRPC_UNIMPLEMENTED,
                          BYTES_LIT("not supported by this server yet"));
        return;
    }
    if (!method->client_streams)
        rpc_call_set_unary(call);
    if (method->server_streams)
        note_leader_wish(request);
}

/* What the Go library says of such a message. */
static struct bytes unmarshalling_text(err e)
{
    if (err_is(e, ERR_NOT_UTF8))
        return BYTES_LIT("grpc: error unmarshalling request: string field contains invalid UTF-8");
    if (err_is(e, ERR_LIMIT))
        return BYTES_LIT(
            "grpc: error unmarshalling request: proto: exceeded maximum recursion "
            "depth");
    return BYTES_LIT(
        "grpc: error unmarshalling request: proto: cannot parse invalid wire-format "
        "data");
}

static void serve_message(struct request *request, struct bytes raw)
{
    struct front *front = request->front;
    const struct method *method = request->method;
    if (method->keeps && !request->kept)
        raw = arena_copy(&request->arena, raw);
    request->raw = raw;
    ProtobufCMessage *message;
    err e = wire_decode(method->input, raw, &request->arena, NULL, &message, &request->canonical);
    request_count_as(request, request->credit == CREDIT_RESTS ? CREDIT_RESTS : CREDIT_TAKEN);
    if (e.code) {
        call_metrics_stream_failed(method, false);
        request_fail_text(request, GRPC_INTERNAL, unmarshalling_text(e));
        return;
    }
    request->message = message;
    if (!request->data) /* of a stream the first message alone is asked */
        e = request_admissible(request, front_view(front));
    if (e.code)
        request_fail(request, e);
    else
        method->run(request, message);
}

/* Keeps the message until there is credit for it. */
static void wait_for_credit(struct request *request)
{
    request->kept = rpc_call_take_message(request->call, &request->raw);
    room_release(request);
    request->state = REQUEST_WAITING;
    request_count_as(request, CREDIT_WAITS);
    list_push(&request->front->waiting, &request->node);
    rpc_call_pause(request->call);
}

static void call_message(void *ctx, struct rpc_call *call, struct bytes raw)
{
    struct request *request = rpc_call_data(call);
    if (!request || request->state != REQUEST_OPEN)
        return;
    call_metrics_message(request->method, false);
    request->message_bytes = raw.len;
    if (request->credit == CREDIT_NONE && !front_may_admit(request->front)) {
        wait_for_credit(request);
        return;
    }
    serve_message(request, raw);
}

static bool reserve(void *ctx, struct rpc_call *call, size_t len)
{
    struct request *request = rpc_call_data(call);
    return !request || room_reserve(request, len);
}

static void unreserve(void *ctx, struct rpc_call *call, size_t len)
{
    if (rpc_call_data(call))
        room_release(rpc_call_data(call));
}

static void call_half_closed(void *ctx, struct rpc_call *call)
{
    struct request *request = rpc_call_data(call);
    if (request && request->on_half_closed)
        request->on_half_closed(request);
    else if (request && request->method->run == lease_keep_alive)
        request_finish(request); /* it never said anything */
}

static void request_is_writable(struct request *self)
{
    if (self->job && list_empty(&self->node))
        list_push(&self->front->jobs, &self->node);
    if (self->on_writable)
        self->on_writable(self);
}

static void call_writable(void *ctx, struct rpc_call *call)
{
    if (rpc_call_data(call))
        request_is_writable(rpc_call_data(call));
}

static void http_writable(void *ctx, struct http_exchange *exchange)
{
    if (http_exchange_data(exchange))
        request_is_writable(http_exchange_data(exchange));
}

static void call_cancelled(void *ctx, struct rpc_call *call, enum rpc_cancel why)
{
    const struct request *request = rpc_call_data(call);
    if (request && request->method && why == RPC_CANCEL_REFUSED)
        call_metrics_stream_failed(request->method, false);
}

static void call_closed(void *ctx, struct rpc_call *call)
{
    struct request *request = rpc_call_data(call);
    if (request) {
        rpc_call_set_data(call, NULL);
        request_lost(request);
    }
}

static void http_request(void *ctx, struct http_exchange *exchange, struct bytes body)
{
    struct client_conn *conn = ctx;
    struct request *request = request_new(conn->front, conn);
    request->exchange = exchange;
    /* Pages are few and small: they do not wait for the credit of calls. */
    request_set_credit(request, CREDIT_TAKEN);
    http_exchange_set_data(exchange, request);
    http_pages_serve(request, body);
}

static void http_closed(void *ctx, struct http_exchange *exchange, bool complete)
{
    struct request *request = http_exchange_data(exchange);
    if (request) {
        http_exchange_set_data(exchange, NULL);
        request_lost(request);
    }
}

static const struct rpc_handler handler = {
    .conn_active = conn_active,
    .call_begin = call_begin,
    .call_message = call_message,
    .call_half_closed = call_half_closed,
    .reserve = reserve,
    .unreserve = unreserve,
    .call_writable = call_writable,
    .call_cancelled = call_cancelled,
    .call_closed = call_closed,
    .http_request = http_request,
    .http_writable = http_writable,
    .http_closed = http_closed,
};

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

void front_accept(struct front *self, int fd, enum front_kind kind)
{
    struct client_conn *conn = calloc(1, sizeof(*conn));
    CHECK(conn);
    conn->front = self;
    conn->kind = kind;
    conn->writable = true;
    rpc_pool_set_now(self->pool, io_loop_now_ms(self->config.loop));
    conn->rpc = rpc_conn_new(self->pool, RPC_PLAIN, &handler, conn);
    list_init(&conn->output_node);
    list_init(&conn->requests);
    list_init(&conn->room_node);
    list_init(&conn->room_waiting);
    if (io_socket_adopt(&conn->socket, self->config.loop, fd, &self->sockets_ready).code) {
        rpc_conn_free(conn->rpc);
        free(conn);
        return;
    }
    conn->socket.owner = conn;
    list_push(&self->conns, &conn->node);
    atomic_fetch_add(&self->conn_count, 1);
    if (self->shutting_down)
        rpc_conn_shutdown(conn->rpc);
}

static struct rpc_limits front_limits(const struct front_config *config)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.receive_bytes_max = config->max_request_bytes + (512 << 10);
    limits.streams_announced = config->max_concurrent_streams;
    limits.ping_interval_ms = config->keepalive_interval_ms;
    limits.ping_timeout_ms = config->keepalive_timeout_ms;
    limits.ping_policing = true;
    limits.ping_min_ms = config->keepalive_min_ms;
    limits.body_bytes_max = config->max_request_bytes * 2 + (512 << 10);
    return limits;
}

static void add_stage(struct front *self, struct io_stage *stage, int order, bool (*run)(void *))
{
    *stage = (struct io_stage){.order = order, .run = run, .ctx = self};
    list_init(&stage->node);
    io_loop_stage_add(self->config.loop, stage);
}

err front_new(const struct front_config *config, struct front **ret_front)
{
    struct front *self = calloc(1, sizeof(*self));
    if (!self)
        return ERR_LIMIT;
    self->config = *config;
    self->sort_room.max_bytes = FRONT_SORT_BYTES_MAX;
    struct rpc_limits limits = front_limits(config);
    self->pool = rpc_pool_new(&limits, io_loop_now_ms(config->loop));
    list_init(&self->conns);
    list_init(&self->output);
    list_init(&self->sockets_ready);
    list_init(&self->waiting);
    room_init(self);
    unsent_init(self);
    list_init(&self->jobs);
    buf_init(&self->scratch, 0);
    buf_init(&self->entries, 0);
    mailbox_init(&self->inbox.replies, io_loop_wake_fn, config->loop);
    mailbox_init(&self->inbox.batches, io_loop_wake_fn, config->loop);
    mailbox_init(&self->inbox.blobs, io_loop_wake_fn, config->loop);
    mailbox_init(&self->snapshot_results, io_loop_wake_fn, config->loop);
    CHECK(sem_init(&self->snapshot_returned, 0, 0) == 0);
    io_timer_init(&self->timer, run_timer, self);
    add_stage(self, &self->replies_stage, FRONT_STAGE_REPLIES, run_replies);
    add_stage(self, &self->clients_stage, FRONT_STAGE_CLIENTS, run_clients);
    add_stage(self, &self->output_stage, FRONT_STAGE_OUTPUT, run_output);
    self->watch = watch_front_new(self);
    *ret_front = self;
    return OK;
}

void front_close(struct front *self)
{
    if (!self)
        return;
    front_guard_enter(self);
    LIST_FOREACH_SAFE (node, after, &self->conns) {
        conn_free(LIST_ENTRY(node, struct client_conn, node));
    }
    requests_done(self);
    room_done(self);
    unsent_done(self);
    watch_front_free(self->watch);
    self->watch = NULL;
    maintenance_snapshots_close(self);
    front_guard_leave(self);
    (void)run_replies(self); /* what is the core's goes back to it */
    batch_post(self);
    io_loop_timer_stop(self->config.loop, &self->timer);
    io_loop_stage_remove(self->config.loop, &self->replies_stage);
    io_loop_stage_remove(self->config.loop, &self->clients_stage);
    io_loop_stage_remove(self->config.loop, &self->output_stage);
}

void front_free(struct front *self)
{
    if (!self)
        return;
    (void)run_replies(self); /* batches and blobs that the core gave back last */
    while (self->spare_batches) {
        struct front_batch *next = (struct front_batch *)(void *)self->spare_batches->node.next;
        free(self->spare_batches);
        self->spare_batches = next;
    }
    buf_done(&self->entries);
    buf_done(&self->scratch);
    rpc_pool_free(self->pool);
    sem_destroy(&self->snapshot_returned);
    free(self);
}

struct front_inbox *front_inbox(struct front *self)
{
    return &self->inbox;
}

unsigned front_conn_count(const struct front *self)
{
    return atomic_load(&self->conn_count);
}

void front_shutdown(struct front *self)
{
    self->shutting_down = true;
    LIST_FOREACH_SAFE (node, after, &self->conns)
        rpc_conn_shutdown(LIST_ENTRY(node, struct client_conn, node)->rpc);
}

void front_end_streams(struct front *self)
{
    for (uint32_t i = 0; i < self->slot_cap; i++) {
        struct request *request = self->slots[i];
        if (request && (request->call || request->streaming) && request->method &&
            request->method->server_streams && request->state == REQUEST_OPEN)
            request_fail(request, ERR_STOPPED);
    }
    (void)run_output(self);
}
