#!/usr/bin/python3
"""What /metrics prints: etcd's names, kinds, labels and buckets (tests/facts/metrics.tsv), and figures
that move with what they are named after.

    metrics.py ETCD FACTS
"""
import re
import signal
import sys
import threading
import time
import urllib.request

from cluster import Cluster, http_get, wait_for
from members import add, ctl, grpc, id_of, leader_of, new_member, rpc
from quota import Client

# What etcd prints and this server does not, each with its reason (docs/operations.md says the same).
LEFT_OUT = {
    "etcd_debugging_auth_revision": "no users and roles yet",
    "etcd_debugging_disk_backend_commit_rebalance_duration_seconds": "no pages are rebalanced",
    "etcd_debugging_disk_backend_commit_spill_duration_seconds": "no pages are spilled",
    "etcd_debugging_snap_save_marshalling_duration_seconds": "a snapshot's record is not marshalled",
}


class Page:
    """One look at a member's page."""

    def __init__(self, member):
        # Who installs a received state does not listen for a moment.
        self.text = wait_for(
            lambda: (lambda status, text: text if status == 200 else None)(
                *http_get("http://%s/metrics" % member.client, 20)), "a page of metrics")
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.text, re.M))
        self.samples = {}
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", self.text, re.M):
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
            self.samples.setdefault(name, []).append((pairs, float(value)))

    def value(self, name, /, **labels):
        """The sum of the samples with these labels; 0 where there is none."""
        return sum(v for pairs, v in self.samples.get(name, [])
                   if all(pairs.get(k) == want for k, want in labels.items()))


def moves(member, act, name, /, by=1, **labels):
    """Of a counter, or of a histogram's observations by the name ending in _count."""
    before = Page(member).value(name, **labels)
    act()
    wait_for(lambda: Page(member).value(name, **labels) >= before + by,
             "%s %s grows by %d from %g" % (name, labels, by, before))


# ── Names ────────────────────────────────────────────────────────────────────────────────────


def facts(path):
    with open(path) as f:
        rows = [line.rstrip("\n").split("\t") for line in f][1:]
    return {name: (kind, set(labels.split(",")) - {"-"}, buckets)
            for name, kind, labels, buckets in rows}


def check_buckets(name, page, buckets):
    match = re.match(r"exp\(start=([\d.]+),factor=([\d.]+),n=(\d+)\)", buckets)
    bounds = sorted({float(pairs["le"]) for pairs, _ in page.samples[name + "_bucket"]})
    if match:
        start, factor, count = float(match[1]), float(match[2]), int(match[3])
        assert len(bounds) == count + 1, (name, bounds)
        for n in range(count):
            assert abs(bounds[n] / (start * factor ** n) - 1) < 1e-9, (name, bounds)


def check_names(wanted, pages):
    seen = set()
    for page in pages:
        for name, kind in page.types.items():
            assert name in wanted, "%s is none of etcd's" % name
            want_kind, want_labels, buckets = wanted[name]
            assert kind == want_kind, (name, kind, want_kind)
            series = page.samples[name + "_count" if kind == "histogram" else name]
            for pairs, _ in series:
                assert set(pairs) == want_labels, (name, pairs, want_labels)
            if kind == "histogram":
                check_buckets(name, page, buckets)
            seen.add(name)
    missing = set(wanted) - seen
    assert missing == set(LEFT_OUT), sorted(missing ^ set(LEFT_OUT))
    print("%d names, %d left out" % (len(seen), len(missing)))


# ── One member ───────────────────────────────────────────────────────────────────────────────


