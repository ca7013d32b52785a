#!/usr/bin/python3
"""Members of a running cluster come and go, with Debian's etcdctl at the controls.

    members.py ETCD [PART...]

PART is one of the functions below (all but churn where none is named): each starts a cluster of its own
and asserts what an operator would see. Load runs through them: what was acknowledged is there at the end, and all members hold the same.
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

from cluster import (Cluster, Member, debian_etcd, debian_etcdctl, free_ports, http_get, leave,
                     skip, wait_for)

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

CTL = debian_etcdctl()
HEALTHY_S = 5.0  # a connection that stands for so long counts as healthy


class Joiner(Member):
    """A member that is added to a cluster that runs."""

    def args(self):
        args = super().args()
        args[args.index("--initial-cluster-state") + 1] = "existing"
        return args


def ctl(member, *args):
    """(exit code, output, the error's text) of Debian's etcdctl."""
    endpoints = member if isinstance(member, str) else member.client
    done = subprocess.run([CTL, "--endpoints", endpoints, *args], capture_output=True, text=True,
                          env=dict(os.environ, ETCDCTL_API="3"), timeout=60)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return done.returncode, done.stdout.strip(), errors[-1][7:] if errors else ""


def ids(member):
    """Peer URL to (id in hex, name, is a learner), as the member lists them."""
    code, out, error = ctl(member, "member", "list")
    assert code == 0, error
    rows = [line.split(", ") for line in out.splitlines()]
    return {row[3]: (row[0], row[2], row[5] == "true") for row in rows}


def id_of(asked, member):
    return ids(asked)[member.peer_url][0]


def new_member(cluster, name, binary, kind=Joiner):
    return kind(cluster, name, binary, *free_ports(2))


def settled(call, what, done=lambda: False, timeout_s=60.0):
    """Retries what is refused while members have not been connected for long enough. What ended
    without an answer, as when its leader was killed, may have been done all the same."""
    def attempt():
        code, out, error = call()
        unknown = "timed out" in error or "deadline exceeded" in error
        assert code == 0 or unknown or error in (
            "etcdserver: unhealthy cluster",
            "etcdserver: re-configuration failed due to not enough started members",
            "etcdserver: can only promote a learner member which is in sync with leader"), error
        return code == 0 or (unknown and done())
    wait_for(attempt, what, timeout_s)


def add(cluster, asked, member, *flags):
    settled(lambda: ctl(asked, "member", "add", member.name, "--peer-urls", member.peer_url, *flags),
            "%s is added" % member.name, lambda: member.peer_url in ids(asked))
    cluster.members.append(member)


def remove(cluster, asked, member):
    gone = id_of(asked, member)
    settled(lambda: ctl(asked, "member", "remove", gone), "%s is removed" % member.name,
            lambda: member.peer_url not in ids(asked))
    cluster.members.remove(member)
    return gone


def wait_exit(member, timeout_s=10.0):
    code = member.process.wait(timeout_s)
    member.log.close()
    return code


def leader_of(members):
    for member in members:
        code, out, _ = ctl(member, "endpoint", "status", "-w", "json")
        if code == 0:
            status = json.loads(out)[0]["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return member
    return None


def stub(member):
    channel = grpc.insecure_channel(member.client, options=[
        ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200),
        ("grpc.use_local_subchannel_pool", 1)])
    return rpc.KVStub(channel), rpc.MaintenanceStub(channel)


def same_everywhere(members):
    """Hashes at one revision, which all have: writes may go on."""
    def check():
        seen = set()
        revision = 0
        for member in members:
            try:
                answer = stub(member)[1].HashKV(rpc.HashKVRequest(revision=revision), timeout=5)
            except grpc.RpcError:
                return False
            revision = revision or answer.header.revision
            seen.add(answer.hash)
        return len(seen) == 1
    wait_for(check, "the same on all members")


class Load(threading.Thread):
    """Writes keys one after the other, through whichever of the members answers."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.stopping = threading.Event()
        self.acknowledged = []
        self.longest_s = 0.0  # between two acknowledged writes

    def run(self):
        stubs = {}
        number, turn = 0, 0
        last = time.monotonic()
        while not self.stopping.is_set():
            members = list(self.cluster.members)
            member = members[turn % len(members)]
            kv = stubs.setdefault(member.client, stub(member))[0]
            try:
                kv.Put(rpc.PutRequest(key=b"load/%d" % number, value=b"v"), timeout=1,
                       wait_for_ready=True)
            except grpc.RpcError:
                turn += 1
                continue
            self.acknowledged.append(number)
            number += 1
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - last)
            last = now

    def mark(self):
        self.longest_s = 0.0

    def finish(self, member):
        self.stopping.set()
        self.join()
        def read():
            try:
                return stub(member)[0].Range(
                    rpc.RangeRequest(key=b"load/", range_end=b"load0", keys_only=True), timeout=20,
                    wait_for_ready=True)
            except grpc.RpcError:
                return None  # between two leaders, say
        keys = {kv.key for kv in wait_for(read, "the keys").kvs}
        missing = [n for n in self.acknowledged if b"load/%d" % n not in keys]
        assert not missing, "acknowledged and gone: %s" % missing[:10]
        assert len(self.acknowledged) > 100, len(self.acknowledged)


