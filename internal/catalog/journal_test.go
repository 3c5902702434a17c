package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"reflect"
	"testing"

	"ottla/internal/disk"
	"ottla/internal/pidstore"
)

func testChanges() []change {
	id1, id2 := [16]byte{1}, [16]byte{2}
	return []change{
		{kind: kindIdentity, id: [16]byte{9}, id2: [16]byte{8}},
		{kind: kindRun, count: 3},
		{kind: kindTopicCreated, name: "a", id: id1, num: 1, count: 2, pid: 77, settings: []setting{{key: "retention.ms", value: "5"}}},
		{kind: kindTopicCreated, name: "b", id: id2, num: 3, count: 1},
		{kind: kindPartitionsAdded, id: id1, num: 4, count: 5, pid: 99},
		{kind: kindTopicConfig, id: id2, settings: []setting{{key: "x", value: ""}, {key: "y", removed: true}}},
		{kind: kindBrokerConfig, name: "1", settings: []setting{{key: "log.retention.ms", value: "1"}}},
		{kind: kindGroupConfig, name: "g", settings: []setting{{key: "consumer.session.timeout.ms", value: "50000"}}},
		{kind: kindGroupConfig, name: "h", settings: []setting{{key: "consumer.session.timeout.ms", value: "50000"}}},
		{kind: kindGroupConfig, name: "h", settings: []setting{{key: "consumer.session.timeout.ms", removed: true}}},
		{kind: kindProducerBlock, pid: 1 << 40, end: 1<<40 + 1000, age: 3},
		{kind: kindProducerBlock, pid: 1 << 41, end: 1<<41 + 1000, age: 100},
		{kind: kindTopicDeleted, id: id2},
		{kind: kindCounters, num: 50},
		{kind: kindIssueMarks, marks: []pidstore.IssueMark{{PID: 1 << 40, Age: 3}}},
		{kind: kindTopicPurged, id: id2},
	}
}

// journalBytes makes a file with a snapshot and one step for every change.
func journalBytes(t testing.TB, changes []change) []byte {
	t.Helper()
	s := newState()
	b := encodeSnapshot(7, s)
	for i, c := range changes {
		b = appendFrame(b, 8+uint64(i), flagAppend, c.encode(nil))
	}
	return b
}

func TestJournalRoundTrip(t *testing.T) {
	want := newState()
	for _, c := range testChanges() {
		if err := want.apply(&c); err != nil {
			t.Fatal(err)
		}
	}
	l, err := parseJournal(journalBytes(t, testChanges()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.state, want) || l.revision != 7+uint64(len(testChanges())) || l.torn != 0 {
		t.Fatalf("got %+v\nwant %+v", l.state, want)
	}
	again, err := parseJournal(encodeSnapshot(l.revision, l.state))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.state, want) || again.revision != l.revision {
		t.Fatalf("a snapshot changes the state: got %+v\nwant %+v", again.state, want)
	}
}

// TestTornTail cuts the file at every byte: what is left are the whole steps before, unless the start is missing.
func TestTornTail(t *testing.T) {
	b := journalBytes(t, testChanges())
	first := int(encodedSnapshotSize())
	for cut := range len(b) {
		l, err := parseJournal(b[:cut])
		if cut < first {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			continue
		}
		if err != nil || l.size+l.torn != int64(cut) {
			t.Fatalf("cut at %d: size %d, torn %d, %v", cut, l.size, l.torn, err)
		}
	}
}

func encodedSnapshotSize() int64 { return int64(len(encodeSnapshot(7, newState()))) }

// TestDamage flips every byte. Behind the last step that is a torn tail; before it, acknowledged steps are lost,
// and that is an error, never silence.
func TestDamage(t *testing.T) {
	b := journalBytes(t, testChanges())
	changes := testChanges()
	last := len(b) - len(appendFrame(nil, 0, 0, changes[len(changes)-1].encode(nil)))
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x40
		l, err := parseJournal(bad)
		switch {
		case i < last && err == nil:
			t.Fatalf("byte %d of %d: damage was not noticed", i, len(b))
		case i >= last && (err != nil || l.size != int64(last)):
			t.Fatalf("byte %d, in the last step: size %d, want %d, %v", i, l.size, last, err)
		}
	}
}

func TestNewerFormatRefuses(t *testing.T) {
	b := journalBytes(t, nil)
	binary.BigEndian.PutUint32(b[8:], formatVersion+1)
	binary.BigEndian.PutUint32(b[20:], crc32.Checksum(b[:20], crcTable))
	if _, err := parseJournal(b); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("got %v", err)
	}
	mem := disk.NewMem()
	if err := errors.Join(mem.MkdirAll(testDir), disk.WriteFileAtomic(mem, filepath.Join(testDir, JournalName), b)); err != nil {
		t.Fatal(err)
	}
	if _, err := openTest(mem); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("got %v", err)
	}
}

