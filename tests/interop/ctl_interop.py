#!/usr/bin/env python3
"""Builds etcd's own etcdctl of 3.7 and lets ctl_compare.py and ctl_streams.py hold ours against it as
well.
Skipped where there is no Go >= 1.24 or its modules cannot be had.

usage: ctl_interop.py OURS BUILD_DIR COMPARISON...
"""
import subprocess
import sys

import golang


def main():
    ours, build = sys.argv[1:3]
    newest = golang.build_or_skip("etcdctl", ".", build)
    failed = [c for c in sys.argv[3:] if subprocess.run(
        ["/usr/bin/python3", c, ours, "--newest", newest]).returncode]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
