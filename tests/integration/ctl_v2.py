#!/usr/bin/python3
"""Our etcdctl under ETCDCTL_API=2 beside Debian's (3.4.23) on the same etcd with --enable-v2: the same
commands from the same state, equal stdout, stderr and exit codes; indices count from where each began.

    ctl_v2.py OURS [--etcd BINARY]    (Debian's etcd unless named)
"""
import argparse
import os
import re
import shlex
import signal
import subprocess
import sys

from cluster import Cluster, debian_etcd, debian_etcdctl, wait_for
from ctl_streams import Live

# Run in order by each tool. {N}: the index that the state began with; {N+3}: three later.
COMMANDS = """
ls
get /a
set /a 1
get /a
get a
get //a//
get x/../a
get --quorum /a
get --sort -q /a
get -- /a
get /a b c
get
get /a/b
set /a/b 2
set
set /a
set '' 1
set / 1
set /a 2
set --swap-with-value 1 /a 3
set --swap-with-value 2 /a 3
set /a 4 --swap-with-value 3
set --swap-with-index 1 /a 5
set --swap-with-value x --swap-with-index 1 /a 5
set -- /dash -5
set /dash -5
set '/odd key/ü?x#y%z+&=;' 'v&=+ü <>"'
get '/odd key/ü?x#y%z+&=;'
ls '/odd key'
rm -r '/odd key'
mk /a 1
mk /m 1
mk /m 2
mk
mk /n
mk --in-order /q first
mk /q second --in-order
mk --in-order /a x
mk --in-order --ttl 500 /q third
ls /q
ls -p
ls --sort -p -r /
ls -r --sort
ls /a
ls /none
ls -q /
mkdir /d
mkdir /d
mkdir
mkdir /a
mkdir /d/e/f
mkdir --ttl 500 /t
get /d
get /t
set /d 1
set /d/k 1
update /a 9
update /none 9
update /d 9
update
update /a
setdir /d
setdir /s
setdir --ttl 500 /s2
setdir /a
setdir
updatedir /s
updatedir --ttl 500 /s
updatedir /none
updatedir /a
updatedir
updatedir /s extra
rm /none
rm
rm /d
rm --dir /d
rmdir /d
rmdir /d/e/f
rmdir
rmdir /none
rm -r /d
rm --recursive /none
rm --with-value 1 /a
rm --with-value 9 /a
set /a 1
rm /a --with-index 1
rm --with-index {N} /a
rm -dir /a
rm /q
rmdir /q
rm -recursive /q
rm --dir --recursive /s2
set --ttl 500 /ttl v
-o extended get /ttl
-o json get /ttl
-o json set /j 1
-o json set /j 2
-o extended set /j 3
-o extended update /j 4
-o json mk /j2 1
-o json mk --in-order /jq 1
-o extended mk --in-order /jq 2
-o json mkdir /jd
-o extended mkdir /jd2
-o json setdir /jd3
-o json updatedir --ttl 500 /jd3
-o json ls --sort -r /
-o json ls /j
-o extended ls /
-o extended ls /j
-o json get /none
-o json get /jd
-o json rm /j
-o extended rm /j2
-o json rmdir /jd
-o extended rmdir /jd2
-o json rm -r /jq
-o json rm --dir /jd3
-o xml set /x 1
-o xml get /x
-o xml ls
-o xml rm /x
-o xml mkdir /x
rm --dir /x
set /h/_hidden 1
set /h/shown 1
ls /h
ls -r /h
get /h/_hidden
rm -r /h
watch
watch --after-index {N} /m
watch --after-index {N} -r /q
watch /a --after-index {N}
watch --after-index {N+1} -recursive -o
-o json watch --after-index {N} -r /
-o extended watch --after-index {N} /dash
-o json watch --after-index {N+1} -r /
exec-watch
exec-watch /m
member
member list
member add
member add x
member add x y z
member add x ftp://127.0.0.1:1
member add x http://127.0.0.1
member add x http://127.0.0.1:1/path
member remove
member remove x
member remove 1234
member update
member update x
member update zz http://127.0.0.1:1
member update 1234 http://127.0.0.1:1
member nosub
cluster-health
nosuch
--nosuch
get --nosuch /a
set --ttl
set --ttl x /a 1
rm -r=maybe /a
--timeout x get /a
--timeout 3s --total-timeout 10s get /m
--no-sync get /m
-no-sync=true get /m
--no-sync --debug --endpoints {E} set /m 'a b'
--debug --no-sync --endpoints {E} mkdir /dbg --ttl 500
--debug --no-sync --endpoints {E} get -q /m
--debug --no-sync --endpoints {E} rm --dir /dbg
--endpoint {E} get /m
--peers {E} get /m
-C {E} get /m
--endpoints http://127.0.0.1:1 get /a
--no-sync --endpoints http://127.0.0.1:1 get /a
--endpoint http://127.0.0.1:1 set /a 1
--endpoints http://127.0.0.1:1 watch /a
--endpoints http://127.0.0.1:1 member list
--endpoints http://127.0.0.1:1 cluster-health
help nosuch
import
help import
member list extra
ls /d/
get /m/
ls /none/
--endpoints {E}/ get /m
--no-sync --endpoints {E}/ get /m
--endpoints http://127.0.0.1:1,{E} get /m
--output=json get /m
-o=json get /m
set --ttl -1 /neg 1
set --ttl 99999999999999999999 /m 1
set --ttl 1.5 /m 1
set --swap-with-index -1 /m 1
rm --with-index -1 /none
rm --with-value x --with-index 1 /m
rm -r /
rmdir /
mkdir /
updatedir /
mk / 1
update / 1
get /
-o json get /
-o extended get /
get ''
ls ''
rm ''
set .. 1
set /../x 1
set /x/./y 1
get /x//y
set '/a%2fb' 1
set '/a#frag' 2
get '/a#frag'
- get /m
---x get /m
set - 1
get -
""".strip().split("\n")

