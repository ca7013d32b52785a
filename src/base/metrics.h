/* Counters, gauges and histograms, and their Prometheus text form.
 * A metric is a static object that registers itself at start; its update is one relaxed atomic
 * addition, so that any thread may do it.
 * Thread: any.  Source: etcd's interface, metrics. */
#pragma once

#include "base/buf.h"

#include <stdatomic.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
#define METRIC_BUCKETS_MAX 24

struct metric {
    const char *name;
    const char *help;
    enum metric_kind kind;
    const char *labels;    /* a="b",c="d" without braces, or NULL; borrowed for ever */
    _Atomic int64_t value; /* counters, gauges; in units of scale */
    double scale;          /* 0 = 1: what one unit of value is worth */
    double bucket_start, bucket_factor;
    const double *bounds; /* where they are no geometric row; borrowed for ever */
    unsigned bucket_count;
    _Atomic uint64_t buckets[METRIC_BUCKETS_MAX + 1]; /* not cumulative; last is +Inf */
    _Atomic uint64_t sum_ns; /* histograms: sum of observations in 1e-9 units */
    atomic_bool registered;
    struct metric *next;
};

/* Once is enough, and again does no harm, and costs one load: a member's next life begins like its
 * first, and a series that shall be seen from its first observation on is registered by each. */
void metric_register(struct metric *self);
static inline void metric_add(struct metric *self, int64_t n)
{
    atomic_fetch_add_explicit(&self->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *self, int64_t n)
{
    atomic_store_explicit(&self->value, n, memory_order_relaxed);
}
/* Histograms over seconds: the observation in nanoseconds. */
void metric_observe_ns(struct metric *self, uint64_t ns);
/* count of them that took so long all together, as if each had taken its share. */
void metric_observe_many_ns(struct metric *self, uint64_t ns, uint64_t count);
/* Called before text is made, to refresh gauges that are read from elsewhere. A later ctx of the
 * same function takes the place of the one before. */
void metrics_on_collect(void (*fn)(void *ctx), void *ctx);
/* All metrics, grouped by name, piece by piece: two thousand lines are milliseconds of work where
 * caches are cold. What is registered later is not in it. */
struct metrics_page {
    const struct metric **all; /* in order */
    size_t count, at;
};

void metrics_page_begin(struct metrics_page *self);
/* Puts those that are registered by now in order, so that the first page need not. */
void metrics_order(void);
/* The next lines, until about so many bytes have come to out. *ret_more false: that was the end.
 * Fails: ERR_LIMIT of the buffer. */
MUST err metrics_page_put(struct metrics_page *self, struct buf *out, size_t bytes, bool *ret_more);
void metrics_page_done(struct metrics_page *self);
/* The whole at once. Fails: ERR_LIMIT of the buffer. */
MUST err metrics_text(struct buf *out);
