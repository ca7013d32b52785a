/* A small deterministic random source (xoshiro256**), seeded by its caller: nothing in the pure
 * core draws randomness from anywhere else. Thread: one at a time. */
#pragma once

#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *self, uint64_t seed);
uint64_t prng_next(struct prng *self);
/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *self, uint64_t bound);
