package autopsy

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
	"ottla/internal/investigate/report"
)

func terminal(w io.Writer, r *Report, verbose bool) error {
	return Terminal(w, r, report.Style{Verbose: verbose, Colour: verbose})
}

// TestScripts runs testdata/scripts: the block's input is standard input, the rest of the line files and options. Of remedies the
// ids are printed.
//
//	autopsy [heap=6g] [version=3.6] [files=(...)] [markdown] [verbose] [only=N]   prints the report, or its first N lines
func TestScripts(t *testing.T) {
	scripts, err := filepath.Abs("testdata/scripts")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(fixtures(t))
	datadriven.Walk(t, scripts, func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "autopsy" {
				d.Fatalf(t, "unknown command")
			}
			return script(t, d)
		})
	})
}

func script(t *testing.T, d *datadriven.TestData) string {
	o := Options{Tool: "ottla test", Now: testNow, Stdin: strings.NewReader(d.Input)}
	var paths []string
	for _, a := range d.CmdArgs {
		if a.Key == "files" {
			for _, v := range a.Vals {
				paths = append(paths, v)
			}
		}
	}
	if d.Input != "" {
		paths = append(paths, "-")
	}
	var heap string
	if d.MaybeScanArgs(t, "heap", &heap) {
		n, err := phrase.ParseSize(heap)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		o.Given.HeapBytes = n
	}
	d.MaybeScanArgs(t, "version", &o.Given.Version)
	e, err := Read(context.Background(), paths, o)
	if err != nil {
		return err.Error() + "\n"
	}
	r := checkReport(t, e)
	r.Life.Rule = r.Life.Key // the wording is diagnose's
	for i := range r.Remedies {
		r.Remedies[i] = diagnose.Remedy{Kind: r.Remedies[i].Kind, Title: r.Remedies[i].ID}
	}
	var out bytes.Buffer
	if d.HasArg("markdown") {
		err = Markdown(&out, r)
	} else {
		err = Terminal(&out, r, report.Style{Verbose: d.HasArg("verbose")})
	}
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(out.String(), "\n")
	var only int
	if d.MaybeScanArgs(t, "only", &only) {
		lines = lines[:min(only, len(lines))]
	}
	return strings.Join(lines, "")
}

// The canary cluster of the field: one producer for each record.
func TestFieldFixture(t *testing.T) {
	text := `
 num     #instances         #bytes  class name (module)
-------------------------------------------------------
   1:      33900000     3000000000  [Ljava.lang.Object; (java.base@17)
   2:      33476789     1606885872  org.apache.kafka.storage.internals.log.ProducerStateEntry
   3:      33471849     1338873960  org.apache.kafka.storage.internals.log.BatchMetadata
   4:      33900000     1084800000  java.util.HashMap$Node (java.base@17)
Total     180000000     9800000000
`
	_, hists := parseText(t, text)
	e := &Evidence{At: testNow, Given: Given{HeapBytes: 12 << 30}, Histograms: hists}
	r := checkReport(t, e)
	if r.Level != diagnose.Storm || r.Exit != 2 {
		t.Errorf("%s, exit %d", r.Level, r.Exit)
	}
	if gb := r.Heap.Bytes / 1e9; gb < 8.7 || gb > 9.1 {
		t.Errorf("the entries take %.2f GB, want about 8.9", gb)
	}
	if r.Heap.BatchesPerEntry < 0.99 || r.Heap.BatchesPerEntry > 1 || r.Horsemen[0].Status != diagnose.Found {
		t.Errorf("%.3f batches per entry, H1 %s", r.Heap.BatchesPerEntry, r.Horsemen[0].Status)
	}
	for _, want := range []string{"33.5 million", "used once", "GiB"} {
		if !strings.Contains(r.Sentence, want) {
			t.Errorf("%q lacks %q", r.Sentence, want)
		}
	}
}

