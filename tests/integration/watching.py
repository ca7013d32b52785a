"""Watch streams in bytes: every field of the interface, also those that Debian's stubs do not know,
and what came, response by response."""
import os
import queue
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from cluster import wait_for  # noqa: E402
from raw import (  # noqa: E402,F401
    COMPACT, DELETE_RANGE, PUT, TXN, Side, field, fields, grpc, number_of)

WATCH = "/etcdserverpb.Watch/Watch"
NO_PUT, NO_DELETE = 0, 1


def signed(number):
    return number - (1 << 64) if number >> 63 else number


def create(key, range_end=b"", start=0, watch_id=0, prev_kv=False, filters=(), progress=False,
           fragment=False):
    body = field(1, key) if key else b""
    body += field(2, range_end) if range_end else b""
    body += field(3, start) if start else b""
    body += field(4, 1) if progress else b""
    body += b"".join(field(5, f) for f in filters)
    body += field(6, 1) if prev_kv else b""
    body += field(7, watch_id) if watch_id else b""
    body += field(8, 1) if fragment else b""
    return field(1, body)


def cancel(watch_id):
    return field(2, field(1, watch_id) if watch_id else b"")


def progress():
    return field(3, b"")


def key_value(data):
    """(key, create, mod, version, value, lease)"""
    found = dict((n, v) for n, v, _ in fields(data))
    return (bytes(found.get(1, b"")), found.get(2, 0), found.get(3, 0), found.get(4, 0),
            bytes(found.get(5, b"")), found.get(6, 0))


class Event:
    def __init__(self, data):
        found = dict((n, v) for n, v, _ in fields(data))
        self.deleted = found.get(1, 0) == 1
        self.kv = key_value(found[2])
        self.prev_kv = key_value(found[3]) if 3 in found else None
        self.key, self.revision = self.kv[0], self.kv[2]
        self.all = (self.deleted, self.kv, self.prev_kv)

    def __repr__(self):
        return "%s %r@%d" % ("DEL" if self.deleted else "PUT", self.key, self.revision)


class Response:
    def __init__(self, data):
        self.size = len(data)
        self.header = self.watch_id = self.compact_revision = 0
        self.created = self.canceled = self.fragment = False
        self.reason, self.events = "", []
        self.at = time.monotonic()
        for number, value, _ in fields(data):
            if number == 1:
                self.header = number_of(value, 3)
            elif number == 2:
                self.watch_id = signed(value)
            elif number == 3:
                self.created = bool(value)
            elif number == 4:
                self.canceled = bool(value)
            elif number == 5:
                self.compact_revision = value
            elif number == 6:
                self.reason = value.decode()
            elif number == 7:
                self.fragment = bool(value)
            elif number == 11:
                self.events.append(Event(value))

    def control(self):
        return (self.watch_id, self.created, self.canceled, self.compact_revision, self.reason,
                self.header)

    def __repr__(self):
        return "<id %d%s%s%s rev %d %s%r>" % (
            self.watch_id, " created" if self.created else "", " canceled" if self.canceled else "",
            " compacted %d" % self.compact_revision if self.compact_revision else "", self.header,
            self.reason, self.events[:5])


class Stream:
    """One Watch call. A thread of its own reads; read=False leaves what comes unread."""

    def __init__(self, side, read=True, metadata=(), patient=True):
        self.requests = queue.Queue()
        self.responses = []
        self.error = None
        self.call = side.channel.stream_stream(WATCH)(
            iter(self.requests.get, None), metadata=metadata, wait_for_ready=patient)
        self.thread = threading.Thread(target=self.read, daemon=True)
        if read:
            self.thread.start()

    def read(self):
        try:
            for data in self.call:
                self.responses.append(Response(data))
        except grpc.RpcError as e:
            self.error = (e.code().name, e.details())

    def send(self, request):
        self.requests.put(request)

    def create(self, *args, timeout_s=20.0, **kwargs):
        """The response to it."""
        before = sum(r.created for r in self.responses)
        self.send(create(*args, **kwargs))
        wait_for(lambda: self.error or sum(r.created for r in self.responses) > before,
                 "watch is created", timeout_s)
        assert not self.error, self.error
        return [r for r in self.responses if r.created][before]

    def of(self, watch_id):
        return [r for r in list(self.responses) if r.watch_id == watch_id]

    def events(self, watch_id):
        return [e for r in self.of(watch_id) for e in r.events]

    def wait_events(self, watch_id, count, timeout_s=20.0):
        wait_for(lambda: self.error or len(self.events(watch_id)) >= count,
                 "watcher %d has %d events" % (watch_id, count), timeout_s)
        assert not self.error, self.error
        return self.events(watch_id)

    def close(self):
        self.requests.put(None)
        self.call.cancel()
