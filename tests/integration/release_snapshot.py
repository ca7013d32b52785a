"""A member that lacks what no log has any more is given the state: under load, over kills of the one
that receives and of the one that sends, and all members come to the same.

    release_snapshot.py ETCD BENCH [--quick]
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, wait_for  # noqa: E402

ETCD, BENCH = sys.argv[1:3]
QUICK = "--quick" in sys.argv
FLAGS = ["--snapshot-count=200", "--snapshot-catchup-entries=100"]
MEGABYTE = 1 << 20
VALUE_BYTES = 64 << 10
KEYS = 1500
PUTS = 3200  # three segments of the log and more


def put_many(members, total, value_bytes=VALUE_BYTES, keys=KEYS):
    done = subprocess.run(
        [BENCH, "--endpoints=" + ",".join(m.client for m in members), "--kind=put",
         "--total=%d" % total, "--warm-up=0", "--key-space=%d" % keys, "--connections=4",
         "--streams=8", "--value-bytes=%d" % value_bytes, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def ask(member, path, body):
    request = urllib.request.Request("http://%s%s" % (member.client, path),
                                     json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def hash_of(member):
    """(hash, at which revision), of whatever is newest there; None where it does not answer."""
    try:
        answer = ask(member, "/v3/maintenance/hashkv", {"revision": "0"})
        return answer["hash"], answer["header"]["revision"]
    except (OSError, ValueError):
        return None


def wait_equal(members, timeout_s=60):
    def equal():
        hashes = [hash_of(m) for m in members]
        return hashes[0] and all(h == hashes[0] for h in hashes) and hashes[0]
    return wait_for(equal, lambda: "equal hashes: %r; %s" % (
        [hash_of(m) for m in members], members[0].cluster.log_tails()), timeout_s)


def leader_of(members):
    for m in members:
        try:
            status = ask(m, "/v3/maintenance/status", {})
        except (OSError, ValueError):
            continue
        if status.get("leader") == status["header"]["member_id"]:
            return m
    return None


def store_dirs(member):
    return sorted(os.listdir(os.path.join(member.dir, "member", "store")))


def wal_bytes(member):
    wal = os.path.join(member.dir, "member", "wal")
    return sum(os.path.getsize(os.path.join(wal, name)) for name in os.listdir(wal)
               if name.endswith(".wal"))


def received_bytes(member):
    try:
        return os.path.getsize(os.path.join(member.dir, "member", "store", "received.tmp"))
    except OSError:
        return 0


def log_lines(member, text):
    with open(member.log_path, errors="replace") as f:
        return sum(text in line for line in f)


def a_log_is_let_go_of(cluster):
    """What is written is far more than what stays."""
    put_many(cluster.members, PUTS)
    for m in cluster.members:
        wait_for(lambda: wal_bytes(m) < 140 * MEGABYTE, "%s lets go of its log: %d MB" % (
            m.name, wal_bytes(m) // MEGABYTE))


def left_behind(cluster, member):
    """The member is down while the others write on, beyond what they keep."""
    others = [m for m in cluster.members if m is not member]
    # The one that is down may have led, and be named as the leader for a while yet.
    wait_for(lambda: leader_of(others), "one of the others leads", 30)
    put_many(others, PUTS)

    def let_go():
        """A member that was heard of a moment ago is still waited for, until more is written."""
        done = all(wal_bytes(m) < 140 * MEGABYTE for m in others)
        if not done:
            put_many(others, 300)
        return done
    wait_for(let_go, "the others let go of their logs", 60)
    return others


def assert_came_by_snapshot(member, before):
    assert log_lines(member, '"applied snapshot"') > before, member.log_tail()
    kept = store_dirs(member)
    assert len(kept) == 1 and len(kept[0]) == 16, "what is left: %r" % kept


def metrics_of(member):
    with urllib.request.urlopen("http://%s/metrics" % member.client, timeout=10) as answer:
        return answer.read().decode().splitlines()


def under_load(cluster):
    member = cluster.members[2]
    before = log_lines(member, '"applied snapshot"')
    member.kill()
    others = left_behind(cluster, member)
    reports = []
    load = threading.Thread(
        target=lambda: reports.append(put_many(others, 4000, value_bytes=256, keys=50000)))
    member.start()
    load.start()
    member.wait_healthy(60)
    load.join()
    assert reports and reports[0]["errors"] == 0, reports
    wait_equal(cluster.members)
    assert_came_by_snapshot(member, before)
    # Its second life in one process has the metrics of a first, each once.
    names = [line.rsplit(" ", 1)[0] for line in metrics_of(member) if not line.startswith("#")]
    assert len(names) > 200 and len(set(names)) == len(names), len(names)
    assert any(line.startswith("etcd_network_snapshot_receive_success") and line.endswith(" 1")
               for line in metrics_of(member)), "one snapshot was counted"
    # It is a member like any other: it starts again from what it has, and nothing is sent anew.
    before = log_lines(member, '"applied snapshot"')
    member.kill()
    member.start()
    member.wait_healthy(60)
    wait_equal(cluster.members)
    assert log_lines(member, '"applied snapshot"') == before


def killed_receiving(cluster):
    member = cluster.members[2]
    member.kill()
    left_behind(cluster, member)
    before = log_lines(member, '"applied snapshot"')
    hit = 0
    for goal in (8,) if QUICK else (1, 8, 24, 48):
        member.start()
        wait_for(lambda: received_bytes(member) > goal * MEGABYTE or member.healthy(),
                 "a snapshot arrives", 60)
        hit += received_bytes(member) > 0
        member.kill()
    member.start()
    member.wait_healthy(60)
    wait_equal(cluster.members)
    assert_came_by_snapshot(member, before)
    print("killed %d times while a snapshot arrived" % hit)


def killed_sending(cluster):
    leader = wait_for(lambda: leader_of(cluster.members), "a leader")
    member = next(m for m in cluster.members if m is not leader)
    before = log_lines(member, '"applied snapshot"')
    member.kill()
    left_behind(cluster, member)
    leader = wait_for(lambda: leader_of(cluster.members), "a leader")
    member.start()
    wait_for(lambda: received_bytes(member) > 8 * MEGABYTE or member.healthy(),
             "a snapshot arrives", 60)
    leader.kill()
    wait_for(lambda: leader_of([m for m in cluster.members if m is not leader]),
             "another leader", 60)
    member.wait_healthy(60)
    leader.start()
    leader.wait_healthy(60)
    wait_equal(cluster.members)
    assert_came_by_snapshot(member, before)


def stopped_meanwhile(cluster):
    """SIGTERM while a snapshot arrives ends the member as always, and in time."""
    member = cluster.members[1]
    member.kill()
    left_behind(cluster, member)
    member.start()
    wait_for(lambda: received_bytes(member) > 8 * MEGABYTE or member.healthy(),
             "a snapshot arrives", 60)
    took = member.stop(20)
    assert member.process.returncode == -signal.SIGTERM, member.process.returncode
    member.start()
    member.wait_healthy(60)
    wait_equal(cluster.members)
    print("stopped in %.2f s" % took)


def main():
    with Cluster(ETCD, 3, flags=FLAGS) as cluster:
        tests = [under_load, killed_receiving]
        if not QUICK:
            tests = [a_log_is_let_go_of] + tests + [killed_sending, stopped_meanwhile]
        for test in tests:
            begin = time.monotonic()
            test(cluster)
            print("%-20s %.1f s" % (test.__name__, time.monotonic() - begin))


if __name__ == "__main__":
    main()
