/* A server connection and a client in one process, bytes carried by hand: what the tests of rpc
 * share. The server's service "test.Echo" has the methods
 *
 *     Unary    answers the message
 *     Parts    answers it cut into single bytes as parts (at most 40)
 *     Fail     finishes with status = first byte, text = the rest
 *     List     the message is a decimal n: answers n bytes of a pattern, as a promise
 *     Stream   answers each message; finishes OK when the client half-closes
 *     Hold     keeps the call (pair.held) for the test to answer
 *     Flow     pauses each call at its begin; the test resumes
 */
#pragma once

#include "rpc/client.h"
#include "rpc/conn.h"

#include <cmocka.h>

#define PAIR_HELD_MAX 8192

/* A promise of len bytes; byte i is pattern_at(i). */
struct pattern {
    size_t len, committed, shown;
    size_t run;      /* bytes of one run */
    size_t break_at; /* produce fails from here on; SIZE_MAX: never */
    unsigned *released;
    uint8_t *bytes; /* the whole pattern, to lend from */
};
uint8_t pattern_at(size_t i);
struct rpc_promise pattern_promise(size_t len, size_t run, unsigned *released);
struct pattern *pattern_of(const struct rpc_promise *promise);

struct pair {
    struct rpc_pool *server_pool, *client_pool;
    struct rpc_conn *conn;
    struct rpc_client *client;
    uint64_t now_ms;
    size_t step; /* bytes carried at a time; 0: all */
    size_t carried_to_server, carried_to_client;
    bool server_active, client_active;

    /* what the server heard */
    unsigned begun, closed, cancelled, half_closed, writable, messages;
    enum rpc_cancel cancel_why;
    struct rpc_call *held[PAIR_HELD_MAX];
    unsigned held_count;
    size_t message_bytes_max;
    unsigned promises_released;
    size_t pattern_break_at;
    bool refuse_reserve;
    unsigned reserved, unreserved;
    struct rpc_call *waiting;
    bool take;
    void *taken;
    struct bytes taken_message;
};

void pair_init(struct pair *self, const struct rpc_limits *limits, enum rpc_transport transport,
               enum rpc_client_protocol protocol);
/* With another handler than pair_handler; its ctx is the pair. */
void pair_init_with(struct pair *self, const struct rpc_limits *limits,
                    enum rpc_transport transport, enum rpc_client_protocol protocol,
                    const struct rpc_handler *handler);
void pair_done(struct pair *self);
/* Carries bytes until neither end has any. */
void pair_run(struct pair *self);
/* One direction, at most max bytes; returns how many went. */
size_t pair_to_server(struct pair *self, size_t max);
size_t pair_to_client(struct pair *self, size_t max);
void pair_pass(struct pair *self, uint64_t ms);

/* What a client call came to. */
struct reply {
    bool closed, headers;
    enum grpc_status status;
    char text[256];
    unsigned messages;
    uint8_t *message; /* the last one */
    size_t len;
    bool unprocessed;
};
void reply_done(struct reply *self);
extern const struct rpc_client_call_handler reply_handler;
struct rpc_client_call *pair_start(struct pair *self, const char *path, uint64_t timeout_ms,
                                   struct reply *reply);
/* A whole unary call. */
void pair_call(struct pair *self, const char *path, struct bytes message, struct reply *reply);

extern const struct rpc_handler pair_handler;
