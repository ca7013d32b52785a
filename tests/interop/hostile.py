"""Requests that no ordinary client writes, yet a server must read: fields doubled, out of order,
unknown, numbers longer than they must be, oneofs given twice, text that is not UTF-8, groups, depth
at its bound. What enters the log of a cluster of both kinds must be understood alike by all.

cases(suffix) yields (name, path, request bytes); the suffix keeps the keys of several runs apart.

etcd keeps an unknown field and logs it as it came. Its library until 3.6 and that of 3.7 do not take
the same bytes for a field, and a member ends where it cannot read an entry: ONLY_OLD and ONLY_NEW
name the cases that members of the one kind let in and those of the other end by.
"""
import random

from raw import COMPACT, DELETE_RANGE, HASH_KV, PUT, RANGE, TXN, field, varint

# Fields of the messages (etcdserverpb).
KEY, VALUE, LEASE, PREV_KV, IGNORE_VALUE, IGNORE_LEASE = 1, 2, 3, 4, 5, 6  # PutRequest
R_KEY, R_END, R_LIMIT, R_REVISION, R_ORDER, R_TARGET = 1, 2, 3, 4, 5, 6    # RangeRequest
D_KEY, D_END, D_PREV_KV = 1, 2, 3                                          # DeleteRangeRequest
T_COMPARE, T_SUCCESS, T_FAILURE = 1, 2, 3                                  # TxnRequest
C_RESULT, C_TARGET, C_KEY, C_VERSION, C_CREATE, C_MOD, C_VALUE, C_LEASE, C_END = \
    1, 2, 3, 4, 5, 6, 7, 8, 64                                             # Compare
OP_RANGE, OP_PUT, OP_DELETE, OP_TXN = 1, 2, 3, 4                           # RequestOp
UNKNOWN = 1000

ONLY_OLD = {"field number over 2^29", "varint of 10 bytes over 64 bits", "group ended by another"}
ONLY_NEW = {"known number, other type"}


def group(number, inside=b""):
    return varint(number << 3 | 3) + inside + varint(number << 3 | 4)


def nested(depth, innermost):
    """A transaction whose success holds a transaction, and so on."""
    request = innermost
    for _ in range(depth):
        request = field(T_SUCCESS, field(OP_TXN, request))
    return request


