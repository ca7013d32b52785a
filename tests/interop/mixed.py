#!/usr/bin/python3
"""Members of ours beside members of real etcd, in one cluster of three.

    mixed.py ETCD BUILD_DIR KINDS [--calls N] [--hostile N] [--rounds N] [--seed N]

KINDS names who stands in it, such as "3.7,ours,ours" or "3.6,3.7,ours"; 3.4 is Debian's. In each
round every kind leads in turn, and under each leader: writes, linearizable reads and leases through
every member; a random history through members drawn at random; hostile but legal requests through
every member; one of each kind is killed and comes back. At the end of each turn all members have
equal hashes at several revisions and none has ended by itself.
"""
import argparse
import itertools
import json
import random

import golang
import hostile
import raw
from cluster import Cluster, debian_etcd, http_get, leave, wait_for
from kv_history import History, rpc

LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"
LEASE_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
PATHS = {"Put": raw.PUT, "DeleteRange": raw.DELETE_RANGE, "Range": raw.RANGE, "Txn": raw.TXN,
         "Compact": raw.COMPACT, "HashKV": raw.HASH_KV}
APPLIED_INDEX = 7  # of StatusResponse; older stubs do not know it
# What a call through a member may meet while leadership moves: tried again.
PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def binary_of(kind, ours, build_dir):
    if kind == "ours":
        return ours
    if kind == "3.4":
        return debian_etcd()
    return golang.build_or_skip("etcd" + kind.replace(".", ""), "member", build_dir)


