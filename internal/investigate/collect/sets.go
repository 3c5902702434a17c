package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// Limits of DescribeProducers.
const (
	setProducerBytes = 37 // of one producer in an answer; KIP-664
	// setsTotalMax bounds the sum of the bounds of all partitions that are asked, in producers.
	setsTotalMax = 2_000_000
	// setsTogether is how many producers, by their bounds, and setsPartitions how many partitions one request asks for; a
	// partition of more producers is asked alone.
	setsTogether   = 20_000
	setsPartitions = 200
	setsMax        = 2_000 // partitions in all
)

var sourceSets = source{
	name:        evidence.SourceSets,
	what:        "the live producers of partitions that cannot have many, counted: the exact state",
	permissions: permissionRead,
	run:         runSets,
	most: func(s *step) (int64, int64) {
		n := min(int64(len(s.scan.Partitions)), setsMax)
		ends := n/offsetsAtOnce + int64(len(s.scan.Brokers))
		return n + ends, min(setsTotalMax, n*min(s.o.SetMax, setsTotalMax))*setProducerBytes + 2*n*lookupBytes
	},
}

// runSets asks for one partition's producers at a time, or for a few small ones' together: an answer has no pages, and both
// the broker and this process hold all of it.
func runSets(ctx context.Context, s *step) error {
	for _, work := range s.setRequests(s.stillSmall(ctx, s.setsWanted())) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		again := s.describe(ctx, work)
		s.progressed(len(work.parts)-len(again), 0)
		for _, p := range again { // not a follower any more
			s.describe(ctx, setRequest{p.Leader, []*evidence.Partition{p}, true})
			s.did()
		}
	}
	return nil
}

// setsWanted are the partitions to ask: those of topics under suspicion first, the largest first, none above the cap.
func (s *step) setsWanted() []*evidence.Partition {
	suspects := diagnose.SuspectTopics(s.scan, diagnose.SuspectsMax)
	tooLarge, unknown := 0, 0
	parts := partitionsOf(s.scan, func(p *evidence.Partition) bool {
		switch b := p.Bound(); {
		case b < 0:
			unknown++
		case b > s.o.SetMax:
			tooLarge++
		case b > 0:
			return true
		}
		return false
	})
	sortByBound(parts)
	slices.SortStableFunc(parts, func(a, b *evidence.Partition) int {
		return order(slices.Contains(suspects, a.Topic), slices.Contains(suspects, b.Topic))
	})
	var total int64
	var out []*evidence.Partition
	for _, p := range parts {
		if len(out) < setsMax && total+p.Bound() <= setsTotalMax {
			total += p.Bound()
			out = append(out, p)
		}
	}
	if tooLarge > 0 {
		s.leftOut(fmt.Sprintf("%d partitions may have more than %d producers and were not asked", tooLarge, s.o.SetMax))
	}
	if unknown > 0 {
		s.leftOut(fmt.Sprintf("%d partitions whose offsets are not known were not asked", unknown))
	}
	if n := len(parts) - len(out); n > 0 {
		s.leftOut(fmt.Sprintf("%d partitions were not asked: at most %d are, with %d producers together", n, setsMax, setsTotalMax))
	}
	return out
}

// stillSmall asks for the ends of logs once more and leaves out what has grown above the cap since the first sources: a storm makes hundreds of
// thousands of producers in the minutes that tails and clock may take. A partition whose leader does not answer keeps its bound.
func (s *step) stillSmall(ctx context.Context, parts []*evidence.Partition) []*evidence.Partition {
	ends := s.session.step(s.src).ends(ctx, parts) // what becomes of these is not what becomes of the source
	grown := 0
	out := parts[:0]
	s.write(func(*evidence.Scan) {
		for _, p := range parts {
			if end, told := ends[p]; told {
				p.End = max(p.End, end)
			}
			if p.Bound() > s.o.SetMax {
				grown++
			} else {
				out = append(out, p)
			}
		}
	})
	if grown > 0 {
		s.leftOut(fmt.Sprintf("%d partitions have grown above %d producers during the scan and were not asked", grown, s.o.SetMax))
	}
	return out
}

// order sorts true before false.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

type setRequest struct {
	broker int32
	parts  []*evidence.Partition
	last   bool // the leader: there is nobody else to ask
}

