#include "bench/histogram.h"

#include <string.h>

#define STEPS (UINT64_C(1) << HISTOGRAM_STEP_BITS)

void histogram_init(struct histogram *self)
{
    memset(self, 0, sizeof(*self));
}

static unsigned cell_of(uint64_t value)
{
    if (value >= UINT64_C(1) << HISTOGRAM_VALUE_BITS)
        value = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
    if (value < STEPS)
        return (unsigned)value;
    unsigned shift = 63 - HISTOGRAM_STEP_BITS - (unsigned)__builtin_clzll(value);
    return (unsigned)((shift + 1) * STEPS + ((value >> shift) - STEPS));
}

static uint64_t cell_top(unsigned cell)
{
    if (cell < STEPS)
        return cell;
    unsigned shift = (unsigned)(cell / STEPS) - 1;
    return ((cell % STEPS + STEPS + 1) << shift) - 1;
}

void histogram_add(struct histogram *self, uint64_t value)
{
    self->cells[cell_of(value)]++;
    self->count++;
    self->sum += (double)value;
    if (value > self->max)
        self->max = value;
}

uint64_t histogram_at(const struct histogram *self, double share)
{
    uint64_t want = (uint64_t)((double)self->count * share + 0.5);
    if (want == 0)
        want = 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        seen += self->cells[i];
        if (seen >= want && self->cells[i]) {
            uint64_t top = cell_top(i);
            return top < self->max ? top : self->max;
        }
    }
    return self->max;
}

double histogram_mean(const struct histogram *self)
{
    return self->count ? self->sum / (double)self->count : 0;
}
