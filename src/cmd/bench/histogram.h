/* Latencies in a log-linear histogram: 128 steps an octave, so that a value read from it is at most
 * 1/128 above the true one, in a fixed 36 KiB.
 * Thread: one at a time.  Owns: nothing. */
#pragma once

#include <stdint.h>

/* Values above 2^42 ns (73 min) count as that. */
#define HISTOGRAM_VALUE_BITS 42
#define HISTOGRAM_STEP_BITS  7
#define HISTOGRAM_CELLS      ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
    uint64_t cells[HISTOGRAM_CELLS];
    uint64_t count;
    uint64_t max;
    double sum;
};

void histogram_init(struct histogram *self);
void histogram_add(struct histogram *self, uint64_t value);
/* The least value that `share` (0..1) of all values do not exceed; 0 where there are none. */
uint64_t histogram_at(const struct histogram *self, double share);
double histogram_mean(const struct histogram *self);
