/* Room for large messages on their way: those longer than a stream's window. They share one room,
 * for half-arrived ones would fill the memory of a process whose clients all send at once.
 * Connections take turns, so that none can keep the others out by asking for much; and who has room
 * and sends slowly goes, once others have waited for five seconds.
 * Thread: the front's.  Owns: nothing; a request gives its room back before it is freed. */
#pragma once

#include "api/front_internal.h"

void room_init(struct front *front);
/* Before the front's end, when no request is left. */
void room_done(struct front *front);
/* True: there is room for that many bytes. False: the call waits, and is granted it later. */
bool room_reserve(struct request *request, size_t bytes);
/* The message is here, or it will not come. Idempotent. */
void room_release(struct request *request);
