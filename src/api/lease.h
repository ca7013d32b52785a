/* The Lease service. Grants and revokes go through the log; the rest asks the core, which knows
 * (or finds out) what the leader knows.
 * Thread: the front's.  Source: etcd's interface, limits "Leases", "Check order per request". */
#pragma once

#include "api/front_internal.h"

void lease_grant(struct request *request, const ProtobufCMessage *message);
void lease_revoke(struct request *request, const ProtobufCMessage *message);
void lease_keep_alive(struct request *request, const ProtobufCMessage *message);
void lease_time_to_live(struct request *request, const ProtobufCMessage *message);
void lease_leases(struct request *request, const ProtobufCMessage *message);
