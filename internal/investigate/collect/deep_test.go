package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/investigate/evidence"
)

// write appends batches as they are to a partition, one request each.
func write(t testing.TB, c *kfake.Cluster, topic string, partition int32, batches ...made) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	leader := c.LeaderFor(topic, partition)
	for _, m := range batches {
		m.offset = 0
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = 9, -1, 5000
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.TopicID = topic, c.TopicInfo(topic).TopicID
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = partition, build(t, m)
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := client.Broker(int(leader)).Request(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if err := coded(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
}

// leak is so many producers of one batch each, a step apart from ms on.
func leak(firstPID int64, n int, ms, step int64) []made {
	out := make([]made, n)
	for i := range out {
		out[i] = made{pid: firstPID + int64(i), records: 1, ms: ms + int64(i)*step}
	}
	return out
}

// steady is one producer that goes on for n batches.
func steady(pid int64, n int, ms, step int64) []made {
	out := make([]made, n)
	for i := range out {
		out[i] = made{pid: pid, sequence: int32(i), records: 1, ms: ms + int64(i)*step}
	}
	return out
}

// rounds runs sources as Scan does, with between between the rounds.
func rounds(t *testing.T, o Options, between func()) *evidence.Scan {
	t.Helper()
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	s, err := open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	steps := make([]*step, len(sources))
	for i := range sources {
		steps[i] = s.step(&sources[i])
		steps[i].runRound(ctx, 0)
	}
	between()
	for i := range sources {
		if sources[i].twice && steps[i].again() {
			steps[i].runRound(ctx, 1)
		}
		s.scan.Sources = append(s.scan.Sources, steps[i].ledger())
	}
	return s.scan
}

func newbornIn(tails []evidence.Tail, topic string, round int) (pids []int64) {
	for i := range tails {
		if tails[i].Topic != topic || tails[i].Round != round {
			continue
		}
		for _, p := range tails[i].Producers {
			if p.Born {
				pids = append(pids, p.PID)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

func TestTailsSeeALeakInBothRounds(t *testing.T) {
	c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "leak", "steady"))
	now := time.Now().UnixMilli()
	write(t, c, "leak", 0, leak(100, 150, now-200_000, 1000)...)
	write(t, c, "leak", 1, leak(1000, 150, now-200_000, 1000)...)
	write(t, c, "steady", 1, steady(7, 60, now-200_000, 1000)...)
	scan := rounds(t, quick(c), func() { write(t, c, "leak", 0, leak(300, 30, now-2000, 10)...) })
	wantState(t, scan, evidence.SourceTails, evidence.Seen)
	if got := newbornIn(scan.Tails, "leak", 0); len(got) != 300 || got[0] != 100 || got[299] != 1149 {
		t.Errorf("%d newborn in the first round: %v", len(got), got)
	}
	if got := newbornIn(scan.Tails, "leak", 1); len(got) != 30 || got[0] != 300 {
		t.Errorf("%d newborn in the second round, want the 30 that came since: %v", len(got), got)
	}
	if got := newbornIn(scan.Tails, "steady", 1); len(got) > 0 {
		t.Errorf("a healthy topic was read again: %v", got)
	}
	for i := range scan.Tails {
		tail := &scan.Tails[i]
		if tail.Topic == "leak" && tail.Partition == 1 && tail.Round == 1 && (tail.From != 150 || tail.To != 150 || tail.Batches != 0) {
			t.Errorf("nothing came, and the second round says %+v", tail)
		}
	}
}

// A log whose newest batches are many small ones after large ones must be read at its end, and only there.
func TestTailsEndAtTheEnd(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "large", "dense"))
	now := time.Now().UnixMilli()
	for i := range 120 { // 2,000 offsets, some 30 KiB each
		write(t, c, "large", 0, made{pid: 7, sequence: int32(i * 1000), records: 1000, ms: now - 1000})
	}
	for i := range 400 { // few bytes an offset: 256 of them are not much
		write(t, c, "dense", 0, made{pid: 8, sequence: int32(i * 10), records: 10, ms: now - 1000, codec: batch.CodecGzip})
	}
	scan := mustScan(t, quick(c))
	for i := range scan.Tails {
		tail := &scan.Tails[i]
		if tail.Round > 0 {
			continue
		}
		switch tail.Topic {
		case "large":
			if tail.To < 119_000 || tail.Bytes > wholeBatch {
				t.Errorf("a stretch of %d bytes up to %d of 120000", tail.Bytes, tail.To)
			}
		case "dense":
			if tail.To != 4000 || tail.Batches < 200 {
				t.Errorf("%d batches up to %d of 4000", tail.Batches, tail.To)
			}
		}
	}
	if line := scan.Source(evidence.SourceTails); line.Bytes > 2<<20 {
		t.Errorf("%d bytes read", line.Bytes)
	}
}

func TestClockReadsHistory(t *testing.T) {
	const day = 24 * 3600 * 1000
	c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "leak", "old"))
	now := time.Now().UnixMilli()
	start := now - 40*day
	// Two new producers a day; from day 30 on 100 a day more.
	write(t, c, "old", 0, leak(10, 80, start, day/2)...)
	for d := range int64(10) {
		write(t, c, "leak", 0, leak(70+d*100, 99, start+(30+d)*day, day/100)...)
	}
	scan := mustScan(t, quick(c))
	wantState(t, scan, evidence.SourceClock, evidence.Seen)
	if len(scan.Clock) < clockProbes/2 {
		t.Fatalf("%d readings", len(scan.Clock))
	}
	for _, p := range scan.Clock {
		d := float64(p.Time-start) / day
		want := 10 + 2*d
		if d >= 30 {
			want = 70 + 100*(d-30)
		}
		if p.AtLeast || float64(p.PID) < want-3 || float64(p.PID) > want+200 && p.Topic == "leak" || p.Topic == "old" && float64(p.PID) > 13+2*d {
			t.Errorf("on day %.1f: %+v, want about %.0f", d, p, want)
		}
	}
	for i := range scan.Topics {
		want := map[string]int64{"old": start, "leak": start + 30*day}[scan.Topics[i].Name]
		if got := scan.Topics[i].FirstTime; got != want {
			t.Errorf("%s begins at %d, want %d", scan.Topics[i].Name, got, want)
		}
	}
}

