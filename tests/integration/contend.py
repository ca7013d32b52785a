#!/usr/bin/python3
"""The services for locks and elections: step by step the same as another etcd's, and many clients
who contend while members are killed.

    contend.py OURS [--other BINARY] [--clients N] [--rounds N]
"""
import argparse
import queue
import random
import threading
import time

import grpc

from cluster import Cluster, debian_etcd, leave, wait_for
from contend_rpc import Contend
from quota import Client
from etcd3 import etcdrpc as rpc


def grant(client, lease, ttl=60):
    answer, error = client.call(client.lease, "LeaseGrant", rpc.LeaseGrantRequest(ID=lease, TTL=ttl))
    assert not error, error
    return answer.ID


def keys(client, prefix):
    answer, error = client.call(client.kv, "Range", rpc.RangeRequest(
        key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1])))
    assert not error, error
    return [(kv.key, kv.value, kv.create_revision, kv.mod_revision) for kv in answer.kvs]


def revision(client):
    return client.call(client.kv, "Range", rpc.RangeRequest(key=b"k"))[0].header.revision


def waits(future, client, prefix, count):
    """Its key is there, and it is not answered."""
    wait_for(lambda: len(keys(client, prefix)) == count, "%d keys at %r" % (count, prefix), 10)
    return not future.done()


def locks(c, client, say, ours):
    for lease in (10, 11, 12, -5):
        grant(client, lease)
    a, error = c.call("Lock", name=b"l", lease=10)
    say("lock", error, a.key, a.header.revision)
    a, error = c.call("Lock", name=b"l", lease=10)
    say("the same once more", error, a.key, a.header.revision)
    second = c.begin("Lock", name=b"l", lease=11)
    say("a second waits", waits(second, client, b"l/", 2))
    third = c.begin("Lock", name=b"l", lease=-5)
    say("a third too", waits(third, client, b"l/", 3), keys(client, b"l/"))
    fourth = c.begin("Lock", name=b"l", lease=12)
    say("a fourth", waits(fourth, client, b"l/", 4))
    fourth.cancel()
    wait_for(lambda: len(keys(client, b"l/")) == 3, "who gives up takes its key away", 10)
    a, error = c.call("Unlock", key=b"l/a")
    say("unlock", error, a.header.revision)
    a, error = c.end(second)
    say("the second has it", error, a.key, a.header.revision, third.done())
    a, error = c.call("Unlock", key=b"l/a")
    say("unlock what is gone", error, a.header.revision)
    client.call(client.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=11))
    a, error = c.end(third)
    say("a lease that ends unlocks", error, a.key, a.header.revision)
    say("unlock without a key", c.call("Unlock", key=b"")[1])
    say("an unknown lease", c.call("Lock", name=b"m", lease=77)[1])
    a, error = c.call("Lock", name=b"", lease=12)
    say("no name", error, a.key)
    a, error = c.call("Lock", name=b"own", lease=0)
    lease = keys(client, b"own/")[0]
    ttl, error2 = client.call(client.lease, "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(
        ID=int(a.key.split(b"/")[1], 16)))
    say("a lease of the server's", error, lease[0] == a.key, ttl.grantedTTL)
    # Whose lease ends while it waits: it hears of that when its turn comes.
    grant(client, 13)
    grant(client, 14)
    c.call("Lock", name=b"e", lease=13)
    waiter = c.begin("Lock", name=b"e", lease=14)
    say("it waits", waits(waiter, client, b"e/", 2))
    client.call(client.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=14))
    client.call(client.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=13))
    if ours:  # 3.4 says that it has the lock
        error = c.end(waiter)[1]
        assert error == ("UNKNOWN", "mutex: session is expired"), error
    timed = c.begin("Lock", timeout=1, name=b"l", lease=12)
    say("out of time", c.end(timed)[1][0])
    wait_for(lambda: len(keys(client, b"l/")) == 1, "its key is gone", 10)
    say("left", [k[0] for k in keys(client, b"l/")])


def key_of(leader):
    return leader.name, leader.key, leader.rev, leader.lease


