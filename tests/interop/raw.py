"""gRPC calls whose messages are bytes: requests that no stub would write, answers as they came."""
from golang import skip

try:
    import grpc
except ImportError:
    skip("python3-grpcio is not installed")

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

RANGE = "/etcdserverpb.KV/Range"
RANGE_STREAM = "/etcdserverpb.KV/RangeStream"
PUT = "/etcdserverpb.KV/Put"
DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"
HASH_KV = "/etcdserverpb.Maintenance/HashKV"
STATUS = "/etcdserverpb.Maintenance/Status"
MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader"
MEMBER_LIST = "/etcdserverpb.Cluster/MemberList"


def varint(number, padding=0):
    """With padding it is longer than it must be, which is legal."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number, value, padding=0):
    """A field of bytes, of a message already encoded, or of a number."""
    if isinstance(value, (bytes, bytearray)):
        return varint(number << 3 | BYTES, padding) + varint(len(value), padding) + bytes(value)
    return varint(number << 3 | VARINT, padding) + varint(int(value), padding)


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def fields(data):
    """[(number, value, raw bytes)]; what is not well formed raises IndexError or ValueError."""
    at, out = 0, []
    while at < len(data):
        begin = at
        tag, at = read_varint(data, at)
        if tag & 7 == VARINT:
            value, at = read_varint(data, at)
        elif tag & 7 == BYTES:
            size, at = read_varint(data, at)
            value, at = data[at:at + size], at + size
        elif tag & 7 in (FIXED64, FIXED32):
            size = 8 if tag & 7 == FIXED64 else 4
            value, at = data[at:at + size], at + size
        else:
            raise ValueError("wire type %d" % (tag & 7))
        if at > len(data):
            raise ValueError("cut off")
        out.append((tag >> 3, value, data[begin:at]))
    return out


def number_of(data, wanted, default=0):
    """The last value of a field, as readers of a singular one take it."""
    for number, value, _ in fields(data):
        if number == wanted:
            default = value
    return default


def without_names(answer):
    """An answer without what names the cluster: of its header only the revision is left."""
    out = b""
    for number, value, raw in fields(answer):
        if number == 1:
            raw = field(1, b"".join(r for n, _, r in fields(value) if n == 3))
        out += raw
    return out


def error_of(e):
    """Go's protobuf puts a no-break space behind "proto:" in every other of its builds, so that
    nobody compares the text; with that undone it can be."""
    return e.code().name, e.details().replace("\u00a0", " ")


class Side:
    """One server, called with bytes."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.channel = grpc.insecure_channel(endpoint, options=[
            ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1)])

    def call(self, path, request=b"", timeout_s=10.0):
        """(answer, None) or (None, (code, text)). Waits for a connection: this library connects
        only while some call polls."""
        try:
            return self.channel.unary_unary(path)(
                request, timeout=timeout_s, wait_for_ready=True), None
        except grpc.RpcError as e:
            return None, error_of(e)

    def stream(self, path, request, timeout_s=10.0):
        """([answers], None or the error that ended it)."""
        answers = []
        try:
            for answer in self.channel.unary_stream(path)(
                    request, timeout=timeout_s, wait_for_ready=True):
                answers.append(answer)
        except grpc.RpcError as e:
            return answers, error_of(e)
        return answers, None

    def stream_of_one(self, path, request, timeout_s=10.0):
        """One request up a stream of both ways; ([its first answer], None) or ([], the error)."""
        try:
            answers = self.channel.stream_stream(path)(
                iter([request]), timeout=timeout_s, wait_for_ready=True)
            return [next(answers)], None
        except grpc.RpcError as e:
            return [], error_of(e)

    def must(self, path, request=b"", timeout_s=10.0):
        answer, error = self.call(path, request, timeout_s)
        if error:
            raise AssertionError("%s of %s: %s" % (path, self.endpoint, error))
        return answer
