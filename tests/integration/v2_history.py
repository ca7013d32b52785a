#!/usr/bin/python3
"""One random history of calls of the v2 keys API on Debian's etcd (--enable-v2) and on ours: equal
status, actions, nodes, errors and times to live; indices equal up to a mapping that keeps their
order. Waits are answered alike, those for the past and those for what comes.

    v2_history.py ETCD [--seed N] [--calls N] [--members N]
"""
import argparse
import concurrent.futures
import http.client
import json
import random
import sys
import urllib.parse

from cluster import Cluster, debian_etcd

NAMES = ["a", "b", "c", "d", "_hidden"]
VALUES = ["1", "2", "three", "<&>", "é", "x" * 300]
TTL_TOLERANCE_S = 2


class Unequal(Exception):
    pass


class Waiting:
    """A wait for what comes: its head is there, so it has begun; its body comes with the event."""

    def __init__(self, member, path, params):
        self.connection = http.client.HTTPConnection(member.client, timeout=20)
        self.connection.request("GET", path + "?" + urllib.parse.urlencode(dict(params, wait="true")))
        self.answer = self.connection.getresponse()

    def event(self, stream=False):
        body = self.answer.readline() if stream else self.answer.read()
        return self.answer.status, body.decode()

    def close(self):
        self.connection.close()


class Indices:
    """Theirs to ours, one to one and ascending."""

    def __init__(self):
        self.ours = {}

    def pair(self, theirs, ours):
        if self.ours.setdefault(theirs, ours) != ours:
            raise Unequal("index %d is %d, and was %d" % (theirs, ours, self.ours[theirs]))

    def check_order(self):
        pairs = sorted(self.ours.items())
        for (a, x), (b, y) in zip(pairs, pairs[1:]):
            if x >= y:
                raise Unequal("indices %d, %d are %d, %d" % (a, b, x, y))


