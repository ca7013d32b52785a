#include "peer/served.h"

#include "base/check.h"

#include <stdlib.h>

void served_list_init(struct served_list *self, unsigned max)
{
    *self = (struct served_list){.max = max};
    list_init(&self->waiting);
}

static void take(struct served_list *self, struct served *served)
{
    list_remove(&served->node);
    self->count--;
    if (served->exchange)
        http_exchange_set_data(served->exchange, NULL);
}

void served_list_done(struct served_list *self)
{
    LIST_FOREACH_SAFE (node, after, &self->waiting) {
        struct served *served = LIST_ENTRY(node, struct served, node);
        take(self, served);
        free(served);
    }
}

void served_keep(struct served_list *self, struct served *served, struct http_exchange *exchange)
{
    CHECK(!served_list_is_full(self));
    served->serving = (struct serving){.is_kept = true};
    served->exchange = exchange;
    served->number = ++self->number;
    list_push(&self->waiting, &served->node);
    self->count++;
    http_exchange_set_data(exchange, &served->serving);
}

struct served *served_take(struct served_list *self, uint64_t number)
{
    LIST_FOREACH (node, &self->waiting) {
        struct served *served = LIST_ENTRY(node, struct served, node);
        if (served->number != number)
            continue;
        take(self, served);
        return served;
    }
    return NULL;
}

void served_left(struct serving *serving)
{
    CHECK(serving->is_kept);
    ((struct served *)(void *)serving)->exchange = NULL;
}
