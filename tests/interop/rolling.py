#!/usr/bin/python3
"""A running cluster of etcd becomes one of ours, one member at a time, and goes back the same way.

    rolling.py ETCD BUILD_DIR KIND

Each step takes one member out, adds one of the other kind with an empty directory, which the rest
bring up to date with a snapshot, and then checks: equal hashes, all keys, a linearizable read
through each, writes through each. Ours run with --cluster-version-max, so that members of the old
version can come back.
"""
import argparse

import raw
from cluster import Cluster, Member, free_ports, leave, wait_for
from kv_history import rpc
from mixed import Mixed, binary_of, through_each

MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd"
MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove"
KEYS = 1500
# So that whoever joins cannot be brought up to date by entries.
SNAPSHOT_WORDS = ("applied snapshot", "received and saved database snapshot")
SNAPSHOTS = ["--snapshot-count=200", "--experimental-snapshot-catchup-entries=50"]


class Joiner(Member):
    """A member that joins a cluster that runs."""

    def __init__(self, cluster, name, binary, flags):
        client, peer = free_ports(2)
        super().__init__(cluster, name, binary, client, peer)
        self.flags = flags

    def args(self):
        line = [a for a in super().args()]
        line[line.index("--initial-cluster-state") + 1] = "existing"
        return line + self.flags


def flags_of(kind, version):
    if kind == "ours":
        return ["--snapshot-count=200", "--snapshot-catchup-entries=50",
                "--cluster-version-max=" + version]
    if kind == "3.7":
        return ["--snapshot-count=200", "--snapshot-catchup-entries=50"]
    if kind == "3.4":
        return ["--snapshot-count=200"]
    return list(SNAPSHOTS)


def fill(mixed, what):
    for n in range(KEYS // 3):
        mixed.must(n % len(mixed.members), raw.PUT,
                   rpc.PutRequest(key=b"%s/%d" % (what, n), value=b"v" * 200), rpc.PutResponse)


def replace(cluster, kinds, at, binary, kind, version, step):
    """The member at a place goes, another comes; a new Mixed of those who are there then."""
    mixed = Mixed(cluster, kinds)
    old = cluster.members[at]
    others = [n for n in range(len(kinds)) if n != at]
    mine = wait_for(lambda: mixed.status(at), "the status of who goes")
    mixed.must(others[0], MEMBER_REMOVE, rpc.MemberRemoveRequest(ID=mine.header.member_id),
               rpc.MemberRemoveResponse)
    old.kill()
    joiner = Joiner(cluster, "m%d-%d" % (at, step), binary, flags_of(kind, version))
    cluster.members[at] = joiner
    rest = Mixed(cluster, kinds)
    added = wait_for(
        lambda: (lambda answer: None if answer[1] else answer)(rest.sides[others[0]].call(
            MEMBER_ADD, rpc.MemberAddRequest(peerURLs=[joiner.peer_url]).SerializeToString())),
        "the cluster takes a new member", 60)
    assert added
    joiner.start()
    joiner.wait_healthy(60)
    kinds[at] = kind
    mixed = Mixed(cluster, kinds)
    wait_for(mixed.applied, "%s has what the others have" % joiner.name, 60)
    if version != "3.4":  # that keeps the newest 5,000 entries, whatever its flags say
        with open(joiner.log_path) as log:
            said = log.read()
        assert any(words in said for words in SNAPSHOT_WORDS), joiner.log_tail()
    return mixed


def check(mixed, what):
    through_each(mixed, what)
    mixed.check_hashes(what)
    wait_for(lambda: mixed.applied() and not mixed.check_members(), "names everywhere")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("build_dir")
    parser.add_argument("kind")
    args = parser.parse_args()
    version = args.kind
    theirs = binary_of(args.kind, args.ours, args.build_dir)
    kinds = [args.kind] * 3
    binaries = {args.kind: theirs, "ours": args.ours}
    with Cluster([theirs] * 3, flags=flags_of(args.kind, version)) as cluster:
        cluster.flags = []
        mixed = Mixed(cluster, kinds)
        wait_for(lambda: (mixed.versions() or "").startswith(version + "."), "cluster version", 60)
        step = 0
        for kind in ("ours", args.kind):
            for at in range(3):
                fill(mixed, b"step/%d" % step)
                mixed = replace(cluster, kinds, at, binaries[kind], kind, version, step)
                what = "step %d: %s" % (step, ",".join(kinds))
                check(mixed, what)
                assert mixed.versions().startswith(version + "."), mixed.versions()
                print(what, mixed.counts, flush=True)
                step += 1
    return 0


if __name__ == "__main__":
    leave(main())