def elections(c, client, say):
    for lease in (20, 21, 22):
        grant(client, lease)
    say("no leader", c.call("Leader", name=b"v")[1])
    say("proclaim without a leader", c.call("Proclaim", value=b"x")[1])
    say("resign without a leader", c.call("Resign")[1])
    observed = queue.Queue()
    stream = c.observe(b"v")

    def observe():
        try:
            for answer in stream:
                observed.put((answer.header.revision, answer.kv.key, answer.kv.value,
                              answer.kv.mod_revision))
        except grpc.RpcError:
            pass
    threading.Thread(target=observe, daemon=True).start()
    a, error = c.call("Campaign", name=b"v", lease=20, value=b"one")
    first = a.leader
    say("campaign", error, key_of(first), a.header.revision)
    say("observed", observed.get(timeout=10)[1:])
    a, error = c.call("Leader", name=b"v")
    say("leader", error, a.kv.key, a.kv.value, a.header.revision)
    a, error = c.call("Campaign", name=b"v", lease=20, value=b"one")
    say("again with the same value", error, key_of(a.leader), a.header.revision)
    a, error = c.call("Campaign", name=b"v", lease=20, value=b"uno")
    say("again with another", error, key_of(a.leader), a.header.revision)
    say("observed", observed.get(timeout=10))
    second = c.begin("Campaign", name=b"v", lease=21, value=b"two")
    say("a second waits", waits(second, client, b"v/", 2))
    a, error = c.call("Proclaim", leader=first, value=b"ein")
    say("proclaim", error, a.header.revision)
    say("observed", observed.get(timeout=10))
    wrong = c.leader_key(name=b"v", key=first.key, rev=first.rev + 1, lease=20)
    say("proclaim who is not", c.call("Proclaim", leader=wrong, value=b"x")[1])
    a, error = c.call("Resign", leader=wrong)
    say("resign who is not", error, a.header.revision, len(keys(client, b"v/")))
    say("proclaim without a key", c.call("Proclaim", leader=c.leader_key(lease=20), value=b"")[1])
    third = c.begin("Campaign", name=b"v", lease=22, value=b"three")
    say("a third waits", waits(third, client, b"v/", 3))
    third.cancel()
    wait_for(lambda: len(keys(client, b"v/")) == 2, "who gives up takes its key away", 10)
    a, error = c.call("Resign", leader=first)
    say("resign", error, a.header.revision)
    a, error = c.end(second)
    say("the second leads", error, key_of(a.leader), a.header.revision)
    say("observed", observed.get(timeout=10)[1:])
    client.call(client.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=21))
    say("nobody leads", c.call("Leader", name=b"v")[1])
    a, error = c.call("Campaign", name=b"v", lease=22, value=b"")
    say("an empty value", error, key_of(a.leader))
    say("observed", observed.get(timeout=10)[1:])
    say("nothing else was observed", observed.empty())
    stream.cancel()
    a, error = c.call("Campaign", name=b"w", lease=0, value=b"x")
    ttl, error2 = client.call(client.lease, "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(
        ID=a.leader.lease))
    say("a lease of the server's", error, ttl.grantedTTL)


def gateway(client, say):
    """The same by JSON."""
    import base64
    import json
    import urllib.request

    def post(path, **fields):
        body = json.dumps(fields).encode()
        try:
            with urllib.request.urlopen("http://%s%s" % (client.member.client, path), body, 10) as r:
                return r.status, json.loads(r.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read()).get("message")

    def b64(text):
        return base64.b64encode(text).decode()
    grant(client, 30)
    status, a = post("/v3/lock/lock", name=b64(b"g"), lease=30)
    say("lock", status, a["key"])
    say("unlock", post("/v3/lock/unlock", key=a["key"])[0])
    status, a = post("/v3/election/campaign", name=b64(b"h"), lease="30", value=b64(b"v"))
    say("campaign", status, a["leader"]["key"], a["leader"]["name"], a["leader"]["lease"])
    say("proclaim", post("/v3/election/proclaim", leader=a["leader"], value=b64(b"w"))[0])
    url = "http://%s/v3/election/observe" % client.member.client
    with urllib.request.urlopen(url, json.dumps({"name": b64(b"h")}).encode(), 10) as r:
        say("observe", json.loads(r.readline())["result"]["kv"]["value"])
    status, b = post("/v3/election/leader", name=b64(b"h"))
    say("leader", status, b["kv"]["value"])
    say("resign", post("/v3/election/resign", leader=a["leader"])[0])
    say("no leader", post("/v3/election/leader", name=b64(b"h")))
    say("an unknown lease", post("/v3/lock/lock", name=b64(b"g"), lease=99))
    url = "http://%s/v3/lease/keepalive" % client.member.client
    for body in (b'{"ID":30}', b'{"ID":30} {"ID":"31"}\n{"ID":30}', b""):
        with urllib.request.urlopen(url, body, 10) as r:
            say("keep alive", [(a["result"]["ID"], a["result"].get("TTL"))
                               for a in map(json.loads, r.read().splitlines())])
    say("older paths", post("/v3/kv/lease/timetolive", ID=30)[0], post("/v3/kv/lease/leases")[0],
        post("/v3/kv/lease/revoke", ID=30)[0])


