#!/usr/bin/python3
"""What a cluster does by itself and says of itself: automatic compaction, defragmentation under load,
readiness and liveness, the metrics of all that; leases whose leader stands still.

    upkeep.py OURS
"""
import sys
import threading
import time

from cluster import Cluster, http_get, skip, wait_for
from quota import Client

try:
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")


def metrics(member):
    """{name with labels: value}"""
    status, body = http_get("http://%s/metrics" % member.client, 10)
    assert status == 200
    lines = (line.rsplit(" ", 1) for line in body.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, value in lines}


def get(client, key=b"k", revision=0):
    return client.call(client.kv, "Range", rpc.RangeRequest(key=key, revision=revision))


def compaction_by_time(ours):
    """What is older than the period goes, what is younger stays."""
    flags = ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "2s"]
    with Cluster(ours, members=3, flags=flags) as cluster:
        clients = [Client(m) for m in cluster.members]
        first = get(clients[0])[0].header.revision + 1
        marks = []

        def write():
            assert clients[0].put(b"k") is None
            marks.append((time.monotonic(), first + len(marks)))
            time.sleep(0.05)
            return all(get(c, revision=first)[1] for c in clients)
        wait_for(write, "the first revision is compacted everywhere", 20)
        for client in clients:
            assert get(client, revision=first)[1] == (
                "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
            now = time.monotonic()
            kept = next(r for at, r in marks if at > now - 1.5)
            assert get(client, revision=kept)[1] is None
        wait_for(lambda: metrics(cluster.members[0])[
            "etcd_debugging_mvcc_db_compaction_keys_total"] > 0, "it is counted", 10)
        m = metrics(cluster.members[0])
        assert abs(m["etcd_debugging_mvcc_db_compaction_last"] - time.time()) < 30
        assert m["etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count"] > 0


def settings_are_refused_in_etcds_words(ours):
    for value in ("abc", "1x"):
        cluster = Cluster(ours, flags=["--auto-compaction-retention", value])
        try:
            member = cluster.members[0].start()
            assert member.process.wait(10) == 1
            assert "error parsing CompactionRetention: " in member.log_tail()
        finally:
            cluster.stop()


def defragmentation_stops_nothing(ours):
    """A quarter of each file goes, too little to be cleaned unasked, while others write: each put is
    answered soon, and the room comes back."""
    with Cluster(ours) as cluster:
        client, writer = Client(cluster.members[0]), Client(cluster.members[0])
        value = b"x" * 30000
        for i in list(range(300)) + list(range(0, 300, 3)):
            assert client.put(b"/big/%03d" % i, value) is None
        revision = get(client)[0].header.revision
        assert client.call(client.kv, "Compact", rpc.CompactionRequest(
            revision=revision, physical=True))[1] is None
        before = client.status().dbSize
        over, times = threading.Event(), []

        def write():
            while not over.is_set():
                begin = time.monotonic()
                assert writer.put(b"w", b"x" * 100) is None
                times.append(time.monotonic() - begin)
        thread = threading.Thread(target=write)
        thread.start()
        begin = time.monotonic()
        assert client.call(client.maintenance, "Defragment", rpc.DefragmentRequest())[1] is None
        took = time.monotonic() - begin
        over.set()
        thread.join()
        after = client.status().dbSize
        assert took < 4 and max(times) < 1.5, (took, max(times))
        wait_for(lambda: client.status().dbSize < before * 0.85, "%d of %d" % (after, before), 20)
        m = metrics(cluster.members[0])
        assert m["etcd_disk_backend_defrag_duration_seconds_count"] == 1
        assert m["etcd_disk_defrag_inflight"] == 0


def checks_fail_when_they_should(ours):
    with Cluster(ours, members=3) as cluster:
        last = cluster.members[2]

        def page(path, timeout_s=2.0):
            return http_get("http://%s%s" % (last.client, path), timeout_s)
        assert page("/readyz") == (200, "ok\n")
        assert page("/livez") == (200, "ok\n")
        status, body = page("/readyz?verbose")
        assert status == 200 and sorted(body.splitlines()) == [
            "[+]data_corruption ok", "[+]linearizable_read ok", "[+]non_learner ok",
            "[+]serializable_read ok", "ok"]
        for member in cluster.members[:2]:
            member.kill()
        status, body = page("/readyz", 20)
        assert status == 503, body
        assert "[-]linearizable_read failed: etcdserver: request timed out\n" in body, body
        assert "[+]serializable_read ok\n" in body and "[+]data_corruption ok\n" in body
        assert page("/readyz?exclude=linearizable_read") == (200, "ok\n")
        assert page("/readyz/serializable_read") == (200, "ok\n")
        assert page("/livez") == (200, "ok\n")
        m = metrics(last)
        name = 'name="linearizable_read"'
        assert m["etcd_server_healthcheck{%s,type=\"readyz\"}" % name] == 0
        assert m["etcd_server_healthchecks_total{%s,status=\"error\",type=\"readyz\"}" % name] == 1
        for member in cluster.members[:2]:
            member.start()
        for member in cluster.members[:2]:
            member.wait_healthy()
        wait_for(lambda: page("/readyz", 20)[0] == 200, "it is ready again", 20)
        assert metrics(last)["etcd_server_healthcheck{%s,type=\"readyz\"}" % name] == 1


def operations_are_counted(ours):
    with Cluster(ours) as cluster:
        client = Client(cluster.members[0])
        names = ["etcd_mvcc_put_total", "etcd_mvcc_delete_total", "etcd_mvcc_range_total",
                 "etcd_mvcc_txn_total", "etcd_debugging_mvcc_total_put_size_in_bytes"]

        def counts():
            m = metrics(cluster.members[0])
            return [m[n] for n in names]
        before = counts()
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"a", value=b"123"))
        read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a"))
        delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"b"))
        client.put(b"key", b"value")
        client.txn(put, read, delete)
        client.txn(put)
        client.txn(read, read)
        get(client)
        client.call(client.kv, "DeleteRange", rpc.DeleteRangeRequest(key=b"key"))
        assert [b - a for a, b in zip(before, counts())] == [3, 2, 4, 1, 16]
        m = metrics(cluster.members[0])
        assert m['etcd_server_feature_enabled{name="LeaseCheckpoint",stage="ALPHA"}'] == 0
        assert m['etcd_server_feature_enabled{name="FastLeaseKeepAlive",stage="BETA"}'] == 1
        raised = 'etcd_debugging_server_alarms{alarm_type="NOSPACE",server_id="5"}'
        alarm = rpc.AlarmRequest(action=1, memberID=5, alarm=1)
        client.call(client.maintenance, "Alarm", alarm)
        assert metrics(cluster.members[0])[raised] == 1
        alarm.action = 2
        client.call(client.maintenance, "Alarm", alarm)
        assert metrics(cluster.members[0])[raised] == 0


