#include "base/prng.h"

#include "base/check.h"

static uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

/* splitmix64, which xoshiro's authors name for seeding: no seed gives the all-zero state, from
 * which xoshiro would never leave. */
void prng_init(struct prng *self, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        self->state[i] = z ^ (z >> 31);
    }
}

uint64_t prng_next(struct prng *self)
{
    uint64_t *s = self->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire's multiplication ("Fast random integer generation in an interval", 2019): the few
 * products that would favour small results are drawn again. */
uint64_t prng_below(struct prng *self, uint64_t bound)
{
    CHECK(bound > 0);
    uint64_t unfair = -bound % bound;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)prng_next(self) * bound;
        if ((uint64_t)product >= unfair)
            return (uint64_t)(product >> 64);
    }
}
