#!/usr/bin/python3
"""Snapshots both ways between ours and another etcd: each side's tools save, look into and restore
files of the other's members, and what starts from them has equal HashKV at every readable
revision, equal members and leases.

    snapshot_tools.py ETCD ETCDCTL ETCDUTL [--go BUILD_DIR]

Beside Debian's etcd and etcdctl 3.4; with --go beside 3.7's member and etcdutl, built there.
"""
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from cluster import Cluster, skip, wait_for  # noqa: E402


class Tools:
    """One side's programs."""

    def __init__(self, etcd, ctl, utl):
        self.etcd, self.ctl, self.utl = etcd, ctl, utl

    def __call__(self, tool, *args, fails=False):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment["ETCDCTL_API"] = "3"
        done = subprocess.run([tool] + [str(a) for a in args], capture_output=True, text=True,
                              env=environment, timeout=60)
        if (done.returncode != 0) != fails:
            raise AssertionError("%s %s: %d\n%s%s" % (
                tool, args, done.returncode, done.stdout, done.stderr))
        return done.stdout if not fails else (done.returncode, done.stderr)

    def at(self, member, *args):
        return self(self.ctl, "--endpoints", member.client, *args)

    def save(self, member, path):
        self.at(member, "snapshot", "save", path)
        return path

    def status(self, path):
        return json.loads(self(self.utl, "snapshot", "status", path, "-w", "json"))

    def restore(self, path, directory, name, cluster, url, *more):
        self(self.utl, "snapshot", "restore", path, "--data-dir", directory, "--name", name,
             "--initial-cluster", cluster, "--initial-advertise-peer-urls", url,
             "--initial-cluster-token", "restored", *more)


class Restored(Cluster):
    """A cluster whose members' directories are restored before they start."""

    def __init__(self, tools, snapshot, members=1, more=()):
        super().__init__(tools.etcd, members, token="restored")
        for m in self.members:
            tools.restore(snapshot, m.dir, m.name, self.initial_cluster(), m.peer_url, *more)


def hash_kv(tools, member, revision=0):
    answer = json.loads(tools.at(
        member, "endpoint", "hashkv", "--rev", revision, "-w", "json"))[0]["HashKV"]
    return answer["hash"], answer["compact_revision"]


def wait_equal(tools, members):
    """Those that only follow hear of a change a moment after whom it was made through."""
    wait_for(lambda: len({hash_kv(tools, m) for m in members}) == 1, "equal hashes")


def revision(tools, member):
    return json.loads(tools.at(member, "endpoint", "status", "-w", "json"))[0]["Status"][
        "header"]["revision"]


def leases(tools, member):
    """{id: (granted ttl, keys)}"""
    out = {}
    for lease in json.loads(tools.at(member, "lease", "list", "-w", "json")).get("leases") or []:
        text = "%x" % lease["id"]
        answer = json.loads(tools.at(member, "lease", "timetolive", text, "--keys", "-w", "json"))
        out[text] = (answer["granted-ttl"], sorted(answer["keys"] or []))
    return out


def contents(tools, member):
    return tools.at(member, "get", "", "--prefix", "-w", "json").split('"kvs"', 1)[-1]


