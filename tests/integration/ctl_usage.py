#!/usr/bin/python3
"""What etcdctl says of wrong arguments, flags and settings: texts and exit codes of etcd's
interface. No server is needed: none of it gets as far as a connection that answers.

    ctl_usage.py ETCDCTL
"""
import os
import shlex
import subprocess
import sys
import time

from cluster import free_ports

# command line, exit code, first line of stderr
CASES = """
get | 128 | Error: get command needs one argument as key and an optional argument as range_end
get a --prefix --from-key | 128 | Error: `--prefix` and `--from-key` cannot be set at the same time, choose one
get a b --prefix | 128 | Error: too many arguments, only accept one argument when `--prefix` or `--from-key` is set
get a b --from-key | 128 | Error: too many arguments, only accept one argument when `--prefix` or `--from-key` is set
get a --keys-only --count-only | 128 | Error: `--keys-only` and `--count-only` cannot be set at the same time, choose one
get a --count-only | 128 | Error: --count-only is only for `--write-out=fields`
get a --print-value-only -w json | 128 | Error: print-value-only is only for `--write-out=simple`
get a --order=up | 4 | Error: bad sort order up
get a --sort-by=size | 4 | Error: bad sort target size
get a --consistency=q | 4 | Error: unknown consistency flag "q"
get a -w xml | 4 | Error: unsupported output format
get a --limit=x | 1 | Error: invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax
get a --nope | 1 | Error: unknown flag: --nope
get a -x | 1 | Error: unknown shorthand flag: 'x' in -x
get a --rev | 1 | Error: flag needs an argument: --rev
get a --dial-timeout=5 | 1 | Error: invalid argument "5" for "--dial-timeout" flag: time: missing unit in duration "5"
put | 128 | Error: put command needs 1 argument and input from stdin or 2 arguments
put a | 128 | Error: put command needs 1 argument and input from stdin or 2 arguments
put a b --ignore-value | 128 | Error: put command needs only 1 argument when 'ignore-value' is set
put a b --lease=zz | 128 | Error: bad lease ID (strconv.ParseInt: parsing "zz": invalid syntax), expecting ID in Hex
del | 128 | Error: del command needs one argument as key and an optional argument as range_end
del a b c | 128 | Error: del command needs one argument as key and an optional argument as range_end
del a --prefix --from-key | 128 | Error: `--prefix` and `--from-key` cannot be set at the same time, choose one
txn a | 128 | Error: txn command does not accept argument
txn | 3 | Error: EOF
compaction | 128 | Error: compaction command needs 1 argument
compaction x | 1 | Error: strconv.ParseInt: parsing "x": invalid syntax
member list --consistency=q | 4 | Error: unknown consistency flag "q"
nosuch | 1 | Error: unknown command "nosuch" for "etcdctl"
c | 1 | Error: unknown command "c" for "etcdctl"
--version | 1 | Error: unknown flag: --version
help nosuch | 0 | Unknown help topic [`nosuch`]
--endpoints= get a | 2 | Error: etcdclient: no available endpoints
--endpoints=https://127.0.0.1:1 get a | 2 | Error: https endpoints are not supported yet
--cert=x get a | 128 | Error: --cert is not supported yet
--user=root get a | 128 | Error: --user is not supported yet
--password=x get a | 128 | Error: --password is not supported yet
--discovery-srv=x get a | 128 | Error: --discovery-srv is not supported yet
watch a b --prefix | 128 | Error: `range_end` and `--prefix` are mutually exclusive
watch a -- | 128 | Error: bad number of arguments (found separator --, but no commands)
watch -- x | 128 | Error: bad number of arguments
lock | 128 | Error: lock takes a lock name argument and an optional command to execute
elect a | 128 | Error: no proposal argument but -l not set
lease grant | 128 | Error: lease grant command needs TTL argument
lease grant x | 128 | Error: bad TTL (strconv.ParseInt: parsing "x": invalid syntax)
lease revoke zz | 128 | Error: bad lease ID arg (strconv.ParseInt: parsing "zz": invalid syntax), expecting ID in Hex
lease timetolive | 128 | Error: lease timetolive command needs lease ID as argument
lease keep-alive | 128 | Error: lease keep-alive command needs lease ID as argument
member add | 128 | Error: member name not provided
member add x | 128 | Error: member peer urls not provided
member add x http://127.0.0.1:1 | 128 | Error: too many arguments, did you mean --peer-urls=http://127.0.0.1:1
member add x --peer-urls=y | 1 | Error: URL scheme must be http, https, unix, or unixs: y
member remove | 128 | Error: member ID is not provided
member remove -- -1 | 128 | Error: bad member ID arg (strconv.ParseUint: parsing "-1": invalid syntax), expecting ID in Hex
member update 1 | 128 | Error: member peer urls not provided
alarm list x | 128 | Error: alarm list command accepts no arguments
snapshot save | 128 | Error: snapshot save expects one argument <filename>
snapshot restore | 128 | Error: snapshot restore requires exactly one argument
snapshot status | 128 | Error: snapshot status requires exactly one argument
completion tcsh | 1 | Error: invalid argument "tcsh" for "etcdctl completion"
move-leader x | 128 | Error: strconv.ParseUint: parsing "x": invalid syntax
downgrade enable | 128 | Error: TARGET_VERSION not provided
user add | 128 | Error: user add command requires user name as its argument
user add :x | 128 | Error: empty user name is not allowed
user add a | 128 | Error: empty password
role grant-permission r bad k | 128 | Error: invalid permission type: bad
role revoke-permission r | 128 | Error: role revoke-permission command requires role name and key [endkey] as its argument
auth enable x | 128 | Error: auth enable command does not accept any arguments
""".strip().split("\n")

