#include "io/wheel.h"

#include "base/check.h"

#include <stddef.h>

#define SLOT_BITS 6
#define DUE       IO_WHEEL_LEVELS

void io_wheel_init(struct io_wheel *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    self->count = 0;
    list_init(&self->due);
    for (unsigned l = 0; l < IO_WHEEL_LEVELS; l++) {
        self->used[l] = 0;
        for (unsigned s = 0; s < IO_WHEEL_SLOTS; s++)
            list_init(&self->slots[l][s]);
    }
}

void io_deadline_init(struct io_deadline *self)
{
    *self = (struct io_deadline){0};
    list_init(&self->node);
}

/* Puts it where it belongs as seen from now: level l holds what differs from now first in the
 * l-th group of six bits. */
static void place(struct io_wheel *self, struct io_deadline *deadline)
{
    if (deadline->at_ms <= self->now_ms) {
        deadline->level = DUE;
        list_push(&self->due, &deadline->node);
        return;
    }
    uint64_t differs = deadline->at_ms ^ self->now_ms;
    unsigned level = (unsigned)(63 - __builtin_clzll(differs)) / SLOT_BITS;
    unsigned slot = (unsigned)(deadline->at_ms >> SLOT_BITS * level) & (IO_WHEEL_SLOTS - 1);
    deadline->level = (uint8_t)level;
    deadline->slot = (uint8_t)slot;
    list_push(&self->slots[level][slot], &deadline->node);
    self->used[level] |= (uint64_t)1 << slot;
}

static void unplace(struct io_wheel *self, struct io_deadline *deadline)
{
    list_remove(&deadline->node);
    if (deadline->level < IO_WHEEL_LEVELS &&
        list_empty(&self->slots[deadline->level][deadline->slot]))
        self->used[deadline->level] &= ~((uint64_t)1 << deadline->slot);
}

void io_wheel_set(struct io_wheel *self, struct io_deadline *deadline, uint64_t at_ms)
{
    io_wheel_cancel(self, deadline);
    deadline->at_ms = at_ms;
    deadline->armed = true;
    self->count++;
    place(self, deadline);
}

void io_wheel_cancel(struct io_wheel *self, struct io_deadline *deadline)
{
    if (!deadline->armed)
        return;
    unplace(self, deadline);
    deadline->armed = false;
    self->count--;
}

/* The earliest used slot: the one of the lowest level that has any. Everything in a lower level
 * comes before everything in a higher one, and within a level slots rise with time. */
static bool earliest_slot(const struct io_wheel *self, unsigned *ret_level, unsigned *ret_slot)
{
    for (unsigned level = 0; level < IO_WHEEL_LEVELS; level++) {
        if (self->used[level]) {
            *ret_level = level;
            *ret_slot = (unsigned)__builtin_ctzll(self->used[level]);
            return true;
        }
    }
    return false;
}

static uint64_t slot_begin_ms(const struct io_wheel *self, unsigned level, unsigned slot)
{
    unsigned shift = SLOT_BITS * level;
    uint64_t above = level + 1 < IO_WHEEL_LEVELS
                         ? self->now_ms >> (shift + SLOT_BITS) << (shift + SLOT_BITS)
                         : 0;
    return above | (uint64_t)slot << shift;
}

struct io_deadline *io_wheel_take(struct io_wheel *self, uint64_t now_ms)
{
    if (now_ms < self->now_ms)
        now_ms = self->now_ms;
    unsigned level, slot;
    while (list_empty(&self->due)) {
        if (!earliest_slot(self, &level, &slot) || slot_begin_ms(self, level, slot) > now_ms) {
            self->now_ms = now_ms;
            return NULL;
        }
        struct list moving;
        list_init(&moving);
        self->now_ms = slot_begin_ms(self, level, slot);
        self->used[level] &= ~((uint64_t)1 << slot);
        for (struct list *node; (node = list_pop(&self->slots[level][slot]));)
            list_push(&moving, node);
        for (struct list *node; (node = list_pop(&moving));)
            place(self, LIST_ENTRY(node, struct io_deadline, node));
    }
    struct io_deadline *deadline = LIST_ENTRY(list_pop(&self->due), struct io_deadline, node);
    deadline->armed = false;
    self->count--;
    return deadline;
}

uint64_t io_wheel_next_ms(const struct io_wheel *self)
{
    unsigned level, slot;
    if (!list_empty(&self->due))
        return self->now_ms;
    if (!earliest_slot(self, &level, &slot))
        return IO_WHEEL_NEVER;
    return slot_begin_ms(self, level, slot);
}
