#!/usr/bin/python3
"""The same random writes to another etcd and to ours, and the same watchers on both: each form of
range and start, filters, prev_kv, ids of either side, cancels, compactions, progress. Every watcher
must be told the same on both, and each revision in one response.

    watch_history.py OURS [--other BINARY] [--seed N] [--rounds N]
"""
import argparse
import random

from cluster import Cluster, debian_etcd, leave, wait_for
from watching import (  # noqa: I100
    COMPACT, DELETE_RANGE, NO_DELETE, NO_PUT, PUT, TXN, Side, Stream, cancel, field, number_of,
    progress)

ALL = (b"\0", b"\0")


class Watcher:
    def __init__(self, stream, watch_id, key, range_end, start, filters, prev_kv):
        self.stream, self.id = stream, watch_id
        self.key, self.range_end, self.start = key or b"\0", range_end, start
        self.filters, self.prev_kv = filters, prev_kv
        self.open = True

    def wants(self, event):
        if event.revision < self.start or (NO_DELETE if event.deleted else NO_PUT) in self.filters:
            return False
        if not self.range_end:
            return event.key == self.key
        return event.key >= self.key and (self.range_end == b"\0" or event.key < self.range_end)


class History:
    def __init__(self, sides, seed):
        self.random = random.Random(seed)
        self.sides = sides
        self.revision, self.compacted = 1, 0
        self.deleted_at_compacted = False
        self.whole = [Stream(side) for side in sides]
        for stream in self.whole:
            stream.create(*ALL, start=1, prev_kv=True)
        self.streams = []  # pairs
        self.watchers, self.gone = [], []
        self.counts = {"created": 0, "refused": 0, "compacted": 0, "events": 0, "cancelled": 0}

    def key(self):
        r = self.random
        return bytes(r.choices([0, 97, 255], k=r.randint(1, 3))) if r.random() < 0.1 else (
            b"/k/%02d" % r.randint(0, 12))

    def call(self, path, request):
        answers = [side.call(path, request) for side in self.sides]
        assert answers[0][1] == answers[1][1], answers
        if answers[0][1] is None:
            revisions = [number_of(number_of(a, 1, b""), 3) for a, _ in answers]
            assert revisions[0] == revisions[1], revisions
            self.revision = max(self.revision, revisions[0])

    def write(self):
        r = self.random
        kind = r.random()
        size = r.choice([0, 5, 100, 2000]) if r.random() > 0.02 else 60000
        value = bytes(r.getrandbits(8) for _ in range(size % 101)) * (size // 101 + 1)
        if kind < 0.6:
            self.call(PUT, field(1, self.key()) + field(2, value))
        elif kind < 0.8:
            end = r.choice([b"", b"\0", self.key(), b"/k0"])
            self.call(DELETE_RANGE, field(1, self.key()) + (field(2, end) if end else b""))
        else:
            ops = b""
            for key in {self.key() for _ in range(r.randint(1, 6))}:
                if r.random() < 0.6:
                    op = field(2, field(1, key) + field(2, b"in a txn %d" % r.randint(0, 9)))
                else:
                    op = field(3, field(1, key))
                ops += field(2, op)
            self.call(TXN, ops)

    def start_of(self):
        r = self.random
        return r.choice([0, 0, 1, max(1, self.compacted - r.randint(0, 3)), self.compacted,
                         self.compacted + 1, r.randint(1, self.revision), self.revision,
                         self.revision + 1, self.revision + r.randint(1, 6)])

    def watch(self):
        r = self.random
        if not self.streams or r.random() < 0.15:
            self.streams.append([Stream(side) for side in self.sides])
        pair = r.choice(self.streams)
        start = self.start_of()
        if start == self.compacted and self.deleted_at_compacted:
            start += 1  # 3.4 forgets tombstones of that revision, 3.7 keeps them, as we do
        kind = r.random()
        key, end = self.key(), b""
        if kind < 0.2:
            end = b"\0"
        elif kind < 0.3:
            key, end = b"", b"\0"
        elif kind < 0.5:
            end = self.key()
        elif kind < 0.7:
            key, end = b"/k/", b"/k0"
        asked = {"start": start, "prev_kv": r.random() < 0.5,
                 "filters": r.choice([(), (), (NO_PUT,), (NO_DELETE,), (NO_PUT, NO_DELETE)]),
                 "watch_id": r.randint(1000, 1020) if r.random() < 0.2 else 0}
        if asked["watch_id"] in {w.id for w in self.gone if w.stream is pair}:
            asked["watch_id"] = 0  # theirs keeps the id of a watch that was compacted away
        theirs, ours = made = [s.create(key, end, **asked) for s in pair]
        assert ours.control() == theirs.control(), (key, end, asked, theirs, ours)
        if ours.canceled:
            self.counts["refused"] += 1
            return
        start = asked["start"] or self.revision + 1
        watcher = Watcher(pair, ours.watch_id, key, end, start, asked["filters"],
                          asked["prev_kv"])
        watcher.first = [s.of(ours.watch_id).index(m) + 1 for s, m in zip(pair, made)]
        self.watchers.append(watcher)
        self.counts["created"] += 1
        if start < self.compacted:
            for s in pair:
                gone = wait_for(lambda s=s: [x for x in s.of(ours.watch_id)[watcher.first[0]:]
                                             if x.canceled], "compacted watch is cancelled")[-1]
                assert gone.control() == (ours.watch_id, False, True, self.compacted, "", 0), gone
            watcher.open = False
            self.gone.append(watcher)
            self.counts["compacted"] += 1

    def responses(self, watcher, side):
        """Those since it was created: an id may be used again."""
        return watcher.stream[side].of(watcher.id)[watcher.first[side]:]

    def settle(self):
        """All have been told all; then all is compared."""
        for stream in self.whole:
            wait_for(lambda: stream.events(0) and stream.events(0)[-1].revision >= self.revision
                     or self.revision == 1, "the whole history has come")
        history = self.whole[0].events(0)
        assert [e.all for e in history] == [e.all for e in self.whole[1].events(0)]
        for watcher in self.watchers:
            if not watcher.open:
                continue
            wanted = [e for e in history if watcher.wants(e)]
            told = []
            for side in (0, 1):
                def come():
                    return sum(len(x.events) for x in self.responses(watcher, side)) >= len(wanted)
                wait_for(come, "%s: watcher %d of %r..%r from %d has %d events %r, not %r" % (
                    ("theirs", "ours")[side], watcher.id, watcher.key, watcher.range_end,
                    watcher.start, len(wanted), wanted, self.responses(watcher, side)))
                responses = self.responses(watcher, side)
                revisions = [sorted({e.revision for e in x.events}) for x in responses]
                flat = [revision for one in revisions for revision in one]
                assert flat == sorted(set(flat)), ("a revision in two responses", flat)
                assert all(x.header >= x.events[-1].revision for x in responses if x.events)
                told.append([e for x in responses for e in x.events])
            assert [e.all for e in told[0]] == [e.all for e in told[1]], (told[0], told[1])
            assert [e.all[:2] for e in told[1]] == [e.all[:2] for e in wanted]
            self.counts["events"] += len(wanted)

    def ask_progress(self):
        for pair in self.streams:
            live = [w for w in self.watchers if w.open and w.stream is pair]
            if not live or any(w.start > self.revision for w in live):
                continue
            for stream in pair:
                before = len(stream.of(-1))
                stream.send(progress())
                answer = wait_for(lambda: stream.of(-1)[before:], "progress is answered")[0]
                assert answer.control() == (-1, False, False, 0, "", self.revision), answer

    def cancel(self):
        live = [w for w in self.watchers if w.open]
        if not live:
            return
        watcher = self.random.choice(live)
        for side, stream in enumerate(watcher.stream):
            stream.send(cancel(watcher.id))
            last = wait_for(lambda: [x for x in self.responses(watcher, side) if x.canceled],
                            "watch is cancelled")[-1]
            assert last.control() == (watcher.id, False, True, 0, "", self.revision), last
        watcher.open = False
        self.counts["cancelled"] += 1

    def compact(self):
        revision = self.random.randint(self.compacted + 1, self.revision)
        self.call(COMPACT, field(1, revision) + field(2, 1))
        self.compacted = revision
        self.deleted_at_compacted = any(
            e.deleted and e.revision == revision for e in self.whole[0].events(0))

    def forget(self):
        """Streams do not only grow."""
        while len(self.streams) > 6:
            pair = self.streams.pop(0)
            for stream in pair:
                stream.close()
            self.watchers = [w for w in self.watchers if w.stream is not pair]
        self.watchers = [w for w in self.watchers if w.open][-60:]

    def round(self):
        for _ in range(self.random.randint(5, 25)):
            if self.random.random() < 0.35:
                self.watch()
            else:
                self.write()
        self.settle()
        self.ask_progress()
        if self.random.random() < 0.5:
            self.cancel()
        if self.random.random() < 0.3 and self.revision > self.compacted + 1:
            self.compact()
        self.forget()


def refusals(sides):
    """What cannot be watched, and ids."""
    pair = [Stream(side) for side in sides]
    for asked in [dict(key=b"b", range_end=b"a"), dict(key=b"b", range_end=b"b"),
                  dict(key=b"a", watch_id=7), dict(key=b"a", watch_id=7), dict(key=b"a"),
                  dict(key=b"a", watch_id=1), dict(key=b"a"), dict(key=b"a", watch_id=-3),
                  dict(key=b"a", watch_id=2)]:
        theirs, ours = [s.create(**asked) for s in pair]
        assert ours.control() == theirs.control(), (asked, theirs, ours)
    for stream in pair:
        stream.send(cancel(999))
        stream.send(b"")
        stream.send(field(9, 1))
    theirs, ours = [s.create(b"x") for s in pair]
    assert ours.control() == theirs.control(), (theirs, ours)


def fragments(sides):
    """A revision larger than what one response may hold, to who wants it in parts and who not."""
    parts = []
    for side in sides:
        for i in range(30):
            side.must(PUT, field(1, b"frag/%02d" % i) + field(2, bytes([i]) * 300000))
        stream = Stream(side)
        ids = [stream.create(b"frag/", b"frag0", prev_kv=True, fragment=f).watch_id
               for f in (True, False)]
        side.must(DELETE_RANGE, field(1, b"frag/") + field(2, b"frag0"))
        last = number_of(number_of(side.must(PUT, field(1, b"frag/after")), 1), 3)
        for watch_id in ids:
            stream.wait_events(watch_id, 31)
        stream.send(progress())
        said = wait_for(lambda: stream.of(-1), "progress is answered")[0]
        assert said is stream.responses[-1] and said.header == last, stream.responses[-3:]
        cut, whole = [[r for r in stream.of(i) if r.events and r.events[0].deleted] for i in ids]
        assert len(whole) == 1 and not whole[0].fragment
        assert len(cut) > 4 and [r.fragment for r in cut] == [True] * (len(cut) - 1) + [False]
        assert all(r.size < (1536 + 512) * 1024 for r in cut)
        told = [[e.all for r in responses for e in r.events if e.deleted]
                for responses in (cut, whole)]
        assert told[0] == told[1] and len(told[0]) == 30
        parts.append(told[0])
    assert [[(e[0], e[1][0], e[2][4]) for e in told] for told in parts][0] == [
        (e[0], e[1][0], e[2][4]) for e in parts[1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    with Cluster(args.other or debian_etcd()) as theirs, Cluster(args.ours) as ours:
        sides = [Side(theirs.members[0].client), Side(ours.members[0].client)]
        history = History(sides, args.seed)
        for _ in range(args.rounds):
            history.round()
        refusals(sides)
        fragments(sides)
        print("equal: %s, revision %d" % (history.counts, history.revision))
    return 0


if __name__ == "__main__":
    leave(main())
