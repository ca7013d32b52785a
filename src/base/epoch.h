/* Safe reclamation for readers that never wait (epochs; Fraser 2004, section 5.2.3).
 * Readers hold a guard for the length of one slice (<= 1 ms, never across I/O or a return to the
 * loop). One owner retires objects and frees in slices, on its own thread, what no guard that is
 * still held can see.
 * Thread: epoch_enter/leave on the reader's own slot; retire/reclaim on the owner's thread. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define EPOCH_READERS_MAX 64

struct epoch_slot {
    _Atomic uint64_t seen; /* 0: outside a guard */
    char pad[56];
};

struct epoch_item;
struct epoch {
    _Atomic uint64_t now; /* starts at 1 */
    struct epoch_slot slots[EPOCH_READERS_MAX];
    atomic_int slot_count;
    struct epoch_item *retired; /* oldest first */
    struct epoch_item **retired_end;
    uint64_t retired_count;
};

/* Embedded in whatever is retired. */
struct epoch_item {
    struct epoch_item *next;
    uint64_t at;
    void (*free)(struct epoch_item *self);
};

void epoch_init(struct epoch *self);
/* Frees everything that is left; no guard may be held. */
void epoch_done(struct epoch *self);
/* A slot of its own for a reading thread, for the life of the process. */
struct epoch_slot *epoch_register(struct epoch *self);
/* The calling thread's, registered when it first asks; for threads that serve many, and one epoch
 * each. */
struct epoch_slot *epoch_thread_slot(struct epoch *self);
/* Guards nest not: enter and leave alternate. */
void epoch_enter(struct epoch *self, struct epoch_slot *slot);
void epoch_leave(struct epoch_slot *slot);
/* The object is unreachable for guards entered from now on. */
void epoch_retire(struct epoch *self, struct epoch_item *item, void (*free)(struct epoch_item *));
/* Frees at most max objects that no guard can see; returns how many. */
unsigned epoch_reclaim(struct epoch *self, unsigned max);
