package autopsy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/investigate/diagnose"
)

func readAll(t testing.TB, paths ...string) *Evidence {
	t.Helper()
	e, err := Read(context.Background(), paths, Options{Tool: "test", Now: testNow.AddDate(5, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func writeFile(t testing.TB, b []byte, elem ...string) string {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, testNow, testNow); err != nil {
		t.Fatal(err)
	}
	return name
}

// fixtures copies the files of all versions, with a time of their own: what lies in the future is measured against it.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range versions {
		err := filepath.WalkDir(filepath.Join("testdata", v), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel("testdata", path)
			writeFile(t, b, dir, rel)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Everything that there is of six versions of Kafka, in one directory each.
func TestReadDirectories(t *testing.T) {
	dir := fixtures(t)
	for _, v := range versions {
		e := readAll(t, filepath.Join(dir, v))
		if len(e.Problems) > 0 || len(e.Histograms) != 2 || len(e.Partitions) != 2 || len(e.Inputs) != 1 || e.Inputs[0].Kind != KindDirectory {
			t.Errorf("%s: problems %v, %d histograms, %d partitions, %+v", v, e.Problems, len(e.Histograms), len(e.Partitions), e.Inputs)
		}
		if (e.Metadata != nil) == strings.HasPrefix(v, "2.") {
			t.Errorf("%s: metadata log: %v", v, e.Metadata)
		}
		r := checkReport(t, e)
		if want := strings.TrimSuffix(v, v[strings.LastIndexByte(v, '.'):]); r.Version.Least != want || r.Version.Most != want {
			t.Errorf("%s: taken for %s", v, r.Version.Text())
		}
		if r.Suspects[0].Topic == "orders" || r.Heap.Entries != 6806 || r.Life.Seconds == 0 {
			t.Errorf("%s: %+v", v, r.Suspects)
		}
	}
}

// Names say nothing: everything is called x, some of it is packed.
func TestContentCounts(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		b    []byte
		kind Kind
	}{
		{fixture(t, "4.3.1", "histogram-2.txt"), KindText},
		{fixture(t, "4.3.1", "controller.log"), KindText},
		{fixture(t, "4.3.1", "shop.events-0", "00000000000000001000.snapshot"), KindSnapshot},
		{fixture(t, "4.3.1", "shop.events-0", "00000000000000000000.log"), KindSegment},
		{fixture(t, "4.3.1", "__cluster_metadata-0", "00000000000000000000.log"), KindMetadata},
		{someDump(8), KindDump},
	} {
		for _, packed := range []bool{false, true} {
			b := c.b
			if packed {
				b = zip(t, b)
			}
			e := readAll(t, writeFile(t, b, dir, string(rune('a'+i)), map[bool]string{true: "x.gz", false: "x"}[packed]))
			if len(e.Inputs) != 1 || e.Inputs[0].Kind != c.kind || e.Inputs[0].Gzip != packed || len(e.Problems) > 0 {
				t.Errorf("%s, packed %v: %+v %v", c.kind, packed, e.Inputs, e.Problems)
			}
			checkReport(t, e)
		}
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{"empty": nil, "elf": []byte("\x7fELF\x02\x01\x01\x00"), "prose": []byte("It was a dark and stormy night.\n"), "gz": zip(t, []byte{0, 5, 0, 5}), "cutgz": zip(t, someDump(8))[:20],
		"zeros": make([]byte, 200), "shortgz": {0x1f, 0x8b, 8}} {
		e := readAll(t, writeFile(t, b, dir, name))
		if len(e.Problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
		if r := checkReport(t, e); r.Level != diagnose.Inconclusive || r.Exit != 3 {
			t.Errorf("%s: %s", name, r.Level)
		}
	}
	if _, err := Read(context.Background(), []string{filepath.Join(dir, "none")}, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ctx, []string{dir}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := Read(context.Background(), []string{"-"}, Options{}); err == nil {
		t.Error("standard input that there is not")
	}
}

func TestDamagedSnapshotInADirectory(t *testing.T) {
	dir := t.TempDir()
	whole := fixture(t, "4.3.1", "shop.events-0", "00000000000000001000.snapshot")
	writeFile(t, whole[:10+46*150+3], dir, "t-7", "00000000000000000900.snapshot")
	e := readAll(t, dir)
	if len(e.Partitions) != 1 || e.Partitions[0].Topic != "t" || e.Partitions[0].Partition != 7 || len(e.Problems) != 1 {
		t.Fatalf("%+v %v", e.Partitions, e.Problems)
	}
	if r := checkReport(t, e); r.Heap.Entries != 150 || !r.Heap.LowerBound {
		t.Errorf("%d entries, lower bound %v", r.Heap.Entries, r.Heap.LowerBound)
	}
}

func TestSuccessiveSnapshots(t *testing.T) {
	dir := t.TempDir()
	now := testNow.UnixMilli()
	for i, n := range []int{1000, 2000, 3000, 4000} {
		var entries []entry
		for pid := range n {
			entries = append(entries, entry{pid: int64(pid), lastOffset: int64(pid), timestamp: now - int64(4000-pid)*1000, coordinatorEpoch: -1, txnFirstOffset: -1})
		}
		writeFile(t, buildSnapshot(entries...), dir, "payments.audit-0", []string{"00000000000000001000.snapshot", "00000000000000002000.snapshot", "00000000000000003000.snapshot", "00000000000000004000.snapshot"}[i])
	}
	e := readAll(t, dir)
	if len(e.Partitions) != 1 || len(e.Partitions[0].Snapshots) != 4 || e.OneBatchIDs != 4000 {
		t.Fatalf("%+v", e)
	}
	for i, s := range e.Partitions[0].Snapshots {
		if s.Offset != int64(i+1)*1000 || s.Entries != int64(i+1)*1000 || s.Opened != (i != 1) || s.Damaged != "" {
			t.Errorf("%d: %+v", i, s)
		}
	}
	r := checkReport(t, e)
	if s := r.Suspects[0]; s.Entries != 4000 || s.SingleUse != 1 || s.PerSecond < 0.99 || s.PerSecond > 1.01 || s.PIDMin != 0 || s.PIDMax != 3999 {
		t.Errorf("%+v", s)
	}
	if r.Level != diagnose.Armed || r.Horsemen[0].Status != diagnose.Found || !strings.Contains(r.Sentence, "payments.audit-0") {
		t.Errorf("%s: %s", r.Level, r.Sentence)
	}
}

// One producer that writes once to each of many partitions is no leak.
func TestFanOutIsNoLeak(t *testing.T) {
	dir := t.TempDir()
	for partition := range 100 {
		var entries []entry
		for pid := range int64(30) {
			entries = append(entries, entry{pid: pid, lastOffset: pid, timestamp: testNow.UnixMilli() - int64(partition)*3_600_000, coordinatorEpoch: -1, txnFirstOffset: -1})
		}
		writeFile(t, buildSnapshot(entries...), dir, "metrics-"+string(rune('0'+partition/10))+string(rune('0'+partition%10)), "00000000000000000030.snapshot")
	}
	if r := checkReport(t, readAll(t, dir)); r.Level != diagnose.Healthy || r.Horsemen[0].Status != diagnose.Absent || r.Heap.Entries != 3000 {
		t.Errorf("%s: %s; %+v", r.Level, r.Sentence, r.Horsemen[0])
	}
}

func TestOttlaIsNoDanger(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, []byte("OTTLACAT\x00\x00\x00\x01"), dir, "catalog.log")
	writeFile(t, []byte("ottla-cold 1\n"), dir, "producers", "ottla-cold-format")
	writeFile(t, []byte("junk"), dir, "producers", "000004.sst")
	var headers []batch.Header
	for pid := range int64(3000) {
		headers = append(headers, batch.Header{ProducerID: pid, MaxTimestamp: testNow.UnixMilli()})
	}
	writeFile(t, segment(t, headers...), dir, "payments.audit-0", "00000000000000000000.log")
	e := readAll(t, dir)
	if len(e.Ottla) != 1 || e.Inputs[0].Kind != KindOttla {
		t.Fatalf("%v %+v", e.Ottla, e.Inputs)
	}
	r := checkReport(t, e)
	if r.Exit != 0 || !strings.Contains(r.Sentence, "No danger") || !strings.Contains(r.Sentence, "payments.audit-0") || len(r.Remedies) != 0 {
		t.Errorf("%s: %s", r.Level, r.Sentence)
	}
}

// A walk does not open what it needs not, follow links or wait for pipes.
func TestWalk(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, []byte("x"), dir, "a-0", "00000000000000000000.index")
	writeFile(t, []byte("broker.id=1\n"), dir, "server.properties")
	writeFile(t, fixture(t, "4.3.1", "orders-0", "00000000000000000400.snapshot"), dir, "a-0", "00000000000000000400.snapshot")
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Skip("no symbolic links here")
	}
	e := readAll(t, dir)
	if n := e.Inputs[0].Files; n[KindAccessory] != 1 || n[KindSnapshot] != 1 || n[KindText] != 1 || len(n) != 3 || len(e.Problems) != 0 {
		t.Errorf("%v", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("1: 5 240 kafka.log.ProducerStateEntry\n"), "x")
	f.Add(fixture(f, "4.3.1", "orders-0", "00000000000000000400.snapshot"), "00000000000000000400.snapshot")
	f.Add(fixture(f, "4.3.1", "__cluster_metadata-0", "00000000000000000000.log"), "00000000000000000000.log")
	f.Add([]byte{0x1f, 0x8b, 8, 0}, "x.gz")
	f.Add([]byte("JAVA PROFILE 1.0.2\x00"), "x.hprof")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		fake := &file{path: "t-0/" + name, data: b, size: int64(len(b)), mod: testNow}
		r := &reader{ctx: context.Background(), o: Options{Now: testNow, Tool: "fuzz"}, dirs: map[string]*partitionFiles{}, out: &Evidence{At: testNow}}
		if err := r.file(fake, false); err != nil {
			t.Fatal(err)
		}
		if err := r.partitions(); err != nil {
			t.Fatal(err)
		}
		r.finish()
		checkReport(t, r.out)
	})
}
