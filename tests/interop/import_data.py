"""Data directories of another etcd, taken over: ours starts on what it has left, has the same hash,
members and leases, and goes on; a cluster is taken over member by member under writes; where it ran
again after us its newer data are taken over again, and ours is kept aside; what cannot be taken over
is refused by name, and nothing is changed.

    import_data.py ETCD BENCH ETCDCTL BUILD_DIR [VERSION…]     3.4 (Debian's), 3.5, 3.6, 3.7
"""
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
sys.path.insert(0, HERE)
from cluster import Cluster, skip, wait_for  # noqa: E402
from golang import build  # noqa: E402

ETCD, BENCH, CTL, BUILD_DIR = sys.argv[1:5]
VERSIONS = sys.argv[5:] or ["3.4", "3.5", "3.6", "3.7"]


def binary_of(version):
    """(path, "") or (None, why)."""
    if version == "3.4":
        path = "/usr/bin/etcd"
        return (path, "") if os.path.exists(path) else (None, "Debian's etcd is not installed")
    return build("etcd" + version.replace(".", ""), "member", BUILD_DIR)


def ctl(member, *args):
    done = subprocess.run([CTL, "--endpoints=" + member.client] + list(args),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, "%s: %s" % (args, done.stdout)
    return done.stdout


def hash_of(member, revision=0):
    answer = json.loads(ctl(member, "endpoint", "hashkv", "--rev=%d" % revision, "-w", "json"))
    found = answer[0]["HashKV"]
    return found["hash"], found.get("compact_revision", 0), found["header"]["revision"]


def members_of(member):
    answer = json.loads(ctl(member, "member", "list", "-w", "json"))
    return [(m["ID"], m["name"], m["peerURLs"], m["clientURLs"]) for m in answer["members"]]


def put_many(members, total):
    done = subprocess.run(
        [BENCH, "--endpoints=" + ",".join(m.client for m in members), "--total=%d" % total,
         "--warm-up=0", "--key-space=200", "--connections=2", "--streams=8"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def fill(member, total=2000):
    put_many([member], total)
    ctl(member, "del", "--prefix", "k/0")
    lease = ctl(member, "lease", "grant", "5000").split()[1]
    ctl(member, "put", "leased", "x", "--lease=" + lease)
    ctl(member, "compaction", str(hash_of(member)[2] // 2))
    for i in range(20):
        ctl(member, "put", "after", str(i))
    return lease


def log_holds(member, text):
    with open(member.log_path, errors="replace") as f:
        return text in f.read()


def stores(member):
    folder = os.path.join(member.dir, "member", "store")
    return sorted(os.listdir(folder)) if os.path.exists(folder) else []


def one_member(version, theirs):
    for kill in (False, True):
        with Cluster(theirs, 1, flags=["--snapshot-count=300"]) as cluster:
            m = cluster.members[0]
            lease = fill(m)
            before, members = hash_of(m), members_of(m)
            (m.kill if kill else m.stop)()
            m.binary = ETCD
            m.start()
            m.wait_healthy(60)
            assert hash_of(m) == before, "%r %r" % (before, hash_of(m))
            assert members_of(m) == members, members_of(m)
            assert log_holds(m, "took over the store of another etcd")
            left = json.loads(ctl(m, "lease", "timetolive", lease, "--keys", "-w", "json"))
            assert 4000 < left["ttl"] <= 5000 and len(left["keys"]) == 1, left
            put_many([m], 500)
            after = hash_of(m)
            m.kill()
            m.start()
            m.wait_healthy(60)
            assert hash_of(m) == after
            assert len(stores(m)) == 1, stores(m)


def ran_again(version, theirs):
    """There, here, there, here. Only where the other reads what ours has written meanwhile."""
    with Cluster(theirs, 1) as cluster:
        m = cluster.members[0]
        fill(m, 300)
        m.stop()
        m.binary = ETCD
        m.start()
        m.wait_healthy(60)
        put_many([m], 200)
        ours = hash_of(m)
        m.stop()
        m.binary = theirs
        m.start()
        m.wait_healthy(60)
        assert hash_of(m) == ours
        put_many([m], 200)
        before = hash_of(m)
        m.stop()
        m.binary = ETCD
        m.start()
        m.wait_healthy(60)
        assert hash_of(m) == before
        kept = [name for name in stores(m) if name.endswith(".aside")]
        assert len(kept) == 1 and len(stores(m)) == 2, stores(m)


def member_by_member(version, theirs):
    with Cluster(theirs, 3) as cluster:
        fill(cluster.members[0], 300)
        for m in cluster.members:
            m.stop()
            m.binary = ETCD
            m.start()
            m.wait_healthy(60)
            put_many(cluster.members, 200)

            def equal():
                return len({hash_of(other) for other in cluster.members}) == 1
            wait_for(equal, "equal hashes", 60)


def refused(version, theirs):
    with Cluster(theirs, 1) as cluster:
        m = cluster.members[0]
        fill(m, 300)
        m.stop()
        m.binary = ETCD
        db = os.path.join(m.dir, "member", "snap", "db")
        kept = m.dir + ".kept"
        shutil.copytree(m.dir, kept)

        def refuses(break_it, text):
            shutil.rmtree(m.dir)
            shutil.copytree(kept, m.dir)
            break_it()
            m.start()
            m.process.wait(30)
            assert m.process.returncode == 1, m.process.returncode
            assert log_holds(m, text), m.log_tail()
            assert not any(len(name) == 16 for name in stores(m)), stores(m)

        def broken_pages():
            with open(db, "r+b") as f:
                f.seek(2 * 4096)
                f.write(b"\xa5" * (os.path.getsize(db) - 3 * 4096))

        def no_log():
            shutil.rmtree(os.path.join(m.dir, "member", "wal"))

        def no_store():
            open(db, "wb").close()

        refuses(broken_pages, "of another etcd cannot be taken over")
        refuses(no_store, "of another etcd cannot be taken over")
        refuses(no_log, "no write-ahead log beside it")
        # And the one that nothing was done to is still taken.
        shutil.rmtree(m.dir)
        shutil.copytree(kept, m.dir)
        m.start()
        m.wait_healthy(60)


def main():
    tried = 0
    for version in VERSIONS:
        theirs, why = binary_of(version)
        if not theirs:
            print("%s: skipped: %s" % (version, why))
            continue
        tests = [one_member, member_by_member, refused]
        if version == "3.7":
            tests.append(ran_again)
        for test in tests:
            begin = time.monotonic()
            test(version, theirs)
            print("%s: %-18s %.1f s" % (version, test.__name__, time.monotonic() - begin))
        tried += 1
    if not tried:
        skip("no other etcd can be had")


if __name__ == "__main__":
    main()