def calls(member):
    client = Client(member)
    kv, took = client.kv, "etcd_server_apply_duration_seconds_count"
    moves(member, lambda: client.put(b"a"), took, op="Put", success="true", version="v3")
    moves(member, lambda: client.put(b"a", lease=12345), took, op="Put", success="false")
    moves(member, lambda: client.call(client.lease, "LeaseGrant", rpc.LeaseGrantRequest(TTL=600)),
          took, op="LeaseGrant", success="true")
    moves(member, lambda: client.call(kv, "Range", rpc.RangeRequest(key=b"a")),
          "etcd_server_range_duration_seconds_count", success="true")
    moves(member, lambda: client.call(kv, "Range", rpc.RangeRequest(key=b"a", revision=1 << 40)),
          "etcd_server_range_duration_seconds_count", success="false")
    asked = "etcd_server_request_duration_seconds_count"
    moves(member, lambda: client.put(b"a"), asked, type="Put", success="true")
    moves(member, lambda: client.call(kv, "Range", rpc.RangeRequest(key=b"a")), asked, type="Range",
          success="true")
    read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a"))
    write = rpc.RequestOp(request_put=rpc.PutRequest(key=b"b", value=b"c"))
    moves(member, lambda: client.call(kv, "Txn", rpc.TxnRequest(success=[read])), asked,
          type="ReadonlyTxn", success="true")
    moves(member, lambda: client.call(kv, "Txn", rpc.TxnRequest(success=[write])), asked, type="Txn",
          success="true")
    # What is refused before anybody is asked is no request of these.
    before = Page(member).value(asked, type="Put")
    client.put(b"")
    assert Page(member).value(asked, type="Put") == before


def versions(member):
    client, name = Client(member), "etcd_server_client_requests_total"
    moves(member, lambda: client.put(b"a"), name, type="unary", client_api_version="unknown")
    for version in ("3.7", "3.4"):
        moves(member, lambda v=version: client.kv.Put(
            rpc.PutRequest(key=b"a"), timeout=20, metadata=[("client-api-version", v)]),
              name, type="unary", client_api_version=version)
    # One that invents versions makes no series without end.
    for n in range(100):
        client.kv.Put(rpc.PutRequest(key=b"a"), timeout=20,
                      metadata=[("client-api-version", "v%d" % n)])
    series = Page(member).samples[name]
    assert len(series) <= 64, len(series)
    assert sum(value for _, value in series) >= 100
    keep = client.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")
    moves(member, lambda: list(keep(iter([rpc.LeaseKeepAliveRequest(ID=1).SerializeToString()]),
                                    timeout=20)), name, type="stream", client_api_version="unknown")


def broken_streams(member):
    channel = Client(member).channel
    for path, api in (("/etcdserverpb.Watch/Watch", "watch"),
                      ("/etcdserverpb.Lease/LeaseKeepAlive", "lease-keepalive")):
        def send(path=path):
            try:
                list(channel.stream_stream(path)(iter([b"\xff\xff"]), timeout=20))
                raise AssertionError("nonsense was taken")
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.INTERNAL, e
        moves(member, send, "etcd_network_server_stream_failures_total", API=api, Type="receive")


def compaction(member):
    client = Client(member)
    for n in range(200):
        client.put(b"compacted", b"%d" % n)

    def compact():
        revision = client.call(client.kv, "Range", rpc.RangeRequest(key=b"a"))[0].header.revision
        return client.call(client.kv, "Compact", rpc.CompactionRequest(revision=revision,
                                                                       physical=True))
    for name in ("index_compaction_pause_duration_milliseconds_count",
                 "db_compaction_pause_duration_milliseconds_count",
                 "db_compaction_total_duration_milliseconds_count"):
        client.put(b"compacted")
        moves(member, compact, "etcd_debugging_mvcc_" + name)
    # Again: compacted already, which etcd counts as no failure.
    assert compact()[1] == ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
    moves(member, compact, "etcd_server_apply_duration_seconds_count", op="Compaction",
          success="true")
    page = Page(member)
    for kind in ("index", "db"):
        name = "etcd_debugging_mvcc_%s_compaction_pause_duration_milliseconds_sum" % kind
        assert 0 < page.value(name) < 10000, page.value(name)
    assert page.value("etcd_debugging_mvcc_db_compaction_keys_total") >= 190
    assert abs(page.value("etcd_debugging_mvcc_db_compaction_last") - time.time()) < 60


