#!/usr/bin/python3
"""A member whose store was damaged on purpose, in a cluster of three: it is found, named, and the
alarm is raised; nothing is raised where nothing differs, or where no majority says who is wrong.

    corruption.py OURS
"""
import json
import sys
import time

from cluster import Cluster, http_get, skip, wait_for
from damage import damage_value
from quota import Client

try:
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

CORRUPT = 2


class Patient(Client):
    """Its member may just have come back."""

    def call(self, stub, name, request):
        result = None

        def once():
            nonlocal result
            result = super(Patient, self).call(stub, name, request)
            return not result[1] or result[1][0] != "UNAVAILABLE"
        wait_for(once, "%s is answered: %s" % (name, result), 20)
        return result


def values(client):
    for i in range(20):
        assert client.put(b"/v/%02d" % i, b"value-%02d" % i) is None


def compact(client):
    answer, error = client.call(client.kv, "Put", rpc.PutRequest(key=b"last", value=b"1"))
    assert not error, error
    answer, error = client.call(client.kv, "Compact", rpc.CompactionRequest(
        revision=answer.header.revision, physical=True))
    assert not error, error


def corrupt_members(client):
    answer, error = client.call(client.maintenance, "Alarm", rpc.AlarmRequest(action=0))
    assert not error, error
    return {a.memberID for a in answer.alarms if a.alarm == CORRUPT}


def member_id(client):
    return client.status().header.member_id


def leader_first(clients):
    leader = clients[0].status().leader
    return sorted(clients, key=lambda c: member_id(c) != leader)


def damage(member, key=b"/v/07", old=b"value-07", new=b"VALUE-07"):
    member.stop()
    damage_value(member.dir, key, old, new)
    member.start().wait_healthy()


def looks_at_all(cluster):
    """What leaders said that had compared everything and found all equal."""
    return [json.loads(line) for m in cluster.members for line in log_of(m).splitlines()
            if "finished corruption check" in line]


def log_of(member):
    with open(member.log_path, errors="replace") as f:
        return f.read()


def compactions_are_compared(ours):
    """The hash that a compaction leaves: always compared, here each second."""
    with Cluster(ours, members=3, flags=["--compact-hash-check-time", "1s"]) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        compact(clients[0])
        damaged = leader_first(clients)[1]  # a follower
        damage(damaged.member)
        assert corrupt_members(clients[0]) == set()
        # A member that has just started may still be repeating the compaction before, and then
        # leaves no hash of the next one.
        begin = time.monotonic()
        while not corrupt_members(clients[0]):
            assert time.monotonic() < begin + 40, "no alarm"
            compact(leader_first(clients)[0])
            time.sleep(1)
        for client in clients:
            wait_for(lambda: corrupt_members(client) == {member_id(damaged)}, "it is named", 10)
            assert client.put(b"k")[0] == "DATA_LOSS"
        wait_for(lambda: "this member's data differ" in log_of(damaged.member), "it says so", 10)
        for path in ("/readyz", "/readyz/data_corruption"):
            status, body = http_get("http://%s%s" % (clients[0].member.client, path))
            assert status == 503 and "data_corruption failed: alarm activated: CORRUPT" in body, body
        status, body = http_get("http://%s/livez" % clients[0].member.client)
        assert status == 200, body


def who_comes_back_is_looked_at(ours):
    """Nothing is set: the leader looks at all 10 s after one has come, and again 2 s later."""
    with Cluster(ours, members=3) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        compact(clients[0])
        values(clients[0])
        wait_for(lambda: looks_at_all(cluster), "the leader looks at all", 20)
        other, damaged = leader_first(clients)[1:]
        damaged.member.stop()
        damage_value(damaged.member.dir, b"/v/07", b"value-07", b"VALUE-07")
        assert other.put(b"while it is away") is None
        damaged.member.start().wait_healthy()
        begin = time.monotonic()
        identity = member_id(damaged)
        wait_for(lambda: corrupt_members(other) == {identity}, "it is named", 25)
        print("named after %.1f s" % (time.monotonic() - begin), flush=True)
        wait_for(lambda: "this member's data differ" in log_of(damaged.member), "it says so", 10)