func histogramAt(at time.Time, entries, batches, used int64) Histogram {
	return Histogram{At: at, AtHow: "test", Total: Count{1, used}, Classes: map[string]Count{
		classEntryJava: {entries, 48 * entries}, classBatchJava: {batches, 40 * batches}, "java.util.HashMap$Node": {entries, 32 * entries}}}
}

func TestTwoHistogramsGiveTheDate(t *testing.T) {
	hour := testNow.Add(-time.Hour)
	e := &Evidence{At: testNow, Given: Given{HeapBytes: 1 << 30, Version: "3.6"}, Histograms: []Histogram{
		histogramAt(testNow, 560_000, 560_000, 300<<20), histogramAt(hour, 200_000, 200_000, 200<<20)}}
	r := checkReport(t, e)
	if !r.Heap.Known || r.Heap.PerSecond != 100 {
		t.Fatalf("growth %v, %v", r.Heap.Known, r.Heap.PerSecond)
	}
	room := 0.9*float64(1<<30) - float64(300<<20)
	want := room / (100 * r.Heap.EntryBytes)
	if r.Heap.UntilFull < want*0.99 || r.Heap.UntilFull > want*1.01 || !r.Heap.FullAt.After(testNow) || r.Level != diagnose.Storm {
		t.Errorf("full in %.0f s at %s, want %.0f s: %s", r.Heap.UntilFull, r.Heap.FullAt, want, r.Level)
	}
	copied := *e
	copied.Histograms = []Histogram{histogramAt(testNow, 560_000, 560_000, 300<<20), histogramAt(testNow.Add(-5*time.Second), 200_000, 200_000, 200<<20)}
	for i := range copied.Histograms {
		copied.Histograms[i].AtHow = fileTime
	}
	if c := checkReport(t, &copied); c.Heap.Known {
		t.Errorf("two files copied one after the other gave a rate: %v", c.Heap.PerSecond)
	}
	// A tenth of that rate has a plateau that fits.
	e.Given.HeapBytes = 64 << 30
	if r = checkReport(t, e); r.Heap.UntilFull != -1 {
		t.Errorf("full in %.0f s, though what expires makes room", r.Heap.UntilFull)
	}
}

// A minute between two looks is enough to see a leak, not to date its end.
func TestGrowthWithinAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		from, to, batches int64
		how               string
		level             diagnose.Level
		says              string
	}{
		"leak":              {300, 33_000, 34_000, "test", diagnose.Armed, "Entries grew from 300 to 33,000 in 25 s: 1,308/s. If that goes on, the heap of 6 GiB is full in"},
		"times of files":    {2000, 6800, 10_000, fileTime, diagnose.Armed, "192/s, if the files are as far apart as the histograms"},
		"many batches each": {2000, 6800, 34_000, "test", diagnose.Armed, "Entries grew from 2,000 to 6,800"},
		"some applications": {300, 900, 900, "test", diagnose.Healthy, ""},
		"few of many":       {90_000, 91_500, 400_000, "test", diagnose.Healthy, ""},
		"fewer":             {6800, 2000, 2000, "test", diagnose.Healthy, ""},
	} {
		e := &Evidence{At: testNow, Given: Given{HeapBytes: 6 << 30, Version: "3.6"}, Histograms: []Histogram{
			histogramAt(testNow, c.to, c.batches, 1<<30), histogramAt(testNow.Add(-25*time.Second), c.from, c.from, 1<<30)}}
		e.Histograms[0].AtHow, e.Histograms[1].AtHow = c.how, c.how
		r := checkReport(t, e)
		if got := strings.Join(r.Details, " "); r.Level != c.level || !strings.Contains(got, c.says) || c.says == "" && strings.Contains(got, "grew") {
			t.Errorf("%s: %s: %s %q, want %s %q", name, r.Level, r.Sentence, got, c.level, c.says)
		}
		if r.Heap.UntilFull != -1 {
			t.Errorf("%s: full in %.0f s, from a look of 25 s", name, r.Heap.UntilFull)
		}
	}
}

