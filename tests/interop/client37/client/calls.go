package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
)

func kv(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	put, err := c.Put(ctx, "kv/a", "1")
	must(err, "put")
	first := put.Header.Revision
	put, err = c.Put(ctx, "kv/a", "2", clientv3.WithPrevKV())
	must(err, "put")
	expect(string(put.PrevKv.Value), "1", "prev_kv")
	_, err = c.Put(ctx, "kv/b", "3")
	must(err, "put")
	get, err := c.Get(ctx, "kv/", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	must(err, "get")
	expect(len(get.Kvs), 2, "keys")
	expect(string(get.Kvs[0].Key), "kv/b", "descending")
	get, err = c.Get(ctx, "kv/a", clientv3.WithRev(first))
	must(err, "get at a revision")
	expect(string(get.Kvs[0].Value), "1", "old value")
	get, err = c.Get(ctx, "kv/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(err, "count")
	expect(get.Count, 2, "count")
	get, err = c.Get(ctx, "kv/", clientv3.WithPrefix(), clientv3.WithLimit(1),
		clientv3.WithSerializable(), clientv3.WithKeysOnly())
	must(err, "limit")
	expect(get.More, true, "more")
	txn, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("kv/a"), "=", "2"),
			clientv3.Compare(clientv3.Version("kv/b"), ">", 0)).
		Then(clientv3.OpPut("kv/c", "4"), clientv3.OpGet("kv/c"),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("kv/d", "5")}, nil)).
		Else(clientv3.OpGet("kv/a")).Commit()
	must(err, "txn")
	expect(txn.Succeeded, true, "succeeded")
	expect(string(txn.Responses[1].GetResponseRange().Kvs[0].Value), "4", "read in a txn")
	deleted, err := c.Delete(ctx, "kv/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	must(err, "delete")
	expect(deleted.Deleted, 4, "deleted")
	expect(len(deleted.PrevKvs), 4, "previous ones")
	_, err = c.Compact(ctx, deleted.Header.Revision, clientv3.WithCompactPhysical())
	must(err, "compact")
	_, err = c.Get(ctx, "kv/a", clientv3.WithRev(first))
	expect(err, rpctypes.ErrCompacted, "compacted")
	_, err = c.Get(ctx, "kv/a", clientv3.WithRev(deleted.Header.Revision+1000))
	expect(err, rpctypes.ErrFutureRev, "future")
	_, err = c.Put(ctx, "", "x")
	expect(err, rpctypes.ErrEmptyKey, "empty key")
}

// next gives the watch's next response that holds events.
func next(ch clientv3.WatchChan) *clientv3.WatchResponse {
	timeout := time.After(20 * time.Second)
	for {
		select {
		case r, ok := <-ch:
			if !ok {
				fail("the watch ended")
			}
			if len(r.Events) > 0 || r.Canceled || r.IsProgressNotify() {
				return &r
			}
		case <-timeout:
			fail("no response of the watch")
		}
	}
}

