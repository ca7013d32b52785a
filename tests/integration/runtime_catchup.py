#!/usr/bin/python3
"""A follower that was away while many entries were written catches up out of the leader's log
files; the leader does not hold them in memory.

    runtime_catchup.py ETCD [--entries N] [--bytes N]
"""
import argparse
import struct
import sys
import threading
import time

from cluster import Cluster, wait_for
from runtime_load import (END_STREAM, HEADERS, WINDOW_UPDATE, RawConnection, Stubs, leader_of,
                          rpc)

PUT = b"/etcdserverpb.KV/Put"
KEYS = 1000       # overwritten again and again, so that the store stays small beside the log
BATCH_BYTES = 16 << 20


def put_many(member, count, value):
    """As fast as one connection takes them, so many at once that no window is filled."""
    batch = min(5000, BATCH_BYTES // len(value))
    for begin in range(0, count, batch):
        connection = RawConnection(member)
        connection.send(connection.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)))
        calls = b"".join(
            connection.call_bytes(PUT, rpc.PutRequest(key=b"key/%d" % (i % KEYS), value=value))
            for i in range(begin, min(begin + batch, count)))
        sender = threading.Thread(target=connection.send, args=(calls,))
        sender.start()
        ended = 0
        while ended < min(batch, count - begin):
            kind, flags, _, _ = connection.read_frame(30)
            ended += bool(kind == HEADERS and flags & END_STREAM)
        sender.join()
        connection.close()


def absence(cluster, count, value):
    members = cluster.members
    leader = wait_for(lambda: leader_of(members), "a leader")
    away = next(m for m in members if m is not leader)
    put_many(leader, 10000, value[:64])  # what warm buffers take
    away.kill()
    stubs = Stubs(leader)
    before = stubs.status().raftIndex
    begin = time.monotonic()
    put_many(leader, count, value)
    took = time.monotonic() - begin
    written = stubs.status().raftIndex - before
    assert written >= count, written
    # What is compared is not to be the index of a long history.
    stubs.kv.Compact(rpc.CompactionRequest(
        revision=stubs.get(b"none").header.revision, physical=True), timeout=30)
    base = peak = leader.memory_kib()
    begin = time.monotonic()
    away.start()
    target = stubs.status().raftIndex

    def caught_up():
        nonlocal peak
        peak = max(peak, leader.memory_kib())
        try:
            return Stubs(away).status(timeout=1).raftIndex >= target
        except Exception:  # not up yet
            return False
    wait_for(caught_up, "caught up", 60)
    print("%d entries of %d B written in %.1f s; caught up in %.1f s; leader's memory %d KiB, "
          "while it serves them %+d KiB" % (
              written, len(value), took, time.monotonic() - begin, base, peak - base))
    assert peak - base <= 48 << 10, peak - base

    def hashes_equal():
        return len({Stubs(m).maintenance.HashKV(rpc.HashKVRequest(), timeout=10).hash
                    for m in members}) == 1
    wait_for(hashes_equal, "equal hashes")
    for member in members:
        member.wait_healthy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("--entries", type=int, default=200000)
    parser.add_argument("--bytes", type=int, default=100 << 20)
    args = parser.parse_args()
    with Cluster(args.etcd, members=3) as cluster:
        absence(cluster, args.entries, b"v" * 16)
        absence(cluster, args.bytes // 15000, b"v" * 15000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
