#!/usr/bin/python3
"""The whole life of a store that is full, on another etcd and on ours: the same answers at each
step. And the limits of requests, which need no full store.

    quota.py OURS [--other BINARY] [--members N]
"""
import argparse

from cluster import Cluster, debian_etcd, http_get, leave, skip, wait_for

try:
    import grpc
    from etcd3 import etcdrpc as rpc
except ImportError:
    skip("python3-etcd3 is not installed")

QUOTA_BYTES = 2 << 20
NO_SPACE = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")


class Client:
    def __init__(self, member):
        self.member = member
        self.channel = grpc.insecure_channel(member.client, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.kv = rpc.KVStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)
        self.maintenance = rpc.MaintenanceStub(self.channel)

    def call(self, stub, name, request):
        """(answer, None) or (None, (code, text))."""
        try:
            return getattr(stub, name)(request, timeout=20), None
        except grpc.RpcError as e:
            return None, (e.code().name, e.details())

    def put(self, key, value=b"v", **more):
        return self.call(self.kv, "Put", rpc.PutRequest(key=key, value=value, **more))[1]

    def txn(self, *ops):
        return self.call(self.kv, "Txn", rpc.TxnRequest(success=ops))[1]

    def alarms(self):
        answer, error = self.call(self.maintenance, "Alarm", rpc.AlarmRequest(action=0))
        assert not error, error
        return sorted({a.alarm for a in answer.alarms})

    def status(self):
        return self.call(self.maintenance, "Status", rpc.StatusRequest())[0]


def life(clients, say):
    """Every line that say() gets is a fact that both kinds must agree on."""
    first, last = clients[0], clients[-1]
    value = b"x" * 20000
    puts = 0
    while puts < 1000:
        error = first.put(b"/fill/%04d" % puts, value)
        if error:
            break
        puts += 1
    say("full", error, 20 < puts < 1000)
    for client in clients:
        wait_for(client.alarms, "every member lists the alarm", 10)
        say("alarms", client.alarms())
    say("status names it", any("NOSPACE" in e for e in last.status().errors)
        if hasattr(last.status(), "errors") else True)
    health = http_get("http://%s/health" % last.member.client)
    say("health", health[0])
    excluded = http_get("http://%s/health?exclude=NOSPACE" % last.member.client)
    say("health without it", excluded[0])
    for client in clients:
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"a", value=b"b"))
        delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"none"))
        read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"/fill/0000"))
        say("put", client.put(b"small"))
        say("txn with put", client.txn(put))
        say("txn with put in a branch not taken", client.call(client.kv, "Txn", rpc.TxnRequest(
            success=[read], failure=[put]))[1])
        say("txn without put", client.txn(delete, read))
        say("grant", client.call(client.lease, "LeaseGrant", rpc.LeaseGrantRequest(TTL=60, ID=7))[1])
        say("range", client.call(client.kv, "Range", rpc.RangeRequest(key=b"/fill/0001"))[1])
    answer, error = first.call(first.kv, "DeleteRange", rpc.DeleteRangeRequest(
        key=b"/fill/", range_end=b"/fill0"))
    say("delete", error, answer.deleted >= puts)  # 3.7 writes the last one too
    say("still refused", last.put(b"small"))
    answer, error = last.call(last.kv, "Compact", rpc.CompactionRequest(
        revision=answer.header.revision, physical=True))
    say("compact", error)
    say("refused until disarmed", first.put(b"small"))
    full = [client.status().dbSize for client in clients]
    for client in clients:
        say("defragment", client.call(client.maintenance, "Defragment", rpc.DefragmentRequest())[1])
    say("smaller", [client.status().dbSize < was / 4 for client, was in zip(clients, full)])
    # Who raised it depends on who found the store full: one member, or several.
    raised = first.call(first.maintenance, "Alarm", rpc.AlarmRequest(action=0))[0].alarms
    for alarm in raised:
        lower = rpc.AlarmRequest(action=2, memberID=alarm.memberID, alarm=alarm.alarm)
        counts = [len(first.call(first.maintenance, "Alarm", lower)[0].alarms) for _ in range(2)]
        assert counts == [1, 0], counts
    for client in clients:
        wait_for(lambda: not client.alarms(), "the alarm is gone", 10)
        say("put", client.put(b"small"))
    say("health", http_get("http://%s/health" % last.member.client)[0])


def limits(client, say):
    for size in (1572000, 1572864, 1600000):
        say("put of %d" % size, client.put(b"k", b"x" * size))
    puts = [rpc.RequestOp(request_put=rpc.PutRequest(key=b"%d" % i)) for i in range(129)]
    say("128 ops", client.txn(*puts[:128]))
    say("129 ops", client.txn(*puts))
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(success=puts[:2]))
    say("nested, within", client.txn(nested, *puts[2:127]))
    say("nested, beyond", client.txn(nested, *puts[2:129]))


def alarms(client, say):
    """Raising and lowering by hand."""
    def alarm(action, kind, member=5):
        answer, error = client.call(client.maintenance, "Alarm", rpc.AlarmRequest(
            action=action, memberID=member, alarm=kind))
        return error, [(a.memberID, a.alarm) for a in answer.alarms] if answer else None
    say("raise corrupt", alarm(1, 2))
    say("raise corrupt again", alarm(1, 2))
    say("list corrupt", alarm(0, 2))
    say("list no space", alarm(0, 1))
    say("put", client.put(b"k"))
    say("delete", client.call(client.kv, "DeleteRange", rpc.DeleteRangeRequest(key=b"k"))[1])
    say("compact", client.call(client.kv, "Compact", rpc.CompactionRequest(revision=1))[1])
    say("grant", client.call(client.lease, "LeaseGrant", rpc.LeaseGrantRequest(TTL=60, ID=7))[1])
    say("revoke", client.call(client.lease, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=8))[1])
    say("range", client.call(client.kv, "Range", rpc.RangeRequest(key=b"k"))[1])
    say("health", http_get("http://%s/health" % client.member.client)[0])
    say("lower another member's", alarm(2, 2, 6))
    say("lower", alarm(2, 2))
    say("lower again", alarm(2, 2))
    say("put", client.put(b"k"))


def run(binary, members):
    facts = []

    def say(*fact):
        facts.append(fact)
    with Cluster(binary, members=members, flags=["--quota-backend-bytes", str(QUOTA_BYTES)]) as c:
        clients = [Client(m) for m in c.members]
        alarms(clients[0], say)
        life(clients, say)
    with Cluster(binary) as c:
        limits(Client(c.members[0]), say)
    return facts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours")
    parser.add_argument("--other")
    parser.add_argument("--members", type=int, default=1)
    args = parser.parse_args()
    ours = run(args.ours, args.members)
    theirs = run(args.other or debian_etcd(), args.members)
    assert [f for f in ours if f[0] == "full"][0][1] == NO_SPACE
    bad = 0
    for a, b in zip(theirs, ours):
        if a != b:
            print("theirs %s\nours   %s" % (a, b))
            bad += 1
    assert len(ours) == len(theirs)
    print("%d facts, %d differ" % (len(ours), bad))
    return 1 if bad else 0


if __name__ == "__main__":
    leave(main())