// Logs are cut by the day; the newest says how many entries there are, the oldest from where they grew.
func TestRotatedLogs(t *testing.T) {
	log := func(path string, at time.Time, version string, entries int64) TextLog {
		return TextLog{Path: path, First: at, Last: at, Version: version, Partitions: []*LoggedPartition{{Name: "a-0", Points: []Point{{at, entries}}}}}
	}
	day := func(n int) time.Time { return testNow.Add(time.Duration(n-3) * 24 * time.Hour) }
	for _, order := range [][3]int{{1, 2, 3}, {3, 1, 2}} {
		r := &reader{out: &Evidence{At: testNow}}
		for _, n := range order {
			r.out.Logs = append(r.out.Logs, log(map[int]string{1: "one", 2: "two", 3: "three"}[n], day(n), map[int]string{1: "3.5.0", 2: "3.5.0", 3: "3.9.1"}[n], int64(n)*1000))
		}
		r.finish()
		got := checkReport(t, r.out)
		s := got.Suspects[0]
		if s.Entries != 3000 || s.Source != "snapshot line of three" || s.PerSecond != 2000.0/(2*86400) || got.Version.Least != "3.9" {
			t.Errorf("%v: %+v, Kafka %s", order, s, got.Version.Text())
		}
	}
}

// Snapshots of a topic that nobody writes to any more keep entries that the broker forgot.
func TestExpiredSnapshots(t *testing.T) {
	partition := func(topic string, n int64, last time.Time) Partition {
		c := &Producers{Entries: n, PIDMax: n, EpochZero: n, OneBatch: n, TimeMin: last.Add(-2 * time.Hour).UnixMilli(), TimeMax: last.UnixMilli()}
		return Partition{Dir: topic, Topic: topic, Snapshots: []Snapshot{{Entries: n, Opened: true, Content: c}}}
	}
	judge := func(version string, age time.Duration) *Report {
		return checkReport(t, &Evidence{At: testNow, Given: Given{HeapBytes: 128 << 20, Version: version}, OneBatchIDs: 400_000,
			Partitions: []Partition{partition("old", 400_000, testNow.Add(-age)), partition("shop", 10, testNow)}})
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		version string
		age     time.Duration
		level   diagnose.Level
	}{{"3.6", 2 * day, diagnose.Healthy}, {"3.6", day / 2, diagnose.Storm}, {"2.8", 2 * day, diagnose.Storm}, {"2.8", 8 * day, diagnose.Healthy},
		{"", 2 * day, diagnose.Storm}, {"", 8 * day, diagnose.Healthy}} {
		r := judge(c.version, c.age)
		gone := c.level == diagnose.Healthy
		if r.Level != c.level || gone != (r.Heap.Entries == 10) || gone != strings.Contains(strings.Join(r.Details, " "), "Not counted: 400,000 entries") {
			t.Errorf("Kafka %q, %s old: %s: %s %q", c.version, c.age, r.Level, r.Sentence, r.Details)
		}
	}
}

// A dump without a collection before it shows what appends left behind.
func TestGarbageInADump(t *testing.T) {
	h := histogramAt(testNow, 300_060, 300_060, 1<<30)
	h.Source = "x.hprof"
	e := &Evidence{At: testNow, Histograms: []Histogram{h}, Dumps: []Dump{{Path: "x.hprof", EntryBytes: 264, Of: 1, All: Producers{Entries: 300_060}, Partitions: []DumpPartition{{Topic: "a", Entries: 60}}}}}
	if r := checkReport(t, e); r.Heap.Entries != 60 || r.Level != diagnose.Healthy {
		t.Errorf("%d entries, %s: %s", r.Heap.Entries, r.Level, r.Sentence)
	}
	e.Dumps[0].Cut = "the end is missing"
	if r := checkReport(t, e); r.Heap.Entries != 300_060 {
		t.Errorf("of a cut dump the partitions are no total: %d entries", r.Heap.Entries)
	}
}