def cases(suffix=b""):
    def key(name):
        return b"hostile/" + name + suffix

    def put(name, value=b"v"):
        return field(KEY, key(name)) + field(VALUE, value)

    def op_put(name, value=b"v"):
        return field(OP_PUT, put(name, value))

    yield "value before key", PUT, field(VALUE, b"1") + field(KEY, key(b"order"))
    yield "key twice", PUT, field(KEY, key(b"first")) + put(b"second")
    yield "value twice", PUT, put(b"twice", b"1") + field(VALUE, b"2")
    yield "flags twice", PUT, put(b"flags") + field(PREV_KV, 1) + field(PREV_KV, 0)
    yield "long varints", PUT, field(KEY, key(b"long"), 3) + field(VALUE, b"1", 2)
    yield "bool of two", PUT, put(b"twice", b"3") + field(PREV_KV, 2)
    yield "bool of 2^64-1", PUT, put(b"twice", b"4") + field(PREV_KV, -1)
    yield "lease zero written", PUT, put(b"zero") + field(LEASE, 0)
    yield "empty value written", PUT, field(KEY, key(b"empty")) + field(VALUE, b"")
    yield "unknown varint", PUT, put(b"unknown") + field(UNKNOWN, 7)
    yield "unknown bytes first", PUT, field(UNKNOWN, b"x" * 300) + put(b"unknown", b"2")
    yield "unknown fixed64", PUT, put(b"unknown", b"3") + varint(UNKNOWN << 3 | 1) + b"12345678"
    yield "unknown fixed32", PUT, put(b"unknown", b"4") + varint(UNKNOWN << 3 | 5) + b"1234"
    yield "unknown group", PUT, put(b"unknown", b"5") + group(UNKNOWN, field(1, b"inside"))
    yield "groups in groups", PUT, put(b"unknown", b"6") + group(7, group(8, group(9)))
    yield "known number, other type", PUT, put(b"type") + varint(KEY << 3 | 5) + b"1234"
    yield "key as a varint", PUT, field(KEY, 5) + field(VALUE, b"1")
    yield "tag zero", PUT, put(b"bad") + b"\x00\x00"
    yield "field number over 2^29", PUT, put(b"bad") + varint(1 << 32 | 0) + b"\x01"
    yield "wire type 6", PUT, put(b"bad") + b"\x0e"
    yield "wire type 7", PUT, put(b"bad") + b"\x0f"
    yield "varint of 11 bytes", PUT, put(b"bad") + b"\x18" + b"\xff" * 10 + b"\x01"
    yield "varint of 10 bytes over 64 bits", PUT, put(b"bad") + b"\x20" + b"\xff" * 9 + b"\x7f"
    yield "cut in a varint", PUT, put(b"bad") + b"\x18\x80"
    yield "cut in a key", PUT, b"\x0a\x10abc"
    yield "length of 2^63", PUT, b"\x0a" + varint(1 << 63) + b"abc"
    yield "length of 2^31", PUT, b"\x0a" + varint(1 << 31) + b"abc"
    yield "group never ended", PUT, put(b"bad") + varint(9 << 3 | 3)
    yield "end without a group", PUT, put(b"bad") + varint(9 << 3 | 4)
    yield "group ended by another", PUT, put(b"bad") + varint(9 << 3 | 3) + varint(8 << 3 | 4)
    yield "bytes that are no text in key", PUT, field(KEY, key(b"\xff\xfe\x80")) + field(VALUE, b"\xff")
    yield "zero bytes in key", PUT, field(KEY, key(b"\x00\x00")) + field(VALUE, b"\x00")
    yield "nothing at all", PUT, b""
    yield "only unknown fields", PUT, field(UNKNOWN, 1)
    yield "empty key written", PUT, field(KEY, b"") + field(VALUE, b"1")
    yield "ignore_value and value", PUT, put(b"twice") + field(IGNORE_VALUE, 1)
    yield "ignore_value of absent", PUT, field(KEY, key(b"absent")) + field(IGNORE_VALUE, 1)
    yield "ignore_lease", PUT, put(b"twice", b"5") + field(IGNORE_LEASE, 1) + field(PREV_KV, 1)
    yield "lease below zero", PUT, put(b"lease") + field(LEASE, -1)

    yield "range fields backwards", RANGE, (
        field(R_TARGET, 1) + field(R_ORDER, 2) + field(R_END, key(b"z")) + field(R_KEY, key(b"a")))
    yield "range key twice", RANGE, field(R_KEY, key(b"x")) + field(R_KEY, key(b"order"))
    yield "unknown order", RANGE, field(R_KEY, key(b"a")) + field(R_ORDER, 9)
    yield "unknown target", RANGE, field(R_KEY, key(b"a")) + field(R_TARGET, 77)
    yield "order below zero", RANGE, field(R_KEY, key(b"a")) + field(R_ORDER, -1)
    yield "order over 32 bits", RANGE, field(R_KEY, key(b"order")) + field(R_ORDER, 1 << 32)
    yield "order over 32 bits of 2", RANGE, (
        field(R_KEY, key(b"a")) + field(R_END, key(b"z")) + field(R_ORDER, 1 << 32 | 2))
    yield "limit below zero", RANGE, (
        field(R_KEY, key(b"a")) + field(R_END, key(b"z")) + field(R_LIMIT, -5))
    yield "revision below zero", RANGE, field(R_KEY, key(b"order")) + field(R_REVISION, -5)
    yield "revision of the future", RANGE, field(R_KEY, key(b"order")) + field(R_REVISION, 1 << 62)

    compare = field(C_RESULT, 0) + field(C_TARGET, 3) + field(C_KEY, key(b"order"))
    yield "op put twice", TXN, field(T_SUCCESS, op_put(b"op1", b"1") + op_put(b"op2", b"2"))
    yield "op put twice, parts", TXN, field(T_SUCCESS, (
        field(OP_PUT, field(KEY, key(b"op3")) + field(PREV_KV, 1)) +
        field(OP_PUT, field(VALUE, b"merged or replaced"))))
    yield "op put, then delete", TXN, field(T_SUCCESS, (
        op_put(b"op4") + field(OP_DELETE, field(D_KEY, key(b"op1")))))
    yield "op delete, then put", TXN, field(T_SUCCESS, (
        field(OP_DELETE, field(D_KEY, key(b"op1"))) + op_put(b"op5")))
    yield "op put, range, put", TXN, field(T_SUCCESS, (
        field(OP_PUT, field(KEY, key(b"op6"))) + field(OP_RANGE, field(R_KEY, key(b"op1"))) +
        field(OP_PUT, field(KEY, key(b"op7")) + field(VALUE, b"7"))))
    yield "op range twice", TXN, field(T_SUCCESS, (
        field(OP_RANGE, field(R_KEY, key(b"op"))) +
        field(OP_RANGE, field(R_END, key(b"oq")) + field(R_LIMIT, 2))))
    yield "op delete twice", TXN, field(T_SUCCESS, (
        field(OP_DELETE, field(D_KEY, key(b"op1"))) + field(OP_DELETE, field(D_PREV_KV, 1))))
    yield "op txn twice", TXN, field(T_SUCCESS, (
        field(OP_TXN, field(T_SUCCESS, op_put(b"op8"))) +
        field(OP_TXN, field(T_SUCCESS, op_put(b"op9")))))
    yield "op txn twice, both branches", TXN, field(T_SUCCESS, (
        field(OP_TXN, field(T_SUCCESS, op_put(b"op10")) + field(T_COMPARE, compare + field(C_VALUE, b"1"))) +
        field(OP_TXN, field(T_FAILURE, op_put(b"op11"))) ))
    yield "op of an unknown kind", TXN, field(T_SUCCESS, field(99, b"what"))
    yield "op put and an unknown kind", TXN, field(T_SUCCESS, op_put(b"op12") + field(99, b"what"))
    yield "empty op", TXN, field(T_SUCCESS, b"") + field(T_SUCCESS, op_put(b"op13"))
    yield "empty op put", TXN, field(T_SUCCESS, field(OP_PUT, b""))
    yield "branches mixed", TXN, (
        field(T_FAILURE, op_put(b"f1")) + field(T_SUCCESS, op_put(b"s1")) +
        field(T_FAILURE, op_put(b"f2")) + field(T_SUCCESS, op_put(b"s2")))
    yield "compare after ops", TXN, (
        field(T_SUCCESS, op_put(b"after1")) + field(T_COMPARE, compare + field(C_VALUE, b"1")) +
        field(T_FAILURE, op_put(b"after2")))
    yield "compare's union twice", TXN, (
        field(T_COMPARE, compare + field(C_VALUE, b"no") + field(C_VALUE, b"1")) +
        field(T_SUCCESS, op_put(b"union1")) + field(T_FAILURE, op_put(b"union2")))
    yield "compare's union of two kinds", TXN, (
        field(T_COMPARE, compare + field(C_VALUE, b"1") + field(C_MOD, 3)) +
        field(T_SUCCESS, op_put(b"union3")) + field(T_FAILURE, op_put(b"union4")))
    yield "compare's union of two kinds, back", TXN, (
        field(T_COMPARE, compare + field(C_MOD, 3) + field(C_VALUE, b"1")) +
        field(T_SUCCESS, op_put(b"union5")) + field(T_FAILURE, op_put(b"union6")))
    yield "compare without union", TXN, (
        field(T_COMPARE, compare) + field(T_SUCCESS, op_put(b"union7")) +
        field(T_FAILURE, op_put(b"union8")))
    for target in (0, 1, 2, 4, 5, -1):
        yield "compare target %d, union of value" % target, TXN, (
            field(T_COMPARE, field(C_TARGET, target) + field(C_KEY, key(b"order")) +
                  field(C_VALUE, b"1")) +
            field(T_SUCCESS, op_put(b"target-s", b"%d" % target)) +
            field(T_FAILURE, op_put(b"target-f", b"%d" % target)))
    for result in (0, 1, 2, 3, 4, -1, 1 << 32):
        yield "compare result %d" % result, TXN, (
            field(T_COMPARE, field(C_RESULT, result) + field(C_KEY, key(b"order")) +
                  field(C_VERSION, 1)) +
            field(T_SUCCESS, op_put(b"result-s", b"%d" % result)) +
            field(T_FAILURE, op_put(b"result-f", b"%d" % result)))
    yield "compare's end before its fields", TXN, (
        field(T_COMPARE, field(C_END, key(b"z")) + field(C_VERSION, 0) + field(C_KEY, key(b"a")) +
              field(C_RESULT, 1)) +
        field(T_SUCCESS, op_put(b"end-s")) + field(T_FAILURE, op_put(b"end-f")))
    yield "unknown fields at each level", TXN, (
        field(UNKNOWN, b"a") + field(T_COMPARE, compare + field(C_VALUE, b"1") + field(UNKNOWN, 1)) +
        field(T_SUCCESS, field(UNKNOWN, b"b") + field(OP_PUT, put(b"levels") + field(UNKNOWN, 2))) +
        group(UNKNOWN + 1, field(1, 1)))
    yield "long varints at each level", TXN, (
        field(T_COMPARE, field(C_KEY, key(b"order"), 2) + field(C_VERSION, 1, 4), 2) +
        field(T_SUCCESS, field(OP_PUT, put(b"long2"), 3), 1))
    yield "same key in two branches' ops", TXN, (
        field(T_SUCCESS, op_put(b"dup")) + field(T_SUCCESS, op_put(b"dup")))
    for depth in (1, 3, 30, 46):
        yield "nested %d deep" % depth, TXN, nested(depth, field(T_SUCCESS, op_put(b"depth%d" % depth)))
    yield "delete fields backwards", DELETE_RANGE, (
        field(D_PREV_KV, 1) + field(D_END, key(b"op2")) + field(D_KEY, key(b"op1")))
    yield "delete with unknown", DELETE_RANGE, field(D_KEY, key(b"op2")) + field(UNKNOWN, 3)
    yield "delete of nothing", DELETE_RANGE, field(D_PREV_KV, 1)
    yield "delete backwards range", DELETE_RANGE, field(D_KEY, b"z") + field(D_END, b"a")
    yield "compaction with unknown", COMPACT, field(UNKNOWN, 3) + field(1, 3) + field(2, 1)
    yield "compaction below zero", COMPACT, field(1, -3)
    yield "compaction twice over", COMPACT, field(1, 1 << 40) + field(1, 4) + field(2, 1)
    yield "hash of twice", HASH_KV, field(1, 1 << 40) + field(1, 0)