def nothing_new_since_a_compaction(ours):
    """Members that still have what the compaction left, and others that have lost it."""
    with Cluster(ours, members=3, flags=["--corrupt-check-time", "1s"]) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        values(clients[0])
        compact(clients[0])
        first, second = leader_first(clients)[1:]
        for client in (first, second):
            client.member.stop()
            client.member.start().wait_healthy()

        def whole():
            return sum(look["number-of-members"] == 3 and
                       look["revision"] == look["compact-revision"]
                       for look in looks_at_all(cluster))
        before = whole()
        wait_for(lambda: whole() > before + 2, "all are compared", 20)
        assert corrupt_members(first) == set()
        damage(second.member)
        wait_for(lambda: corrupt_members(first) == {member_id(second)}, "it is named", 20)


def the_leader_itself_is_named(ours):
    """While only two run nobody can say who is wrong; the third decides against the leader."""
    with Cluster(ours, members=3, flags=["--corrupt-check-time", "1s"]) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        damaged, others = clients[2], clients[:2]
        for member in cluster.members:
            member.stop()
        damage_value(damaged.member.dir, b"/v/07", b"value-07", b"VALUE-07")
        damaged.member.start()
        for attempt in range(20):
            other, absent = others[attempt % 2].member, others[1 - attempt % 2].member
            other.start().wait_healthy()
            if wait_for(lambda: damaged.status().leader, "a leader") == member_id(damaged):
                break
            other.stop()
        assert corrupt_members(damaged) == set()
        absent.start().wait_healthy()
        wait_for(lambda: corrupt_members(damaged) == {member_id(damaged)}, "it is named", 30)


def two_of_two_are_not_judged(ours):
    """Who is wrong cannot be known: said, not raised."""
    with Cluster(ours, members=2, flags=["--corrupt-check-time", "1s"]) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        damage(clients[1].member)
        wait_for(lambda: any("none of them has a majority" in log_of(m) for m in cluster.members),
                 "it is said", 30)
        assert corrupt_members(clients[0]) == set()
        assert clients[0].put(b"k") is None


def healthy_members_are_left_alone(ours):
    """Under writes and compactions, with checks of everything all the time."""
    flags = ["--corrupt-check-time", "300ms", "--compact-hash-check-time", "200ms",
             "--experimental-initial-corrupt-check"]
    with Cluster(ours, members=3, flags=flags) as cluster:
        clients = [Patient(m) for m in cluster.members]
        for n in range(8):
            values(clients[n % 3])
            compact(clients[n % 3])
            if n in (3, 4, 5):
                member = clients[n - 3].member
                member.stop()
                member.start().wait_healthy()
                assert "initial corruption checking passed" in log_of(member)
        count = len(looks_at_all(cluster))

        def has_gone_on():
            values(clients[0])
            answer, error = clients[0].call(clients[0].kv, "DeleteRange", rpc.DeleteRangeRequest(
                key=b"/v/03", range_end=b"/v/07"))
            assert answer.deleted == 4, error
            looks = looks_at_all(cluster)[count:]
            return sum(look["went-on-from-revision"] > 0 for look in looks) > 3
        wait_for(has_gone_on, "hashes go on from those before", 20)
        compared = "finished compaction hash check"
        leader = leader_first(clients)[0]
        before = log_of(leader.member).count(compared)

        # One at a time: members keep the hashes of the last ten alone.
        for _ in range(10):
            compact(clients[0])
            try:
                wait_for(lambda: log_of(leader.member).count(compared) > before, "", 2)
                break
            except AssertionError:
                pass
        else:
            raise AssertionError("the leader does not compare")
        assert corrupt_members(clients[0]) == set()
        assert not any("differ" in log_of(m) for m in cluster.members)


def a_damaged_member_does_not_start(ours):
    with Cluster(ours, members=3,
                 flags=["--feature-gates", "InitialCorruptCheck=true"]) as cluster:
        clients = [Patient(m) for m in cluster.members]
        values(clients[0])
        identity = "%x" % member_id(clients[2])
        member = clients[2].member
        member.stop()
        damage_value(member.dir, b"/v/07", b"value-07", b"VALUE-07")
        member.start()
        assert member.process.wait(20) == 1
        assert "%s found data inconsistency with peers" % identity in log_of(member)
        # In a build that looks for it: it has left nothing behind.
        assert "LeakSanitizer" not in log_of(member), log_of(member)
        member.log.close()


def main():
    for test in (compactions_are_compared, who_comes_back_is_looked_at,
                 nothing_new_since_a_compaction, the_leader_itself_is_named,
                 two_of_two_are_not_judged, healthy_members_are_left_alone,
                 a_damaged_member_does_not_start):
        test(sys.argv[1])
        print("ok", test.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
