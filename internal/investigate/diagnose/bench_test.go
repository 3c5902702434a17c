package diagnose

import (
	"fmt"
	"testing"

	"ottla/internal/investigate/evidence"
)

// BenchmarkDiagnose is one recorded scan of a storm: a fleet report does it a thousand times.
func BenchmarkDiagnose(b *testing.B) {
	s := stormScan()
	b.ReportAllocs()
	for b.Loop() {
		Diagnose(s)
	}
}

// BenchmarkDiagnose10000Partitions is a large cluster with one leaking topic.
func BenchmarkDiagnose10000Partitions(b *testing.B) {
	s := largeScan()
	b.ReportAllocs()
	for b.Loop() {
		if v := Diagnose(s); v.Level != Storm {
			b.Fatal(v.Sentence)
		}
	}
}

func largeScan() *evidence.Scan {
	s := stormScan()
	s.Given.HeapBytes = 512 << 20
	for i := range 1000 {
		name := fmt.Sprintf("topic-%04d", i)
		s.Topics = append(s.Topics, evidence.Topic{Name: name, FirstTime: 1})
		for p := range 10 {
			s.Partitions = append(s.Partitions, evidence.Partition{Topic: name, Index: int32(p), Replicas: []int32{0, 1, 2}, End: 1e6, Since: 1e6 - 20000})
			for round := range 2 {
				t := evidence.Tail{Topic: name, Partition: int32(p), Round: round, At: s.Ended, From: 9e5, To: 1e6, FirstTime: s.Ended.UnixMilli() - 3_600_000, LastTime: s.Ended.UnixMilli(), Batches: 900, Idempotent: 900, Records: 1e5}
				for pid := range 5 {
					t.Producers = append(t.Producers, evidence.Producer{PID: int64(i*50 + pid), FirstSequence: 100, Batches: 180, FirstTime: t.FirstTime, LastTime: t.LastTime})
				}
				s.Tails = append(s.Tails, t)
			}
		}
	}
	return s
}

func TestLargeCluster(t *testing.T) {
	v := Diagnose(largeScan())
	if v.Level != Storm || len(v.Suspects) != 1 || v.Suspects[0].Name != "payments.audit" {
		t.Errorf("%s: %s", v.Level, v.Sentence)
	}
	checkSane(t, v)
}
