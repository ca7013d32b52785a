#include "server.h"

#include <string.h>

#define HTTP2_REFUSED_STREAM 7

static void on_begin(void *ctx, struct rpc_call *call)
{
    struct server_conn *conn = ctx;
    struct server *self = conn->server;
    struct bytes version = rpc_call_metadata(call, RPC_METADATA_CLIENT_API_VERSION);
    if (version.len < sizeof(self->api_version))
        memcpy(self->api_version, version.data, version.len);
}

static void on_message(void *ctx, struct rpc_call *call, struct bytes message)
{
    static const uint8_t garbled[] = {0xff};
    struct server_conn *conn = ctx;
    struct server *self = conn->server;
    if (self->stream) {
        self->stream(conn, call, message);
        return;
    }
    const struct bytes empty = BYTES_NONE, bad = {garbled, sizeof(garbled)};
    switch (self->calls++ < self->first_count ? self->first : self->then) {
    case ANSWER:
        rpc_call_answer(call, &empty, 1);
        break;
    case UNAVAILABLE:
        rpc_call_finish(call, GRPC_UNAVAILABLE, BYTES_LIT("etcdserver: no leader"));
        break;
    case REFUSE_KEY:
        rpc_call_finish(call, GRPC_INVALID_ARGUMENT, BYTES_LIT("etcdserver: key is not provided"));
        break;
    case REJECT:
        rpc_call_reset(call, HTTP2_REFUSED_STREAM);
        break;
    case SILENT:
        break;
    case CUT:
        conn->cut = true;
        break;
    case GARBLE:
        rpc_call_answer(call, &bad, 1);
        break;
    case LEAVE:
        rpc_call_answer(call, &empty, 1);
        rpc_conn_shutdown(conn->rpc);
        break;
    case THREE:
        for (int i = 0; i < 3; i++)
            rpc_call_send(call, &empty, 1);
        rpc_call_finish(call, GRPC_OK, BYTES_NONE);
        break;
    }
}

static void conn_close(struct server_conn *conn)
{
    rpc_conn_free(conn->rpc);
    io_socket_close(&conn->socket);
    conn->rpc = NULL;
}

static void conn_read(struct server_conn *conn)
{
    uint8_t in[IO_READ_BYTES_MAX];
    size_t len;
    err e = io_socket_read(&conn->socket, in, sizeof(in), &len);
    if (err_is(e, ERR_AGAIN))
        return;
    if (err_ok(e))
        rpc_conn_read(conn->rpc, bytes_of(in, len), io_loop_now_ms(conn->server->loop));
    else
        conn->cut = true;
}

static void conn_write(struct server_conn *conn)
{
    struct iovec iov[16];
    unsigned count;
    size_t len, sent = 0;
    while (!conn->cut && (len = rpc_conn_output(conn->rpc, iov, 16, &count)) > 0) {
        err e = io_socket_write(&conn->socket, iov, count, &sent);
        rpc_conn_wrote(conn->rpc, err_ok(e) ? sent : 0);
        if (!err_ok(e))
            conn->cut = true;
    }
}

static bool run(void *ctx)
{
    struct server *self = ctx;
    struct io_socket *socket;
    while ((socket = io_socket_take_ready(&self->ready)))
        conn_read(socket->owner);
    for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
        struct server_conn *conn = &self->conns[i];
        if (!conn->rpc)
            continue;
        conn_write(conn);
        if (conn->cut || rpc_conn_finished(conn->rpc))
            conn_close(conn);
    }
    return false;
}

static void on_accepted(void *ctx, int fd, const struct io_address *peer)
{
    static const struct rpc_handler handler = {.call_begin = on_begin, .call_message = on_message};
    struct server *self = ctx;
    unsigned i = 0;
    while (i < SERVER_CONNS_MAX && self->conns[i].rpc)
        i++;
    assert_true(i < SERVER_CONNS_MAX);
    struct server_conn *conn = &self->conns[i];
    *conn = (struct server_conn){.server = self};
    conn->socket.owner = conn;
    assert_ok(io_socket_adopt(&conn->socket, self->loop, fd, &self->ready));
    conn->rpc = rpc_conn_new(self->pool, RPC_PLAIN, &handler, conn);
}

void server_init(struct server *self, struct io_loop *loop)
{
    const struct rpc_limits limits = rpc_limits_default();
    struct io_listener_config config = {.accepted = on_accepted, .ctx = self};
    *self = (struct server){.loop = loop, .stage = {.order = 1, .run = run, .ctx = self}};
    self->pool = rpc_pool_new(&limits, io_loop_now_ms(loop));
    list_init(&self->ready);
    assert_ok(io_address_parse("127.0.0.1", 0, &config.address));
    assert_ok(io_listener_new(loop, &config, &self->listener));
    io_address_text(io_listener_address(self->listener), self->endpoint);
    io_loop_stage_add(loop, &self->stage);
}

void server_done(struct server *self)
{
    io_listener_free(self->listener);
    self->listener = NULL;
    for (unsigned i = 0; i < SERVER_CONNS_MAX; i++)
        if (self->conns[i].rpc)
            conn_close(&self->conns[i]);
    io_loop_stage_remove(self->loop, &self->stage);
    rpc_pool_free(self->pool);
}
