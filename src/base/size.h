/* Sizes for people: `25 kB`, `2.1 MB`, `20 B`; units of 1000, a decimal below ten of them.
 * Thread: any.  Source: etcd's interface, output of the tools, "Common rules". */
#pragma once

#include <stdint.h>

#define SIZE_TEXT_MAX 32

void size_text(uint64_t n, char out[SIZE_TEXT_MAX]);
