#include "mvcc/view_pin.h"

#include "base/check.h"

/* No seq (record.h: 48 bits). */
#define PIN_BROKEN UINT64_MAX

void mvcc_pins_init(struct mvcc_pins *self)
{
    atomic_init(&self->count, 0);
    for (unsigned i = 0; i < MVCC_PINS_MAX; i++) {
        atomic_init(&self->slots[i].seq, 0);
        atomic_init(&self->slots[i].seen_ms, 0);
    }
}

err mvcc_pin_take(struct mvcc_pins *self, uint64_t seq, uint64_t now_ms, struct mvcc_pin *ret_pin)
{
    if (seq == 0) {
        *ret_pin = (struct mvcc_pin){0};
        return OK;
    }
    if (atomic_fetch_add(&self->count, 1) >= MVCC_PINS_MAX) {
        atomic_fetch_sub(&self->count, 1);
        return ERR_LIMIT;
    }
    /* The count promises a free slot, though others may take it first; each lap someone succeeds.
     */
    for (unsigned i = (unsigned)seq;; i++) {
        struct mvcc_pin_slot *slot = &self->slots[i % MVCC_PINS_MAX];
        uint64_t none = 0;
        if (atomic_load_explicit(&slot->seq, memory_order_relaxed) != 0)
            continue;
        atomic_store_explicit(&slot->seen_ms, now_ms, memory_order_relaxed);
        if (atomic_compare_exchange_strong(&slot->seq, &none, seq)) {
            *ret_pin = (struct mvcc_pin){slot, seq};
            return OK;
        }
    }
}

err mvcc_pin_touch(struct mvcc_pin *self, uint64_t now_ms)
{
    if (!self->slot)
        return OK;
    atomic_store(&self->slot->seen_ms, now_ms);
    return atomic_load(&self->slot->seq) == self->seq ? OK : ERR_TIMED_OUT;
}

void mvcc_pin_drop(struct mvcc_pins *self, struct mvcc_pin *pin)
{
    if (!pin->slot)
        return;
    atomic_store(&pin->slot->seq, 0);
    atomic_fetch_sub(&self->count, 1);
    *pin = (struct mvcc_pin){0};
}

unsigned mvcc_pins_count(const struct mvcc_pins *self)
{
    return atomic_load_explicit(&self->count, memory_order_relaxed);
}

uint64_t mvcc_pins_oldest(const struct mvcc_pins *self)
{
    uint64_t oldest = UINT64_MAX;
    if (atomic_load(&self->count) == 0)
        return oldest;
    for (unsigned i = 0; i < MVCC_PINS_MAX; i++) {
        uint64_t seq = atomic_load(&self->slots[i].seq);
        if (seq != 0 && seq < oldest)
            oldest = seq;
    }
    return oldest;
}

unsigned mvcc_pins_expire(struct mvcc_pins *self, uint64_t now_ms)
{
    unsigned broken = 0;
    if (atomic_load(&self->count) == 0)
        return 0;
    for (unsigned i = 0; i < MVCC_PINS_MAX; i++) {
        struct mvcc_pin_slot *slot = &self->slots[i];
        uint64_t seq = atomic_load(&slot->seq);
        uint64_t seen_ms = atomic_load(&slot->seen_ms);
        if (seq == 0 || seq == PIN_BROKEN || now_ms < seen_ms ||
            now_ms - seen_ms < MVCC_PIN_IDLE_MS_MAX)
            continue;
        broken += atomic_compare_exchange_strong(&slot->seq, &seq, PIN_BROKEN);
    }
    return broken;
}
