#!/usr/bin/python3
"""Snapshots and restores that are cut down half-way, and files that are damaged.

    snapshot_damage.py ETCD ETCDCTL ETCDUTL [--files N] [--kills N]

kill -9 at any moment of a save leaves no file of the name; at any moment of a restore it leaves
nothing that a server starts from, and the next restore succeeds. A damaged file is refused or read
soundly: no program ends by a signal, and what was restored starts.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from cluster import Cluster, free_ports


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=60)


def seconds_of(args):
    """How long all of it takes."""
    begin = time.monotonic()
    done = run(*args)
    assert done.returncode == 0, done
    return time.monotonic() - begin


def kill_at(args, seconds):
    """Runs it for so long at most; True where it was killed."""
    process = subprocess.Popen([str(a) for a in args], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode == -signal.SIGKILL


def fill(ctl, member, keys):
    lines = "".join('put /registry/key-%06d "%s"\n' % (i, "v" * random.randrange(4000))
                    for i in range(keys))
    for at in range(0, keys, 100):
        text = "\n\n" + "\n".join(lines.splitlines()[at:at + 100]) + "\n\n\n"
        subprocess.run([ctl, "--endpoints", member.client, "txn"], input=text, text=True,
                       check=True, capture_output=True)


def check_killed_saves(ctl, utl, member, directory, kills):
    path = os.path.join(directory, "save.db")
    command = [ctl, "--endpoints", member.client, "snapshot", "save", path]
    killed = 0
    whole_s = seconds_of(command)
    os.unlink(path)
    for i in range(kills):
        killed += kill_at(command, whole_s * i / kills)
        if os.path.exists(path):
            status = run(utl, "snapshot", "status", path)
            assert status.returncode == 0, status
            assert run(utl, "hashkv", path).returncode == 0
            os.unlink(path)
    assert killed > 0
    assert run(*command).returncode == 0, "a part that was left is no hindrance"
    assert not os.path.exists(path + ".part")
    return path


def start_refuses(etcd, data, url):
    """The server says why within its start; it never begins a new cluster there."""
    process = run(etcd, "--name", "m", "--data-dir", data, "--listen-peer-urls", url,
                  "--initial-advertise-peer-urls", url, "--initial-cluster", "m=" + url,
                  "--listen-client-urls", "http://127.0.0.1:0",
                  "--advertise-client-urls", "http://127.0.0.1:1")
    assert process.returncode == 1, process
    assert "did not finish" in process.stderr, process.stderr


def check_killed_restores(etcd, utl, path, directory, kills):
    data = os.path.join(directory, "restored")
    url = "http://127.0.0.1:%d" % free_ports(1)[0]
    command = [utl, "snapshot", "restore", path, "--data-dir", data, "--name", "m",
               "--initial-cluster", "m=" + url, "--initial-advertise-peer-urls", url]
    half = 0
    whole_s = seconds_of(command)
    shutil.rmtree(data)
    for i in range(kills):
        kill_at(command, whole_s * i / kills)
        names = os.listdir(data) if os.path.exists(data) else []
        assert names in ([], ["member"], ["member.restoring"]), names
        if names == ["member.restoring"]:
            half += 1
            if half % 5 == 1:
                start_refuses(etcd, data, url)
                assert os.listdir(data) == ["member.restoring"]
        if names == ["member"]:
            assert sorted(os.listdir(os.path.join(data, "member"))) == ["store", "wal"]
            shutil.rmtree(data)
    assert half > 0
    done = run(*command)
    if done.returncode != 0:  # the last one had just ended
        assert "not empty" in done.stderr, done
    assert os.listdir(data) == ["member"]
    shutil.rmtree(data)


def damage(data):
    """Some bits and bytes, mostly where numbers lie; or a part cut out or doubled."""
    data = bytearray(data)
    kind = random.randrange(10)
    if kind == 0:
        return bytes(data[:random.randrange(len(data))])
    if kind == 1:
        at, to = (4096 * random.randrange(len(data) // 4096) for _ in range(2))
        data[to:to + 4096] = data[at:at + 4096]
        return bytes(data)
    for _ in range(1 + random.randrange(4)):
        page = random.randrange(len(data) // 4096)
        at = page * 4096 + random.randrange(random.choice((16, 80, 400, 4096)))
        data[at] = random.choice((0, 255, data[at] ^ 1 << random.randrange(8)))
    return bytes(data)


def check_damaged_files(etcd, utl, path, directory, files):
    with open(path, "rb") as f:
        data = f.read()
    damaged = os.path.join(directory, "damaged.db")
    target = os.path.join(directory, "damaged.data")
    refused = restored = 0
    for i in range(files):
        with open(damaged, "wb") as f:
            f.write(damage(data))
        for args in (("snapshot", "status", damaged), ("hashkv", damaged)):
            done = run(utl, *args)
            assert done.returncode in (0, 1), (i, done)
        done = run(utl, "snapshot", "restore", damaged, "--data-dir", target)
        assert done.returncode in (0, 1), (i, done)
        if done.returncode == 1:
            assert not os.path.exists(target) or os.listdir(target) == []
        # Past the hash: the form alone decides.
        done = run(utl, "snapshot", "restore", damaged, "--data-dir", target + "2",
                   "--skip-hash-check")
        assert done.returncode in (0, 1), (i, done)
        refused += done.returncode == 1
        restored += done.returncode == 0
        if done.returncode == 0 and restored % 40 == 1:
            starts(etcd, target + "2")
        for name in (target, target + "2"):
            shutil.rmtree(name, ignore_errors=True)
    print("%d refused, %d read" % (refused, restored))
    assert refused > 0 and restored > 0


def starts(etcd, data):
    """It serves, or says what of the contents it cannot take (a member's JSON, say)."""
    with Cluster(etcd) as probe:
        member = probe.members[0]
        member.stop()
        shutil.rmtree(member.dir)
        os.rename(data, member.dir)
        member.start()
        try:
            member.wait_healthy()
        except AssertionError:
            assert member.process.poll() == 1, member.log_tail()


def main():
    etcd, ctl, utl = sys.argv[1:4]
    random.seed(1)
    with Cluster(etcd) as cluster:
        member = cluster.members[0]
        fill(ctl, member, 60)
        small = os.path.join(cluster.dir, "small.db")
        assert run(ctl, "--endpoints", member.client, "snapshot", "save", small).returncode == 0
        fill(ctl, member, 5000)
        kills = option("--kills", 40)
        saved = check_killed_saves(ctl, utl, member, cluster.dir, kills)
        check_killed_restores(etcd, utl, saved, cluster.dir, kills)
        check_damaged_files(etcd, utl, small, cluster.dir, option("--files", 200))
    print("ok")


main()
