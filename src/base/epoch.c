/* 1. An object retired in epoch e is seen at most by guards whose slot holds a number <= e.
 * 2. A slot holds a number no larger than the epoch at which its guard was entered.
 * So what was retired before the smallest number held may go.
 *
 * Why no guard is missed: the owner unlinks an object, adds to `now`, then looks at the slots; a
 * reader fills its slot, then loads `now`; all four in the one order of seq_cst. Where the owner
 * saw the slot empty, the reader's load comes after the addition, therefore sees it, and with it
 * the unlinking: the guard cannot reach the object. */
#include "base/epoch.h"

#include "base/check.h"

#include <stddef.h>

void epoch_init(struct epoch *self)
{
    atomic_init(&self->now, 1);
    atomic_init(&self->slot_count, 0);
    for (unsigned i = 0; i < EPOCH_READERS_MAX; i++)
        atomic_init(&self->slots[i].seen, 0);
    self->retired = NULL;
    self->retired_end = &self->retired;
    self->retired_count = 0;
}

static void epoch_free_oldest(struct epoch *self)
{
    struct epoch_item *item = self->retired;
    self->retired = item->next;
    if (!self->retired)
        self->retired_end = &self->retired;
    self->retired_count--;
    item->free(item);
}

void epoch_done(struct epoch *self)
{
    for (unsigned i = 0; i < EPOCH_READERS_MAX; i++)
        CHECK(atomic_load(&self->slots[i].seen) == 0);
    while (self->retired)
        epoch_free_oldest(self);
}

struct epoch_slot *epoch_register(struct epoch *self)
{
    int i = atomic_fetch_add(&self->slot_count, 1);
    CHECK(i >= 0 && i < EPOCH_READERS_MAX);
    return &self->slots[i];
}

struct epoch_slot *epoch_thread_slot(struct epoch *self)
{
    static _Thread_local struct epoch *epoch;
    static _Thread_local struct epoch_slot *slot;
    if (epoch != self) {
        slot = epoch_register(self);
        epoch = self;
    }
    return slot;
}

void epoch_enter(struct epoch *self, struct epoch_slot *slot)
{
    DCHECK(atomic_load_explicit(&slot->seen, memory_order_relaxed) == 0);
    atomic_store(&slot->seen, atomic_load_explicit(&self->now, memory_order_relaxed));
    (void)atomic_load(&self->now);
}

void epoch_leave(struct epoch_slot *slot)
{
    DCHECK(atomic_load_explicit(&slot->seen, memory_order_relaxed) != 0);
    atomic_store_explicit(&slot->seen, 0, memory_order_release);
}

void epoch_retire(struct epoch *self, struct epoch_item *item, void (*free)(struct epoch_item *))
{
    item->next = NULL;
    item->at = atomic_load_explicit(&self->now, memory_order_relaxed);
    item->free = free;
    *self->retired_end = item;
    self->retired_end = &item->next;
    self->retired_count++;
}

unsigned epoch_reclaim(struct epoch *self, unsigned max)
{
    if (!self->retired || max == 0)
        return 0;
    uint64_t oldest = atomic_fetch_add(&self->now, 1) + 1;
    int slot_count = atomic_load(&self->slot_count);
    for (int i = 0; i < slot_count && i < EPOCH_READERS_MAX; i++) {
        uint64_t seen = atomic_load(&self->slots[i].seen);
        if (seen && seen < oldest)
            oldest = seen;
    }
    unsigned n = 0;
    /* An item's free may retire more: those carry the new epoch and wait for the next call. */
    while (n < max && self->retired && self->retired->at < oldest) {
        epoch_free_oldest(self);
        n++;
    }
    return n;
}