def a_leader_that_stands_still_ends_no_lease(ours):
    """Another leads meanwhile and keeps the lease alive; then the first comes back."""
    with Cluster(ours, members=3) as cluster:
        clients = [Client(m) for m in cluster.members]
        leader = clients[0].status().leader
        old = next(c for c in clients if c.status().header.member_id == leader)
        others = [c for c in clients if c is not old]
        lease = others[0].call(others[0].lease, "LeaseGrant", rpc.LeaseGrantRequest(TTL=2, ID=5))
        assert lease[1] is None
        assert others[0].put(b"kept", lease=5) is None

        def keep(client):
            answer = next(iter(client.lease.LeaseKeepAlive(
                iter([rpc.LeaseKeepAliveRequest(ID=5)]), timeout=20)))
            assert answer.TTL == 2, "the lease has ended"
        old.member.signal(19)
        begin = time.monotonic()
        while time.monotonic() < begin + 5:
            keep(others[0])
            time.sleep(0.3)
        old.member.signal(18)
        begin = time.monotonic()
        while time.monotonic() < begin + 3:
            keep(others[1])
            assert len(get(others[0], b"kept")[0].kvs) == 1
            time.sleep(0.3)
        wait_for(lambda: not get(others[0], b"kept")[0].kvs, "it ends when nobody keeps it", 10)


def main():
    for test in (compaction_by_time, settings_are_refused_in_etcds_words,
                 defragmentation_stops_nothing, checks_fail_when_they_should,
                 operations_are_counted, a_leader_that_stands_still_ends_no_lease):
        test(sys.argv[1])
        print("ok", test.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
