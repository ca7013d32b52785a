#!/usr/bin/env python3
"""A real etcd leads a cluster of two whose other member is our side of the members' protocol:
streams both ways, votes, appends in compact form, probes and versions. Needs Debian's etcd."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../integration"))
from cluster import free_ports  # noqa: E402

DEADLINE_S = 40
PUTS = 200


def put(client, key, value):
    import base64
    body = json.dumps({"key": base64.b64encode(key.encode()).decode(),
                       "value": base64.b64encode(value).decode()}).encode()
    with urllib.request.urlopen(client + "/v3/kv/put", body, timeout=10) as answer:
        return json.load(answer)


def wait(what, condition, processes):
    until = time.monotonic() + DEADLINE_S
    while not condition():
        for p in processes:
            assert p.poll() is None, "%s ended early: %s" % (p.args[0], p.returncode)
        assert time.monotonic() < until, "no " + what
        time.sleep(0.05)


def main():
    follower, etcd = sys.argv[1], shutil.which("etcd")
    if not etcd:
        print("no etcd here")
        return 77
    peer, client_port, ours = free_ports(3)
    etcd_url = "http://127.0.0.1:%d" % peer
    our_url = "http://127.0.0.1:%d" % ours
    client = "http://127.0.0.1:%d" % client_port
    with tempfile.TemporaryDirectory() as folder:
        log = open(os.path.join(folder, "etcd.log"), "w+")
        seen_path = os.path.join(folder, "seen")
        seen = open(seen_path, "w")
        member = subprocess.Popen([
            etcd, "--name=a", "--data-dir=" + os.path.join(folder, "a"), "--logger=zap",
            "--listen-peer-urls=" + etcd_url, "--initial-advertise-peer-urls=" + etcd_url,
            "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
            "--initial-cluster=a=%s,b=%s" % (etcd_url, our_url),
            "--initial-cluster-token=trial", "--initial-cluster-state=new",
        ], stderr=log, stdout=log)
        other = subprocess.Popen([follower, str(ours), our_url, etcd_url, "trial"],
                                 stdin=subprocess.PIPE, stdout=seen)
        processes = [member, other]

        def said(text):
            with open(seen_path) as lines:
                return text in lines.read()

        try:
            wait("leader", lambda: said("append up to "), processes)
            wait("active peer", lambda: said("notice peer became active"), processes)
            for i in range(PUTS):
                answer = put(client, "key%d" % i, os.urandom(i * 10))
            assert int(answer["header"]["revision"]) == PUTS + 1, answer
            wait("version", lambda: said("version 3."), processes)
            other.stdin.close()
            assert other.wait(DEADLINE_S) == 0
            assert said("end receiving 1 1 sending 1 1 active 1"), open(seen_path).read()
            with open(seen_path) as lines:
                highest = max(int(line.split()[3]) for line in lines
                              if line.startswith("append up to"))
            assert highest >= PUTS, highest
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-8000:])
            sys.stderr.write(open(seen_path).read()[-8000:])
            raise
        finally:
            for p in processes:
                if p.poll() is None:
                    p.kill()
                p.wait()
    print("etcd led us through %d puts" % PUTS)
    return 0


sys.exit(main())
