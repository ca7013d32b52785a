"""What goes on beside reads and writes: watchers, leases, compaction, snapshots. Each group starts a
member of its own and gives back its figures, which compare.py puts into its table."""
import json
import os
import re
import subprocess
import time
import urllib.request

from cluster import Cluster, http_get, wait_for

MEGABYTE_KIB = 1000 * 1000 / 1024
WATCHERS = 10000
PACE = {"connections": 9, "streams": 11}  # of Puts that fall due at a rate
LARGE = {"key_bytes": 64, "value_bytes": 256}
PUTS_A_SECOND = 2000
COMPACTIONS = 10
BIG_QUOTA = ["--quota-backend-bytes", str(8 << 30)]


def group_watch(binary, bench, quick):
    """Each load on a member of its own. A single writer's connection, so that what is measured is
    telling watchers."""
    figures = {}
    for key, options in (("one", {"watch_one": True, "key_space": 1, "rate": 10}),
                         ("each", {"key_space": WATCHERS, "rate": 5000}),
                         ("most", {"key_space": WATCHERS, "streams": 1000})):
        with Cluster(binary, 1) as cluster:
            report = bench.run(cluster.members, **dict(
                {"kind": "put", "watchers": WATCHERS, "connections": 1, "streams": 100}, **options))
            figures["watch_%s_rate" % key] = 1e6 / report["event_cpu_us"]
            figures["watch_%s_p99" % key] = report["event_p99_us"] / 1e3
    return figures


class Observing:
    """While it lasts, this process runs only where nobody else wants the processor: it looks on at
    a load that is measured in milliseconds, on the same few cores. No process is to be started in
    it, which would run the same way."""

    def __enter__(self):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    def __exit__(self, *error):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


# ── Leases ───────────────────────────────────────────────────────────────────────────────────


def leases(member):
    """Granted and not gone; by one page of metrics, which is work for a member too."""
    status, body = http_get("http://%s/metrics" % member.client, 20)
    assert status == 200
    granted, gone = (float(re.search(r"^etcd_debugging_lease_%s_total (\S+)$" % what, body,
                                     re.M).group(1)) for what in ("granted", "revoked"))
    return granted - gone


def group_lease(binary, bench, quick):
    figures = {}
    with Cluster(binary, 1) as cluster:
        report = bench.run(cluster.members, kind="grant", lease_ttl=3600)
        figures["grant_rate"] = report["per_second"]
        figures["grant_cpu"] = report["cpu_us"]
    with Cluster(binary, 1) as cluster:
        figures.update(mass_expiry(cluster.members[0], bench, 3000 if quick else 10000))
    return figures


def mass_expiry(member, bench, count, ttl_s=5):
    """All are due within the time that granting took; Puts go on meanwhile, and are measured from
    the first one's end to the last one's. It is looked at rarely, so as not to measure the looking.
    """
    begin = time.monotonic()
    bench.run([member], kind="grant", total=count, lease_ttl=ttl_s, warm_up=0)
    granted = time.monotonic()
    assert leases(member) >= count
    time.sleep(max(0, begin + ttl_s - 1.2 - time.monotonic()))
    load = bench.begin([member], kind="put", rate=1000, warm_up=1, duration=120, **PACE)
    with Observing():
        time.sleep(1.2)
        while leases(member):
            assert time.monotonic() < granted + 100
            time.sleep(0.1)
        over = time.monotonic()
    report = bench.end(load)
    return {"expiry_late": over - granted - ttl_s, "expiry_p99": report["p99_us"] / 1e3,
            "expiry_longest": report["max_us"] / 1e3}


# ── Compaction and snapshots, and what writers notice ────────────────────────────────────────


def sync_counts(member):
    """Of each bucket of the log's syncs, how many came no later."""
    status, body = http_get("http://%s/metrics" % member.client, 20)
    assert status == 200
    counts = {}
    for bound, count in re.findall(
            r'^etcd_disk_wal_fsync_duration_seconds_bucket\{le="([^"]+)"\} (\S+)$', body, re.M):
        counts[float(bound.replace("+Inf", "inf"))] = float(count)
    return counts


