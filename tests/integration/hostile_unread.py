#!/usr/bin/python3
"""Clients that go on asking and do not read what comes back: a member stops reading from them before
its memory grows, serves others meanwhile, and answers all that it had read once they read again. And
clients that hold very many calls open, or messages half sent: others are served meanwhile.

    hostile_unread.py OURS [--large]

--large takes a gigabyte each time: as many streams as may rest and more, and lists that nobody reads.
"""
import base64
import json
import os
import re
import signal
import socket
import struct
import sys
import urllib.request

from cluster import Cluster, http_get, leave, wait_for
import hostile_bytes as hb

STOPPED_S = 1.0          # who takes nothing for so long has stopped reading
TAKEN_MAX = 64 << 20     # bytes
GROWTH_KIB_MAX = 40 * 1024
LARGEST_WINDOW = (1 << 31) - 1


def ask_until_stopped(s, request):
    """Sends it again and again; how many went whole once nothing more is taken."""
    many = request * (1 + (256 << 10) // len(request))
    sent = 0
    s.settimeout(STOPPED_S)
    try:
        while sent < TAKEN_MAX:
            sent += s.send(many[sent % len(request):])
    except TimeoutError:
        return sent // len(request)
    raise AssertionError("still read from after %d MiB that nobody read the answers of" % (sent >> 20))


def read_until(s, done):
    """All that comes until done(it) holds."""
    s.settimeout(20)
    got = bytearray()
    while not done(got):
        more = s.recv(1 << 18)
        assert more, "closed after %d bytes: %r" % (len(got), bytes(got[-200:]))
        got += more
    return bytes(got)


def pages(address, _cluster):
    """Pipelined requests of HTTP/1.1."""
    with hb.connect(address) as s:
        asked = ask_until_stopped(s, hb.http1("GET", "/version"))
        yield
        got = read_until(s, lambda got: got.count(b"HTTP/1.1 200 OK\r\n") == asked)
        assert got.endswith(b"}"), got[-200:]
        return asked


def peer_pages(_address, cluster):
    return pages(cluster.members[0].peer_url.split("//")[1], cluster)


def refused_calls(address, _cluster):
    """Calls of a method that is not there: their answers are heads alone, which no window holds back."""
    with hb.connect(address) as s:
        s.sendall(hb.opening())
        heads = hb.grpc_headers("/no.Such/Call")
        stream, sent, taken = 1, 0, True
        s.settimeout(STOPPED_S)
        waiting = b""
        while taken:
            while len(waiting) < 1 << 18:
                waiting += hb.frame(hb.HEADERS, hb.END_HEADERS | hb.END_STREAM, stream, heads)
                stream += 2
            try:
                n = s.send(waiting)
                sent += n
                waiting = waiting[n:]
                assert sent < TAKEN_MAX, "still read from"
            except TimeoutError:
                taken = False
        asked = sent // (9 + len(heads))
        yield
        frames = hb.Frames(s)
        s.settimeout(20)
        for _ in range(asked):
            assert frames.until(hb.HEADERS), "closed"
        return asked


def kept_alive(address, _cluster):
    """One stream of LeaseKeepAlive whose window is closed."""
    status, granted = post(address, "/v3/lease/grant", {"TTL": "600"})
    assert status == 200, granted
    question = hb.grpc_message(b"\x08" + hb.varint(int(granted["ID"])))
    with hb.connect(address) as s:
        s.sendall(hb.opening(window=0) + hb.frame(
            hb.HEADERS, hb.END_HEADERS, 1, hb.grpc_headers("/etcdserverpb.Lease/LeaseKeepAlive")))
        frames = hb.Frames(s)
        asked, window = 0, 65535
        s.settimeout(STOPPED_S)
        while asked < 1000000:
            while window >= len(question):
                n = min(window // len(question), 700)
                s.sendall(hb.frame(hb.DATA, 0, 1, question * n))
                window -= n * len(question)
                asked += n
            try:
                one = frames.next()
            except TimeoutError:
                break
            assert one, "closed"
            if one[0] == hb.WINDOW_UPDATE and one[2] == 1:
                window += struct.unpack(">I", one[3])[0]
        assert asked < 40000, "still asked after %d unread answers" % asked
        yield
        s.settimeout(20)
        s.sendall(hb.frame(hb.WINDOW_UPDATE, 0, 1, struct.pack(">I", LARGEST_WINDOW)) +
                  hb.frame(hb.WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65535)) +
                  hb.frame(hb.DATA, hb.END_STREAM, 1))
        answers = b""
        while True:
            one = frames.next()
            assert one, "closed"
            if one[0] == hb.DATA:
                answers += one[3]
            if one[0] == hb.HEADERS and one[1] & hb.END_STREAM:
                break
        count = 0
        while answers:
            answers = answers[5 + struct.unpack(">I", answers[1:5])[0]:]
            count += 1
        assert count == asked, (count, asked)
        return asked


def opened(address, path, count, message=b""):
    """A connection with so many calls, each with that message or with none yet."""
    s = hb.connect(address, 10)
    heads = hb.grpc_headers(path)
    s.sendall(hb.opening() + hb.frame(hb.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
    for first in range(0, count, 500):
        s.sendall(b"".join(
            hb.frame(hb.HEADERS, hb.END_HEADERS, stream, heads) +
            (hb.frame(hb.DATA, 0, stream, hb.grpc_message(message)) if message else b"")
            for stream in range(2 * first + 1, 2 * min(count, first + 500), 2)))
    return s


def ends(frames, count):
    """How the next streams end: the number that was answered, and of refused ones."""
    answered = refused = 0
    with_data = set()
    while answered + refused < count:
        one = frames.next()
        assert one, "closed after %d and %d" % (answered, refused)
        kind, flags, stream, payload = one
        if kind == hb.DATA and payload:
            frames.socket.sendall(hb.frame(hb.WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            with_data.add(stream)
        refused += kind == hb.RST_STREAM and payload != bytes(4)    # NO_ERROR follows an answer
        if kind == hb.HEADERS and flags & hb.END_STREAM:
            answered += stream in with_data
            refused += stream not in with_data
    return answered, refused


def half_open_calls(address, _cluster):
    """Calls whose message does not come."""
    with opened(address, "/etcdserverpb.KV/Range", 9000), opened(address, "/etcdserverpb.KV/Put", 9000):
        yield
        return 18000


def streams_that_rest(address, _cluster):
    """Each client keeps a lease alive, as a thousand services do."""
    status, granted = post(address, "/v3/lease/grant", {"TTL": "600"})
    assert status == 200, granted
    question = b"\x08" + hb.varint(int(granted["ID"]))
    connections = [opened(address, "/etcdserverpb.Lease/LeaseKeepAlive", 2000, question) for _ in range(9)]
    for s in connections:
        frames = hb.Frames(s)
        for _ in range(2000):
            assert frames.until(hb.DATA), "closed"
    yield
    for s in connections:
        s.close()
    return 18000


def more_than_fits_the_window(address, _cluster):
    """Answers to very many calls that are read in time: the window says so, once it is read."""
    asked = 12000
    value = base64.b64encode(b"v" * 900).decode()
    assert post(address, "/v3/kv/put", {"key": "aw==", "value": value})[0] == 200
    s = hb.connect(address, 20)
    with s:
        heads = hb.grpc_headers("/etcdserverpb.KV/Range")
        s.sendall(hb.opening())
        for stream in range(1, 2 * asked, 2):
            s.sendall(hb.frame(hb.HEADERS, hb.END_HEADERS, stream, heads) +
                      hb.frame(hb.DATA, hb.END_STREAM, stream, hb.grpc_message(b"\x0a\x01k")))
        yield
        assert ends(hb.Frames(s), asked) == (asked, 0)
        return asked


def more_streams_than_may_rest(address, _cluster):
    """Those beyond are refused, and the others go on."""
    watch = b"\x0a\x03\x0a\x01a"
    connections = []
    told = refused = 0
    for _ in range(6):
        s = opened(address, "/etcdserverpb.Watch/Watch", 50000, watch)
        frames = hb.Frames(s)
        seen = set()    # told that its watcher is there, or refused
        s.settimeout(20)
        while len(seen) < 50000:
            kind, flags, stream, payload = frames.next()
            told += kind == hb.DATA and len(payload) > 0
            refused += kind == hb.HEADERS and bool(flags & hb.END_STREAM)
            if kind == hb.DATA or flags & hb.END_STREAM:
                seen.add(stream)
        connections.append(s)
    yield
    assert told > 250000 and refused > 30000, (told, refused)
    for s in connections:
        s.close()
    return 300000


def half_of_large_messages(address, _cluster):
    """Large messages that stop half-way hold their room until others want it."""
    heads = hb.grpc_headers("/etcdserverpb.KV/Put")
    with hb.connect(address) as s, hb.connect(address, 20) as other:
        s.sendall(hb.opening())
        for stream in range(1, 200, 2):
            s.sendall(hb.frame(hb.HEADERS, hb.END_HEADERS, stream, heads) +
                      hb.frame(hb.DATA, 0, stream, struct.pack(">BI", 0, 1500000) + b"x" * 1000))
        yield
        message = hb.grpc_message(hb.field(1, b"large") + hb.field(2, b"v" * 1000000))
        other.sendall(hb.opening() + hb.frame(hb.HEADERS, hb.END_HEADERS, 1, heads))
        frames, window = hb.Frames(other), 65535
        while message:
            part, message = message[:min(window, 16384)], message[min(window, 16384):]
            window -= len(part)
            other.sendall(hb.frame(hb.DATA, 0 if message else hb.END_STREAM, 1, part))
            while message and not window:
                kind, _, stream, payload = frames.next()
                window += struct.unpack(">I", payload)[0] if (kind, stream) == (hb.WINDOW_UPDATE, 1) else 0
        assert frames.until(hb.DATA), "closed"
        assert hb.Frames(s).until(hb.HEADERS), "nobody made room"
        return 100


def received(member):
    """Messages of Range so far."""
    _, page = http_get("http://%s/metrics" % member.client, 20)
    return sum(float(line.split()[1]) for line in page.splitlines()
               if line.startswith("grpc_server_msg_received_total") and 'grpc_method="Range"' in line)


def more_than_is_worked_on(binary):
    """Twice as many reads as are worked on at once, while no majority answers: the rest wait with
    their messages, and all are done."""
    with Cluster(binary, 3, ["--heartbeat-interval=500", "--election-timeout=10000"]) as cluster:
        leader = wait_for(lambda: next((m for m in cluster.members if m.metric("etcd_server_is_leader")), None),
                          "somebody leads")
        others = [m for m in cluster.members if m is not leader]
        for m in others:
            m.signal(signal.SIGSTOP)
        connections = [opened(leader.client, "/etcdserverpb.KV/Range", 8000, hb.field(1, b"key")) for _ in range(4)]
        wait_for(lambda: received(leader) == 32000, lambda: "read: %d" % received(leader))
        for m in others:
            m.signal(signal.SIGCONT)
        for s in connections:
            s.settimeout(30)
            assert ends(hb.Frames(s), 8000) == (8000, 0)
            s.close()
        print("more_than_is_worked_on: 32000 asked")


def sockets(member):
    folder = "/proc/%d/fd" % member.process.pid
    count = 0
    for fd in os.listdir(folder):
        try:
            count += os.readlink(os.path.join(folder, fd)).startswith("socket:")
        except FileNotFoundError:
            continue    # closed meanwhile
    return count


def lists_that_nobody_reads(address, cluster):
    """Large lists in JSON: of those that are read as they are made nothing is kept, and of those that
    are made whole, transactions, who does not read goes once they would take the memory."""
    value = base64.b64encode(b"v" * 1000000).decode()
    for n in range(40):
        key = base64.b64encode(b"list/%02d" % n).decode()
        assert post(address, "/v3/kv/put", {"key": key, "value": value})[0] == 200
    span = {"key": base64.b64encode(b"list/").decode(), "range_end": base64.b64encode(b"list0").decode()}
    listing = hb.http1("POST", "/v3/kv/range", body=json.dumps(span).encode())
    question = hb.http1("POST", "/v3/kv/txn", body=json.dumps({"success": [{"request_range": span}]}).encode())
    member = cluster.members[0]
    before = member.memory_kib()
    unread = [hb.connect(address) for _ in range(100)]
    for s in unread:
        s.sendall(listing)
        s.settimeout(20)
        s.recv(1, socket.MSG_PEEK)
    assert member.memory_kib() - before < 250 * 1024, member.memory_kib() - before
    for s in unread:
        s.close()
    connections = []
    wait_for(lambda: sockets(member) < 40, "they are gone")
    idle = sockets(member)
    for _ in range(2):    # each takes 54 MB of 512 MiB
        connections += [hb.connect(address) for _ in range(24)]
        for s in connections[-24:]:
            s.sendall(question)
        for s in connections[-24:]:    # each has its answer, or is gone already
            s.settimeout(60)
            try:
                s.recv(1, socket.MSG_PEEK)
            except ConnectionError:
                pass
        wait_for(lambda: sockets(member) - idle <= 10, lambda: "%d are open" % sockets(member), 60)
    yield
    with hb.connect(address) as s:
        s.sendall(listing)
        got = read_until(s, lambda got: got.endswith(b"\r\n0\r\n\r\n"))
        assert len(got) > 53000000 and got.count(b'"mod_revision"') == 40, len(got)
    for s in connections:
        s.close()
    return len(connections)


def kept_alive_in_json(address, _cluster):
    """One request of the gateway with many questions, and only its head is read at first."""
    status, granted = post(address, "/v3/lease/grant", {"TTL": "600"})
    assert status == 200, granted
    asked = 60000
    body = (b'{"ID":"%d"}\n' % int(granted["ID"])) * asked
    with hb.connect(address) as s:
        s.sendall(hb.http1("POST", "/v3/lease/keepalive", body=body))
        yield
        got = read_until(s, lambda got: got.endswith(b"\r\n0\r\n\r\n"))
        assert len(re.findall(rb'"TTL":"600"', got)) == asked, got[-300:]
        return asked


def post(address, path, message):
    request = urllib.request.Request("http://%s%s" % (address, path), json.dumps(message).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.loads(answer.read())


def run(case, cluster, growth_kib_max=GROWTH_KIB_MAX):
    member = cluster.members[0]
    before = most = member.memory_kib()
    client = case(member.client, cluster)
    next(client)
    most = max(most, member.memory_kib())
    key = base64.b64encode(case.__name__.encode()).decode()
    assert post(member.client, "/v3/kv/put", {"key": key, "value": key})[0] == 200
    assert http_get("http://%s/health" % member.client, 10)[0] == 200
    try:
        next(client)
        raise AssertionError("not at its end")
    except StopIteration as end:
        asked = end.value
    most = max(most, member.memory_kib())
    assert most - before < growth_kib_max, "%s: %d KiB, before %d KiB" % (case.__name__, most, before)
    print("%s: %d asked, %d KiB more" % (case.__name__, asked, most - before))


def main():
    if "--large" in sys.argv:
        for case in (more_streams_than_may_rest, lists_that_nobody_reads):
            with Cluster(sys.argv[1]) as cluster:
                run(case, cluster, 1800 * 1024)
        return 0
    with Cluster(sys.argv[1]) as cluster:
        for case in (pages, peer_pages, refused_calls, kept_alive, kept_alive_in_json,
                     half_open_calls):
            run(case, cluster)
        # Large messages on their way share 64 MiB; a resting stream takes four KiB.
        for case in (half_of_large_messages, more_than_fits_the_window, streams_that_rest):
            run(case, cluster, 3 * GROWTH_KIB_MAX)
    more_than_is_worked_on(sys.argv[1])
    return 0


if __name__ == "__main__":
    leave(main())
