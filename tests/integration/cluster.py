"""Members on loopback, ours or another etcd's, for the integration tests.

A Cluster starts its members as processes of its own, each with its directory and log file, waits
for conditions with deadlines, and ends every process that it started. Nothing is slept for.
"""
import atexit
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SKIP = 77  # the exit code that the test runner counts as skipped
FIRST_PORT = 10000
port_locks = []  # held while this process lives


def skip(reason):
    print("SKIP:", reason)
    sys.exit(SKIP)


def leave(status):
    """Ends a test that used Debian's gRPC with its status, past Python's own end: that takes the
    ground from under the library's threads, and now and then one crashes."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def free_ports(count):
    """Ports that nobody listens on, this process's until it ends.

    They lie below those that the kernel gives to outgoing connections: else a client that tries
    again and again to reach a member that is down could take the member's own port. A locked file
    for each keeps tests that run side by side apart."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        end = int(f.read().split()[0])
    folder = os.path.join(tempfile.gettempdir(), "coracle-ports-%d" % os.getuid())
    os.makedirs(folder, exist_ok=True)
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(FIRST_PORT, end)  # apart from a test's own seed
        lock = open(os.path.join(folder, str(port)), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
        except OSError:
            lock.close()    # somebody else's
            continue
        port_locks.append(lock)
        ports.append(port)
    return ports


def wait_for(condition, what, timeout_s=30.0):
    """Polls until the condition holds; its last value is returned. `what` may be a function, for what is
    to be told as it stands at the end of the wait."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out after %.0f s: %s" % (
                timeout_s, what() if callable(what) else what))
        time.sleep(0.02)


def http_get(url, timeout_s=2.0):
    """(status, body text); (0, reason) where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except (OSError, ValueError) as e:
        return 0, str(e)


class Member:
    def __init__(self, cluster, name, binary, client_port, peer_port):
        self.cluster = cluster
        self.name = name
        self.binary = binary
        self.client = "127.0.0.1:%d" % client_port
        self.peer_url = "http://127.0.0.1:%d" % peer_port
        self.listen_peer_url = self.peer_url
        self.dir = os.path.join(cluster.dir, name + ".data")
        self.log_path = os.path.join(cluster.dir, name + ".log")
        self.process = None
        self.environment = {}  # beyond ours

    def args(self):
        cluster = self.cluster
        return [
            self.binary,
            "--name", self.name,
            "--data-dir", self.dir,
            "--listen-client-urls", "http://" + self.client,
            "--advertise-client-urls", "http://" + self.client,
            "--listen-peer-urls", self.listen_peer_url,
            "--initial-advertise-peer-urls", self.peer_url,
            "--initial-cluster", cluster.initial_cluster(),
            "--initial-cluster-token", cluster.token,
            "--initial-cluster-state", "new",
        ] + cluster.flags

    def start(self):
        assert self.process is None or self.process.poll() is not None
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment.update(self.environment)
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            self.args(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self, timeout_s=10.0):
        """SIGTERM; returns the seconds that the stop took."""
        begin = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout_s)
        self.log.close()
        return time.monotonic() - begin

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def healthy(self):
        status, body = http_get("http://%s/health" % self.client)
        try:
            return status == 200 and json.loads(body).get("health") == "true"
        except ValueError:
            return False

    def wait_healthy(self, timeout_s=30.0):
        def check():
            if not self.alive():
                raise AssertionError("%s ended with %s:\n%s" % (
                    self.name, self.process.poll(), self.log_tail()))
            return self.healthy()
        wait_for(check, lambda: "%s is healthy; %s" % (self.name, self.cluster.log_tails()), timeout_s)

    def log_tail(self, size=3000):
        try:
            with open(self.log_path, "rb") as f:
                return f.read()[-size:].decode(errors="replace")
        except OSError:
            return ""

    def memory_kib(self, field="RssAnon"):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0

    def metric(self, name):
        """The value of one that has no labels."""
        status, body = http_get("http://%s/metrics" % self.client, 20)
        assert status == 200, body
        for line in body.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError("no metric " + name)

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cluster:
    """members = how many of one binary, or a list with each member's binary; use as a context
    manager, or call stop()."""

    def __init__(self, binary, members=1, flags=(), token="tests", keep=False):
        binaries = binary if isinstance(binary, list) else [binary] * members
        self.flags = list(flags)
        self.token = token
        self.keep = keep
        self.dir = tempfile.mkdtemp(prefix="coracle-test-")
        ports = free_ports(2 * len(binaries))
        self.members = [
            Member(self, "m%d" % i, binaries[i], ports[2 * i], ports[2 * i + 1])
            for i in range(len(binaries))]
        atexit.register(self.stop)

    def initial_cluster(self):
        return ",".join("%s=%s" % (m.name, m.peer_url) for m in self.members)

    def start(self):
        for m in self.members:
            m.start()
        for m in self.members:
            m.wait_healthy()
        return self

    def log_tails(self):
        return "the logs end\n" + "\n".join(
            "== %s\n%s" % (m.name, m.log_tail()) for m in self.members)

    def endpoints(self):
        return ",".join(m.client for m in self.members)

    def stop(self):
        for m in self.members:
            if m.alive():
                try:
                    m.signal(signal.SIGCONT)
                    m.stop()
                except subprocess.TimeoutExpired:
                    m.kill()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *unused):
        self.stop()
        return False


def debian_etcd():
    """Debian's etcd, to compare with; the test is skipped where it is not installed."""
    path = "/usr/bin/etcd"
    if not os.path.exists(path):
        skip("Debian's etcd-server is not installed")
    return path


def debian_etcdctl():
    path = "/usr/bin/etcdctl"
    if not os.path.exists(path):
        skip("Debian's etcd-client is not installed")
    return path
