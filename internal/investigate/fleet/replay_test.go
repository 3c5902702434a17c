package fleet

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// storming is a full scan of three brokers with a leak of 200 producers a second into one topic, beside healthy ones.
func storming(pid, heap int64) *evidence.Scan {
	return full(pid, heap, 200, 50)
}

// full is a scan with so many newborn producers a second, so many of them in each of 20 tails, and 20 healthy topics.
func full(pid, heap int64, rate float64, sampled int) *evidence.Scan {
	start := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s := builder{&evidence.Scan{
		Schema: evidence.SchemaVersion, Tool: "ottla test", Started: start, Ended: start.Add(25 * time.Second), Bootstrap: []string{"kafka.example.com:9092"},
		Given:   evidence.Given{HeapBytes: heap, Version: "4.3"},
		Cluster: evidence.Cluster{ID: "example", Controller: 1, Vendor: evidence.VendorKafka, VersionLeast: "4.3", IDs: evidence.IDsGlobal, TransactionVersion: 1},
		Budget:  evidence.Budget{BytesMax: 1 << 28, RequestsMax: 20_000, Bytes: 1 << 20, Requests: 100},
	}}
	for _, name := range []string{evidence.SourceAPIVersions, evidence.SourceMetadata, evidence.SourceConfigs, evidence.SourceOffsets, evidence.SourceCounter, evidence.SourceTails} {
		s.Sources = append(s.Sources, evidence.Source{Name: name, State: evidence.Seen})
	}
	for id := range int32(3) {
		s.Brokers = append(s.Brokers, evidence.Broker{ID: id + 1, Answered: true})
	}
	s.Counter = []evidence.CounterProbe{{At: start, Broker: 1, PID: pid}, {At: start.Add(20 * time.Second), Broker: 1, PID: pid + 1 + int64(20*rate)}}
	for i := range 20 {
		name := fmt.Sprintf("orders-%d", i)
		s.topic(name, 1)
		for round := range 2 {
			t := evidence.Tail{Topic: name, Round: round, At: start.Add(time.Duration(20*round) * time.Second), To: 1000, Bytes: 1 << 16, Batches: 200, Idempotent: 200, Records: 2000}
			for p := range int64(4) {
				t.Producers = append(t.Producers, evidence.Producer{PID: 100 + p, FirstSequence: 5000, Batches: 50, Records: 500, FirstTime: start.UnixMilli() - 60_000, LastTime: t.At.UnixMilli()})
			}
			t.FirstTime, t.LastTime = start.UnixMilli()-60_000, t.At.UnixMilli()
			s.Tails = append(s.Tails, t)
		}
	}
	if rate == 0 {
		return s.Scan
	}
	const parts = 10
	s.topic("leak", parts)
	for i := range 2 * parts {
		end := start.Add(time.Duration(20*(i/parts)) * time.Second)
		t := evidence.Tail{Topic: "leak", Partition: int32(i % parts), Round: i / parts, At: end, To: 50_000_000 + int64(end.Sub(start).Seconds()*rate/parts), Bytes: 1 << 16, Batches: int64(sampled), Idempotent: int64(sampled), Records: int64(sampled)}
		t.From = t.To - int64(sampled)
		for n := range sampled {
			ago := (float64(sampled-1-n) + float64(i%parts)/parts) * parts / rate
			at := end.UnixMilli() - int64(1000*ago)
			t.Producers = append(t.Producers, evidence.Producer{PID: pid + int64(rate*(end.Sub(start).Seconds()-ago)), Born: true, Batches: 1, Records: 1, FirstTime: at, LastTime: at})
		}
		t.FirstTime, t.LastTime = t.Producers[0].FirstTime, t.Producers[sampled-1].LastTime
		s.Tails = append(s.Tails, t)
	}
	for i := range 48 { // four hours, of which it leaked for one
		ago := time.Duration(48-i) * 5 * time.Minute
		s.Clock = append(s.Clock, evidence.ClockPoint{Time: start.Add(-ago).UnixMilli(), PID: pid - int64(rate*min(ago.Seconds(), 3600)), Topic: "leak", Offset: int64(i)})
	}
	return s.Scan
}

type builder struct{ *evidence.Scan }

func (s builder) topic(name string, partitions int32) {
	s.Topics = append(s.Topics, evidence.Topic{Name: name})
	for i := range partitions {
		s.Partitions = append(s.Partitions, evidence.Partition{Topic: name, Index: i, Leader: 1, Replicas: []int32{1, 2, 3}, Start: 0, End: 50_000_000, Since: 0})
	}
}