// TestStaleRevision: a step that was computed from another revision is not written.
func TestStaleRevision(t *testing.T) {
	mem := disk.NewMem()
	c, err := openTest(mem)
	if err != nil {
		t.Fatal(err)
	}
	j := c.committer.write.journal
	if err := j.append(j.revision+1, nil); !errors.Is(err, ErrStale) {
		t.Fatalf("got %v", err)
	}
	if err := j.append(j.revision-1, nil); !errors.Is(err, ErrStale) {
		t.Fatalf("got %v", err)
	}
}

// TestJournalIsBounded: producer ids and configuration that changes back and forth leave a small file.
func TestJournalIsBounded(t *testing.T) {
	mem := disk.NewMem()
	c, err := openTest(mem)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30_000 {
		if _, _, err := c.ReserveProducerIDs(0, 1000, uint32(i*30)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := mem.Stat(filepath.Join(testDir, JournalName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size > compactBytesMin+4096 {
		t.Fatalf("the journal has %d bytes after 30000 blocks", info.Size)
	}
	if n := len(c.IssueMarks()); n == 0 || n > pidstore.IssueMarksMax {
		t.Fatalf("got %d marks", n)
	}
	again, err := openTest(mem.CrashClone(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.IssueMarks(), c.IssueMarks()) {
		t.Fatalf("marks changed by a restart:\n%v\n%v", again.IssueMarks(), c.IssueMarks())
	}
}

// TestManyTopics: ten thousand partitions, in many topics or in one, survive compaction and a restart.
func TestManyTopics(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	c, err := openTest(disk.NewFaulty(mem, faults))
	if err != nil {
		t.Fatal(err)
	}
	before := faults.Ops()
	specs := make([]TopicSpec, 10_000)
	for i := range specs {
		specs[i] = TopicSpec{Name: fmt.Sprintf("topic-%05d", i), Partitions: 1, ReplicationFactor: 1}
	}
	for i, out := range c.CreateTopics(specs, false) {
		if out.Err != nil || out.Topic == nil || out.Topic.Name != specs[i].Name {
			t.Fatalf("%+v", out)
		}
	}
	if ops := faults.Ops() - before; ops > 10 {
		t.Fatalf("10000 topics took %d operations on the disk: their cost is not shared", ops)
	}
	if _, err := c.CreateTopic(TopicSpec{Name: "wide", Partitions: 10_000, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	again, err := openTest(mem.CrashClone(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	topics := again.Topics()
	if len(topics) != 10_001 || topics[0].Name != "topic-00000" || topics[10_000].PartitionCount() != 10_000 {
		t.Fatalf("got %d topics", len(topics))
	}
	checkNumbers(t, "restart", again)
	if topics[0].settings != topics[9_999].settings {
		t.Error("topics of the same configuration do not share their settings")
	}
}

func BenchmarkOpenTenThousandTopics(b *testing.B) {
	s := newState()
	for i := range 10_000 {
		x := change{kind: kindTopicCreated, name: fmt.Sprintf("topic-%05d", i), id: newID(), num: uint64(i + 1), count: 1}
		if err := s.apply(&x); err != nil {
			b.Fatal(err)
		}
	}
	data := encodeSnapshot(1, s)
	mem := disk.NewMem()
	if err := errors.Join(mem.MkdirAll(testDir), disk.WriteFileAtomic(mem, filepath.Join(testDir, JournalName), data)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c, err := openTest(mem)
		if err != nil || len(c.Topics()) != 10_000 {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

// FuzzJournal: no bytes make the reader panic or invent a state that it cannot write again.
func FuzzJournal(f *testing.F) {
	b := journalBytes(f, testChanges())
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add(encodeSnapshot(1, newState()))
	f.Add([]byte("OTTLACAT"))
	for _, c := range testChanges() {
		f.Add(appendFrame(encodeSnapshot(1, newState()), 2, flagAppend, c.encode(nil)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseJournal(b)
		if err != nil {
			return
		}
		again, err := parseJournal(encodeSnapshot(l.revision, l.state))
		if err != nil {
			t.Fatalf("a snapshot of what was read is refused: %v", err)
		}
		if !reflect.DeepEqual(again.state, l.state) {
			t.Fatalf("got %+v\nwant %+v", again.state, l.state)
		}
	})
}

// FuzzChange: the payload behind a right checksum is not trusted either.
func FuzzChange(f *testing.F) {
	for _, c := range testChanges() {
		f.Add(c.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseJournal(appendFrame(encodeSnapshot(1, newState()), 2, flagAppend, b))
		if err != nil {
			return
		}
		d := decoder{b: b}
		for len(d.b) > 0 && d.err == nil {
			c := d.change()
			if d.err == nil && !reflect.DeepEqual(roundTrip(t, c), c) {
				t.Fatalf("%+v changes by encoding", c)
			}
		}
		_ = encodeSnapshot(2, l.state)
	})
}

func roundTrip(t *testing.T, c change) change {
	d := decoder{b: c.encode(nil)}
	out := d.change()
	if d.err != nil || len(d.b) != 0 {
		t.Fatalf("%+v: %v", c, d.err)
	}
	return out
}
