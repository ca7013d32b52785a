#!/usr/bin/python3
"""The Debian package's service under systemd itself, the first process of a host: started, enabled,
killed, moved to other folders, set wrong, upgraded, stopped, removed; what its sandbox forbids is
tried from inside.

    systemd.py BUILD PACKAGE_SCRIPT
"""
import os
import re
import shutil
import sys
import tempfile
import time

from hosts import Network, need, skip, wait_for
from package import EXPOSURE_MAX, make

LEFT_TO_A_CLIENT_S = 20  # before a start returns though other members are missing
CONF = "/etc/etcd/etcd.conf"


def shown(host, name, unit="etcd"):
    return host.sh("systemctl show %s -p %s --value" % (unit, name)).strip()


def started(host):
    host.sh("systemctl start etcd")
    assert shown(host, "ActiveState") == "active"
    return host.main_pid()


def install(host):
    host.purge_debian_etcd()
    host.sh("dpkg -i /root/coracle_1.0_*.deb")
    assert host.try_sh("systemctl is-active etcd") == (3, "inactive\n", ""), "a cluster is set up first"
    assert host.try_sh("systemctl is-enabled etcd")[1] == "disabled\n"


def life(host):
    pid = started(host)
    host.sh("systemctl enable etcd 2>&1")
    assert "etcd.service" in host.sh("systemctl list-dependencies multi-user.target --plain")
    status = host.sh("systemctl status etcd")
    assert "active (running)" in status and 'Status: "leader; 1 member' in status, status
    assert host.sh("etcdctl put kept value") == "OK\n"
    host.sh("kill -9 %d" % pid)
    wait_for(lambda: host.main_pid() not in (0, pid) and shown(host, "ActiveState") == "active",
             "it is started anew")
    assert host.sh("etcdctl get kept --print-value-only") == "value\n"


def sandbox(host):
    pid = host.main_pid()
    status = dict(line.split(":\t", 1) for line in host.sh("cat /proc/%d/status" % pid).splitlines())
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status[name])
    assert "0" not in status["Uid"].split() and status["Umask"] == "0077", status
    assert shown(host, "LimitNOFILE") == "1048576"
    inside = "nsenter -t %d -m " % pid
    for path in ("/usr/x", "/etc/x", "/boot/x", "/sys/x"):
        code, _, error = host.try_sh(inside + "touch " + path)
        assert code and "Read-only file system" in error, (path, error)
    host.sh("touch /root/secret /home/secret /dev/of-all; mkdir -p /tmp/of-all")
    for path in ("/root/secret", "/home/secret", "/tmp/of-all", "/dev/of-all"):
        assert host.try_sh(inside + "test -r " + path)[0], path
    text = host.sh("systemd-analyze security etcd --no-pager")
    exposure = float(re.search(r"exposure level for etcd.service: ([0-9.]+)", text).group(1))
    assert exposure <= EXPOSURE_MAX, text
    # All that it does every day is still allowed.
    host.sh("for n in $(seq 50); do etcdctl put /n/$n x; done && etcdctl compact 20 && "
            "etcdctl defrag && etcdctl lease grant 60 && etcdctl snapshot save /tmp/x.db && "
            "etcdctl snapshot status /tmp/x.db")
    assert host.main_pid() == pid, "nothing that it needs is forbidden"
    return exposure


def set_to(host, **settings):
    text = host.read(CONF)
    for name, value in settings.items():
        text = re.sub(r"(?m)^#?%s=.*$" % name, "", text) + '\n%s="%s"\n' % (name, value)
    host.write(CONF, text)


def folders(host):
    """Elsewhere, by the two ways that docs/cluster.md names."""
    original = host.read(CONF)
    host.sh("mkdir -p /var/lib/etcd.data/data && chown -R etcd:etcd /var/lib/etcd.data")
    host.sh("mkdir -p /data/etcd && chown etcd:etcd /data/etcd && chmod 700 /data/etcd")
    host.sh("mkdir -p /etc/systemd/system/etcd.service.d")
    host.write("/etc/systemd/system/etcd.service.d/override.conf",
               "[Service]\nReadWritePaths=/data/etcd\n")
    host.sh("systemctl daemon-reload")
    for folder in ("/var/lib/etcd.data/data", "/data/etcd"):
        host.sh("systemctl stop etcd")
        set_to(host, ETCD_DATA_DIR=folder)
        started(host)
        assert host.sh("etcdctl put where %s" % folder) == "OK\n"
        host.sh("test -d %s/member" % folder)
    host.sh("systemctl stop etcd; rm -r /etc/systemd/system/etcd.service.d; systemctl daemon-reload")
    host.write(CONF, original)


