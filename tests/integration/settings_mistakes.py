#!/usr/bin/python3
"""A file of settings that was copied to another host, with each line in turn forgotten, or with the
remarks behind its values: one line says which setting is wrong, the exit code is 1, and nothing is
left in the data directory, so that the corrected file works.

    settings_mistakes.py ETCD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from cluster import free_ports, wait_for

ETCD = sys.argv[1]
FOREIGN = "192.0.2.11"  # of the range for documentation: no host has it


def settings(client, peer, data):
    return {"ETCD_NAME": "etcd2", "ETCD_DATA_DIR": data,
            "ETCD_LISTEN_PEER_URLS": "http://127.0.0.1:%d" % peer,
            "ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:%d" % client,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://127.0.0.1:%d" % peer,
            "ETCD_ADVERTISE_CLIENT_URLS": "http://127.0.0.1:%d" % client,
            "ETCD_INITIAL_CLUSTER": "etcd1=http://%s:2380,etcd2=http://127.0.0.1:%d" % (FOREIGN, peer),
            "ETCD_INITIAL_CLUSTER_TOKEN": "etcd-cluster", "ETCD_INITIAL_CLUSTER_STATE": "new"}


# What was forgotten or mistyped -> what the line must say of it.
FORGOTTEN = [
    ({"ETCD_NAME": "etcd1"}, ["etcd1", "--initial-advertise-peer-urls"]),
    ({"ETCD_NAME": "etcd3"}, ["etcd3", "--name is to be one of etcd1, etcd2"]),
    ({"ETCD_LISTEN_PEER_URLS": "http://%s:2380" % FOREIGN}, [FOREIGN + ":2380", "no such address"]),
    ({"ETCD_LISTEN_CLIENT_URLS": "http://%s:2379" % FOREIGN}, [FOREIGN + ":2379", "no such address"]),
    ({"ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://%s:2380" % FOREIGN},
     ["--initial-advertise-peer-urls", FOREIGN]),
    ({"ETCD_ADVERTISE_CLIENT_URLS": "http://%s:2379" % FOREIGN},
     ["--advertise-client-urls", FOREIGN, "member etcd1", "expected an address of this host"]),
    ({"ETCD_INITIAL_CLUSTER": "etcd1=http://%s:2380" % FOREIGN}, ["etcd2", "initial cluster"]),
    ({"ETCD_INITIAL_CLUSTER_STATE": "exsting"}, ["exsting", "new or existing"]),
    ({"ETCD_LISTEN_PEER_URLS": "127.0.0.1:2380"}, ["ETCD_LISTEN_PEER_URLS", "scheme"]),
    ({"ETCD_LISTEN_PEER_URLS": "http://host-one:2380"}, ["expected IP", "host-one"]),
    ({"ETCD_ADVERTISE_CLIENT_URLS": ""}, ["--advertise-client-urls is required"]),
    ({"ETCD_ELECTION_TIMEOUT": "300"}, ["--election-timeout[300ms]", "--heartbeat-interval[100ms]"]),
]
# Behind a value, and as systemd glues them on behind a closing quote.
REMARKS = [" // this host", " # this host", "\t// this host", "// this host", "# this host",
           "//本机", "#本机"]


def environment_of(values):
    plain = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    plain.update(values)
    return plain


def refused(values, words, data):
    done = subprocess.run([ETCD], env=environment_of(values), capture_output=True, text=True,
                          timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, (values, done.returncode, done.stderr[-500:])
    last = done.stderr.strip().splitlines()[-1]
    error = json.loads(last)["error"]
    for word in words:
        assert word in error, (word, error)
    assert not os.path.exists(data), (values, list(os.walk(data)))
    return error


def works(values):
    """Half of a cluster of two: it starts, and waits for the other."""
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen([ETCD], env=environment_of(values), stdout=log, stderr=log,
                               stdin=subprocess.DEVNULL)

    def started():
        log.seek(0)
        text = log.read()
        assert process.poll() is None, text
        return "now serving peer/client/metrics" in text
    try:
        wait_for(started, "the corrected settings work", 20)
    finally:
        process.terminate()
        process.wait(10)


def main():
    begin = time.monotonic()
    root = tempfile.mkdtemp(prefix="coracle-settings-")
    try:
        data = os.path.join(root, "data")
        client, peer = free_ports(2)
        good = settings(client, peer, data)
        for changed, words in FORGOTTEN:
            print(refused(dict(good, **changed), words, data))
        for variable in good:
            for remark in REMARKS:
                error = refused(dict(good, **{variable: good[variable] + remark}),
                                [variable, remark.strip(), "line of its own"], data)
        print(error)
        works(good)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("%d mistakes refused in %.1f s" % (
        len(FORGOTTEN) + len(good) * len(REMARKS), time.monotonic() - begin))


if __name__ == "__main__":
    main()
