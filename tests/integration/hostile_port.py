#!/usr/bin/python3
"""Mutated bytes on the client port and on the peer port of a running member: it stays alive, serves
reads and writes between them, and neither its memory nor its descriptors grow.

    hostile_port.py OURS [--cases N] [--seconds S] [--seed N] [--long] [--sanitized]

Each case is a good exchange (HTTP/1.1, JSON, HTTP/2, gRPC, protobuf, the members' protocol) that was
changed as a fuzzer does, sent on a connection of its own. A run ends after --cases or --seconds,
whichever comes first; --long is 100,000 cases however long they take.
"""
import argparse
import collections
import json
import os
import socket
import struct
import time

from cluster import Cluster, http_get, leave, skip, wait_for
import hostile_bytes as hb

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

OPEN_MAX = 48            # connections of cases that are open at once
CHECK_EVERY = 500        # cases between two looks at the member
GROWTH_KIB_MAX = 24 * 1024    # RssAnon above what it was after a twentieth of the cases
GROWTH_SANITIZED_KIB_MAX = 512 * 1024    # AddressSanitizer keeps what was freed


def client_seeds():
    """Good exchanges of the client port. What writes writes few keys, so that the store is small."""
    put = rpc.PutRequest(key=b"hostile", value=b"v" * 40, prev_kv=True).SerializeToString()
    get = rpc.RangeRequest(key=b"a", range_end=b"\0", limit=3, sort_order=1, sort_target=2).SerializeToString()
    txn = rpc.TxnRequest(
        compare=[rpc.Compare(result=1, target=2, key=b"hostile", mod_revision=3)],
        success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"hostile")),
                 rpc.RequestOp(request_txn=rpc.TxnRequest())],
        failure=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"hostile", value=b"2"))]).SerializeToString()
    delete = rpc.DeleteRangeRequest(key=b"nothing", range_end=b"nothinh").SerializeToString()
    h2 = [hb.opening() + hb.grpc_call("/etcdserverpb.KV/Put", put),
          hb.opening(window=0, frame=16384) + hb.grpc_call("/etcdserverpb.KV/Range", get) +
          hb.frame(hb.WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)),
          hb.opening() + hb.grpc_call("/etcdserverpb.KV/Txn", txn, extra=[("grpc-timeout", "10S")]),
          hb.opening(table=0, list=4096) + hb.grpc_call("/etcdserverpb.KV/DeleteRange", delete),
          hb.opening() + hb.grpc_call("/etcdserverpb.KV/Compact", rpc.CompactionRequest(revision=1).SerializeToString()),
          hb.opening() + hb.grpc_call("/etcdserverpb.Cluster/MemberList", b"") +
          hb.grpc_call("/etcdserverpb.Maintenance/Status", b"", 3) +
          hb.grpc_call("/etcdserverpb.Maintenance/HashKV", b"", 5),
          hb.opening() + hb.grpc_call("/grpc.health.v1.Health/Check", b"") + hb.grpc_call("/no.Such/Call", b"", 3),
          hb.opening() + hb.grpc_call("/etcdserverpb.Watch/Watch", rpc.WatchRequest(
              create_request=rpc.WatchCreateRequest(key=b"hostile")).SerializeToString()),
          hb.opening() + hb.frame(hb.HEADERS, hb.END_HEADERS, 1, hb.grpc_headers("/etcdserverpb.KV/RangeStream")) +
          hb.frame(hb.DATA, hb.END_STREAM, 1, hb.grpc_message(get)),
          # One message in pieces, padding, a priority, an acknowledged ping, CONTINUATION, trailers.
          hb.opening() + hb.frame(hb.HEADERS, 0, 1, hb.grpc_headers("/etcdserverpb.KV/Range")[:30]) +
          hb.frame(hb.CONTINUATION, hb.END_HEADERS, 1, hb.grpc_headers("/etcdserverpb.KV/Range")[30:]) +
          hb.frame(hb.DATA, hb.PADDED, 1, b"\x03" + hb.grpc_message(get)[:4] + b"\0" * 3) +
          hb.frame(hb.PRIORITY, 0, 1, b"\0\0\0\0\x10") + hb.frame(hb.PING, hb.ACK, 0, b"12345678") +
          hb.frame(hb.DATA, 0, 1, hb.grpc_message(get)[4:]) +
          hb.frame(hb.HEADERS, hb.END_HEADERS | hb.END_STREAM, 1, hb.header_block([("x-trailer", "1")])),
          hb.opening() + hb.frame(hb.HEADERS, hb.END_HEADERS, 1, hb.grpc_headers("/etcdserverpb.KV/Put", extra=[
              ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip"), ("token", "abc"),
              ("x-bin", "AAAA"), ("hasleader", "true")])) +
          hb.frame(hb.DATA, hb.END_STREAM, 1, hb.grpc_message(put, compressed=1)),
          hb.opening() + hb.grpc_call("/etcdserverpb.KV/Put", put) + hb.frame(hb.RST_STREAM, 0, 1, b"\0\0\0\x08") +
          hb.grpc_call("/etcdserverpb.KV/Range", get, 3) + hb.frame(hb.GOAWAY, 0, 0, b"\0" * 8)]
    body = lambda **fields: json.dumps(fields).encode()
    h1 = [hb.http1("GET", "/health"), hb.http1("GET", "/readyz?verbose&exclude=x"), hb.http1("GET", "/version"),
          hb.http1("GET", "/v2/members"), hb.http1("OPTIONS", "/v3/kv/put", [("Origin", "http://a")]),
          hb.http1("POST", "/v3/kv/put", body=body(key="aG9zdGlsZQ==", value="dg==", lease="0")),
          hb.http1("POST", "/v3/kv/range", body=body(key="YQ==", range_end="AA==", sort_order="DESCEND", limit=2)),
          hb.http1("POST", "/v3/kv/txn", body=body(
              compare=[{"key": "aG9zdGlsZQ==", "target": "MOD", "mod_revision": "2", "result": "GREATER"}],
              success=[{"request_range": {"key": "aG9zdGlsZQ=="}}], failure=[{"requestPut": {"key": "aA=="}}])),
          hb.http1("POST", "/v3/kv/range", [("Transfer-Encoding", "chunked")], b"12\r\n" + b'{"key":"aG9zdGk="}' + b"\r\n0\r\n\r\n"),
          hb.http1("POST", "/v3/maintenance/status", [("Grpc-Timeout", "5S"), ("Authorization", "x")], b"{}") +
          hb.http1("GET", "/metrics"),
          hb.http1("GET", "/health", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                                      ("HTTP2-Settings", "AAMAAABkAAQAAP__")])]
    return h2 + h1


