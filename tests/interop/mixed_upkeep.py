#!/usr/bin/env python3
"""Members of etcd 3.6 and ours in one cluster: leases of either kept alive through either, and the
hashes of compactions and of everything agree, whichever kind leads and compares.

    mixed_upkeep.py OURS BUILD_DIR
"""
import random
import sys
import time

import golang
from cluster import Cluster, wait_for
from corruption import Patient, corrupt_members, log_of, member_id, values
from etcd3 import etcdrpc as rpc

FLAGS = ["--compact-hash-check-time", "1s", "--corrupt-check-time", "2s",
         "--feature-gates", "CompactHashCheck=true,InitialCorruptCheck=true"]
COMPARED = {True: "finished compaction hash check",  # by ours
            False: "successfully checked hash on whole cluster"}


def leases(clients):
    for a in clients:
        for b in clients:
            lease = a.call(a.lease, "LeaseGrant", rpc.LeaseGrantRequest(TTL=30))[0].ID
            b.put(b"leased", lease=lease)
            alive = next(iter(b.lease.LeaseKeepAlive(
                iter([rpc.LeaseKeepAliveRequest(ID=lease)]), timeout=10)))
            left, error = b.call(b.lease, "LeaseTimeToLive",
                                 rpc.LeaseTimeToLiveRequest(ID=lease, keys=True))
            assert alive.TTL == 30 and left.grantedTTL == 30 and list(left.keys) == [b"leased"]
            assert a.call(a.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))[1] is None


def let_lead(clients, binary):
    """Until a member of this kind leads."""
    def leader():
        leads = clients[0].status().leader
        return next((c for c in clients if member_id(c) == leads), None)
    for _ in range(30):
        present = wait_for(leader, "a leader", 20)
        if present.member.binary == binary:
            return present.member
        present.member.kill()
        present.member.start().wait_healthy()
    raise AssertionError("no member of %s comes to lead" % binary)


def compared(clients, leader, ours):
    """Writes and compacts until the leader has compared the hashes of all."""
    rng = random.Random(1)
    before = log_of(leader).count(COMPARED[ours])
    end = time.monotonic() + 40
    while log_of(leader).count(COMPARED[ours]) < before + 2:
        assert time.monotonic() < end, "%s has compared nothing:\n%s" % (leader.name, leader.log_tail())
        client = rng.choice(clients)
        values(client)
        client.call(client.kv, "DeleteRange", rpc.DeleteRangeRequest(key=b"/v/%02d" % rng.randint(0, 19)))
        revision = client.status().header.revision
        client.call(client.kv, "Compact", rpc.CompactionRequest(revision=revision, physical=True))
        time.sleep(0.5)
    assert corrupt_members(clients[0]) == set()


def main():
    ours, build = sys.argv[1:3]
    theirs = golang.build_or_skip("etcd36", "member", build)
    for members in ([theirs, theirs, ours], [ours, ours, theirs]):
        with Cluster(members, flags=FLAGS) as cluster:
            clients = [Patient(m) for m in cluster.members]
            for binary in (theirs, ours):
                leader = let_lead(clients, binary)
                leases(clients)
                compared(clients, leader, binary == ours)
                print("ok %d of ours, %s compares" % (
                    members.count(ours), "ours" if binary == ours else "etcd"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