def random_cases(seed, count, suffix=b"", bent=True, order_max=3):
    """Requests put together at random from legal parts, in any order, some of them cut or bent."""
    chance = random.Random(seed)

    def key():
        return b"fuzz/%d" % chance.randint(0, 20) + suffix

    def number():
        return chance.choice([0, 1, 2, 3, 5, -1, 1 << 31, 1 << 32, (1 << 63) - 1])

    def padding():
        return chance.choice([0, 0, 0, 0, 1, 3])

    def some(makers, most):
        parts = [chance.choice(makers)() for _ in range(chance.randint(0, most))]
        chance.shuffle(parts)
        return b"".join(parts)

    def unknown():
        return chance.choice([
            lambda: field(chance.randint(70, 5000), number(), padding()),
            lambda: field(chance.randint(70, 5000), b"\xff" * chance.randint(0, 9), padding()),
            lambda: group(chance.randint(70, 90), field(1, 1))])()

    def put():
        return field(KEY, key(), padding()) + some([
            lambda: field(KEY, key(), padding()), lambda: field(VALUE, key() * chance.randint(0, 3)),
            lambda: field(PREV_KV, chance.randint(0, 2), padding()), unknown,
            lambda: field(LEASE, 0), lambda: field(VALUE, b"\xfe")], 4)

    def span(with_end):
        return field(1, key()) + some([lambda: field(with_end, key(), padding()), unknown], 2)

    def range_request():
        return span(R_END) + some([
            lambda: field(R_LIMIT, chance.randint(-1, 4)), lambda: field(R_ORDER, chance.randint(0, order_max)),
            lambda: field(8, 1), lambda: field(9, chance.randint(0, 2)), unknown], 3)

    def op(depth):
        makers = [lambda: field(OP_PUT, put(), padding()), lambda: field(OP_DELETE, span(D_END)),
                  lambda: field(OP_RANGE, range_request())]
        if depth < 4:
            makers.append(lambda: field(OP_TXN, txn(depth + 1)))
        parts = [chance.choice(makers)()]
        while chance.random() < 0.25:
            parts.append(chance.choice(makers + [unknown])())
        return b"".join(parts)

    def compare():
        return field(C_KEY, key()) + some([
            lambda: field(C_RESULT, chance.randint(0, 4)), lambda: field(C_TARGET, chance.randint(0, 4)),
            lambda: field(C_VERSION, chance.randint(0, 2), padding()), lambda: field(C_VALUE, key()),
            lambda: field(C_MOD, number()), lambda: field(C_END, key()), unknown,
            lambda: field(C_LEASE, 0)], 4)

    def txn(depth=0):
        return some([lambda: field(T_COMPARE, compare(), padding()),
                     lambda: field(T_SUCCESS, op(depth), padding()),
                     lambda: field(T_SUCCESS, op(depth)),
                     lambda: field(T_FAILURE, op(depth)), unknown], 5)

    makers = [(PUT, put), (TXN, txn), (TXN, txn), (TXN, txn), (RANGE, range_request),
              (DELETE_RANGE, lambda: span(D_END))]
    for n in range(count):
        path, maker = chance.choice(makers)
        request = maker()
        if chance.random() < 0.08 and request and bent:
            other = bytearray(request)
            other[chance.randrange(len(other))] ^= 1 << chance.randint(0, 7)
            request = bytes(other[:chance.randint(1, len(other))] if chance.random() < 0.3 else other)
        yield "random %d of seed %d" % (n, seed), path, request
