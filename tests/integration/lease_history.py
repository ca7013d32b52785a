#!/usr/bin/python3
"""One random history of leases, transactions and keys on another etcd and on ours: equal answers
field by field, equal errors, equal hashes. Times to live are equal up to a tolerance; the ends of
leases are waited for on both sides.

    lease_history.py OURS [--other BINARY] [--seed N] [--calls N]
"""
import argparse

from cluster import Cluster, debian_etcd, leave, skip, wait_for
from kv_history import AT_APPLY, History, Side, plain, settle_ties, left_out

try:
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

TTL_TOLERANCE_S = 3
LEASE_CALLS = ("LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases")


class LeaseSide(Side):
    def __init__(self, endpoint):
        super().__init__(endpoint)
        self.lease = rpc.LeaseStub(self.channel)

    def call(self, name, request):
        if name == "LeaseKeepAlive":
            return next(iter(self.lease.LeaseKeepAlive(iter([request]), timeout=10))), None
        kv, self.kv = self.kv, self.lease if name in LEASE_CALLS else self.kv
        try:
            return super().call(name, request)
        finally:
            self.kv = kv

    def is_gone(self, lease):
        answer, error = self.call("LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease))
        assert not error, error
        return answer.TTL == -1


class LeaseHistory(History):
    """As the history of keys, with leases under the puts. `leases` are those that ought to be there:
    granted for so long that none of them ends by itself."""

    def __init__(self, seed):
        super().__init__(seed)
        self.leases = {}

    def lease_id(self):
        r = self.random
        if self.leases and r.random() < 0.85:
            return r.choice(sorted(self.leases))
        return r.choice([0, -1, 1, 7, 2**63 - 1, -2**63, r.randint(1, 40)])

    def put(self, inside=False):
        request = super().put(inside)
        if self.random.random() < 0.6:
            request.lease = 0 if request.ignore_lease else self.lease_id()
        return request

    def grant(self):
        r = self.random
        ttl = r.choice([100, 300, 1000, 9000000000, 9000000001, 2**62])
        lease = r.choice([r.randint(1, 40), r.randint(1, 40), -r.randint(1, 5), 2**63 - 1, -2**63])
        return rpc.LeaseGrantRequest(ID=lease, TTL=ttl)

    def next(self):
        r = self.random
        kind = r.random()
        if kind < 0.10 and len(self.leases) < 30:
            return "LeaseGrant", self.grant()
        if kind < 0.13:
            return "LeaseRevoke", rpc.LeaseRevokeRequest(ID=self.lease_id())
        if kind < 0.18:
            return "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=self.lease_id(),
                                                                keys=r.random() < 0.7)
        if kind < 0.21:
            return "LeaseKeepAlive", rpc.LeaseKeepAliveRequest(ID=self.lease_id())
        if kind < 0.22:
            return "LeaseLeases", rpc.LeaseLeasesRequest()
        return super().next()

    def answered(self, name, request, response):
        self.revision = max(self.revision, response.header.revision)
        if name == "Compact":
            self.compacted = request.revision
        elif name == "LeaseGrant":
            self.leases[request.ID] = response.TTL
        elif name == "LeaseRevoke":
            self.leases.pop(request.ID, None)


def settle(name, request, response):
    """What the two may answer differently, put in one form; times to live come out."""
    times = None
    if name == "LeaseTimeToLive":
        times, response.TTL = response.TTL, 0
        keys = sorted(response.keys)  # 3.4 lists them in the order of a map
        del response.keys[:]
        response.keys.extend(keys)
    elif name == "LeaseLeases":
        ids = sorted(lease.ID for lease in response.leases)  # equal times are not ordered
        del response.leases[:]
        response.leases.extend(rpc.LeaseStatus(ID=i) for i in ids)
    else:
        settle_ties(request, response)
        without_leases(request, response)
    return times


def without_leases(request, response):
    """keys_only: 3.7 leaves the lease out, 3.4 fills it in."""
    if isinstance(request, rpc.RangeRequest) and request.keys_only:
        for kv in response.kvs:
            kv.lease = 0
    if isinstance(request, rpc.TxnRequest):
        ops = request.success if response.succeeded else request.failure
        for op, answer in zip(ops, response.responses):
            which = op.WhichOneof("request")
            if which in ("request_range", "request_txn"):
                without_leases(getattr(op, which),
                               getattr(answer, which.replace("request", "response")))


def differ(n, seed, name, request, theirs, ours):
    print("call %d of seed %d: %s\n%.2000s\ntheirs: %.2000s\nours:   %.2000s" % (
        n, seed, name, request, theirs, ours))
    return False


def compare(n, seed, sides, history, name, request):
    (their_response, their_error), (our_response, our_error) = [
        side.call(name, request) for side in sides]
    if left_out(name, request):
        return True
    if name == "Txn" and their_error in AT_APPLY and our_error in AT_APPLY:
        our_error = their_error
    if their_error != our_error:
        return differ(n, seed, name, request, (their_error, their_response),
                      (our_error, our_response))
    if their_error:
        return True
    a, b = plain(their_response), plain(our_response)
    if name == "HashKV":
        same = (a.header, a.hash, a.compact_revision) == (b.header, b.hash, b.compact_revision)
    else:
        their_time, our_time = settle(name, request, a), settle(name, request, b)
        same = a == b and (their_time is None or abs(their_time - our_time) <= TTL_TOLERANCE_S)
    history.answered(name, request, their_response)
    return same or differ(n, seed, name, request, (their_response, a), (our_response, b))


def let_leases_end(sides, history, seed):
    """A lease with keys and some without, all soon due: they end on both sides, and what is left is
    the same."""
    first = 1000
    calls = [("LeaseGrant", rpc.LeaseGrantRequest(ID=first + i, TTL=ttl))
             for i, ttl in enumerate([2, 0, -3, 1])]
    keys = [b"/short/%d" % i for i in (3, 1, 2)] + [b"/k/05"]
    calls += [("Put", rpc.PutRequest(key=key, value=b"x", lease=first)) for key in keys]
    for name, request in calls:
        if not compare(-1, seed, sides, history, name, request):
            return False
    for side in sides:
        for i in range(4):
            wait_for(lambda: side.is_gone(first + i), "lease %d ends" % (first + i), 20)
    history.revision += 1
    checks = [("Range", rpc.RangeRequest(key=b"\0", range_end=b"\0")),
              ("LeaseLeases", rpc.LeaseLeasesRequest()), ("HashKV", rpc.HashKVRequest())]
    return all(compare(-1, seed, sides, history, name, request) for name, request in checks)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--ends", type=int, default=2, help="how often leases are left to end")
    args = parser.parse_args()
    counts = {}
    with Cluster(args.other or debian_etcd()) as theirs, Cluster(args.ours) as ours:
        sides = [LeaseSide(c.members[0].client) for c in (theirs, ours)]
        history = LeaseHistory(args.seed)
        for n in range(args.calls):
            name, request = history.next()
            if not compare(n, args.seed, sides, history, name, request):
                return 1
            counts[name] = counts.get(name, 0) + 1
            if (n + 1) % (args.calls // (args.ends + 1)) == 0 and n + 1 < args.calls:
                if not let_leases_end(sides, history, args.seed):
                    return 1
    print("equal:", counts, "leases at the end:", len(history.leases))
    return 0


if __name__ == "__main__":
    leave(main())
