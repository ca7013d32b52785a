#!/usr/bin/python3
"""The KV service at the JSON gateway answers as Debian's etcd does: the same requests to both, short
lists and long ones, the same JSON in the same order.

    gateway_compare.py OURS
"""
import base64
import json
import random
import sys
import urllib.error
import urllib.request

from cluster import Cluster, debian_etcd, leave

KEYS = 700


def text(data):
    return base64.b64encode(data).decode()


def ask(address, path, message):
    request = urllib.request.Request("http://%s%s" % (address, path), json.dumps(message).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def comparable(status, body):
    """Without what is a cluster's own, and without the text of an error, which has become shorter."""
    if status != 200:
        return status, None
    answer = json.loads(body)
    for name in ("cluster_id", "member_id", "raft_term"):
        answer.get("header", {}).pop(name, None)
    return status, json.dumps(answer)    # in the order in which it came


def requests(rng):
    for _ in range(900):
        value = rng.randbytes(rng.choice([8, 200, 1500]))    # none twice: etcd has no order among equal ones
        yield "/v3/kv/put", {"key": text(b"k%05d" % rng.randrange(KEYS)), "value": text(value)}
    yield "/v3/kv/put", {"key": text(b"k00003"), "value": ""}
    every = {"key": text(b"k"), "range_end": text(b"l")}
    for more in ({}, {"limit": 5}, {"limit": 300, "keys_only": True}, {"keys_only": True}, {"count_only": True},
                 {"revision": 500}, {"revision": 999999}, {"min_mod_revision": 300, "max_mod_revision": 800},
                 {"sort_order": "DESCEND"}, {"sort_order": "DESCEND", "sort_target": "VALUE"},
                 {"sort_order": "ASCEND", "sort_target": "MOD", "limit": 450}, {"serializable": True}):
        yield "/v3/kv/range", dict(every, **more)
    for key in (b"k00001", b"absent"):
        yield "/v3/kv/range", {"key": text(key)}
    yield "/v3/kv/range", {"key": text(b"\0"), "range_end": text(b"\0"), "limit": 1}
    yield "/v3/kv/range", {}
    yield "/v3/kv/put", {"key": text(b"k00001"), "value": text(b"new"), "prev_kv": True}
    yield "/v3/kv/txn", {"compare": [{"key": text(b"k00001"), "target": "VALUE", "value": text(b"new")}],
                         "success": [{"request_range": every}, {"request_put": {"key": text(b"a"), "value": ""}}],
                         "failure": [{"request_delete_range": every}]}
    yield "/v3/kv/deleterange", {"key": text(b"k000"), "range_end": text(b"k01"), "prev_kv": True}
    yield "/v3/kv/range", dict(every, count_only=True)
    yield "/v3/kv/compaction", {"revision": 600}
    yield "/v3/kv/range", dict(every, revision=500)


def main():
    longest = 0
    with Cluster(sys.argv[1]) as ours, Cluster(debian_etcd(), flags=["--log-level=error"]) as theirs:
        for path, message in requests(random.Random(1)):
            got = ask(ours.members[0].client, path, message)
            expected = ask(theirs.members[0].client, path, message)
            longest = max(longest, len(got[1]))
            assert comparable(*got) == comparable(*expected), "%s %s\n%s\n%s" % (
                path, message, got[1][:1000], expected[1][:1000])
    assert longest > 300000, longest
    return 0


if __name__ == "__main__":
    leave(main())
