package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// storm is a verdict with everything in it; the page made of it is also the picture in the documentation.
func storm() *diagnose.Verdict {
	at := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	onset := time.Date(2026, 11, 20, 10, 10, 0, 0, time.UTC)
	heap := diagnose.Heap{
		Broker: 2, EntryBytes: 264, Entries: 3_190_000, Bytes: 3_190_000 * 264, PerSecond: 38, Plateau: 38 * 605_400 * 264, HeapMax: 2 << 30, Share: 2.83,
		UntilFull: 30 * 3600, Source: "computed", BombBytes: 16e9, BombTopic: "payments.audit-4",
	}
	v := &diagnose.Verdict{
		Schema: diagnose.VerdictSchema, Tool: "ottla v1.0.0", At: at, Level: diagnose.Storm, Exit: 2,
		Sentence: "STORM: payments.audit gets 36.9 new producers a second since 2026-11-20 10:10 UTC (± 6 min); broker 2's heap of 2 GiB is full in 30 h.",
		Details:  []string{"Each producer writes one batch and is never heard of again; User:payments-audit may write there and nobody else."},
		Cluster:  evidence.Cluster{ID: "canary-7", Vendor: evidence.VendorKafka, VersionLeast: "2.8", VersionMost: "2.8"}, Bootstrap: []string{"kafka.example:9092"},
		Version: "2.8", Brokers: 3, Topics: 41, Partitions: 512,
		Births: diagnose.Births{Known: true, PerSecond: 38.2, Error: 0.05, Source: evidence.SourceCounter, How: "two probes of broker 1 in one block", Ever: 3_190_000},
		Onset: diagnose.Onset{Known: true, At: onset, Earliest: onset.Add(-6 * time.Minute), Latest: onset.Add(6 * time.Minute), Before: 0.003, After: 38.1, PIDError: 6000,
			NewTopics: []string{"payments.audit"}},
		Life:     diagnose.StateLife{Seconds: 604800, Key: "transactional.id.expiration.ms", Rule: "idle for transactional.id.expiration.ms; trimming frees nothing", Source: evidence.SourceConfigs},
		Horsemen: stormHorsemen(), Suspects: stormSuspects(), Explained: 0.97, Heap: []diagnose.Heap{heap}, Worst: &heap,
		Others: []diagnose.Other{{Name: "transactional-id churn", Status: diagnose.Absent, Why: "12 transactional ids, each used again"}},
		Remedies: []diagnose.Remedy{{ID: "R1", Kind: "free memory", Title: "let idle producers go after an hour: in every broker's server.properties, then a rolling restart",
			Command: "transactional.id.expiration.ms=3600000",
			Risk:    "a retry later than that is written twice", Undo: "remove the line, restart again", Check: "ottla investigate --verify-fix before.json"},
			{ID: "N1", Kind: noHelp, Title: "deleting records", Why: "since Kafka 2.4 an entry has a life of its own (KAFKA-7190)"}},
		Blind:  []diagnose.Blind{{Source: evidence.SourceMetrics, State: evidence.Skipped, Why: "no --metrics URL was given", Matters: "heap in use is computed, not read"}},
		Ledger: []diagnose.Number{{Name: "births", Value: 38.2, Unit: "/s", Error: 0.05, Source: evidence.SourceCounter, How: "(p2 - p1 - 1) / (t2 - t1)"}, {Name: "heap of broker 2", Value: 3_190_000 * 264, Unit: "bytes", Source: "computed", How: "entries x 264"}},
	}
	for i := range 50 {
		when := at.Add(-time.Duration(49-i) * 2 * time.Hour)
		pid := int64(i * 21)
		if when.After(onset) {
			pid += int64(when.Sub(onset).Seconds() * 38)
		}
		v.Onset.Curve = append(v.Onset.Curve, evidence.ClockPoint{Time: when.UnixMilli(), PID: pid, Topic: "payments.audit"})
	}
	return v
}

