"""Hosts for the article's test: each has its own root file system (an overlay of this machine's,
thrown away at the end), its own network namespace with an address on a common bridge, its own host
name, and systemd as its first process. Commands run in a host as an operator types them, in a shell.

Needs root, network namespaces and overlayfs; where one is missing the test is skipped. Where systemd
cannot run as a first process (it wants control groups, version 2, to itself), services are started by
a stand-in for systemctl beside this file.
"""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from cluster import skip, wait_for  # noqa: E402

COMMAND_TIMEOUT_S = 60

# Becomes the host: a root of its own, then systemd, or it waits for its end. Names of users can only
# be mapped, as the service's sandbox does, where / is not a folder that somebody changed into.
ROOT_SCRIPT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=2g,mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
hostname "$2"
"""
STAND_IN_SCRIPT = ROOT_SCRIPT + r"""
for dir in proc sys dev; do mount --rbind "/$dir" "$dir"; done
mkdir .old
pivot_root . .old
umount -l .old
rmdir .old
cp "$3" /usr/local/bin/systemctl
echo ready
exec sleep infinity
"""
SYSTEMD_SCRIPT = ROOT_SCRIPT + r"""
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
echo "$2" >etc/hostname
: >etc/machine-id
mkdir .old
pivot_root . .old
umount -l .old
rmdir .old
echo ready
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=basic.target --show-status=false </dev/null >/dev/null 2>&1
"""
# A group of its own in the hierarchy, which the control group namespace makes its root.
IN_GROUP_SCRIPT = r"""
set -eu
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$1"
mkdir -p "$1/$2"
echo $$ >"$1/$2/cgroup.procs"
umount "$1"
shift 2
exec unshare --cgroup --mount --net --uts --ipc --pid --fork --kill-child "$@"
"""
SYSTEMD = "/lib/systemd/systemd"
BOOT_TIMEOUT_S = 60


def run(*args, check=True):
    done = subprocess.run(args, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    if check and done.returncode:
        raise AssertionError("%s: %s" % (" ".join(args), done.stderr))
    return done


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            skip("%s is not installed" % tool)


class Network:
    """The bridge that all hosts hang on, in a namespace of its own; as a context manager it takes
    them with it."""

    def __init__(self, systemd=True):
        if os.geteuid() != 0:
            skip("not root: no network namespaces")
        need("ip", "nsenter", "unshare")
        self.name = "coracle-%d" % os.getpid()
        made = run("ip", "netns", "add", self.name, check=False)
        if made.returncode:
            skip("no network namespaces here: " + made.stderr.strip())
        atexit.register(self.remove)
        made = run("ip", "-n", self.name, "link", "add", "br0", "type", "bridge", check=False)
        if made.returncode:
            skip("no bridges here: " + made.stderr.strip())
        run("ip", "-n", self.name, "link", "set", "br0", "up")
        self.systemd = systemd and os.path.exists(SYSTEMD)
        self.hosts = []

    def host(self, name, address):
        host = Host(self, name, address)
        self.hosts.append(host)
        return host

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def remove(self):
        for host in getattr(self, "hosts", []):
            host.remove()
        run("ip", "netns", "del", self.name, check=False)


class Host:
    def __init__(self, network, name, address):
        self.network, self.name, self.address = network, name, address
        self.dir = tempfile.mkdtemp(prefix="coracle-host-")
        self.group = None
        self.systemd = network.systemd  # as far as is known
        self.systemd = network.systemd and self._boot()
        network.systemd = self.systemd
        if not self.systemd:
            error = self._hold(["unshare", "--mount", "--net", "--uts", "sh", "-c", STAND_IN_SCRIPT,
                                "sh", self.dir, name, os.path.join(HERE, "systemctl")])
            if error is not None:
                skip("no hosts here (mount and network namespaces, overlayfs): " + error)
            self.pid = self.holder.pid
        self.port = "port-" + name
        run("ip", "-n", network.name, "link", "add", self.port, "type", "veth", "peer", "name",
            "eth0", "netns", str(self.pid))
        run("ip", "-n", network.name, "link", "set", self.port, "master", "br0", "up")
        self.sh("ip addr add %s/24 dev eth0; ip link set eth0 up" % address)

    def _hold(self, words):
        """Starts what keeps the host; None, or why there is none."""
        self.holder = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() == "ready\n":
            return None
        error = self.holder.stderr.read()
        self.holder.wait()
        return error.strip()

    def _boot(self):
        """Is there a host with systemd as its first process?"""
        self.group = "coracle-%d-%s" % (os.getpid(), self.name)
        error = self._hold(["unshare", "--mount", "sh", "-c", IN_GROUP_SCRIPT, "sh", self.dir,
                            self.group, "sh", "-c", SYSTEMD_SCRIPT, "sh", self.dir, self.name])
        if error is not None:
            print("no systemd in hosts here, a stand-in is used:", error)
            return False
        holder = str(self.holder.pid)
        with open("/proc/%s/task/%s/children" % (holder, holder)) as children:
            self.pid = int(children.read().split()[0])
        try:
            wait_for(lambda: self.try_sh("systemctl is-system-running")[1] in (
                "running\n", "degraded\n"), "systemd is up", BOOT_TIMEOUT_S)
        except AssertionError:
            print("no systemd in hosts here, a stand-in is used: it does not come up")
            self._end()
            return False
        return True

    def _enter(self):
        spaces = ["-m", "-n", "-u"] + (["-i", "-p", "-C"] if self.systemd else [])
        return ["nsenter", "-t", str(self.pid)] + spaces + ["env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]

    def try_sh(self, command, **environment):
        """(exit code, stdout, stderr) of a line as typed."""
        done = subprocess.run(
            self._enter() + ["%s=%s" % pair for pair in environment.items()] +
            ["sh", "-c", command],
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def sh(self, command, **environment):
        """Its stdout; anything but exit code 0 fails the test."""
        code, out, error = self.try_sh(command, **environment)
        if code:
            raise AssertionError("%s$ %s\nexit code %d\n%s%s" % (
                self.name, command, code, out, error))
        return out

    def write(self, path, text):
        """A file of the host, as an editor leaves it."""
        os.makedirs(os.path.dirname(self.outside(path)), exist_ok=True)
        with open(self.outside(path), "w") as file:
            file.write(text)

    def read(self, path):
        with open(self.outside(path)) as file:
            return file.read()

    def outside(self, path):
        """A path of the host as this machine sees it."""
        return "/proc/%d/root%s" % (self.pid, path)

    def purge_debian_etcd(self):
        """This machine's own etcd, as apt would do it."""
        self.sh("dpkg --purge etcd etcd-server etcd-client 2>&1; userdel etcd 2>/dev/null; "
                "rm -rf /var/lib/etcd; true")

    def install(self, tree):
        """Copies what a package holds into the host."""
        run("cp", "-a", tree + "/.", self.outside("/"))

    def cut_to(self, other):
        """What this host sends to the other goes to a hardware address that nobody has: one
        direction alone is lost, and nobody is told."""
        self.sh("ip neigh replace %s lladdr 02:00:00:00:00:01 nud permanent dev eth0" % other.address)

    def heal_to(self, other):
        self.sh("ip neigh del %s dev eth0" % other.address)

    def main_pid(self):
        """Of the service; 0: it does not run."""
        return int(self.sh("systemctl show etcd -p MainPID --value"))

    def log(self):
        """Of the service, its lines alone."""
        if self.systemd:
            return self.sh("journalctl -u etcd -o cat --no-pager -q")
        return self.read("/var/log/etcd.service.log")

    def remove(self):
        """Ends what runs in the host, and with it its files and its network."""
        if self.holder.poll() is None:
            self.try_sh("systemctl stop etcd")
            self._end()

    def _end(self):
        for pid in [] if self.systemd else self._pids():
            os.kill(pid, signal.SIGKILL)
        self.holder.kill()  # and its children with it: it is the parent of a first process
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()
        if self.group:
            self._remove_group()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _remove_group(self):
        """The control groups, once nobody is in them any more."""
        def gone():
            return run("unshare", "--mount", "sh", "-c",
                       'mount --make-rprivate / && mount -t cgroup2 cgroup2 "$1" && cd "$1" && '
                       '[ ! -e "$2" ] || find "$2" -depth -type d -exec rmdir {} +', "sh", self.dir,
                       self.group, check=False).returncode == 0
        wait_for(gone, "the host's control groups are gone")

    def _pids(self):
        """Processes in this host's network namespace, but for its holder."""
        own = os.readlink("/proc/%d/ns/net" % self.holder.pid)
        pids = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and int(name) != self.holder.pid and \
                        os.readlink("/proc/%s/ns/net" % name) == own:
                    pids.append(int(name))
            except OSError:
                pass
        return pids


__all__ = ["Network", "Host", "need", "skip", "wait_for"]
