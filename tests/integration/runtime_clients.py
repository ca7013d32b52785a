#!/usr/bin/python3
"""Slow and greedy clients cost the server bounded memory and the others no time.

    runtime_clients.py ETCD
"""
import struct
import sys
import threading
import time

from cluster import Cluster, wait_for
from runtime_load import (DATA, END_STREAM, GOAWAY, HEADERS, OPTIONS, PING, RST_STREAM,
                          WINDOW_UPDATE, RawConnection, Stubs, code_of, grpc, percentile, rpc)

RANGE, PUT = b"/etcdserverpb.KV/Range", b"/etcdserverpb.KV/Put"
LIST = rpc.RangeRequest(key=b"list/", range_end=b"list0")
LIST_BYTES = 100 << 20
MEMORY_KIB = 10 << 10


def latency(stubs, calls=500):
    took = []
    for _ in range(calls):
        begin = time.monotonic()
        stubs.get(b"none", serializable=True)
        took.append(time.monotonic() - begin)
    return percentile(took, 0.99)


def open_windows(connection):
    connection.send(connection.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)))


def begin_list(member, **options):
    slow = RawConnection(member, receive_buffer=65536, **options)
    if options:
        open_windows(slow)
    slow.call(RANGE, LIST)
    wait_for(lambda: slow.read_frame()[0] == DATA, "a list has begun")
    return slow


def read_to_end(connection, ret):
    size = 0
    while True:
        kind, flags, _, payload = connection.read_frame(60)
        if kind == DATA:
            size += len(payload)
        if kind == HEADERS and flags & END_STREAM:
            ret.append(size)
            return


def lists_unread(member, stubs):
    base, calm = member.memory_kib(), latency(stubs)
    for windows in None, 0x7fffffff:
        options = {} if windows is None else {"window": windows}
        slow = [begin_list(member, **options)]
        grown = [member.memory_kib() - base]
        slow += [begin_list(member, **options) for _ in range(19)]
        grown.append(member.memory_kib() - base)
        busy = latency(stubs)
        print("lists of 100 MiB unread, windows %s: memory for 1: %d KiB, for 20: %d KiB; "
              "p99 of others %.2f ms, alone %.2f ms" % (
                  "closed" if windows is None else "open", grown[0], grown[1], busy * 1e3,
                  calm * 1e3))
        assert max(grown) <= MEMORY_KIB, grown
        assert busy < 3 * calm + 0.02, (busy, calm)
        if windows is not None:
            sizes, threads = [], []
            for connection in slow:
                threads.append(threading.Thread(target=read_to_end, args=(connection, sizes)))
                threads[-1].start()
            peak = 0
            while any(t.is_alive() for t in threads):
                peak = max(peak, member.memory_kib() - base)
                time.sleep(0.01)  # the pace of looking
            # The first frame of each was read before.
            assert len(sizes) == 20 and min(sizes) > LIST_BYTES - (1 << 16), sizes
            print("20 such lists read at once: memory %d KiB" % peak)
            assert peak <= MEMORY_KIB, peak
        for connection in slow:
            connection.close()


def list_beside_calls(member):
    """A list in flight leaves its own connection fit for other calls."""
    slow = begin_list(member)
    stream = slow.next_stream
    open_windows(slow)
    slow.call(RANGE, rpc.RangeRequest(key=b"none"))
    while True:
        kind, flags, at, _ = slow.read_frame()
        if at == stream and kind in (HEADERS, RST_STREAM):
            assert kind == HEADERS, "refused"
            if flags & END_STREAM:
                break
    slow.close()


def idle_connections(member, stubs):
    base = member.memory_kib()
    idle = [RawConnection(member) for _ in range(1000)]
    for connection in idle:
        connection.call(RANGE, rpc.RangeRequest(key=b"none"))
        ret = []
        read_to_end(connection, ret)
    each = (member.memory_kib() - base) / 1000
    print("1,000 idle connections after a call: %.1f KiB each" % each)
    assert each <= 40, each
    assert latency(stubs) < 0.1
    for connection in idle:
        connection.close()


def many_in_flight(member, stubs):
    """10,000 puts on one connection that reads its answers only after the last was sent, and
    10,000 large reads that no window lets out."""
    base = member.memory_kib()
    greedy = RawConnection(member)
    open_windows(greedy)
    calls = b"".join(greedy.call_bytes(PUT, rpc.PutRequest(key=b"put/%d" % i, value=b"v" * 1000))
                     for i in range(10000))
    begin = time.monotonic()
    sender = threading.Thread(target=greedy.send, args=(calls,))
    sender.start()
    ended = 0
    while ended < 10000:
        kind, flags, _, _ = greedy.read_frame(30)
        assert kind not in (RST_STREAM, GOAWAY), kind
        ended += kind == HEADERS and flags & END_STREAM
    sender.join()
    there = stubs.kv.Range(rpc.RangeRequest(key=b"put/", range_end=b"put0", count_only=True)).count
    grown = member.memory_kib() - base
    print("10,000 puts on one connection: %.2f s, memory %d KiB" % (time.monotonic() - begin, grown))
    assert there == 10000, there
    assert grown <= 64 << 10, grown
    greedy.close()

    base = member.memory_kib()
    greedy = RawConnection(member, window=0)
    open_windows(greedy)
    greedy.send(b"".join(greedy.call_bytes(RANGE, rpc.RangeRequest(key=b"list/000"))
                         for i in range(10000)))
    took = [latency(stubs, 200) for _ in range(3)]
    grown = member.memory_kib() - base
    print("10,000 reads of 1 MiB that no window lets out: memory %d KiB, p99 of others %.2f ms" % (
        grown, max(took) * 1e3))
    assert grown <= 64 << 10, grown
    assert code_of(lambda: stubs.put(b"after", b"")) is None
    greedy.close()


def pings(member):
    """Who pings without pause is sent away; a real client's keepalive is left alone."""
    rude = RawConnection(member)
    for _ in range(100):
        rude.send(rude.frame(PING, 0, 0, b"\0" * 8))
    while True:
        frame = rude.read_frame()
        assert frame, "closed without a reason"
        if frame[0] == GOAWAY:
            assert struct.unpack(">I", frame[3][4:8])[0] == 11 and b"too_many_pings" in frame[3]
            break
    channel = grpc.insecure_channel(member.client, options=OPTIONS + [
        ("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 1000)])
    kv = rpc.KVStub(channel)
    end = time.monotonic() + 4
    changes = []
    channel.subscribe(changes.append)
    while time.monotonic() < end:
        kv.Range(rpc.RangeRequest(key=b"none"), timeout=5)
        time.sleep(0.3)  # the pace of a quiet client: pings fall between
    assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in changes, changes


def main():
    with Cluster(sys.argv[1], members=1) as cluster:
        member = cluster.members[0]
        stubs = Stubs(member)
        for i in range(100):
            stubs.put(b"list/%03d" % i, b"v" * (1 << 20), timeout=10)
        lists_unread(member, stubs)
        list_beside_calls(member)
        idle_connections(member, stubs)
        many_in_flight(member, stubs)
        pings(member)
    return 0


if __name__ == "__main__":
    sys.exit(main())
