/* --quota-backend-bytes at the door: a request that may need room is refused, and the alarm
 * raised, before it is proposed. What is judged is what is in use, the changes that are not
 * written yet included, and the cost of the request.
 * Thread: the front's.  Source: etcd's interface, limits "Storage", "Check order per request". */
#pragma once

#include "api/front_internal.h"

/* False: there is no room; the request is or will be answered so. */
bool quota_admits(struct request *request, int64_t cost);
