"""Orders for disk_fault.c: one member's disk stalls, fails or is full; its clock is wrong."""
import mmap
import os
import struct

WRITE, SYNC, ALLOCATE = 1, 2, 4
LAYOUT = struct.Struct("=IIIiIIq64s")
OFFSETS = {"stall": 0, "fail": 4, "fail_with": 8, "spare": 12, "met": 16, "stalled": 20,
           "clock_ns": 24}
CODES = {"spare": "=i", "clock_ns": "=q"}


class Fault:
    """Attach to a member before its start."""

    def __init__(self, member, library, part=""):
        self.library = library
        self.path = os.path.join(member.cluster.dir, member.name + ".fault")
        with open(self.path, "wb") as f:
            f.write(LAYOUT.pack(0, 0, 0, 0, 0, 0, 0, part.encode()))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), LAYOUT.size)
        member.environment = {"LD_PRELOAD": library, "DISK_FAULT": self.path}

    def set(self, **orders):
        """In the order given: what decides comes last."""
        for name, value in orders.items():
            struct.pack_into(CODES.get(name, "=I"), self.map, OFFSETS[name], value)

    def get(self, name):
        return struct.unpack_from(CODES.get(name, "=I"), self.map, OFFSETS[name])[0]

    def clear(self):
        self.set(fail=0, stall=0, spare=0, clock_ns=0)