def assert_same(tools, a, b, from_revision, hash_alone=False):
    """All that two members' clients can compare."""
    last = revision(tools, a)
    assert revision(tools, b) == last
    for r in sorted({from_revision, from_revision + 1, (from_revision + last) // 2, last - 1, last}):
        if from_revision <= r <= last:
            x, y = hash_kv(tools, a, r), hash_kv(tools, b, r)
            assert x == y or (hash_alone and x[0] == y[0]), "HashKV at %d: %s and %s" % (r, x, y)
    assert contents(tools, a) == contents(tools, b)
    assert leases(tools, a) == leases(tools, b)


def fill(tools, member, seed):
    """A history with deletions, leases, transactions of many changes and a compaction that has a
    deletion at its revision; returns the compacted revision."""
    random.seed(seed)
    granted = [tools.at(member, "lease", "grant", 1000 + i).split()[1] for i in range(3)]
    lines = []
    for i in range(120):
        key = "/registry/key-%02d" % random.randrange(40)
        if random.randrange(4) == 0:
            lines.append(["del", key])
        elif random.randrange(5) == 0:
            lines.append(["put", "--lease", random.choice(granted), key, "v" * random.randrange(99)])
        else:
            lines.append(["put", key, "value %d " % i * random.choice((1, 50, 900))])
    for line in lines[:90]:
        tools.at(member, *line)
    txn(tools, member, 60)
    tools.at(member, "put", "/registry/gone", "x")
    tools.at(member, "del", "/registry/gone")
    compacted = revision(tools, member)
    tools.at(member, "compaction", "--physical", compacted)
    for line in lines[90:]:
        tools.at(member, *line)
    txn(tools, member, 20)
    return compacted


def txn(tools, member, changes):
    text = "\n\n" + "".join('put /registry/many-%02d "%d"\n' % (i, i) for i in range(changes)) + "\n\n"
    subprocess.run([tools.ctl, "--endpoints", member.client, "txn"], input=text, text=True,
                   check=True, capture_output=True, env=dict(os.environ, ETCDCTL_API="3"))


def names(tools, member):
    answer = json.loads(tools.at(member, "member", "list", "-w", "json"))
    return sorted((m["name"], tuple(m["peerURLs"])) for m in answer["members"])


def check_direction(ours, other, source, target, directory, has_hash_of_status):
    """A member of source, saved by either tool, restored and started by target's."""
    with Cluster(source.etcd) as cluster:
        member = cluster.members[0]
        compacted = fill(ours, member, 5)
        mine = ours.save(member, os.path.join(directory, "mine.db"))
        theirs = other.save(member, os.path.join(directory, "theirs.db"))
        with open(mine, "rb") as a, open(theirs, "rb") as b:
            if source is ours:
                assert a.read() == b.read(), "both tools get the same bytes of one moment"
        assert os.stat(mine).st_mode & 0o777 == 0o600
        assert ours.status(mine)["revision"] == revision(ours, member)
        a, b = ours.status(mine), other.status(mine)
        for name in ("hash", "revision", "totalSize") + (
                ("totalKey", "version") if has_hash_of_status else ()):
            assert a.get(name) == b.get(name), (name, a, b)
        # At the compacted revision itself the member answers what its compaction had left.
        for r in (0, compacted + 1, compacted + 3):
            line = ours(ours.utl, "hashkv", mine, "--rev", r).split(", ")
            assert (int(line[0]), int(line[2])) == hash_kv(ours, member, r)
        for count in (1, 3):
            with Restored(target, theirs, count) as restored:
                for m in restored.members:
                    assert_same(ours, member, m, compacted + 1)
                    assert names(ours, m) == sorted(
                        (x.name, (x.peer_url,)) for x in restored.members)
                ours.at(restored.members[-1], "put", "after", "wards")
                wait_equal(ours, restored.members)


class RestoredForEtcd(Cluster):
    """Directories of etcd's own form, made by our tool, on which the other etcd starts."""

    def __init__(self, ours, other, snapshot, members, more=()):
        super().__init__(other.etcd, members, token="restored")
        for m in self.members:
            ours.restore(snapshot, m.dir, m.name, self.initial_cluster(), m.peer_url, "--for-etcd",
                         *more)
            assert sorted(os.listdir(os.path.join(m.dir, "member"))) == ["snap", "wal"]


def check_for_etcd(ours, other, directory):
    with Cluster(other.etcd) as cluster:
        member = cluster.members[0]
        compacted = fill(ours, member, 7)
        saved = ours.save(member, os.path.join(directory, "for-etcd.db"))
        with RestoredForEtcd(ours, other, saved, 3) as restored:
            for m in restored.members:
                assert_same(ours, member, m, compacted + 1)
                assert names(ours, m) == sorted((x.name, (x.peer_url,)) for x in restored.members)
            ours.at(restored.members[1], "put", "after", "wards")
            restored.members[0].stop()
            restored.members[0].start().wait_healthy()
            wait_equal(ours, restored.members)


def check_rewrite(ours, other, go):
    """etcd's own store, written anew: it starts on it as before, and it is no larger."""
    with Cluster(other.etcd) as cluster:
        member = cluster.members[0]
        compacted = fill(ours, member, 9)
        before = hash_kv(ours, member), hash_kv(ours, member, compacted + 1), leases(ours, member)
        code, text = ours(ours.utl, "--timeout", "300ms", "defrag", "--data-dir", member.dir,
                          fails=True)
        assert code == 2 and "held by a running server" in text, text
        member.stop()
        db = os.path.join(member.dir, "member", "snap", "db")
        size, status = os.path.getsize(db), ours.status(db)
        ours(ours.utl, "defrag", "--data-dir", member.dir)
        assert os.path.getsize(db) < size and os.stat(db).st_mode & 0o777 == 0o600
        again = ours.status(db)
        assert dict(again, totalSize=0) == dict(status, totalSize=0) == dict(
            other.status(db), totalSize=0) or not go
        if go:
            code, text = ours(ours.utl, "migrate", "--data-dir", member.dir, "--target-version",
                              "3.6", fails=True)
            assert code == 1 and "--force" in text
            for target, stored in (("3.6", "3.6.0"), ("3.5", ""), ("3.7", "3.7.0")):
                ours(ours.utl, "migrate", "--data-dir", member.dir, "--target-version", target,
                     "--force")
                assert other.status(db)["version"] == stored
        member.start().wait_healthy()
        assert before == (hash_kv(ours, member), hash_kv(ours, member, compacted + 1),
                          leases(ours, member))


def check_export(ours, other):
    """A member goes over to the other etcd and back, as the same one, with its data."""
    with Cluster(ours.etcd) as cluster:
        member = cluster.members[0]
        compacted = fill(ours, member, 8)
        before = hash_kv(ours, member), leases(ours, member), contents(ours, member)
        who = ours.at(member, "member", "list")
        code, text = ours(ours.utl, "export", "--data-dir", member.dir, fails=True)
        assert code == 1 and "locked" in text, text
        member.stop()
        ours(ours.utl, "export", "--data-dir", member.dir)
        member.binary = other.etcd
        member.start().wait_healthy()
        assert (hash_kv(ours, member), leases(ours, member), contents(ours, member)) == before
        assert ours.at(member, "member", "list") == who
        for i in range(30):
            ours.at(member, "put", "over-there-%d" % i, "x" * i)
        ours.at(member, "compaction", "--physical", compacted + 10)
        last = revision(ours, member)
        over = hash_kv(ours, member), hash_kv(ours, member, last - 3), contents(ours, member)
        member.stop()
        member.binary = ours.etcd
        member.start().wait_healthy()
        back = hash_kv(ours, member), hash_kv(ours, member, last - 3), contents(ours, member)
        assert back == over
        assert ours.at(member, "member", "list") == who
        ours.at(member, "put", "and", "back")


def check_bump(ours, other, directory):
    """Both sides' restores with a raised revision come to the same hashes."""
    with Cluster(ours.etcd) as cluster:
        member = cluster.members[0]
        fill(ours, member, 6)
        saved = ours.save(member, os.path.join(directory, "bump.db"))
        before = revision(ours, member)
    more = ("--bump-revision", "1000000", "--mark-compacted")
    with Restored(ours, saved, 1, more) as a, Restored(other, saved, 1, more) as b:
        x, y = a.members[0], b.members[0]
        assert revision(ours, x) == before + 1000000
        assert_same(ours, x, y, before + 1000000)
        for m in (x, y):
            ours.at(m, "put", "k", "v")
            ours.at(m, "compaction", "--physical", before + 1000001)
        # Which compaction a hash is told to be of depends on whether the raised one had ended.
        assert_same(ours, x, y, before + 1000001, hash_alone=True)
        # A start reads it all again.
        x.stop()
        x.start().wait_healthy()
        assert_same(ours, x, y, before + 1000001, hash_alone=True)
        again = ours.save(x, os.path.join(directory, "again.db"))
    with Restored(other, again) as c:
        assert revision(ours, c.members[0]) == before + 1000001


def check_errors(ours, directory):
    with Cluster(ours.etcd) as cluster:
        member = cluster.members[0]
        ours.at(member, "put", "a", "1")
        saved = ours.save(member, os.path.join(directory, "errors.db"))
        code, text = ours(ours.ctl, "--endpoints", "127.0.0.1:1", "--command-timeout", "1s",
                          "snapshot", "save", os.path.join(directory, "none.db"), fails=True)
        assert code == 5 and not os.path.exists(os.path.join(directory, "none.db")), text
        assert not os.path.exists(os.path.join(directory, "none.db.part"))

    def refused(what, code, *args):
        got = ours(ours.utl, "snapshot", "restore", *args, fails=True)
        assert got[0] == code and what in got[1], got

    target = os.path.join(directory, "target")
    refused("Error: couldn't find local name \"x\" in the initial cluster configuration", 1,
            saved, "--data-dir", target, "--name", "x")
    refused("Error: --mark-compacted required if --revision-bump > 0", 128,
            saved, "--data-dir", target, "--bump-revision", "1")
    refused("Error: --mark-compacted required if --revision-bump > 0", 128,
            saved, "--data-dir", target, "--mark-compacted")
    refused("Error: snapshot restore requires exactly one argument", 128)
    refused("no such file or directory", 1, saved + "x", "--data-dir", target)
    os.mkdir(target)
    open(os.path.join(target, "file"), "w").close()
    refused("Error: data-dir \"%s\" not empty or could not be read" % target, 1,
            saved, "--data-dir", target)
    os.unlink(os.path.join(target, "file"))
    data = open(saved, "rb").read()
    bare, bad, torn = (os.path.join(directory, n) for n in ("bare.db", "bad.db", "torn.db"))
    open(bare, "wb").write(data[:-32])
    open(bad, "wb").write(data[:-1] + bytes([data[-1] ^ 1]))
    open(torn, "wb").write(data[:4096 * 2])
    refused("Error: snapshot missing hash but --skip-hash-check=false", 1, bare, "--data-dir", target)
    refused("Error: expected sha256 [", 1, bad, "--data-dir", target)
    refused("Error: invalid database", 1, torn, "--data-dir", target)
    assert os.listdir(target) == [], "a refusal makes nothing"
    ours(ours.utl, "snapshot", "restore", bare, "--data-dir", target, "--skip-hash-check")
    assert os.listdir(target) == ["member"]
    code, text = ours(ours.utl, "snapshot", "status", torn, fails=True)
    assert code == 1 and "Error: invalid database" in text
    code, text = ours(ours.utl, "snapshot", "status", fails=True)
    assert code == 128 and "snapshot status requires exactly one argument" in text


def main():
    etcd, ctl, utl = sys.argv[1:4]
    ours = Tools(etcd, ctl, utl)
    go = "--go" in sys.argv
    if go:
        import golang
        build_dir = sys.argv[sys.argv.index("--go") + 1]
        other = Tools(golang.build_or_skip("etcd37", "member", build_dir), ctl,
                      golang.build_or_skip("etcdutl", ".", build_dir))
    else:
        if not (os.path.exists("/usr/bin/etcd") and os.path.exists("/usr/bin/etcdctl")):
            skip("Debian's etcd-server and etcd-client are not installed")
        other = Tools("/usr/bin/etcd", "/usr/bin/etcdctl", "/usr/bin/etcdctl")
    with Cluster(etcd) as cluster:  # for its directory
        directory = cluster.dir
        if not go:
            check_errors(ours, directory)
        check_direction(ours, other, ours, other, directory, go)
        check_direction(ours, other, other, ours, directory, go)
        check_for_etcd(ours, other, directory)
        check_rewrite(ours, other, go)
        if go:
            check_bump(ours, other, directory)
            check_export(ours, other)
    print("ok")


main()
