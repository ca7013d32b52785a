#!/usr/bin/python3
"""What a request becomes on its way into the log and out of it, ours against etcd's own libraries.

    canonical.py TOOL BUILD_DIR [--count N] [--seed N]

For the requests of hostile.py and N random ones:
- what we put into the log is what etcd 3.7 puts there, without the fields that nobody knows; what it
  refuses we refuse (its library writes a comparison's union behind the field of number 64, ours in
  order of number, as that of 3.6 does);
- what etcd 3.6 and 3.7 put there we read as they do themselves.
"""
import argparse
import itertools
import subprocess

import golang
from cluster import leave
import hostile
import raw
from kv_history import rpc

FIELDS = {raw.PUT: 4, raw.DELETE_RANGE: 5, raw.TXN: 6, raw.COMPACT: 7}


def lines_through(program, lines):
    done = subprocess.run([program], input="".join(line + "\n" for line in lines),
                          capture_output=True, text=True, timeout=600, check=True)
    answers = done.stdout.split("\n")[:-1]
    assert len(answers) == len(lines), (program, len(answers), len(lines))
    return answers


def is_same(field, got, expected):
    """As bytes; those of transactions, but for the order of fields in a comparison."""
    if got == expected or field != FIELDS[raw.TXN] or len(got) != len(expected):
        return got == expected
    return rpc.TxnRequest.FromString(bytes.fromhex(got)) == rpc.TxnRequest.FromString(
        bytes.fromhex(expected))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("build_dir")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    newer = golang.build_or_skip("etcd37", "canonical", args.build_dir)
    older = golang.build_or_skip("etcd36", "canonical", args.build_dir)
    cases = [(name, FIELDS[path], request.hex())
             for name, path, request in itertools.chain(
                 hostile.cases(), hostile.random_cases(args.seed, args.count))
             if path in FIELDS]
    asked = ["%d %s" % (field, text) for _, field, text in cases]
    ours = lines_through(args.tool, ["take " + line for line in asked])
    wrong = 0

    def expect(what, case, got, expected):
        nonlocal wrong
        if not is_same(case[1], got, expected):
            wrong += 1
            if wrong <= 10:
                print("%s, %s\n  request  %s\n  ours     %s\n  theirs   %s" % (
                    what, case[0], case[2], got, expected))

    counts = {}
    for version, program in (("3.7", newer), ("3.6", older)):
        theirs = [answer.split(" ") for answer in lines_through(program, asked)]
        taken = [n for n, answer in enumerate(theirs) if answer[0] != "refused"]
        read = lines_through(args.tool, ["log %d %s" % (cases[n][1], theirs[n][0]) for n in taken])
        for n, got in zip(taken, read):
            expect("read from the log of " + version, cases[n], got, theirs[n][1])
        counts[version] = len(taken)
        if version == "3.7":
            for n, case in enumerate(cases):
                expect("put into the log", case, ours[n], theirs[n][-1])
    print("%d requests, taken by 3.7: %d, by 3.6: %d; %d differ" % (
        len(cases), counts["3.7"], counts["3.6"], wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    leave(main())