def metric(member, pattern):
    match = re.search("^%s (\\S+)$" % pattern, http_get("http://%s/metrics" % member.client)[1], re.M)
    return float(match.group(1)) if match else None


def grow_and_shrink(etcd):
    """From one member to five and back to one, under load; who is removed stops by itself."""
    with Cluster(etcd, 1) as cluster:
        first = cluster.members[0]
        load = Load(cluster)
        load.start()
        for i in range(1, 5):
            member = new_member(cluster, "m%d" % i, etcd)
            add(cluster, first, member)
            member.start()
            member.wait_healthy()
        assert len(ids(first)) == 5
        for member in cluster.members:
            wait_for(lambda: {name for _, name, _ in ids(member).values()} ==
                     {"m%d" % i for i in range(5)}, "%s knows all by name" % member.name)
        same_everywhere(cluster.members)
        while len(cluster.members) > 1:
            keep = cluster.members[-1]
            gone = cluster.members[0]
            load.mark()
            gone_id = remove(cluster, keep, gone)
            assert wait_exit(gone) == 0, gone.log_tail()
            assert '"the member has been permanently removed from the cluster"' in \
                gone.log_tail(1 << 20)
            assert metric(keep, 'etcd_network_known_peers\\{Local="[0-9a-f]+",Remote="%s"\\}' %
                          gone_id) == 0
            print("without %s: %d members, longest pause of writes %.2f s" % (
                gone.name, len(cluster.members), load.longest_s))
        load.finish(cluster.members[0])
        print("%d writes" % len(load.acknowledged))


def replace_dead(etcd):
    """One of three loses its disk: under its old id it is refused, in either state; removed and
    added anew it is one of three again."""
    with Cluster(etcd, 3) as cluster:
        load = Load(cluster)
        load.start()
        dead = cluster.members[0]
        other = cluster.members[1]
        wait_for(lambda: len(load.acknowledged) > 20, "load")
        old_id = id_of(other, dead)
        dead.kill()
        subprocess.run(["rm", "-r", dead.dir], check=True)
        for kind in (Member, Joiner):
            dead.__class__ = kind
            dead.start()
            assert wait_exit(dead) == 1
            assert '"member %s has already been bootstrapped"' % old_id in dead.log_tail(), \
                dead.log_tail()
        assert remove(cluster, other, dead) == old_id
        dead.__class__ = Joiner
        add(cluster, other, dead)
        assert id_of(other, dead) != old_id
        dead.start()
        dead.wait_healthy()
        wait_for(lambda: all(name for _, name, _ in ids(other).values()), "all are started")
        load.finish(dead)
        same_everywhere(cluster.members)
        # Its log is whole: it starts again by itself, whatever the state says.
        dead.stop()
        dead.__class__ = Member
        dead.start()
        dead.wait_healthy()


