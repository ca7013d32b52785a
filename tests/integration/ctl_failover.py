#!/usr/bin/python3
"""etcdctl in front of three members of which some are dead, frozen or back; and the v2 API's
cluster-health and member list beside Debian's.

    ctl_failover.py ETCDCTL [--etcd BINARY]    (Debian's etcd unless named)
"""
import argparse
import os
import signal
import subprocess
import sys
import time

from cluster import Cluster, debian_etcd, debian_etcdctl, wait_for

TRIES = 6  # each begins with an endpoint of its own


def run(path, *words, api=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    if api:
        environment["ETCDCTL_API"] = api
    end = subprocess.run([path] + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, timeout=60, env=environment)
    return end.returncode, end.stdout.decode(), end.stderr.decode()


def all_work(ctl, cluster, tag):
    """Every command finds a member that serves, whichever it tries first."""
    for n in range(TRIES):
        key = "%s-%d" % (tag, n)
        for words, want in ((["put", key, "v"], "OK\n"), (["get", key], key + "\nv\n"),
                            (["del", key], "1\n")):
            got = run(ctl, "--endpoints", cluster.endpoints(), *words)
            assert got[:2] == (0, want), (tag, words, got)


def check_endpoints(ctl, cluster, dead):
    got = run(ctl, "--endpoints", cluster.endpoints(), "--command-timeout=1s", "endpoint", "health")
    assert got[0] == 1 and got[1].count(" is healthy: successfully committed proposal: took = ") == 2
    assert "%s is unhealthy: failed to commit proposal: context deadline exceeded\n" % dead.client \
        in got[2], got
    assert got[2].endswith("Error: unhealthy cluster\n"), got
    got = run(ctl, "--endpoints", cluster.endpoints(), "--command-timeout=1s", "endpoint", "status")
    assert got[0] == 1 and got[1].count("\n") == 2, got
    assert "Failed to get the status of endpoint %s (context deadline exceeded)" % dead.client \
        in got[2], got


def check_v2(ctl, theirs, cluster, verdict, code):
    """Ours as it should be, and where Debian's etcdctl asks Debian's etcd, the same lines."""
    endpoints = ",".join("http://" + m.client for m in cluster.members if m.alive())
    words = ["--endpoints", endpoints, "cluster-health"]
    for api in ("2", None):
        got = run(ctl, *words, api=api)
        assert got[0] == code and got[1].endswith(verdict + "\n"), (api, got)
    if theirs:
        other = run(theirs, *words, api="2")
        assert (got[0], sorted(got[1].split("\n"))) == (other[0], sorted(other[1].split("\n"))), \
            (got, other)
    words = ["--endpoints", endpoints, "member", "list"]
    got = run(ctl, *words, api="2")
    assert got[0] == 0 and got[1].count("\n") == 3 and got[1].count(" isLeader=true\n") == 1, got
    if theirs:
        other = run(theirs, *words, api="2")
        assert got[:2] == other[:2], (got, other)


def leader_known(ctl, cluster):
    return run(ctl, "--endpoints", cluster.endpoints(), "--command-timeout=1s", "get", "x")[0] == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcdctl")
    parser.add_argument("--etcd")
    args = parser.parse_args()
    ctl, theirs, flags = args.etcdctl, None, []
    if not args.etcd:
        theirs, flags = debian_etcdctl(), ["--enable-v2"]
    with Cluster(args.etcd or debian_etcd(), members=3, flags=flags) as cluster:
        all_work(ctl, cluster, "whole")
        check_v2(ctl, theirs, cluster, "cluster is healthy", 0)

        dead, frozen = cluster.members[0], cluster.members[1]
        dead.kill()
        wait_for(lambda: leader_known(ctl, cluster), "two of three serve")
        all_work(ctl, cluster, "killed")
        check_endpoints(ctl, cluster, dead)
        check_v2(ctl, theirs, cluster, "cluster is degraded", 5)
        dead.start().wait_healthy()

        frozen.signal(signal.SIGSTOP)
        wait_for(lambda: leader_known(ctl, cluster), "two of three serve")
        begin = time.monotonic()
        all_work(ctl, cluster, "frozen")
        assert time.monotonic() - begin < TRIES * 3 * 1.0, "a frozen member costs too much"
        frozen.signal(signal.SIGCONT)
        frozen.wait_healthy()
        all_work(ctl, cluster, "healed")
    print("failed over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
