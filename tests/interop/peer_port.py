#!/usr/bin/python3
"""What a member says to those who reach its peer port: etcd 3.7 and ours, asked the same things with
right and wrong headers, answer with the same status, headers and text.

    peer_port.py ETCD BUILD_DIR

What is answered otherwise on purpose is named below, with its reason.
"""
import http.client
import json
import re
import sys

import golang
import raw
from cluster import Cluster, leave
from kv_history import rpc


def whole(answer):
    try:
        return answer.read()
    except http.client.IncompleteRead as e:
        return e.partial


class Asked:
    """One member and the names that its requests need."""

    def __init__(self, cluster):
        self.member = cluster.members[0]
        self.port = int(self.member.peer_url.rsplit(":", 1)[1])
        reply = rpc.MemberListResponse.FromString(raw.Side(self.member.client).must(raw.MEMBER_LIST))
        self.id = "%x" % reply.header.member_id
        self.cluster_id = "%x" % reply.header.cluster_id

    def headers(self, **changed):
        headers = {"X-Server-From": "abc", "X-Server-Version": "3.7.0", "X-Min-Cluster-Version": "3.0.0",
                   "X-Etcd-Cluster-ID": self.cluster_id, "X-Raft-To": self.id}
        for name, value in changed.items():
            name = name.replace("_", "-")
            if value is None:
                headers.pop(name)
            else:
                headers[name] = value
        return headers

    def ask(self, method, path, headers, body=b""):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path.replace("OWN", self.id), body, headers)
            answer = connection.getresponse()
            # A stream has no end.
            text = b"" if answer.status == 200 and "/stream/" in path else whole(answer)
            kept = {name: answer.getheader(name) for name in (
                "Content-Type", "Allow", "X-Content-Type-Options")}
            own = answer.getheader("X-Etcd-Cluster-Id")
            return answer.status, kept, own in (None, self.cluster_id), self.plain(text.decode())
        finally:
            connection.close()

    def plain(self, text):
        """Without what names this one member."""
        text = re.sub(r'"Now":"[^"]*"', '"Now":""', text)
        for own in (self.id, str(int(self.id, 16)), self.cluster_id, self.member.peer_url,
                    "http://" + self.member.client):
            text = text.replace(own, "OWN")
        return text


def cases(asked):
    plain = asked.headers
    message = raw.field(1, 8) + raw.field(2, int(asked.id, 16)) + raw.field(3, 0xABC) + raw.field(4, 1)
    elsewhere = raw.field(1, 8) + raw.field(2, 0x999) + raw.field(3, 0xABC) + raw.field(4, 1)
    for path in ("/members", "/raft/probing", "/nothing", "/members/other", "/"):
        yield "GET " + path, "GET", path, {}, b""
    for path in ("/members", "/version"):
        yield "PUT " + path, "PUT", path, {}, b""
        yield "POST " + path, "POST", path, {}, b""
    for path in ("/raft", "/raft/snapshot"):
        yield "GET " + path, "GET", path, plain(), b""
    for path in ("/raft/stream/msgapp/abc", "/raft/stream/message/abc"):
        yield "POST " + path, "POST", path, plain(), b""
    wrong = [("another cluster", {"X_Etcd_Cluster_ID": "1234"}),
             ("no cluster", {"X_Etcd_Cluster_ID": None}),
             ("an old server", {"X_Server_Version": "2.3.0", "X_Min_Cluster_Version": "2.1.0"}),
             ("no version", {"X_Server_Version": None, "X_Min_Cluster_Version": None}),
             ("one of the future", {"X_Server_Version": "4.0.0", "X_Min_Cluster_Version": "3.9.0"}),
             ("versions of 3.4", {"X_Server_Version": "3.4.23", "X_Min_Cluster_Version": "3.0.0"}),
             ("for another", {"X_Raft_To": "1234"})]
    for what, changed in wrong:
        yield "a stream, " + what, "GET", "/raft/stream/msgapp/abc", plain(**changed), b""
        yield "a message, " + what, "POST", "/raft", plain(**changed), b"\xff"
    yield "a stream for nobody", "GET", "/raft/stream/message/abc", plain(), b""
    yield "a stream for no number", "GET", "/raft/stream/message/xyz", plain(), b""
    yield "an unknown stream", "GET", "/raft/stream/other/abc", plain(), b""
    yield "the oldest stream", "GET", "/raft/stream/abc", plain(), b""
    yield "no message", "POST", "/raft", plain(), b"\xff\xff\xff"
    yield "a snapshot that is none", "POST", "/raft/snapshot", plain(), b"\x00"
    yield "a message for another", "POST", "/raft", plain(), elsewhere
    yield "a message of nobody", "POST", "/raft", plain(), message


# etcd answers 403 to a message for another, which its senders take for their own removal; one of
# nobody known it steps. It names the error of its decoder in the answer to a cut snapshot.
OTHERWISE = {"a message for another": 412, "a message of nobody": 404, "a snapshot that is none": 400}


def main():
    ours, build_dir = sys.argv[1:3]
    other = golang.build_or_skip("etcd37", "member", build_dir)
    failed = 0
    with Cluster(other) as theirs, Cluster(ours) as own:
        sides = [Asked(theirs), Asked(own)]
        for (what, *request), (_, *own_request) in zip(cases(sides[0]), cases(sides[1])):
            a, b = sides[0].ask(*request), sides[1].ask(*own_request)
            if what in OTHERWISE:
                same = b[0] == OTHERWISE[what]
            else:
                same = a == b
            if not same:
                failed += 1
                print("%s\n  theirs %s\n  ours   %s" % (what, a, b))
        versions = [json.loads(side.ask("GET", "/version", {})[3]) for side in sides]
        assert versions[0].keys() == versions[1].keys(), versions
        assert versions[0]["etcdcluster"] == versions[1]["etcdcluster"], versions
        for side in sides:
            assert side.member.alive()
    print("%d differ" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main())
