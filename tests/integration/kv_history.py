#!/usr/bin/python3
"""One long random history of key-value calls on another etcd and on ours: equal answers field by
field, equal errors, equal hashes.

    kv_history.py OURS [--other BINARY] [--seed N] [--calls N]

The other is Debian's etcd (3.4.23) unless named. What differs between its version and 3.7 by
design is left out of the comparison, each with its reason below.
"""
import argparse
import random

from cluster import Cluster, debian_etcd, leave, skip

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")


class Side:
    """One server and its stubs."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.kv = rpc.KVStub(self.channel)
        self.maintenance = rpc.MaintenanceStub(self.channel)

    def call(self, name, request):
        stub = self.maintenance if name in ("HashKV", "Hash") else self.kv
        try:
            return getattr(stub, name)(request, timeout=10), None
        except grpc.RpcError as e:
            return None, (e.code().name, e.details())


def plain(response):
    """The answer without what names the cluster: ids and term, in headers at any depth."""
    copy = type(response)()
    copy.CopyFrom(response)
    strip(copy)
    return copy


def strip(message):
    for field, value in message.ListFields():
        if field.name == "header":
            value.ClearField("cluster_id")
            value.ClearField("member_id")
            value.ClearField("raft_term")
        elif field.type == field.TYPE_MESSAGE:
            for one in value if field.label == field.LABEL_REPEATED else [value]:
                strip(one)


def ranges_of(request, response):
    """Range requests with their responses, those inside transactions too."""
    if isinstance(request, rpc.RangeRequest):
        yield request, response
    if isinstance(request, rpc.TxnRequest):
        ops = request.success if response.succeeded else request.failure
        for op, answer in zip(ops, response.responses):
            which = op.WhichOneof("request")
            if which in ("request_range", "request_txn"):
                yield from ranges_of(getattr(op, which), getattr(answer, which.replace("request", "response")))


def settle_ties(request, response):
    """Keys of equal sort value come in an order that etcd leaves to an unstable sort: here they are
    put in order of key. What is left of an order that is not by key is still compared."""
    attribute = {1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}
    for asked, answer in ranges_of(request, response):
        name = attribute.get(asked.sort_target)
        if not name or len(answer.kvs) < 2:
            continue
        kvs = [(getattr(kv, name), kv.key, kv) for kv in answer.kvs]
        values = [value for value, _, _ in kvs]
        order = sorted(values, reverse=asked.sort_order == 2)
        assert asked.keys_only and name == "value" or values == order, (asked, values)
        settled = sorted(kvs, key=lambda item: item[:2])
        copies = [type(kv).FromString(kv.SerializeToString()) for _, _, kv in settled]
        del answer.kvs[:]
        answer.kvs.extend(copies)


class History:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.revision = 1
        self.compacted = 0
        self.writes_since_hash = 0

    def key(self):
        r = self.random
        kind = r.random()
        if kind < 0.02:
            return b""
        if kind < 0.08:
            return bytes(r.choices([0, 1, 97, 255], k=r.randint(1, 4)))
        return b"/k/%02d" % r.randint(0, 30)

    def range_of(self, request):
        r = self.random
        request.key = self.key()
        kind = r.random()
        if kind < 0.4:
            return request
        if kind < 0.5:
            request.range_end = b"\0"
        elif kind < 0.6:
            request.key, request.range_end = b"\0", b"\0"
        elif kind < 0.7:
            request.key, request.range_end = b"/k/", b"/k0"
        else:
            request.range_end = self.key() or b"/l"
        return request

    def value(self):
        r = self.random
        size = r.choice([0, 1, 10, 100, 600, 3000, 3000, 20000])
        return bytes(r.getrandbits(8) for _ in range(min(size, 20))) * (size // 20 + 1) if size else b""

    def put(self, inside=False):
        r = self.random
        request = rpc.PutRequest(key=self.key(), value=self.value(), prev_kv=r.random() < 0.3)
        # Not in a transaction: where the same one deletes the key before, etcd panics.
        if r.random() < 0.05 and not inside:
            request.ignore_value = True
            if r.random() < 0.8:
                request.value = b""
        if r.random() < 0.05 and not inside:
            request.ignore_lease = True
        if r.random() < 0.03:
            request.lease = r.randint(1, 3)
        return request

    def delete(self):
        return self.range_of(rpc.DeleteRangeRequest(prev_kv=self.random.random() < 0.4))

    def a_revision(self):
        r = self.random
        return r.choice([0, 0, 0, -1, self.revision, self.revision + r.randint(0, 3),
                         r.randint(1, self.revision), self.compacted, self.compacted + 1])

    def range(self, inside=False):
        r = self.random
        request = self.range_of(rpc.RangeRequest())
        request.revision = self.a_revision()
        if inside and request.revision < 0:
            request.revision = 0
        if r.random() < 0.3:
            request.limit = r.randint(0, 8)
        if r.random() < 0.4:
            request.sort_order = r.randint(0, 2)
            request.sort_target = r.randint(0, 4)
            if request.sort_target:
                request.limit = 0  # which of equal ones it cuts off is left to an unstable sort
        request.serializable = r.random() < 0.3
        request.count_only = r.random() < 0.1
        request.keys_only = r.random() < 0.15
        if r.random() < 0.15:
            request.min_mod_revision = r.randint(0, self.revision)
        if r.random() < 0.15:
            request.max_mod_revision = r.randint(0, self.revision + 1)
        if r.random() < 0.1:
            request.min_create_revision = r.randint(0, self.revision)
        if r.random() < 0.1:
            request.max_create_revision = r.randint(0, self.revision + 1)
        return request

    def compare(self):
        r = self.random
        c = rpc.Compare(result=r.randint(0, 3), target=r.randint(0, 4), key=self.key())
        if r.random() < 0.25:
            c.range_end = self.key()
        number = r.choice([0, 1, 2, self.revision, r.randint(0, self.revision)])
        which = c.target if r.random() < 0.95 else r.randint(0, 4)
        if which == 3:
            c.value = self.value()
        else:
            setattr(c, ["version", "create_revision", "mod_revision", None, "lease"][which], number)
        return c

    def op(self, depth):
        r = self.random
        kind = r.random()
        if kind < 0.35:
            return rpc.RequestOp(request_put=self.put(inside=True))
        if kind < 0.55:
            return rpc.RequestOp(request_delete_range=self.delete())
        if kind < 0.9 or depth >= 3:
            return rpc.RequestOp(request_range=self.range(inside=True))
        if kind < 0.905:
            return rpc.RequestOp()
        return rpc.RequestOp(request_txn=self.txn(depth + 1))

    def txn(self, depth=0):
        r = self.random
        return rpc.TxnRequest(
            compare=[self.compare() for _ in range(r.choice([0, 1, 1, 2]))],
            success=[self.op(depth) for _ in range(r.choice([0, 1, 2, 3, 5]))],
            failure=[self.op(depth) for _ in range(r.choice([0, 1, 2]))])

    def compact(self):
        r = self.random
        revision = r.choice([0, self.compacted, self.compacted + 1, self.revision + 1,
                             max(1, self.revision - r.randint(0, 40))])
        return rpc.CompactionRequest(revision=revision, physical=True)

    def next(self):
        kind = self.random.random()
        if kind < 0.30:
            return "Put", self.put()
        if kind < 0.40:
            return "DeleteRange", self.delete()
        if kind < 0.68:
            return "Range", self.range()
        if kind < 0.93:
            return "Txn", self.txn()
        if kind < 0.945:
            return "Compact", self.compact()
        return "HashKV", rpc.HashKVRequest(revision=self.a_revision())


# Of two errors in one transaction 3.4 answers a put's, 3.6 and 3.7 the first.
AT_APPLY = (("NOT_FOUND", "etcdserver: requested lease not found"),
            ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"),
            ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"))


def left_out(name, request):
    """What 3.4 answers otherwise than 3.7: `compacted` for a hash at the compacted revision itself."""
    return name == "HashKV" and request.revision != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=4000)
    args = parser.parse_args()
    other_binary = args.other or debian_etcd()
    counts, errors = {}, {}
    with Cluster(other_binary) as theirs, Cluster(args.ours) as ours:
        sides = [Side(theirs.members[0].client), Side(ours.members[0].client)]
        history = History(args.seed)
        for n in range(args.calls):
            name, request = history.next()
            answers = [side.call(name, request) for side in sides]
            (their_response, their_error), (our_response, our_error) = answers
            counts[name] = counts.get(name, 0) + 1
            if left_out(name, request):
                continue
            if name == "Txn" and their_error in AT_APPLY and our_error in AT_APPLY:
                our_error = their_error
            if their_error != our_error:
                print("call %d of seed %d: %s %s\ntheirs: %s %s\nours:   %s %s" % (
                    n, args.seed, name, request, their_error, their_response, our_error,
                    our_response))
                return 1
            if their_error:
                errors[their_error] = errors.get(their_error, 0) + 1
                continue
            a, b = plain(their_response), plain(our_response)
            settle_ties(request, a)
            settle_ties(request, b)
            if name == "HashKV":
                same = (a.header == b.header and a.hash == b.hash and
                        a.compact_revision == b.compact_revision)
            else:
                same = a == b
            if not same:
                print("call %d of seed %d: %s\n%s\ntheirs:\n%s\nours:\n%s" % (
                    n, args.seed, name, request, a, b))
                return 1
            history.revision = max(history.revision, their_response.header.revision)
            if name == "Compact":
                history.compacted = request.revision
        print("equal: %s; errors %s" % (counts, {k[1]: v for k, v in errors.items()}))
    return 0


if __name__ == "__main__":
    leave(main())
