/* The Election service of etcd (v3electionpb). Thread: the front's. */
#pragma once

#include "api/front_internal.h"

void election_campaign(struct request *request, const ProtobufCMessage *message);
void election_proclaim(struct request *request, const ProtobufCMessage *message);
void election_leader(struct request *request, const ProtobufCMessage *message);
void election_observe(struct request *request, const ProtobufCMessage *message);
void election_resign(struct request *request, const ProtobufCMessage *message);