def mistakes(host):
    original = host.read(CONF)
    set_to(host, ETCD_LISTEN_CLIENT_URLS="http://192.168.0.99:2379",
           ETCD_ADVERTISE_CLIENT_URLS="http://192.168.0.99:2379")
    code, _, error = host.try_sh("systemctl start etcd")
    assert code and "failed" in error, error
    assert "192.168.0.99:2379" in host.log(), "the log names what is wrong"
    host.sh("systemctl stop etcd; systemctl reset-failed etcd; true")
    host.write(CONF, original)


def first_of_three(host):
    """The others are not there yet: start returns, and the service goes on."""
    original = host.read(CONF)
    host.sh("mkdir -p /var/lib/etcd.data/three && chown etcd:etcd /var/lib/etcd.data/three")
    set_to(host, ETCD_NAME="etcd1", ETCD_DATA_DIR="/var/lib/etcd.data/three",
           ETCD_LISTEN_PEER_URLS="http://192.168.0.11:2380",
           ETCD_INITIAL_ADVERTISE_PEER_URLS="http://192.168.0.11:2380",
           ETCD_INITIAL_CLUSTER="etcd1=http://192.168.0.11:2380,etcd2=http://192.168.0.12:2380,"
                                "etcd3=http://192.168.0.13:2380", ETCD_INITIAL_CLUSTER_STATE="new")
    begin = time.monotonic()
    started(host)
    took = time.monotonic() - begin
    assert took < 2 * LEFT_TO_A_CLIENT_S, took
    begin = time.monotonic()
    host.sh("systemctl stop etcd")
    assert shown(host, "Result") == "success"
    host.write(CONF, original)
    return took, time.monotonic() - begin


def backups(host):
    host.sh("systemctl enable --now etcd-backup.timer 2>&1")
    assert "etcd-backup.timer" in host.sh("systemctl list-timers --all --no-pager")
    host.sh("systemctl start etcd-backup.service")
    assert re.fullmatch(r"etcd-snapshot-\d{8}\.db\n", host.sh("ls /backups"))


def upgrade(host):
    pid = host.main_pid()
    host.sh("dpkg -i --force-confold /root/coracle_1.1_*.deb")
    assert host.main_pid() not in (0, pid), "an upgrade starts it anew"
    assert host.sh("etcdctl get kept --print-value-only") == "value\n"
    assert host.sh("systemctl is-enabled etcd") == "enabled\n"


def remove(host):
    host.sh("dpkg -r coracle")
    assert host.try_sh("systemctl is-active etcd")[0] != 0
    host.sh("test -d /var/lib/etcd/member")
    host.sh("dpkg --purge coracle")
    assert host.try_sh("test -e /etc/etcd/etcd.conf")[0] != 0


def main():
    build, script = sys.argv[1:3]
    need("dpkg-deb", "systemd-analyze")
    with tempfile.TemporaryDirectory(prefix="coracle-systemd-") as work, Network() as network:
        host = network.host("etcd1", "192.168.0.11")
        if not host.systemd:
            skip("systemd cannot be a host's first process here")
        for version in ("1.0", "1.1"):
            shutil.copy(make(script, os.path.abspath(build), work, version), host.outside("/root/"))
        install(host)
        life(host)
        exposure = sandbox(host)
        folders(host)
        mistakes(host)
        took, stop = first_of_three(host)
        started(host)
        backups(host)
        upgrade(host)
        remove(host)
        print("exposure %.1f; a first of three is started in %.1f s, stopped in %.1f s" % (
            exposure, took, stop))


if __name__ == "__main__":
    sys.exit(main())
