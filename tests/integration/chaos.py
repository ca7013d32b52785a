#!/usr/bin/python3
"""Three members are killed, all at once too, and stopped in their tracks while clients write and
read; nothing acknowledged is lost, no read is stale, and all members end up the same.

    chaos.py ETCD [--rounds N] [--seed N] [--writers N]

Each writer owns a register that only it writes: a linearizable read of it, through any member, must
show at least what was acknowledged before the read began and at most what was tried. Each write also
leaves a key of its own. A write that timed out may or may not have happened.
"""
import argparse
import random
import signal
import threading
import time

from cluster import Cluster, leave, skip, wait_for

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

CALL_TIMEOUT_S = 2.0
# Calls wait for a connection: a channel of this library connects only while some call polls it, so
# calls that fail at once would never let it.
CALL = {"timeout": CALL_TIMEOUT_S, "wait_for_ready": True}


class Client:
    """Stubs to every member, reconnecting quickly."""

    def __init__(self, members):
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200),
                   ("grpc.use_local_subchannel_pool", 1)]
        self.kv, self.maintenance = [], []
        for member in members:
            channel = grpc.insecure_channel(member.client, options=options)
            self.kv.append(rpc.KVStub(channel))
            self.maintenance.append(rpc.MaintenanceStub(channel))


class Writer(threading.Thread):
    def __init__(self, number, members, stop):
        super().__init__(daemon=True)
        self.register = b"register/%d" % number
        self.prefix = b"kept/%d/" % number
        self.client = Client(members)
        self.random = random.Random(number)
        self.stop = stop
        self.revision = 0   # of the register, as the last of its writes left it
        self.tried = 0
        self.acknowledged = 0
        self.kept = []      # numbers whose key must be there
        self.reads = 0
        self.failed = 0
        self.error = None

    def as_it_was(self, revision):
        return rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.MOD, key=self.register,
                           mod_revision=revision)

    def write(self):
        """Demands that the register is as it was left: a try that the network held back for long
        must not land on a later one."""
        self.tried += 1
        value = b"%d" % self.tried
        request = rpc.TxnRequest(compare=[self.as_it_was(self.revision)], success=[
            rpc.RequestOp(request_put=rpc.PutRequest(key=self.register, value=value)),
            rpc.RequestOp(request_put=rpc.PutRequest(key=self.prefix + value, value=value))])
        kv = self.random.choice(self.client.kv)
        try:
            answer = kv.Txn(request, **CALL)
        except grpc.RpcError:
            self.failed += 1
            # The try may still take effect, later than the next one: wait until it cannot.
            self.settle()
            return
        if not answer.succeeded:
            self.fail("%s is not as revision %d left it" % (self.register, self.revision))
            return
        self.revision = answer.header.revision
        self.acknowledged = self.tried
        self.kept.append(self.tried)

    def settle(self):
        """After an unknown outcome the write is still in flight, or has happened. A write of what is
        there gives the register another revision, so that from then on it cannot happen."""
        while not self.stop.is_set():
            kv = self.random.choice(self.client.kv)
            try:
                seen = kv.Range(rpc.RangeRequest(key=self.register), **CALL)
                revision = seen.kvs[0].mod_revision if seen.kvs else 0
                value = seen.kvs[0].value if seen.kvs else b"0"
                fence = rpc.TxnRequest(
                    compare=[self.as_it_was(revision)],
                    success=[rpc.RequestOp(request_put=rpc.PutRequest(
                        key=self.register, value=value))])
                answer = kv.Txn(fence, **CALL)
                if answer.succeeded:
                    self.revision = answer.header.revision
                    self.check(int(value))
                    return
            except grpc.RpcError:
                time.sleep(0.05)  # the pace of retries; what is waited for is the fence above

    def fail(self, error):
        self.error = error
        self.stop.set()

    def check(self, seen):
        if not self.acknowledged <= seen <= self.tried:
            self.fail("%s read %d, acknowledged before: %d, tried: %d" % (
                self.register, seen, self.acknowledged, self.tried))

    def read(self):
        kv = self.random.choice(self.client.kv)
        try:
            answer = kv.Range(rpc.RangeRequest(key=self.register), **CALL)
        except grpc.RpcError:
            self.failed += 1
            return
        self.reads += 1
        self.check(int(answer.kvs[0].value) if answer.kvs else 0)

    def run(self):
        while not self.stop.is_set():
            self.write()
            self.read()


