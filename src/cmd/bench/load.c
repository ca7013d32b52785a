#include "bench/load.h"

#include "base/check.h"
#include "base/clock.h"
#include "io/socket.h"
#include "rpc/client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <sys/resource.h>

#define CONNECT_TIMEOUT_MS 60000 /* many watchers take their time to be made */
#define PATIENCE_MS        15000 /* for what is open at the end */
#define READ_BYTES         (256 << 10)
#define WRITE_IOVECS       64
#define NS_PER_MS          1000000
#define NS_PER_S           1000000000.0

enum phase { PHASE_CONNECT, PHASE_WARM_UP, PHASE_MEASURE, PHASE_FINISH };
enum stage_order { ORDER_INPUT = 10, ORDER_OUTPUT = 20 };

struct slot {
    struct conn *conn;
    struct slot *next_free;
    uint64_t begin_ns; /* when it was sent, or fell due */
};

struct conn {
    struct load *load;
    struct io_socket socket;
    struct rpc_client *client;
    struct list output_node;
    struct slot *free_slots;
    const char *endpoint;
    bool closed;
    bool watches; /* one of the watchers' */
};

struct load {
    const struct load_config *config;
    struct load_report *report;
    struct io_loop *loop;
    struct rpc_pool *pool;
    struct work work;
    struct watchers watchers;
    struct conn *conns;
    struct slot *slots;
    uint8_t *read_buffer;
    struct list ready, output;
    struct io_stage input_stage, output_stage;
    struct io_timer phase_timer, due_timer, sample_timer;
    enum phase phase;
    uint32_t connected, alive, next_conn;
    uint64_t open; /* calls */
    uint64_t now_ns;
    uint64_t begin_ns, measure_ns, end_ns;
    uint64_t issued; /* open loop: requests given out, in the order of their due times */
    struct procs_usage before;
    double own_cpu_before_s;
    err failed;
};

static double own_cpu_s(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void fail(struct load *self, err why)
{
    if (err_ok(self->failed))
        self->failed = why;
    io_loop_stop(self->loop);
}

/* ---- phases ----------------------------------------------------------------------------- */

static void note_memory(struct load *self, struct procs_usage *ret_usage)
{
    err e = procs_read(self->config->pids, self->config->pid_count, ret_usage);
    if (!err_ok(e)) {
        fail(self, e);
        return;
    }
    if (ret_usage->anon_kib > self->report->anon_kib_peak)
        self->report->anon_kib_peak = ret_usage->anon_kib;
}

static void sample(void *ctx)
{
    struct load *self = ctx;
    struct procs_usage usage = {0};
    note_memory(self, &usage);
    if (self->phase < PHASE_FINISH)
        io_loop_timer_after(self->loop, &self->sample_timer, self->config->sample_ms);
}

static void measure_begin(struct load *self)
{
    note_memory(self, &self->before);
    self->report->anon_kib_before = self->before.anon_kib;
    self->own_cpu_before_s = own_cpu_s();
    self->measure_ns = self->now_ns = clock_mono_ns();
    self->phase = PHASE_MEASURE;
    self->watchers.counting = true;
    if (self->config->pid_count && self->config->sample_ms)
        io_loop_timer_after(self->loop, &self->sample_timer, self->config->sample_ms);
    if (!self->config->total)
        io_loop_timer_after(self->loop, &self->phase_timer, self->config->duration_ms);
}

static void finish_if_done(struct load *self)
{
    if (self->phase == PHASE_FINISH && self->open == 0)
        io_loop_stop(self->loop);
}

static void measure_end(struct load *self)
{
    struct procs_usage after = self->before;
    note_memory(self, &after);
    self->end_ns = clock_mono_ns();
    self->report->seconds = (double)(self->end_ns - self->measure_ns) / NS_PER_S;
    self->report->cpu_s = after.cpu_s - self->before.cpu_s;
    self->report->own_cpu_s = own_cpu_s() - self->own_cpu_before_s;
    self->report->anon_kib_after = after.anon_kib;
    self->report->events = self->watchers.events;
    self->watchers.counting = false;
    self->phase = PHASE_FINISH;
    io_loop_timer_stop(self->loop, &self->due_timer);
    io_loop_timer_after(self->loop, &self->phase_timer, PATIENCE_MS);
    finish_if_done(self);
}

static void phase_over(void *ctx)
{
    struct load *self = ctx;
    if (self->phase == PHASE_CONNECT)
        fail(self, ERR_UNREACHABLE);
    else if (self->phase == PHASE_WARM_UP)
        measure_begin(self);
    else if (self->phase == PHASE_MEASURE)
        measure_end(self);
    else
        io_loop_stop(self->loop);
}

/* Whoever started it knows when it has seen enough. */
static void interrupted(void *ctx, int number)
{
    struct load *self = ctx;
    if (self->phase == PHASE_MEASURE)
        measure_end(self);
    else if (self->phase < PHASE_MEASURE)
        fail(self, ERR_CLOSED);
}

/* ---- calls ------------------------------------------------------------------------------ */

static void call_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                        struct bytes text);
static void call_message(void *ctx, struct rpc_client_call *call, struct bytes message);

