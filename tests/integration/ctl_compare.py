#!/usr/bin/python3
"""Our etcdctl beside Debian's (3.4.23), and where it is given beside etcd's own of 3.7, against the
same cluster of another etcd: equal output byte by byte, equal exit codes.

    ctl_compare.py OURS [--other ETCDCTL] [--newest ETCDCTL]

Ours is etcdctl 3.7. What 3.7 prints otherwise than 3.4 by design is in LEFT_OUT, each with its
reason; it is compared with the newest one instead, where that is given.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys

from cluster import Cluster, debian_etcd, debian_etcdctl

# Words of a command line -> why Debian's 3.4 prints it otherwise.
LEFT_OUT = [
    (r"-w table\b", "3.7 draws boxes, 3.4 plus and minus signs"),
    (r"^endpoint status", "3.7 has more columns, rows and fields"),
    (r"^endpoint hashkv(?!.*json)", "3.7 shows the hash's revision"),
    (r"^endpoint health$", "3.4 says it on stderr"),
    (r"^endpoint health --cluster", "3.4 says it on stderr"),
    (r"^member list.*fields", "3.7 leaves out a revision of 0"),
    (r"^member list.*--hex", "3.4 has decimal ids all the same"),
    (r"^member list.*--consistency", "since 3.6"),
    (r"--hex -w fields|-w fields --hex", "3.7 prints ids in hexadecimal"),
    (r"-(min|max)-(create|mod)-rev", "since 3.6"),
    (r"--count-only", "since 3.4.24"),
    (r"^txn.*fields", "3.7 leaves out a revision of 0"),
    (r"^txn.*json", "3.4 names the members of the answer's oneof in Go's way"),
    (r"^txn [^']*'", "3.4 takes single quotes for letters"),
    (r"--range\b", "since 3.5"),
    (r"--prefix --from-key|\bb --prefix|\bb --from-key", "3.7 says it in other words"),
    (r"--stream", "since 3.7"),
    (r"^lease .*-w table", "3.4 ignores the form"),
    (r"^lease revoke.*protobuf", "3.4 prints nothing"),
    (r"^lease list.*--hex", "3.7 prints ids in hexadecimal"),
    (r"^alarm .*fields", "3.7 leaves out a revision of 0"),
    (r"^member add.*--learner$", "3.7 says that it is a learner"),
    (r"^member (add|update|remove).*--hex", "3.4 has decimal ids all the same"),
    (r"^downgrade|^auth status|^check", "since 3.5"),
    (r"^defrag", "3.7 says how long it took"),
]

PREPARE = ["del '' --prefix", "put a 1", "put a 3", "put b 2", "put ü 'x y'"]
READS = """
get a
get a -w json
get a -w fields
get a -w protobuf
get a -w table
get a --hex
get a --hex -w json
get a --hex -w fields
get a c
get a c -w json
get a c -w fields
get a c -w protobuf
get a --print-value-only
get a --print-value-only --hex
get a --print-value-only -w json
get '' --prefix
get '' --prefix --hex
get '' --prefix --keys-only
get '' --prefix --keys-only -w json
get '' --prefix --limit 2 -w json
get '' --prefix --limit=2 -w fields
get '' --from-key --order=DESCEND
get '' --from-key --order=descend --sort-by=create
get '' --from-key --sort-by=VERSION --order=DESCEND
get '' --from-key --sort-by=value
get '' --from-key --sort-by=modify --order=ascend
get b --from-key
get a --prefix
get a --rev=1
get a --rev=999999
get a --consistency=s
get a --consistency=l
get nokey
get nokey -w json
get nokey -w fields
get a b c
get a -w xml
get a --order=x
get a --sort-by=x
get a --consistency=x
get a b --prefix
get a --prefix --from-key
get a --keys-only --count-only
get a --count-only
get a --count-only -w fields
get '' --prefix --min-create-rev=3 -w json
get '' --prefix --max-mod-rev=3 -w json
get
get ''
get --write-out=json a
-w json get a
ge a
member list
member list -w json
member list -w fields
member list -w table
member list -w protobuf
member list --hex
member list -w json --hex
member list -w fields --hex
member list --consistency=s
mem list
endpoint health
endpoint health -w json
endpoint health -w table
endpoint health --cluster
endpoint status
endpoint status -w json
endpoint status -w fields
endpoint status -w fields --hex
endpoint status -w table
endpoint status --cluster -w json
endpoint status -w protobuf
endpoint hashkv
endpoint hashkv -w json
endpoint hashkv -w fields
endpoint hashkv -w table
endpoint hashkv --cluster
endpoint hashkv --rev=999999999
compaction
compaction x
compaction 999999999
compaction 1 2
del
del a b c
del ''
put
put x
put '' x
put x y --lease=zz
put x y --lease=7f
put a 1 --ignore-value
txn a
""".strip().split("\n")

# Run by each tool in turn after PREPARE; numbers of revisions are not compared.
WRITES = """
put a 9
put a 9 --prev-kv
put a 9 --prev-kv -w json
put a 9 --prev-kv -w fields
put a 9 --prev-kv --hex
put a --ignore-value
put new ' leading blank'
put new -w table v
put -- -dash -value
put a 1 --ignore-lease
del a
del nokey
del nokey -w json
del nokey -w fields
del a --prev-kv
del '' --prefix --prev-kv
del '' --prefix --prev-kv -w json
del '' --prefix --prev-kv -w fields
del b --from-key --prev-kv --hex
del a b --range
""".strip().split("\n")

TXNS = [
    "\n\n\n",
    'mod("a") > "0"\n\nput a 5\nget b\n\nget b\n\n',
    'mod("a") < "0"\n\nput a 5\nget a\n\nget b\ndel a --prev-kv\nget "" --prefix --keys-only\n\n',
    'value("a") = "3"\nver("a") = "2"\ncreate("a") > "1"\nc("b") != "0"\n\nput "k \\"q\\"" "v\\n"\n'
    "get 'k \"q\"'\n\n\n",
    'val("ü") = "x y"\n\nget a c --limit=1\nget a --rev=2\n\n\n',
    'mod(a) > 0\n\n\n\n',
    'mod("a") > "x"\n\n\n\n',
    'mod("a") > "0"\n',
    '\nput a 1\nput a 2\n\n\n',
    '\nputx a\n\n\n',
    '\nput\n\n\n',
    '\nput a b --lease=zz\n\n\n',
    '\nget ""\n\n\n',
]
TXN_FLAGS = ["", "-w json", "-w fields", "-w protobuf", "-i", "--hex", "-w table"]

# Each list is run from its first to its last command by one tool after the other, and leaves things
# as they were before. {L} is the last lease granted, {M} the member added last, {P} a
# port anew for each: an id is made of URL and second, and one that was removed does not come back.
SCENARIOS = """
lease grant 0x
lease grant
lease grant 10 20
lease grant 100
lease timetolive {L}
lease timetolive {L} --keys
lease timetolive {L} -w json
lease timetolive {L} --keys -w json
lease timetolive {L} -w fields
lease timetolive {L} -w table
put leased 1 --lease={L}
get leased -w json
get leased -w fields
lease timetolive {L} --keys
lease timetolive {L} --keys -w json
lease timetolive {L} --keys -w fields
lease timetolive {L} --keys -w protobuf
lease list
lease list -w json
lease list -w fields
lease list -w protobuf
lease list -w table
lease keep-alive {L} --once
lease keep-alive {L} --once -w json
lease keep-alive {L} --once -w fields
lease keep-alive {L} --once -w protobuf
lease keep-alive {L} --once -w table
lease revoke {L}
lease revoke {L}
lease timetolive {L}
lease timetolive {L} -w json
lease timetolive {L} -w fields
lease keep-alive {L}
lease keep-alive {L} -w json
lease keep-alive {L} --once
lease list
lease list -w json
lease grant 50 -w json
lease revoke {L} -w json
lease grant 50 -w fields
lease revoke {L} -w fields
lease grant 50 --hex -w json
lease revoke {L} -w table
lease grant 50
lease list --hex -w fields
lease revoke {L} -w protobuf
lease revoke
lease revoke xyz
lease timetolive
lease timetolive xyz
lease keep-alive
lease keep-alive xyz
---
alarm list
alarm list -w json
alarm list -w fields
alarm list -w protobuf
alarm list -w table
alarm list x
alarm disarm
alarm disarm -w json
alarm disarm -w fields
alarm disarm x
defrag
defrag --cluster
move-leader
move-leader x
move-leader 1234
downgrade enable
downgrade validate
downgrade validate 3.5 3.6
downgrade validate 3.5
downgrade cancel
check perf --load=y
check datascale --load=y
make-mirror
make-mirror a b
make-mirror a --dest-prefix x --no-dest-prefix
---
member add
member add two
member add two three --peer-urls=http://127.0.0.1:1
member add two http://127.0.0.1:1
member add two --peer-urls=ftp://127.0.0.1:1
member add two --peer-urls=http://127.0.0.1
member add two --peer-urls=http://127.0.0.1:1/path
member add two --peer-urls=http://127.0.0.1:{P} --learner
member list
member list -w fields
member list -w json
member promote {M}
member update {M}
member update {M} --peer-urls=x
member update {M} --peer-urls=http://127.0.0.1:2,http://127.0.0.1:3
member list
member remove {M}
member add two --peer-urls=http://127.0.0.1:{P} --learner -w json
member update {M} --peer-urls=http://127.0.0.1:2 -w json
member remove {M} -w json
member add two --peer-urls=http://127.0.0.1:{P} --learner -w json --hex
member update {M} --peer-urls=http://127.0.0.1:2 -w json --hex
member remove {M} -w json --hex
member add two --peer-urls=http://127.0.0.1:{P} --learner
member list
member remove {M} -w fields
member remove
member remove x
member remove 1234
member update
member update x
member promote
member promote x
member promote 1234
---
user add ua:pw
user add ua:pw
user add ub:pw -w json
user add uc:pw -w fields
user add ud:pw -w protobuf
user add ue:pw -w table
user add uf --new-user-password=pw
user add ug --no-password
user add :x
user add
user add a b
user passwd
role add ra
role add ra
role add rb -w json
role add rc -w fields
role add rd -w table
role add
role grant-permission ra read key
role grant-permission ra readwrite a b
role grant-permission ra WRITE p --prefix
role grant-permission ra write q --from-key
role grant-permission ra read '' --prefix -w json
role grant-permission rb read x -w fields
role grant-permission ra bad x
role grant-permission ra read
role grant-permission ra read a b --prefix
role grant-permission ra read a b --from-key
role grant-permission ra read a --prefix --from-key
role grant-permission rn read a
role get ra
role get ra -w json
role get ra -w fields
role get ra -w protobuf
role get ra -w table
role get rn
role get
role list
role list -w json
role list -w fields
role list -w protobuf
role list -w table
role list x
user grant-role ua ra
user grant-role ua rb -w json
user grant-role ub ra -w fields
user grant-role ua rn
user grant-role un ra
user grant-role ua
user get ua
user get ua -w json
user get ua -w fields
user get ua -w protobuf
user get ua --detail
user get ua --detail -w json
user get ua --detail -w fields
user get ua --detail -w table
user get ug
user get ug -w json
user get un
user get
user list
user list -w json
user list -w fields
user list -w protobuf
user list x
user revoke-role ua ra
user revoke-role ua rb -w json
user revoke-role ua rb
user revoke-role ua
role revoke-permission ra key
role revoke-permission ra a b
role revoke-permission ra p --prefix
role revoke-permission ra q --from-key
role revoke-permission ra '' --prefix -w json
role revoke-permission rb x -w fields
role revoke-permission ra nokey
role revoke-permission ra
role delete ra
role delete rb -w json
role delete rc -w fields
role delete rd
role delete rn
role delete
user delete ua
user delete ub -w json
user delete uc -w fields
user delete ud
user delete ue
user delete uf
user delete ug
user delete un
user delete
auth enable
auth enable x
auth disable
auth disable x
auth status
auth status x
""".strip().split("\n---\n")

# Chatter before the error, in several versions' forms.
LOG_LINE = re.compile(r'^\{"level"')
TOOK = re.compile(rb'(took"?:? ?=? ?"?)[0-9.]+(ns|\xc2\xb5s|ms|s)')
LEASE = re.compile(r'lease ([0-9a-f]{16}) granted|"ID" ?: ?(\d+)')
MEMBER = re.compile(r'(?:Member +|"member":\{"ID":")([0-9a-f]+)(?: added|")|"member":\{"ID":(\d+)')
REVISION = re.compile(rb'("(?:revision|Revision|create_revision|CreateRevision|mod_revision|'
                      rb'ModRevision|PrevCreateRevision|PrevModRevision)"\s*:\s*)\d+')


REVISION_TEXT = re.compile(REVISION.pattern.decode())
TOOK_TEXT = re.compile(r"(took )[0-9.]+(ns|\xb5s|ms|s)")
LEFT = re.compile(r'(remaining\(|"ttl":|"TTL" : )(?=[1-9])\d+')


class Tool:
    def __init__(self, path, endpoints):
        self.path, self.endpoints = path, endpoints
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        self.environment["ETCDCTL_API"] = "3"

    def run(self, words, stdin=b"", timeout_s=20.0, environment=(), endpoints=None):
        """(exit code, stdout, first error line)"""
        end = subprocess.run(
            [self.path, "--endpoints", endpoints or self.endpoints] + words, input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s,
            env=dict(self.environment, **dict(environment)))
        lines = [l for l in end.stderr.decode(errors="replace").split("\n")
                 if l and not LOG_LINE.match(l)]
        return end.returncode, end.stdout, lines[0] if lines else ""


class Comparison:
    def __init__(self, ours, others):
        self.ours, self.others = ours, others
        self.compared = 0
        self.port = 40000  # nobody listens there: ports of cluster.py lie below
        self.different = []

    def prepare(self):
        for line in PREPARE:
            assert self.ours.run(shlex.split(line))[0] == 0, line

    def left_out(self, line, old):
        line = line.strip()
        return old and any(re.search(pattern, line, re.DOTALL) for pattern, _ in LEFT_OUT)

    def compare(self, line, stdin=b"", anew=False):
        """One command by ours and each other tool; anew: each on the same keys."""
        for tool, old in self.others:
            if self.left_out("%s %s" % (line, stdin.decode()), old):
                continue
            answers = []
            for one in (tool, self.ours):
                if anew:
                    self.prepare()
                answers.append(one.run(shlex.split(line), stdin))
            self.judge(line, stdin, tool, answers, old, anew)

    def judge(self, line, stdin, tool, answers, old, anew):
        (their_code, their_out, their_error), (our_code, our_out, our_error) = answers
        if anew:
            if "protobuf" in line:  # revisions are inside
                their_out = our_out = b""
            their_out, our_out = (REVISION.sub(rb"\1N", o) for o in (their_out, our_out))
        if "health" in line:
            their_out, our_out = (TOOK.sub(rb"\1T", o) for o in (their_out, our_out))
            if "table" in line:  # as wide as the time that it took
                their_out = our_out = b""
        self.compared += 1
        # What 3.4 says of wrong usage is 3.4's; the texts of 3.7 stand in ctl_usage.py.
        same_error = old or their_error == our_error
        if (their_code, their_out) != (our_code, our_out) or not same_error:
            self.different.append("%s %r by %s\n  theirs: %s %r %s\n  ours:   %s %r %s" % (
                line, stdin, tool.path, their_code, their_out, their_error, our_code, our_out,
                our_error))

    def run_all(self, tool, lines):
        """What each line gives, with the names of what it made put in general terms."""
        names, answers = {"L": "1234", "M": "1234", "P": "0"}, []
        for line in lines:
            if "{P}" in line:
                self.port += 1
                names["P"] = str(self.port)
            code, out, error = tool.run(shlex.split(line.format(**names)))
            for name, what, pattern in (("L", "lease grant", LEASE), ("M", "member add", MEMBER)):
                found = pattern.search(out.decode(errors="replace"))
                if found and not code and line.startswith(what):
                    names[name] = found.group(1) or "%x" % int(found.group(2))
            texts = [out.decode(errors="replace"), error]
            for name, value in names.items():
                forms = (value, value.zfill(16), value.lstrip("0"), str(int(value, 16)))
                for form in (":" + value,) if name == "P" else forms:
                    texts = [t.replace(form, "{%s}" % name) for t in texts]
            if "member" in line:  # ids are random: so is their order, and how long they are
                texts[0] = "\n".join(sorted(re.split(r"[\n{},\"]", re.sub(" +", " ", texts[0]))))
            answers.append((code, "" if "protobuf" in line else LEFT.sub(
                r"\1T", REVISION_TEXT.sub(r"\1N", TOOK_TEXT.sub(r"\1T", texts[0]))), texts[1]))
        return answers

    def compare_scenario(self, lines):
        for tool, old in self.others:
            for line, theirs, ours in zip(lines, self.run_all(tool, lines),
                                          self.run_all(self.ours, lines)):
                if self.left_out(line, old):
                    continue
                self.compared += 1
                if "lease revoke" in line and "protobuf" in line:  # Go's inner form is in theirs
                    theirs, ours = theirs[:2], ours[:2]
                if (theirs[:2] if old else theirs) != (ours[:2] if old else ours):
                    self.different.append("%s by %s\n  theirs: %s\n  ours:   %s" % (
                        line, tool.path, theirs, ours))

    def all(self):
        self.prepare()
        for lines in SCENARIOS:
            self.compare_scenario(lines.strip().split("\n"))
        for line in READS:
            self.compare(line)
        for line in WRITES:
            self.compare(line, anew=True)
        self.compare("put stdin --prev-kv", b"two\nlines\n", anew=True)
        self.compare("put stdin", b"", anew=True)
        for text in TXNS:
            for flags in TXN_FLAGS:
                self.compare("txn " + flags, text.encode(), anew=True)
        for value in ("json", "xml"):
            for tool, _ in self.others:
                answers = [t.run(["get", "a"], environment=[("ETCDCTL_WRITE_OUT", value)])
                           for t in (tool, self.ours)]
                self.judge("ETCDCTL_WRITE_OUT=" + value, b"", tool, answers, False, False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--newest")
    args = parser.parse_args()
    with Cluster(debian_etcd()) as cluster:
        endpoints = cluster.endpoints()
        others = [(Tool(args.other or debian_etcdctl(), endpoints), True)]
        if args.newest and os.path.exists(args.newest):
            others.append((Tool(args.newest, endpoints), False))
        comparison = Comparison(Tool(args.ours, endpoints), others)
        comparison.all()
    for one in comparison.different:
        print(one)
    print("%d compared, %d different" % (comparison.compared, len(comparison.different)))
    return 1 if comparison.different or comparison.compared < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
