/* Numbers that nobody else draws: seeds, and what tells two clusters or sessions apart. No secrets
 * are made of them. Thread: any. */
#pragma once

#include <stdint.h>

uint64_t seed_new(void);