static const struct rpc_client_call_handler call_handler = {.message = call_message,
                                                            .closed = call_closed};

static void call_begin(struct load *self, struct conn *conn, uint64_t begin_ns)
{
    struct slot *slot = conn->free_slots;
    struct work_request request;
    struct rpc_client_call *call;
    work_next(&self->work, &request);
    struct rpc_client_start start = {.path = request.path, .timeout_ms = UINT64_MAX};
    if (!err_ok(rpc_client_call_start(conn->client, &start, &call_handler, slot, &call)))
        return; /* going away: its streams stay idle */
    conn->free_slots = slot->next_free;
    slot->begin_ns = begin_ns;
    self->open++;
    rpc_client_call_send(call, request.parts, request.part_count, true);
}

static bool conn_idle(const struct conn *conn)
{
    return conn->client && !conn->closed && conn->free_slots && rpc_client_usable(conn->client);
}

static uint64_t due_ns(const struct load *self, uint64_t number)
{
    uint64_t after_ns = (uint64_t)((double)number * NS_PER_S / (double)self->config->rate);
    uint64_t after_ms = (after_ns + NS_PER_MS - 1) / NS_PER_MS;
    return self->begin_ns + after_ms * NS_PER_MS;
}

/* Sends what has fallen due, as far as streams are free. */
static void issue_due(struct load *self)
{
    uint32_t count = self->config->connections;
    while (self->phase < PHASE_FINISH && due_ns(self, self->issued) <= self->now_ns) {
        uint32_t tried = 0;
        while (tried < count && !conn_idle(&self->conns[self->next_conn % count])) {
            self->next_conn++;
            tried++;
        }
        if (tried == count)
            return;
        call_begin(self, &self->conns[self->next_conn++ % count], due_ns(self, self->issued));
        self->issued++;
    }
}

static void due_fire(void *ctx)
{
    struct load *self = ctx;
    self->now_ns = clock_mono_ns();
    issue_due(self);
    io_loop_timer_after(self->loop, &self->due_timer, 1);
}

static void note_error(struct load *self, enum grpc_status status, struct bytes text)
{
    struct load_report *report = self->report;
    report->errors++;
    if (report->first_error[0] == 0)
        (void)snprintf(report->first_error, sizeof(report->first_error), "%s: %.*s",
                       grpc_status_name(status), (int)(text.len < 128 ? text.len : 128),
                       (const char *)text.data);
}

/* Does an answer that came now belong to what is measured? */
static bool counts(const struct load *self, const struct slot *slot)
{
    if (!self->config->rate)
        return self->phase == PHASE_MEASURE;
    return self->phase >= PHASE_MEASURE && slot->begin_ns >= self->measure_ns &&
           (self->phase == PHASE_MEASURE || slot->begin_ns < self->end_ns);
}

static void call_message(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    const struct slot *slot = ctx;
    struct load *self = slot->conn->load;
    if (counts(self, slot))
        self->report->answer_bytes += message.len;
}

static void call_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                        struct bytes text)
{
    struct slot *slot = ctx;
    struct conn *conn = slot->conn;
    struct load *self = conn->load;
    slot->next_free = conn->free_slots;
    conn->free_slots = slot;
    self->open--;
    if (status != GRPC_OK && self->phase < PHASE_FINISH) {
        note_error(self, status, text);
    } else if (counts(self, slot)) {
        self->report->requests++;
        histogram_add(&self->report->latency_ns, self->now_ns - slot->begin_ns);
        if (self->config->total && self->report->requests == self->config->total)
            measure_end(self);
    }
    if (self->phase == PHASE_FINISH)
        finish_if_done(self);
    else if (self->config->rate)
        issue_due(self);
    else if (conn_idle(conn))
        call_begin(self, conn, self->now_ns);
}

/* ---- connections ------------------------------------------------------------------------ */

static void client_active(void *ctx, struct rpc_client *client)
{
    struct conn *conn = ctx;
    if (list_empty(&conn->output_node))
        list_push(&conn->load->output, &conn->output_node);
}

