/* The Cluster, Maintenance and Health services, as far as they are built.
 * Thread: the front's.  Source: etcd's interface, services; "Response header per call". */
#pragma once

#include "api/front_internal.h"
#include "etcdserverpb.pb-c.h"

/* The version of etcd whose interface this is. */
#define ETCD_VERSION "3.7.1"

/* The header of a response that is built as a message. */
void cluster_set_header(struct request *request, Etcdserverpb__ResponseHeader *header,
                        int64_t revision);

/* A member to be added: its URLs parsed and sorted, its id made of them. Lives in the arena.
 * Fails: ERR_MEMBER_BAD_URLS. */
MUST err cluster_new_member(struct arena *arena, char *const *urls, size_t count, bool learner,
                            struct member **ret_member);
/* Asks the core for the change; member's texts are the request's, until its reply. */
void cluster_member_change(struct request *request, enum member_change_kind kind,
                           const struct member *member,
                           void (*on_reply)(struct request *, const struct replica_reply *));
void cluster_member_add(struct request *request, const ProtobufCMessage *message);
void cluster_member_remove(struct request *request, const ProtobufCMessage *message);
void cluster_member_update(struct request *request, const ProtobufCMessage *message);
void cluster_member_promote(struct request *request, const ProtobufCMessage *message);
void cluster_member_list(struct request *request, const ProtobufCMessage *message);
void maintenance_move_leader(struct request *request, const ProtobufCMessage *message);
void maintenance_downgrade(struct request *request, const ProtobufCMessage *message);
void maintenance_status(struct request *request, const ProtobufCMessage *message);
void maintenance_hash(struct request *request, const ProtobufCMessage *message);
void maintenance_hash_kv(struct request *request, const ProtobufCMessage *message);
void maintenance_defragment(struct request *request, const ProtobufCMessage *message);
/* Its slices come back from workers: maintenance_snapshot_results. */
void maintenance_snapshot(struct request *request, const ProtobufCMessage *message);
void maintenance_snapshot_results(struct front *front);
/* Waits for those that are with workers; their requests are gone. */
void maintenance_snapshots_close(struct front *front);
void maintenance_alarm(struct request *request, const ProtobufCMessage *message);
void health_check(struct request *request, const ProtobufCMessage *message);
void health_list(struct request *request, const ProtobufCMessage *message);
