/* The Lock service of etcd (v3lockpb). Thread: the front's. */
#pragma once

#include "api/front_internal.h"

void lock_lock(struct request *request, const ProtobufCMessage *message);
void lock_unlock(struct request *request, const ProtobufCMessage *message);