static const struct rpc_client_handler client_handler = {.active = client_active};

static void conn_close(struct conn *self)
{
    struct load *load = self->load;
    if (self->closed)
        return;
    self->closed = true;
    io_socket_close(&self->socket);
    list_remove(&self->output_node);
    rpc_client_read_end(self->client, io_loop_now_ms(load->loop));
    list_remove(&self->output_node);
    if (--load->alive == 0)
        fail(load, ERR_CLOSED);
}

static void begin(struct load *self)
{
    self->phase = PHASE_WARM_UP;
    self->now_ns = clock_mono_ns();
    /* The loop's timers fire at its milliseconds: due times shall too. */
    self->begin_ns = io_loop_now_ms(self->loop) * NS_PER_MS;
    io_loop_timer_stop(self->loop, &self->phase_timer);
    if (self->config->warm_up_ms)
        io_loop_timer_after(self->loop, &self->phase_timer, self->config->warm_up_ms);
    else
        measure_begin(self);
    if (self->config->rate) {
        io_loop_timer_after(self->loop, &self->due_timer, 1);
        return;
    }
    for (uint32_t i = 0; i < self->config->connections; i++)
        for (uint32_t j = 0; j < self->config->streams; j++)
            call_begin(self, &self->conns[i], self->now_ns);
}

static uint32_t conns_count(const struct load *self)
{
    return self->config->connections + self->watchers.config.connections;
}

static void begin_if_ready(struct load *self)
{
    if (self->phase == PHASE_CONNECT && self->connected == conns_count(self) &&
        self->watchers.created == self->watchers.config.count)
        begin(self);
}

static void conn_opened(struct conn *self)
{
    struct load *load = self->load;
    struct rpc_client_config config = {.protocol = RPC_CLIENT_HTTP2,
                                       .authority = bytes_str(self->endpoint)};
    self->client = rpc_client_new(load->pool, &config, &client_handler, self);
    load->alive++;
    load->connected++;
    if (self->watches) {
        err e = watchers_open(&load->watchers, self->client,
                              (uint32_t)(self - load->conns) - load->config->connections);
        if (e.code)
            fail(load, e);
    }
    begin_if_ready(load);
}

static void watchers_ready(void *ctx)
{
    begin_if_ready(ctx);
}

static void conn_read(struct conn *self)
{
    struct load *load = self->load;
    size_t len;
    err e = io_socket_read(&self->socket, load->read_buffer, READ_BYTES, &len);
    if (err_is(e, ERR_AGAIN))
        return;
    load->now_ns = clock_mono_ns();
    if (err_ok(e))
        rpc_client_read(self->client, bytes_of(load->read_buffer, len), io_loop_now_ms(load->loop));
    else
        conn_close(self);
}

static bool run_input(void *ctx)
{
    struct load *self = ctx;
    for (struct io_socket *socket; (socket = io_socket_take_ready(&self->ready));) {
        struct conn *conn = socket->owner;
        unsigned ready = socket->ready;
        socket->ready = 0;
        if (ready & IO_READY_FAILED) {
            fail(self, ERR_UNREACHABLE);
            return false;
        }
        if (ready & IO_READY_CONNECTED)
            conn_opened(conn);
        if (conn->client && (ready & IO_READY_READ))
            conn_read(conn);
        if (conn->client && !conn->closed && (ready & IO_READY_WRITE) &&
            rpc_client_wants_write(conn->client))
            client_active(conn, conn->client);
    }
    return false;
}

static void conn_write(struct conn *self)
{
    struct iovec iov[WRITE_IOVECS];
    unsigned count;
    size_t wrote = 0;
    for (size_t bytes; (bytes = rpc_client_output(self->client, iov, WRITE_IOVECS, &count)) > 0;) {
        err e = io_socket_write(&self->socket, iov, count, &wrote);
        rpc_client_wrote(self->client, wrote);
        if (!err_ok(e) && !err_is(e, ERR_AGAIN)) {
            conn_close(self);
            return;
        }
        if (wrote < bytes)
            return; /* the socket will say when */
    }
    if (rpc_client_finished(self->client))
        conn_close(self);
}

static bool run_output(void *ctx)
{
    struct load *self = ctx;
    for (struct list *node; (node = list_pop(&self->output));)
        conn_write(LIST_ENTRY(node, struct conn, output_node));
    return false;
}

/* ---- the whole -------------------------------------------------------------------------- */