func watch(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	ch := c.Watch(ctx, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	created := <-ch
	expect(created.Created, true, "created")
	put, err := c.Put(ctx, "w/a", "1")
	must(err, "put")
	r := next(ch)
	expect(r.Events[0].Type, mvccpb.PUT, "type")
	expect(r.Events[0].IsCreate(), true, "create")
	_, err = c.Put(ctx, "w/a", "2")
	must(err, "put")
	r = next(ch)
	expect(string(r.Events[0].PrevKv.Value), "1", "prev_kv")
	_, err = c.Delete(ctx, "w/a")
	must(err, "delete")
	expect(next(ch).Events[0].Type, mvccpb.DELETE, "type")
	must(c.RequestProgress(ctx), "progress")
	expect(next(ch).IsProgressNotify(), true, "progress")
	past := c.Watch(ctx, "w/a", clientv3.WithRev(put.Header.Revision), clientv3.WithFilterDelete())
	events := 0
	for events < 2 {
		events += len(next(past).Events)
	}
	cctx, stop := context.WithCancel(ctx)
	ended := c.Watch(cctx, "w/b")
	stop()
	for range ended {
	}
	_, err = c.Compact(ctx, put.Header.Revision+2)
	must(err, "compact")
	// The member that watches may hear of the compaction a little later.
	for r = next(c.Watch(ctx, "w/a", clientv3.WithRev(put.Header.Revision))); r.Err() == nil; {
		r = next(c.Watch(ctx, "w/a", clientv3.WithRev(put.Header.Revision)))
	}
	expect(r.Err(), rpctypes.ErrCompacted, "compacted")
	expect(r.CompactRevision, put.Header.Revision+2, "compact revision")
}

func lease(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	granted, err := c.Grant(ctx, 30)
	must(err, "grant")
	expect(granted.TTL, 30, "ttl")
	_, err = c.Put(ctx, "lease/a", "", clientv3.WithLease(granted.ID))
	must(err, "put")
	_, err = c.Put(ctx, "lease/b", "", clientv3.WithLease(granted.ID))
	must(err, "put")
	alive, err := c.KeepAliveOnce(ctx, granted.ID)
	must(err, "keep alive once")
	expect(alive.TTL, 30, "ttl")
	ttl, err := c.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	must(err, "time to live")
	expect(len(ttl.Keys), 2, "keys")
	all, err := c.Leases(ctx)
	must(err, "leases")
	found := false
	for _, l := range all.Leases {
		found = found || l.ID == granted.ID
	}
	expect(found, true, "listed")
	ch, err := c.KeepAlive(ctx, granted.ID)
	must(err, "keep alive")
	if r, ok := <-ch; !ok || r.TTL != 30 {
		fail("keep alive: %v", r)
	}
	_, err = c.Revoke(ctx, granted.ID)
	must(err, "revoke")
	get, err := c.Get(ctx, "lease/", clientv3.WithPrefix())
	must(err, "get")
	expect(len(get.Kvs), 0, "keys")
	_, err = c.Revoke(ctx, granted.ID)
	expect(err, rpctypes.ErrLeaseNotFound, "revoke again")
	_, err = c.KeepAliveOnce(ctx, granted.ID)
	expect(err, rpctypes.ErrLeaseNotFound, "keep alive what is gone")
	ttl, err = c.TimeToLive(ctx, granted.ID)
	must(err, "time to live")
	expect(ttl.TTL, -1, "ttl of what is gone")
	_, err = c.Put(ctx, "lease/a", "", clientv3.WithLease(granted.ID))
	expect(err, rpctypes.ErrLeaseNotFound, "put")
}

func maintenance(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	_, err := c.Put(ctx, "m", "1")
	must(err, "put")
	var revision int64
	for _, endpoint := range s.endpoints {
		status, err := c.Status(ctx, endpoint)
		must(err, "status")
		expect(len(status.Errors), 0, "errors")
		if status.Leader == 0 || status.DbSize == 0 || status.DbSizeInUse == 0 ||
			status.DbSizeQuota == 0 || status.RaftAppliedIndex == 0 || status.StorageVersion == "" ||
			status.DowngradeInfo == nil {
			fail("status: %v", status)
		}
		revision = max(revision, status.Header.Revision)
	}
	hashes := map[uint32]bool{}
	for _, endpoint := range s.endpoints {
		for {
			hash, err := c.HashKV(ctx, endpoint, revision)
			if err == rpctypes.ErrFutureRev {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			must(err, "hash")
			expect(hash.HashRevision, revision, "hash revision")
			hashes[hash.Hash] = true
			break
		}
		_, err := c.Defragment(ctx, endpoint)
		must(err, "defragment")
	}
	expect(len(hashes), 1, "hashes")
	alarms, err := c.AlarmList(ctx)
	must(err, "alarms")
	expect(len(alarms.Alarms), 0, "alarms")
	_, err = c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	must(err, "disarm")
	snapshot, err := c.SnapshotWithVersion(ctx)
	must(err, "snapshot")
	data, err := io.ReadAll(snapshot.Snapshot)
	must(err, "snapshot")
	if len(data) < sha256.Size || len(data)%512 != sha256.Size {
		fail("snapshot of %d bytes", len(data))
	}
	sum := sha256.Sum256(data[:len(data)-sha256.Size])
	expect(bytes.Equal(sum[:], data[len(data)-sha256.Size:]), true, "sum of the snapshot")
	list, err := c.MemberList(ctx)
	must(err, "members")
	status, err := c.Status(ctx, s.endpoints[0])
	must(err, "status")
	for _, m := range list.Members {
		if m.ID == status.Leader {
			continue
		}
		// Only the leader moves leadership.
		for _, l := range list.Members {
			if l.ID == status.Leader {
				leader, err := clientv3.New(clientv3.Config{Endpoints: l.ClientURLs})
				must(err, "client")
				_, err = leader.MoveLeader(ctx, m.ID)
				must(err, "move leader")
				leader.Close()
			}
		}
		break
	}
}

func cluster(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	before, err := c.MemberList(ctx)
	must(err, "members")
	added, err := c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	for err == rpctypes.ErrUnhealthy && ctx.Err() == nil { // not yet connected for 5 s
		time.Sleep(100 * time.Millisecond)
		added, err = c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	}
	must(err, "add a learner")
	expect(added.Member.IsLearner, true, "learner")
	expect(len(added.Members), len(before.Members)+1, "members")
	_, err = c.MemberPromote(ctx, added.Member.ID)
	expect(err, rpctypes.ErrMemberLearnerNotReady, "promote who was never there")
	_, err = c.MemberUpdate(ctx, added.Member.ID, []string{"http://127.0.0.1:2"})
	must(err, "update")
	removed, err := c.MemberRemove(ctx, added.Member.ID)
	must(err, "remove")
	expect(len(removed.Members), len(before.Members), "members")
	_, err = c.MemberRemove(ctx, added.Member.ID)
	expect(err, rpctypes.ErrMemberNotFound, "remove again")
}
