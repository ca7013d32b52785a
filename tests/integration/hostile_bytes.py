"""Bytes of HTTP/2, gRPC, protobuf and HTTP/1.1, made by hand so that they can also be made wrong."""
import random
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 0x1, 0x4, 0x8, 0x1


def frame(kind, flags, stream, payload=b""):
    """RFC 9113 section 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """RFC 7541 section 6.2.2: a literal without indexing, its strings shorter than 127."""
    name, value = as_bytes(name), as_bytes(value)
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text


def integer(value, bits):
    """RFC 7541 section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([value])
    out = [limit]
    value -= limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def header_block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def grpc_headers(path, authority="127.0.0.1", extra=()):
    return header_block([
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority),
        ("content-type", "application/grpc"), ("te", "trailers")] + list(extra))


def grpc_message(payload, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


def grpc_call(path, payload, stream=1, extra=()):
    """HEADERS and DATA of one call."""
    return (frame(HEADERS, END_HEADERS, stream, grpc_headers(path, extra=extra)) +
            frame(DATA, END_STREAM, stream, grpc_message(payload)))


def settings(**values):
    ids = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    return frame(SETTINGS, 0, 0, b"".join(
        struct.pack(">HI", ids[name], value) for name, value in values.items()))


def opening(**values):
    return PREFACE + settings(**values)


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, payload):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(number_path, depth):
    """A message that holds itself, depth times, each level by the fields named."""
    payload = b""
    for _ in range(depth):
        for number in number_path:
            payload = field(number, payload)
    return payload


def http1(method, path, headers=(), body=b"", host="127.0.0.1"):
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: %s" % host]
    lines += ["%s: %s" % h for h in headers]
    if body and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def connect(address, timeout_s=5.0):
    host, port = address.rsplit(":", 1)
    s = socket.create_connection((host, int(port)), timeout=timeout_s)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Frames:
    """Frames as they come from a connection."""

    def __init__(self, s):
        self.socket = s
        self.buffer = b""

    def next(self):
        """(kind, flags, stream, payload), or None at the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload = self.buffer[9:9 + length]
                    self.buffer = self.buffer[9 + length:]
                    return kind, flags, stream, payload
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not more:
                return None
            self.buffer += more

    def until(self, wanted):
        """The first frame of that kind, or None."""
        while True:
            one = self.next()
            if one is None or one[0] == wanted:
                return one


class Mutator:
    """Changes bytes as a fuzzer does, from one seed."""

    EDGES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
             b"\x80\0\0\0", b"\xff" * 9 + b"\x01", b"\r\n", b"\r\n\r\n", b"%00", b"-1",
             b"18446744073709551616", b"\xc3\x28", b"0" * 300]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def change(self, data, others):
        r = self.random
        data = bytearray(data)
        for _ in range(1 + int(r.expovariate(0.7))):
            at = r.randrange(len(data) + 1)
            kind = r.randrange(9)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << r.randrange(8)
            elif kind == 1 and at < len(data):
                data[at] = r.randrange(256)
            elif kind == 2:
                data[at:at] = r.choice(self.EDGES)
            elif kind == 3:
                edge = r.choice(self.EDGES)
                data[at:at + len(edge)] = edge
            elif kind == 4:
                del data[at:at + r.choice([1, 2, 4, 9, 40])]
            elif kind == 5:
                part = data[at:at + r.choice([1, 9, 20, 100])]
                data[at:at] = part * r.choice([1, 2, 50])
            elif kind == 6:
                del data[at:]
            elif kind == 7:
                other = r.choice(others)
                start = r.randrange(len(other) + 1)
                data[at:at] = other[start:start + r.choice([9, 40, 400])]
            else:
                data[at:at] = bytes(r.getrandbits(8) for _ in range(r.choice([1, 4, 16])))
        return bytes(data[:1 << 17])
