#!/usr/bin/python3
"""python3-etcd3's locks and leases against members of ours.

    python_interop.py OURS [CLIENTS]
"""
import sys
import threading
import time

from golang import skip  # finds the modules of the integration tests
from cluster import Cluster, leave, wait_for

try:
    import etcd3
except ImportError:
    skip("python3-etcd3 is not installed")


def connect(member):
    host, port = member.client.split(":")
    return etcd3.client(host=host, port=int(port), timeout=20)


def leases(cluster):
    client = connect(cluster.members[0])
    lease = client.lease(10)
    client.put("lease/a", "x", lease=lease)
    assert list(lease.keys) == [b"lease/a"] and lease.granted_ttl == 10
    assert 8 <= lease.remaining_ttl <= 10
    assert lease.refresh()[0].TTL == 10
    # Known to every member, kept alive through every member.
    for member in cluster.members:
        other = etcd3.Lease(lease.id, 10, connect(member))
        assert other.refresh()[0].TTL == 10 and 8 <= other.remaining_ttl <= 10
    lease.revoke()
    assert client.get("lease/a")[0] is None
    short = client.lease(2)
    client.put("lease/b", "x", lease=short)
    wait_for(lambda: client.get("lease/b")[0] is None, "the lease ends", 10)


def acquire(lock):
    """False: it is taken. The library waits by a module of which Debian has a newer one; what it
    then says stands for having to wait."""
    try:
        return lock.acquire(timeout=5)
    except TypeError:
        return False


def locks(cluster, clients):
    holder, order, failures = [], [], []

    def contend(number):
        try:
            client = connect(cluster.members[number % len(cluster.members)])
            lock = client.lock("one", ttl=60)
            while not acquire(lock):
                time.sleep(0.01)
            assert lock.is_acquired()
            assert not holder, (holder, number)
            holder.append(number)
            time.sleep(0.002)
            order.append(holder.pop())
            assert lock.release()
        except BaseException as e:  # for who joins
            failures.append((number, e))
    threads = [threading.Thread(target=contend, args=(i,), daemon=True) for i in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not failures, failures[0]
    assert sorted(order) == list(range(clients))


def watching(cluster):
    client = connect(cluster.members[1])
    events, cancel = client.watch_prefix("watch/")
    client.put("watch/a", "1")
    client.delete("watch/a")
    assert isinstance(next(events), etcd3.events.PutEvent)
    assert isinstance(next(events), etcd3.events.DeleteEvent)
    cancel()


def main():
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with Cluster(sys.argv[1], members=3) as cluster:
        for part, args in ((leases, ()), (locks, (clients,)), (watching, ())):
            part(cluster, *args)
            print("ok", part.__name__, flush=True)


if __name__ == "__main__":
    leave(main())