def peer_seeds(member_id, cluster_id):
    """Good exchanges of the peer port, but for their ids: none is of a member of this cluster."""
    def headers(to):
        return [("X-Server-From", "8e9e05c52164694d"), ("X-Server-Version", "3.7.1"),
                ("X-Min-Cluster-Version", "3.0.0"), ("X-Etcd-Cluster-ID", "%x" % cluster_id),
                ("X-Raft-To", to), ("X-PeerURLs", "http://127.0.0.1:1")]
    # raftpb.Message: type MsgApp, to, from, term, logTerm, index, one entry, commit.
    entry = b"\x08\x00\x10\x01\x18\x05" + hb.field(4, b"\x08\x01")
    message = (b"\x08\x03\x10" + hb.varint(0x1234) + b"\x18" + hb.varint(0x8e9e05c52164694d) +
               b"\x20\x01\x28\x01\x30\x04" + hb.field(7, entry) + b"\x40\x04")
    other = "%x" % (member_id ^ 1)
    return [hb.http1("POST", "/raft", headers(other) + [("Content-Type", "application/protobuf")], message),
            hb.http1("POST", "/raft", headers(other) + [("Content-Type", "application/protobuf"),
                                                        ("Transfer-Encoding", "chunked")],
                     b"%x\r\n" % len(message) + message + b"\r\n0\r\n\r\n"),
            hb.http1("POST", "/raft/snapshot", headers(other), struct.pack(">Q", len(message)) + message),
            hb.http1("GET", "/raft/stream/msgapp/8e9e05c52164694d", headers(other)),
            hb.http1("GET", "/raft/stream/message/%x" % (member_id ^ 1), headers(other)),
            hb.http1("GET", "/raft/stream/message/%x" % member_id, headers("%x" % member_id)),
            hb.http1("GET", "/raft/probing"), hb.http1("GET", "/members"), hb.http1("GET", "/version"),
            hb.http1("GET", "/members/hashkv", body=b'{"revision":1}'),
            hb.http1("POST", "/members/promote/12", headers(other)),
            hb.http1("POST", "/leases", body=b"\x08\x01"), hb.http1("GET", "/downgrade/enabled"),
            hb.opening() + hb.grpc_call("/etcdserverpb.KV/Range", b"\x0a\x01a")]


