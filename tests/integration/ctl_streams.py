#!/usr/bin/python3
"""watch, lock, elect and lease keep-alive by our etcdctl beside Debian's (3.4.23), and where it is
given beside etcd's own of 3.7, on the same cluster of another etcd: equal output, exit codes, and
errors by 3.7.

    ctl_streams.py OURS [--newest ETCDCTL] [--etcd BINARY]   (Debian's etcd unless named)
"""
import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cluster import Cluster, debian_etcd, debian_etcdctl, wait_for

LOG_LINE = re.compile(r'^\{"level"')
NUMBERS = re.compile(r'("(?:revision|Revision|create_revision|CreateRevision|mod_revision|ModRevision|'
                     r'PrevCreateRevision|PrevModRevision|lease|Lease|CompactRevision)" ?: ?)[1-9]\d*|'
                     r'(progress notify: )\d+|(ETCD_WATCH_REVISION=)\d+|(ETCD_LOCK_REV=)\d+')
LEASE_KEY = re.compile(r"(/)[0-9a-f]{8,16}\b")


class Live:
    """A command that goes on; its output is gathered as it comes."""

    def __init__(self, path, endpoints, words, environment=(), stdin=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        env["ETCDCTL_API"] = "3"
        env.update(environment)
        self.process = subprocess.Popen([path, "--endpoints", endpoints] + words, env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.out, self.err = [], []
        self.threads = [threading.Thread(target=self.gather, args=a, daemon=True) for a in (
            (self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def gather(stream, to):
        while True:
            piece = os.read(stream.fileno(), 65536)
            if not piece:
                return
            to.append(piece)

    def text(self):
        return b"".join(self.out).decode(errors="replace")

    def errors(self):
        lines = b"".join(self.err).decode(errors="replace").split("\n")
        return "\n".join(l for l in lines if l and not LOG_LINE.match(l))

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self, number=None, timeout_s=20.0):
        """(exit code, stdout, stderr)"""
        if number:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("still running:\n%s\n%s" % (self.text(), self.errors()))
        for thread in self.threads:
            thread.join(5)
        return code, self.text(), self.errors()


class Bench:
    """One tool in front of the cluster. What it prints is taken without its numbers."""

    def __init__(self, path, endpoints, put):
        self.path, self.endpoints, self.put_with = path, endpoints, put

    def live(self, words, environment=(), wait=None):
        one = Live(self.path, self.endpoints, words, environment)
        if wait:
            wait_for(lambda: wait in one.text(), "%s of %s: %r, %r" % (
                wait, words, one.text(), one.errors()))
        return one

    def run(self, *words, environment=()):
        one = Live(self.path, self.endpoints, list(words), environment)
        one.process.stdin.close()
        return one.end()

    def put(self, *words):
        end = subprocess.run([self.put_with, "--endpoints", self.endpoints] + list(words),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
        assert end.returncode == 0, (words, end)
        return end.stdout.decode()

    def revision(self):
        return json.loads(self.put("get", "x", "-w", "json"))["header"]["revision"]


def general(text):
    text = NUMBERS.sub(lambda m: "".join(g for g in m.groups() if g) + "N", text)
    text = LEASE_KEY.sub(r"\1LEASE", text)
    return re.sub(r'"(key|value)":"[A-Za-z0-9+/=]*"', r'"\1":"X"', text)


def ended(answer):
    code, out, err = answer
    return code, general(out), general(err)


# ---- watch ----------------------------------------------------------------------------------

def watch_history(bench, words, environment=()):
    """From a revision on, so that nothing depends on when the watch begins."""
    bench.put("del", "w", "--prefix")
    revision = bench.revision() + 1
    for line in ("put wa 1", "put wa 2", "put wb 'x y'", "del wa", "put 'w\"q' 3", "del w --prefix",
                 "put wz last"):
        bench.put(*shlex.split(line))
    watch = bench.live(["watch", "--rev", str(revision)] + words, environment)
    # The last event's value; a command says it once more for each event.
    last = "bGFzdA==" if "json" in words else "\\x6c\\x61" if "--hex" in words else "last"
    count = 1 if "--" not in words else 9 if "--prefix" in words else 3 if "sh" in words else 2
    wait_for(lambda: watch.text().count(last) >= count or watch.process.poll() is not None,
             "the last event of %s: %r %r" % (words, watch.text(), watch.errors()))
    code, out, err = watch.end(None if FAILING.search(" ".join(words)) else signal.SIGKILL)
    if "-w json" in " ".join(words):  # how events are batched is the server's
        events = [e for line in out.strip().split("\n") for e in json.loads(line)["Events"]]
        heads = {tuple(k for k in json.loads(line) if k != "CancelReason")
                 for line in out.strip().split("\n")}
        return code, general(json.dumps(events)), sorted(heads), err
    if "fields" in words:
        out = "\n".join(l for l in out.split("\n") if not re.match(
            r'"(ClusterID|MemberID|Revision|RaftTerm)"', l))
    if "protobuf" in words:
        out = ""
    return code, general(out), err


FAILING = re.compile(r"-- (false|/nonex|no-such|sh -c kill)|-w table")

WATCHES = """
w --prefix
w --prefix --prev-kv
w --prefix -w json
w --prefix --prev-kv -w json
w --prefix -w fields
w --prefix --prev-kv -w fields
w --prefix --hex
wa x
'' --prefix
wz ignored third
wz -w protobuf
wz -w table
wz -- sh -c 'echo "ETCD_WATCH_REVISION=$ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE" last'
w --prefix -- sh -c 'cat; env | grep ETCD_WATCH | sort; echo last'
w --prefix -- false
w --prefix -- sh -c 'kill -9 $$'
w --prefix -- /nonexistent/program x
w --prefix -- no-such-program-in-path
""".strip().split("\n")

WRONG = """
watch
watch a --
watch -- echo x
watch a b --prefix
lock
elect
elect a
elect a b c
elect a b -l
""".strip().split("\n")


def interactive(bench):
    watch = bench.live(["watch", "-i"])
    bench.put("del", "i", "--prefix")
    revision = bench.revision() + 1
    bench.put("put", "ia", "1")
    bench.put("put", "ib", "2")
    watch.type("watch ia --rev %d" % revision)
    wait_for(lambda: "ia\n1\n" in watch.text(), "the first watch")
    watch.type("watch ib --rev=%d --prev-kv" % revision)
    wait_for(lambda: "ib\n2\n" in watch.text(), "the second watch")
    for line in ("", "nonsense a", "watch", "watch a b --prefix"):
        watch.type(line)
    bench.put("put", "ib", "3")
    wait_for(lambda: "ib\n2\nib\n3\n" in watch.text(), "the event with what was before")
    watch.type("watch ic --rev=%d -- echo run for" % revision)
    bench.put("put", "ic", "4")
    wait_for(lambda: "run for\n" in watch.text(), "the command")
    watch.process.stdin.close()
    return ended(watch.end())


def interactive_end(bench, line):
    watch = bench.live(["watch", "-i"])
    watch.type(line)
    return ended(watch.end())


def progress(bench):
    watch = bench.live(["watch", "-i"])
    revision = bench.revision()
    watch.type("watch pa --rev %d" % revision)
    def asked():
        watch.type("progress")
        return "progress notify: " in watch.text()
    wait_for(asked, "progress")
    watch.process.stdin.close()
    code, out, err = watch.end()
    return code, sorted(set(general(out).split("\n"))), err


def compacted(bench, words):
    revision = bench.revision()
    bench.put("put", "ca", "1")
    bench.put("put", "ca", "2")
    bench.put("compaction", str(revision + 2))
    return ended(bench.run("watch", "ca", "--rev", "1", *words))


# ---- locks and elections --------------------------------------------------------------------

def lock_held(bench, words):
    first = bench.live(["lock", "la"] + words, wait="\n")
    second = bench.live(["lock", "la"])
    wait_for(lambda: bench.put("get", "la/", "--prefix", "--keys-only").count("la/") == 2,
             "two in the queue")
    assert not second.text()
    one = ended(first.end(signal.SIGINT))
    wait_for(lambda: second.text().count("\n") == 2, "the second has the lock")
    two = ended(second.end(signal.SIGTERM))
    assert "la/" not in bench.put("get", "la/", "--prefix", "--keys-only")
    return one, two


def lock_interrupted(bench):
    first = bench.live(["lock", "lb"], wait="\n")
    second = bench.live(["lock", "lb"])
    wait_for(lambda: bench.put("get", "lb/", "--prefix", "--keys-only").count("lb/") == 2,
             "two in the queue")
    two = ended(second.end(signal.SIGINT))
    wait_for(lambda: bench.put("get", "lb/", "--prefix", "--keys-only").count("lb/") == 1,
             "the one who gave up has left the queue")
    return ended(first.end(signal.SIGINT)), two


LOCK_COMMANDS = """
lock lc true
lock lc sh -- -c 'echo "$ETCD_LOCK_KEY ETCD_LOCK_REV=$ETCD_LOCK_REV"; exit 7'
lock lc -- sh -c 'kill -9 $$'
lock lc no-such-program-in-path
lock lc -- cat
lock --ttl 5 lc -- env
""".strip().split("\n")


def lock_command(bench, line):
    code, out, err = ended(bench.run(*shlex.split(line)))
    if line.endswith("env"):
        out = "\n".join(out.split("\n")[:2])
    return code, out, err


def election(bench, words):
    values = {"one": "b25l", "anew": "YW5ldw==", "two": "dHdv"} if "json" in words else {}
    listener = bench.live(["elect", "ea", "-l"] + words)
    def told(value):
        wait_for(lambda: values.get(value, value) in listener.text(), "%s is told" % value)
    first = bench.live(["elect", "ea", "one"] + words, wait="\n")
    told("one")
    second = bench.live(["elect", "ea", "two"] + words)
    wait_for(lambda: bench.put("get", "ea/", "--prefix", "--keys-only").count("ea/") == 2,
             "two candidates")
    key = bench.put("get", "ea/", "--prefix", "--keys-only", "--sort-by=CREATE", "--limit=1").split()
    bench.put("put", key[0], "anew", "--ignore-lease")
    told("anew")
    one = ended(first.end(signal.SIGINT))
    wait_for(lambda: second.text(), "the second leads")
    told("two")
    two = ended(second.end(signal.SIGTERM))
    code, out, err = ended(listener.end(signal.SIGINT))
    # A leader is told of by a range or by an event, whichever comes first; the former counts.
    return one, two, (code, re.sub(r'"Count" : \d+\n|,"count":\d+', "", out), err)


def keep_alive(bench, words):
    lease = bench.put("lease", "grant", "3").split()[1]
    keeper = bench.live(["lease", "keep-alive", lease] + words)
    wait_for(lambda: len(keeper.text().strip().split("\n")) >= 3, "three renewals")
    bench.put("lease", "revoke", lease)
    code, out, err = keeper.end()
    return code, sorted(set(general(out.replace(lease, "L").replace(str(int(lease, 16)), "L"))
                            .split("\n"))), err


# ---------------------------------------------------------------------------------------------

def scenarios():
    for words in WATCHES:
        yield "watch " + words, lambda b, w=words: watch_history(b, shlex.split(w))
    yield "watch by the environment", lambda b: watch_history(
        b, [], {"ETCDCTL_WATCH_KEY": "wz"})
    yield "watch a range by the environment", lambda b: watch_history(
        b, ["--", "echo", "last"], {"ETCDCTL_WATCH_KEY": "wz", "ETCDCTL_WATCH_RANGE_END": "x"})
    for environment in ({"ETCDCTL_WATCH_KEY": "k"}, {"ETCDCTL_WATCH_RANGE_END": "k"}):
        for line in ("watch a", "watch a -- echo", "watch --prefix a"):
            if line.split()[1] and "ETCDCTL_WATCH_KEY" in environment or "RANGE" in str(environment):
                yield "%s %s" % (environment, line), lambda b, l=line, e=environment: ended(
                    b.run(*shlex.split(l), environment=e))
    for line in WRONG:
        yield line, lambda b, l=line: ended(b.run(*shlex.split(l)))
    yield "watch -i", interactive
    yield "watch -i progress", progress
    for line in ("watch a --", "watch --nope a", "watch --prefix", "watch a --rev=x"):
        yield "watch -i: " + line, lambda b, l=line: interactive_end(b, l)
    for words in ([], ["-w", "json"], ["-w", "fields"]):
        yield "watch of what is compacted %s" % words, lambda b, w=words: compacted(b, w)
    for words in ([], ["-w", "json"], ["-w", "fields"]):
        yield "lock %s" % words, lambda b, w=words: lock_held(b, w)
    yield "lock interrupted", lock_interrupted
    for line in LOCK_COMMANDS:
        yield line, lambda b, l=line: lock_command(b, l)
    for words in ([], ["-w", "json"], ["-w", "fields"]):
        yield "elect %s" % words, lambda b, w=words: election(b, w)
        yield "lease keep-alive %s" % words, lambda b, w=words: keep_alive(b, w)


# What Debian's 3.4 says otherwise by design.
LEFT_OUT = [
    (r"progress", "3.7 tells it to every watch, and 3.4 in its own words"),
    (r"-w table", "3.7 refuses it"),
    (r"no-such-program", "Go says it in other words since"),
    (r"compacted.*json", "3.4 has no such field"),
    (r"compacted.*fields", "3.7 leaves out a revision of 0"),
    (r"^lock lc .*(exit|kill)", "3.4 ends with 1 whatever the command ended with"),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--newest")
    parser.add_argument("--etcd")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    different, compared = [], 0
    with Cluster(args.etcd or debian_etcd()) as cluster:
        endpoints = cluster.endpoints()
        others = [(debian_etcdctl(), True)]
        if args.newest and os.path.exists(args.newest):
            others.append((args.newest, False))
        for name, scenario in scenarios():
            if args.only not in name:
                continue
            begun, answers = time.monotonic(), []
            for path in [args.ours] + [o[0] for o in others]:
                try:
                    answers.append(scenario(Bench(path, endpoints, args.ours)))
                except AssertionError as e:
                    answers.append(("failed", str(e)))
            print("%4.1f s  %s" % (time.monotonic() - begun, name), flush=True)
            for (path, old), theirs in zip(others, answers[1:]):
                if old and any(re.search(p, name) for p, _ in LEFT_OUT):
                    continue
                compared += 1
                ours = answers[0]
                # What 3.4 says of errors is 3.4's.
                if old and not isinstance(ours[0], tuple):
                    ours, theirs = ours[:-1], theirs[:-1]
                if ours != theirs:
                    different.append("%s by %s\n  theirs: %s\n  ours:   %s" % (
                        name, path, theirs, ours))
    for one in different:
        print(one)
    print("%d compared, %d different" % (compared, len(different)))
    return 1 if different or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
