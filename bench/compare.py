#!/usr/bin/env python3
"""Runs the same work on our etcd and on another one in turn, on this machine, and prints a table.

    bench/compare.py [--quick] [--rounds N] [--groups one,three,…] [--ours BINARY]
                     [--other BINARY] [--bench BINARY] [--ctl BINARY] [--raw FILE]

Groups: one, three, list, idle, million are here; watch, lease, compaction, snapshot in live.py.
Each starts fresh members on loopback, with their directories on one filesystem, side by side
in time: ours, other, ours, other, … Figures are medians over the rounds. A load generator of ours
shares the machine with both; what it costs is printed too.
"""
import argparse
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from cluster import Cluster, http_get, wait_for  # noqa: E402
import live  # noqa: E402
from live import MEGABYTE_KIB  # noqa: E402


class Row:
    """One figure. goal: how ours may stand to the other's (a ratio), or in itself (limit)."""

    def __init__(self, key, name, unit, ratio=None, limit=None, more_is_better=False):
        self.key, self.name, self.unit = key, name, unit
        self.ratio, self.limit, self.more_is_better = ratio, limit, more_is_better

    def goal(self):
        if self.ratio is None and self.limit is None:
            return ""
        sign = "≥" if self.more_is_better else "≤"
        if self.limit is not None:
            return "%s %g %s" % (sign, self.limit, self.unit)
        return "%s %.3g ×" % (sign, self.ratio)

    def met(self, ours, other):
        if self.limit is not None:
            return ours >= self.limit if self.more_is_better else ours <= self.limit
        if self.ratio is None or other is None:
            return None
        want = other * self.ratio
        return ours >= want if self.more_is_better else ours <= want


ROWS = [
    Row("put_cpu", "Put, one member, 50 × 20, 256 B: CPU", "µs", ratio=1 / 5),
    Row("put_rate", "… throughput", "/s"),
    Row("put_p99", "… p99", "ms"),
    Row("range_cpu", "Range of one key, linearizable, 50 × 20: CPU", "µs", ratio=1 / 15),
    Row("range_rate", "… throughput", "/s"),
    Row("serial_cpu", "Range of one key, serializable, 50 × 20: CPU", "µs", ratio=1 / 15),
    Row("serial_rate", "… throughput", "/s"),
    Row("txn_cpu", "Txn (compare, put), one member, 50 × 20: CPU", "µs"),
    Row("mixed_cpu", "1 Put to 4 Ranges, one member, 50 × 20: CPU", "µs"),
    Row("three_rate", "Put, three members, 1,000 outstanding: throughput", "/s", ratio=5,
        more_is_better=True),
    Row("three_cpu", "… CPU of all three", "µs", ratio=1 / 5),
    Row("hundred_rate", "Put, three members, 100 outstanding: throughput", "/s", ratio=5,
        more_is_better=True),
    Row("hundred_p99", "… p99", "ms", ratio=1 / 3),
    Row("paced_p99", "Put, three members, 2,000 a second: p99", "ms", ratio=1 / 3),
    Row("paced_p50", "… p50", "ms"),
    Row("single_p50", "Put, three members, one at a time: p50", "ms", ratio=0.6),
    Row("single_cpu", "… CPU of all three", "µs", ratio=0.4),
    Row("list_cpu", "10,000 keys × 1 KiB listed: CPU a list", "ms", ratio=1 / 5),
    Row("list_memory", "… memory above base, 20 at once", "MB", limit=64),
    Row("million_memory", "1,000,000 keys (64 B, 256 B): memory not backed by files", "MB",
        limit=155),
    Row("million_restart", "… restart to healthy", "s", limit=0.5),
    Row("million_cpu", "… its CPU until then", "s"),
    Row("idle_memory", "Idle member: memory not backed by files", "MB", limit=5),
    Row("idle_start", "… start to healthy", "ms", limit=100),
    Row("idle_stop", "… stop", "ms", limit=50),
    Row("watch_one_rate", "One key, 10,000 watchers, 10 Puts a second: events a second of CPU", "/s",
        ratio=5, more_is_better=True),
    Row("watch_one_p99", "… p99 of an event after its Put", "ms", ratio=1 / 3),
    Row("watch_each_rate", "10,000 keys, a watcher each, 5,000 Puts a second: events a second of CPU",
        "/s", ratio=5, more_is_better=True),
    Row("watch_each_p99", "… p99 of an event after its Put", "ms", ratio=1 / 3),
    Row("watch_most_rate", "… with 1,000 Puts outstanding: events a second of CPU", "/s", ratio=5,
        more_is_better=True),
    Row("grant_rate", "Leases granted, 50 × 20: throughput", "/s"),
    Row("grant_cpu", "… CPU a grant", "µs", ratio=1 / 5),
    Row("expiry_late", "10,000 leases due at once: the last is gone after", "s"),
    Row("expiry_p99", "… p99 of 1,000 Puts a second meanwhile", "ms", ratio=1 / 3),
    Row("expiry_longest", "… the longest of them", "ms", limit=50),
    Row("compaction_time", "500,000 changes compacted to 100,000 in ten pieces: time", "s"),
    Row("compaction_moved", "… p99 of 2,000 Puts a second meanwhile / before", "×", limit=1.2),
    Row("compaction_longest", "… the longest of them", "ms", limit=50),
    Row("compaction_sync", "… the slowest sync of the log meanwhile, at most", "ms"),
    Row("snapshot_time", "Snapshot of 1,000,000 keys (64 B, 256 B): time", "s"),
    Row("snapshot_size", "… its size", "MB"),
    Row("snapshot_memory", "… the member's memory grows by", "MB", limit=64),
    Row("snapshot_moved", "… p99 of 2,000 Puts a second meanwhile / before", "×", limit=1.2),
    Row("snapshot_longest", "… the longest of them", "ms", limit=50),
    Row("snapshot_sync", "… the slowest sync of the log meanwhile, at most", "ms"),
]