func TestClockIsNotReadWithoutALeak(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "steady"))
	for i := range 60 {
		write(t, c, "steady", 0, made{pid: -1, epoch: -1, sequence: -1, ms: time.Now().UnixMilli() - 200_000 + int64(i)*1000})
	}
	scan := mustScan(t, quick(c))
	if line := wantState(t, scan, evidence.SourceClock, evidence.Skipped); line.Requests > 0 || len(scan.Clock) > 0 {
		t.Errorf("%+v, %v", line, scan.Clock)
	}
}

// describe answers DescribeProducers with one producer, long silent, for each record below end, and remembers what it was asked.
func describe(c *kfake.Cluster, now int64) func() []string {
	var mu sync.Mutex
	var asked []string
	c.ControlKey(int16(kmsg.DescribeProducers), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		req := kreq.(*kmsg.DescribeProducersRequest)
		resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewDescribeProducersResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				asked = append(asked, fmt.Sprintf("%s-%d", topic.Topic, p))
				rp := kmsg.NewDescribeProducersResponseTopicPartition()
				rp.Partition = p
				for i := range c.PartitionInfo(topic.Topic, p).HighWatermark {
					a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
					a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp, a.CurrentTxnStartOffset = 1000+i, int32(i%2), int32(i%3), now-i*60_000, -1
					if i == 5 {
						a.LastTimestamp, a.CurrentTxnStartOffset = now+48*3600*1000, 12
					}
					rp.ActiveProducers = append(rp.ActiveProducers, a)
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(asked)
		return asked
	}
}

func TestSetsStayBelowTheCap(t *testing.T) {
	c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "leak", "steady"))
	now := time.Now().UnixMilli()
	write(t, c, "leak", 0, leak(100, 151, now-200_000, 1000)...)
	write(t, c, "leak", 1, leak(1000, 60, now-200_000, 1000)...)
	write(t, c, "steady", 1, steady(7, 60, now-200_000, 1000)...)
	asked := describe(c, now)
	o := quick(c)
	o.SetMax = 150
	scan := mustScan(t, o)
	line := wantState(t, scan, evidence.SourceSets, evidence.Partly)
	if got, want := asked(), []string{"leak-1", "steady-1"}; !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v (%s)", got, want, line.Why)
	}
	if len(scan.Sets) != 2 {
		t.Fatalf("%d sets", len(scan.Sets))
	}
	for _, set := range scan.Sets {
		want := evidence.ProducerSet{
			Topic: set.Topic, Partition: 1, Broker: c.LeaderFor(set.Topic, 1), At: set.At, Producers: 60, LeastPID: 1000, MostPID: 1059, EpochZero: 30,
			SequenceZero: 20, OpenTxn: 1, Future: 1, FutureTime: now + 48*3600*1000, Ages: [9]int64{2, 8, 50},
		}
		if set != want {
			t.Errorf("got  %+v\nwant %+v", set, want)
		}
	}
}

