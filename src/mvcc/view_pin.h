/* Pins: what a reader needs for longer than one guard.
 *
 * A pin names a seq; nothing that is seen at it vanishes (the floor stays at or below the oldest
 * pin). A list being sent, a snapshot, a hash go on by key or seq in the newest view, under a guard
 * a slice, seeing seq <= pin. Bounded in number; a pin without progress for MVCC_PIN_IDLE_MS_MAX is
 * broken by the core and its holder finds out at its next slice.
 *
 * Thread: take, touch, drop: any (one pin, one thread at a time). floor, expire: the core. */
#pragma once

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MVCC_PINS_MAX        1024
#define MVCC_PIN_IDLE_MS_MAX 60000

struct mvcc_pin_slot {
    _Atomic uint64_t seq;     /* 0: free; UINT64_MAX: broken and not yet dropped */
    _Atomic uint64_t seen_ms; /* last progress */
};

struct mvcc_pins {
    atomic_uint count;
    struct mvcc_pin_slot slots[MVCC_PINS_MAX];
};

struct mvcc_pin {
    struct mvcc_pin_slot *slot; /* NULL: none held */
    uint64_t seq;
};

void mvcc_pins_init(struct mvcc_pins *self);
/* Under the guard of the view in which seq was judged readable (compact_seq <= seq <= view->seq):
 * that is what keeps the floor from passing it before the pin is seen. seq 0 pins nothing and is
 * legal. Fails: ERR_LIMIT. */
MUST err mvcc_pin_take(struct mvcc_pins *self, uint64_t seq, uint64_t now_ms,
                       struct mvcc_pin *ret_pin);
/* At the start of each slice, under its guard. Fails: ERR_TIMED_OUT once the pin is broken; what it
 * held may be gone. */
MUST err mvcc_pin_touch(struct mvcc_pin *self, uint64_t now_ms);
/* Idempotent. */
void mvcc_pin_drop(struct mvcc_pins *self, struct mvcc_pin *pin);
unsigned mvcc_pins_count(const struct mvcc_pins *self);

/* Core: the oldest pinned seq, or UINT64_MAX. */
uint64_t mvcc_pins_oldest(const struct mvcc_pins *self);
/* Core, now and then: breaks what stood still; returns how many. */
unsigned mvcc_pins_expire(struct mvcc_pins *self, uint64_t now_ms);
