#include "mvcc/index_retire.h"

#include "base/check.h"

#include <stddef.h>
#include <stdlib.h>

#define RETIRE_BAG_ITEMS 250 /* 2 KiB */

struct retire_bag {
    struct epoch_item retired; /* first: a bag is known by it */
    struct retire_box *box;
    struct retire_bag *next;
    unsigned count;
    uint64_t items[RETIRE_BAG_ITEMS];
};

void retire_init(struct retire_box *self, struct epoch *epoch,
                 void (*drop)(void *ctx, uint64_t item), void (*closed)(void *ctx), void *ctx)
{
    *self = (struct retire_box){.epoch = epoch, .drop = drop, .closed = closed, .ctx = ctx};
}

void retire_add(struct retire_box *self, uint64_t item)
{
    struct retire_bag *bag = self->open;
    if (!bag || bag->count == RETIRE_BAG_ITEMS) {
        bag = malloc(sizeof(*bag));
        CHECK(bag);
        bag->box = self;
        bag->next = self->open;
        bag->count = 0;
        self->open = bag;
    }
    bag->items[bag->count++] = item;
}

static void retire_empty(struct retire_bag *bag)
{
    for (unsigned i = 0; i < bag->count; i++)
        bag->box->drop(bag->box->ctx, bag->items[i]);
    free(bag);
}

static void retire_bag_free(struct epoch_item *item)
{
    struct retire_bag *bag = (struct retire_bag *)item;
    struct retire_box *box = bag->box;
    retire_empty(bag);
    box->out--;
    if (box->closing && box->out == 0)
        box->closed(box->ctx);
}

void retire_seal(struct retire_box *self)
{
    while (self->open) {
        struct retire_bag *bag = self->open;
        self->open = bag->next;
        bag->next = self->sealed;
        self->sealed = bag;
    }
}

void retire_flush(struct retire_box *self)
{
    while (self->sealed) {
        struct retire_bag *bag = self->sealed;
        self->sealed = bag->next;
        self->out++;
        epoch_retire(self->epoch, &bag->retired, retire_bag_free);
    }
}

void retire_close(struct retire_box *self)
{
    retire_seal(self);
    while (self->sealed) {
        struct retire_bag *bag = self->sealed;
        self->sealed = bag->next;
        retire_empty(bag);
    }
    self->closing = true;
    if (self->out == 0)
        self->closed(self->ctx);
}