def held_states(member):
    """A snapshot that its client does not take holds on to the store's state."""
    client, name = Client(member), "etcd_mvcc_db_open_read_transactions"
    for n in range(60):
        client.put(b"held/%d" % n, b"x" * 100000)
    before = Page(member).value(name)
    stream = client.maintenance.Snapshot(rpc.SnapshotRequest())
    wait_for(lambda: Page(member).value(name) > before, "a state is held")
    stream.cancel()
    wait_for(lambda: Page(member).value(name) <= before, "no state is held")


def disk(member):
    client = Client(member)

    def write():
        for n in range(250):
            client.put(b"disk", b"%d" % n)
    moves(member, write, "etcd_debugging_disk_backend_commit_write_duration_seconds_count")
    moves(member, write, "etcd_debugging_snap_save_total_duration_seconds_count")
    moves(member, write, "etcd_snap_fsync_duration_seconds_count")


def v2(member):
    def ask(query, method="GET"):
        request = urllib.request.Request("http://%s/v2/keys%s" % (member.client, query),
                                         method=method)
        try:
            return urllib.request.urlopen(request, timeout=20).read()
        except OSError:
            return None
    store = "etcd_debugging_store_"
    moves(member, lambda: ask("/a?value=1", "PUT"), store + "writes_total", action="set")
    moves(member, lambda: ask("/a?value=1&prevValue=2", "PUT"), store + "writes_failed_total",
          action="compareAndSwap")
    moves(member, lambda: ask("/a"), store + "reads_total", action="get")
    moves(member, lambda: ask("/none"), store + "reads_failed_total", action="get")
    waiting = threading.Thread(target=ask, args=("/a?wait=true",))
    moves(member, waiting.start, store + "watch_requests_total")
    wait_for(lambda: Page(member).value(store + "watchers") == 1, "a watcher")
    ask("/a?value=3", "PUT")
    waiting.join()
    wait_for(lambda: Page(member).value(store + "watchers") == 0, "no watcher")


def the_rest(member):
    moves(member, lambda: None, "promhttp_metric_handler_requests_total", code="200")
    moves(member, lambda: http_get("http://%s/health" % member.client),
          "process_network_receive_bytes_total")
    page = Page(member)
    assert page.value("promhttp_metric_handler_requests_in_flight") == 1  # this one
    assert page.value("process_virtual_memory_max_bytes") > 0
    assert page.value("etcd_server_go_version", server_go_version="none, C (gnu17)") == 1
    ctl(member, "member", "list")
    client = Client(member)
    alarm = rpc.AlarmRequest(action=1, memberID=0x77, alarm=1)
    assert client.call(client.maintenance, "Alarm", alarm)[0]
    wait_for(lambda: Page(member).value("etcd_debugging_server_alarms", server_id="77",
                                        alarm_type="NOSPACE") == 1, "an alarm is shown")
    alarm.action = 2
    assert client.call(client.maintenance, "Alarm", alarm)[0]


# ── Three ────────────────────────────────────────────────────────────────────────────────────


def late_heartbeats(cluster):
    """A leader that stands still for some intervals says so. The time itself is what is meant."""
    leader = leader_of(cluster.members)

    def stand_still():
        leader.signal(signal.SIGSTOP)
        time.sleep(0.5)
        leader.signal(signal.SIGCONT)
    moves(leader, stand_still, "etcd_server_heartbeat_send_failures_total", by=2)


def slow_reads(cluster):
    """Without a majority barriers stay unanswered."""
    leader = leader_of(cluster.members)
    others = [m for m in cluster.members if m is not leader]
    for m in others:
        m.signal(signal.SIGSTOP)
    client = Client(leader)
    read = lambda: client.call(client.kv, "Range", rpc.RangeRequest(key=b"a"))
    before = Page(leader).value("etcd_server_slow_read_indexes_total")
    wait_for(lambda: read()[1] and
             Page(leader).value("etcd_server_slow_read_indexes_total") > before, "a slow read", 60)
    assert Page(leader).value("etcd_server_read_indexes_failed_total") > 0
    for m in others:
        m.signal(signal.SIGCONT)
    wait_for(lambda: not read()[1], "reads are answered again", 60)


