/* A gRPC server of our own on loopback, on the client's own loop, that answers as it is told. */
#pragma once

#include "t.h"

#include "io/loop.h"
#include "io/socket.h"
#include "rpc/conn.h"

enum behaviour {
    ANSWER,      /* an empty message, OK */
    UNAVAILABLE, /* status 14, "etcdserver: no leader" */
    REFUSE_KEY,  /* status 3, "etcdserver: key is not provided" */
    REJECT,      /* RST_STREAM REFUSED_STREAM: not looked at */
    SILENT,      /* nothing, ever */
    CUT,         /* the connection ends without an answer */
    GARBLE,      /* a message that is none */
    THREE,       /* three messages */
    LEAVE,       /* as ANSWER, and no more calls on this connection */
};

#define SERVER_CONNS_MAX 16

struct server;
struct server_conn {
    struct server *server;
    struct io_socket socket;
    struct rpc_conn *rpc; /* NULL: free */
    bool cut;
};

struct server {
    struct io_loop *loop;
    struct io_listener *listener;
    struct rpc_pool *pool;
    struct io_stage stage;
    struct list ready;
    struct server_conn conns[SERVER_CONNS_MAX];
    char endpoint[IO_ADDRESS_TEXT_BYTES_MAX];
    enum behaviour first; /* for the first `first_count` calls */
    unsigned first_count;
    enum behaviour then;
    unsigned calls; /* seen */
    char api_version[16];
    /* Answers the messages of streams instead. */
    void (*stream)(struct server_conn *conn, struct rpc_call *call, struct bytes message);
};

void server_init(struct server *self, struct io_loop *loop);
void server_done(struct server *self);
