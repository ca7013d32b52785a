#!/usr/bin/python3
"""The Debian package on a host: installed, started, upgraded with its data and changed settings
kept, removed, purged; its unit by systemd's checker, its man pages by mandoc's.

    package.py BUILD PACKAGE_SCRIPT
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from hosts import Network, need, wait_for

EXPOSURE_MAX = 1.2


def run(*args, **more):
    done = subprocess.run(args, capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, (args, done.stdout[-1500:], done.stderr[-1500:])
    return done.stdout + done.stderr


def make(script, build, dest, version):
    run(script, dest, build, version)
    return glob.glob(os.path.join(dest, "coracle_%s_*.deb" % version))[0]


def check_contents(tree):
    """What people look into before they trust a package."""
    if shutil.which("mandoc"):
        for page in sorted(glob.glob(tree + "/usr/share/man/man*/*")):
            complaints = [line for line in run("sh", "-c", "zcat %s | mandoc -T lint -W warning; true" % page)
                          .splitlines() if "WARNING" in line or "ERROR" in line]
            assert not complaints, (page, complaints[:5])
    if shutil.which("systemd-analyze"):
        unit = tree + "/lib/systemd/system/etcd.service"
        text = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
        exposure = float(re.search(r"exposure level for etcd.service: ([0-9.]+)", text).group(1))
        assert exposure <= EXPOSURE_MAX, text
    conf = open(tree + "/etc/etcd/etcd.conf").read()
    named = set(re.findall(r"^#?(ETCD_[A-Z0-9_]+)=", conf, re.M))
    flags = set(re.findall(r"^  --([a-z0-9-]+)", run(tree + "/usr/bin/etcd", "--help"), re.M))
    missing = {"ETCD_" + f.replace("-", "_").upper() for f in flags} - named
    assert missing <= {"ETCD_CONFIG_FILE", "ETCD_VERSION"}, missing
    print("contents: %d settings, %d man pages" % (
        len(named), len(glob.glob(tree + "/usr/share/man/man*/*"))))


def life(host, first, second):
    for deb in (first, second):
        shutil.copy(deb, host.outside("/root/"))
    host.sh("mkdir -p /run/systemd/system")
    host.purge_debian_etcd()
    host.sh("dpkg -i /root/coracle_1.0_*.deb")
    assert host.sh("stat -c %U:%a /var/lib/etcd") == "etcd:700\n"
    host.sh("systemctl start etcd")
    assert host.sh("etcdctl put kept value") == "OK\n"
    settings = host.read("/etc/etcd/etcd.conf").replace('ETCD_NAME="default"', '#\nETCD_NAME="default"')
    host.write("/etc/etcd/etcd.conf", settings)
    pid = host.main_pid()
    host.sh("dpkg -i --force-confold /root/coracle_1.1_*.deb")
    assert host.main_pid() not in (0, pid), "an upgrade starts it anew"
    assert host.sh("etcdctl get kept --print-value-only") == "value\n"
    assert host.read("/etc/etcd/etcd.conf") == settings, "settings are the operator's"
    # The nightly snapshot, and that old ones go.
    host.sh("mkdir /backups; for day in 01 02 03; do touch /backups/etcd-snapshot-202301$day.db; done")
    host.sh("/usr/libexec/etcd-backup", BACKUP_KEEP="2")
    kept = host.sh("ls /backups").split()
    assert len(kept) == 2 and "etcd-snapshot-20230103.db" in kept, kept
    host.sh("dpkg -r coracle")
    wait_for(lambda: host.try_sh("systemctl is-active etcd")[0] == 3, "stopped with its package")
    assert host.try_sh("test -e /usr/bin/etcdctl")[0] != 0
    assert host.try_sh("test -d /var/lib/etcd/member")[0] == 0, "data are not the package's"
    host.sh("dpkg --purge coracle")
    assert host.try_sh("test -e /etc/etcd/etcd.conf")[0] != 0


def main():
    build, script = sys.argv[1:3]
    need("dpkg-deb", "systemd-sysusers")
    with tempfile.TemporaryDirectory(prefix="coracle-package-") as work:
        first, second = [make(script, os.path.abspath(build), work, v) for v in ("1.0", "1.1")]
        tree = os.path.join(work, "tree")
        run("dpkg-deb", "-x", first, tree)
        check_contents(tree)
        with Network(systemd=False) as network:  # systemd.py has it
            life(network.host("one", "192.168.0.11"), first, second)
        print("installed, upgraded, removed, purged")


if __name__ == "__main__":
    sys.exit(main())
