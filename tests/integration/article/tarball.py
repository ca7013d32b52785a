#!/usr/bin/python3
"""The tarball of static programs, made and unpacked where there is nothing else: a root directory
with the three programs, /dev/null and /dev/urandom, on the system calls of Linux 3.10.

    tarball.py PACKAGE_SCRIPT OLD_KERNEL_TEST
"""
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

from hosts import skip

TOOLS = ("etcd", "etcdctl", "etcdutl")
DEVICES = {"null": (1, 3), "urandom": (1, 9)}


def main():
    script, old_kernel = sys.argv[1:3]
    if os.geteuid() != 0:
        skip("not root: no root directory of its own")
    for tool in ("nasm", "make"):
        if not shutil.which(tool):
            skip("%s is not installed: scripts/deps.sh --static" % tool)
    with tempfile.TemporaryDirectory(prefix="coracle-tarball-") as work:
        subprocess.run([script, work], check=True, stdout=subprocess.DEVNULL)
        name = next(n for n in os.listdir(work) if n.endswith(".tar.gz"))
        root = os.path.join(work, "root")
        for folder in ("bin", "dev", "tmp"):
            os.makedirs(os.path.join(root, folder))
        with tarfile.open(os.path.join(work, name)) as tarball:
            for tool in TOOLS:
                member = tarball.getmember("%s/%s" % (name.removesuffix(".tar.gz"), tool))
                assert member.mode == 0o755 and member.uid == 0, member
                with open(os.path.join(root, "bin", tool), "wb") as file:
                    shutil.copyfileobj(tarball.extractfile(member), file)
                os.chmod(file.name, member.mode)
        for device, number in DEVICES.items():
            try:
                os.mknod(os.path.join(root, "dev", device), stat.S_IFCHR | 0o666,
                         os.makedev(*number))
            except PermissionError:
                skip("no device files can be made here")
        done = subprocess.run([sys.executable, old_kernel] + ["/bin/" + t for t in TOOLS] +
                              ["--root", root])
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