class Bench:
    def __init__(self, args):
        self.binary = args.bench
        self.ctl = args.ctl
        self.seconds = 2 if args.quick else 5
        self.own_cpu_us = []

    def begin(self, members, **options):
        """A load on the members, which goes on by itself; end() gives its report."""
        options.setdefault("duration", self.seconds)
        options.setdefault("warm_up", 1)
        command = [self.binary, "--json",
                   "--endpoints=" + ",".join(m.client for m in members),
                   "--pids=" + ",".join(str(m.process.pid) for m in options.pop("watch", members))]
        for name, value in options.items():
            name = "--" + name.replace("_", "-")
            command.append(name if value is True else "%s=%s" % (name, value))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.member = members[0]
        return process

    def wait(self, process):
        output, errors = process.communicate(timeout=600)
        if process.returncode != 0:
            raise AssertionError("%s: %s\n%s\n%s" % (
                " ".join(process.args), errors, output, process.member.log_tail(500)))
        report = json.loads(output)
        self.own_cpu_us.append(report["own_cpu_us"])
        return report

    def end(self, process):
        """The report of what was measured up to now."""
        process.send_signal(signal.SIGINT)
        return self.wait(process)

    def run(self, members, **options):
        """One load on the members; its report."""
        return self.wait(self.begin(members, **options))


def healthy_since(member, begin, timeout_s=120):
    """Seconds from begin until the member says that it is healthy, asked each 2 ms."""
    host, port = member.client.split(":")
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    while True:
        now = time.monotonic()
        assert now - begin < timeout_s, "not healthy in time: " + member.log_tail()
        assert member.alive(), "ended: " + member.log_tail()
        try:
            with socket.create_connection((host, int(port)), 1) as s:
                s.sendall(request)
                answer = b""
                while True:
                    piece = s.recv(4096)
                    if not piece:
                        break
                    answer += piece
                if b"200 OK" in answer and b'"true"' in answer:
                    return time.monotonic() - begin
        except OSError:
            pass
        time.sleep(0.002)


def memory_kib(member):
    return member.memory_kib("RssAnon") + member.memory_kib("RssShmem")