def ready(member, query=""):
    return http_get("http://%s/readyz%s" % (member.client, query), 20)


def learner_is_not_ready(member):
    """Its one failing check says why; it is as ready as others where that is left out."""
    line = "[-]non_learner failed: not supported for learner"
    status, body = wait_for(
        lambda: (lambda answer: answer if "[+]linearizable_read ok" in answer[1] else None)(
            ready(member)), "all else is in order")
    assert status == 503 and line in body.split("\n") and body.count("[-]") == 1, body
    assert ready(member, "/non_learner") == (503, line + "\n\n")
    assert ready(member, "?exclude=non_learner") == (200, "ok\n")
    check = {"type": "readyz", "name": "non_learner"}
    page = Page(member)
    assert page.value("etcd_server_healthcheck", **check) == 0
    assert page.value("etcd_server_healthchecks_total", status="error", **check) >= 2


def joiner(cluster):
    """It is brought up to date by a state that it receives, and not promoted before."""
    leader = leader_of(cluster.members)
    client, saved = Client(leader), "etcd_debugging_snap_save_total_duration_seconds_count"
    before = Page(leader).value(saved)

    def write():
        for n in range(100):
            assert not client.put(b"joins/%d" % n, b"v" * 500)
        return Page(leader).value(saved) > before + 5
    wait_for(write, "the log lets go of its beginning", 60)
    member = new_member(cluster, "joiner", cluster.members[0].binary)
    add(cluster, cluster.members[0], member, "--learner")
    moves(leader, lambda: ctl(leader, "member", "promote", id_of(leader, member)),
          "etcd_server_learner_promote_failures")
    member.start()
    member.wait_healthy(60)
    wait_for(lambda: Page(member).value("etcd_snap_db_save_total_duration_seconds_count") == 1,
             "a state is received")
    wait_for(lambda: Page(member).value("etcd_server_snapshot_apply_in_progress_total") == 0 and
             Page(member).value("etcd_debugging_mvcc_keys_total") >= 100, "it is in place")
    page = Page(member)
    assert page.value("etcd_snap_db_fsync_duration_seconds_count") == 1
    assert page.value("etcd_server_is_learner") == 1
    assert page.value("etcd_network_snapshot_receive_success") == 1
    assert sum(Page(m).value("etcd_network_snapshot_send_success") for m in cluster.members) == 1
    learner_is_not_ready(member)
    moves(leader, lambda: wait_for(
        lambda: ctl(leader, "member", "promote", id_of(leader, member))[0] == 0, "a promotion"),
          "etcd_server_learner_promote_successes")
    wait_for(lambda: ready(member) == (200, "ok\n"), "it is ready when it votes")
    assert Page(member).value("etcd_server_healthcheck", type="readyz", name="non_learner") == 1


def main():
    etcd, wanted = sys.argv[1], facts(sys.argv[2])
    pages = []
    with Cluster(etcd, flags=["--enable-v2", "--metrics", "extensive", "--snapshot-count",
                              "100"]) as cluster:
        member = cluster.members[0]
        for part in (calls, versions, broken_streams, compaction, held_states, disk, v2, the_rest):
            part(member)
            print(part.__name__, flush=True)
        pages.append(Page(member))
    flags = ["--snapshot-count", "100", "--snapshot-catchup-entries", "20", "--heartbeat-interval",
             "50", "--election-timeout", "1000"]
    with Cluster(etcd, 3, flags=flags) as cluster:
        for part in (late_heartbeats, slow_reads, joiner):
            part(cluster)
            print(part.__name__, flush=True)
        pages += [Page(m) for m in cluster.members]
    check_names(wanted, pages)


if __name__ == "__main__":
    main()
