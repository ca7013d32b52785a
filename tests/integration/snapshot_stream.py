#!/usr/bin/python3
"""Maintenance.Snapshot as a client sees it: the messages' form, the digest, the gateway, streams
that are cut, and what a stream that nobody reads keeps.

    snapshot_stream.py ETCD [--stall]

With --stall only: a client that takes nothing for a minute loses its stream.
"""
import base64
import hashlib
import json
import os
import random
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from cluster import Cluster, http_get, leave, skip, wait_for  # noqa: E402
import raw  # noqa: E402

try:
    import grpc
except ImportError:
    skip("python3-grpcio is not installed")

SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
CHUNK = 32768


def open_stream(channel):
    call = channel.unary_stream(SNAPSHOT, request_serializer=bytes, response_deserializer=bytes)
    return call(b"")


def unary(channel, method, request):
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    return call(request, timeout=30)


def put(channel, key, value):
    unary(channel, raw.PUT, raw.field(1, key) + raw.field(2, value))


def fill(channel, keys, seed):
    random.seed(seed)
    for i in range(keys):
        size = random.choice((10, 100, 5000)) if i % 100 else 300000
        put(channel, b"/registry/key-%05d" % random.randrange(keys), random.randbytes(size))


def take(messages):
    """The file that these messages hold, each one's form checked; its version."""
    parts = [{n: v for n, v, _ in raw.fields(m)} for m in messages]
    assert len(parts) >= 2
    total = sum(len(p[3]) for p in parts[:-1])
    sent = 0
    for i, part in enumerate(parts[:-1]):
        sent += len(part[3])
        assert set(part) <= {2, 3, 4}, "no header"
        assert len(part[3]) == CHUNK or (i == len(parts) - 2 and len(part[3]) < CHUNK)
        assert part.get(2, 0) == total - sent, "remaining_bytes counts this message"
        assert part[4] == b"3.7.0"
    data = b"".join(p[3] for p in parts[:-1])
    assert parts[-1][3] == hashlib.sha256(data).digest()
    assert parts[-1].get(2, 0) == 0 and parts[-1][4] == b"3.7.0"
    assert len(data) % 4096 == 0
    return data


def whole(channel):
    return take(list(open_stream(channel)))


def by_gateway(member):
    request = urllib.request.Request("http://%s/v3/maintenance/snapshot" % member.client, b"{}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().splitlines()
    data = b""
    for line in lines[:-1]:
        result = json.loads(line)["result"]
        assert result["version"] == "3.7.0"
        data += base64.b64decode(result["blob"])
        assert isinstance(result.get("remaining_bytes", "0"), str)
    digest = base64.b64decode(json.loads(lines[-1])["result"]["blob"])
    assert digest == hashlib.sha256(data).digest()
    return data


def refused(channel):
    try:
        next(open_stream(channel))
    except grpc.RpcError as e:
        return e.details() == "etcdserver: too many requests"
    return False


def check(member, channel):
    empty = whole(channel)
    assert len(empty) < 100000
    fill(channel, 800, 1)
    unary(channel, raw.COMPACT, raw.field(1, 300))
    first = whole(channel)
    assert len(first) > 3 << 20
    # Nothing has happened in between: the same moment, the same bytes.
    assert whole(channel) == first
    assert by_gateway(member) == first
    status, text = http_get("http://%s/metrics" % member.client)
    assert status == 200
    assert "etcd_disk_backend_snapshot_duration_seconds_count 4" in text, text

    # Writes go on while a stream is read slowly, and it stays that moment.
    stream = open_stream(channel)
    messages = [next(stream)]
    fill(channel, 300, 2)
    unary(channel, raw.COMPACT, raw.field(1, 900))
    assert take(messages + list(stream)) == first
    assert whole(channel) != first

    # Cut at any point, they leave nothing behind: there are places for eight.
    for i in range(40):
        stream = open_stream(channel)
        for _ in range(random.randrange(20)):
            next(stream)
        stream.cancel()
    wait_for(lambda: whole_or_none(channel), "a snapshot after 40 were cut")
    streams = [open_stream(channel) for _ in range(8)]
    for stream in streams:
        next(stream)
    assert refused(channel)
    for stream in streams:
        stream.cancel()
    wait_for(lambda: whole_or_none(channel), "a snapshot after eight were given up")
    log = member.log_tail(1 << 20)
    assert "sending database snapshot to client" in log

    # A stop ends them, wherever they are.
    streams = [open_stream(channel) for _ in range(5)]
    for stream in streams[:3]:
        next(stream)
    assert member.stop() < 8
    for stream in streams:
        try:
            for _ in stream:
                pass
        except grpc.RpcError as e:
            assert e.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), e


def whole_or_none(channel):
    try:
        return whole(channel)
    except grpc.RpcError as e:
        assert e.details() == "etcdserver: too many requests", e
        return None


def check_stall(channel):
    fill(channel, 2000, 3)
    stream = open_stream(channel)
    next(stream)
    begin = time.monotonic()
    # The window is full: nothing is taken until the server gives it up, and then what lay ready.
    wait_for(lambda: time.monotonic() - begin > 65, "a minute and a little", 70)
    try:
        for _ in stream:
            pass
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.CANCELLED, e
    else:
        raise AssertionError("the stream went on after a minute without progress")
    assert whole(channel)


def main():
    etcd = sys.argv[1]
    with Cluster(etcd) as cluster:
        member = cluster.members[0]
        # Without a window that grows: else a stream that nobody reads is taken whole all the same.
        channel = grpc.insecure_channel(member.client, options=[("grpc.http2.bdp_probe", 0)])
        if "--stall" in sys.argv:
            check_stall(channel)
        else:
            check(member, channel)
        channel.close()
    print("ok")


main()
leave(0)
