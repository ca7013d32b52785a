/* A client connection as this folder's own files see it: client.c has the connection, h2_client.c
 * gRPC calls, h1_client.c fetches. */
#pragma once

#include "rpc/client.h"
#include "rpc/h2_link.h"

struct h1_client;

struct rpc_client {
    struct h2_link link; /* first: nghttp2's user data; HTTP/1.1 uses its pool only */
    struct out out;
    const struct rpc_client_handler *handler;
    void *ctx;
    enum rpc_client_protocol protocol;
    bool tls;
    struct bytes authority, user_agent; /* pool memory */
    uint64_t ping_interval_ms, ping_timeout_ms, read_timeout_ms;
    struct wheel_timer timer;
    uint64_t last_read_ms;
    uint64_t ping_sent_ms; /* 0: none */
    struct h1_client *h1;
    unsigned open_count;
    bool active, busy;
    bool ready, told_ready;
    bool going_away, told_going_away;
    bool closing; /* finished when the output is out */
    bool failed;  /* finished at once */
};

void client_touch(struct rpc_client *self);
void client_timer_by(struct rpc_client *self, uint64_t due_ms);

void h2_client_new(struct rpc_client *self);
void h2_client_free(struct rpc_client *self);
void h2_client_read(struct rpc_client *self, struct bytes in);
void h2_client_deliver(struct rpc_client *self);
/* The connection is cut: every call ends. */
void h2_client_cut(struct rpc_client *self);

void h1_client_new(struct rpc_client *self);
void h1_client_free(struct rpc_client *self);
void h1_client_read(struct rpc_client *self, struct bytes in);
void h1_client_read_end(struct rpc_client *self);
void h1_client_deliver(struct rpc_client *self);
/* Ends the fetch and the connection. */
void h1_client_cut(struct rpc_client *self, err why);
bool h1_client_idle(const struct rpc_client *self);
