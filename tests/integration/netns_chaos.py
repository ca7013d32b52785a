#!/usr/bin/python3
"""Three members in network namespaces of their own, with real links between them that lose packets
one way or both; members are killed, stopped, given a wrong clock, a disk whose nth call fails and
one that is full. Nothing acknowledged is lost, no read is stale, all end up the same.

    netns_chaos.py ETCD DISK_FAULT_LIBRARY [--seed N] [--rounds N]

Needs root, network namespaces, iptables and mounts; what is not permitted is skipped and counted.
"""
import argparse
import atexit
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from chaos import Client, Writer, hashes, leader_of, rpc
from cluster import Cluster, Member, skip, wait_for
from runtime_fault import SYNC, WRITE, Fault

PREFIX = "cor%d" % os.getpid()
NET = "10.91.0.%d"


def run(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def must(*command):
    done = run(*command)
    if done.returncode != 0:
        skip("%s: %s" % (" ".join(command), done.stderr.strip()))


def net_up(prefix, count):
    """A bridge in a namespace of its own, where the clients are, and one namespace a member."""
    hub = prefix + "hub"
    must("ip", "netns", "add", hub)
    atexit.register(run, "ip", "netns", "del", hub)
    must("ip", "-n", hub, "link", "set", "lo", "up")
    must("ip", "-n", hub, "link", "add", "name", "hub0", "type", "bridge")
    must("ip", "-n", hub, "addr", "add", NET % 100 + "/24", "dev", "hub0")
    must("ip", "-n", hub, "link", "set", "hub0", "up")
    for i in range(count):
        space = "%sm%d" % (prefix, i)
        must("ip", "netns", "add", space)
        atexit.register(run, "ip", "netns", "del", space)
        must("ip", "-n", hub, "link", "add", "p%d" % i, "type", "veth", "peer", "name", "eth", "netns",
             space)
        must("ip", "-n", hub, "link", "set", "p%d" % i, "master", "hub0", "up")
        must("ip", "-n", space, "addr", "add", NET % (i + 1) + "/24", "dev", "eth")
        must("ip", "-n", space, "link", "set", "eth", "up")
        must("ip", "-n", space, "link", "set", "lo", "up")
        must("ip", "netns", "exec", space, "iptables", "-L", "-n")


class NetMember(Member):
    def __init__(self, cluster, number, binary, prefix, library):
        super().__init__(cluster, "m%d" % number, binary, 2379, 2380)
        self.space = "%sm%d" % (prefix, number)
        self.address = NET % (number + 1)
        self.client = self.address + ":2379"
        self.peer_url = self.listen_peer_url = "http://%s:2380" % self.address
        self.fault = Fault(self, library, part=self.name + ".data")

    def args(self):
        return ["ip", "netns", "exec", self.space] + super().args()

    def rule(self, change, chain, flag, other):
        must("ip", "netns", "exec", self.space, "iptables", change, chain, flag, other.address, "-j",
             "DROP")


class Chaos:
    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.members = cluster.members
        self.client = Client(self.members)
        self.counts = {}

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def victim(self):
        leader = leader_of(self.client, self.members)
        return leader if leader and self.chance.random() < 0.7 else self.chance.choice(self.members)

    def drop(self, ways):
        """The fault lasts for longer than an election takes."""
        victim = self.victim()
        others = [m for m in self.members if m is not victim]
        rules = [(chain, flag, other) for other in others
                 for chain, flag in (("OUTPUT", "-d"), ("INPUT", "-s")) if chain in ways]
        for rule in rules:
            victim.rule("-A", *rule)
        time.sleep(self.chance.uniform(2.0, 3.5))
        for rule in rules:
            victim.rule("-D", *rule)

    def kill(self):
        victim = self.victim()
        victim.kill()
        victim.start()

    def stop(self):
        victim = self.victim()
        victim.signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(1.5, 3.0))
        victim.signal(signal.SIGCONT)

    def fail_nth_call(self):
        """The member ends itself at the failed call, as it must, and comes back without the fault."""
        victim = self.victim()
        victim.fault.set(fail_with=errno.EIO, spare=self.chance.randrange(40),
                         fail=self.chance.choice((WRITE, SYNC)))
        wait_for(lambda: not victim.alive(), "%s ends at a failed call" % victim.name)
        victim.fault.clear()
        victim.start()

    def wrong_clock(self):
        self.victim().fault.set(clock_ns=self.chance.choice((-3600, 3600, 86400)) * 10**9)

    def full_disk(self):
        """A member whose data lies on a small disk of its own: full, with room again."""
        victim = self.members[2]
        victim.kill()
        held = victim.dir + ".held"
        os.rename(victim.dir, held)
        os.mkdir(victim.dir)
        size = sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(held) for f in files)
        mounted = run("mount", "-t", "tmpfs", "-o", "size=%d" % (size + (160 << 20)), "tmpfs", victim.dir)
        if mounted.returncode != 0:
            os.rmdir(victim.dir)
            os.rename(held, victim.dir)
            victim.start()
            self.count("not permitted: mount")
            return
        atexit.register(run, "umount", "-l", victim.dir)
        shutil.copytree(held, victim.dir, dirs_exist_ok=True)
        shutil.rmtree(held)
        victim.start()
        victim.wait_healthy()
        with open(os.path.join(victim.dir, "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(b"x" * (1 << 20))
                    filler.flush()
            except OSError:
                pass
        time.sleep(2.0)
        os.unlink(os.path.join(victim.dir, "filler"))
        if not victim.alive():  # no room for what it had begun: it ends, and comes back
            victim.process.wait()
            victim.start()

    def disarm(self):
        for stub in self.client.maintenance:
            try:
                for alarm in stub.Alarm(rpc.AlarmRequest(action=0), timeout=2).alarms:
                    stub.Alarm(rpc.AlarmRequest(action=2, memberID=alarm.memberID, alarm=alarm.alarm),
                               timeout=2)
                return True
            except Exception:  # pylint: disable=broad-except
                continue
        return False

    def all_healthy(self):
        for member in self.members:
            if not member.alive():
                raise AssertionError("%s ended by itself:\n%s" % (member.name, member.log_tail()))
        return self.disarm() and all(m.healthy() for m in self.members)

    def round(self, number):
        kinds = [("one way, out", lambda: self.drop(("OUTPUT",))),
                 ("one way, in", lambda: self.drop(("INPUT",))),
                 ("killed", self.kill), ("full disk", self.full_disk), ("nth call fails", self.fail_nth_call),
                 ("stopped", self.stop), ("wrong clock", self.wrong_clock),
                 ("both ways", lambda: self.drop(("INPUT", "OUTPUT")))]
        what, do = kinds[number % len(kinds)]
        do()
        self.count(what)
        wait_for(self.all_healthy, "round %d (%s): all healthy" % (number, what), 60)


def inside(args):
    chance = random.Random(args.seed)
    stop = threading.Event()
    cluster = Cluster(args.etcd, members=3)
    cluster.members = [NetMember(cluster, i, args.etcd, args.inside, args.library) for i in range(3)]
    with cluster:
        chaos = Chaos(cluster, chance)
        writers = [Writer(i, cluster.members, stop) for i in range(4)]
        for writer in writers:
            writer.start()
        for number in range(args.rounds):
            chaos.round(number)
            if stop.is_set():
                break
            done = sum(w.acknowledged for w in writers)
            wait_for(lambda: stop.is_set() or sum(w.acknowledged for w in writers) > done + 10,
                     "round %d: writes go on" % number, 60)
        stop.set()
        for writer in writers:
            writer.join()
        errors = [w.error for w in writers if w.error]
        wait_for(lambda: hashes(chaos.client, cluster.members), "equal hashes on all members", 60)
        missing = 0
        for writer in writers:
            there = chaos.client.kv[0].Range(rpc.RangeRequest(
                key=writer.prefix, range_end=writer.prefix[:-1] + b"0", keys_only=True), timeout=10)
            keys = {kv.key for kv in there.kvs}
            missing += sum(1 for n in writer.kept if writer.prefix + b"%d" % n not in keys)
        print("%s; %d writes acknowledged, %d reads checked, %d calls failed, %d acknowledged missing" % (
            ", ".join("%s %d" % item for item in sorted(chaos.counts.items())),
            sum(len(w.kept) for w in writers), sum(w.reads for w in writers),
            sum(w.failed for w in writers), missing))
        for error in errors:
            print("stale or lost:", error)
        return 1 if missing or errors else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("library")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--inside", help="the namespaces' prefix; for the call that this one makes")
    args = parser.parse_args()
    if args.inside:
        return inside(args)
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("iptables"):
        skip("needs root, ip and iptables")
    net_up(PREFIX, 3)
    again = ["ip", "netns", "exec", PREFIX + "hub", sys.executable] + sys.argv + ["--inside", PREFIX]
    return subprocess.run(again).returncode


if __name__ == "__main__":
    sys.exit(main())
