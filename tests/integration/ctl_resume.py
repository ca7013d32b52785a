#!/usr/bin/python3
"""Streams over three members of which each is killed or frozen in turn: a watch tells every change
once and in order, a lease that is kept alive lives on, a lock is held by one at a time.

    ctl_resume.py ETCDCTL [--etcd BINARY] [--rounds N]    (Debian's etcd unless named)
"""
import argparse
import signal
import sys
import threading

from cluster import Cluster, debian_etcd, wait_for
from ctl_streams import Live


class Writer(threading.Thread):
    """Puts n-th values of one key through all endpoints until told to stop; a put that failed is
    tried again with the same value, so that the values told are 0, 1, 2, … each at least once."""

    def __init__(self, ctl, endpoints):
        super().__init__(daemon=True)
        self.ctl, self.endpoints = ctl, endpoints
        self.over = threading.Event()
        self.written = 0

    def run(self):
        while not self.over.is_set():
            one = Live(self.ctl, self.endpoints, ["put", "counter", str(self.written)])
            if one.end()[0] == 0:
                self.written += 1


def values(watch):
    lines = watch.text().split("\n")
    return [int(lines[i + 2]) for i in range(0, len(lines) - 3, 3) if lines[i] == "PUT"]


class Watch:
    """One that a member without leader may end, as it may etcd's; then another takes its place."""

    def __init__(self, begin):
        self.begin = begin
        self.live = begin()

    def __getattr__(self, name):
        if self.live.process.poll() is not None:
            assert "etcdserver: no leader" in self.live.errors(), self.live.end()
            self.live = self.begin()
        return getattr(self.live, name)


def told_once(watch, count):
    got = values(watch)
    assert sorted(set(got)) == list(range(len(set(got)))), got
    assert got == sorted(got), got
    # A put whose answer was lost may have been done twice, each time at a revision of its own.
    return len(set(got)) >= count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcdctl")
    parser.add_argument("--etcd")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    with Cluster(args.etcd or debian_etcd(), 3) as cluster:
        endpoints = cluster.endpoints()

        def live(*words):
            return Live(args.etcdctl, endpoints, ["--keepalive-timeout=1s"] + list(words))

        def done(*words):
            code, out, err = live(*words).end(timeout_s=40)
            assert code == 0, (words, out, err)
            return out

        lease = done("lease", "grant", "15").split()[1]
        done("put", "leased", "1", "--lease=" + lease)
        keeper = live("lease", "keep-alive", lease)
        holder = live("lock", "the-lock", "--ttl=15")
        wait_for(lambda: holder.text(), "the lock is held")
        waiter = live("lock", "the-lock", "--ttl=15")
        # A write whose member is killed is not tried again: the place in the queue must be taken.
        wait_for(lambda: done("get", "the-lock/", "--prefix", "--keys-only").count("the-lock/") == 2,
                 "another waits for the lock")
        # Watches on each member, whichever it is; and the same events with their revisions.
        watches = [Watch(lambda: live("watch", "counter", "--rev=1")) for _ in range(6)]
        exact = Watch(lambda: live("watch", "counter", "--rev=1", "-w", "fields"))
        writer = Writer(args.etcdctl, endpoints)
        writer.start()
        for n in range(args.rounds):
            for member in cluster.members:
                begun = writer.written
                frozen = n % 2 == 1
                if frozen:
                    member.signal(signal.SIGSTOP)
                else:
                    member.kill()
                wait_for(lambda: writer.written > begun + 5, "writes go on", 60)
                at = writer.written
                for watch in watches:
                    wait_for(lambda: told_once(watch, at), "all is told without %s: %s" % (
                        member.name, watch.errors()), 60)
                if frozen:
                    member.signal(signal.SIGCONT)
                else:
                    member.start()
                member.wait_healthy()
        writer.over.set()
        writer.join(60)
        for watch in watches:
            wait_for(lambda: told_once(watch, writer.written), "all is told", 60)
        first = values(watches[0])
        for watch in watches:
            wait_for(lambda: values(watch) == first, "all watches tell the same")
            watch.end(signal.SIGTERM)
        wait_for(lambda: exact.text().count('"Key"') == len(first), "all with revisions")
        revisions = [int(l.split()[2]) for l in exact.text().split("\n") if "ModRevision" in l]
        assert revisions == sorted(set(revisions)), revisions
        exact.end(signal.SIGTERM)
        assert keeper.process.poll() is None, keeper.end()
        assert done("get", "leased") == "leased\n1\n"
        assert "remaining(" in done("lease", "timetolive", lease)
        keeper.end(signal.SIGTERM)
        assert holder.process.poll() is None, holder.end()
        assert not waiter.text(), waiter.text()
        assert holder.end(signal.SIGTERM)[0] == 0
        wait_for(lambda: waiter.text() or waiter.process.poll() is not None, "the lock is free: %s" %
                 done("get", "the-lock/", "--prefix"))
        assert waiter.text(), waiter.end()
        waiter.end(signal.SIGTERM)
        print("%d changes told to %d watches" % (len(first), len(watches) + 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
