"""Damages the store of a member that does not run: one byte of a value becomes another, with all
checksums made right again. Nothing but a comparison with other members can find that.

The bytes of a record are described in src/mvcc/record.h.
"""
import glob
import os
import struct

HEADER_BYTES = 48
SEGMENT_HEADER_BYTES = 64
PUT, TOMBSTONE = 1, 2


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def records(data):
    """(offset, main, sub, blob offset, blob length) of each put in a segment's bytes."""
    at = SEGMENT_HEADER_BYTES
    while at + HEADER_BYTES <= len(data) and data[at:at + HEADER_BYTES] != bytes(HEADER_BYTES):
        main, = struct.unpack_from("<q", data, at + 16)
        sub, length = struct.unpack_from("<II", data, at + 32)
        if data[at + 44] == PUT:
            yield at, main, sub, at + HEADER_BYTES, length
        at += HEADER_BYTES + length + 7 & ~7


def damage_value(data_dir, key, old, new):
    """Replaces `old` in the newest value of key by `new` of the same length."""
    assert len(old) == len(new)
    # A checkpoint keeps no values, and the last segment has no rows in a file of their own.
    paths = sorted(glob.glob(os.path.join(data_dir, "member/store/*/*-ffffffffffffffff-*.seg")))
    for path in reversed(paths):
        with open(path, "r+b") as f:
            data = bytearray(f.read())
            found = [r for r in records(data)
                     if data[r[3]:r[3] + 2 + len(key)] == b"\x0a%c" % len(key) + key]
            if not found:
                continue
            at, main, sub, blob, length = found[-1]
            place = data.index(old, blob, blob + length)
            data[place:place + len(old)] = new
            seen = struct.pack(">qcq", main, b"_", sub) + data[blob:blob + length]
            struct.pack_into("<I", data, at + 4, crc32c(seen))
            struct.pack_into("<I", data, at, crc32c(data[at + 4:at + HEADER_BYTES]))
            f.seek(0)
            f.write(data)
            return
    raise AssertionError("no record of %r in %s" % (key, paths))
