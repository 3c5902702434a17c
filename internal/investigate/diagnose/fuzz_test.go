package diagnose

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// scramble changes a value's parts at random: extreme numbers, cut lists, swapped names, missing parts.
func scramble(rng *rand.Rand, v reflect.Value, rarely int) {
	if rng.IntN(rarely) == 0 && v.CanSet() {
		switch v.Kind() {
		case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
			extremes := []int64{0, -1, 1, math.MaxInt64, math.MinInt64, 1 << 31, -1 << 31, rng.Int64()}
			n := extremes[rng.IntN(len(extremes))]
			v.SetInt(n >> (64 - v.Type().Bits()))
			return
		case reflect.Float64:
			extremes := []float64{0, -1, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64}
			v.SetFloat(extremes[rng.IntN(len(extremes))])
			return
		case reflect.Bool:
			v.SetBool(!v.Bool())
			return
		case reflect.String:
			words := []string{"", "payments.audit", "-1", "1e400", "3.99", "redpanda", "ottla", "apache-kafka", "random", "global", "blocks", "denied", "seen"}
			v.SetString(words[rng.IntN(len(words))])
			return
		case reflect.Slice:
			if n := v.Len(); n > 0 {
				v.SetLen(rng.IntN(n + 1))
			}
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			if rng.IntN(rarely) == 0 && v.CanSet() {
				v.Set(reflect.ValueOf(time.UnixMilli(rng.Int64N(1 << 43)).UTC()))
			}
			return
		}
		for i := range v.NumField() {
			scramble(rng, v.Field(i), rarely)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			scramble(rng, v.Elem(), rarely)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			scramble(rng, v.Index(i), rarely)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(key))
			scramble(rng, item, rarely)
			v.SetMapIndex(key, item)
		}
	}
}

// smallStorm is a scan of every part, small enough to be scrambled thousands of times.
func smallStorm() *evidence.Scan {
	h := storm(9, 3, 0.5, 2*time.Hour, 2, 1)
	h.tail = 60
	s := h.scan()
	s.Given.HeapBytes = 1 << 30
	s.Sets = []evidence.ProducerSet{{Topic: "payments.audit", Partition: 0, At: s.Ended, Producers: 900, EpochZero: 900, SequenceZero: 900, LeastPID: 1, MostPID: 9000, Future: 2, FutureTime: s.Ended.UnixMilli() + 1e9}}
	s.Transactions = &evidence.TransactionsSeen{Listed: 5, Prefixes: map[string]int64{"a-": 5}, Known: []evidence.Transaction{{ID: "a", PID: 3, State: "Ongoing"}}}
	s.ACLs = &evidence.ACLsSeen{Topics: []string{"payments.audit"}, ACLs: []evidence.ACL{{Principal: "User:a", Operation: "WRITE", Permission: "ALLOW", Resource: "topic:payments", Pattern: "prefixed"}}}
	s.Fingerprints = []evidence.Fingerprint{{Topic: "payments.audit", PID: 4, HeaderKeys: map[string]int64{"trace": 3}, SchemaID: 7}}
	s.Attributions = []evidence.Attribution{{From: "log", ClientID: "c", Principal: "User:a", Inits: 30, Produces: 31, Seconds: 60}}
	s.Metrics = []evidence.BrokerMetrics{{Broker: 1, At: s.Ended, Values: map[string]float64{evidence.MetricHeapMax: 1 << 30, evidence.MetricHeapUsed: 1 << 29, evidence.MetricHeapAfterGC: 1 << 28, evidence.MetricProducerIDs: 1200, evidence.MetricInits: 900, evidence.MetricProduces: 1800}}}
	return s
}

func FuzzDiagnose(f *testing.F) {
	recorded, err := json.Marshal(smallStorm())
	if err != nil {
		f.Fatal(err)
	}
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed*5))
	}
	f.Fuzz(func(t *testing.T, seed uint64, rarely uint8) {
		var s, later evidence.Scan
		if json.Unmarshal(recorded, &s) != nil || json.Unmarshal(recorded, &later) != nil {
			t.Fatal("the recorded scan does not parse")
		}
		rng := rand.New(rand.NewPCG(seed, uint64(rarely)))
		scramble(rng, reflect.ValueOf(&s).Elem(), int(rarely)+2)
		v := Diagnose(&s)
		checkSane(t, v)
		LifeOf(&s.Cluster, s.Brokers, s.Given)
		SuspectTopics(&s, 5)
		if times := RefineClock(s.Clock, len(s.Brokers), 8); len(times) > 8 {
			t.Errorf("%d times asked for, at most 8", len(times))
		}
		if b := EntryBytes(s.Given.Version, rng.NormFloat64()*100, s.Given.HeapBytes, s.Given.CompactHeaders); !(b > 100 && b < 1000) {
			t.Errorf("entry of %v bytes", b)
		}
		fix := VerifyFix([]*evidence.Scan{&s, &later, nil})
		if fix.Exit < 0 || fix.Exit > 3 || fix.Sentence == "" {
			t.Errorf("fix %+v", fix)
		}
		finiteAll(t, "fix", reflect.ValueOf(fix))
	})
}
