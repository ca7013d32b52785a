/* A hierarchical timing wheel (Varghese and Lauck 1987): putting in and taking out a deadline is
 * a list operation, whatever their number.
 *
 *     level 0: 64 slots of 1 ms │ level 1: 64 of 64 ms │ level 2: 64 of 4 s │ level 3: 64 of 4.4
 * min
 *
 * A timer lies in the lowest level whose reach covers it, and moves down when its slot is due;
 * beyond 4.6 hours it waits in the last slot and is put in again from there.
 * Invariants: (1) no slot holds a timer that is due before `now_ms` slots of its level say so;
 * (2) a level's bit is set exactly where its slot is not empty.
 * Thread: one.  Owns: nothing; timers lie inside their objects. */
#pragma once

#include "base/list.h"

#include <stdint.h>

#define WHEEL_LEVELS    4
#define WHEEL_SLOTS_LOG 6
#define WHEEL_SLOTS     (1u << WHEEL_SLOTS_LOG)

struct wheel_timer {
    struct list node;
    uint64_t due_ms;
    void (*fire)(struct wheel_timer *self); /* may put in or take out any timer */
    uint8_t level, slot;
};

struct wheel {
    uint64_t now_ms;
    uint64_t occupied[WHEEL_LEVELS];
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *self, uint64_t now_ms);
void wheel_timer_init(struct wheel_timer *timer, void (*fire)(struct wheel_timer *self));
/* Puts in, or moves to another time. due_ms in the past: fires at the next advance. */
void wheel_set(struct wheel *self, struct wheel_timer *timer, uint64_t due_ms);
/* Harmless where it is not in. */
void wheel_clear(struct wheel *self, struct wheel_timer *timer);
static inline bool wheel_timer_armed(const struct wheel_timer *timer)
{
    return timer->node.next != &timer->node;
}
/* Fires all that is due at now_ms. */
void wheel_advance(struct wheel *self, uint64_t now_ms);
/* When to advance next at the latest; UINT64_MAX: empty. Never later than the earliest timer. */
uint64_t wheel_next_ms(const struct wheel *self);
