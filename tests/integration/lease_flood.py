#!/usr/bin/python3
"""Very many leases: what they cost, how fast they are granted, and how they all end at once while
others write.

    lease_flood.py OURS ETCD_BENCH [--leases N] [--members N] [--writers]
"""
import argparse
import json
import subprocess
import sys
import threading
import time

from cluster import Cluster, wait_for
from quota import Client
from etcd3 import etcdrpc as rpc


def bench(tool, endpoints, *options):
    done = subprocess.run([tool, "--endpoints=" + endpoints, "--json", "--warm-up=0"] + list(options),
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def alive(member):
    """How many leases there are."""
    return member.metric("etcd_debugging_lease_granted_total") - \
        member.metric("etcd_debugging_lease_revoked_total")


class Writer(threading.Thread):
    """Puts one after the other, and notes how long each took."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.client = Client(member)
        self.over = False
        self.times = []

    def run(self):
        while not self.over:
            begin = time.monotonic()
            error = self.client.put(b"w", b"x" * 100)
            assert not error, error
            self.times.append((begin, time.monotonic() - begin))

    def worst_ms(self, since):
        times = sorted(t for begin, t in self.times if begin >= since)
        return 1000 * times[len(times) * 99 // 100], 1000 * times[-1], len(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("bench")
    parser.add_argument("--leases", type=int, default=20000)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--ttl", type=int, default=20)
    parser.add_argument("--end-seconds", type=float, default=10)
    args = parser.parse_args()
    with Cluster(args.ours, members=args.members) as cluster:
        first = cluster.members[0]
        leader = next(m for m in cluster.members if m.metric("etcd_server_is_leader"))
        before = leader.memory_kib()
        begin = time.monotonic()
        report = bench(args.bench, leader.client, "--kind=grant", "--total=%d" % args.leases,
                       "--lease-ttl=%d" % args.ttl, "--connections=20", "--streams=20")
        granted = time.monotonic()
        count = leader.metric("etcd_debugging_lease_granted_total")
        assert count >= args.leases and not report["errors"], (count, report)
        args.leases = count  # some that the tool no longer counted were on their way
        cost = (leader.memory_kib() - before) * 1024 / args.leases
        print("%.0f leases granted in %.1f s, %.0f bytes of memory each" % (
            args.leases, granted - begin, cost), flush=True)
        writer = Writer(first)
        writer.start()
        # The first are due a TTL after the flood began, the last one after it ended.
        end = granted + args.ttl
        while alive(leader) == args.leases:
            assert time.monotonic() < end + args.end_seconds
            time.sleep(0.05)
        began = time.monotonic()
        assert began > begin + args.ttl - 1, "a lease ended %.1f s early" % (begin + args.ttl - began)
        wait_for(lambda: alive(leader) == 0, "all have ended",
                 max(1, end + args.end_seconds - time.monotonic()))
        over = time.monotonic()
        writer.over = True
        writer.join()
        p99, worst, puts = writer.worst_ms(began)
        print("all ended %.1f s after the last was due; %.1f s after the first; meanwhile %d puts, "
              "p99 %.1f ms, worst %.1f ms" % (over - end, over - began, puts, p99, worst), flush=True)
        assert puts > 10 and worst < 3000
        assert leader.metric("etcd_debugging_server_lease_expired_total") == args.leases
    return 0


if __name__ == "__main__":
    sys.exit(main())
