#!/usr/bin/python3
"""The same calls about members on a cluster of ours and on another etcd's: equal codes, texts and
answers.

    members_compare.py ETCD [OTHER]

OTHER is Debian's etcd where none is named. What a version of etcd before 3.7 does not have, or answers
otherwise by its own documentation, is left out for it.
"""
import subprocess
import sys
import time

from cluster import Cluster, debian_etcd, leave, skip, wait_for
from members import Joiner, new_member

try:
    import grpc
except ImportError:
    skip("python3-grpcio is not installed")

CLUSTER, MAINTENANCE = "/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/"
VALIDATE, ENABLE, CANCEL = 0, 1, 2


# ---- Messages, field by field: the stubs that Debian has are older than the calls ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n) if n else b""


def text(field, value):
    raw = value.encode()
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def texts(field, values):
    return b"".join(text(field, value) for value in values)


def fields(raw):
    """[(number, value)] of a message: ints and bytes."""
    out, at = [], 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
    while at < len(raw):
        key = take()
        if key & 7 == 0:
            out.append((key >> 3, take()))
        else:
            size = take()
            out.append((key >> 3, raw[at:at + size]))
            at += size
    return out


def members_in(raw, field):
    """(named, peer URLs, client URLs, learner) of each: what is alike in two clusters."""
    found = []
    for key, value in fields(raw):
        if key != field or not isinstance(value, bytes):
            continue
        keys = [k for k, _ in fields(value)]
        found.append((2 in keys, keys.count(3), keys.count(4), 5 in keys))
    return sorted(found)


class Side:
    """One of the two clusters."""

    def __init__(self, binary):
        self.binary = binary
        self.cluster = Cluster(binary, 1)
        self.cluster.start()
        self.channels = {}
        self.ids = {}

    def call(self, at, path, body):
        member = self.cluster.members[at]
        channel = self.channels.setdefault(member.client, grpc.insecure_channel(
            member.client, options=[("grpc.max_reconnect_backoff_ms", 200),
                                    ("grpc.initial_reconnect_backoff_ms", 50)]))
        try:
            return 0, "", channel.unary_unary(path)(body, timeout=10, wait_for_ready=True)
        except grpc.RpcError as e:
            return e.code().value[0], e.details(), b""

    def refresh(self):
        """Ids by peer URL."""
        for key, value in fields(self.call(0, CLUSTER + "MemberList", b"")[2]):
            if key == 2:
                member = fields(value)
                for url in (v.decode() for k, v in member if k == 3):
                    self.ids[url] = dict(member)[1]

    def id(self, at):
        return self.ids[self.cluster.members[at].peer_url]


class Comparison:
    def __init__(self, ours, theirs, modern):
        self.sides = [Side(ours), Side(theirs)]
        self.modern = modern
        self.checked = 0
        self.different = []

    def step(self, what, method, body, at=0, field=2, only_modern=False, counts=True):
        """body: bytes, or a function of the side. Of what does not count code and text do."""
        if only_modern and not self.modern:
            return
        self.compare(what, [self.answer(side, method, body, at, field, counts)
                            for side in self.sides])

    def answer(self, side, method, body, at=0, field=2, counts=True):
        code, details, response = side.call(at, method, body(side) if callable(body) else body)
        side.refresh()
        return code, details, members_in(response, field) if counts else ()

    def compare(self, what, answers):
        self.checked += 1
        if answers[0] != answers[1]:
            self.different.append("%s: ours %s, theirs %s" % (what, answers[0], answers[1]))

    def each(self, act):
        for side in self.sides:
            act(side)

    def close(self):
        self.each(lambda side: side.cluster.stop())


def add(c, what, urls, learner=False, **more):
    c.step("add " + what, CLUSTER + "MemberAdd",
           lambda side: texts(1, urls(side) if callable(urls) else urls) + number(2, learner),
           field=3, **more)


def by_id(c, what, method, which, **more):
    c.step("%s %s" % (method, what), CLUSTER + method,
           lambda side: number(1, which(side) if callable(which) else which), **more)


def update(c, what, which, urls, **more):
    c.step("update " + what, CLUSTER + "MemberUpdate",
           lambda side: number(1, which(side) if callable(which) else which) +
           texts(2, urls(side) if callable(urls) else urls), **more)


def move(c, what, which, at=0):
    c.step("move leader " + what, MAINTENANCE + "MoveLeader",
           lambda side: number(1, which(side) if callable(which) else which), at=at)


def downgrade(c, action, version):
    c.step("downgrade %d %r" % (action, version), MAINTENANCE + "Downgrade",
           number(1, action) + (text(2, version) if version else b""), only_modern=True)


def of(at):
    return lambda side: side.id(at)


