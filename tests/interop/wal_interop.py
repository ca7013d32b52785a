#!/usr/bin/env python3
"""Logs cross the border between etcd and us in both directions.

Our logs are read, and written on, by etcd's own code (a small Go program); logs of Debian's etcd
are read by us. Each half is skipped, and said to be, where its tools are missing; with neither the
test is skipped.

usage: wal_interop.py WAL_TOOL BUILD_DIR
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import golang
from cluster import free_ports

SKIP = 77
TOOL, BUILD_DIR = sys.argv[1:3]


def fail(text):
    print("FAIL:", text)
    sys.exit(1)


def run(*command, timeout_s=60):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        fail("%s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout.splitlines()


def split(lines):
    kinds = {"metadata": [], "state": [], "snapshot": [], "entry": []}
    for line in lines:
        kinds[line.split()[0]].append(line)
    return kinds


def assert_equal(what, ours, theirs, start=0):
    ours, theirs = split(ours), split(theirs)
    entries = [e for e in ours["entry"] if int(e.split()[1]) > start]
    for kind, mine in (("metadata", ours["metadata"]), ("state", ours["state"]), ("entry", entries)):
        if mine != theirs[kind]:
            for a, b in zip(mine, theirs[kind]):
                if a != b:
                    fail("%s: %s: ours %r, etcd's %r" % (what, kind, a[:200], b[:200]))
            fail("%s: %d of %s, etcd has %d" % (what, len(mine), kind, len(theirs[kind])))
    if ours["snapshot"] != theirs["snapshot"][-1:]:
        fail("%s: newest snapshot: ours %r, etcd's %r" % (what, ours["snapshot"], theirs["snapshot"]))
    if not entries:
        fail("%s: no entries" % what)
    print("%s: %d entries equal" % (what, len(entries)))


def etcd_reads_ours(reader, root):
    wal = os.path.join(root, "ours")
    run(TOOL, "write", wal)
    assert_equal("our log read by etcd", run(TOOL, "dump", wal), run(reader, "read", wal, "0", "0"))
    theirs = run(reader, "append", wal, "0", "0")
    assert_equal("our log continued by etcd", run(TOOL, "dump", wal), theirs)
    if "by etcd".encode().hex() not in theirs[-1]:
        fail("etcd's entry is not the last one")

    wal = os.path.join(root, "released")
    run(TOOL, "write-released", wal)
    ours = run(TOOL, "dump", wal)
    _, index, term = split(ours)["snapshot"][0].split()
    if os.path.exists(os.path.join(wal, "%016x-%016x.wal" % (0, 0))):
        fail("nothing was released")
    assert_equal("our released log read by etcd", ours, run(reader, "read", wal, index, term),
                 int(index))


def put(port, key, value):
    body = json.dumps({"key": base64.b64encode(key).decode(),
                       "value": base64.b64encode(value).decode()}).encode()
    with urllib.request.urlopen("http://127.0.0.1:%d/v3/kv/put" % port, body, timeout=10) as answer:
        answer.read()


def we_read_debians(reader, root):
    data = os.path.join(root, "debian")
    client, peer = free_ports(2)
    client_url, peer_url = "http://127.0.0.1:%d" % client, "http://127.0.0.1:%d" % peer
    log = open(os.path.join(root, "etcd.log"), "w")
    etcd = subprocess.Popen(
        ["etcd", "--data-dir", data, "--name", "a", "--snapshot-count", "100",
         "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
         "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
         "--initial-cluster", "a=" + peer_url], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                put(client, b"ready", b"yes")
                break
            except OSError:
                if time.monotonic() > deadline or etcd.poll() is not None:
                    fail("Debian's etcd did not start")
                time.sleep(0.1)
        for i in range(300):
            put(client, b"key%d" % i, os.urandom(1 + i * 7 % 900))
    finally:
        etcd.send_signal(signal.SIGKILL)
        etcd.wait()
        log.close()
    wal = os.path.join(data, "member", "wal")
    ours = run(TOOL, "dump", wal)
    entries = split(ours)["entry"]
    if len(entries) < 300 or not any("key299".encode().hex() in e for e in entries):
        fail("entries of Debian's etcd are missing")
    print("Debian's log: %d entries read" % len(entries))
    if reader:
        assert_equal("Debian's log read by both", ours, run(reader, "read", wal, "0", "0"))


def main():
    reader, reason = golang.build("etcd37", "walread", BUILD_DIR)
    if not reader:
        print("skipped:", reason)
    debian = shutil.which("etcd")
    if debian and "3.4." not in subprocess.run([debian, "--version"], capture_output=True,
                                               text=True).stdout:
        debian = None
    if not debian:
        print("skipped: Debian's etcd 3.4 is not installed")
    if not reader and not debian:
        sys.exit(SKIP)
    with tempfile.TemporaryDirectory(prefix="coracle-wal-") as root:
        if reader:
            etcd_reads_ours(reader, root)
        if debian:
            we_read_debians(reader, root)


main()
