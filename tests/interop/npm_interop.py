#!/usr/bin/env python3
"""npm's etcd3 against members of ours. Skipped where there is no node, or its modules cannot be had.

    npm_interop.py OURS BUILD_DIR
"""
import os
import shutil
import subprocess
import sys

import golang
from cluster import Cluster, skip

HERE = os.path.dirname(os.path.abspath(__file__))


def install(build):
    """The folder with the program and its modules."""
    if not shutil.which("node") or not shutil.which("npm"):
        skip("no node")
    folder = os.path.join(os.path.abspath(build), "npm")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "client.js"):
        shutil.copy(os.path.join(HERE, "npm", name), folder)
    if not os.path.isdir(os.path.join(folder, "node_modules", "etcd3")):
        done = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund",
                               "--ignore-scripts"], cwd=folder, capture_output=True, text=True,
                              timeout=golang.BUILD_TIMEOUT_S)
        if done.returncode:
            skip("npm's etcd3 cannot be had here")
    return folder


def main():
    ours, build = sys.argv[1:3]
    folder = install(build)
    with Cluster(ours, members=3) as cluster:
        return subprocess.run(["node", "client.js", cluster.endpoints()], cwd=folder,
                              timeout=120).returncode


if __name__ == "__main__":
    sys.exit(main())
