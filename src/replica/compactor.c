/* Automatic compaction, by etcd's rules, so that a cluster of both kinds behaves alike whoever
 * leads.
 *
 * By time: every member samples the revision ten times in the shorter of the period and an hour,
 * and keeps a period's samples. The leader compacts to the oldest one, first when a period has
 * passed since its start and then once in the shorter of both; what fails is tried again at the
 * next sample. By number: the leader compacts every five minutes to the present revision less the
 * number kept.
 *
 * Whether it was done is seen in the state: there is nobody to answer. */
#include "replica/replica_internal.h"

#include <stdlib.h>

#define HOUR_MS              UINT64_C(3600000)
#define REVISION_INTERVAL_MS UINT64_C(300000)
#define SAMPLES_AN_INTERVAL  10

static uint64_t compaction_interval_ms(const struct replica *self)
{
    return self->compaction.period_ms < HOUR_MS ? self->compaction.period_ms : HOUR_MS;
}

void compactor_init(struct replica *self)
{
    self->compactor_interval_ms = self->compaction.period_ms
                                      ? compaction_interval_ms(self) / SAMPLES_AN_INTERVAL
                                      : REVISION_INTERVAL_MS;
    if (self->compactor_interval_ms == 0)
        self->compactor_interval_ms = 1;
    self->compactor_success_ms = self->compactor_next_ms = self->now_ms;
    if (!self->compaction.period_ms)
        self->compactor_next_ms += self->compactor_interval_ms;
}

void compactor_free(struct replica *self)
{
    free(self->compactor_samples);
}

static void sample(struct replica *self)
{
    size_t kept = (size_t)(self->compaction.period_ms / self->compactor_interval_ms) + 1;
    if (self->compactor_count == kept)
        memmove(self->compactor_samples, self->compactor_samples + 1,
                --self->compactor_count * sizeof(self->compactor_samples[0]));
    self->compactor_samples = array_grow(self->compactor_samples, self->compactor_count,
                                         &self->compactor_cap, sizeof(int64_t));
    self->compactor_samples[self->compactor_count++] =
        mvcc_store_revision(state_store(self->state));
}

static void compact(struct replica *self, int64_t revision)
{
    if (revision <= 0 || revision == self->compactor_done || !leases_may_propose(self))
        return;
    struct arena arena;
    arena_init(&arena, 256);
    self->compactor_asked = revision;
    if (revision > mvcc_store_compact_revision(state_store(self->state)))
        (void)cluster_propose_own(
            self, request_compaction(&arena, request_ids_take(self->ids, 1), revision))
            .code; /* lost: tried again */
    arena_done(&arena);
}

static void watch_outcome(struct replica *self)
{
    if (!self->compactor_asked ||
        mvcc_store_compact_revision(state_store(self->state)) < self->compactor_asked)
        return;
    self->compactor_done = self->compactor_asked;
    self->compactor_asked = 0;
    self->compactor_success_ms = self->now_ms;
}

static void compact_by_time(struct replica *self)
{
    uint64_t pause_ms =
        self->compactor_began ? compaction_interval_ms(self) : self->compaction.period_ms;
    if (self->compactor_count && self->leading &&
        self->now_ms >= self->compactor_success_ms + pause_ms) {
        self->compactor_began = true;
        compact(self, self->compactor_samples[0]);
    }
    sample(self);
}

void compactor_tick(struct replica *self)
{
    if (!self->compaction.period_ms && !self->compaction.revisions)
        return;
    watch_outcome(self);
    if (self->now_ms < self->compactor_next_ms)
        return;
    self->compactor_next_ms += self->compactor_interval_ms;
    if (self->compactor_next_ms <= self->now_ms) /* time stood still */
        self->compactor_next_ms = self->now_ms + self->compactor_interval_ms;
    if (self->compaction.period_ms)
        compact_by_time(self);
    else if (self->leading)
        compact(self, mvcc_store_revision(state_store(self->state)) - self->compaction.revisions);
}