def leader(cluster):
    def find():
        for m in cluster.members:
            status, text = http_get("http://%s/metrics" % m.client)
            if status == 200 and re.search(r"^etcd_server_is_leader 1", text, re.M):
                return m
        return None
    return wait_for(find, "a leader")


def group_one(binary, bench, quick):
    figures = {}
    with Cluster(binary, 1) as cluster:
        load = lambda **o: bench.run(cluster.members, **o)
        load(kind="put", sequential=True, total=10000, warm_up=0)
        # Reads first: what a long history costs the other's reads is no part of this figure.
        for key, options in (("range", {}), ("serial", {"serializable": True})):
            report = load(kind="range", **options)
            figures[key + "_cpu"] = report["cpu_us"]
            figures[key + "_rate"] = report["per_second"]
        put = load(kind="put")
        figures["put_cpu"] = put["cpu_us"]
        figures["put_rate"] = put["per_second"]
        figures["put_p99"] = put["p99_us"] / 1e3
        figures["txn_cpu"] = load(kind="txn")["cpu_us"]
        figures["mixed_cpu"] = load(kind="mixed")["cpu_us"]
    return figures


def group_three(binary, bench, quick):
    figures = {}
    with Cluster(binary, 3) as cluster:
        load = lambda **o: bench.run(cluster.members, kind="put", **o)
        report = load(connections=51, streams=20)
        figures["three_rate"] = report["per_second"]
        figures["three_cpu"] = report["cpu_us"]
        report = load(connections=9, streams=11)
        figures["hundred_rate"] = report["per_second"]
        figures["hundred_p99"] = report["p99_us"] / 1e3
        report = load(connections=9, streams=11, rate=2000)
        figures["paced_p99"] = report["p99_us"] / 1e3
        figures["paced_p50"] = report["p50_us"] / 1e3
        report = bench.run([leader(cluster)], watch=cluster.members, kind="put", connections=1,
                           streams=1)
        figures["single_p50"] = report["p50_us"] / 1e3
        figures["single_cpu"] = report["cpu_us"]
    return figures


def group_list(binary, bench, quick):
    figures = {}
    with Cluster(binary, 1) as cluster:
        load = lambda **o: bench.run(cluster.members, value_bytes=1024, **o)
        load(kind="put", sequential=True, total=10000, warm_up=0)
        lists = {"kind": "list", "list_keys": 10000, "connections": 2, "streams": 1}
        figures["list_cpu"] = load(**lists)["cpu_us"] / 1e3
    with Cluster(binary, 1) as cluster:
        load = lambda **o: bench.run(cluster.members, value_bytes=1024, **o)
        load(kind="put", sequential=True, total=10000, warm_up=0)
        base_kib = memory_kib(cluster.members[0])
        report = load(kind="list", list_keys=10000, connections=20, streams=1, warm_up=0,
                      sample_ms=10)
        figures["list_memory"] = (report["anon_kib_peak"] - base_kib) / MEGABYTE_KIB
    return figures


def group_idle(binary, bench, quick):
    cluster = Cluster(binary, 1)
    try:
        member = cluster.members[0]
        begin = time.monotonic()
        member.start()
        start_s = healthy_since(member, begin)
        time.sleep(2)  # what "idle" means here, not a wait for something
        memory = memory_kib(member) / MEGABYTE_KIB
        return {"idle_start": start_s * 1e3, "idle_memory": memory,
                "idle_stop": member.stop() * 1e3}
    finally:
        cluster.stop()


def group_million(binary, bench, quick):
    keys = 100000 if quick else 1000000
    with Cluster(binary, 1) as cluster:
        member = cluster.members[0]
        bench.run([member], kind="put", sequential=True, total=keys, key_space=keys, key_bytes=64,
                  warm_up=0)
        time.sleep(3)  # what it does behind the answers
        memory = memory_kib(member) / MEGABYTE_KIB
        member.stop(60)
        begin = time.monotonic()
        member.start()
        restart_s = healthy_since(member, begin)
        restart_cpu_s = member.cpu_seconds()
        report = bench.run([member], kind="range", key_space=keys, key_bytes=64, duration=1)
        assert report["answer_bytes"] > 320, "keys are missing after the restart"
        return {"million_memory": memory, "million_restart": restart_s,
                "million_cpu": restart_cpu_s}


