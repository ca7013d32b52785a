#!/usr/bin/python3
"""One long random history of key-value calls on an etcd 3.7 and on ours, compared as bytes: every
field of every answer, those that older stubs do not know too; every error's code and text; hashes
at each revision; ranges as streams.

    history.py ETCD BUILD_DIR [--seed N] [--calls N] [--hostile N]

Then the requests of hostile.py, and N random ones like them, on the same two.
"""
import argparse
import itertools

import golang
import hostile
import raw
from cluster import Cluster, leave
from kv_history import History, rpc, settle_ties

REQUESTS = {"Put": (raw.PUT, rpc.PutResponse), "DeleteRange": (raw.DELETE_RANGE, rpc.DeleteRangeResponse),
            "Range": (raw.RANGE, rpc.RangeResponse), "Txn": (raw.TXN, rpc.TxnResponse),
            "Compact": (raw.COMPACT, rpc.CompactionResponse), "HashKV": (raw.HASH_KV, rpc.HashKVResponse)}


class Unequal(Exception):
    pass


def compare(what, request, answers):
    """Two (answer, error); names of the cluster left out."""
    (a, a_error), (b, b_error) = answers
    a = raw.without_names(a) if a is not None else None
    b = raw.without_names(b) if b is not None else None
    if (a, a_error) != (b, b_error):
        raise Unequal("%s\n%s\ntheirs: %s %s\nours:   %s %s" % (
            what, request, a_error, a, b_error, b))


def equal_but_for_ties(request, reply, answers):
    """Keys of one sort value come in any order: once settled the answers must be equal."""
    (a, a_error), (b, b_error) = answers
    if a_error or b_error or request.DESCRIPTOR.name not in ("RangeRequest", "TxnRequest"):
        return False
    settled = []
    for answer in (a, b):
        message = reply.FromString(raw.without_names(answer))
        settle_ties(request, message)
        settled.append(message)
    return settled[0] == settled[1]


def stream_of(side, request):
    """A streamed range put together: its pairs, then what the last message says; the cuts between
    the messages follow the sizes and are not compared."""
    answers, error = side.stream(raw.RANGE_STREAM, request)
    kvs, rest = [], []
    for n, answer in enumerate(answers):
        for number, value, _ in raw.fields(answer):
            assert number == 1, answer
            for inner, content, whole in raw.fields(value):
                if inner == 2:
                    kvs.append(whole)
                elif inner == 1:
                    rest.append((n == len(answers) - 1, raw.without_names(whole)))
                else:
                    rest.append((n == len(answers) - 1, whole))
    return b"".join(kvs), rest, error


class Pair:
    """theirs, ours, and what was counted."""

    def __init__(self, theirs, ours):
        self.sides = [raw.Side(theirs.members[0].client), raw.Side(ours.members[0].client)]
        self.counts, self.errors = {}, {}

    def count(self, name, error):
        self.counts[name] = self.counts.get(name, 0) + 1
        if error:
            self.errors[error[1]] = self.errors.get(error[1], 0) + 1

    def call(self, what, name, request):
        path, reply = REQUESTS[name]
        data = request.SerializeToString()
        answers = [side.call(path, data) for side in self.sides]
        if not equal_but_for_ties(request, reply, answers):
            compare(what, request, answers)
        self.count(name, answers[0][1])
        return None if answers[0][1] else reply.FromString(answers[0][0])

    def stream(self, what, request):
        data = request.SerializeToString()
        if request.sort_order == 0 and request.sort_target != 0:
            # etcd lets it pass, sorts each chunk for itself and sends some keys twice.
            _, _, error = stream_of(self.sides[1], data)
            if not error:
                raise Unequal("%s, streamed\n%s\nis not refused" % (what, request))
            return
        theirs, ours = [stream_of(side, data) for side in self.sides]
        if theirs != ours:
            raise Unequal("%s, streamed\n%s\ntheirs: %s\nours:   %s" % (what, request, theirs, ours))
        self.count("RangeStream", theirs[2])

    def hashes(self, what, revisions):
        for revision in revisions:
            data = rpc.HashKVRequest(revision=revision).SerializeToString()
            answers = [side.call(raw.HASH_KV, data) for side in self.sides]
            compare("%s: hash of revision %d" % (what, revision), "", answers)
            self.count("HashKV", answers[0][1])


def is_fatal(request):
    """One that deletes "from this key on" and puts a key again: compacted at just its revision etcd
    loses the key and ends where it is read."""
    text = str(request)
    return "request_delete_range" in text and "request_put" in text


def run_history(pair, seed, calls):
    history = History(seed)
    # A compaction to 0 leaves a hash that etcd takes for the current one's from then on.
    never_compacted = {0}
    for n in range(calls):
        name, request = history.next()
        if name == "Compact" and request.revision in never_compacted:
            continue
        what = "call %d of seed %d: %s" % (n, seed, name)
        reply = pair.call(what, name, request)
        if name == "Range" and history.random.random() < 0.5:
            pair.stream(what, request)
        if not reply:
            continue
        history.revision = max(history.revision, reply.header.revision)
        if name == "Txn" and is_fatal(request):
            never_compacted.add(reply.header.revision)
        if name == "Compact":
            history.compacted = request.revision
            pair.hashes(what, range(max(1, request.revision - 3), history.revision + 2))
    # Above the mark each revision is one to be read, and a hash of its own.
    pair.hashes("at the end", range(max(0, history.compacted - 1), history.revision + 2))


def run_hostile(pair, seed, count):
    for what, path, request in itertools.chain(hostile.cases(), hostile.random_cases(seed, count)):
        answers = [side.call(path, request) for side in pair.sides]
        compare(what, request, answers)
        pair.count("hostile", answers[0][1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("build_dir")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--hostile", type=int, default=1000)
    args = parser.parse_args()
    other = golang.build_or_skip("etcd37", "member", args.build_dir)
    with Cluster(other) as theirs, Cluster(args.ours) as ours:
        pair = Pair(theirs, ours)
        try:
            run_history(pair, args.seed, args.calls)
            run_hostile(pair, args.seed, args.hostile)
        except Unequal as e:
            print("FAIL:", e)
            return 1
        for member in theirs.members + ours.members:
            assert member.alive(), "%s ended:\n%s" % (member.name, member.log_tail())
        print("equal: %s; errors %s" % (pair.counts, pair.errors))
    return 0


if __name__ == "__main__":
    leave(main())
