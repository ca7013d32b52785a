#include "pair.h"

#include <stdlib.h>

struct net net;

int pair_setup(void **state)
{
    net_init(&net);
    return 0;
}

int pair_teardown(void **state)
{
    net_done(&net);
    return 0;
}

void pair_members(struct pair *self)
{
    node_set_members(&self->a, (uint64_t[]){A, B},
                     (const char *[]){self->a.url, relay_url(self->to_b)}, 2, 0);
    node_set_members(&self->b, (uint64_t[]){A, B},
                     (const char *[]){relay_url(self->to_a), self->b.url}, 2, 0);
}

struct pair *pair_new(const struct node_config *a, const struct node_config *b)
{
    struct pair *self = calloc(1, sizeof(*self));
    node_init(&self->a, &net, a);
    node_init(&self->b, &net, b);
    self->to_a = relay_new(&net, &self->a);
    self->to_b = relay_new(&net, &self->b);
    return self;
}

struct pair *pair_up(const struct node_config *a)
{
    struct node_config config = a ? *a : (struct node_config){0};
    config.id = A;
    config.cluster_id = CLUSTER;
    struct pair *self = pair_new(&config, &(struct node_config){.id = B, .cluster_id = CLUSTER});
    pair_members(self);
    NET_WAIT(&net, node_streams_up(&self->a, B) && node_streams_up(&self->b, A));
    return self;
}

void pair_free(struct pair *self)
{
    node_done(&self->a);
    node_done(&self->b);
    relay_free(self->to_a);
    relay_free(self->to_b);
    free(self);
}
