package broker

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// The hand-written encoders must write, for every version and whatever is answered,
// the bytes that kmsg writes.

func encodingBroker() *Broker {
	return New(Options{NodeID: 7, Rack: "a", Advertised: func(listener string) (string, int32) { return "host." + listener, 9092 }})
}

var encodingSession = &wire.Session{Listener: "OUTSIDE"}

func randomText(r *rand.Rand) *string {
	if r.IntN(3) == 0 {
		return nil
	}
	s := string(bytes.Repeat([]byte("ä"), r.IntN(100)))
	return &s
}

func randomCode(r *rand.Rand) int16 {
	return []int16{0, 0, 0, codeNotLeaderOrFollower, codeFencedLeaderEpoch, codeOutOfOrderSequence}[r.IntN(6)]
}

func TestProduceResponseEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := encodingBroker()
	for version := int16(0); version <= 13; version++ {
		for range 200 {
			p := &produceReply{b: b, version: version, session: encodingSession}
			want := kmsg.NewPtrProduceResponse()
			want.Version = version
			for range r.IntN(4) {
				randomProducedTopic(r, p, want)
			}
			if got, want := p.AppendTo([]byte("x")), want.AppendTo([]byte("x")); !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
		}
	}
}

func randomProducedTopic(r *rand.Rand, p *produceReply, want *kmsg.ProduceResponse) {
	topic := producedTopic{name: "topic", id: [16]byte{byte(r.IntN(256)), 2}, parts: r.IntN(4)}
	wt := kmsg.NewProduceResponseTopic()
	wt.Topic, wt.TopicID = topic.name, topic.id
	for range topic.parts {
		part := produced{index: r.Int32(), code: randomCode(r), baseOffset: r.Int64(), logAppendTime: r.Int64() - 5,
			logStart: -1, message: randomText(r), leaderEpoch: int32(r.IntN(3)) - 1}
		wp := kmsg.NewProduceResponseTopicPartition()
		wp.Partition, wp.ErrorCode, wp.BaseOffset, wp.LogAppendTime = part.index, part.code, part.baseOffset, part.logAppendTime
		wp.ErrorMessage = part.message
		for range r.IntN(3) {
			part.recordErrors = append(part.recordErrors, recordError{index: 3, message: "bad"})
			text := "bad"
			we := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			we.RelativeOffset, we.ErrorMessage = 3, &text
			wp.ErrorRecords = append(wp.ErrorRecords, we)
		}
		if p.version >= produceLeaderMin && part.code == codeNotLeaderOrFollower {
			wp.CurrentLeader.LeaderID, wp.CurrentLeader.LeaderEpoch = 7, part.leaderEpoch
			rack := "a"
			want.Brokers = []kmsg.ProduceResponseBroker{{NodeID: 7, Host: "host.OUTSIDE", Port: 9092, Rack: &rack}}
		}
		p.parts = append(p.parts, part)
		wt.Partitions = append(wt.Partitions, wp)
	}
	p.topics = append(p.topics, topic)
	want.Topics = append(want.Topics, wt)
}

func TestFetchResponseEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := encodingBroker()
	for version := int16(4); version <= 18; version++ {
		for range 200 {
			f := &fetch{b: b, version: version, session: encodingSession, committed: r.IntN(2) == 0, sessionID: r.Int32()}
			want := kmsg.NewPtrFetchResponse()
			want.Version = version
			if want.SessionID = f.sessionID; r.IntN(5) == 0 {
				f.use.code = codeInvalidFetchSessionEpoch
				want.ErrorCode = codeInvalidFetchSessionEpoch
			}
			for topic := range r.IntN(4) {
				randomFetchTopic(r, f, want, byte(topic))
			}
			compareFetch(t, f, want)
		}
	}
}

func compareFetch(t *testing.T, f *fetch, want *kmsg.FetchResponse) {
	t.Helper()
	wantBytes := want.AppendTo([]byte("x"))
	if got := f.AppendTo([]byte("x")); !bytes.Equal(got, wantBytes) {
		t.Fatalf("version %d:\ngot  %x\nwant %x", f.version, got, wantBytes)
	}
	var joined []byte
	for _, piece := range f.AppendBuffers(net.Buffers{[]byte("x")}) {
		joined = append(joined, piece...)
	}
	if !bytes.Equal(joined, wantBytes) {
		t.Fatalf("version %d: the pieces differ from the whole", f.version)
	}
}

func randomFetchTopic(r *rand.Rand, f *fetch, want *kmsg.FetchResponse, number byte) {
	key := fetchKey{topic: "topic" + string('a'+rune(number))}
	if f.version >= fetchTopicIDMin {
		key = fetchKey{id: [16]byte{number, 1}}
	}
	wt := kmsg.NewFetchResponseTopic()
	wt.Topic, wt.TopicID = key.topic, key.id
	for range r.IntN(4) {
		key.index = r.Int32()
		part := fetchPart{key: key, code: randomCode(r), leaderEpoch: r.Int32(), highWater: r.Int64(), logStart: r.Int64(), omit: r.IntN(3) == 0}
		part.data = make([]byte, []int{0, 10, 200, 3 * segmentBytesMin}[r.IntN(4)])
		if r.IntN(5) == 0 {
			part.diverges, part.divergingEpoch, part.divergingEnd = true, 3, 77
		}
		f.parts = append(f.parts, part)
		if part.omit {
			continue
		}
		wp := kmsg.NewFetchResponseTopicPartition()
		wp.Partition, wp.ErrorCode, wp.HighWatermark, wp.LastStableOffset, wp.LogStartOffset = key.index, part.code, part.highWater, part.highWater, part.logStart
		notFound := part.code != codeNone && part.code != codeNotLeaderOrFollower // no partition here was found
		if notFound || (f.committed && part.code == codeNone && !part.diverges) {
			wp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		}
		wp.RecordBatches = part.data
		if part.diverges {
			wp.DivergingEpoch.Epoch, wp.DivergingEpoch.EndOffset = 3, 77
		}
		if f.version >= fetchLeaderMin && (part.code == codeNotLeaderOrFollower || part.code == codeFencedLeaderEpoch) {
			wp.CurrentLeader.LeaderID, wp.CurrentLeader.LeaderEpoch = 7, part.leaderEpoch
			rack := "a"
			want.Brokers = []kmsg.FetchResponseBroker{{NodeID: 7, Host: "host.OUTSIDE", Port: 9092, Rack: &rack}}
		}
		wt.Partitions = append(wt.Partitions, wp)
	}
	if len(wt.Partitions) > 0 {
		want.Topics = append(want.Topics, wt)
	}
}