class Run:
    def __init__(self, member, sanitized):
        self.member = member
        self.growth_max = GROWTH_SANITIZED_KIB_MAX if sanitized else GROWTH_KIB_MAX
        self.open = collections.deque()
        self.answered = 0
        self.base = 0
        self.memory_max = 0

    def descriptors(self):
        """What is open but for the log and the store, whose files come and go by their own measure."""
        folder = "/proc/%d/fd" % self.member.process.pid
        names = collections.Counter()
        for fd in os.listdir(folder):
            try:
                name = os.readlink(os.path.join(folder, fd))
            except FileNotFoundError:
                continue    # closed meanwhile
            if not name.startswith(self.member.dir):
                names[name.split(":[")[0]] += 1
        return names

    def send(self, address, data, how):
        """One case; the oldest connection makes room for it."""
        if len(self.open) >= OPEN_MAX:
            self.close(self.open.popleft())
        s = socket.socket()
        host, port = address
        s.settimeout(5)
        s.connect((host, port))
        s.setblocking(False)
        try:
            if how % 4 == 0 and len(data) > 1:    # in two pieces, so that a parser stops in between
                s.send(data[:len(data) // 2])
                data = data[len(data) // 2:]
            s.send(data)
            if how % 3 == 0:
                s.shutdown(socket.SHUT_WR)
            elif how % 7 == 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass    # closed by the member already
        self.open.append(s)

    def close(self, s):
        try:
            self.answered += len(s.recv(1 << 16)) > 0
        except OSError:
            pass
        s.close()

    def close_all(self):
        while self.open:
            self.close(self.open.popleft())

    def look(self, case, stub):
        """Alive, healthy, reading and writing, its memory flat."""
        assert self.member.alive(), "ended with %s after case %d:\n%s" % (
            self.member.process.poll(), case, self.member.log_tail(6000))
        status, body = http_get("http://%s/health" % self.member.client, 10)
        assert (status, json.loads(body)["health"]) == (200, "true"), (case, status, body)
        stub.Put(rpc.PutRequest(key=b"case", value=b"%d" % case), timeout=10)
        answer = stub.Range(rpc.RangeRequest(key=b"case"), timeout=10)
        assert answer.kvs[0].value == b"%d" % case, (case, answer)
        memory = self.member.memory_kib()
        self.memory_max = max(self.memory_max, memory)
        if self.base:
            assert memory <= self.base + self.growth_max, (
                "case %d: %d KiB, after the first cases %d KiB" % (case, memory, self.base))
        return memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--cases", type=int, default=100000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--sanitized", action="store_true")
    args = parser.parse_args()
    # The members' messages that are refused are not worth a line each.
    with Cluster(args.ours, flags=["--log-level=error"]) as cluster:
        member = cluster.members[0]
        run = Run(member, args.sanitized)
        channel = grpc.insecure_channel(member.client)
        stub = rpc.KVStub(channel)
        first = stub.Put(rpc.PutRequest(key=b"first", value=b"1"), timeout=10)
        for n in range(100):
            stub.Put(rpc.PutRequest(key=b"a%02d" % n, value=b"x" * 1000), timeout=10)
        client = tuple_of(member.client)
        peer = tuple_of(member.peer_url.split("//")[1])
        ports = [(client, client_seeds()), (client, client_seeds()),
                 (peer, peer_seeds(first.header.member_id, first.header.cluster_id))]
        mutator = hb.Mutator(args.seed)
        fds = run.descriptors()
        begin = time.monotonic()
        case = 0
        for address, seeds in ports[1:]:
            for seed in seeds:    # as they are, first
                run.send(address, seed, 0)
        while case < args.cases and (args.long or time.monotonic() - begin < args.seconds):
            address, seeds = ports[case % len(ports)]
            run.send(address, mutator.change(mutator.random.choice(seeds), seeds), mutator.random.randrange(84))
            case += 1
            if case % CHECK_EVERY == 0:
                memory = run.look(case, stub)
                if not run.base and (case >= args.cases // 20 or time.monotonic() - begin > args.seconds / 4):
                    run.base = memory
        run.close_all()
        run.look(case, stub)
        wait_for(lambda: run.descriptors() == fds, "descriptors: %s, before %s" % (run.descriptors(), fds), 15)
        took_s = time.monotonic() - begin
        member.stop()
        assert b"Sanitizer" not in open(member.log_path, "rb").read(), member.log_tail()
    assert run.answered > case // 20, "only %d of %d cases were answered" % (run.answered, case)
    print("%d cases in %.0f s, %d answered; memory %d KiB after the first, at most %d KiB" % (
        case, took_s, run.answered, run.base, run.memory_max))
    return 0


def tuple_of(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


if __name__ == "__main__":
    leave(main())