def alone(c):
    add(c, "without a URL", [])
    for url in ("x", "http://127.0.0.1", "http://127.0.0.1:1/path", "ftp://127.0.0.1:1", ""):
        add(c, repr(url), [url])
    add(c, "one that is there", lambda side: [side.cluster.members[0].peer_url])
    by_id(c, "nobody", "MemberRemove", 77)
    by_id(c, "the only one", "MemberRemove", of(0))
    by_id(c, "zero", "MemberRemove", 0)
    update(c, "nobody", 77, ["http://127.0.0.1:1"])
    update(c, "itself as it is", of(0), lambda side: [side.cluster.members[0].peer_url])
    by_id(c, "nobody", "MemberPromote", 77)
    by_id(c, "a voter", "MemberPromote", of(0))
    move(c, "to nobody", 77)
    move(c, "to zero", 0)
    move(c, "to itself", of(0))
    c.step("list", CLUSTER + "MemberList", b"")
    c.step("list linearizable", CLUSTER + "MemberList", number(1, 1))


def versions(c):
    for version in ("3.6", "3.6.0", "3.6.9", "3.6.0-rc.1", "3.5", "3.7.0", "3.8.0", "4.6.0", "x",
                    "3", "3.6.0.0", ""):
        downgrade(c, VALIDATE, version)
    downgrade(c, ENABLE, "3.5.0")
    downgrade(c, ENABLE, "three")
    downgrade(c, 7, "3.6.0")
    downgrade(c, CANCEL, "")
    downgrade(c, ENABLE, "3.6.0")
    downgrade(c, ENABLE, "3.6.0")
    downgrade(c, VALIDATE, "3.6.0")
    downgrade(c, CANCEL, "")


def learner(c):
    url = "http://127.0.0.1:9"
    add(c, "a learner", [url], learner=True)
    add(c, "a second learner", ["http://127.0.0.1:10"], learner=True)
    second = int(time.time())
    # Ids are made of URLs and the second: in the same one the id would be there already.
    wait_for(lambda: int(time.time()) > second, "the next second")
    add(c, "a voter with the learner's URL", [url])
    by_id(c, "a learner that never came", "MemberPromote", lambda side: side.ids[url])
    move(c, "to a learner", lambda side: side.ids[url])
    # Before 3.6 that made a voter of it.
    update(c, "a learner", lambda side: side.ids[url], ["http://127.0.0.1:11"], counts=c.modern)
    by_id(c, "a learner", "MemberRemove", lambda side: side.ids["http://127.0.0.1:11"])
    by_id(c, "it again", "MemberRemove", lambda side: side.ids["http://127.0.0.1:11"])


def start_second(side):
    side.cluster.members[1].start()
    side.cluster.members[1].wait_healthy()
    wait_for(lambda: len([m for m in members_in(side.call(0, CLUSTER + "MemberList", b"")[2], 2)
                          if m[0]]) == 2, "both are named")


def two(c):
    c.each(lambda side: side.cluster.members.append(
        new_member(side.cluster, "m1", side.binary, Joiner)))
    add(c, "a second", lambda side: [side.cluster.members[1].peer_url])
    add(c, "a third before the second", ["http://127.0.0.1:9"])
    by_id(c, "the first before the second", "MemberRemove", of(0))
    at_once = []
    for side in c.sides:  # asked as soon as it has come: connected for less than five seconds
        start_second(side)
        third = texts(1, ["http://127.0.0.1:9"])
        at_once.append((c.answer(side, CLUSTER + "MemberAdd", third, field=3),
                        c.answer(side, CLUSTER + "MemberRemove", number(1, side.id(1)))))
    for at, what in enumerate(("add a third at once", "remove the second at once")):
        c.compare(what, [answers[at] for answers in at_once])
    move(c, "asked of who does not lead", of(1), at=1)
    by_id(c, "nobody, asked of the other", "MemberPromote", 77, at=1)
    c.step("list at the other", CLUSTER + "MemberList", b"", at=1)
    gone = {}

    def removed(side):
        """Once both have been connected for long enough."""
        gone[side] = side.id(1)

        def attempt():
            code, details, _ = side.call(0, CLUSTER + "MemberRemove", number(1, gone[side]))
            assert code == 0 or "unhealthy" in details, details
            return code == 0
        wait_for(attempt, "the second is removed")
        assert side.cluster.members[1].process.wait(10) == 0
        del side.cluster.members[1]
    c.each(removed)
    by_id(c, "who is gone", "MemberRemove", lambda side: gone[side])
    by_id(c, "who is gone", "MemberPromote", lambda side: gone[side])
    update(c, "who is gone", lambda side: gone[side], ["http://127.0.0.1:9"])
    c.step("list at last", CLUSTER + "MemberList", number(1, 1))


def main():
    ours = sys.argv[1]
    theirs = sys.argv[2] if len(sys.argv) > 2 else debian_etcd()
    version = subprocess.run([theirs, "--version"], capture_output=True, text=True).stdout
    c = Comparison(ours, theirs, modern="etcd Version: 3.7" in version)
    try:
        c.each(lambda side: wait_for(lambda: not side.refresh() and side.ids, "ids"))
        alone(c)
        versions(c)
        learner(c)
        two(c)
        for side in c.sides:
            assert all(member.alive() for member in side.cluster.members)
    except AssertionError:
        for side in c.sides:
            for member in side.cluster.members:
                print(side.binary, member.name, member.process.poll(), member.log_tail())
        raise
    finally:
        c.close()
        for line in c.different:
            print(line)
    print("%d calls compared, %d differ" % (c.checked, len(c.different)))
    return 1 if c.different else 0


if __name__ == "__main__":
    leave(main())
