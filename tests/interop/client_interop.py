#!/usr/bin/env python3
"""etcd's own Go client, its concurrency package included, against members of ours: every call, and
sessions, locks, elections and leases kept alive while members are killed or stand still.

    client_interop.py OURS BUILD_DIR [--clients N]
"""
import argparse
import random
import signal
import subprocess
import sys
import time

import golang
from cluster import Cluster

CALLS = "kv,watch,lease,maintenance,cluster,session,stm"
UNDER_KILLS = (("locks", 0.2), ("elections", 0.1), ("keepalive", 1.5))  # and pauses between kills


def finish(process, what):
    out = process.communicate(timeout=150)[0]
    print(out, end="", flush=True)
    assert process.returncode == 0, what


def start(program, cluster, parts, clients, seconds):
    return subprocess.Popen([program, cluster.endpoints(), parts, str(clients), str(seconds)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def under_kills(program, cluster, part, pause_s, clients, rng):
    """One member at a time is away; the leader as likely as another."""
    process = start(program, cluster, part, clients, 20)
    kills = 0
    while process.poll() is None:
        member = rng.choice(cluster.members)
        pause = time.monotonic() + pause_s
        while process.poll() is None and time.monotonic() < pause:
            time.sleep(0.02)
        if process.poll() is not None:
            break
        if pause_s > 1 and rng.random() < 0.4:  # longer than an election takes
            member.signal(signal.SIGSTOP)
            time.sleep(2.5)
            member.signal(signal.SIGCONT)
            member.wait_healthy()
        else:
            member.kill()
            member.start().wait_healthy()
        kills += 1
    finish(process, part)
    print("%s: %d members killed or stopped for a while" % (part, kills), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("build")
    parser.add_argument("--clients", type=int, default=60)
    args = parser.parse_args()
    program = golang.build_or_skip("client37", "client", args.build)
    with Cluster(args.ours, members=3) as cluster:
        finish(start(program, cluster, CALLS, args.clients, 0), "calls")
        rng = random.Random(1)
        for part, pause_s in UNDER_KILLS:
            under_kills(program, cluster, part, pause_s, args.clients, rng)
    return 0


if __name__ == "__main__":
    sys.exit(main())