func stormHorsemen() []diagnose.Horseman {
	return []diagnose.Horseman{
		{ID: "H1", Name: "recreated producer", Status: diagnose.Found, Confidence: diagnose.Confirmed, Sentence: "2292 newborn producers a minute; half of them live less than 12 ms and write 1 batch"},
		{ID: "H2", Name: "idempotence on", Status: diagnose.Found, Confidence: diagnose.Likely, Sentence: "100 % of their batches carry a producer id"},
		{ID: "H3", Name: "long life", Status: diagnose.Found, Confidence: diagnose.Likely, Sentence: "an entry lives 7 days: 5.7 GiB when it stops growing, 283 % of the heap"},
		{ID: "H4", Name: "no stable id", Status: diagnose.Found, Confidence: diagnose.Likely, Sentence: "100 % of the newborn have no transactional.id"},
		{ID: "H5", Name: "immortal producers", Status: diagnose.Absent, Sentence: "no record is dated in the future"},
	}
}

func stormSuspects() []diagnose.Topic {
	return []diagnose.Topic{
		{Name: "payments.audit", Partitions: 6, Replicas: 3, Sampled: 6, Batches: 5200, Producers: 5188, Newborn: 5188, NewbornShare: 1, IdempotentShare: 1, BatchesMedian: 1,
			LifeMedian: 0.012, BirthsPerSecond: 36.9, EntriesPerSecond: 36.9, Explains: 0.966, Live: 3_100_000, LiveBound: 3_200_000, HeapShare: 0.97, PIDLeast: 3000, PIDMost: 3_190_000,
			Lives: [9]int64{5100, 88},
			Who:   []diagnose.Suspect{{What: "principal", Name: "User:payments-audit", Confidence: diagnose.Likely, Source: evidence.SourceACLs, Why: "the only one with WRITE on the topic"}}},
		{Name: "orders", Partitions: 12, Replicas: 3, Sampled: 12, Batches: 900, Producers: 14, Newborn: 1, NewbornShare: 0.07, IdempotentShare: 1, BatchesMedian: 60,
			LifeMedian: 3600, BirthsPerSecond: 0.01, Explains: 0.0003, Live: -1, LiveBound: 900, HeapShare: 0.0001, Lives: [9]int64{0, 1, 13}},
	}
}

func TestGolden(t *testing.T) {
	for name, print := range map[string]func(io.Writer, *diagnose.Verdict) error{
		"storm.txt":      func(w io.Writer, v *diagnose.Verdict) error { return Terminal(w, v, Style{Verbose: true}) },
		"storm.60.txt":   func(w io.Writer, v *diagnose.Verdict) error { return Terminal(w, v, Style{Width: 60}) },
		"storm.ansi.txt": func(w io.Writer, v *diagnose.Verdict) error { return Terminal(w, v, Style{Colour: true}) },
		"storm.json":     JSON,
		"storm.md":       Markdown,
		"storm.html":     HTML,
	} {
		var got bytes.Buffer
		if err := print(&got, storm()); err != nil {
			t.Fatal(err)
		}
		golden(t, name, got.Bytes())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -rewrite writes it anew); got:\n%s", name, got)
	}
}

// Names come from strangers: no renderer may pass on what moves a cursor or is markup.
func TestHostileNames(t *testing.T) {
	v := storm()
	evil := "a\x1b[2J\r\n|<script>alert(1)</script>[x](http://example.com)\u202e"
	v.Suspects[0].Name, v.Sentence, v.Remedies[0].Command, v.Cluster.ID, v.Horsemen[0].Sentence = evil, evil, evil, evil, evil
	var text, md bytes.Buffer
	if err := Terminal(&text, v, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := Markdown(&md, v); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := HTML(&page, v); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script>alert") {
		t.Error("markup is passed on into the page")
	}
	for _, bad := range []string{"\x1b", "\r", "\u202e"} {
		if strings.Contains(text.String(), bad) || strings.Contains(md.String(), bad) {
			t.Errorf("%q is passed on", bad)
		}
	}
	for line := range strings.Lines(md.String()) {
		if strings.Contains(line, "<script>") && !strings.HasPrefix(line, "   ") { // in a fenced block it is text
			t.Errorf("markup is passed on: %s", line)
		}
	}
}

func TestWidthIsKept(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		var text bytes.Buffer
		v := storm()
		v.Suspects, v.Remedies = nil, nil // tables and commands are never wrapped
		if err := Terminal(&text, v, Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if n := runes(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
}
