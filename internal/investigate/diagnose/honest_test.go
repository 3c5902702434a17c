package diagnose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ottla/internal/investigate/evidence"
)

// without removes what a source would have brought.
var without = map[string]func(s *evidence.Scan){
	evidence.SourceTails:   func(s *evidence.Scan) { s.Tails = nil },
	evidence.SourceCounter: func(s *evidence.Scan) { s.Counter = nil },
	evidence.SourceClock:   func(s *evidence.Scan) { s.Clock = nil },
	evidence.SourceOffsets: func(s *evidence.Scan) {
		for i := range s.Partitions {
			s.Partitions[i].Start, s.Partitions[i].End, s.Partitions[i].Since = -1, -1, -1
		}
		for i := range s.Topics {
			s.Topics[i].FirstTime = 0
		}
	},
	evidence.SourceConfigs: func(s *evidence.Scan) {
		for i := range s.Brokers {
			s.Brokers[i].Configs = nil
		}
		for i := range s.Topics {
			s.Topics[i].Configs = nil
		}
	},
	evidence.SourceAPIVersions: func(s *evidence.Scan) {
		s.Cluster.VersionLeast, s.Cluster.VersionMost, s.Cluster.Vendor, s.Cluster.IDs = "", "", evidence.VendorUnknown, evidence.IDsUnknown
	},
}

func deny(s *evidence.Scan, names ...string) *evidence.Scan {
	for _, name := range names {
		without[name](s)
		for i := range s.Sources {
			if s.Sources[i].Name == name {
				s.Sources[i].State, s.Sources[i].Why, s.Sources[i].Permission = evidence.Denied, "refused", ""
			}
		}
	}
	return s
}

