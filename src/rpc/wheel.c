#include "rpc/wheel.h"

#include "base/check.h"

/* How many milliseconds one slot of the level spans, as a shift. */
static unsigned level_shift(unsigned level)
{
    return level * WHEEL_SLOTS_LOG;
}

void wheel_init(struct wheel *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        self->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&self->slots[level][slot]);
    }
}

void wheel_timer_init(struct wheel_timer *timer, void (*fire)(struct wheel_timer *self))
{
    list_init(&timer->node);
    timer->due_ms = 0;
    timer->fire = fire;
    timer->level = timer->slot = 0;
}

void wheel_clear(struct wheel *self, struct wheel_timer *timer)
{
    if (!wheel_timer_armed(timer))
        return;
    list_remove(&timer->node);
    if (list_empty(&self->slots[timer->level][timer->slot]))
        self->occupied[timer->level] &= ~(1ULL << timer->slot);
}

void wheel_set(struct wheel *self, struct wheel_timer *timer, uint64_t due_ms)
{
    wheel_clear(self, timer);
    timer->due_ms = due_ms;
    /* A slot of the present is never looked at again before the wheel has gone round. */
    uint64_t at = due_ms > self->now_ms ? due_ms : self->now_ms + 1;
    unsigned level = 0;
    while (level < WHEEL_LEVELS - 1 &&
           (at >> level_shift(level)) - (self->now_ms >> level_shift(level)) >= WHEEL_SLOTS)
        level++;
    uint64_t here = self->now_ms >> level_shift(level);
    uint64_t there = at >> level_shift(level);
    if (there - here >= WHEEL_SLOTS)
        there = here + WHEEL_SLOTS - 1;
    timer->level = (uint8_t)level;
    timer->slot = (uint8_t)(there & (WHEEL_SLOTS - 1));
    list_push(&self->slots[level][timer->slot], &timer->node);
    self->occupied[level] |= 1ULL << timer->slot;
}

/* Distance in slots from the present slot to the next that holds something, 1..64. */
static unsigned level_next(const struct wheel *self, unsigned level)
{
    unsigned here = (unsigned)(self->now_ms >> level_shift(level)) & (WHEEL_SLOTS - 1);
    unsigned first = (here + 1) & (WHEEL_SLOTS - 1);
    uint64_t bits = self->occupied[level];
    uint64_t turned = first ? bits >> first | bits << (WHEEL_SLOTS - first) : bits;
    return 1 + (unsigned)__builtin_ctzll(turned);
}

uint64_t wheel_next_ms(const struct wheel *self)
{
    uint64_t next = UINT64_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (!self->occupied[level])
            continue;
        uint64_t slot = (self->now_ms >> level_shift(level)) + level_next(self, level);
        uint64_t at = slot << level_shift(level);
        if (at < next)
            next = at;
    }
    return next;
}

/* Empties the slots that begin at the present moment: due timers fire, others move down. */
static void wheel_run_present(struct wheel *self)
{
    struct list due;
    list_init(&due);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (self->now_ms & ((1ULL << level_shift(level)) - 1))
            break;
        unsigned slot = (unsigned)(self->now_ms >> level_shift(level)) & (WHEEL_SLOTS - 1);
        struct list *head = &self->slots[level][slot];
        self->occupied[level] &= ~(1ULL << slot);
        for (struct list *node; (node = list_pop(head));) {
            struct wheel_timer *timer = LIST_ENTRY(node, struct wheel_timer, node);
            if (timer->due_ms <= self->now_ms)
                list_push(&due, node);
            else
                wheel_set(self, timer, timer->due_ms);
        }
    }
    /* Fired one by one from a list that wheel_clear can still take them out of. */
    while (!list_empty(&due)) {
        struct wheel_timer *timer = LIST_ENTRY(due.next, struct wheel_timer, node);
        list_remove(&timer->node);
        timer->fire(timer);
    }
}

void wheel_advance(struct wheel *self, uint64_t now_ms)
{
    while (self->now_ms < now_ms) {
        uint64_t next = wheel_next_ms(self);
        if (next > now_ms) {
            self->now_ms = now_ms;
            return;
        }
        DCHECK(next > self->now_ms);
        self->now_ms = next;
        wheel_run_present(self);
    }
}
