package coordinator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/disk"
	"ottla/internal/group"
)

func benchOptions(b *testing.B) worldOptions {
	config := groupConfig()
	config.InitialRebalanceDelay = 100 * time.Millisecond
	return worldOptions{partitions: 50, memory: 16 << 20, dir: b.TempDir(), config: config}
}

// benchWorld is a coordinator of fifty partitions on a real disk.
func benchWorld(b *testing.B) *world {
	b.Helper()
	w, err := openWorld(disk.OS(), benchOptions(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.close(); err != nil {
			b.Error(err)
		}
	})
	waitLoaded(w)
	return w
}

// waitLoaded returns when all shards are loaded.
func waitLoaded(w *world) {
	for {
		err := w.c.List(context.Background(), nil, nil, func(group.Listing) error { return errStop })
		if err == nil || err == errStop {
			if w.c.loads.idle() {
				return
			}
		}
		<-time.After(time.Millisecond)
	}
}

func (q *loads) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.shards) == 0 && q.mu.current == nil
}

// BenchmarkCommits commits one offset at a time for 64 groups, each waiting for its fsync.
func BenchmarkCommits(b *testing.B) {
	w := benchWorld(b)
	var next atomic.Int64
	var wait sync.WaitGroup
	b.ResetTimer()
	for g := range 64 {
		wait.Go(func() {
			id := fmt.Sprintf("group-%d", g)
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if code := w.commit(simple(id, "t0", int32(n%4), n)); code != 0 {
					b.Error(code)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkHeartbeats beats for 500 groups of ten members, one after the other.
func BenchmarkHeartbeats(b *testing.B) {
	w := benchWorld(b)
	var requests []*kmsg.HeartbeatRequest
	var mu sync.Mutex
	var wait sync.WaitGroup
	for g := range 500 {
		wait.Go(func() {
			members, generation := rebalance(b, w, fmt.Sprintf("group-%d", g), 10)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range members {
				req := kmsg.NewPtrHeartbeatRequest()
				req.Version, req.Group, req.MemberID, req.Generation = 4, fmt.Sprintf("group-%d", g), m, generation
				requests = append(requests, req)
			}
		})
	}
	wait.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		req := requests[n%len(requests)]
		if r := ask[*kmsg.HeartbeatResponse](w, req.Group, req); r.ErrorCode != 0 {
			b.Fatal(r.ErrorCode)
		}
	}
}

// BenchmarkRebalance200 makes groups of 200 members: joins, one generation, assignments.
func BenchmarkRebalance200(b *testing.B) {
	w := benchWorld(b)
	b.ResetTimer()
	for n := range b.N {
		rebalance(b, w, fmt.Sprintf("group-%d", n), 200)
	}
}

// rebalance joins members at once and has the first assign all of them.
func rebalance(b *testing.B, w *world, id string, count int) (members []string, generation int32) {
	b.Helper()
	joined := make([]*kmsg.JoinGroupResponse, count)
	var wait sync.WaitGroup
	for i := range joined {
		wait.Go(func() {
			req := joinRequest(id, "")
			req.SessionTimeoutMillis = 600_000
			req.MemberID = ask[*kmsg.JoinGroupResponse](w, id, req).MemberID
			joined[i] = ask[*kmsg.JoinGroupResponse](w, id, req)
		})
	}
	wait.Wait()
	for i, r := range joined {
		if r.ErrorCode != 0 {
			b.Fatal(r.ErrorCode)
		}
		members = append(members, r.MemberID)
		wait.Go(func() {
			sync := kmsg.NewPtrSyncGroupRequest()
			sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, id, joined[i].MemberID, joined[i].Generation
			sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
			for _, m := range joined[i].Members {
				a := kmsg.NewSyncGroupRequestGroupAssignment()
				a.MemberID, a.MemberAssignment = m.MemberID, []byte("assignment")
				sync.GroupAssignment = append(sync.GroupAssignment, a)
			}
			if r := ask[*kmsg.SyncGroupResponse](w, id, sync); r.ErrorCode != 0 {
				b.Error(r.ErrorCode)
			}
		})
	}
	wait.Wait()
	return members, joined[0].Generation
}

// BenchmarkRestart opens a coordinator with a million committed offsets, after a kill: the cold store was flushed before the last
// tenth.
func BenchmarkRestart(b *testing.B) {
	const groups, each = 10_000, 100
	fs, o := disk.OS(), benchOptions(b)
	w, err := openWorld(fs, o)
	if err != nil {
		b.Fatal(err)
	}
	waitLoaded(w)
	for g := range groups {
		if g == groups*9/10 {
			if err := w.store.Flush(); err != nil {
				b.Fatal(err)
			}
		}
		if code := w.commitMany(fmt.Sprintf("group-%d", g), each); code != 0 {
			b.Fatal(code)
		}
	}
	if err := w.close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		w, err := openWorld(fs, o)
		if err != nil {
			b.Fatal(err)
		}
		waitLoaded(w)
		b.StopTimer()
		if offset, code := w.fetch("group-77", "t0", each-1); offset != each-1 || code != 0 {
			b.Fatal(offset, code)
		}
		if err := w.close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// commitMany commits partitions of one topic in one request.
func (w *world) commitMany(id string, count int) int16 {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.RetentionTimeMillis = 9, id, -1, -1
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	m := Commit{Request: req, Response: resp}
	codes := make([]int16, count)
	for i := range count {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(i), int64(i)
		m.Partitions = append(m.Partitions, CommitPartition{Topic: "t0", TopicID: topicID("t0"), Request: &p, Code: &codes[i]})
	}
	if _, err := w.c.CommitOffsets(m, group.Client{}).Wait(context.Background()); err != nil {
		panic(err)
	}
	return codes[0]
}
