#!/usr/bin/python3
"""The RPM, built from packaging/coracle.spec out of programs that are built already: what it holds,
its scripts, and its life on a host: installed, started, upgraded, removed.

    rpm.py SOURCE_ROOT BUILD
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from hosts import Network, need, wait_for

# What systems with RPM bring along (systemd-rpm-macros), as far as the spec asks for it.
MACROS = r"""
%_unitdir /usr/lib/systemd/system
%_sysusersdir /usr/lib/sysusers.d
%_tmpfilesdir /usr/lib/tmpfiles.d
%_docdir /usr/share/doc
%_sharedstatedir /var/lib
%systemd_requires Requires(post): systemd
%systemd_post() if [ $1 -eq 1 ]; then systemctl --no-reload preset %{*} || :; fi
%systemd_preun() if [ $1 -eq 0 ]; then systemctl --no-reload disable --now %{*} || :; fi
%systemd_postun_with_restart() if [ $1 -ge 1 ]; then systemctl daemon-reload; systemctl try-restart %{*} || :; fi
"""
SOURCES = ("scripts", "packaging", "docs", "README.md", "LICENSE")


def run(*args, **more):
    done = subprocess.run(args, capture_output=True, text=True, timeout=200, **more)
    assert done.returncode == 0, (args, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def version_of(root):
    with open(os.path.join(root, "meson.build")) as file:
        return re.search(r"^  version: '(.*)',", file.read(), re.M).group(1)


def make(root, build, work, release):
    version = version_of(root)
    folder = os.path.join(work, release)
    os.makedirs(os.path.join(folder, "SOURCES"))
    run("tar", "-C", root, "--transform", "s,^,coracle-%s/," % version, "-czf",
        os.path.join(folder, "SOURCES", "coracle-%s.tar.gz" % version), *SOURCES)
    macros = os.path.join(folder, "macros")
    with open(macros, "w") as file:
        file.write(MACROS)
    spec = os.path.join(folder, "coracle.spec")
    with open(os.path.join(root, "packaging", "coracle.spec")) as plain, open(spec, "w") as file:
        text = plain.read()
        assert re.search(r"^Version: +%s$" % re.escape(version), text, re.M), "the spec's version"
        file.write(re.sub(r"^Release: .*$", "Release: " + release, text, flags=re.M))
    run("rpmbuild", "-bb", "--nodeps", "--load", macros, "--define", "_topdir " + folder,
        "--define", "programs " + build, spec, cwd=folder)
    return glob.glob(os.path.join(folder, "RPMS", "*", "*.rpm"))[0]


def check_contents(package, work):
    listed = run("rpm", "-qplv", package)
    files = {line.split()[-1]: line.split() for line in listed.splitlines()}
    for path, mode, owner in (
            ("/usr/bin/etcd", "-rwxr-xr-x", "root"), ("/usr/bin/etcdctl", "-rwxr-xr-x", "root"),
            ("/usr/bin/etcdutl", "-rwxr-xr-x", "root"),
            ("/usr/lib/systemd/system/etcd.service", "-rw-r--r--", "root"),
            ("/etc/etcd/etcd.conf", "-rw-r--r--", "root"), ("/var/lib/etcd", "drwx------", "etcd")):
        assert files[path][0] == mode and files[path][2] == owner, (path, files.get(path))
    assert run("rpm", "-qpc", package).split() == ["/etc/etcd/backup.conf", "/etc/etcd/etcd.conf"]
    assert "/usr/share/man/man8/etcd.8.gz" in run("rpm", "-qpd", package)
    provides = run("rpm", "-qp", "--provides", package)
    assert "etcd = 3." in provides, provides
    requires = run("rpm", "-qp", "--requires", package)
    assert "libc.so.6" in requires and "shadow-utils" in requires, requires
    for script in ("prein", "postin", "preun", "postun"):
        text = run("rpm", "-qp", "--qf", "%{" + script.upper() + "}", package)
        assert text != "(none)" and "%" not in text, (script, text)
        path = os.path.join(work, script)
        with open(path, "w") as file:
            file.write(text)
        run("sh", "-n", path)
    return len(files)


def life(host):
    """Dependencies are another system's packages: only they are left out."""
    install = "rpm -U --nodeps /root/coracle-*-%d.*.rpm"
    host.purge_debian_etcd()
    host.sh(install % 1)
    assert host.sh("stat -c %U:%a /var/lib/etcd") == "etcd:700\n"
    if host.systemd:
        host.sh("systemctl daemon-reload")
    host.sh("systemctl start etcd")
    assert host.sh("etcdctl put kept value") == "OK\n"
    settings = host.read("/etc/etcd/etcd.conf") + "# the operator's\n"
    host.write("/etc/etcd/etcd.conf", settings)
    pid = host.main_pid()
    host.sh(install % 2)
    wait_for(lambda: host.main_pid() not in (0, pid), "an upgrade starts it anew")
    assert host.sh("etcdctl get kept --print-value-only") == "value\n"
    assert host.read("/etc/etcd/etcd.conf") == settings
    host.sh("rpm -e coracle")
    assert host.try_sh("systemctl is-active etcd")[0] != 0
    assert host.try_sh("test -e /usr/bin/etcd")[0] != 0
    host.sh("test -d /var/lib/etcd/member")


def main():
    root, build = [os.path.abspath(path) for path in sys.argv[1:3]]
    need("rpmbuild", "rpm")
    with tempfile.TemporaryDirectory(prefix="coracle-rpm-") as work:
        packages = [make(root, build, work, release) for release in ("1", "2")]
        print("%d files" % check_contents(packages[0], work))
        with Network() as network:
            host = network.host("one", "192.168.0.11")
            for package in packages:
                shutil.copy(package, host.outside("/root/"))
            life(host)
        print("installed, upgraded, removed")


if __name__ == "__main__":
    sys.exit(main())