func TestLevels(t *testing.T) {
	fill := func(class string, n int64) Histogram {
		h := histogramAt(testNow, 10, 50, 4<<30)
		h.Classes[class] = Count{n, 64 * n}
		return h
	}
	burst := &Producers{Entries: 400, PIDMax: 400, EpochZero: 400, OneBatch: 400, TimeMin: testNow.Add(-20 * time.Minute).UnixMilli(), TimeMax: testNow.UnixMilli()}
	future := *burst
	future.Future, future.FutureMax = 5, testNow.Add(1000*time.Hour).UnixMilli()
	snap := func(c Producers) Evidence {
		return Evidence{OneBatchIDs: c.OneBatch, Partitions: []Partition{{Dir: "a-0", Topic: "a", Snapshots: []Snapshot{{Entries: c.Entries, Opened: true, Content: &c}}}}}
	}
	for name, c := range map[string]struct {
		e     Evidence
		level diagnose.Level
		says  string
	}{
		"nothing":           {Evidence{}, diagnose.Inconclusive, "no verdict"},
		"few entries":       {Evidence{Histograms: []Histogram{histogramAt(testNow, 300, 300, 1<<30)}}, diagnose.Healthy, "No producer leak"},
		"no entries":        {Evidence{Histograms: []Histogram{histogramAt(testNow, 0, 0, 1<<30)}}, diagnose.Healthy, "No producer leak"},
		"many long-lived":   {Evidence{Histograms: []Histogram{histogramAt(testNow, 5_000_000, 24_000_000, 3<<30)}}, diagnose.Armed, "5 million"},
		"many single-use":   {Evidence{Histograms: []Histogram{histogramAt(testNow, 5_000_000, 5_000_000, 3<<30)}}, diagnose.Storm, "used once"},
		"connections":       {Evidence{Histograms: []Histogram{fill("org.apache.kafka.common.network.KafkaChannel", 60_000)}}, diagnose.Healthy, "Not producers"},
		"sensors":           {Evidence{Histograms: []Histogram{fill("org.apache.kafka.common.metrics.Sensor", 900_000)}}, diagnose.Healthy, "metric sensors"},
		"transactional ids": {Evidence{Histograms: []Histogram{fill("kafka.coordinator.transaction.TransactionMetadata", 4_000_000)}}, diagnose.Armed, "transactional ids"},
		"rolling restart":   {snap(*burst), diagnose.Healthy, "No producer leak"},
		"future timestamps": {snap(future), diagnose.Armed, "400 entries"},
		"ottla":             {Evidence{Ottla: []string{"d"}}, diagnose.Healthy, "No danger"},
	} {
		c.e.At = testNow
		r := checkReport(t, &c.e)
		if r.Level != c.level || !strings.Contains(r.Sentence, c.says) {
			t.Errorf("%s: %s: %s", name, r.Level, r.Sentence)
		}
	}
}

func TestOnset(t *testing.T) {
	var blocks []Block
	start := testNow.Add(-100 * time.Hour)
	next := int64(0)
	for hour := range 100 {
		if hour%20 == 0 && hour <= 60 || hour > 60 {
			next += 1000
			blocks = append(blocks, Block{At: start.Add(time.Duration(hour) * time.Hour), Next: next})
		}
	}
	e := &Evidence{At: testNow, Metadata: &Metadata{Blocks: blocks, Topics: []TopicMade{{"old", start}, {"feature.x", start.Add(60 * time.Hour)}}}}
	r := checkReport(t, e)
	if d := r.Births.Onset.Sub(start.Add(60 * time.Hour)).Abs(); r.Births.Onset.IsZero() || d > 2*time.Hour {
		t.Errorf("onset %s, want %s", r.Births.Onset, start.Add(60*time.Hour))
	}
	if len(r.NewTopics) != 1 || r.NewTopics[0].Name != "feature.x" || r.Births.Ever != next {
		t.Errorf("new topics %v, ever %d", r.NewTopics, r.Births.Ever)
	}
	if r.Births.After < 0.25 || r.Births.After > 0.3 {
		t.Errorf("%f a second since, want 1000 an hour", r.Births.After)
	}
	even := &Evidence{At: testNow, Metadata: &Metadata{Blocks: blocks[10:]}}
	if r = checkReport(t, even); !r.Births.Onset.IsZero() {
		t.Errorf("an even rate has an onset: %s", r.Births.Onset)
	}
}

