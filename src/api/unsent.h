/* What waits to be sent, over all connections: who reads too slowly to take what it asked for is
 * let go of where it would take the process's memory. One connection is bounded by rpc; this bounds
 * many. Thread: the front's. */
#pragma once

#include "api/front_internal.h"

void unsent_init(struct front *front);
void unsent_done(struct front *front);
/* After each pass of the connection's output. */
void unsent_note(struct client_conn *conn);
