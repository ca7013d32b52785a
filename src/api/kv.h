/* The KV service: checks, ways of reads and writes, and what their answers are made of.
 * Thread: the front's.  Source: etcd's interface, "Check order per request", "Keys and ranges". */
#pragma once

#include "api/front_internal.h"
#include "etcdserverpb.pb-c.h"
#include "mvcc/range.h"

/* All operations of a transaction and of those nested in it: what one request may keep a loop busy
 * with. etcd bounds each level alone, by --max-txn-ops. */
#define TXN_OPS_TOTAL_MAX 4096

static inline struct bytes bytes_pb(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* What can be said of a request without looking at the store, in etcd's order.
 * Fail: with the client's error. */
MUST err kv_check_range(const Etcdserverpb__RangeRequest *range);
MUST err kv_check_put(const Etcdserverpb__PutRequest *put);
MUST err kv_check_delete(const Etcdserverpb__DeleteRangeRequest *del);
/* Operations counted, keys, and no key changed twice. */
MUST err kv_check_txn(struct arena *arena, const Etcdserverpb__TxnRequest *txn, uint64_t ops_max);
/* Nothing but ranges, and no nested transaction: it need not enter the log. */
bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *txn);
/* All its ranges are serializable (true where there is none): it needs no barrier. */
bool kv_txn_is_serializable(const Etcdserverpb__TxnRequest *txn);

struct mvcc_range_options kv_range_options(struct front *front,
                                           const Etcdserverpb__RangeRequest *range);

/* Proposes canonical bytes as that field of InternalRaftRequest. */
void kv_propose_body(struct request *request, unsigned field, struct bytes body,
                     void (*on_reply)(struct request *, const struct replica_reply *));
/* Proposes the request's own message as that field of InternalRaftRequest. */
void kv_propose(struct request *request, unsigned field,
                void (*on_reply)(struct request *, const struct replica_reply *));

void kv_range(struct request *request, const ProtobufCMessage *message);
/* The answer to a range that came by the gateway. options' bytes live as long as the request. */
void kv_range_json(struct request *request, const struct mvcc_range_options *options, uint64_t seq,
                   const struct wire_header *header);
void kv_range_stream(struct request *request, const ProtobufCMessage *message);
void kv_put(struct request *request, const ProtobufCMessage *message);
void kv_delete_range(struct request *request, const ProtobufCMessage *message);
void kv_txn(struct request *request, const ProtobufCMessage *message);
void kv_compact(struct request *request, const ProtobufCMessage *message);
