package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// together runs n at once; the first failure is this one's.
func together(n int, fn func(i int)) {
	var group sync.WaitGroup
	var failed atomic.Pointer[failure]
	for i := 0; i < n; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() {
				if r := recover(); r != nil {
					f, mine := r.(failure)
					if !mine {
						panic(r)
					}
					failed.CompareAndSwap(nil, &f)
				}
			}()
			fn(i)
		}()
	}
	group.Wait()
	if f := failed.Load(); f != nil {
		panic(*f)
	}
}

func newSession(c *clientv3.Client, ttl int) *concurrency.Session {
	deadline := time.Now().Add(30 * time.Second)
	for {
		session, err := concurrency.NewSession(c, concurrency.WithTTL(ttl))
		if err == nil {
			return session
		}
		if time.Now().After(deadline) {
			fail("session: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func session(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := soon()
	defer cancel()
	one, two := newSession(c, 10), newSession(c, 10)
	first, second := concurrency.NewMutex(one, "mutex"), concurrency.NewMutex(two, "mutex")
	must(first.Lock(ctx), "lock")
	expect(second.TryLock(ctx), concurrency.ErrLocked, "try what is locked")
	expect(c.Txn(ctx).If(first.IsOwner()) != nil, true, "owner")
	must(first.Unlock(ctx), "unlock")
	must(second.TryLock(ctx), "try")
	must(one.Close(), "close")
	must(two.Close(), "close")
	get, err := c.Get(ctx, "mutex/", clientv3.WithPrefix())
	must(err, "get")
	expect(len(get.Kvs), 0, "what closed sessions leave")
}

// stm moves money between accounts: none comes, none goes. Through one member: a serializable read
// at another one may be of a revision that is still to come there.
func stm(s *setting) {
	const accounts, all = 20, 1000
	one := *s
	one.endpoints = s.endpoints[:1]
	c := one.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	name := func(i int) string { return fmt.Sprintf("stm/%02d", i%accounts) }
	for i := 0; i < accounts; i++ {
		_, err := c.Put(ctx, name(i), strconv.Itoa(all))
		must(err, "put")
	}
	levels := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable,
		concurrency.RepeatableReads}
	together(s.clients, func(i int) {
		for turn := 0; turn < 5; turn++ {
			from, to := name(i+turn), name(i*7+turn*3+1)
			if from == to {
				continue
			}
			_, err := concurrency.NewSTM(c, func(t concurrency.STM) error {
				have, _ := strconv.Atoi(t.Get(from))
				got, _ := strconv.Atoi(t.Get(to))
				t.Put(from, strconv.Itoa(have-1))
				t.Put(to, strconv.Itoa(got+1))
				return nil
			}, concurrency.WithIsolation(levels[turn%len(levels)]), concurrency.WithAbortContext(ctx))
			must(err, "stm")
		}
	})
	sum := 0
	get, err := c.Get(ctx, "stm/", clientv3.WithPrefix())
	must(err, "get")
	for _, one := range get.Kvs {
		n, _ := strconv.Atoi(string(one.Value))
		sum += n
	}
	expect(sum, accounts*all, "sum")
}

const turnsEach = 20

// locks: one holder at a time, each with a newer key than the one before.
func locks(s *setting) {
	var holder, turns atomic.Int64
	holder.Store(-1)
	together(s.clients, func(i int) {
		c := s.dial()
		defer c.Close()
		own := newSession(c, 60)
		defer own.Orphan()
		mutex := concurrency.NewMutex(own, "contended")
		for turn := 0; turn < turnsEach; {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			if err := mutex.Lock(ctx); err != nil {
				cancel()
				select {
				case <-own.Done():
					fail("a session ended: %v", err)
				case <-time.After(20 * time.Millisecond): // a member was killed
				}
				continue
			}
			if was := holder.Swap(int64(i)); was != -1 {
				fail("%d holds what %d has", i, was)
			}
			time.Sleep(time.Millisecond)
			if was := holder.Swap(-1); was != int64(i) {
				fail("%d held what %d had", was, i)
			}
			turns.Add(1)
			turn++
			for mutex.Unlock(ctx) != nil {
				time.Sleep(20 * time.Millisecond)
			}
			cancel()
		}
	})
	expect(turns.Load(), s.clients*turnsEach, "turns")
}

// elections: one leader after the other, each with a later revision; who observes sees the last.
func elections(s *setting) {
	c := s.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	watcher := newSession(c, 60)
	var observed atomic.Int64
	stopped := make(chan struct{})
	octx, stop := context.WithCancel(ctx)
	go func() {
		defer close(stopped)
		for octx.Err() == nil {
			for range concurrency.NewElection(watcher, "elected").Observe(octx) {
				observed.Add(1)
			}
		}
	}()
	var leader atomic.Int64
	leader.Store(-1)
	var mutex sync.Mutex
	last := int64(0)
	together(s.clients, func(i int) {
		own := s.dial()
		defer own.Close()
		session := newSession(own, 60)
		defer session.Orphan()
		election := concurrency.NewElection(session, "elected")
		for {
			if err := election.Campaign(ctx, strconv.Itoa(i)); err == nil {
				break
			} else if ctx.Err() != nil {
				fail("campaign: %v", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if was := leader.Swap(int64(i)); was != -1 {
			fail("%d leads where %d does", i, was)
		}
		mutex.Lock()
		if election.Rev() <= last {
			fail("revision %d after %d", election.Rev(), last)
		}
		last = election.Rev()
		mutex.Unlock()
		for election.Proclaim(ctx, "again "+strconv.Itoa(i)) != nil && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		leader.Store(-1)
		for {
			key, rev := election.Key(), election.Rev()
			if err := election.Resign(ctx); err == nil {
				break
			} else if ctx.Err() != nil {
				fail("resign: %v", err)
			}
			election = concurrency.ResumeElection(session, "elected", key, rev)
			time.Sleep(20 * time.Millisecond)
		}
	})
	stop()
	<-stopped
	if observed.Load() == 0 {
		fail("nobody was observed")
	}
}

// keepalive: leases that are kept alive stay, whatever happens to members; others end.
func keepalive(s *setting) {
	deadline := time.Now().Add(time.Duration(s.seconds) * time.Second)
	c := s.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.seconds+60)*time.Second)
	defer cancel()
	forgotten := newSession(c, 5)
	forgotten.Orphan()
	_, err := c.Put(ctx, "forgotten", "x", clientv3.WithLease(forgotten.Lease()))
	must(err, "put")
	together(s.clients, func(i int) {
		own := s.dial()
		defer own.Close()
		session := newSession(own, 8)
		key := fmt.Sprintf("kept/%03d", i)
		for {
			if _, err := own.Put(ctx, key, "x", clientv3.WithLease(session.Lease())); err == nil {
				break
			} else if ctx.Err() != nil {
				fail("put: %v", err)
			}
		}
		select {
		case <-session.Done():
			fail("a session ended %v before its time", time.Until(deadline))
		case <-time.After(time.Until(deadline)):
		}
		for {
			get, err := own.Get(ctx, key)
			if err == nil {
				expect(len(get.Kvs), 1, "the key of a lease that was kept alive")
				break
			}
			if ctx.Err() != nil {
				fail("get: %v", err)
			}
		}
		session.Orphan()
	})
	for {
		get, err := c.Get(ctx, "forgotten")
		if err == nil && len(get.Kvs) == 0 {
			return
		}
		if ctx.Err() != nil {
			fail("a lease that nobody keeps alive does not end")
		}
		time.Sleep(50 * time.Millisecond)
	}
}
