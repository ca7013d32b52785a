/* Planted bugs. Each row of bug_table.h is a mutation of production code, written where it strikes
 * as BUG(name). That is constant false, and so nothing at all, but for builds with -Dbugs=true:
 * there it is true where bug_planted names the row, and the simulator must find out (scripts/sim.sh
 * --bug). No build that anybody serves data with is made so; a test shows that a usual one has none
 * of them.
 * Thread: any; bug_planted is set before there are others. */
#pragma once

#include <stdbool.h>

enum bug {
    BUG_NONE,
#define X(name, text) BUG_##name,
#include "base/bug_table.h"
#undef X
};

#ifdef CORACLE_BUGS
extern enum bug bug_planted;
#define BUG(name) (bug_planted == BUG_##name)
#else
#define BUG(name) (false && BUG_##name != 0)
#endif
