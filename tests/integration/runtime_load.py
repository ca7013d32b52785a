"""Load and raw connections for the tests of the running member."""
import os
import socket
import struct
import threading
import time

from cluster import skip

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

OPTIONS = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100),
           ("grpc.use_local_subchannel_pool", 1),
           ("grpc.max_receive_message_length", -1)]


class Stubs:
    """One connection to one member."""

    def __init__(self, member):
        self.channel = grpc.insecure_channel(member.client, options=OPTIONS)
        self.kv = rpc.KVStub(self.channel)
        self.cluster = rpc.ClusterStub(self.channel)
        self.maintenance = rpc.MaintenanceStub(self.channel)

    def put(self, key, value, timeout=2.0, wait=False):
        return self.kv.Put(rpc.PutRequest(key=key, value=value), timeout=timeout,
                           wait_for_ready=wait)

    def get(self, key, timeout=2.0, serializable=False, wait=False, end=b""):
        return self.kv.Range(rpc.RangeRequest(key=key, range_end=end, serializable=serializable),
                             timeout=timeout, wait_for_ready=wait)

    def status(self, timeout=2.0):
        return self.maintenance.Status(rpc.StatusRequest(), timeout=timeout)


def code_of(call):
    """None where the call succeeds, else (code, text)."""
    try:
        call()
    except grpc.RpcError as e:
        return e.code(), e.details()
    return None


def leader_of(members):
    """The member that says of itself that it leads; None while none does."""
    for member in members:
        if not member.alive():
            continue
        stubs = Stubs(member)
        try:
            status = stubs.status(timeout=1)
            if status.leader == status.header.member_id:
                return member
        except grpc.RpcError:
            pass
        finally:
            stubs.channel.close()
    return None


class Load:
    """Threads that put keys of their own through the members in turn, failing over at once. What
    was acknowledged is kept; when each acknowledgement came is kept too."""

    def __init__(self, members, threads=4, value=b"v" * 128, prefix=b"load"):
        self.members = list(members)
        self.value = value
        self.prefix = prefix
        self.stopping = threading.Event()
        self.acknowledged = [0] * threads   # the last of each thread
        self.tried = [0] * threads
        self.lost_tries = [set() for _ in range(threads)]
        self.times = []                     # of acknowledgements, monotonic
        self.errors = {}                    # (code, text) → count
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True)
                        for n in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join()

    def key(self, thread, number):
        return b"%s/%d/%09d" % (self.prefix, thread, number)

    def run(self, n):
        stubs = [Stubs(m) for m in self.members]
        at = n % len(stubs)
        while not self.stopping.is_set():
            self.tried[n] += 1
            number = self.tried[n]
            try:
                stubs[at].put(self.key(n, number), self.value, timeout=5)
            except grpc.RpcError as e:
                seen = (e.code().name, e.details())
                self.errors[seen] = self.errors.get(seen, 0) + 1
                self.lost_tries[n].add(number)
                at = (at + 1) % len(stubs)
                time.sleep(0.002)  # the pace of failover
                continue
            self.times.append(time.monotonic())
            self.acknowledged[n] = number

    def done(self):
        return len(self.times)

    def first_after(self, when):
        return next((t for t in list(self.times) if t > when), None)

    def longest_gap(self, begin, end):
        times = [begin] + sorted(t for t in self.times if begin < t < end) + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def missing(self, stubs):
        """How many acknowledged writes a linearizable list does not show."""
        there = {kv.key for kv in stubs.kv.Range(rpc.RangeRequest(
            key=self.prefix, range_end=self.prefix + b"\xff", keys_only=True), timeout=20).kvs}
        count = 0
        for n, last in enumerate(self.acknowledged):
            for number in range(1, last + 1):
                if number not in self.lost_tries[n] and self.key(n, number) not in there:
                    count += 1
        return count


# ── HTTP/2 by hand: what a library would not let us do ────────────────────────────────────────

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def literal(name, value):
    """A header field without indexing (RFC 7541, section 6.2.2); both below 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def grpc_frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message.SerializeToString() \
        if not isinstance(message, bytes) else b"\0" + struct.pack(">I", len(message)) + message


class RawConnection:
    """A client that reads only when it is told to."""

    def __init__(self, member, window=None, receive_buffer=None):
        host, port = member.client.split(":")
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, int(port)))
        self.authority = member.client.encode()
        self.next_stream = 1
        self.buffer = b""
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, settings))

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
            struct.pack(">I", stream) + payload

    def call_bytes(self, path, message):
        stream = self.next_stream
        self.next_stream += 2
        head = b"".join(literal(n, v) for n, v in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
            (b":authority", self.authority), (b"content-type", b"application/grpc"),
            (b"te", b"trailers")))
        body = message.SerializeToString()
        body = b"\0" + struct.pack(">I", len(body)) + body
        return self.frame(HEADERS, END_HEADERS, stream, head) + \
            self.frame(DATA, END_STREAM, stream, body)

    def call(self, path, message):
        self.socket.sendall(self.call_bytes(path, message))

    def send(self, data):
        self.socket.sendall(data)

    def read_frame(self, timeout=10.0):
        """(kind, flags, stream, payload); None at the end."""
        self.socket.settimeout(timeout)
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    kind, flags = self.buffer[3], self.buffer[4]
                    stream = int.from_bytes(self.buffer[5:9], "big") & 0x7fffffff
                    payload = self.buffer[9:9 + length]
                    self.buffer = self.buffer[9 + length:]
                    return kind, flags, stream, payload
            more = self.socket.recv(1 << 18)
            if not more:
                return None
            self.buffer += more

    def close(self):
        self.socket.close()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def threads_of(member):
    return len(os.listdir("/proc/%d/task" % member.process.pid))