class Mixed:
    """A running cluster, who is of which kind, and a connection to each member."""

    def __init__(self, cluster, kinds):
        self.cluster = cluster
        self.members = cluster.members
        self.kinds = kinds
        self.sides = [raw.Side(m.client) for m in self.members]
        self.counts = {}

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def check_alive(self):
        for member, kind in zip(self.members, self.kinds):
            if not member.alive():
                raise AssertionError("%s (%s) ended by itself:\n%s" % (
                    member.name, kind, member.log_tail(20000)))

    def status(self, n, timeout_s=2.0):
        answer, error = self.sides[n].call(raw.STATUS, b"", timeout_s)
        return None if error else rpc.StatusResponse.FromString(answer)

    def call(self, n, path, request, timeout_s=20.0):
        """Through member n, again while leadership is on its way; (answer, error)."""
        def attempt():
            self.check_alive()
            answer, error = self.sides[n].call(path, request.SerializeToString())
            return None if error and error[0] in PASSING else (answer, error)
        return wait_for(attempt, "%s through %s" % (path, self.members[n].name), timeout_s)

    def must(self, n, path, request, reply):
        answer, error = self.call(n, path, request)
        assert not error, "%s through %s (%s): %s" % (path, self.members[n].name, self.kinds[n], error)
        return reply.FromString(answer)

    # ── Who leads ────────────────────────────────────────────────────────────────────────────

    def leader(self):
        """Of all that are up: they agree on one, and it says so too; else None."""
        seen = [self.status(n) for n in range(len(self.members)) if self.members[n].alive()]
        ids = {s.leader if s else 0 for s in seen}
        if len(ids) != 1 or 0 in ids:
            return None
        at = [s.header.member_id for s in seen].index(ids.pop())
        return [n for n in range(len(self.members)) if self.members[n].alive()][at]

    def wait_leader(self):
        return wait_for(lambda: (lambda n: None if n is None else [n])(self.leader()), "a leader", 60)[0]

    def move(self, leader, target):
        """Asks the leader to hand over; one that cannot be asked is stopped, which hands over too."""
        status = self.status(target)
        request = rpc.MoveLeaderRequest(targetID=status.header.member_id) if status else None
        error = ("UNIMPLEMENTED", "")
        if request:
            _, error = self.sides[leader].call(raw.MOVE_LEADER, request.SerializeToString(), 5.0)
        if error and error[0] == "UNIMPLEMENTED":
            self.members[leader].stop()
            self.wait_leader()
            self.members[leader].start()
            self.members[leader].wait_healthy(60)

    def make_leader(self, target):
        for _ in range(12):
            leader = self.wait_leader()
            if leader == target:
                self.count("leaders")
                return
            self.move(leader, target)
        raise AssertionError("%s never led" % self.members[target].name)

    # ── What all must agree on ───────────────────────────────────────────────────────────────

    def applied(self):
        """The one applied index of all members; None while they differ."""
        answers = [self.sides[n].call(raw.STATUS, b"", 2.0)[0] for n in range(len(self.members))]
        indexes = {raw.number_of(a, APPLIED_INDEX) if a else None for a in answers}
        return indexes.pop() if len(indexes) == 1 else None

    def check_hashes(self, what):
        """Entries come without clients too (a version, attributes), so all three have to stand still
        at once."""
        wait_for(self.applied, "%s: one applied index on all members" % what, 60)
        newest = self.must(0, raw.HASH_KV, rpc.HashKVRequest(), rpc.HashKVResponse)
        compacted, current = newest.compact_revision, newest.header.revision
        revisions = {0, current, max(compacted, 1), max(compacted, (compacted + current) // 2),
                     max(compacted, current - 1), max(compacted, 1) + 1}
        for revision in sorted(r for r in revisions if r <= current):
            seen = {}
            for n, member in enumerate(self.members):
                answer, error = self.call(n, raw.HASH_KV, rpc.HashKVRequest(revision=revision))
                # A member of 3.4 refuses the compacted revision itself.
                if error and self.kinds[n] == "3.4" and revision == compacted:
                    continue
                assert not error, (what, member.name, self.kinds[n], revision, error)
                answer = rpc.HashKVResponse.FromString(answer)
                seen.setdefault((answer.hash, answer.compact_revision, answer.header.revision),
                                []).append("%s (%s)" % (member.name, self.kinds[n]))
            if len(seen) != 1 and revision == compacted:
                # What its compaction left is lost with a restart, and C is then another.
                continue
            assert len(seen) == 1, "%s: hashes of revision %d differ: %s" % (what, revision, seen)
            self.count("hashes")
        self.check_alive()

    def check_members(self):
        lists = set()
        for n in range(len(self.members)):
            reply = self.must(n, raw.MEMBER_LIST, rpc.MemberListRequest(), rpc.MemberListResponse)
            lists.add(tuple(sorted((m.ID, m.name, tuple(m.peerURLs), tuple(m.clientURLs))
                                   for m in reply.members)))
        assert len(lists) == 1, lists
        assert all(name and clients for _, name, _, clients in lists.pop())

    def versions(self):
        """The cluster version that all members name; None while they differ."""
        seen = set()
        for member in self.members:
            status, body = http_get("http://%s/version" % member.client)
            seen.add(json.loads(body)["etcdcluster"] if status == 200 else None)
        return seen.pop() if len(seen) == 1 else None


def lowest_version(kinds):
    return min("3.7" if k == "ours" else k for k in kinds)


# ── What is done under each leader ───────────────────────────────────────────────────────────


def through_each(mixed, what):
    """Writes through each member, each read through all."""
    for n in range(len(mixed.members)):
        key, value = b"each/%d" % n, ("%s through %d" % (what, n)).encode()
        mixed.must(n, raw.PUT, rpc.PutRequest(key=key, value=value), rpc.PutResponse)
        for reader in range(len(mixed.members)):
            reply = mixed.must(reader, raw.RANGE, rpc.RangeRequest(key=key), rpc.RangeResponse)
            assert len(reply.kvs) == 1 and reply.kvs[0].value == value, (what, n, reader, reply)
            mixed.count("reads")


def leases(mixed, what):
    """Granted through each member, with a key through the next, asked through the one after."""
    count = len(mixed.members)
    for n in range(count):
        lease = mixed.must(n, LEASE_GRANT, rpc.LeaseGrantRequest(TTL=600), rpc.LeaseGrantResponse)
        assert lease.ID > 0 and lease.TTL == 600, lease
        key = b"leased/%d" % n
        mixed.must((n + 1) % count, raw.PUT,
                   rpc.PutRequest(key=key, value=what.encode(), lease=lease.ID), rpc.PutResponse)

        def told():
            answer, error = mixed.call((n + 2) % count, LEASE_TIME_TO_LIVE,
                                       rpc.LeaseTimeToLiveRequest(ID=lease.ID, keys=True))
            assert not error, (what, n, error)
            reply = rpc.LeaseTimeToLiveResponse.FromString(answer)
            return reply if list(reply.keys) == [key] else None
        reply = wait_for(told, "the lease's key")
        assert 0 < reply.TTL <= 600 and reply.grantedTTL == 600, reply
        answers, error = mixed.sides[n].stream_of_one(
            LEASE_KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=lease.ID).SerializeToString())
        assert not error and rpc.LeaseKeepAliveResponse.FromString(answers[0]).TTL == 600, (error, answers)
        if n:
            mixed.must((n + 2) % count, LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease.ID),
                       rpc.LeaseRevokeResponse)
            reply = mixed.must(n, raw.RANGE, rpc.RangeRequest(key=key), rpc.RangeResponse)
            assert not reply.kvs, reply
        mixed.count("leases")


def is_fatal(request):
    """Compacted at its revision real etcd loses a key (see history.py)."""
    text = str(request)
    return "request_delete_range" in text and "request_put" in text


