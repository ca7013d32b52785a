#!/usr/bin/python3
"""Under the thread sanitizer: both maps of roles to loops under mixed load, members killed, stopped
and started meanwhile. A report ends the member that met it and so fails the test.

    runtime_threads.py ETCD [--seconds N]
"""
import argparse
import os
import sys
import threading
import time

from cluster import Cluster, http_get, wait_for
from runtime_load import RawConnection, Stubs, grpc, rpc, threads_of

REPORT = "WARNING: ThreadSanitizer"


class Mixed(threading.Thread):
    def __init__(self, number, cluster, stop):
        super().__init__(daemon=True)
        self.number, self.cluster, self.stop = number, cluster, stop
        self.done = 0

    def calls(self, stubs, member, i):
        key = b"key/%d/%d" % (self.number, i % 300)
        everything = rpc.RangeRequest(key=b"key/", range_end=b"key0", serializable=bool(i % 2))
        last = stubs.put(key, b"v" * (40000 if i % 9 == 0 else 100))
        stubs.get(key)
        stubs.kv.Range(everything, timeout=5)
        if i % 5 == 0:
            stubs.kv.Txn(rpc.TxnRequest(success=[
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, prev_kv=True)),
                rpc.RequestOp(request_put=rpc.PutRequest(key=key + b"+", value=b"v")),
                rpc.RequestOp(request_range=everything)]), timeout=5)
        if i % 20 == 0 and last.header.revision > 200:
            stubs.kv.Compact(rpc.CompactionRequest(revision=last.header.revision - 100), timeout=5)
        if i % 4 == 0:
            stubs.status()
            stubs.maintenance.HashKV(rpc.HashKVRequest(), timeout=5)
            stubs.cluster.MemberList(rpc.MemberListRequest(), timeout=5)
            for page in "metrics", "health", "readyz", "version":
                http_get("http://%s/%s" % (member.client, page))
        if i % 6 == 0:  # leaves in the middle of a list
            raw = RawConnection(member, receive_buffer=4096)
            raw.call(b"/etcdserverpb.KV/Range", everything)
            raw.read_frame(5)
            raw.close()

    def run(self):
        all_stubs = [Stubs(m) for m in self.cluster.members]
        i = self.number
        while not self.stop.is_set():
            i += 1
            try:
                self.calls(all_stubs[i % 3], self.cluster.members[i % 3], i)
                self.done += 1
            except (grpc.RpcError, OSError, TypeError):
                pass  # its member is away


def check(member):
    with open(member.log_path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    at = text.find(REPORT)
    assert at < 0, text[at:at + 6000]


def run(binary, fronts, seconds):
    os.environ["CORACLE_FRONTS"] = str(fronts)
    with Cluster(binary, members=3) as cluster:
        stop = threading.Event()
        load = [Mixed(n, cluster, stop) for n in range(6)]
        for thread in load:
            thread.start()
        end = time.monotonic() + seconds
        turns = 0
        while time.monotonic() < end or turns < 3:
            member = cluster.members[turns % 3]
            done = sum(t.done for t in load)
            wait_for(lambda: sum(t.done for t in load) > done + 30, "load")
            assert member.alive(), "%s ended by itself:\n%s" % (member.name, member.log_tail(8000))
            if turns % 2:
                member.kill()
            else:
                member.stop(20)
                assert member.process.returncode == -15, member.log_tail(8000)
            member.start()
            member.wait_healthy(60)
            turns += 1
        names = threads_of(cluster.members[0])
        for member in cluster.members:  # all of them under load
            member.stop(20)
            assert member.process.returncode == -15, member.log_tail(8000)
        stop.set()
        for thread in load:
            thread.join()
        for member in cluster.members:
            check(member)
        print("fronts apart: %d; %d threads; %d rounds of calls, %d members ended and back" % (
            fronts, names, sum(t.done for t in load), turns))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    for fronts in 0, 2:
        run(args.etcd, fronts, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