def slowest_bucket_ms(before, after):
    """The upper bound of the slowest sync between two looks."""
    slowest, below = 0.0, 0.0
    for bound in sorted(after):
        so_far = after[bound] - before[bound]
        if so_far > below:
            slowest, below = bound, so_far
    return slowest * 1e3


def beside_writes(member, bench, key_space, work):
    """Puts at a steady rate, alone and then while work(end) runs, where end is when it may have
    taken as long: (p99 meanwhile / p99 alone, the longest meanwhile in ms, memory grown in MB, the
    slowest sync's bucket in ms)."""
    options = dict(PACE, kind="put", rate=PUTS_A_SECOND, key_space=key_space, sample_ms=10, **LARGE)
    alone = bench.run([member], **options)
    syncs = sync_counts(member)
    puts = member.metric("etcd_mvcc_put_total")
    load = bench.begin([member], warm_up=1, duration=300, **options)
    wait_for(lambda: member.metric("etcd_mvcc_put_total") > puts, "writes have begun")
    time.sleep(1)
    work(time.monotonic() + bench.seconds)
    report = bench.end(load)
    return (report["p99_us"] / alone["p99_us"], report["max_us"] / 1e3,
            (report["anon_kib_peak"] - report["anon_kib_before"]) / MEGABYTE_KIB,
            slowest_bucket_ms(syncs, sync_counts(member)))


def post(member, path, body, timeout_s=120):
    request = urllib.request.Request("http://%s%s" % (member.client, path),
                                     json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)


def revision(member):
    return int(member.metric("etcd_debugging_mvcc_current_revision"))


def group_compaction(binary, bench, quick):
    keys, versions = (20000, 5) if quick else (100000, 5)
    with Cluster(binary, 1, flags=BIG_QUOTA) as cluster:
        member = cluster.members[0]
        bench.run([member], kind="put", sequential=True, total=keys * versions, key_space=keys,
                  warm_up=0, **LARGE)
        took = []

        def compact(end):
            """In pieces, spread over the time; what is cleaned behind them counts too."""
            first, last = 1, revision(member)
            with Observing():
                for piece in range(COMPACTIONS):
                    begin = time.monotonic()
                    upto = first + (last - first) * (piece + 1) // COMPACTIONS
                    post(member, "/v3/kv/compaction", {"revision": upto, "physical": True})
                    took.append(time.monotonic() - begin)
                    pause_s = (end - time.monotonic()) / (COMPACTIONS - piece)
                    time.sleep(max(0, pause_s))
        moved, longest, _, sync_ms = beside_writes(member, bench, keys, compact)
        return {"compaction_time": sum(took), "compaction_moved": moved,
                "compaction_longest": longest, "compaction_sync": sync_ms}


def group_snapshot(binary, bench, quick):
    keys = 100000 if quick else 1000000
    with Cluster(binary, 1, flags=BIG_QUOTA) as cluster:
        member = cluster.members[0]
        bench.run([member], kind="put", sequential=True, total=keys, key_space=keys, warm_up=0,
                  **LARGE)
        path = os.path.join(cluster.dir, "large.db")
        took = []

        def save(end):
            while not took or time.monotonic() < end:
                begin = time.monotonic()
                done = subprocess.run(
                    [bench.ctl, "--endpoints", member.client, "snapshot", "save", path],
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=300, check=False)
                assert done.returncode == 0, done.stderr
                took.append(time.monotonic() - begin)
        moved, longest, grown, sync_ms = beside_writes(member, bench, keys, save)
        return {"snapshot_time": min(took), "snapshot_size": os.path.getsize(path) / 1e6,
                "snapshot_memory": grown, "snapshot_moved": moved, "snapshot_longest": longest,
                "snapshot_sync": sync_ms}


GROUPS = {"watch": group_watch, "lease": group_lease, "compaction": group_compaction,
          "snapshot": group_snapshot}
