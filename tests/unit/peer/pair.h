/* Two members, A and B, each told of a relay in the other's place. */
#pragma once

#include "net.h"

#define CLUSTER UINT64_C(0xcafe)
#define A       UINT64_C(0xa1)
#define B       UINT64_C(0xb2)

struct pair {
    struct node a, b;
    struct relay *to_a, *to_b;
};

/* Where all of them are: begun and ended with a group of tests. */
extern struct net net;
int pair_setup(void **state);
int pair_teardown(void **state);

/* They know each other from pair_members on. */
struct pair *pair_new(const struct node_config *a, const struct node_config *b);
void pair_members(struct pair *self);
/* Both streams each way are up. a: NULL, or what is not usual of A. */
struct pair *pair_up(const struct node_config *a);
void pair_free(struct pair *self);

static inline struct raft_message heartbeat(uint64_t from, uint64_t to)
{
    return (struct raft_message){.type = RAFT_MSG_HEARTBEAT, .from = from, .to = to, .term = 3};
}
