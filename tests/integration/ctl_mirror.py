#!/usr/bin/python3
"""make-mirror between two clusters of which members are killed meanwhile: at the end the destination
has just what the source has, under its own prefix.

    ctl_mirror.py ETCDCTL [--etcd BINARY]    (Debian's etcd unless named)
"""
import argparse
import json
import random
import signal
import subprocess
import sys

from cluster import Cluster, debian_etcd, wait_for
from ctl_streams import Live


def run(ctl, endpoints, *words, stdin=b""):
    """Again where it failed: a call that a dying leader had may have been lost."""
    def done():
        end = subprocess.run([ctl, "--endpoints", endpoints] + list(words), stdout=subprocess.PIPE,
                             input=stdin, stderr=subprocess.PIPE, timeout=60)
        return end if end.returncode == 0 else None
    return wait_for(done, "%s is done" % (words,), 60).stdout.decode()


def keys(ctl, endpoints, prefix):
    answer = json.loads(run(ctl, endpoints, "get", prefix, "--prefix", "-w", "json"))
    return {kv["key"]: kv.get("value", "") for kv in answer.get("kvs", [])}


def pairs(ctl, endpoints, prefix):
    lines = run(ctl, endpoints, "get", prefix, "--prefix").split("\n")
    return {lines[i][len(prefix):]: lines[i + 1] for i in range(0, len(lines) - 1, 2)}


def txn(ctl, endpoints, requests):
    lines = "\n" + "".join(r + "\n" for r in requests) + "\n\n"
    assert run(ctl, endpoints, "txn", stdin=lines.encode()).startswith("SUCCESS")


def mirror(ctl, etcd):
    rng = random.Random(1)
    with Cluster(etcd, 3) as source, Cluster(etcd, 3, token="other") as dest:
        a, b = source.endpoints(), dest.endpoints()
        for i in range(30):
            run(ctl, a, "put", "m/%02d" % rng.randrange(20), str(i))
        run(ctl, a, "put", "other", "not mirrored")
        run(ctl, b, "put", "n/stays", "there")
        # One endpoint as the destination is all that etcd's takes; ours gets a list.
        copy = Live(ctl, a, ["--keepalive-timeout=1s", "make-mirror", b, "--prefix", "m/",
                             "--dest-prefix", "n/", "--max-txn-ops", "4"])
        plain = Live(ctl, a, ["make-mirror", b, "--no-dest-prefix", "--prefix", "m/"])
        def same():
            assert copy.process.poll() is None, copy.end()
            want = dict(pairs(ctl, a, "m/"), stays="there")
            return pairs(ctl, b, "n/") == want
        wait_for(same, "the first copy")
        for n, dying in enumerate(source.members[:2] + dest.members[:2]):
            dying.kill()
            for i in range(20):
                if rng.random() < 0.3:
                    run(ctl, a, "del", "m/%02d" % rng.randrange(20))
                else:
                    run(ctl, a, "put", "m/%02d" % rng.randrange(20), "%d-%d" % (n, i))
            txn(ctl, a, ["put m/%02d t%d" % (k, n) for k in range(10)] + ["del m/%02d" % (10 + n)])
            wait_for(same, "the copy without %s" % dying.name, 60)
            dying.start()
            dying.wait_healthy()
        run(ctl, a, "del", "m/", "--prefix")
        wait_for(same, "all is gone")
        wait_for(lambda: not keys(ctl, b, "0") and not keys(ctl, b, "1"), "the one without prefix")
        for one in (copy, plain):
            assert one.process.poll() is None, one.end()
            one.end(signal.SIGTERM)
        revision = json.loads(run(ctl, a, "put", "r/1", "x", "-w", "json"))["header"]["revision"]
        run(ctl, a, "put", "r/2", "y")
        late = Live(ctl, a, ["make-mirror", b, "--prefix", "r/", "--rev", str(revision + 1)])
        wait_for(lambda: pairs(ctl, b, "r/") == {"2": "y"}, "only what came later")
        late.end(signal.SIGTERM)
        run(ctl, a, "compaction", str(revision))
        code, out, err = Live(ctl, a, ["make-mirror", b, "--prefix", "r/", "--rev", "2"]).end()
        assert code == 1 and err.endswith(
            "Error: etcdserver: mvcc: required revision has been compacted"), (code, out, err)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcdctl")
    parser.add_argument("--etcd")
    args = parser.parse_args()
    mirror(args.etcdctl, args.etcd or debian_etcd())
    print("mirrored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