def call(member, method, path, params, timeout=10):
    """(status, body); one connection a call."""
    connection = http.client.HTTPConnection(member.client, timeout=timeout)
    encoded = urllib.parse.urlencode(params)
    body, headers = None, {}
    if method in ("PUT", "POST"):
        body, headers = encoded, {"Content-Type": "application/x-www-form-urlencoded"}
    elif encoded:
        path += "?" + encoded
    try:
        connection.request(method, urllib.parse.quote(path, safe="/?&=%+"), body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def compare(indices, theirs, ours, where="answer"):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(theirs) - {"ttl"} != set(ours) - {"ttl"}:
            raise Unequal("%s: %s, %s" % (where, sorted(theirs), sorted(ours)))
        for name in theirs:
            a, b = theirs[name], ours.get(name)
            if name in ("modifiedIndex", "createdIndex"):
                indices.pair(a, b)
            elif name == "ttl":
                # The last second may have begun on one of the two alone.
                if abs(a - ours.get("ttl", 0)) > TTL_TOLERANCE_S:
                    raise Unequal("%s: ttl %s, %s" % (where, a, b))
            elif name == "nodes":
                compare_nodes(indices, a, b, where)
            elif name not in ("expiration", "index"):
                compare(indices, a, b, where + "." + name)
    elif theirs != ours:
        raise Unequal("%s: %r, %r" % (where, theirs, ours))


def in_order_name(node):
    """Nodes in order are named by their index; else by their key."""
    name = node["key"].rsplit("/", 1)[-1]
    return "#" if len(name) == 20 and name.isdigit() else node["key"]


def strip_names(value):
    """Names that come from an index, in keys and causes, differ as the indices do."""
    if isinstance(value, dict):
        return {k: strip_names(v) for k, v in value.items()}
    if isinstance(value, list):
        return [strip_names(v) for v in value]
    if isinstance(value, str):
        return "/".join("#" if len(p) == 20 and p.isdigit() else p for p in value.split("/"))
    return value


def compare_nodes(indices, theirs, ours, where):
    def order(nodes):
        return sorted(nodes, key=lambda n: (in_order_name(n), n["createdIndex"]))
    if len(theirs) != len(ours):
        raise Unequal("%s: %d nodes, %d" % (where, len(theirs), len(ours)))
    for a, b in zip(order(theirs), order(ours)):
        compare(indices, strip_names(a), strip_names(b), where + "." + a["key"])


def compare_answers(indices, what, theirs, ours):
    (a_status, a_body), (b_status, b_body) = theirs, ours
    try:
        if a_status != b_status:
            raise Unequal("status")
        try:
            a, b = json.loads(a_body), json.loads(b_body)
        except ValueError:
            if a_body != b_body:
                raise Unequal("text")
            return
        if "errorCode" in a:
            # A cause may name indices: "[3 != 7]" is compared by what is around the numbers.
            a["cause"], b["cause"] = [c if "!=" not in c else c.count("!=") for c in
                                      (a.get("cause", ""), b.get("cause", ""))]
        compare(indices, strip_names(a), strip_names(b))
        indices.check_order()
    except Unequal as e:
        raise Unequal("%s\n%s\ntheirs: %s %s\nours:   %s %s" % (
            what, e, a_status, a_body, b_status, b_body)) from None


class History:
    def __init__(self, theirs, ours, seed):
        self.theirs, self.ours = theirs, ours
        self.random = random.Random(seed)
        self.indices = Indices()
        self.calls = 0

    def path(self):
        depth = self.random.choice((1, 1, 2, 2, 3))
        return "/" + "/".join(self.random.choice(NAMES) for _ in range(depth))

    def index_pair(self):
        """An index that has been, or none that ever will."""
        known = list(self.indices.ours.items())
        return self.random.choice(known[-20:]) if known and self.random.random() < 0.8 else (1, 1)

    def conditions(self, params):
        """Adds conditions; returns what differs for ours."""
        r, differs = self.random, {}
        if r.random() < 0.3:
            params["prevExist"] = r.choice(("true", "false"))
        if r.random() < 0.2:
            params["prevValue"] = r.choice(VALUES)
        if r.random() < 0.2:
            theirs, ours = self.index_pair()
            params["prevIndex"], differs["prevIndex"] = theirs, ours
        return differs

    def put(self):
        r, params = self.random, {}
        differs = self.conditions(params)
        if r.random() < 0.15:
            params["dir"] = "true"
        else:
            params["value"] = r.choice(VALUES)
        if r.random() < 0.2:
            params["ttl"] = r.choice(("100", "1000", "", "x", "-1"))
        if r.random() < 0.05:
            params["refresh"] = "true"
        if r.random() < 0.05:
            params["noValueOnSuccess"] = "true"
        return "PUT", self.path(), params, differs

    def delete(self):
        r, params = self.random, {}
        differs = self.conditions(params)
        if r.random() < 0.4:
            params[r.choice(("dir", "recursive"))] = "true"
        return "DELETE", self.path(), params, differs

    def post(self):
        return "POST", self.path(), {"value": self.random.choice(VALUES)}, {}

    def get(self):
        r, params = self.random, {}
        if r.random() < 0.5:
            params["recursive"] = "true"
        if r.random() < 0.5:
            params["sorted"] = "true"
        if len(self.ours.members) > 1 or r.random() < 0.3:
            params["quorum"] = "true"  # else a member may not have applied the write before
        if r.random() < 0.02:
            params["recursive"] = "maybe"
        return "GET", r.choice((self.path(), self.path(), "", "/")), params, {}

    def wait(self):
        """For something that has been; the wait ends at once on both."""
        known = list(self.indices.ours.items())
        if not known:
            return self.get()
        theirs, ours = self.random.choice(known[-50:])
        params = {"wait": "true", "waitIndex": theirs, "recursive": "true"}
        return "GET", "/", params, {"waitIndex": ours}

    def future(self):
        """Waits at the node, above it and below it hear of a change alike; a stream of several."""
        r = self.random
        path = "/v2/keys/w%d/x" % r.randrange(3)
        waits = [(path, {}), (path.rsplit("/", 1)[0], {"recursive": "true"}),
                 ("/v2/keys", {"recursive": "true", "stream": "true"})]
        pairs = [(Waiting(self.theirs.members[0], p, q), Waiting(self.ours.members[0], p, q))
                 for p, q in waits]
        changes = [("PUT", {"value": "1"}), ("PUT", {"value": "2"}), ("DELETE", {})]
        for n, (method, params) in enumerate(changes):
            theirs = call(self.theirs.members[0], method, path, params)
            ours = call(self.ours.members[0], method, path, params)
            compare_answers(self.indices, "%s %s" % (method, path), theirs, ours)
            for (p, q), (a, b) in zip(waits, pairs):
                if n == 0 or "stream" in q:
                    compare_answers(self.indices, "wait at %s %s" % (p, q),
                                    a.event("stream" in q), b.event("stream" in q))
        for pair in pairs:
            for waiting in pair:
                waiting.close()

    def expiry(self):
        """A file and a directory whose time is up; the directory takes what is below along."""
        for path, params in (("/v2/keys/t", {"value": "1"}), ("/v2/keys/td", {"dir": "true"})):
            pair = [Waiting(c.members[0], "/v2/keys", {"recursive": "true", "stream": "true"})
                    for c in (self.theirs, self.ours)]
            changes = [("PUT", path, dict(params, ttl="1"))]
            if "dir" in params:
                changes.append(("PUT", path + "/below", {"value": "2"}))
            for method, where, what in changes:
                compare_answers(self.indices, where, call(self.theirs.members[0], method, where, what),
                                call(self.ours.members[0], method, where, what))
                compare_answers(self.indices, "told of " + where, *[w.event(True) for w in pair])
            compare_answers(self.indices, "told of the end of " + path,
                            *[w.event(True) for w in pair])
            for waiting in pair:
                waiting.close()
            for where in (path, path + "/below"):
                compare_answers(self.indices, "GET " + where,
                                *[call(c.members[0], "GET", where, {"quorum": "true"})
                                  for c in (self.theirs, self.ours)])

    def contend(self, clients=16, posts=20):
        """Names in order are unique, and one client's come in its own order, whoever else posts;
        a counter that all raise by compare-and-swap loses nothing."""
        members = self.ours.members
        names = [[] for _ in range(clients)]
        call(members[0], "PUT", "/v2/keys/counter", {"value": "0"})

        def client(n):
            member = members[n % len(members)]
            for _ in range(posts):
                status, body = call(member, "POST", "/v2/keys/queue", {"value": str(n)}, 30)
                assert status == 201, body
                names[n].append(json.loads(body)["node"]["key"])
                while True:
                    old = json.loads(call(member, "GET", "/v2/keys/counter", {}, 30)[1])["node"]["value"]
                    status, body = call(member, "PUT", "/v2/keys/counter",
                                        {"value": str(int(old) + 1), "prevValue": old}, 30)
                    if status == 200:
                        break
                    assert json.loads(body)["errorCode"] == 101, body

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(client, n) for n in range(clients)]:
                done.result()
        listed = json.loads(call(members[0], "GET", "/v2/keys/queue",
                                 {"sorted": "true", "quorum": "true"})[1])["node"]["nodes"]
        if sorted(sum(names, [])) != [n["key"] for n in listed] or len(listed) != clients * posts:
            raise Unequal("%d nodes in the queue, %d posted" % (len(listed), clients * posts))
        if any(own != sorted(own) for own in names):
            raise Unequal("a client's own nodes are not in order")
        counter = json.loads(call(members[0], "GET", "/v2/keys/counter", {"quorum": "true"})[1])
        if counter["node"]["value"] != str(clients * posts):
            raise Unequal("the counter is %s" % counter["node"]["value"])

    def step(self):
        kinds = (self.put,) * 9 + (self.delete,) * 4 + (self.get,) * 4 + (self.post, self.wait)
        method, path, params, differs = self.random.choice(kinds)()
        path = "/v2/keys" + path
        theirs = call(self.theirs.members[0], method, path, params)
        member = self.ours.members[self.calls % len(self.ours.members)]
        ours = call(member, method, path, dict(params, **differs))
        self.calls += 1
        compare_answers(self.indices, "%s %s %s" % (method, path, params), theirs, ours)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--members", type=int, default=1)
    options = parser.parse_args()
    with Cluster(debian_etcd(), flags=["--enable-v2"]) as theirs, \
            Cluster(options.etcd, members=options.members, flags=["--enable-v2"]) as ours:
        history = History(theirs, ours, options.seed)
        try:
            for n in range(options.calls):
                history.step()
                if n % 100 == 0:
                    history.future()
            history.expiry()
            history.contend()
        except Unequal as e:
            print("seed %d, call %d: %s" % (options.seed, history.calls, e))
            return 1
    print("%d calls equal, %d indices in order" % (history.calls, len(history.indices.ours)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