INDEX = re.compile(r'(?<=\[)(\d+)(?=\]$)|(?<=Index: )(\d+)|(?<=Index":)(\d+)|(?<=/q/)0*(\d+)|'
                   r'(?<=/jq/)0*(\d+)|(?<= != )(\d+)(?=\]\))', re.MULTILINE)
TIMES = re.compile(r'("expiration":")[^"]*|("ttl":|TTL: )(?:49\d|500)\b')
# Help texts are ours.
HELP = re.compile(r"^(member|-h|help|.*--help)$")


class Tool:
    def __init__(self, path, endpoints):
        self.path, self.endpoints, self.base = path, endpoints, 0

    def run(self, *words, stdin=b"", endpoints=True):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        env["ETCDCTL_API"] = "2"
        if endpoints:
            env["ETCDCTL_ENDPOINTS"] = self.endpoints
        end = subprocess.run([self.path] + list(words), input=stdin, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=30, env=env)
        return end.returncode, end.stdout.decode(), end.stderr.decode()

    def clean(self):
        for key in self.run("ls")[1].split():
            self.run("rm", "-r", key)
        code, out, err = self.run("-o", "extended", "set", "/begin", "x")
        assert code == 0, err
        self.base = int(re.search(r"Modified-Index: (\d+)", out).group(1))
        self.run("rm", "/begin")
        self.base += 1

    def general(self, text):
        def counted(match):
            number = int(next(g for g in match.groups() if g))
            return "N%+d" % (number - self.base) if number >= self.base else match.group(0)
        text = TIMES.sub(lambda m: (m.group(1) or m.group(2)) + "T", text)
        return INDEX.sub(counted, text)

    def answer(self, line, stdin=b""):
        line = line.replace("{E}", self.endpoints.split(",")[0])
        line = re.sub(r"\{N(?:\+(\d+))?\}", lambda m: str(self.base + int(m.group(1) or 0)), line)
        own = re.match(r"(--endpoint|--peers|-C) ", line)
        code, out, err = self.run(*shlex.split(line), stdin=stdin, endpoints=not own)
        if HELP.match(line) or "Incorrect Usage" in out:
            out = ""
        if "json ls" in line or line.startswith("ls") or "cluster-health" in line:
            out = "\n".join(sorted(out.split("\n")))
        if err.count("error #") > 1:  # endpoints are taken in a random order
            err = "\n".join(sorted(set(re.findall(r"dial .*", err))))
        return code, self.general(out), self.general(err)


