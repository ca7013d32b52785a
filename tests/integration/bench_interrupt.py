#!/usr/bin/python3
"""The load generator, told to stop while it measures, says what it has measured until then.

    bench_interrupt.py ETCD ETCD_BENCH
"""
import json
import re
import signal
import subprocess
import sys

from cluster import Cluster, http_get, wait_for


def puts(member):
    _, body = http_get("http://%s/metrics" % member.client)
    found = re.search(r"^etcd_mvcc_put_total (\S+)$", body, re.M)
    return float(found.group(1)) if found else 0


def main():
    etcd, bench = sys.argv[1:3]
    with Cluster(etcd) as cluster:
        member = cluster.members[0]
        load = subprocess.Popen(
            [bench, "--json", "--endpoints=" + member.client, "--warm-up=0", "--duration=600",
             "--rate=500", "--connections=2"], stdout=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: puts(member) > 100, "100 puts")
            load.send_signal(signal.SIGINT)
            report = json.loads(load.communicate(timeout=60)[0])
        finally:
            load.kill()
        assert load.returncode == 0, load.returncode
        assert report["requests"] > 50 and not report["errors"], report
        assert report["seconds"] < 300, report
        print("%d requests in %.2f s" % (report["requests"], report["seconds"]))


main()
