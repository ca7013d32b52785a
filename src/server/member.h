/* One member: makes the loops, threads, stages, core, fronts, peers and listeners, runs them until
 * a signal, and takes them down in order.
 *
 *     ≤ 2 cores   loop 0: core + front 0       │ log │ store │ 2 workers
 *     ≥ 3 cores   loop 0: core   loops 1…N: fronts, N = min(cores − 2, 8) │ log │ store │ 2 workers
 *
 * Stop: no more accepts, GOAWAY, leadership handed over, calls in flight for at most half a second,
 * then streams end Unavailable and the stages finish what they have.
 * Thread: main. */
#pragma once

#include "server/config.h"

/* Runs the member. Returns the number of the signal that ended it, or -1 after a failure that was
 * logged. */
int member_run(const struct config *config);
