#!/usr/bin/python3
"""One member's disk stalls, fails and fills up; the cluster goes on and the member comes back.

    runtime_disk.py ETCD FAULT_LIBRARY
"""
import errno
import json
import sys
import time

from cluster import Cluster, http_get, wait_for
from runtime_fault import ALLOCATE, SYNC, WRITE, Fault
from runtime_load import Load, Stubs, code_of, grpc, leader_of, rpc

ELECTION_TIMEOUT_S = 1.0


def hashes_equal(members):
    seen = set()
    for member in members:
        answer = Stubs(member).maintenance.HashKV(rpc.HashKVRequest(), timeout=5)
        seen.add((answer.hash, answer.header.revision))
    return len(seen) == 1


def logged(member, message):
    with open(member.log_path, encoding="utf-8") as f:
        return [line for line in map(json.loads, f) if message in line["msg"]]


def stall(cluster, faults):
    members = cluster.members
    load = Load(members, threads=8).start()
    wait_for(lambda: load.done() > 300, "load")
    leader = wait_for(lambda: leader_of(members), "a leader")
    fault, stubs = faults[leader], Stubs(leader)
    begin = time.monotonic()
    fault.set(stall=SYNC | WRITE)

    def another():
        now = leader_of(members)
        return now if now is not leader else None
    heir = wait_for(another, "leadership with another", 5)
    took = time.monotonic() - begin
    term = Stubs(heir).status().raftTerm
    wait_for(lambda: http_get("http://%s/readyz" % leader.client)[0] == 503, "not ready", 2)
    assert "stalls" in http_get("http://%s/readyz" % leader.client)[1]
    assert http_get("http://%s/livez" % leader.client)[0] == 200
    assert code_of(lambda: stubs.get(b"load", serializable=True)) is None
    # Longer than elections take: the stalled one answers heartbeats and does not stand.
    wait_for(lambda: load.first_after(begin + 4 * ELECTION_TIMEOUT_S), "writes go on")
    assert fault.get("stalled") > 0
    assert stubs.status().raftTerm == Stubs(heir).status().raftTerm == term
    fault.clear()
    healed = time.monotonic()
    wait_for(lambda: http_get("http://%s/readyz" % leader.client)[0] == 200, "ready again", 5)
    gap = load.longest_gap(begin, healed)
    print("stalled disk: leadership moved after %.2f s, longest gap between writes %.3f s, "
          "ready %.2f s after" % (took, gap, time.monotonic() - healed))
    assert took < 2 * ELECTION_TIMEOUT_S + 0.5, took
    assert gap < 2 * ELECTION_TIMEOUT_S, gap
    load.stop()
    assert load.missing(Stubs(leader)) == 0
    assert logged(leader, "write-ahead log stalls") and logged(leader, "answers again")
    wait_for(lambda: hashes_equal(members), "equal hashes")


def fail(cluster, faults):
    member, other = cluster.members[0], Stubs(cluster.members[1])
    for call, what, number, text in (
            (WRITE, "write", errno.EIO, "input/output error"),
            (SYNC, "fdatasync", errno.EIO, "input/output error"),
            (WRITE, "write", errno.ENOSPC, "no space left on device")):
        faults[member].set(spare=3, fail_with=number, fail=call)
        for i in range(20):
            other.put(b"fail/%d" % i, b"v", timeout=10, wait=True)
        wait_for(lambda: not member.alive(), "its process has ended", 10)
        assert member.process.returncode == 1, member.process.returncode
        last = json.loads(member.log_tail().splitlines()[-1])
        assert last["level"] == "fatal" and last["what"] == what, last
        assert last["file"].startswith(member.dir) and last["file"].endswith(".wal"), last
        assert last["error"] == text, last
        faults[member].clear()
        member.start()
        member.wait_healthy()
    wait_for(lambda: hashes_equal(cluster.members), "equal hashes")


def fill(cluster, faults, part):
    """No new file can be made: of the log or of the store. Clients' writes are refused while raft
    goes on in the room there is."""
    member, other = cluster.members[0], Stubs(cluster.members[1])
    member.stop()
    faults[member] = Fault(member, faults[member].library, part)
    member.start()
    member.wait_healthy()
    faults[member].set(fail_with=errno.ENOSPC, fail=ALLOCATE)
    value = b"v" * 500000
    refusals = []

    def refused():
        seen = code_of(lambda: other.put(b"fill", value, timeout=10))
        if seen:
            refusals.append(seen)
        return seen
    wait_for(refused, "writes are refused", 30)
    assert refusals[-1][0] == grpc.StatusCode.RESOURCE_EXHAUSTED, refusals
    assert refusals[-1][1] == "etcdserver: mvcc: database space exceeded", refusals
    assert member.alive()
    assert "ALARM NOSPACE" in http_get("http://%s/health" % other_client(cluster))[1]
    index = other.status().raftIndex
    assert code_of(lambda: other.kv.DeleteRange(rpc.DeleteRangeRequest(key=b"none"),
                                                timeout=5)) is None
    wait_for(lambda: Stubs(member).status().raftIndex > index, "the full member follows")
    assert logged(member, "no room for")
    faults[member].clear()
    begin = time.monotonic()
    wait_for(lambda: code_of(lambda: other.put(b"fill", b"", timeout=10)) is None,
             "writes are taken again", 30)
    print("no room in %s: refused, and taken again %.1f s after there was room" % (
        part, time.monotonic() - begin))
    member.wait_healthy()


def other_client(cluster):
    return cluster.members[1].client


def main():
    binary, library = sys.argv[1:3]
    cluster = Cluster(binary, members=3)
    faults = {m: Fault(m, library, "/wal/") for m in cluster.members}
    with cluster:
        stall(cluster, faults)
        fail(cluster, faults)
        fill(cluster, faults, "/wal/")
        fill(cluster, faults, "/store/")
        wait_for(lambda: hashes_equal(cluster.members), "equal hashes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