def learners(etcd):
    """Learners: as many as --max-learners says, of no use to clients but for local reads, promoted
    once they have caught up."""
    with Cluster(etcd, 1, flags=["--max-learners", "2"]) as cluster:
        first = cluster.members[0]
        for i in range(200):
            stub(first)[0].Put(rpc.PutRequest(key=b"k%d" % i, value=b"v"), timeout=5,
                               wait_for_ready=True)
        a, b, c = (new_member(cluster, name, etcd) for name in "abc")
        add(cluster, first, a, "--learner")
        add(cluster, first, b, "--learner")
        assert ctl(first, "member", "add", "c", "--learner", "--peer-urls", c.peer_url)[2] == \
            "etcdserver: too many learner members in cluster"
        assert ctl(first, "member", "promote", id_of(first, a))[2] == \
            "etcdserver: can only promote a learner member which is in sync with leader"
        a.start()
        b.start()
        for member in (a, b):
            wait_for(lambda: ids(first)[member.peer_url][1], "%s has started" % member.name)
            assert ctl(member, "get", "k7", "--consistency=s")[1] == "k7\nv"
            for call in (["get", "k7"], ["put", "k7", "w"], ["member", "list"], ["alarm", "list"],
                         ["lease", "grant", "10"]):
                error = ctl(member, *call)[2]
                assert "etcdserver: rpc not supported for learner" in error, (call, error)
            assert metric(member, "etcd_server_is_learner") == 1
            status = http_get("http://%s/readyz?verbose" % member.client)
            assert status[0] == 503 and "[-]non_learner failed" in status[1], status
            status = json.loads(ctl(member, "endpoint", "status", "-w", "json")[1])
            assert status[0]["Status"]["isLearner"] is True
        settled(lambda: ctl(first, "member", "promote", id_of(first, a)), "a is promoted")
        # b by way of a, which has to ask the leader.
        settled(lambda: ctl(a, "member", "promote", id_of(first, b)), "b is promoted")
        assert ctl(a, "member", "promote", id_of(first, b))[2] == \
            "etcdserver: can only promote a learner member"
        assert not any(learner for _, _, learner in ids(b).values())
        assert metric(first, "etcd_server_learner_promote_successes") == 2
        assert metric(first, 'etcd_server_learner_promote_failures\\{Reason="membership: can only '
                      'promote a learner member"\\}') == 1
        first.kill()
        wait_for(lambda: ctl(a, "put", "x", "1", "--command-timeout=2s")[0] == 0, "a write")
        same_everywhere([a, b])


def removed_while_down(etcd):
    """Who is removed while it is down hears of it when it comes back, and stops by itself."""
    with Cluster(etcd, 3) as cluster:
        gone, other, _ = cluster.members
        gone.kill()
        remove(cluster, other, gone)
        gone.start()
        begin = time.monotonic()
        assert wait_exit(gone) == 1
        assert time.monotonic() - begin < 5
        tail = gone.log_tail(1 << 20)
        for part in ('"server error","error":"the member has been permanently removed from the '
                     'cluster"', '"data-dir used by this member must be removed"',
                     '"listener failed","error":"server is stopping"'):
            assert part in tail, tail
        for member in cluster.members:
            assert member.healthy()


def leader_goes(etcd):
    """Leadership is moved, and a leader removes itself: no write waits for an election."""
    with Cluster(etcd, 3) as cluster:
        a, b, c = cluster.members
        load = Load(cluster)
        load.start()
        leader = wait_for(lambda: leader_of(cluster.members), "a leader")
        target = a if leader is not a else b
        everybody = cluster.endpoints()
        code, out, error = ctl(everybody, "move-leader", id_of(a, target))
        assert code == 0 and "Leadership transferred from" in out, (out, error)
        assert leader_of(cluster.members) is target
        follower = c if target is not c else b
        code, out, error = ctl(follower, "move-leader", id_of(a, follower))
        assert code != 0 and "no leader endpoint given" in error, error
        assert ctl(everybody, "move-leader", "1234")[2] == "etcdserver: bad leader transferee"
        for _ in range(2):
            time_left = wait_for(lambda: leader_of(cluster.members), "a leader")
            load.mark()
            remove(cluster, time_left, time_left)  # asked to remove itself
            assert wait_exit(time_left) == 0
            wait_for(lambda: len(load.acknowledged), "writes")
            print("without its leader: longest pause of writes %.2f s" % load.longest_s)
            if len(cluster.members) == 1:
                break
        load.finish(cluster.members[0])