// scans are named scans for the golden file: what each verdict says, and what it does not claim.
var scans = map[string]func() *evidence.Scan{
	"storm": func() *evidence.Scan { return stormScan() },
	"storm-heap unknown": func() *evidence.Scan {
		s := stormScan()
		s.Given.HeapBytes = 0
		return s
	},
	"storm-large heap": func() *evidence.Scan {
		s := stormScan()
		s.Given.HeapBytes = 31 << 30
		return s
	},
	"storm on 2.3": func() *evidence.Scan {
		s := deny(stormScan(), evidence.SourceConfigs)
		s.Given.Version = "2.3.1"
		return s
	},
	"storm on 2.8": func() *evidence.Scan {
		s := deny(stormScan(), evidence.SourceConfigs)
		s.Given.Version = "2.8.2"
		return s
	},
	"storm without tails":               func() *evidence.Scan { return deny(stormScan(), evidence.SourceTails) },
	"storm without counter":             func() *evidence.Scan { return deny(stormScan(), evidence.SourceCounter) },
	"storm without clock":               func() *evidence.Scan { return deny(stormScan(), evidence.SourceClock) },
	"storm without counter and clock":   func() *evidence.Scan { return deny(stormScan(), evidence.SourceCounter, evidence.SourceClock) },
	"storm without offsets":             func() *evidence.Scan { return deny(stormScan(), evidence.SourceOffsets) },
	"storm without configs":             func() *evidence.Scan { return deny(stormScan(), evidence.SourceConfigs) },
	"storm without versions":            func() *evidence.Scan { return deny(stormScan(), evidence.SourceAPIVersions) },
	"storm without tails and counter":   func() *evidence.Scan { return deny(stormScan(), evidence.SourceTails, evidence.SourceCounter) },
	"healthy":                           func() *evidence.Scan { return traps["plain"](1) },
	"healthy without tails":             func() *evidence.Scan { return deny(traps["plain"](1), evidence.SourceTails) },
	"healthy without counter":           func() *evidence.Scan { return deny(traps["plain"](1), evidence.SourceCounter) },
	"healthy without tails and counter": func() *evidence.Scan { return deny(traps["plain"](1), evidence.SourceTails, evidence.SourceCounter) },
	"nothing at all":                    func() *evidence.Scan { return &evidence.Scan{} },
	"random ids": func() *evidence.Scan {
		s := stormScan()
		s.Cluster.Vendor, s.Cluster.IDs = evidence.VendorKfake, evidence.IDsRandom
		return s
	},
	"ottla": func() *evidence.Scan {
		s := stormScan()
		s.Cluster.Vendor = evidence.VendorOttla
		return s
	},
	"redpanda": func() *evidence.Scan {
		s := stormScan()
		s.Cluster.Vendor = evidence.VendorRedpanda
		for i := range s.Brokers {
			s.Brokers[i].Configs = map[string]evidence.Value{keyRedpandaProducers: {Value: "100000", Source: "default"}}
		}
		return s
	},
	"warpstream": func() *evidence.Scan {
		s := stormScan()
		s.Cluster.Vendor = evidence.VendorWarpStream
		return s
	},
	"half the topics denied": func() *evidence.Scan {
		s := deny(traps["plain"](1), evidence.SourceCounter)
		s.Source(evidence.SourceTails).State = evidence.Partly
		s.Tails = slices.DeleteFunc(s.Tails, func(t evidence.Tail) bool { return t.Topic == "clicks" })
		return s
	},
	"future timestamps": func() *evidence.Scan {
		h, ev := healthyBase(3)
		h.topic("dated", 1)
		for i := range 30 {
			h.write("dated", 0, stored{at: ago(time.Hour).Add(time.Duration(i) * time.Minute), pid: 3, sequence: int32(7 + i), records: 1, future: 365 * day})
		}
		h.run(ev)
		return h.scan()
	},
	"churn of transactional ids": func() *evidence.Scan {
		h, ev := healthyBase(3)
		h.topic("tx", 2)
		for i := range 4000 {
			at := ago(2 * time.Hour).Add(time.Duration(i) * 1800 * time.Millisecond)
			ev = append(ev, event{at, func(at time.Time) { h.write("tx", i%2, stored{at: at, pid: h.id(at), txn: true, records: 1}) }})
		}
		h.run(ev)
		s := h.scan()
		s.Given.HeapBytes = 4 << 20
		s.Transactions = &evidence.TransactionsSeen{Listed: 4000, Prefixes: map[string]int64{"job-": 4000}}
		return s
	},
	"a copied leak": func() *evidence.Scan {
		s := stormScan()
		for i := range s.Tails {
			for j := range s.Tails[i].Producers {
				if s.Tails[i].Topic == "payments.audit" {
					s.Tails[i].Producers[j].PID += 5_000_000_000
				}
			}
		}
		s.Counter = traps["plain"](1).Counter
		return s
	},
	"one owner": func() *evidence.Scan {
		s := stormScan()
		s.ACLs = &evidence.ACLsSeen{Topics: []string{"payments.audit"}, ACLs: []evidence.ACL{
			{Principal: "User:billing-push", Operation: "WRITE", Permission: "ALLOW", Resource: "topic:payments.", Pattern: "prefixed"},
			{Principal: "User:reader", Operation: "READ", Permission: "ALLOW", Resource: "topic:payments.audit", Pattern: "literal"},
			{Principal: "User:other", Operation: "ALL", Permission: "ALLOW", Resource: "topic:orders", Pattern: "literal"},
		}}
		return s
	},
}

// recordedStorm is made once: each test gets its own copy.
var recordedStorm = sync.OnceValue(func() []byte {
	s := storm(5, 3, 38, 90*time.Minute, 6, 1).scan()
	s.Given.HeapBytes = 1 << 30
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
})

func stormScan() *evidence.Scan {
	var s evidence.Scan
	if err := json.Unmarshal(recordedStorm(), &s); err != nil {
		panic("BUG: " + err.Error())
	}
	return &s
}