// firstSources runs what describe-producers rests on.
func firstSources(t *testing.T, o Options) *session {
	t.Helper()
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	for _, src := range []*source{&sourceAPIVersions, &sourceMetadata, &sourceConfigs, &sourceOffsets} {
		s.step(src).runRound(t.Context(), 0)
	}
	return s
}

// An entry that has outlived its life stays until the broker looks for it, ten minutes later at most: with a life of a minute, as the remedy sets it,
// that is most of them.
func TestBoundHoldsUntilTheNextCheck(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "leak"))
	c.ControlKey(int16(kmsg.DescribeConfigs), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range kreq.(*kmsg.DescribeConfigsRequest).Resources {
			r, one := kmsg.NewDescribeConfigsResponseResource(), kmsg.NewDescribeConfigsResponseResourceConfig()
			one.Name, one.Value = keyExpiration, kmsg.StringPtr("60000")
			r.ResourceType, r.ResourceName, r.Configs = asked.ResourceType, asked.ResourceName, append(r.Configs, one)
			resp.Resources = append(resp.Resources, r)
		}
		return resp, nil, true
	})
	write(t, c, "leak", 0, leak(100, 60, time.Now().UnixMilli()-3_600_000, 1000)...)
	write(t, c, "leak", 0, leak(200, 40, time.Now().UnixMilli()-300_000, 1000)...)
	write(t, c, "leak", 0, leak(300, 20, time.Now().UnixMilli()-20_000, 1000)...)
	s := firstSources(t, quick(c))
	for _, p := range s.scan.Partitions {
		if p.Topic == "leak" && p.Bound() != 60 {
			t.Errorf("at most %d live producers: %+v", p.Bound(), p)
		}
	}
}

// A partition that grows above the cap between its offsets and the question is not asked.
func TestSetsOfWhatGrows(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "leak"))
	now := time.Now().UnixMilli()
	for p := range int32(2) {
		write(t, c, "leak", p, leak(100, 60, now-200_000, 1000)...)
	}
	asked := describe(c, now)
	o := quick(c)
	o.SetMax = 100
	s := firstSources(t, o)
	write(t, c, "leak", 0, leak(1000, 60, now-100_000, 1000)...)
	sets := s.step(&sourceSets)
	sets.runRound(t.Context(), 0)
	if line := sets.ledger(); !slices.Equal(asked(), []string{"leak-1"}) || line.State != evidence.Partly || !strings.Contains(line.Why, "1 partitions have grown") {
		t.Errorf("asked %v, %+v", asked(), line)
	}
}

// Partitions of a leader that never said what it offers are missing, not done, and not "unsupported".
func TestSetsOfASilentLeader(t *testing.T) {
	for silent, want := range map[int]evidence.State{1: evidence.Partly, 2: evidence.Failed} {
		c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "leak"))
		now := time.Now().UnixMilli()
		for p := range int32(2) {
			if err := c.MoveTopicPartition("leak", p, p); err != nil {
				t.Fatal(err)
			}
			write(t, c, "leak", p, leak(100, 60, now-200_000, 1000)...)
		}
		describe(c, now)
		s := firstSources(t, quick(c))
		for id := range silent {
			s.brokers[int32(id)] = &manners{silent: true}
		}
		sets := s.step(&sourceSets)
		sets.runRound(t.Context(), 0)
		if line := sets.ledger(); line.State != want {
			t.Errorf("%d of 2 silent: %+v, %d sets", silent, line, len(s.scan.Sets))
		}
	}
}