// record writes n scans: most healthy, some storms, some small leaks, some sweeps, one that is no scan.
func record(tb testing.TB, n, sampled int) (files []string, bytes int64) {
	tb.Helper()
	dir := tb.TempDir()
	for i := range n {
		var s *evidence.Scan
		switch {
		case i%50 == 0:
			s = full(5_000_000, int64(2+i%7)<<30, 200, sampled)
		case i%50 == 1:
			s = full(5_000_000, 6<<30, 2, sampled)
		case i%50 == 2:
			s = counted(collect.Options{}, int64(i))
		default:
			s = full(5_000_000, 4<<30, 0, sampled)
		}
		text, err := json.Marshal(s)
		if err != nil {
			tb.Fatal(err)
		}
		name := fmt.Sprintf("cluster-%04d.json", i)
		if i == n-1 {
			text = []byte("{}")
		} else if i%2 == 0 {
			var packed strings.Builder
			z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
			_, _ = z.Write(text)
			_ = z.Close()
			text, name = []byte(packed.String()), name+".gz"
		}
		bytes += int64(len(text))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	files, err := Recorded(dir)
	if err != nil || len(files) != n {
		tb.Fatalf("%d files, %v", len(files), err)
	}
	return files, bytes
}

// readScan reads what record wrote; the command's own reader has its tests there.
func readScan(path string) (*evidence.Scan, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var in io.Reader = bytes.NewReader(text)
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			return nil, err
		}
	}
	s := &evidence.Scan{}
	if err := json.NewDecoder(in).Decode(s); err != nil {
		return nil, err
	}
	if s.Schema == 0 {
		return nil, fmt.Errorf("%s: not a recorded scan", path)
	}
	return s, nil
}

func TestReplayOfAThousandClusters(t *testing.T) {
	files, _ := record(t, 1000, 50)
	var mu sync.Mutex
	reading, most := 0, 0
	read := func(path string) (*evidence.Scan, error) {
		mu.Lock()
		reading++
		most = max(most, reading)
		mu.Unlock()
		defer func() { mu.Lock(); reading--; mu.Unlock() }()
		return readScan(path)
	}
	known := list(LevelFull, "cluster-0003")
	known.Clusters[0].Labels = map[string]string{"team": "example"}
	r := Replay(t.Context(), known, files, read, Options{Tool: "ottla test"})
	want := map[diagnose.Level]int{diagnose.Storm: 20, diagnose.Armed: 20, diagnose.Inconclusive: 1, diagnose.Healthy: 959}
	for level, n := range want {
		if r.Levels[level] != n {
			t.Errorf("%d %s, want %d", r.Levels[level], level, n)
		}
	}
	if r.Exit != 2 || r.Clusters != 1000 || most > runtime.GOMAXPROCS(0) {
		t.Errorf("exit %d, %d clusters, %d scans at once", r.Exit, r.Clusters, most)
	}
	for i := range 20 {
		got := &r.Rows[i]
		if got.Level != diagnose.Storm || got.TopTopic != "leak" {
			t.Errorf("row %d: %+v", i, got)
		}
		if i == 0 || got.UntilFull == Never { // their heaps are large enough
			continue
		}
		if before := r.Rows[i-1].UntilFull; before == Never || before > got.UntilFull {
			t.Errorf("row %d: full in %.0f s, the one before in %.0f s", i, got.UntilFull, before)
		}
	}
	if r.Rows[0].UntilFull <= 0 || r.Rows[19].UntilFull != Never {
		t.Errorf("the first is full in %.0f s, the last in %.0f s", r.Rows[0].UntilFull, r.Rows[19].UntilFull)
	}
	if got := row(t, r, "cluster-0003"); got.Labels["team"] != "example" {
		t.Errorf("labels: %+v", got)
	}
	if got := row(t, r, "cluster-0999"); got.Level != diagnose.Inconclusive || !strings.Contains(got.Why, "not a recorded scan") {
		t.Errorf("no scan: %+v", got)
	}
}

// BenchmarkReplay is 1,000 recorded clusters in one report; each leak's sample has 2,000 producers.
func BenchmarkReplay(b *testing.B) {
	files, bytes := record(b, 1000, 100)
	b.SetBytes(bytes)
	for b.Loop() {
		if r := Replay(b.Context(), nil, files, readScan, Options{}); r.Levels[diagnose.Storm] != 20 {
			b.Fatal(r.Levels)
		}
	}
}

// FuzzReplay: whatever a recorded scan says, there is a row, and all forms of the report can be printed.
func FuzzReplay(f *testing.F) {
	for _, s := range []*evidence.Scan{full(5_000_000, 1<<30, 200, 3), counted(collect.Options{}, 5), {}} {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"schema":1,"started":"0000-01-01T00:00:00Z","ended":"9999-12-31T23:59:59-23:59","counter":[{"pid":1,"at":"9999-12-31T23:59:59-23:59"},{"pid":9223372036854775807}],"cluster":{"vendor":"apache-kafka"},"sources":[{"name":"counter","state":"seen"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(string) (*evidence.Scan, error) {
			s := &evidence.Scan{}
			return s, json.Unmarshal(text, s)
		}
		r := Replay(t.Context(), nil, []string{"a.json"}, read, Options{})
		for _, print := range []func(io.Writer, *Report) error{JSON, Markdown, HTML} {
			if err := print(io.Discard, r); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.Rows) != 1 || r.Rows[0].Level == "" {
			t.Fatalf("%+v", r.Rows)
		}
	})
}
