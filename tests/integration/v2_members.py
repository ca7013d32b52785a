#!/usr/bin/python3
"""/v2/members of ours beside another etcd's: the same requests to each, equal answers.

    v2_members.py ETCD [--other ETCD]    (Debian's etcd unless named)
"""
import argparse
import http.client
import re
import sys

from cluster import Cluster, debian_etcd, wait_for

JSON = "application/json"
# method, path, content type, body; {ID}: of the member that was added.
REQUESTS = [
    ("GET", "/v2/members", None, None),
    ("GET", "/v2/members/", None, None),
    ("GET", "/v2/members/leader", None, None),
    ("GET", "/v2/members/other", None, None),
    ("GET", "/v2/members/a/b", None, None),
    ("HEAD", "/v2/members", None, None),
    ("PATCH", "/v2/members", None, None),
    ("POST", "/v2/members", "text/plain", '{"peerURLs":["http://127.0.0.1:9"]}'),
    ("POST", "/v2/members", None, '{"peerURLs":["http://127.0.0.1:9"]}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":[]}'),
    ("POST", "/v2/members", JSON, '{}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":["ftp://127.0.0.1:9"]}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":["http://127.0.0.1"]}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":["http://127.0.0.1:9/path"]}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":["{OWN}"]}'),
    ("POST", "/v2/members", JSON, '{"peerURLs":["http://127.0.0.1:9","http://127.0.0.1:8"]}'),
    ("GET", "/v2/members", None, None),
    ("PUT", "/v2/members/{ID}", JSON, '{"peerURLs":["http://127.0.0.1:7"]}'),
    ("PUT", "/v2/members/{ID}", JSON, '{"peerURLs":["{OWN}"]}'),
    ("PUT", "/v2/members/{ID}", JSON, '{"peerURLs":["x"]}'),
    ("PUT", "/v2/members/{ID}", JSON, '{"peerURLs":[]}'),
    ("PUT", "/v2/members/{ID}", "text/xml", '{"peerURLs":["http://127.0.0.1:6"]}'),
    ("PUT", "/v2/members/1234", JSON, '{"peerURLs":["http://127.0.0.1:6"]}'),
    ("PUT", "/v2/members/zz", JSON, '{"peerURLs":["http://127.0.0.1:6"]}'),
    ("PUT", "/v2/members", JSON, '{"peerURLs":["http://127.0.0.1:6"]}'),
    ("GET", "/v2/members", None, None),
    ("DELETE", "/v2/members/1234", None, None),
    ("DELETE", "/v2/members/zz", None, None),
    ("DELETE", "/v2/members", None, None),
    ("DELETE", "/v2/members/{ID}", None, None),
    ("DELETE", "/v2/members/{ID}", None, None),
    ("PUT", "/v2/members/{ID}", JSON, '{"peerURLs":["http://127.0.0.1:6"]}'),
    ("GET", "/v2/members", None, None),
]


def ask(member, method, path, content_type, body):
    connection = http.client.HTTPConnection(member.client, timeout=20)
    headers = {"Content-Type": content_type} if content_type else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, text, [answer.getheader(h) is not None for h in (
        "X-Etcd-Cluster-ID", "Allow")], (answer.getheader("Content-Type") or "").split(";")[0]


def answers(binary, flags):
    told = []
    with Cluster(binary, 3, flags=flags) as cluster:
        member, added = cluster.members[0], "0"
        wait_for(lambda: '"clientURLs":[]' not in ask(member, "GET", "/v2/members", None, None)[1],
                 "all have told their URLs")
        names = {m.name: m for m in cluster.members}
        for method, path, content_type, body in REQUESTS:
            def once():
                fill = lambda t: t and t.replace("{ID}", added).replace("{OWN}", member.peer_url)
                answer = ask(member, method, fill(path), content_type, fill(body))
                # Refused until the members have known each other for a while.
                return answer if answer[0] != 500 or method != "POST" else None
            status, text, headers, kind = wait_for(once, "%s %s %s" % (method, path, body))
            if method == "POST" and status == 201:
                added = re.search(r'"id":"([0-9a-f]+)"', text).group(1)
            text = text.replace(added, "{ID}") if added != "0" else text
            for name, one in names.items():
                text = text.replace(one.peer_url, name + "-peer").replace(one.client, name)
            text = re.sub(r'"id":"[0-9a-f]+"', '"id":"ID"', text)
            if "leader" in path:  # whoever leads
                text = re.sub(r"m\d", "mN", text)
            text = "".join(sorted(re.split(r"([{}\[\],])", text)))
            told.append((method, path, content_type, body, status, text, headers, kind))
    return told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("--other")
    args = parser.parse_args()
    different = 0
    # Ours serves these pages without it too.
    theirs = answers(args.other or debian_etcd(), ["--enable-v2"])
    for ours, other in zip(answers(args.etcd, []), theirs):
        if ours != other:
            different += 1
            print("theirs: %s\nours:   %s" % (other, ours))
    print("%d compared, %d different" % (len(theirs), different))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
