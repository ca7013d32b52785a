"""Builds the Go programs of this folder: members and clients that others wrote, beside ours.

They need a Go of the version in their go.mod and etcd's modules, which Debian does not have; where
one of them cannot be had a test is skipped and says why.
"""
import fcntl
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
from cluster import skip  # noqa: E402

BUILD_TIMEOUT_S = 900
# What go says where the modules are not to be had; anything else is an error of ours.
NOT_TO_BE_HAD = ("dial tcp", "lookup ", "disabled by GOPROXY", "no such host", "i/o timeout",
                 "requires go >=", "toolchain not available")


def find_go():
    for go in (os.environ.get("GO"), shutil.which("go"), "/usr/local/go/bin/go"):
        if not go or not os.path.exists(go):
            continue
        version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
        match = re.match(r"go1\.(\d+)", version)
        if match and int(match.group(1)) >= 24:
            return go
    return None


def build(module, program, build_dir):
    """(path, "") of tests/interop/MODULE/PROGRAM, built into the build directory; (None, reason)
    where it cannot be built here. Go's own cache makes the second build a matter of a second."""
    go = find_go()
    if not go:
        return None, "no Go >= 1.24"
    path = os.path.join(os.path.abspath(build_dir), "go-%s-%s" % (
        module, program if program != "." else "main"))
    environment = dict(os.environ, GOFLAGS="-mod=readonly", GOWORK="off", CGO_ENABLED="0")
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([go, "build", "-p", "2", "-o", path, "./" + program], env=environment,
                              cwd=os.path.join(HERE, module), capture_output=True, text=True,
                              timeout=BUILD_TIMEOUT_S)
    if done.returncode == 0:
        return path, ""
    if any(sign in done.stderr for sign in NOT_TO_BE_HAD):
        return None, "etcd's modules cannot be had here"
    raise AssertionError("go build of %s/%s: %s" % (module, program, done.stderr))


def build_or_skip(module, program, build_dir):
    path, reason = build(module, program, build_dir)
    if not path:
        skip(reason)
    return path
