package autopsy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

var (
	testNow  = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	versions = []string{"2.3.1", "2.8.2", "3.3.2", "3.6.2", "3.9.1", "4.3.1"}
)

func parseText(t testing.TB, text string) (*TextLog, []Histogram) {
	t.Helper()
	log, hists, err := readText("text", strings.NewReader(text), testNow, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return log, hists
}

func fixture(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What jcmd printed on six versions of Kafka after 6006 producers wrote one batch or very many and 800 wrote five.
func TestHistogramsOfVersions(t *testing.T) {
	for _, v := range versions {
		_, hists := parseText(t, string(fixture(t, v, "histogram-2.txt")))
		if len(hists) != 1 {
			t.Fatalf("%s: %d histograms", v, len(hists))
		}
		h := &hists[0]
		own := int64(48)
		if v == "2.3.1" {
			own = 40
		}
		if e, b := h.Entries(), h.Batches(); e.Objects != 6806 || e.Bytes != 6806*own || b.Objects != 10030 || b.Bytes != 10030*40 || h.Cut {
			t.Errorf("%s: entries %v, batches %v, cut %v", v, e, b, h.Cut)
		}
		if len(h.Top) != TopClassesMax || h.Top[0].Class != "[B" || h.Total.Bytes < h.Top[0].Bytes {
			t.Errorf("%s: top %v, total %v", v, h.Top[0], h.Total)
		}
	}
}

func TestHistogramText(t *testing.T) {
	const one = "   1:  10  480  org.apache.kafka.storage.internals.log.ProducerStateEntry\n   2:   5  100  [B (java.base@17)\n"
	log, hists := parseText(t, "2026-11-30 10:00:00\n4711:\n num     #instances         #bytes  class name\n---\n"+one+"Total  15  580\nMon Nov 30 11:00:00 UTC 2026\n"+one+"Total 15 580\n"+one)
	if len(hists) != 3 || log.told() {
		t.Fatalf("%d histograms, log told: %v", len(hists), log.told())
	}
	for i, want := range []time.Time{time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC), time.Date(2026, 11, 30, 11, 0, 0, 0, time.UTC), testNow} {
		if !hists[i].At.Equal(want) || hists[i].Index != i || hists[i].Cut != (i == 2) || hists[i].Total != (Count{15, 580}) {
			t.Errorf("histogram %d: %+v", i, hists[i])
		}
	}
	for _, bad := range []string{"1: -1 5 x", "0: 1 5 x", "1: 1 99999999999999999999 x", "x: 1 2 c", "1: 2 3", "1: 1 1 " + strings.Repeat("c", classNameMax+1)} {
		if _, hists := parseText(t, bad); len(hists) != 0 {
			t.Errorf("%q was taken for a histogram", bad)
		}
	}
}

// A redirection in PowerShell writes UTF-16.
func TestHistogramUTF16(t *testing.T) {
	var b bytes.Buffer
	for _, u := range utf16.Encode([]rune("\ufeff 1: 7 336 kafka.log.ProducerStateEntry\r\nTotal 7 336\r\n")) {
		b.Write([]byte{byte(u), byte(u >> 8)})
	}
	_, hists := parseText(t, b.String())
	if len(hists) != 1 || hists[0].Entries().Objects != 7 || hists[0].Cut {
		t.Fatalf("%+v", hists)
	}
}

func TestBrokerLogsOfVersions(t *testing.T) {
	for _, v := range versions {
		log, _ := parseText(t, string(fixture(t, v, "server.log")))
		if v != "4.3.1" && log.Version != v { // its server.log ends before the second start
			t.Errorf("%s: version %q", v, log.Version)
		}
		zooKeeper := strings.HasPrefix(v, "2.")
		if zooKeeper && (len(log.Blocks) != 8 || log.Blocks[7].Next != 8000 || log.Blocks[0].Broker != 1) {
			t.Errorf("%s: blocks %v", v, log.Blocks)
		}
		if log.Configs["transactional.id.expiration.ms"] != "604800000" {
			t.Errorf("%s: configs %v", v, log.Configs)
		}
		largest := int64(0)
		for _, p := range log.Partitions {
			if p.Name == "payments.audit-0" {
				largest = p.Points[len(p.Points)-1].Entries
			}
		}
		want := map[string]int64{"3.3.2": 6000, "3.6.2": 6000, "3.9.1": 6000, "4.3.1": 4000}[v]
		if largest != want {
			t.Errorf("%s: payments.audit-0 has %d entries, want %d", v, largest, want)
		}
	}
	for _, v := range versions[3:] {
		log, _ := parseText(t, string(fixture(t, v, "controller.log")))
		most := int64(0)
		for _, b := range log.Blocks {
			most = max(most, b.Next)
		}
		if most != 7000 {
			t.Errorf("%s: controller.log knows ids up to %d", v, most)
		}
	}
}

func TestMachineLogs(t *testing.T) {
	log, _ := parseText(t, `[2026-11-30 10:00:00,123] ERROR Processor got uncaught exception. (kafka.network.Processor)
java.lang.OutOfMemoryError: Java heap space
	at java.base/java.util.HashMap.resize(HashMap.java:702)
[2026-11-30 10:00:01,000] INFO Client environment:os.memory.max=1024MB (org.apache.zookeeper.ZooKeeper)
[2026-11-30T10:00:02.000+0000][gc] GC(17) Pause Full (G1 Compaction Pause) 5999M->5998M(6144M) 812.1ms
java.lang.OutOfMemoryError: GC overhead limit exceeded
`)
	if log.OutOfMem != 2 || log.OutKind != "Java heap space" || log.OutFirst.Minute() != 0 || log.HeapMax != 1<<30 || log.FullPauses != 1 || log.LiveBytes != 5998<<20 {
		t.Errorf("%+v", log)
	}
	if log, _ = parseText(t, "[0.005s][info][gc,init] Heap Max Capacity: 6G\n"); log.HeapMax != 6<<30 {
		t.Errorf("max capacity: %d", log.HeapMax)
	}
	if log, _ = parseText(t, "CommandLine flags: -XX:MaxHeapSize=6442450944 -XX:+UseG1GC\n"); log.HeapMax != 6<<30 {
		t.Errorf("flags: %d", log.HeapMax)
	}
	if log, _ = parseText(t, "2.5: [Full GC (Ergonomics) [PSYoungGen: 1K->0K(9K)] 300000K->299000K(310000K), 1.0 secs]\n"); log.FullPauses != 1 {
		t.Errorf("a full pause of Java 8: %+v", log)
	}
}

// Names and histograms of strangers take no more memory than their limits.
func TestTextIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("1: 1 1 [B\n")
	for i := range 4 * knownClassesMax {
		fmt.Fprintf(&b, "2: 1 1 kafka.x%d.Log\n", i)
	}
	fmt.Fprintf(&b, "[2026-01-01 00:00:00,000] INFO [ProducerStateManager partition=%s-0] Wrote producer snapshot at offset 1 with 1 producer ids\n", strings.Repeat("y", 300))
	log, hists := parseText(t, b.String())
	if len(hists) != 1 || len(hists[0].Classes) != knownClassesMax || len(log.Partitions) != 0 {
		t.Errorf("%d classes, %d partitions", len(hists[0].Classes), len(log.Partitions))
	}
	b.Reset()
	for i := range HistogramsMax + 2 {
		fmt.Fprintf(&b, "1: %d 1 kafka.log.Log\nTotal %d 1\n", i, i)
	}
	if _, hists = parseText(t, b.String()); len(hists) != HistogramsMax || hists[0].Total.Objects != 0 || hists[HistogramsMax-1].Total.Objects != HistogramsMax+1 {
		t.Errorf("%d histograms, from %d to %d", len(hists), hists[0].Total.Objects, hists[HistogramsMax-1].Total.Objects)
	}
	r := &reader{out: &Evidence{}}
	for range 5 {
		log := &TextLog{Partitions: []*LoggedPartition{{Points: make([]Point, PointsMax/2)}}}
		log.Partitions[0].Points[PointsMax/2-1].Entries = 7
		r.bound(log)
		if p := log.Partitions[0].Points; p[len(p)-1].Entries != 7 {
			t.Error("the newest point is gone")
		}
	}
	if r.points > 2*PointsMax {
		t.Errorf("%d points are kept", r.points)
	}
}