// On Kafka a follower is asked; where it does not know the partition any more, the leader is.
func TestSetsAskFollowers(t *testing.T) {
	for _, stale := range []bool{false, true} {
		c := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "leak"))
		write(t, c, "leak", 0, leak(100, 50, time.Now().UnixMilli()-60_000, 1000)...)
		var asked []int32
		c.ControlKey(int16(kmsg.DescribeProducers), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			req := kreq.(*kmsg.DescribeProducersRequest)
			asked = append(asked, c.CurrentNode())
			resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
			rt, rp := kmsg.NewDescribeProducersResponseTopic(), kmsg.NewDescribeProducersResponseTopicPartition()
			rt.Topic, rp.Partition = req.Topics[0].Topic, req.Topics[0].Partitions[0]
			if stale && c.CurrentNode() != c.LeaderFor(rt.Topic, rp.Partition) {
				rp.ErrorCode = kerr.NotLeaderForPartition.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
		s := firstSources(t, quick(c))
		s.scan.Cluster.Vendor = evidence.VendorKafka
		leader := c.LeaderFor("leak", 0)
		for i := range s.scan.Partitions {
			p := &s.scan.Partitions[i]
			p.Replicas = []int32{p.Leader, (p.Leader + 1) % 3}
		}
		sets := s.step(&sourceSets)
		sets.runRound(t.Context(), 0)
		want := []int32{(leader + 1) % 3}
		if stale {
			want = append(want, leader)
		}
		if line := sets.ledger(); !slices.Equal(asked, want) || line.State != evidence.Seen || len(s.scan.Sets) != 1 || s.scan.Sets[0].Broker != want[len(want)-1] {
			t.Errorf("asked %v, want %v; %+v, %+v", asked, want, line, s.scan.Sets)
		}
	}
}

func TestChoiceOfPartitions(t *testing.T) {
	var parts []*evidence.Partition
	for topic, bound := range map[string]int64{"big": 1000, "mid": 100, "small": 1} {
		for i := range int32(4) {
			parts = append(parts, &evidence.Partition{Topic: topic, Index: i, End: bound + int64(i), Since: 0})
		}
	}
	chosen, left := choose(parts, 3)
	var names []string
	for _, p := range chosen {
		names = append(names, fmt.Sprintf("%s-%d", p.Topic, p.Index))
	}
	want := []string{"big-3", "mid-3", "small-3", "big-2", "big-1", "mid-2", "mid-1", "small-2", "small-1"}
	if !slices.Equal(names, want) || left != 3 {
		t.Errorf("%v, %d left, want %v", names, left, want)
	}
}

func TestFetchRequestsAreBounded(t *testing.T) {
	var work []stretch
	for i := range 1000 {
		work = append(work, stretch{part: &evidence.Partition{Topic: "t", Index: int32(i), Leader: int32(i % 2)}, most: tailBytesMax})
	}
	for _, most := range []int32{0, fetchRequestMin, fetchRequestMax} {
		seen := 0
		for broker, requests := range fetchRequests(work, most) {
			for _, r := range requests {
				var bytes int32
				for _, w := range r {
					bytes += w.most
					seen++
					if w.part.Leader != broker {
						t.Errorf("partition %d asked of broker %d", w.part.Index, broker)
					}
				}
				if bytes > max(most, tailBytesMax) || len(r) > fetchPartitionsMax {
					t.Errorf("a request of %d partitions and %d bytes, at most %d", len(r), bytes, most)
				}
			}
		}
		if seen != len(work) {
			t.Errorf("%d of %d partitions", seen, len(work))
		}
	}
}

// Before a leak there is nobody newborn: the ids of those who write are what the counter had reached.
func TestClockBeforeTheLeak(t *testing.T) {
	const day = 24 * 3600 * 1000
	c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "leak", "old"))
	start := time.Now().UnixMilli() - 40*day
	write(t, c, "old", 0, steady(7, 160, start, day/4)...)
	write(t, c, "leak", 0, leak(8, 400, start+30*day, day/40)...)
	scan := mustScan(t, quick(c))
	var before, after int
	for _, p := range scan.Clock {
		switch leaked := p.Time >= start+30*day; {
		case leaked && !p.AtLeast && p.Topic == "leak":
			after++
		case !leaked && p.PID == 7 && p.Topic == "old" && (p.AtLeast || p.Offset == 0):
			before++
		default:
			t.Errorf("on day %d: %+v", (p.Time-start)/day, p)
		}
	}
	if before < 25 || after < 8 {
		t.Errorf("%d readings before the leak, %d after", before, after)
	}
}