static err endpoint_parse(const char *endpoint, struct io_address *ret_address)
{
    char host[64];
    const char *colon = strrchr(endpoint, ':');
    if (!colon || colon == endpoint || (size_t)(colon - endpoint) >= sizeof(host))
        return ERR_SYNTAX;
    char *rest;
    unsigned long port = strtoul(colon + 1, &rest, 10);
    if (*rest || port == 0 || port > UINT16_MAX)
        return ERR_SYNTAX;
    memcpy(host, endpoint, (size_t)(colon - endpoint));
    host[colon - endpoint] = 0;
    return io_address_parse(host, (uint16_t)port, ret_address);
}

static err conns_open(struct load *self)
{
    const struct load_config *config = self->config;
    for (uint32_t i = 0; i < conns_count(self); i++) {
        struct conn *conn = &self->conns[i];
        struct io_address address;
        conn->load = self;
        conn->watches = i >= config->connections;
        conn->endpoint = config->endpoints[i % config->endpoint_count];
        list_init(&conn->output_node);
        for (uint32_t j = 0; !conn->watches && j < config->streams; j++) {
            struct slot *slot = &self->slots[(size_t)i * config->streams + j];
            *slot = (struct slot){.conn = conn, .next_free = conn->free_slots};
            conn->free_slots = slot;
        }
        conn->socket.fd = -1;
        TRY(endpoint_parse(conn->endpoint, &address));
        TRY(io_socket_connect(&conn->socket, self->loop, &address, 0, &self->ready));
        conn->socket.owner = conn;
    }
    return OK;
}

static void load_init(struct load *self)
{
    const struct load_config *config = self->config;
    struct rpc_limits limits = rpc_limits_default();
    limits.receive_bytes_max = INT32_MAX;
    self->pool = rpc_pool_new(&limits, io_loop_now_ms(self->loop));
    work_init(&self->work, &config->work);
    watchers_init(&self->watchers, &config->watchers, &self->work, watchers_ready, self);
    self->conns = calloc(conns_count(self), sizeof(*self->conns));
    self->slots = calloc((size_t)config->connections * config->streams, sizeof(*self->slots));
    self->read_buffer = malloc(READ_BYTES);
    CHECK(self->conns && self->slots && self->read_buffer);
    list_init(&self->ready);
    list_init(&self->output);
    self->input_stage = (struct io_stage){.order = ORDER_INPUT, .run = run_input, .ctx = self};
    self->output_stage = (struct io_stage){.order = ORDER_OUTPUT, .run = run_output, .ctx = self};
    list_init(&self->input_stage.node);
    list_init(&self->output_stage.node);
    io_loop_stage_add(self->loop, &self->input_stage);
    io_loop_stage_add(self->loop, &self->output_stage);
    io_timer_init(&self->phase_timer, phase_over, self);
    io_timer_init(&self->due_timer, due_fire, self);
    io_timer_init(&self->sample_timer, sample, self);
    io_loop_timer_after(self->loop, &self->phase_timer, CONNECT_TIMEOUT_MS);
}

static void load_done(struct load *self)
{
    self->phase = PHASE_FINISH;
    for (uint32_t i = 0; i < conns_count(self); i++) {
        struct conn *conn = &self->conns[i];
        if (conn->socket.fd >= 0)
            io_socket_close(&conn->socket);
        rpc_client_free(conn->client);
    }
    io_loop_timer_stop(self->loop, &self->phase_timer);
    io_loop_timer_stop(self->loop, &self->due_timer);
    io_loop_timer_stop(self->loop, &self->sample_timer);
    io_loop_stage_remove(self->loop, &self->input_stage);
    io_loop_stage_remove(self->loop, &self->output_stage);
    io_loop_free(self->loop);
    rpc_pool_free(self->pool);
    self->report->event_latency_ns = self->watchers.latency_ns;
    watchers_done(&self->watchers);
    work_done(&self->work);
    free(self->conns);
    free(self->slots);
    free(self->read_buffer);
}

err load_run(const struct load_config *config, struct load_report *ret_report)
{
    struct load self = {.config = config, .report = ret_report};
    memset(ret_report, 0, sizeof(*ret_report));
    histogram_init(&ret_report->latency_ns);
    TRY(io_loop_new(&self.loop));
    load_init(&self);
    err e = io_loop_signal_add(self.loop, SIGINT, interrupted, &self);
    if (err_ok(e))
        e = conns_open(&self);
    if (err_ok(e)) {
        io_loop_run(self.loop);
        e = err_ok(self.failed) && self.watchers.failed ? ERR_CLOSED : self.failed;
        ret_report->unanswered = self.open;
    }
    load_done(&self);
    return e;
}