def facts_of(binary, ours):
    facts = []

    def say(*fact):
        facts.append(fact)
    with Cluster(binary) as cluster:
        client = Client(cluster.members[0])
        c = Contend(cluster.members[0].client)
        locks(c, client, say, ours)
        elections(c, client, say)
        gateway(client, say)
    return facts


def compare(ours, other):
    a, b = facts_of(other, False), facts_of(ours, True)
    assert len(a) == len(b), (len(a), len(b))
    bad = [(x, y) for x, y in zip(a, b) if x != y]
    for x, y in bad:
        print("theirs %s\nours   %s" % (x, y))
    assert not bad
    print("ok %d facts" % len(a))


class Contender(threading.Thread):
    """Takes the lock, holds it for a moment, lets it go; at another member after each failure."""

    def __init__(self, test, number):
        super().__init__(daemon=True)
        self.test = test
        self.number = number
        self.at = number
        self.turns = 0
        self.failure = None

    def run(self):
        try:
            while self.turns < self.test.rounds and not self.test.over.is_set():
                self.turns += self.turn()
        except BaseException as e:  # for who joins
            self.failure = e

    def turn(self):
        test = self.test
        member = test.cluster.members[self.at % len(test.cluster.members)]
        c = test.clients[member.name]
        answer, error = c.call("Lock", timeout=30, name=b"one", lease=test.leases[self.number])
        if error:
            self.at += 1
            time.sleep(0.02)
            return 0
        held = test.enter(self.number)
        time.sleep(0.001)
        test.leave(self.number, held)
        while not test.over.is_set():
            member = test.cluster.members[self.at % len(test.cluster.members)]
            if not test.clients[member.name].call("Unlock", timeout=10, key=answer.key)[1]:
                break
            self.at += 1
        return 1


class Contention:
    """A lock of one holder at a time, whatever happens to members."""

    def __init__(self, cluster, clients, rounds):
        self.cluster = cluster
        self.rounds = rounds
        self.over = threading.Event()
        self.mutex = threading.Lock()
        self.holder = None
        self.order = []
        first = Client(cluster.members[0])
        self.leases = [grant(first, 1000 + i, 600) for i in range(clients)]
        self.clients = {m.name: Contend(m.client) for m in cluster.members}

    def enter(self, number):
        with self.mutex:
            assert self.holder is None, "%s holds what %s has" % (self.holder, number)
            self.holder = number
            self.order.append(number)
            return len(self.order)

    def leave(self, number, held):
        with self.mutex:
            assert self.holder == number and len(self.order) == held
            self.holder = None


def contend(ours, clients, rounds):
    with Cluster(ours, members=3) as cluster:
        test = Contention(cluster, clients, rounds)
        threads = [Contender(test, i) for i in range(clients)]
        for t in threads:
            t.start()
        rng = random.Random(1)
        begin = time.monotonic()
        kills = 0
        while any(t.is_alive() for t in threads):
            assert time.monotonic() < begin + 150, "%d turns, holder %s" % (
                len(test.order), test.holder)
            if kills < 3 and len(test.order) > (kills + 1) * clients * rounds // 5:
                member = rng.choice(cluster.members)
                member.kill()
                member.start().wait_healthy()
                kills += 1
            time.sleep(0.01)
        for t in threads:
            t.join()
            if t.failure:
                raise t.failure
        assert len(test.order) == clients * rounds
        client = Client(cluster.members[0])
        wait_for(lambda: keys(client, b"one/") == [], "all keys are gone", 10)
        print("ok %d clients, %d turns, %d kills in %.1f s" % (
            clients, len(test.order), kills, time.monotonic() - begin))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    compare(args.ours, args.other or debian_etcd())
    contend(args.ours, args.clients, args.rounds)
    return 0


if __name__ == "__main__":
    leave(main())