// Few producers that write to very many partitions fill a heap too.
func TestWideStorm(t *testing.T) {
	e := &Evidence{At: testNow, Given: Given{HeapBytes: 256 << 20}, OneBatchIDs: 346}
	for partition := range int32(1000) {
		c := &Producers{Entries: 346, PIDMin: 1000, PIDMax: 1345, EpochZero: 346, OneBatch: 346, TimeMin: testNow.UnixMilli() - 100_000, TimeMax: testNow.UnixMilli()}
		e.Partitions = append(e.Partitions, Partition{Dir: "d", Topic: "wide", Partition: partition, Snapshots: []Snapshot{{Entries: 346, Opened: true, Content: c}}})
	}
	r := checkReport(t, e)
	if r.Level != diagnose.Storm || !strings.Contains(r.Sentence, "topic wide holds 100 % of them, in 1000 partitions (producer ids 1000 to 1345)") {
		t.Errorf("%s: %s", r.Level, r.Sentence)
	}
	if len(r.Suspects) != SuspectsMax || r.SuspectsOf != 1000 || r.Heap.Entries != 346_000 {
		t.Errorf("%d suspects of %d, %d entries", len(r.Suspects), r.SuspectsOf, r.Heap.Entries)
	}
}

// A broker that was killed before it wrote a snapshot leaves its segments.
func TestSegmentsAlone(t *testing.T) {
	e := &Evidence{At: testNow, Given: Given{HeapBytes: 256 << 20}, OneBatchIDs: 600_000, Partitions: []Partition{{Dir: "d", Topic: "payments.audit", Segments: &Segments{
		Files: 1, Batches: 600_000, Idempotent: 600_000, Producers: 600_000, Newborn: 600_000, Sampled: 16, PIDMin: 1, PIDMax: 600_000, BatchesMedian: 1,
		TimeMin: testNow.UnixMilli() - 7_200_000, TimeMax: testNow.UnixMilli()}}}}
	r := checkReport(t, e)
	if r.Level != diagnose.Storm || r.Horsemen[3].Status != diagnose.Found || !r.Heap.LowerBound || !strings.Contains(r.Sentence, "At least 600,000") {
		t.Errorf("%s: %s; %+v", r.Level, r.Sentence, r.Horsemen[3])
	}
	if r.Births.PerSecond < 83 || r.Births.PerSecond > 84 {
		t.Errorf("%.1f births a second, want 83.3", r.Births.PerSecond)
	}
	e.Partitions[0].Segments.Transactional, e.Partitions[0].Segments.Newborn, e.OneBatchIDs = 600_000, 0, 0
	if r = checkReport(t, e); r.Horsemen[3].Status != diagnose.Absent || r.Horsemen[0].Status != diagnose.Absent {
		t.Errorf("transactional producers: %+v", r.Horsemen)
	}
}

// What a dump and a histogram of Kafka 3.3.2 built with Scala 2.13 showed.
func TestScala213(t *testing.T) {
	h := Histogram{At: testNow, Total: Count{1, 40 << 20}, Classes: map[string]Count{classEntryLog: {5000, 240_000}, classBatchLog: {5000, 200_000},
		"scala.collection.mutable.HashMap$Node": {14208, 454_656}, "scala.collection.mutable.Queue": {5000, 120_000}}}
	if r := checkReport(t, &Evidence{At: testNow, Histograms: []Histogram{h}}); r.Heap.EntryBytes != 256 {
		t.Errorf("an entry takes %.1f bytes, want 256", r.Heap.EntryBytes)
	}
}

func TestMarkdownOfStrangers(t *testing.T) {
	if got, want := escape("a\\*b|<i>_`[x](y)\x1b[2J"), "a\\\\\\*b\\|&lt;i>\\_'\\[x](y)·\\[2J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