def urls_change(etcd):
    """A member moves to another address: it is told to all, and all dial it there."""
    with Cluster(etcd, 3) as cluster:
        moved, other, third = cluster.members
        moved_id = id_of(other, moved)
        moved.stop()
        port = free_ports(1)[0]
        url = "http://127.0.0.1:%d" % port
        assert ctl(other, "member", "update", moved_id, "--peer-urls", third.peer_url)[2] == \
            "etcdserver: Peer URLs already exists"
        assert ctl(other, "member", "update", moved_id, "--peer-urls", url)[0] == 0
        moved.peer_url = moved.listen_peer_url = url
        moved.start()
        moved.wait_healthy()
        third.kill()
        wait_for(lambda: ctl(other, "put", "x", "1", "--command-timeout=2s")[0] == 0, "a write")
        same_everywhere([moved, other])


def alone_by_force(etcd):
    """Two of three are lost for good: the third goes on alone with what it has, and grows again."""
    with Cluster(etcd, 3) as cluster:
        kept = cluster.members[0]
        for i in range(50):
            stub(kept)[0].Put(rpc.PutRequest(key=b"k%d" % i, value=b"v"), timeout=5,
                              wait_for_ready=True)
        kept_id = id_of(kept, kept)
        for member in cluster.members:
            member.kill()
        del cluster.members[1:]
        cluster.flags.append("--force-new-cluster")
        kept.start()
        kept.wait_healthy()
        assert [row[0] for row in ids(kept).values()] == [kept_id]
        assert ctl(kept, "get", "k49")[1] == "k49\nv"
        assert ctl(kept, "put", "x", "1")[0] == 0
        cluster.flags.remove("--force-new-cluster")
        kept.stop()
        kept.start()
        kept.wait_healthy()
        member = new_member(cluster, "n", etcd)
        add(cluster, kept, member)
        member.start()
        member.wait_healthy()
        same_everywhere(cluster.members)


def joins_refused(etcd):
    """What etcd refuses of a member that would join, in its words."""
    with Cluster(etcd, 1) as cluster:
        first = cluster.members[0]
        stranger = new_member(cluster, "s", etcd)
        cluster.members.append(stranger)
        stranger.start()
        assert wait_exit(stranger) == 1
        assert "error validating peerURLs {ClusterID:" in stranger.log_tail()
        assert ": member count is unequal" in stranger.log_tail()
        assert ctl(first, "member", "add", "t", "--peer-urls", "http://127.0.0.1:1")[0] == 0
        stranger.start()
        assert wait_exit(stranger) == 1
        assert "PeerURLs: no match found for existing member (" in stranger.log_tail()
        first.kill()
        stranger.start()
        assert wait_exit(stranger) == 1
        assert "cannot fetch cluster info from peer urls: could not retrieve cluster information " \
            "from the given URLs" in stranger.log_tail()


def after_a_rest(etcd):
    """A cluster in which nothing has happened for a while answers whoever comes at the first try."""
    with Cluster(etcd, 1) as cluster:
        first = cluster.members[0]
        member = new_member(cluster, "n", etcd)
        add(cluster, first, member)
        time.sleep(11)  # the rest itself
        assert http_get(first.peer_url + "/members")[0] == 200
        time.sleep(11)
        member.start()
        member.wait_healthy()


def killed_while_joining(etcd):
    """A member that is killed as soon as it has a log of its own comes to the cluster all the same:
    whoever leads finds it."""
    with Cluster(etcd, 3) as cluster:
        first = cluster.members[0]
        for i in range(300):
            stub(first)[0].Put(rpc.PutRequest(key=b"k%d" % i, value=b"v" * 1000), timeout=5,
                               wait_for_ready=True)
        member = new_member(cluster, "n", etcd)
        add(cluster, first, member)
        log = os.path.join(member.dir, "member", "wal")
        for _ in range(4):
            member.start()
            wait_for(lambda: os.path.isdir(log), "it has a log")
            member.kill()
        member.start()
        member.wait_healthy()
        wait_for(lambda: ids(first)[member.peer_url][1], "it has started")
        same_everywhere(cluster.members)