def forever(tool, words, changes, count):
    """A watch that goes on, and what it told of the changes."""
    base = int(re.search(r"Index: (\d+)", tool.run("-o", "extended", "set", "/w/begin", "x")[1])
               .group(1))
    for change in changes:
        assert tool.run(*change)[0] == 0, change
    words = [w.replace("{N}", str(base)) for w in words]
    env = {"ETCDCTL_API": "2", "ETCDCTL_ENDPOINTS": tool.endpoints}
    live = Live(tool.path, tool.endpoints, words, env)
    wait_for(lambda: live.text().count("\n") >= count, "%s: %r %r" % (
        words, live.text(), live.errors()))
    code, out, err = live.end(signal.SIGINT)
    tool.run("rm", "-r", "/w")
    lines = out.split("\n")
    if "exec-watch" in words:
        lines.sort()
    old, tool.base = tool.base, base
    answer = code, tool.general("\n".join(lines)), err
    tool.base = old
    return answer


CHANGES = [["set", "/w/a", "1"], ["set", "/w/a", "2"], ["mkdir", "/w/d"], ["set", "/w/d/x", "y z"],
           ["rm", "/w/a"], ["rm", "-r", "/w/d"], ["mk", "/w/last", "l"]]
WATCHES = [
    (["watch", "-f", "-r", "--after-index", "{N}", "/w"], 10),
    (["-o", "json", "watch", "-f", "-r", "--after-index", "{N}", "/w"], 10),
    (["-o", "extended", "watch", "--forever", "--recursive", "--after-index", "{N}", "/w"], 40),
    (["watch", "-f", "--after-index", "{N}", "/w/a"], 3),
    (["exec-watch", "--after-index", "{N}", "-r", "/w", "--", "sh", "-c",
      "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"], 5),
]


# While every member takes connections and answers nothing.
STOPPED = ["--total-timeout 1s get /m", "--total-timeout 1s --no-sync set /m 1",
           "--total-timeout 1s member list", "--total-timeout 1s --no-sync rm /m"]


def members(tool, number):
    """Adds and removes a member; on the first each tool has another URL, since an id is made of it."""
    def general(answer, mid):
        code, out, err = answer
        text = (out + err).replace(mid, "ID").replace(str(number), "PORT")
        return code, sorted(re.split(r"[\n,\"]", text))
    url = "http://127.0.0.1:%d" % number
    def add():  # refused until the members have known each other for five seconds
        answer = tool.run("member", "add", "two", url)
        return answer if answer[0] == 0 else None
    added = wait_for(add, "a member can be added")
    mid = re.search(r"with ID ([0-9a-f]+)", added[1]).group(1)
    answers = [general(added, mid)]
    for words in (["member", "list"], ["member", "remove", mid], ["member", "remove", mid],
                  ["member", "list"]):
        answers.append(general(tool.run(*words), mid))
    return answers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--etcd")
    args = parser.parse_args()
    different, compared = [], 0
    with Cluster(args.etcd or debian_etcd(), 3, flags=["--enable-v2"]) as cluster:
        endpoints = ",".join("http://" + m.client for m in cluster.members)
        tools = [Tool(debian_etcdctl(), endpoints), Tool(args.ours, endpoints)]
        answers = []
        # Members are healthy a moment before they have told where clients find them.
        wait_for(lambda: tools[0].run("member", "list")[1].count("clientURLs=http") == 3,
                 "the members' client URLs")
        for tool in tools:
            tool.clean()
            one = [(line, tool.answer(line)) for line in COMMANDS]
            one.append(("set by stdin", tool.answer("set /in", b"two\nlines\n")))
            one.append(("set by empty stdin", tool.answer("set /in2", b"")))
            one += [(" ".join(w), forever(tool, w, CHANGES, n)) for w, n in WATCHES]
            one.append(("members", members(tool, 10001 + tools.index(tool))))
            answers.append(one)
        for member in cluster.members:
            member.process.send_signal(signal.SIGSTOP)
        for tool, one in zip(tools, answers):
            one += [(line, tool.run(*line.split())) for line in STOPPED]
        for member in cluster.members:
            member.process.send_signal(signal.SIGCONT)
        for (line, theirs), (_, ours) in zip(*answers):
            compared += 1
            if theirs != ours:
                different.append("%s\n  theirs: %s\n  ours:   %s" % (line, theirs, ours))
    for one in different:
        print(one)
    print("%d compared, %d different" % (compared, len(different)))
    return 1 if different or compared < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
