#!/usr/bin/python3
"""What the log says and where it goes; who does not read it blocks nobody.

    runtime_logs.py ETCD FAULT_LIBRARY
"""
import fcntl
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time

from cluster import Cluster, free_ports, wait_for
from runtime_fault import Fault
from runtime_load import Stubs, rpc

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})"
CALLER = r"\w+/\w+\.c:\d+"


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def find(path, message):
    return [line for line in map(json.loads, lines_of(path)) if line["msg"] == message]


def json_form(binary):
    cluster = Cluster(binary, members=1)
    member = cluster.members[0]
    second = os.path.join(cluster.dir, "second.log")
    cluster.flags = ["--log-outputs", "stdout," + second,
                     "--warning-unary-request-duration", "1ns", "--warning-apply-duration", "1ms"]
    with cluster:
        stubs = Stubs(member)
        stubs.put(b"slow", b"secret")
        for i in range(40):
            stubs.kv.Txn(rpc.TxnRequest(success=[
                rpc.RequestOp(request_put=rpc.PutRequest(key=b"many/%d/%d" % (i, k), value=b"v"))
                for k in range(128)]), timeout=5)
        stubs.kv.DeleteRange(rpc.DeleteRangeRequest(key=b"many", range_end=b"manz"), timeout=10)
        slow = wait_for(lambda: find(second, "request stats"), "a slow call is told")[0]
        assert slow["level"] == "warn" and slow["response type"] == "/etcdserverpb.KV/Put", slow
        assert re.fullmatch(r"[\d.]+(ns|µs|ms|s)", slow["time spent"]), slow
        assert slow["remote"].startswith("127.0.0.1:"), slow
        apply = wait_for(lambda: find(second, "apply request took too long"), "slow applying")[0]
        assert list(apply)[4:] == ["took", "expected-duration", "prefix", "request"], apply
        assert apply["expected-duration"] == "1ms", apply
        member.stop()
    # member.log_path holds stdout and stderr together; both outputs got all lines.
        for path in member.log_path, second:
            lines = lines_of(path)
            assert any("ready to serve client requests" in line for line in lines), path
            assert not any("secret" in line for line in lines)
            for line in lines:
                keys = list(json.loads(line))
                if keys[2] == "logger":
                    del keys[2]
                assert keys[:4] == ["level", "ts", "caller", "msg"], line
                seen = json.loads(line)
                assert re.fullmatch(TIME, seen["ts"]) and re.fullmatch(CALLER, seen["caller"]), line
        assert lines_of(second) == lines_of(member.log_path)
        assert os.stat(second).st_mode & 0o777 == 0o600


def console_form(binary):
    flags = ["--log-format", "console", "--log-level", "info", "--log-outputs", "stderr"]
    with Cluster(binary, members=1, flags=flags) as cluster:
        member = cluster.members[0]
        member.stop()
        pattern = re.compile("%s\tinfo\t(raft\t)?%s\t[^\t]+(\t\\{.*\\})?" % (TIME, CALLER))
        for line in lines_of(member.log_path):
            assert pattern.fullmatch(line), line
    with Cluster(binary, members=1, flags=["--log-level", "error"]) as cluster:
        cluster.members[0].stop()
        assert lines_of(cluster.members[0].log_path) == []


def unread(binary):
    """stderr is a pipe that nobody reads, and full at once."""
    cluster = Cluster(binary, members=1, flags=["--log-level", "debug",
                                                "--warning-unary-request-duration", "1ns"])
    member = cluster.members[0]
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    try:
        member.process = subprocess.Popen(member.args(), stdin=subprocess.DEVNULL,
                                          stdout=write_end, stderr=write_end)
        member.log = open(os.devnull, "rb")
        member.wait_healthy()
        stubs, worst = Stubs(member), 0
        for i in range(3000):
            begin = time.monotonic()
            stubs.put(b"key", b"%d" % i, timeout=5)
            worst = max(worst, time.monotonic() - begin)
        assert not select.select([], [write_end], [], 0)[1], "the pipe takes nothing any more"
        print("log unread: slowest of 3,000 puts %.1f ms" % (worst * 1e3))
        assert worst < 1, worst
        took = member.stop()
        assert took <= 1.0, took
    finally:
        os.close(read_end)
        os.close(write_end)
        cluster.stop()


class Proxy:
    """Stands in front of a member's peer port; while `cut` is set it forwards nothing."""

    def __init__(self, listen, to):
        self.to, self.cut = to, threading.Event()
        self.socket = socket.create_server(("127.0.0.1", listen))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            a, _ = self.socket.accept()
            try:
                b = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                a.close()
                continue
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.pump, args=(x, y), daemon=True).start()

    def pump(self, x, y):
        try:
            while True:
                data = x.recv(65536)
                if not data:
                    break
                while self.cut.is_set():
                    time.sleep(0.01)  # what a cut is
                y.sendall(data)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            x.close()
            y.close()


def cut_and_clock(binary, library):
    """What the others dial at m0 is cut: they hear nothing of it while it hears them. And m1's
    clock is wrong."""
    flags = ["--raft-read-timeout", "1s", "--raft-write-timeout", "1s"]
    cluster = Cluster(binary, members=3, flags=flags)
    victim, wrong = cluster.members[:2]
    port = free_ports(1)[0]
    proxy = Proxy(port, int(victim.listen_peer_url.rsplit(":", 1)[1]))
    victim.peer_url = "http://127.0.0.1:%d" % port
    fault = Fault(wrong, library)
    fault.set(clock_ns=5 * 10**9)
    with cluster:
        victim_id = "%x" % Stubs(victim).status().header.member_id
        wrong_id = "%x" % Stubs(wrong).status().header.member_id
        other = cluster.members[2]

        def lost():
            return [line for line in find(
                other.log_path, "peer became inactive (message send to peer failed)")
                if line["remote-peer-id"] == victim_id]
        before = len(lost())
        proxy.cut.set()
        line = wait_for(lambda: lost()[before:], "the cut is told", 20)[0]
        assert line["level"] == "warn" and line["direction"] == "from the peer", line
        assert re.fullmatch(r"[\d.]+(ms|s|m.*)", line["for"]), line
        proxy.cut.clear()
        wait_for(lambda: find(other.log_path, "peer became active")[-1]["remote-peer-id"] ==
                 victim_id, "it is back", 20)
        drift = wait_for(lambda: [seen for seen in find(
            other.log_path, "prober found high clock drift")
            if seen["remote-peer-id"] == wrong_id], "the wrong clock is told", 20)[0]
        assert drift["level"] == "warn", drift
        assert 4 < abs(float(drift["clock-difference"].lstrip("-").rstrip("s"))) < 6, drift


def main():
    binary, library = sys.argv[1:3]
    json_form(binary)
    console_form(binary)
    unread(binary)
    cut_and_clock(binary, library)
    return 0


if __name__ == "__main__":
    sys.exit(main())
