"""Snapshots between members of ours and of another etcd, either way: a member of the one that is far
behind gets the state of the other, goes on, and all have equal hashes.

    snapshot_mixed.py ETCD BENCH ETCDCTL BUILD_DIR [VERSION…]     3.4 (Debian's), 3.5, 3.6, 3.7
"""
import json
import os
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
sys.path.insert(0, HERE)
from cluster import Cluster, skip, wait_for  # noqa: E402
from golang import build  # noqa: E402

ETCD, BENCH, CTL, BUILD_DIR = sys.argv[1:5]
VERSIONS = sys.argv[5:] or ["3.4", "3.5", "3.6", "3.7"]
VALUE_BYTES = 32 << 10
PUTS = 5500  # of ours, three segments of the log
KEYS = 800
SMALL_PUTS = 16000  # more than 3.4 keeps for those that are behind
MEGABYTE = 1 << 20


def binary_of(version):
    """(path, "") or (None, why)."""
    if version == "3.4":
        path = "/usr/bin/etcd"
        return (path, "") if os.path.exists(path) else (None, "Debian's etcd is not installed")
    return build("etcd" + version.replace(".", ""), "member", BUILD_DIR)


def put_many(members, total, value_bytes, keys=KEYS):
    done = subprocess.run(
        [BENCH, "--endpoints=" + ",".join(m.client for m in members), "--total=%d" % total,
         "--warm-up=0", "--key-space=%d" % keys, "--connections=4", "--streams=16",
         "--value-bytes=%d" % value_bytes],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def ask(member, what, body):
    try:
        request = urllib.request.Request(
            "http://%s/v3/maintenance/%s" % (member.client, what), json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def hash_of(member):
    """(hash, revision) by gRPC, which all versions have; None where it does not answer."""
    done = subprocess.run([CTL, "--endpoints=" + member.client, "endpoint", "hashkv", "-w", "json"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
    if done.returncode:
        return None
    found = json.loads(done.stdout)[0]["HashKV"]
    return found["hash"], found["header"]["revision"]


def wait_equal(members, timeout_s=90):
    def equal():
        hashes = [hash_of(m) for m in members]
        return hashes[0] and all(h == hashes[0] for h in hashes)
    wait_for(equal, lambda: "equal hashes: %r; %s" % (
        [hash_of(m) for m in members], members[0].cluster.log_tails()), timeout_s)


def wait_leads(members):
    """They agree on a leader among themselves: what is asked for now is not lost with the old one."""
    ids = {}

    def leads():
        answers = [ask(m, "status", {}) for m in members]
        if not all(answers):
            return False
        ids.update((a["header"]["member_id"], a) for a in answers)
        return len({a.get("leader") for a in answers}) == 1 and answers[0].get("leader") in ids
    wait_for(leads, "a leader among %s" % ", ".join(m.name for m in members), 60)


def log_holds(member, text):
    with open(member.log_path, errors="replace") as f:
        return text in f.read()


FIRST_SEGMENT = "%016x-%016x.wal" % (0, 0)


def write_until_let_go(members):
    """Until neither has the log from its beginning any more: a member that was heard of a moment ago
    is still waited for."""
    def let_go():
        put_many(members, 300, VALUE_BYTES)
        return not any(os.path.exists(os.path.join(m.dir, "member", "wal", FIRST_SEGMENT))
                       for m in members)
    wait_for(let_go, "the log's beginning is let go of", 60)


def one_each_way(version, theirs):
    with Cluster([ETCD, ETCD, theirs], flags=["--snapshot-count=200"]) as cluster:
        ours, other, foreign = cluster.members
        put_many(cluster.members[:2], 100, 100)
        foreign.kill()
        wait_leads([ours, other])
        put_many([ours, other], PUTS, VALUE_BYTES)
        write_until_let_go([ours, other])
        foreign.start()
        foreign.wait_healthy(90)
        wait_equal(cluster.members)
        assert log_holds(ours, '"sent database snapshot"') or \
            log_holds(other, '"sent database snapshot"'), "no snapshot was sent"
        put_many(cluster.members, 200, 100)
        foreign.kill()
        foreign.start()
        foreign.wait_healthy(90)
        wait_equal(cluster.members)
    print("%s: it goes on from our snapshot" % version)
    with Cluster([theirs, theirs, ETCD], flags=["--snapshot-count=200"]) as cluster:
        foreign, other, ours = cluster.members
        put_many([foreign, other], 100, 100)
        ours.kill()
        wait_leads([foreign, other])
        put_many([foreign, other], SMALL_PUTS, 500)
        ours.start()
        ours.wait_healthy(90)
        wait_equal(cluster.members)
        assert log_holds(ours, '"applied snapshot"'), "no snapshot came"
        put_many(cluster.members, 200, 100)
        ours.kill()
        ours.start()
        ours.wait_healthy(90)
        wait_equal(cluster.members)
    print("%s: ours goes on from its snapshot" % version)


def main():
    tried = 0
    for version in VERSIONS:
        theirs, why = binary_of(version)
        if not theirs:
            print("%s: skipped: %s" % (version, why))
            continue
        begin = time.monotonic()
        one_each_way(version, theirs)
        print("%s: %.1f s" % (version, time.monotonic() - begin))
        tried += 1
    if not tried:
        skip("no other etcd can be had")


if __name__ == "__main__":
    main()