// setRequests says whom to ask for what. On Kafka any replica knows its producers, so a follower, which has less to do, is
// asked where there is one; elsewhere the leader.
func (s *step) setRequests(parts []*evidence.Partition) []setRequest {
	answering := map[int32]bool{}
	for _, b := range s.answering() {
		answering[b] = s.version(b, kmsg.DescribeProducers) >= 0
	}
	open := map[int32]int{} // index of the request of a broker that has room
	var sums []int64
	var out []setRequest
	for _, p := range parts {
		broker := p.Leader
		if s.scan.Cluster.Vendor == evidence.VendorKafka {
			for _, r := range p.Replicas {
				if r != p.Leader && answering[r] {
					broker = r
					break
				}
			}
		}
		i, has := open[broker]
		if !has || sums[i]+p.Bound() > setsTogether || len(out[i].parts) == setsPartitions || out[i].last != (broker == p.Leader) {
			i = len(out)
			open[broker] = i
			out = append(out, setRequest{broker: broker, last: broker == p.Leader})
			sums = append(sums, 0)
		}
		out[i].parts = append(out[i].parts, p)
		sums[i] += p.Bound()
		s.expect(1)
	}
	return out
}

// describe asks one broker and writes the counts into the scan. again are those that only the leader can answer.
func (s *step) describe(ctx context.Context, work setRequest) (again []*evidence.Partition) {
	req := kmsg.NewPtrDescribeProducersRequest()
	a := ask(work.parts, itself)
	var most int64
	for _, of := range a.topics {
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic = of.topic
		for _, p := range of.work {
			t.Partitions = append(t.Partitions, p.Index)
			most += p.Bound()*setProducerBytes + lookupBytes
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, s.at(work.broker, most))
	if err != nil {
		s.trouble(err, permissionRead)
		return nil
	}
	now := s.now().UTC()
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			answer := &t.Partitions[i]
			p, wanted := a.take(t.Topic, answer.Partition)
			if !wanted {
				continue
			}
			err := coded(answer.ErrorCode)
			if !work.last && (errors.Is(err, kerr.NotLeaderForPartition) || errors.Is(err, kerr.ReplicaNotAvailable) || errors.Is(err, kerr.UnknownTopicOrPartition)) {
				again = append(again, p)
				continue
			}
			set := evidence.ProducerSet{Topic: p.Topic, Partition: p.Index, Broker: work.broker, At: now}
			if err != nil {
				s.trouble(partitionError(p, err), permissionRead)
				set.Error = plain(err)
			} else {
				s.ok()
				countSet(&set, answer.ActiveProducers)
			}
			s.write(func(scan *evidence.Scan) {
				if len(scan.Sets) < evidence.ProducerSetsMax {
					scan.Sets = append(scan.Sets, set)
				}
			})
		}
	}
	a.unanswered(s)
	return again
}

// countSet counts one partition's producers; At is set.
func countSet(set *evidence.ProducerSet, producers []kmsg.DescribeProducersResponseTopicPartitionActiveProducer) {
	now := set.At.UnixMilli()
	set.LeastPID, set.MostPID = -1, -1
	for i := range producers {
		p := &producers[i]
		if set.LeastPID < 0 || p.ProducerID < set.LeastPID {
			set.LeastPID = p.ProducerID
		}
		set.MostPID = max(set.MostPID, p.ProducerID)
		set.Producers++
		if p.ProducerEpoch == 0 {
			set.EpochZero++
		}
		if p.LastSequence == 0 {
			set.SequenceZero++
		}
		if p.CurrentTxnStartOffset >= 0 {
			set.OpenTxn++
		}
		last := max(p.LastTimestamp, 0) // -1: its batches have no date
		if last > now+futureSlack.Milliseconds() {
			set.Future++
			set.FutureTime = max(set.FutureTime, last)
		}
		set.Ages[ageClass(now-last)]++
	}
}

// ageClass is the class of evidence.AgeLimits of an age in ms. The future is young.
func ageClass(age int64) int {
	for i, limit := range evidence.AgeLimits {
		if age < limit.Milliseconds() {
			return i
		}
	}
	return len(evidence.AgeLimits)
}
