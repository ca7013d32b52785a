#!/usr/bin/python3
"""The operator's article, from its first line to its last: three hosts with the article's own
addresses and file, and each of its commands run in order as it is typed. What each printed is
asserted, and kept where --keep says.

    article.py BUILD STAGE_SCRIPT CLOCK_LIBRARY [--keep FILE]

BUILD holds the programs; STAGE_SCRIPT lays a package out of it.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from hosts import Network, need, wait_for

ADDRESSES = {"etcd1": "192.168.0.11", "etcd2": "192.168.0.12", "etcd3": "192.168.0.13"}
CONF = """\
#[Member]
ETCD_DATA_DIR="/var/lib/etcd"
ETCD_LISTEN_PEER_URLS="http://{address}:2380"
ETCD_LISTEN_CLIENT_URLS="http://{address}:2379,http://127.0.0.1:2379"
ETCD_NAME="{name}"
#[Clustering]
ETCD_INITIAL_ADVERTISE_PEER_URLS="http://{address}:2380"
ETCD_ADVERTISE_CLIENT_URLS="http://{address}:2379"
ETCD_INITIAL_CLUSTER="etcd1=http://192.168.0.11:2380,etcd2=http://192.168.0.12:2380,etcd3=http://192.168.0.13:2380"
ETCD_INITIAL_CLUSTER_TOKEN="etcd-cluster"
ETCD_INITIAL_CLUSTER_STATE="{state}"
ETCD_ENABLE_V2="true"
"""
MINUTE_S = 60
CLOCK_SHIFT_S = 5


class Article:
    def __init__(self, tree, clock_library, keep):
        self.kept = open(keep, "w") if keep else None
        self.clock_library = clock_library
        self.network = Network()
        self.hosts = []
        for name, address in ADDRESSES.items():
            host = self.network.host(name, address)
            host.install(tree)
            self.hosts.append(host)
        self.first, self.second, self.third = self.hosts

    def say(self, host, command, **environment):
        """One line of the article; what it printed is kept, and returned."""
        out = host.sh(command, **environment)
        if self.kept:
            before = "".join("%s=%s " % pair for pair in environment.items())
            self.kept.write("[root@%s ~]# %s%s\n%s" % (host.name, before, command, out))
        return out

    def all_say(self, command):
        return [self.say(host, command) for host in self.hosts]

    def start_together(self):
        starting = [subprocess.Popen(host._enter() + ["systemctl", "start", "etcd"])
                    for host in self.hosts]
        for process in starting:
            assert process.wait(MINUTE_S) == 0

    def leader(self):
        """The host that leads, by the v2 tool's isLeader=."""
        listed = self.first.sh("etcdctl member list", ETCDCTL_API="2")
        name = re.search(r"name=(\S+) .*isLeader=true", listed).group(1)
        return next(h for h in self.hosts if h.name == name)

    def log_lines(self, host):
        return [json.loads(line) for line in host.log().splitlines()
                if line.startswith("{")]

    # ── the chapters ────────────────────────────────────────────────────────────────────────

    def install(self):
        for host in self.hosts:
            # What the package's postinst does.
            self.say(host, "systemd-sysusers /usr/lib/sysusers.d/etcd.conf")
            self.say(host, "systemctl daemon-reload")
            self.say(host, "mkdir -p /var/lib/etcd /var/lib/etcd.data/data /var/lib/etcd.data/log")
            self.say(host, "chown -R etcd:etcd /var/lib/etcd /var/lib/etcd.data")
            host.write("/etc/etcd/etcd.conf",
                       CONF.format(name=host.name, address=host.address, state="new"))

    def start(self):
        self.start_together()
        self.all_say("systemctl enable etcd")
        for host in self.hosts:
            wait_for(lambda: re.search(r'Status: "(leader|follower of etcd[123]); 3 members',
                                       host.sh("systemctl status etcd")), "a line of status")
            self.say(host, "systemctl status etcd")

    def look(self):
        for environment in ({"ETCDCTL_API": "2"}, {}):
            health = self.say(self.first, "etcdctl cluster-health", **environment)
            assert health.count("is healthy: got healthy result from http://192.168.0.") == 3, health
            assert health.endswith("cluster is healthy\n"), health
        listed = self.say(self.first, "etcdctl member list", ETCDCTL_API="2")
        assert listed.count("isLeader=true") == 1 and listed.count("isLeader=false") == 2, listed
        for name, address in ADDRESSES.items():
            assert re.search(r"name=%s peerURLs=http://%s:2380 clientURLs=http://%s:2379" % (
                name, address, address), listed), listed
        listed = self.say(self.first, "etcdctl member list")
        assert listed.count(", started, etcd") == 3, listed

    def data(self):
        assert self.say(self.first, "etcdctl put /message Hello") == "OK\n"
        assert self.say(self.second, "etcdctl get /message") == "/message\nHello\n"
        assert self.say(self.third, "etcdctl get /message --print-value-only") == "Hello\n"
        v2 = {"ETCDCTL_API": "2"}
        assert self.say(self.first, "etcdctl set /message Hello", **v2) == "Hello\n"
        assert self.say(self.first, "etcdctl get /message", **v2) == "Hello\n"
        self.say(self.first, "etcdctl mkdir /dir", **v2)
        self.say(self.first, "etcdctl set /dir/key value", **v2)
        assert self.say(self.first, "etcdctl ls -r --sort", **v2) == "/dir\n/dir/key\n/message\n"
        assert self.say(self.first, "etcdctl rm /message", **v2) == "PrevNode.Value: Hello\n"
        for n in range(100):
            self.first.sh("etcdctl put /bulk/%03d value-%d" % (n, n))

    def ports(self):
        sockets = self.say(self.first, "ss -tulnp | grep etcd")
        for port in ("192.168.0.11:2379", "127.0.0.1:2379", "192.168.0.11:2380"):
            assert re.search(r"LISTEN.*%s .*\"etcd\"" % re.escape(port), sockets), sockets
        service = self.first.read("/usr/lib/firewalld/services/etcd.xml")
        assert 'port="2379"' in service and 'port="2380"' in service

    def cut_off(self):
        """One direction of one link: both ends say which peer and which way."""
        # Two followers: the leader's own link would first cost an election.
        leader = self.leader()
        one, other = [h for h in self.hosts if h is not leader]
        before = len(self.log_lines(other))
        one.cut_to(other)
        try:
            def told():
                return [line for line in self.log_lines(other)[before:]
                        if line["level"] == "warn" and line.get("direction") == "from the peer" and
                        "remote-peer-id" in line and "for" in line]
            wait_for(told, "%s says that nothing comes from %s" % (other.name, one.name), 30)
            assert self.first.sh("etcdctl put /cut yes") == "OK\n"
        finally:
            one.heal_to(other)
        wait_for(lambda: self.first.sh("etcdctl cluster-health").endswith("cluster is healthy\n"),
                 "healthy again")

    def clock(self):
        """A clock that is five seconds off: the others warn of it."""
        off = next(h for h in self.hosts if h is not self.leader())
        others = [h for h in self.hosts if h is not off]
        before = {h.name: len(self.log_lines(h)) for h in others}
        shutil.copy(self.clock_library, off.outside("/usr/lib/clock_shift.so"))
        off.write("/etc/systemd/system/etcd.service.d/clock.conf",
                  "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/clock_shift.so\n"
                  "Environment=CLOCK_SHIFT_S=%d\n" % CLOCK_SHIFT_S)
        off.sh("systemctl daemon-reload")
        self.say(off, "systemctl restart etcd")

        def warned(host):
            return [line for line in self.log_lines(host)[before[host.name]:]
                    if line["msg"] == "prober found high clock drift" and line["level"] == "warn"]
        for host in others:
            wait_for(lambda: warned(host), "%s warns of the clock" % host.name, MINUTE_S)
        off.sh("rm -r /etc/systemd/system/etcd.service.d && systemctl daemon-reload")
        self.say(off, "systemctl restart etcd")

    def backup(self):
        """As cron runs it: no terminal, a bare environment."""
        day = datetime.date.today().strftime("%Y%m%d")
        host = self.first
        host.sh("mkdir -p /backups")
        command = "etcdctl snapshot save /backups/etcd-snapshot-$(date +\\%Y\\%m\\%d).db"
        out = self.say(host, command.replace("\\", ""))
        name = "/backups/etcd-snapshot-%s.db" % day
        assert name in out, out
        table = self.say(host, "etcdctl snapshot status %s -w table" % name)
        assert "TOTAL KEYS" in table, table
        # Failing leaves nothing under the name.
        code, _, error = host.try_sh("etcdctl --endpoints=127.0.0.1:1 --command-timeout=1s "
                                     "snapshot save /backups/none.db")
        assert code != 0 and error, (code, error)
        assert host.sh("ls /backups") == os.path.basename(name) + "\n"
        return name

    def restore(self, backup):
        hashes = self.hash_kv()
        self.first.sh("etcdctl put /message overwritten")
        folder = "/backups/etcd-20231010"
        self.first.sh("mkdir -p %s && cp %s %s/" % (folder, backup, folder))
        for host in self.hosts[1:]:
            host.sh("mkdir -p " + folder)
            shutil.copy(self.first.outside(backup), host.outside(folder))
        self.all_say("systemctl stop etcd")
        self.copy_of(self.first)
        for host in self.hosts:
            self.say(host, "mv /var/lib/etcd /var/lib/etcd.bak")
            self.say(host, "mkdir /var/lib/etcd")
            self.say(host, "etcdctl restore --data-dir /var/lib/etcd --backup-dir " + folder)
        self.start_together()
        wait_for(lambda: self.first.sh("etcdctl cluster-health").endswith("cluster is healthy\n"),
                 "healthy after the restore", MINUTE_S)
        assert self.say(self.third, "etcdctl get /message --print-value-only") == "Hello\n"
        assert self.hash_kv() == hashes, "what was restored is what was saved"
        owner = self.first.sh("stat -c %U /var/lib/etcd /var/lib/etcd/member")
        assert owner == "etcd\netcd\n", owner

    def copy_of(self, host):
        """The v2 tool's backup: a directory that a cluster of one starts from."""
        self.say(host, "etcdctl backup --data-dir /var/lib/etcd --backup-dir /backups/copy",
                 ETCDCTL_API="2")
        urls = "http://127.0.0.1:12379"
        host.sh("etcd --data-dir /backups/copy --force-new-cluster --enable-v2 "
                "--listen-client-urls %s --advertise-client-urls %s "
                "--listen-peer-urls http://127.0.0.1:12380 >/tmp/copy.log 2>&1 & "
                "echo $! >/tmp/copy.pid" % (urls, urls))
        wait_for(lambda: host.try_sh("etcdctl --endpoints %s get /message --print-value-only" % urls)
                 == (0, "overwritten\n", ""), "the copy serves what was there")
        assert host.sh("etcdctl --endpoints %s get /dir/key" % urls, ETCDCTL_API="2") == "value\n"
        host.sh("kill $(cat /tmp/copy.pid)")

    def hash_kv(self):
        """Equal on all members."""
        listed = json.loads(self.first.sh("etcdctl endpoint hashkv --cluster -w json"))
        hashes = {entry["HashKV"]["hash"] for entry in listed}
        assert len(hashes) == 1, listed
        return hashes

    def probe(self, host, command):
        """Runs it once; what it said goes to self.added where it succeeded."""
        code, out, error = host.try_sh(command)
        if code == 0:
            self.added = out
            if self.kept:
                self.kept.write("[root@%s ~]# %s\n%s" % (host.name, command, out))
        return error

    def replace(self):
        """One host lost with its disk, and replaced."""
        lost = next(h for h in self.hosts if h is not self.leader())
        other = next(h for h in self.hosts if h is not lost)
        self.say(lost, "systemctl stop etcd")
        lost.sh("rm -rf /var/lib/etcd/*")
        listed = json.loads(other.sh("etcdctl member list -w json --hex"))
        member = next(m for m in listed["members"] if m["name"] == lost.name)
        self.say(other, "etcdctl member remove %s" % member["ID"])
        add = "etcdctl member add %s --peer-urls=http://%s:2380" % (lost.name, lost.address)
        # Refused until the others have known each other for five seconds.
        wait_for(lambda: "unhealthy cluster" not in self.probe(other, add),
                 "the cluster takes a new member", MINUTE_S)
        added = self.added
        assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in added, added
        lost.write("/etc/etcd/etcd.conf",
                   CONF.format(name=lost.name, address=lost.address, state="existing"))
        self.say(lost, "systemctl start etcd")
        wait_for(lambda: other.sh("etcdctl cluster-health").endswith("cluster is healthy\n"),
                 "healthy with the new disk", MINUTE_S)
        assert self.say(lost, "etcdctl get /message --print-value-only") == "Hello\n"
        self.hash_kv()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("stage")
    parser.add_argument("clock")
    parser.add_argument("--keep")
    options = parser.parse_args()
    begin = time.monotonic()
    need("ss", "systemd-sysusers")
    work = tempfile.mkdtemp(prefix="coracle-article-")
    article = None
    try:
        tree = os.path.join(work, "tree")
        subprocess.run([options.stage, options.build, tree], check=True, timeout=MINUTE_S)
        article = Article(tree, options.clock, options.keep)
        print("with systemd" if article.first.systemd else "with a stand-in for systemd")
        article.install()
        for chapter in (article.start, article.look, article.data, article.ports):
            chapter()
            print("%-8s %5.1f s" % (chapter.__name__, time.monotonic() - begin), flush=True)
        saved = article.backup()
        article.restore(saved)
        for chapter in (article.replace, article.cut_off, article.clock, article.look):
            chapter()
            print("%-8s %5.1f s" % (chapter.__name__, time.monotonic() - begin), flush=True)
    finally:
        if article:
            article.network.remove()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
