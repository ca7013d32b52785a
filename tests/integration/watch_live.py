#!/usr/bin/python3
"""Watches of a running cluster: clients that do not read, members that die, leaders that change or
are missing, progress by time, the gateway, and the clients that others wrote.

    watch_live.py OURS [CASE...]
"""
import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.request

from cluster import Cluster, debian_etcdctl, leave, wait_for
from watching import (
    DELETE_RANGE, PUT, WATCH, Response, Side, Stream, cancel, field, number_of, progress)

ALL = (b"\0", b"\0")


def put(side, key, value):
    """The revision."""
    return number_of(number_of(side.must(PUT, field(1, key) + field(2, value)), 1), 3)


def wait_revision(stream, watch_id, revision, timeout_s=30.0):
    wait_for(lambda: stream.events(watch_id) and stream.events(watch_id)[-1].revision >= revision,
             "events up to revision %d" % revision, timeout_s)
    return stream.events(watch_id)


# ---- clients that do not read --------------------------------------------------------------------

def slow_clients(ours):
    """Thirty clients that read nothing: the member's memory stays, another client gets its events
    in time; and when they read, everything is there."""
    value = bytes(range(256)) * 40
    with Cluster(ours) as cluster:
        member = cluster.members[0]
        writer, reader = Side(member.client), Stream(Side(member.client))
        reader.create(*ALL)

        def write(count):
            worst, last = 0.0, 0
            for i in range(count):
                begin = time.monotonic()
                last = put(writer, b"key/%d" % (i % 7), value)
                if i % 20:
                    continue
                wait_for(lambda: reader.responses[-1].header >= last, "the event", 20)
                event = next(r for r in reversed(reader.responses) if r.events[0].revision <= last)
                worst = max(worst, event.at - begin)
            return worst, last

        write(3000)  # 30 MB: what the store keeps in memory, it keeps now
        before = member.memory_kib()
        slow = [Stream(Side(member.client), read=False) for _ in range(30)]
        for stream in slow:
            stream.send(field(1, field(1, b"\0") + field(2, b"\0") + field(6, 1)))

        def status():
            return member.metric("etcd_debugging_mvcc_watcher_total")
        wait_for(lambda: status() == 31, "all are watching")
        first = put(writer, b"key/0", value) - 1
        worst, last = write(3000)
        behind = member.metric("etcd_debugging_mvcc_slow_watcher_total")
        grown = member.memory_kib() - before
        # 256 KiB unsent, one response and a slice of output each, against 60 MB of events each.
        assert behind == 30, behind
        assert grown < 30 * 700 + 16384, "%d KiB more" % grown
        for stream in slow[:3]:
            stream.thread.start()
            events = wait_revision(stream, 0, last, 60)
            revisions = [e.revision for e in events]
            gaps = [(a, b) for a, b in zip(revisions, revisions[1:]) if b != a + 1]
            assert not gaps and revisions[-1] == last, (gaps[:5], len(revisions), last)
            assert revisions[0] <= first + 1
        wait_for(lambda: member.metric("etcd_debugging_mvcc_slow_watcher_total") == 27, "27 left")
        for stream in slow:
            stream.close()
        wait_for(lambda: status() == 1, "the others are gone")
        print("30 slow clients: %d KiB more, worst event %.0f ms" % (grown, worst * 1000))


def million(ours):
    """A million watchers on one member, each of a key of its own: what they cost, that one of them
    is told of its key at once, and that they can all go."""
    streams, each, size = 10, 100000, 22
    with Cluster(ours) as cluster:
        member = cluster.members[0]
        writer = Side(member.client)
        put(writer, b"warm", b"up")
        before = member.memory_kib()
        counts, told, ends = [0] * streams, queue.Queue(), []

        def watch(i):
            end = queue.Queue()

            def ask():
                for n in range(each):
                    yield field(1, field(1, b"/registry/pods/%07d" % (i * each + n)))
                end.get()
            ends.append(end)
            side = Side(member.client)
            for data in side.channel.stream_stream(WATCH)(ask(), wait_for_ready=True):
                counts[i] += 1
                if counts[i] > each:
                    told.put((time.monotonic(), data))
            side.channel.close()

        threads = [threading.Thread(target=watch, args=(i,), daemon=True) for i in range(streams)]
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(counts) == streams * each, "all are created", 900)
        grown = (member.memory_kib() - before) * 1024.0 / (streams * each)
        worst = 0.0
        for n in range(0, streams * each, 37777):
            begin = time.monotonic()
            put(writer, b"/registry/pods/%07d" % n, b"v")
            at, data = told.get(timeout=20)
            assert Response(data).events[0].key == b"/registry/pods/%07d" % n
            worst = max(worst, at - begin)
        print("a million watchers: %.0f bytes each with %d of their key, worst event %.0f ms" % (
            grown, size, worst * 1000))
        assert grown <= 100 + size, grown


# ---- members die, leaders change -----------------------------------------------------------------