GROUPS = {"one": group_one, "three": group_three, "list": group_list, "idle": group_idle,
          "million": group_million, **live.GROUPS}
ONCE = {"million", "snapshot"}  # minutes long


def fdatasync_us(directory):
    """The disk's part: the median of 200 appends of 4 KiB with fdatasync."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as f:
        os.posix_fallocate(f.fileno(), 0, 4096 * 200)
        os.fsync(f.fileno())
        for i in range(200):
            begin = time.monotonic()
            os.pwrite(f.fileno(), b"x" * 4096, i * 4096)
            os.fdatasync(f.fileno())
            times.append(time.monotonic() - begin)
    return statistics.median(times) * 1e6


def first_line(command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout.split("\n")[0]
    except OSError:
        return "unknown"


def cpu_model():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.machine()


def number(value):
    if value is None:
        return "–"
    if value >= 1000:
        return "{:,.0f}".format(value)
    return "%.3g" % value


def table(results, names):
    print("| work | %s | %s | ours / %s | goal | |" % (names["other"], names["ours"],
                                                      names["other"]))
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for row in ROWS:
        medians = {}
        for side in ("ours", "other"):
            values = [r[row.key] for r in results[side] if row.key in r]
            medians[side] = statistics.median(values) if values else None
        ours, other = medians["ours"], medians["other"]
        if ours is None and other is None:
            continue
        ratio = "%.3f" % (ours / other) if ours is not None and other else "–"
        met = row.met(ours, other) if ours is not None else None
        mark = "" if met is None else "met" if met else "**short**"
        print("| %s | %s %s | %s %s | %s | %s | %s |" % (
            row.name, number(other), row.unit, number(ours), row.unit, ratio, row.goal(), mark))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short loads, one round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--ours", default=os.path.join(ROOT, "build", "src", "cmd", "etcd"))
    parser.add_argument("--other", default="/usr/bin/etcd", help="empty: ours alone")
    parser.add_argument("--bench", default=os.path.join(
        ROOT, "build", "src", "cmd", "etcd-bench"))
    parser.add_argument("--ctl", default=os.path.join(ROOT, "build", "src", "cmd", "etcdctl"))
    parser.add_argument("--raw", help="writes every round's figures here, as JSON")
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 3)
    bench = Bench(args)
    binaries = {"ours": args.ours}
    if args.other:
        binaries["other"] = args.other
    results = {"ours": [], "other": []}
    failures = []
    for group in args.groups.split(","):
        for turn in range(1 if group in ONCE else rounds):
            for side, binary in binaries.items():
                print("%s, round %d: %s" % (group, turn + 1, side), file=sys.stderr)
                try:
                    results[side].append(GROUPS[group](binary, bench, args.quick))
                except AssertionError as e:
                    failures.append("%s, %s: %s" % (group, side, e))
                    print("  failed: %s" % e, file=sys.stderr)
    print("Machine: %s, %d cores, Linux %s; fdatasync of 4 KiB %.0f µs (median)." % (
        cpu_model(), os.cpu_count(), platform.release(), fdatasync_us(tempfile.gettempdir())))
    print("Other: %s. Medians of %d rounds, %d s each. The load generator's own CPU: %.1f µs a"
          " request (median over all loads).\n" % (
              first_line([args.other, "--version"]) if args.other else "none", rounds,
              bench.seconds, statistics.median(bench.own_cpu_us or [0])))
    if args.quick:
        print("Short (--quick): a tenth of the keys in million and snapshot, a fifth in compaction, "
              "3,000 leases.\n")
    table(results, {"ours": "ours", "other": "other"})
    for failure in failures:
        print("\nFailed: %s" % failure.split("\n")[0])
    if args.raw:
        with open(args.raw, "w") as f:
            json.dump(results, f, indent=1)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
