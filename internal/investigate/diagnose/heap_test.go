package diagnose

import (
	"math"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// TestMetricsAreTakenOverEstimates: the heap's size, what lives after a collection, and the number of entries.
func TestMetricsAreTakenOverEstimates(t *testing.T) {
	s := stormScan()
	s.Given.HeapBytes = 0
	for id := range int32(3) {
		s.Metrics = append(s.Metrics, evidence.BrokerMetrics{Broker: id, At: s.Ended, Values: map[string]float64{
			evidence.MetricHeapMax: 512 << 20, evidence.MetricHeapAfterGC: 300 << 20, evidence.MetricProducerIDs: 200_000, evidence.MetricInits: 1e6, evidence.MetricProduces: 1.1e6,
		}})
	}
	v := Diagnose(s)
	if v.Level != Storm || v.Worst == nil || v.Worst.HeapMax != 512<<20 || v.Worst.Entries != 200_000 || len(v.Worst.Sizes) != 0 {
		t.Fatalf("%s: %+v", v.Sentence, v.Worst)
	}
	left := fillable*512*(1<<20) - 300*(1<<20)
	if want := left / (v.Worst.EntryBytes * v.Worst.PerSecond); math.Abs(v.Worst.UntilFull/want-1) > 0.01 {
		t.Errorf("full in %.0f s, want %.0f s", v.Worst.UntilFull, want)
	}
}

// TestBomb: a topic that keeps its data for ever brings all its producers back at once.
func TestBomb(t *testing.T) {
	s := storm(2, 3, 2, 60*time.Hour, 1, 1).scan()
	v := Diagnose(s)
	records := float64(s.Partitions[len(s.Partitions)-1].End)
	if want := records * EntryBytes("3.6", 1, 0, false); v.Worst == nil || v.Worst.BombTopic != "payments.audit-0" || math.Abs(v.Worst.BombBytes/want-1) > 0.02 {
		t.Errorf("bomb %+v, want %.0f bytes", v.Worst, want)
	}
}

// TestSetsCountLiveEntries: DescribeProducers is taken over what rates tell, and is carried on while a storm goes on.
func TestSetsCountLiveEntries(t *testing.T) {
	s := stormScan()
	early := s.Started
	for p := range int32(6) {
		s.Sets = append(s.Sets, evidence.ProducerSet{Topic: "payments.audit", Partition: p, At: early, Producers: 30_000, EpochZero: 30_000, SequenceZero: 30_000})
	}
	v := Diagnose(s)
	passed := s.Ended.Sub(early).Seconds() * v.Suspects[0].EntriesPerSecond
	if got := float64(v.Suspects[0].Live); v.Suspects[0].LiveSource != evidence.SourceSets || math.Abs(got-180_000-passed) > 2 {
		t.Errorf("%v live by %s, want %.0f", got, v.Suspects[0].LiveSource, 180_000+passed)
	}
	if v.Horsemen[0].Confidence != Confirmed {
		t.Errorf("%+v", v.Horsemen[0])
	}
}

// TestRecordsCountLiveEntries: without DescribeProducers (before 2.8) the records of a topic that only ever had newborn producers count them,
// whatever the rate was meanwhile; where the topic is older than the leak they do not.
func TestRecordsCountLiveEntries(t *testing.T) {
	s := stormScan()
	s.Sets, s.Clock = nil, nil
	v := Diagnose(s)
	if got := v.Suspects[0]; got.LiveBound <= 0 || math.Abs(float64(got.Live)/float64(got.LiveBound)-1) > 0.05 {
		t.Errorf("%d live by %s, want about %d", got.Live, got.LiveSource, got.LiveBound)
	}
	s = stormScan()
	s.Sets = nil
	for i := range s.Topics {
		s.Topics[i].FirstTime = s.Ended.Add(-1000 * time.Hour).UnixMilli()
	}
	if v = Diagnose(s); !v.Onset.Known || v.Suspects[0].LiveSource != "computed: rate x min(age, life)" {
		t.Errorf("onset known: %v; %d live by %s, want by rate", v.Onset.Known, v.Suspects[0].Live, v.Suspects[0].LiveSource)
	}
}

// TestRateByTheEndsOfPartitions: a fetch of the second round may stop early, at the end of a segment; the rate is that of the partition.
func TestRateByTheEndsOfPartitions(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 10, 0, 0, time.UTC)
	tails := []*evidence.Tail{{From: 1900, To: 2200, End: 2200, At: at}, {From: 2600, To: 2610, End: 3000, At: at.Add(10 * time.Second)}}
	if got := partitionRateOf(0, tails, 310, false); got.perSecond != 80 || !got.byOffsets {
		t.Errorf("%+v, want 80 a second by offsets", got)
	}
}

