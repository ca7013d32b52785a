/* endpoint health, status and hashkv: the same question to each endpoint by itself, all at once.
 * Internal to the endpoint commands. */
#pragma once

#include "etcdctl/cluster.h"
#include "etcdctl/print.h"

/* One endpoint's answer. */
struct endpoint_answer {
    const char *endpoint;
    unsigned index;
    bool over;
    struct client_result result;
    uint64_t begun_ns, took_ns;
    struct endpoint_round *round;
};

/* Who is asked. */
struct endpoint_round {
    struct ctl *ctl;
    struct endpoint_answer *answers;
    unsigned count;
    unsigned left;
};

/* --endpoints, or with --cluster all that the cluster's members advertise. Returns an exit code; it
 * has said its error. */
int endpoint_list(struct ctl *ctl, const struct endpoint_options *options,
                  struct strings *ret_endpoints);
/* Connects to --endpoints, or to all that the cluster's members advertise. Returns an exit code;
 * it has said its error. */
int endpoint_round_begin(struct ctl *ctl, const struct endpoint_options *options,
                         struct endpoint_round *ret_round);
/* Asks one endpoint; done is called with the answer's result. */
void endpoint_ask(struct endpoint_answer *answer, const struct client_method *method,
                  const ProtobufCMessage *message,
                  void (*done)(void *answer, const struct client_result *result));
/* One answer is whole. */
void endpoint_over(struct endpoint_answer *answer);
/* Until all are. */
void endpoint_wait(struct endpoint_round *round);
/* Asks all the same question, and waits. */
void endpoint_ask_all(struct endpoint_round *round, const struct client_method *method,
                      const ProtobufCMessage *message);
/* [{"Endpoint":"…",NAME:{…}},…] of those that answered; null of none. */
void endpoint_print_json(const struct endpoint_round *round, const char *name);
