#!/usr/bin/python3
"""A snapshot of a large store while writes go on: the member's memory does not grow with it, and
writers hardly notice.

    snapshot_large.py ETCD ETCDCTL BENCH [--keys N] [--seconds N] [--rounds N] [--other ETCD]

Rounds without and with snapshots take turns, since what else the machine does moves the figures too;
medians are compared. With --other the same is measured beside, for the figures in docs/backup.md.
"""
import json
import os
import statistics
import subprocess
import sys
import time

from cluster import Cluster

WRITES_A_SECOND = 2000
MEMORY_KIB = 64 * 1024


def option(name, default):
    return type(default)(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Load:
    """The load generator: keys 16 bytes, values 180."""

    def __init__(self, bench, member, keys, seconds):
        self.words = [bench, "--json", "--endpoints=" + member.client, "--connections=10",
                      "--streams=50", "--key-space=%d" % keys, "--value-bytes=180"]
        self.fill = ["--sequential", "--total=%d" % keys, "--warm-up=0"]
        self.steady = ["--rate=%d" % WRITES_A_SECOND, "--duration=%d" % seconds]

    def start(self, words):
        return subprocess.Popen(self.words + words, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def figures(process):
        told = json.loads(process.communicate()[0].strip().splitlines()[-1])
        assert process.returncode == 0 and told["errors"] == 0, told
        return told

    def p99_ms(self, process):
        return self.figures(process)["p99_us"] / 1000


class Saves:
    """Snapshots one after the other for as long as a process lives."""

    def __init__(self, ctl, member, path):
        self.member, self.path = member, path
        self.words = [ctl, "--endpoints", member.client, "snapshot", "save", path]
        self.seconds, self.grown_kib = [], 0

    def one(self):
        begin, before = time.monotonic(), self.member.memory_kib()
        save = subprocess.Popen(self.words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env=dict(os.environ, ETCDCTL_API="3"))
        while save.poll() is None:
            self.grown_kib = max(self.grown_kib, self.member.memory_kib() - before)
            time.sleep(0.01)
        assert save.returncode == 0
        self.seconds.append(time.monotonic() - begin)

    def beside(self, process):
        self.one()
        while process.poll() is None:
            self.one()


def old_one_stays_for_others(saves):
    """A save over a file leaves those who read the old one, or have another name of it, all of it."""
    size, other_name = os.path.getsize(saves.path), saves.path + ".kept"
    with open(saves.path, "rb") as reader:
        saves.one()
        assert os.fstat(reader.fileno()).st_size == size
    size = os.path.getsize(saves.path)
    os.link(saves.path, other_name)
    saves.one()
    assert os.path.getsize(other_name) == size
    os.unlink(other_name)


def measure(etcd, ctl, bench, keys, seconds, rounds):
    """(seconds of a save, bytes, memory grown in KiB, p99 without, p99 with)"""
    with Cluster(etcd, flags=["--quota-backend-bytes", str(8 << 30)]) as cluster:
        member = cluster.members[0]
        load = Load(bench, member, keys, seconds)
        Load.figures(load.start(load.fill))
        saves = Saves(ctl, member, os.path.join(cluster.dir, "large.db"))
        quiet, busy = [], []
        for _ in range(rounds):
            quiet.append(load.p99_ms(load.start(load.steady)))
            process = load.start(load.steady)
            saves.beside(process)
            busy.append(load.p99_ms(process))
        old_one_stays_for_others(saves)
        status = subprocess.run([ctl, "snapshot", "status", saves.path], capture_output=True,
                                text=True, env=dict(os.environ, ETCDCTL_API="3"))
        assert status.returncode == 0, status
        return (statistics.median(saves.seconds), os.path.getsize(saves.path), saves.grown_kib,
                statistics.median(quiet), statistics.median(busy))


def main():
    etcd, ctl, bench = sys.argv[1:4]
    keys, seconds, rounds = option("--keys", 300000), option("--seconds", 5), option("--rounds", 3)
    for binary in [etcd] + ([option("--other", "")] if "--other" in sys.argv else []):
        took, size, grown, p99_quiet, p99_busy = measure(binary, ctl, bench, keys, seconds, rounds)
        print("%s: %d keys, %.1f s for %d MB, memory +%.1f MB, p99 of puts %.1f ms, meanwhile "
              "%.1f ms" % (os.path.basename(binary), keys, took, size >> 20, grown / 1024,
                           p99_quiet, p99_busy))
        if binary == etcd:
            assert grown < MEMORY_KIB, "memory grew by %d KiB" % grown
            # A bound that a busy machine keeps; the figures are for people.
            assert p99_busy < 5 * p99_quiet + 1000


main()