# environment, command line, exit code, what stderr says
SETTINGS = [
    ({"ETCDCTL_ENDPOINTS": "x:1"}, "--endpoints=y:1 get a", 1,
     "conflicting environment variable is shadowed"),
    ({"ETCDCTL_WRITE_OUT": "xml"}, "get a", 4, "unsupported output format"),
    ({"ETCDCTL_WRITE_OUT": "xml"}, "version", 0, ""),
    ({"ETCDCTL_NOSUCH": "1"}, "get", 128, "unrecognized environment variable"),
    ({"ETCDCTL_USER": "root"}, "get a", 128, "--user is not supported yet"),
    ({"ETCDCTL_API": "2"}, "nosuch", 3, "No help topic for 'nosuch'"),
    ({"ETCDCTL_API": "2"}, "user list", 1, "user of the v2 API is not supported yet"),
    ({"ETCDCTL_API": "2"}, "--nosuch member list", 1, "flag provided but not defined: -nosuch"),
]

# Asked for: on stdout, with success.
HELP = ["", "help", "--help", "get --help", "help member list", "member", "member nosuch", "endpoint",
        "options", "version", "version extra"]


class Ctl:
    def __init__(self, path):
        self.path = path
        self.failed = 0

    def run(self, line, environment=()):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        end = subprocess.run([self.path] + shlex.split(line), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                             env=dict(clean, **dict(environment)))
        return end.returncode, end.stdout.decode(), end.stderr.decode()

    def expect(self, line, ok, got):
        if not ok:
            self.failed += 1
            print("etcdctl %s: %s %r %r" % ((line,) + got))


def check_unreachable(ctl):
    """Nobody answers: the command gives up when its time is over, not before."""
    port = free_ports(1)[0]
    for line in ("get a", "put a 1", "del a", "compaction 1", "member list"):
        begin = time.monotonic()
        got = ctl.run("--endpoints=127.0.0.1:%d --command-timeout=400ms %s" % (port, line))
        took_s = time.monotonic() - begin
        ok = got[0] == 1 and got[2].split("\n")[-2] == "Error: context deadline exceeded"
        ctl.expect(line, ok and "connection refused" in got[2] and 0.4 <= took_s < 3, got)
    got = ctl.run("--endpoints=127.0.0.1:%d --command-timeout=400ms endpoint status -w json" % port)
    ctl.expect("endpoint status", got[0] == 1 and got[1] == "null\n", got)
    got = ctl.run("cluster-health --endpoints=127.0.0.1:%d" % port)
    ctl.expect("cluster-health", got[0] == 4 and got[1] ==
               "cluster may be unhealthy: failed to list members\n" and got[2].startswith(
                   "Error:  client: etcd cluster is unavailable or misconfigured; error #0: "), got)
    got = ctl.run("--endpoints=http://127.0.0.1:%d member list" % port, {"ETCDCTL_API": "2"})
    ctl.expect("member list", got[0] == 2 and got[1] == "", got)


def main():
    ctl = Ctl(sys.argv[1])
    for case in CASES:
        line, code, text = case.split(" | ", 2)
        got = ctl.run(line)
        ctl.expect(line, got[0] == int(code) and got[2].split("\n")[0] == text, got)
    for environment, line, code, text in SETTINGS:
        got = ctl.run(line, environment)
        ctl.expect("%s %s" % (environment, line), got[0] == code and text in got[2], got)
    for line in HELP:
        got = ctl.run(line)
        ctl.expect(line, got[0] == 0 and got[1] and not got[2], got)
    got = ctl.run("version")
    ctl.expect("version", got[1] == "etcdctl version: 3.7.1\nAPI version: 3.7\n", got)
    got = ctl.run("--version", {"ETCDCTL_API": "2"})
    ctl.expect("--version", got[1] == "etcdctl version: 3.7.1\nAPI version: 2\n", got)
    check_unreachable(ctl)
    print("%d failed" % ctl.failed)
    return 1 if ctl.failed else 0


if __name__ == "__main__":
    sys.exit(main())