def leader_of(client, members):
    for i, member in enumerate(members):
        try:
            status = client.maintenance[i].Status(rpc.StatusRequest(), timeout=1)
        except grpc.RpcError:
            continue
        if status.leader == status.header.member_id:
            return member
    return None


def hashes(client, members):
    """Equal (hash, revision) of all members, or None while they differ or lag."""
    seen = set()
    for i in range(len(members)):
        try:
            answer = client.maintenance[i].HashKV(rpc.HashKVRequest(), timeout=5)
        except grpc.RpcError:
            return None
        seen.add((answer.hash, answer.header.revision, answer.compact_revision))
    return seen.pop() if len(seen) == 1 else None


def all_healthy(members):
    for member in members:
        if not member.alive():
            raise AssertionError("%s ended by itself:\n%s" % (member.name, member.log_tail()))
    return all(member.healthy() for member in members)


def run_round(chance, number, cluster, client, counts):
    members = cluster.members
    kind = chance.random()
    if kind < 0.15:
        victims = list(members)
    elif kind < 0.3:
        victims = chance.sample(members, 2)
    elif kind < 0.8:
        victims = [chance.choice(members)]
    else:
        leader = leader_of(client, members) or chance.choice(members)
        leader.signal(signal.SIGSTOP)
        counts["stopped"] += 1
        time.sleep(chance.uniform(0.5, 2.5))  # the fault itself: how long it stands still
        leader.signal(signal.SIGCONT)
        victims = []
    for member in victims:
        member.kill()
        counts["killed"] += 1
    time.sleep(chance.uniform(0, 0.4))  # the fault itself: how long they are away
    for member in victims:
        member.start()
    wait_for(lambda: all_healthy(members), "round %d: all healthy" % number, 60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("etcd")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=6)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    counts = {"killed": 0, "stopped": 0}
    stop = threading.Event()
    with Cluster(args.etcd, members=3) as cluster:
        client = Client(cluster.members)
        writers = [Writer(i, cluster.members, stop) for i in range(args.writers)]
        for writer in writers:
            writer.start()
        for number in range(args.rounds):
            run_round(chance, number, cluster, client, counts)
            if stop.is_set():
                break
            done = sum(w.acknowledged for w in writers)
            wait_for(lambda: stop.is_set() or sum(w.acknowledged for w in writers) > done + 20,
                     "round %d: writes go on" % number)
        stop.set()
        for writer in writers:
            writer.join()
        for writer in writers:
            if writer.error:
                print("stale or lost:", writer.error)
                return 1
        wait_for(lambda: hashes(client, cluster.members), "equal hashes on all members")
        missing = 0
        for writer in writers:
            there = client.kv[0].Range(rpc.RangeRequest(
                key=writer.prefix, range_end=writer.prefix[:-1] + b"0", keys_only=True))
            keys = {kv.key for kv in there.kvs}
            missing += sum(1 for n in writer.kept if writer.prefix + b"%d" % n not in keys)
        print("%d kills, %d stops, %d writes acknowledged, %d reads checked, %d calls failed, "
              "%d acknowledged writes missing" % (
                  counts["killed"], counts["stopped"], sum(len(w.kept) for w in writers),
                  sum(w.reads for w in writers), sum(w.failed for w in writers), missing))
        return 1 if missing else 0


if __name__ == "__main__":
    leave(main())
