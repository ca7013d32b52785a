/* Many deadlines at the cost of one: a hierarchical timing wheel of milliseconds (Varghese and
 * Lauck 1987, scheme 7). A slot of level l spans 64^l ms; a deadline lies in the level of the first
 * group of six bits in which it differs from now, so that eleven levels hold every u64.
 *
 * Invariants: 1. a deadline is never handed out before its time; 2. one that lies in a
 * slot is not due: slots are emptied when now reaches their beginning; 3. a slot's bit is set where
 * its list is not empty. Thread: one at a time.  Owns: nothing; the deadlines lie inside their
 * owners' objects, which remove them before they die. */
#pragma once

#include "base/list.h"

#include <stdint.h>

#define IO_WHEEL_LEVELS 11
#define IO_WHEEL_SLOTS  64
#define IO_WHEEL_NEVER  UINT64_MAX

struct io_deadline {
    struct list node;
    uint64_t at_ms;
    uint8_t level; /* IO_WHEEL_LEVELS: among the due */
    uint8_t slot;
    bool armed;
};

struct io_wheel {
    uint64_t now_ms;
    struct list slots[IO_WHEEL_LEVELS][IO_WHEEL_SLOTS];
    uint64_t used[IO_WHEEL_LEVELS];
    struct list due;
    uint64_t count;
};

void io_wheel_init(struct io_wheel *self, uint64_t now_ms);
void io_deadline_init(struct io_deadline *self);
/* Arms, or moves what is armed. A time that has passed is due at once. */
void io_wheel_set(struct io_wheel *self, struct io_deadline *deadline, uint64_t at_ms);
/* Disarms; harmless where it is not armed. */
void io_wheel_cancel(struct io_wheel *self, struct io_deadline *deadline);
/* Disarms and returns one deadline that has passed at now_ms (never earlier than the now before),
 * in order of time up to the millisecond's slot; NULL where none has. Callers bound how many they
 * take in one slice. */
struct io_deadline *io_wheel_take(struct io_wheel *self, uint64_t now_ms);
/* When to look again: no armed deadline is earlier, though there may be none at it.
 * IO_WHEEL_NEVER where none is armed. */
uint64_t io_wheel_next_ms(const struct io_wheel *self);