def joins_by_snapshot(etcd):
    """Where the log does not reach back to the beginning any more, voters and learners get a
    snapshot; and those who came by one go on without the one who gave it."""
    flags = ["--snapshot-count", "100", "--snapshot-catchup-entries", "20"]
    with Cluster(etcd, 1, flags=flags) as cluster:
        first = cluster.members[0]
        kv = stub(first)[0]
        for i in range(1000):
            kv.Put(rpc.PutRequest(key=b"k%d" % i, value=b"v" * 500), timeout=5, wait_for_ready=True)
        voter, learner = new_member(cluster, "v", etcd), new_member(cluster, "l", etcd)
        add(cluster, first, voter)
        voter.start()
        voter.wait_healthy()
        add(cluster, first, learner, "--learner")
        learner.start()
        wait_for(lambda: ids(first)[learner.peer_url][1], "the learner has started")
        for member in (voter, learner):
            assert '"received and saved database snapshot"' in member.log_tail(1 << 20)
        settled(lambda: ctl(voter, "member", "promote", id_of(first, learner)), "it is promoted")
        remove(cluster, voter, first)
        assert wait_exit(first) == 0
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start()
        for member in cluster.members:
            member.wait_healthy()
        assert len(ids(learner)) == 2
        assert ctl(learner, "get", "k999", "--print-value-only")[1] == "v" * 500
        same_everywhere(cluster.members)


def churn(etcd):
    """Two of five are removed and added anew, round after round, while others are killed under load."""
    with Cluster(etcd, 3) as cluster:
        load = Load(cluster)
        load.start()
        anchors = list(cluster.members)
        coming = []
        for name in ("a0", "b0"):
            member = new_member(cluster, name, etcd)
            add(cluster, anchors[0], member)
            member.start()
            member.wait_healthy()
            coming.append(member)
        for turn in range(1, 6):
            victim = anchors[turn % 3]
            asked = anchors[(turn + 1) % 3]
            victim.kill()
            for i, old in enumerate(coming):
                victim.start() if i == 0 else victim.wait_healthy()
                remove(cluster, asked, old)
                assert wait_exit(old) == 0
                coming[i] = new_member(cluster, "ab"[i] + str(turn), etcd)
                add(cluster, asked, coming[i])
                coming[i].start()
                coming[i].wait_healthy()
        load.finish(coming[0])
        same_everywhere(cluster.members)
        print("%d writes, longest pause %.1f s" % (len(load.acknowledged), load.longest_s))


def mixed(base, joiner):
    """Two members of the one kind join one of the other, and go on without it."""
    with Cluster(base, 1) as cluster:
        first = cluster.members[0]
        load = Load(cluster)
        load.start()
        for name in ("j0", "j1"):
            member = new_member(cluster, name, joiner)
            add(cluster, first, member)
            member.start()
            member.wait_healthy()
            wait_for(lambda: ids(first)[member.peer_url][1], "%s has started" % name)
        same_everywhere(cluster.members)
        remove(cluster, cluster.members[1], first)
        assert wait_exit(first) == 0
        load.finish(cluster.members[0])
        same_everywhere(cluster.members)
        return len(load.acknowledged)


def debians_cluster(etcd):
    """Ours join a cluster of Debian's etcd 3.4 and take it over."""
    print("%d writes" % mixed(debian_etcd(), etcd))


PARTS = [grow_and_shrink, replace_dead, learners, removed_while_down, leader_goes, urls_change,
         alone_by_force, joins_refused, after_a_rest, killed_while_joining, joins_by_snapshot,
         debians_cluster, churn]


def main():
    etcd, names = sys.argv[1], sys.argv[2:]
    for part in PARTS:
        if part.__name__ in names or (not names and part is not churn):
            begin = time.monotonic()
            part(etcd)
            print("%s: %.1f s" % (part.__name__, time.monotonic() - begin))
    return 0


if __name__ == "__main__":
    leave(main())