class Follower(threading.Thread):
    """Watches one key after the other member's end, from the first revision not yet seen."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.members, self.events, self.next, self.done = cluster.members, [], 1, False
        self.reconnects = 0

    def run(self):
        turn = 0
        while not self.done:
            member = self.members[turn % len(self.members)]
            turn += 1
            if not member.alive():
                continue
            stream = Stream(Side(member.client), metadata=(("hasleader", "true"),), patient=False)
            stream.send(field(1, field(1, b"\0") + field(2, b"\0") + field(3, self.next)))
            taken = 0
            while not self.done and stream.thread.is_alive():
                stream.thread.join(0.05)
                taken = self.take(stream, taken)
            self.take(stream, taken)
            self.reconnects += 1
            stream.close()

    def take(self, stream, taken):
        responses = list(stream.responses)
        for response in responses[taken:]:
            self.events += response.events
            if response.events:
                self.next = response.events[-1].revision + 1
        return len(responses)


def failover(ours):
    """Followers of every member see every event once, in order, whatever dies."""
    with Cluster(ours, 3) as cluster:
        followers = [Follower(cluster) for _ in range(3)]
        for i, follower in enumerate(followers):
            follower.members = cluster.members[i:] + cluster.members[:i]
            follower.start()
        stop, written = threading.Event(), [0]

        def write():
            sides = [Side(m.client) for m in cluster.members]
            n = 0
            while not stop.is_set():
                n += 1
                if cluster.members[n % 3].alive():
                    answer, _ = sides[n % 3].call(
                        PUT, field(1, b"key/%d" % (n % 5)) + field(2, b"%d" % n), timeout_s=1)
                    written[0] += answer is not None
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for turn in range(4):
            member = cluster.members[turn % 3]
            before = written[0]
            member.kill()
            wait_for(lambda: written[0] > before + 50, "writes go on", 60)
            member.start()
            member.wait_healthy(60)
        stop.set()
        writer.join(20)
        side = Side(cluster.members[0].client)
        last = put(side, b"key/last", b"")
        for follower in followers:
            wait_for(lambda: follower.next > last, "all has been seen", 60)
            follower.done = True
        whole = Stream(side)
        whole.create(*ALL, start=1)
        events = [e.all for e in wait_revision(whole, 0, last)]
        for follower in followers:
            assert [e.all for e in follower.events] == events, "gap or duplicate"
        print("failover: %d events, reconnects %r" % (
            len(events), [f.reconnects for f in followers]))


def no_leader(ours):
    with Cluster(ours, 3, flags=["--election-timeout", "500", "--heartbeat-interval",
                                 "50"]) as cluster:
        left = cluster.members[0]
        side = Side(left.client)
        put(side, b"before", b"")
        wants = Stream(side, metadata=(("hasleader", "true"),))
        stays = Stream(side)
        wants.create(*ALL)
        stays.create(*ALL)
        for member in cluster.members[1:]:
            member.kill()
        wait_for(lambda: wants.error, "the stream that wants a leader ends", 30)
        assert wants.error == ("UNAVAILABLE", "etcdserver: no leader"), wants.error
        assert stays.error is None
        refused = Stream(side, metadata=(("hasleader", "true"),))
        refused.send(field(1, field(1, b"a")))
        wait_for(lambda: refused.error, "a new one is refused", 30)
        assert refused.error == ("UNAVAILABLE", "etcdserver: no leader"), refused.error
        for member in cluster.members[1:]:
            member.start()
        for member in cluster.members:
            member.wait_healthy(60)
        last = put(side, b"after", b"")
        assert wait_revision(stays, 0, last)[-1].key == b"after"
        stays_on = cluster.members[0].stop()
        wait_for(lambda: stays.error, "the stop ends it")
        assert stays.error[0] == "UNAVAILABLE", stays.error
        print("no leader: ended and refused; the other went on; stop took %.2f s" % stays_on)


# ---- progress, many watchers, the gateway --------------------------------------------------------

def timed_progress(ours):
    with Cluster(ours, flags=["--watch-progress-notify-interval", "200ms"]) as cluster:
        side = Side(cluster.members[0].client)
        revision = put(side, b"a", b"")
        stream = Stream(side)
        quiet = stream.create(b"a").watch_id
        told = stream.create(b"a", progress=True).watch_id
        future = stream.create(b"a", start=revision + 100, progress=True).watch_id
        wait_for(lambda: sum(not r.created for r in stream.of(told)) >= 3, "three reports")
        assert len(stream.of(quiet)) == 1 and len(stream.of(future)) == 1
        for report in stream.of(told)[1:]:
            assert not report.events and report.header == revision, report
        # Asked for, it waits for the future one on no account: it is not said at all.
        stream.send(progress())
        stream.create(b"b")  # answered behind it: else the cancelling may come in time to count
        stream.send(cancel(future))
        wait_for(lambda: [r for r in stream.of(future) if r.canceled], "it is cancelled")
        assert not stream.of(-1)
        stream.send(progress())
        assert wait_for(lambda: stream.of(-1), "progress")[0].header == revision
        print("timed progress: %d reports" % len(stream.of(told)[1:]))


def many_watchers(ours):
    """Ten thousand on one stream, each with a key of its own, a hundred with the same prefix."""
    with Cluster(ours) as cluster:
        side = Side(cluster.members[0].client)
        stream = Stream(side)
        for i in range(10000):
            stream.send(field(1, field(1, b"key/%05d" % i)))
        for i in range(100):
            stream.send(field(1, field(1, b"key/") + field(2, b"key0")))
        wait_for(lambda: len(stream.responses) == 10100, "all are created", 60)
        assert [r.watch_id for r in stream.responses] == list(range(10100))
        for i in range(0, 10000, 100):
            last = put(side, b"key/%05d" % i, b"v")
        wait_for(lambda: len(stream.responses) == 10100 + 100 + 100 * 100 or
                 all(e[-1].revision == last for e in
                     [stream.events(w) or [None] for w in range(10000, 10100)] if e[0]) and
                 stream.events(9900), "all events", 60)
        for i in range(0, 10000, 100):
            assert [e.key for e in stream.events(i)] == [b"key/%05d" % i]
        for i in range(10000, 10100):
            assert len(stream.events(i)) == 100
        assert not stream.events(1)
        print("many watchers: %d responses" % len(stream.responses))


def gateway(ours):
    with Cluster(ours) as cluster:
        member = cluster.members[0]
        side = Side(member.client)
        put(side, b"foo", b"one")
        lines = queue.Queue()
        body = (b'{"create_request":{"key":"Zm9v","start_revision":"2"}}\n'
                b'{"create_request":{"key":"Zm9v","filters":["NODELETE"],"watch_id":7}}')

        def read():
            request = urllib.request.Request("http://%s/v3/watch" % member.client, data=body)
            with urllib.request.urlopen(request, timeout=30) as answer:
                for line in answer:
                    lines.put(json.loads(line))
        threading.Thread(target=read, daemon=True).start()

        def result():
            return lines.get(timeout=20)["result"]
        created = [result(), result()]
        assert created[0]["created"] and "watch_id" not in created[0], created
        assert created[1]["watch_id"] == "7", created
        assert result()["events"] == [{"kv": {
            "key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1",
            "value": "b25l"}}]
        side.must(DELETE_RANGE, field(1, b"foo"))
        gone = result()
        assert gone["events"] == [{"type": "DELETE", "kv": {"key": "Zm9v", "mod_revision": "3"}}]
        put(side, b"foo", b"x" * 100000)
        both = [result(), result()]
        assert sorted(r.get("watch_id", "0") for r in both) == ["0", "7"]
        assert all(len(r["events"][0]["kv"]["value"]) > 100000 for r in both)
        member.stop()
        assert lines.get(timeout=20)["error"]["code"] == 14
        print("gateway: created, caught up, live, ended")


def others(ours):
    """Debian's etcdctl and its Python library."""
    import etcd3
    with Cluster(ours) as cluster:
        member = cluster.members[0]
        host, port = member.client.split(":")
        client = etcd3.client(host=host, port=int(port))
        events, stop = client.watch_prefix("app/", prev_kv=True)
        client.put("app/a", "1")
        client.put("app/a", "2")
        client.delete("app/a")
        seen = [next(events) for _ in range(3)]
        assert [type(e).__name__ for e in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
        assert [e.prev_value for e in seen] == [b"", b"1", b"2"]
        stop()
        ctl = [debian_etcdctl(), "--endpoints", member.client, "watch"]
        environment = dict(os.environ, ETCDCTL_API="3")
        watch = subprocess.Popen(ctl + ["app/", "--prefix", "--rev", "2", "--prev-kv"],
                                 env=environment, stdout=subprocess.PIPE, text=True)
        wanted = "PUT\n\n\napp/a\n1\nPUT\napp/a\n1\napp/a\n2\nDELETE\napp/a\n2\napp/a\n\n"
        got = ""
        while len(got) < len(wanted) - 2 and (line := watch.stdout.readline()):
            got += line
        assert [x for x in got.split("\n") if x] == [x for x in wanted.split("\n") if x], got
        watch.terminate()
        watch.wait()
        run = subprocess.Popen(ctl + ["app/b", "--rev", "5", "--", "sh", "-c",
                                      "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY"],
                               env=environment, stdout=subprocess.PIPE, text=True)
        client.put("app/b", "3")
        line = ""
        while "app/b" not in line:
            line = run.stdout.readline()
            assert line, "the command was not run"
        run.terminate()
        run.wait()
        print("others: python3-etcd3, etcdctl watch, etcdctl watch with a command")


CASES = [slow_clients, million, failover, no_leader, timed_progress, many_watchers, gateway, others]


def main():
    ours, wanted = sys.argv[1], sys.argv[2:]
    for case in CASES:
        if not wanted or case.__name__ in wanted:
            case(ours)
    return 0


if __name__ == "__main__":
    leave(main())
