/* Defragmenting the store when clients ask for it. Nothing stops for it: the store's thread seals
 * what is written and cleans what is more than 5 % dead between its other work. Who asked is
 * answered when that is done, and otherwise after DEFRAGMENT_ANSWER_MS, while it goes on.
 *
 *     asked ──a compaction under way has marked what it lets go──> store ──cleaned──> answered
 *
 * Thread: the core's. */
#pragma once

#include "mvcc/revlog.h"
#include "replica/replica.h"
#include "stage/store.h"

#define DEFRAGMENT_ANSWER_MS   2000
#define DEFRAGMENT_WAITING_MAX 64

struct defragment {
    uint64_t waiting[DEFRAGMENT_WAITING_MAX]; /* tokens */
    unsigned waiting_count;
    bool waits; /* for a compaction's marks */
    bool runs;
    uint64_t answer_ms; /* those who wait are answered by then */
    uint64_t begin_ms;
    struct revlog_sizes before;
};

/* Once, before threads start. */
void defragment_register_metrics(void);
void defragment_ask(struct defragment *self, struct replica *replica, uint64_t token,
                    uint64_t now_ms);
/* The store says `cleaned`. */
void defragment_cleaned(struct defragment *self, struct replica *replica, const struct revlog *log,
                        uint64_t now_ms);
/* Each pass: begins what may begin, answers who has waited long enough. Returns when it is to be
 * called again at the latest; UINT64_MAX: never. */
uint64_t defragment_tick(struct defragment *self, struct replica *replica,
                         struct stage_store *store, const struct revlog *log, uint64_t now_ms);