func TestGolden(t *testing.T) {
	datadriven.RunTest(t, "testdata/verdicts", func(t *testing.T, d *datadriven.TestData) string {
		var name string
		d.ScanArgs(t, "scan", &name)
		name = strings.ReplaceAll(name, "_", " ")
		make, ok := scans[name]
		if !ok {
			t.Fatalf("no scan %q", name)
		}
		v := Diagnose(make())
		checkSane(t, v)
		var b strings.Builder
		fmt.Fprintf(&b, "%d %s\n", v.Exit, v.Sentence)
		for _, line := range v.Details {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		for _, h := range v.Horsemen {
			fmt.Fprintf(&b, "%-3s %-11s %-9s %s\n", h.ID, h.Status, h.Confidence, h.Sentence)
		}
		fmt.Fprintf(&b, "births known=%t by %s; onset known=%t %s\n", v.Births.Known, v.Births.Source, v.Onset.Known, v.Onset.Why)
		for _, x := range v.Blind {
			if x.State == evidence.Denied {
				fmt.Fprintf(&b, "blind: %s: %s (%s)\n", x.Source, x.Matters, x.Permission)
			}
		}
		return b.String()
	})
}

// TestOthersHideNoStorm: what other applications write to the leaking topic, without idempotence, makes the leak no smaller.
func TestOthersHideNoStorm(t *testing.T) {
	h := newHistory(3, 3)
	h.topic("orders", 4)
	ev := h.leak("orders", 50, ago(10*time.Minute), 1, 1)
	for at := ago(10 * time.Minute); at.Before(h.now.Add(25 * time.Second)); at = at.Add(10 * time.Millisecond) {
		ev = append(ev, event{at, func(at time.Time) {
			h.write("orders", h.rng.IntN(4), stored{at: at, pid: -1, records: 10})
		}})
	}
	h.run(ev)
	s := h.scan()
	s.Given.HeapBytes = 1 << 30
	v := Diagnose(s)
	if v.Level != Storm || statusOf(v.Horsemen, "H2") != Found || !strings.Contains(sentenceOf(v.Horsemen, "H2"), "of the suspect topics' batches carry a producer id, those") {
		t.Errorf("%s: %s %+v", v.Level, v.Sentence, v.Horsemen[1])
	}
}

// TestTimesBeyondTheCalendar: a verdict on a scan whose times are nonsense still has a form in JSON.
func TestTimesBeyondTheCalendar(t *testing.T) {
	s := smallStorm()
	s.Ended, s.Counter, s.Clock = time.Time{}, nil, nil
	for i := range int64(20) {
		p := evidence.ClockPoint{Time: 1_700_000_000_000 + i, PID: 10 + i}
		if i > 10 {
			p = evidence.ClockPoint{Time: 9_000_000_000_000_000 + 1000*i, PID: 100_000_000 * i}
		}
		s.Clock = append(s.Clock, p)
	}
	v := Diagnose(s)
	if !v.Onset.Known {
		t.Errorf("%+v", v.Onset)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
	end := time.Date(9999, 12, 31, 20, 0, 0, 0, time.UTC)
	sick := patient{perSecond: 0.5, onset: end.Add(-20 * time.Hour), fixed: end.Add(365 * day), life: 6 * time.Hour, sets: true}
	cured := sick
	cured.fixed = end.Add(5 * time.Minute)
	fix := VerifyFix([]*evidence.Scan{sick.scan(end), cured.scan(end.Add(3 * time.Hour))})
	if _, err := json.Marshal(fix); err != nil || fix.Done.IsZero() {
		t.Errorf("%v %+v", err, fix)
	}
}

// TestLivesBeyondTheSample: producers that live for half a minute write in both rounds, as restarted ones do. The clock tells that they have
// been made for longer than a restart takes; where it does not, the same sample is a restart.
func TestLivesBeyondTheSample(t *testing.T) {
	h := newHistory(2, 1)
	h.topic("orders", 2)
	h.topic("functions", 4)
	h.tail = 60
	ev := h.singletons("orders", 5, ago(30*day), time.Hour, 10*365*day)
	end := h.now.Add(25 * time.Second)
	for at := ago(80 * time.Minute); at.Before(end); at = at.Add(200 * time.Millisecond) {
		ev = append(ev, event{at, func(at time.Time) {
			pid := h.id(at)
			for i := range int32(6) {
				h.write("functions", int(pid%4), stored{at: at.Add(time.Duration(i) * 5 * time.Second), pid: pid, sequence: i, records: 1})
			}
		}})
	}
	h.run(ev)
	s := h.scan()
	v := Diagnose(s)
	if h1 := v.Horsemen[0]; v.Level != Armed || h1.Status != Half || len(v.Suspects) != 1 || v.Suspects[0].Name != "functions" || !strings.Contains(h1.Sentence, "longer than a restart takes") {
		t.Errorf("%s: %s %+v", v.Level, v.Sentence, h1)
	}
	s.Clock = slices.DeleteFunc(s.Clock, func(p evidence.ClockPoint) bool {
		return p.Topic == "functions" && s.Ended.UnixMilli()-p.Time > 600_000
	})
	if v = Diagnose(s); v.Level != Healthy {
		t.Errorf("%s: %s %+v", v.Level, v.Sentence, v.Horsemen[0])
	}
}