func FuzzText(f *testing.F) {
	for _, v := range versions {
		f.Add(fixture(f, v, "server.log"))
		f.Add(fixture(f, v, "histogram-1.txt")[:2000])
	}
	f.Add([]byte("\xff\xfe1\x00:\x00"))
	f.Add([]byte("Replaying ProducerIdsRecord nextProducerId=99999999999999999999"))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, hists, err := readText("fuzz", bytes.NewReader(b), testNow, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		e := &Evidence{Schema: SchemaVersion, At: testNow, Histograms: hists, Logs: []TextLog{*log}}
		checkReport(t, e)
	})
}

// checkReport judges evidence and prints it in every form: whatever was read, that works.
func checkReport(t *testing.T, e *Evidence) *Report {
	t.Helper()
	r := Judge(e)
	if r.Sentence == "" || r.Exit != r.Level.Exit() || len(r.Horsemen) != 6 {
		t.Fatalf("no whole verdict: %+v", r)
	}
	for _, h := range r.Horsemen {
		if h.Sentence == "" && h.Why == "" {
			t.Fatalf("%s says nothing", h.ID)
		}
	}
	var out bytes.Buffer
	for _, err := range []error{JSON(&out, r), Markdown(&out, r), terminal(&out, r, true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"NaN", "+Inf", "%!"} {
		if strings.Contains(r.Sentence+fmt.Sprint(r.Details), bad) {
			t.Fatalf("%s in %s %v", bad, r.Sentence, r.Details)
		}
	}
	return r
}