def reads_the_past(request):
    """A transaction that reads at a revision. Up to 3.6 a member through which it did not come leaves
    its reads out before it checks them, so that one which is refused there is applied elsewhere:
    etcd's own members then differ from one another."""
    if request.DESCRIPTOR.name == "RangeRequest":
        return request.revision != 0
    if request.DESCRIPTOR.name != "TxnRequest":
        return False
    ops = [op for op in itertools.chain(request.success, request.failure) if op.WhichOneof("request")]
    return any(reads_the_past(getattr(op, op.WhichOneof("request"))) for op in ops)


class Histories:
    """One random history that goes on under each leader, through members drawn at random."""

    def __init__(self, mixed, seed):
        self.mixed = mixed
        self.history = History(seed)
        self.random = random.Random(seed)
        self.never_compacted = {0}
        self.has_old = bool(set(mixed.kinds) - {"ours", "3.7"})

    def run(self, calls):
        history, mixed = self.history, self.mixed
        for _ in range(calls):
            name, request = history.next()
            if name == "Compact" and (request.revision in self.never_compacted or
                                      self.random.random() < 0.7):
                continue
            if name == "Txn" and self.has_old and reads_the_past(request):
                continue
            answer, error = mixed.call(self.random.randrange(len(mixed.members)), PATHS[name], request)
            mixed.count("calls")
            if error:
                mixed.count("errors")
                continue
            revision = raw.number_of(raw.number_of(answer, 1, b""), 3)
            history.revision = max(history.revision, revision)
            if name == "Txn" and is_fatal(request):
                self.never_compacted.add(revision)
            if name == "Compact":
                history.compacted = request.revision


def hostile_cases(mixed, n, suffix, seed, count):
    """All of them through a member of ours; through one of theirs those that its like in the cluster
    survives."""
    kind, others = mixed.kinds[n], set(mixed.kinds) - {"ours"}
    old, new = others - {"3.7"}, others & {"3.7"}
    left_out = set()
    if kind != "ours":
        left_out = (hostile.ONLY_OLD if new else set()) | (hostile.ONLY_NEW if old else set())
    bent = kind == "ours" or (kind != "3.4" and not (old and new))
    cases = hostile.cases(suffix)
    more = hostile.random_cases(seed, count, suffix, bent, 2 if kind == "3.4" else 3)
    for name, path, request in itertools.chain(cases, more):
        if path not in (raw.COMPACT, raw.RANGE, raw.HASH_KV) and name not in left_out:
            yield name, path, request


def run_hostile(mixed, what, seed, count):
    for n in range(len(mixed.members)):
        suffix = ("/%s/%d" % (what, n)).encode()
        for _, path, request in hostile_cases(mixed, n, suffix, seed + n, count):
            mixed.sides[n].call(path, request)
            mixed.count("hostile")
        mixed.check_alive()


def kill_one(mixed, victim):
    """While it is away the others go on; it comes back and has all."""
    member = mixed.members[victim]
    member.kill()
    other = (victim + 1) % len(mixed.members)

    def others():
        answer, error = mixed.sides[other].call(
            raw.PUT, rpc.PutRequest(key=b"away", value=member.name.encode()).SerializeToString(), 2.0)
        return not error
    wait_for(others, "writes while %s is away" % member.name)
    member.start()
    member.wait_healthy(60)
    reply = mixed.must(victim, raw.RANGE, rpc.RangeRequest(key=b"away"), rpc.RangeResponse)
    assert reply.kvs[0].value == member.name.encode()
    mixed.count("kills")


def first_of_each(kinds):
    return [kinds.index(kind) for kind in dict.fromkeys(kinds)]


def run_turn(mixed, histories, leader, number, args):
    what = "%d led by %s" % (number, mixed.kinds[leader])
    mixed.make_leader(leader)
    through_each(mixed, what)
    leases(mixed, what)
    histories.run(args.calls)
    mixed.make_leader(leader)
    run_hostile(mixed, what.replace(" ", "-"), args.seed + 1000 * number, args.hostile)
    mixed.check_hashes(what)
    # The leader itself and one follower of each other kind.
    for victim in dict.fromkeys([leader] + first_of_each(mixed.kinds)):
        kill_one(mixed, victim)
    mixed.check_hashes(what + ", after kills")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("build_dir")
    parser.add_argument("kinds")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--hostile", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    binaries = [binary_of(kind, args.ours, args.build_dir) for kind in kinds]
    with Cluster(binaries) as cluster:
        mixed = Mixed(cluster, kinds)
        lowest = lowest_version(kinds)
        wait_for(lambda: (mixed.versions() or "").startswith(lowest + "."),
                 "cluster version %s on all members" % lowest, 60)
        wait_for(lambda: mixed.applied() and not mixed.check_members(), "members' names everywhere")
        histories = Histories(mixed, args.seed)
        for number in range(args.rounds):
            for leader in first_of_each(kinds):
                run_turn(mixed, histories, leader, number, args)
        mixed.check_members()
    print("%s: %s" % (args.kinds, mixed.counts))
    return 0


if __name__ == "__main__":
    leave(main())
