#!/usr/bin/python3
"""Members and tools on the system calls of Linux 3.10 (2013): whatever is newer answers ENOSYS, as it
would there, by a filter that this test and all that it starts are under.

    old_kernel.py ETCD ETCDCTL ETCDUTL [--root DIR]

With --root the programs see DIR as their root directory, where there is nothing but themselves and
what this test puts there: no library, no locale, no passwd, no resolver's settings.
"""
import argparse
import ctypes
import errno
import fcntl
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile

from cluster import Cluster, skip, wait_for

# By machine: its number in the filter's eyes, the first call that 3.10 has not got, fcntl, madvise,
# getrandom.
MACHINES = {"x86_64": (0xC000003E, 314, 72, 28, 318), "aarch64": (0xC00000B7, 274, 25, 233, 278)}
NEWER_LOCKS = (36, 37, 38)                # fcntl's F_OFD_...: 3.15
NEWER_ADVICE = (8, 18, 19, 20, 21, 22, 23)  # madvise's MADV_FREE and later: 4.5
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, AT_LEAST, EQUAL, RETURN = 0x20, 0x35, 0x15, 0x06
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
CALL_AT, MACHINE_AT, SECOND_AT, THIRD_AT = 0, 4, 24, 32  # in struct seccomp_data


def filter_of(machine):
    audit, newer, fcntl_call, madvise_call, _ = MACHINES[machine]
    lines = [(LOAD, 0, 0, MACHINE_AT), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL),
             (LOAD, 0, 0, CALL_AT), (AT_LEAST, 0, 1, newer), (RETURN, 0, 0, ERROR | errno.ENOSYS)]
    refused = [(fcntl_call, SECOND_AT, n) for n in NEWER_LOCKS]
    refused += [(madvise_call, THIRD_AT, n) for n in NEWER_ADVICE]
    for call, argument, value in refused:
        lines += [(LOAD, 0, 0, CALL_AT), (EQUAL, 0, 3, call),
                  (LOAD, 0, 0, argument), (EQUAL, 0, 1, value),
                  (RETURN, 0, 0, ERROR | errno.EINVAL)]
    lines.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def become_old():
    """From here on this process and its children are on 3.10."""
    machine = platform.machine()
    if machine not in MACHINES:
        skip("no list of calls for " + machine)
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(filter_of(machine))
    program = struct.pack("HxxxxxxP", (len(code) - 1) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0):
        skip("no filters of system calls here: " + os.strerror(ctypes.get_errno()))
    # The filter is there, or nothing is tested.
    number = MACHINES[machine][4]
    assert libc.syscall(number, ctypes.create_string_buffer(8), ctypes.c_size_t(8), 0) == -1 and \
        ctypes.get_errno() == errno.ENOSYS
    with open(os.devnull) as file:
        try:
            fcntl.fcntl(file, NEWER_LOCKS[0], b"\0" * 32)
            raise AssertionError("newer locks are there")
        except OSError as e:
            assert e.errno == errno.EINVAL, e


class Tools:
    def __init__(self, cluster, ctl, utl):
        self.cluster, self.ctl, self.utl = cluster, ctl, utl
        self.endpoints = ",".join(m.client for m in cluster.members)

    def run(self, *words, endpoints=None, program=None, api="3", code=0):
        endpoints = [] if program == self.utl else ["--endpoints", endpoints or self.endpoints]
        done = subprocess.run((program or self.ctl) + endpoints + list(words), text=True,
                              capture_output=True, timeout=60, env={"ETCDCTL_API": api})
        assert done.returncode == code, (words, done)
        return done.stdout


def walk(tools, path_of):
    """What an operator does in a day."""
    cluster = tools.cluster
    one = cluster.members[0].client
    assert tools.run("put", "/message", "Hello") == "OK\n"
    watch = subprocess.Popen(tools.ctl + ["--endpoints", one, "watch", "/message", "--rev", "1"],
                             stdout=subprocess.PIPE, text=True, env={"ETCDCTL_API": "3"})
    try:
        assert [watch.stdout.readline() for _ in range(3)] == ["PUT\n", "/message\n", "Hello\n"]
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    # By a name: the resolver has no files to look into where the root directory is empty.
    by_name = "localhost:" + one.split(":")[1]
    assert tools.run("get", "/message", "--print-value-only", endpoints=by_name) == "Hello\n"
    for n in range(50):
        tools.run("put", "/n/%02d" % n, "x" * 1000)
    lease = tools.run("lease", "grant", "500").split()[1]
    tools.run("put", "/leased", "x", "--lease", lease)
    assert tools.run("get", "/", "--prefix", "--keys-only").count("/n/") == 50
    tools.run("compact", "10")
    tools.run("defrag")
    tools.run("set", "/v2", "value", api="2", endpoints="http://" + one)
    assert tools.run("get", "/v2", api="2", endpoints="http://" + one) == "value\n"
    assert tools.run("cluster-health", endpoints="http://" + one).endswith("cluster is healthy\n")
    tools.run("snapshot", "save", path_of("save.db"), endpoints=one)
    status = tools.run("snapshot", "status", path_of("save.db"), "-w", "table", program=tools.utl)
    assert "TOTAL KEYS" in status, status
    tools.run("snapshot", "restore", path_of("save.db"), "--data-dir", path_of("restored"),
              program=tools.utl)


def locked(cluster):
    """A directory is one member's, with the locks that 3.10 has. By the path and arguments of a
    member that runs; ports are another matter, so only the lock may refuse."""
    member = cluster.members[0]
    words = member.args()
    for flag in ("--listen-client-urls", "--listen-peer-urls"):
        words[words.index(flag) + 1] = "http://127.0.0.1:0"
    second = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        second.wait(3)
    except subprocess.TimeoutExpired:  # it waits for the lock, as etcd's does
        second.kill()
    text = second.communicate()[0]
    assert '"ready to serve' not in text and "lock" in text, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", nargs=3)
    parser.add_argument("--root")
    options = parser.parse_args()
    become_old()
    root = options.root or ""
    before = [shutil.which("chroot"), root] if root else []
    etcd, ctl, utl = options.programs
    if root:
        tempfile.tempdir = os.path.join(root, "tmp")
    cluster = Cluster(etcd, 3, flags=["--enable-v2"])
    for member in cluster.members if root else []:
        member.args = lambda words=member.args(): before + [w.removeprefix(root) for w in words]
    with cluster:
        tools = Tools(cluster, before + [ctl], before + [utl])
        walk(tools, lambda name: os.path.join(cluster.dir, name).removeprefix(root))
        assert os.path.isdir(os.path.join(cluster.dir, "restored", "member"))
        for member in cluster.members:  # a restart reads what was written
            member.kill()
            member.start()
        for member in cluster.members:
            member.wait_healthy()
        assert tools.run("get", "/message", "--print-value-only") == "Hello\n"
        wait_for(lambda: "locked" not in cluster.members[0].log_tail(), "no lock is left over")
        locked(cluster)
    print("held on the calls of Linux 3.10")


if __name__ == "__main__":
    sys.exit(main())