// burstThatIsOver is a scan without sets after a burst of newborn producers in four partitions, and how many records it has left.
func burstThatIsOver() (s *evidence.Scan, records int64) {
	h := newHistory(7, 1)
	h.tail = 100
	h.topic("orders", 3)
	h.topic("payments.audit", 4)
	ev := h.singletons("orders", 12, ago(30*time.Minute), time.Minute, day)
	for _, e := range h.leak("payments.audit", 50, ago(10*time.Minute), 1, 1) {
		if e.at.Before(ago(3 * time.Minute)) {
			ev = append(ev, e)
		}
	}
	h.run(ev)
	s = h.scan()
	s.Sets, s.Given.HeapBytes = nil, 512<<20
	for _, p := range s.Partitions {
		if p.Topic == "payments.audit" {
			records += p.End
		}
	}
	return s, records
}

// makeOlder has the topics be there long before the burst: then its records do not count it.
func makeOlder(s *evidence.Scan) {
	for i := range s.Topics {
		s.Topics[i].FirstTime = s.Ended.Add(-1000 * time.Hour).UnixMilli()
	}
}

// TestEntriesOfABurstThatIsOver: nothing leaks any more, and before 2.8 no broker counts what is left; the records of the topic that the burst
// began with do. In a topic that is older they do not, and the verdict says so.
func TestEntriesOfABurstThatIsOver(t *testing.T) {
	s, records := burstThatIsOver()
	v := Diagnose(s)
	if v.Level != Healthy || len(v.Suspects) != 0 || records < 15_000 {
		t.Fatalf("%s: %d records", v.Sentence, records)
	}
	if got := v.Worst.Entries; math.Abs(float64(got)/float64(records)-1) > 0.05 || v.Worst.Bytes < float64(got)*100 || v.Worst.Plateau != 0 || v.Worst.UntilFull != -1 {
		t.Errorf("%+v, want %d entries", v.Worst, records)
	}
	s, _ = burstThatIsOver()
	makeOlder(s)
	if v = Diagnose(s); v.Worst.Entries != 0 || !strings.Contains(v.Worst.Source, "which nothing tells here") {
		t.Errorf("%+v", v.Worst)
	}
}

// TestPartitionsThatWereAsked: of a burst that is over, a partition whose broker was asked counts as it answered, the others by their records;
// where those do not count them the verdict says that something is left out.
func TestPartitionsThatWereAsked(t *testing.T) {
	const answered = 1_000_000
	ask := func(s *evidence.Scan) (others int64) {
		for _, p := range s.Partitions {
			switch {
			case p.Topic != "payments.audit":
			case p.Index == 2:
				s.Sets = append(s.Sets, evidence.ProducerSet{Topic: p.Topic, Partition: p.Index, At: s.Ended, Producers: answered, EpochZero: answered, SequenceZero: answered})
			default:
				others += p.End
			}
		}
		return others
	}
	s, _ := burstThatIsOver()
	others := ask(s)
	v := Diagnose(s)
	if got := v.Worst.Entries - answered; others < 10_000 || math.Abs(float64(got)/float64(others)-1) > 0.05 || strings.Contains(v.Worst.Source, "nothing tells") {
		t.Errorf("%+v: %d entries in partitions that were not asked, want %d", v.Worst, got, others)
	}
	s, _ = burstThatIsOver()
	makeOlder(s)
	ask(s)
	if v = Diagnose(s); v.Worst.Entries != answered || !strings.Contains(v.Worst.Source, "which nothing tells here") {
		t.Errorf("%+v, want %d entries and that there are more", v.Worst, answered)
	}
}

// TestMetricsCountABurstThatIsOver: where a metric gives the broker's entries nothing is left out.
func TestMetricsCountABurstThatIsOver(t *testing.T) {
	s, _ := burstThatIsOver()
	makeOlder(s)
	s.Metrics = append(s.Metrics, evidence.BrokerMetrics{Broker: 0, At: s.Ended, Values: map[string]float64{evidence.MetricProducerIDs: 20_000}})
	if v := Diagnose(s); v.Worst.Entries != 20_000 || strings.Contains(v.Worst.Source, "nothing tells") {
		t.Errorf("%+v, want 20000 entries and nothing left out", v.Worst)
	}
	s.Metrics[0].Values = map[string]float64{evidence.MetricHeapUsed: 1 << 28}
	if v := Diagnose(s); !strings.Contains(v.Worst.Source, "which nothing tells here") {
		t.Errorf("%+v: the metrics do not count entries", v.Worst)
	}
}
