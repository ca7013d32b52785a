#!/usr/bin/python3
"""Members of ours and of etcd 3.7 join each other's clusters and leave them, and answer the same to
the same calls about members.

    members_interop.py ETCD BUILD_DIR
"""
import subprocess
import sys

import golang  # noqa: F401 (also finds the integration tests)
from golang import build_or_skip
from cluster import leave
import members
import members_compare


def main():
    ours, build_dir = sys.argv[1], sys.argv[2]
    theirs = build_or_skip("etcd37", "member", build_dir)
    for base, joiner in ((theirs, ours), (ours, theirs)):
        print("%s <- %s: %d writes" % (base, joiner, members.mixed(base, joiner)))
    return subprocess.run(["/usr/bin/python3", members_compare.__file__, ours, theirs],
                          timeout=300).returncode


if __name__ == "__main__":
    leave(main())
