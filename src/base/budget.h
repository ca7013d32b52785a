/* What a slice of work may still take, counted down by the cost of each step. */
#pragma once

#include <stddef.h>

static inline void budget_spend(unsigned *budget, size_t cost)
{
    *budget -= *budget < cost ? *budget : (unsigned)cost;
}
