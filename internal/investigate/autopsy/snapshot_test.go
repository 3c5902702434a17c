package autopsy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"
)

func buildSnapshot(entries ...entry) []byte {
	b := binary.BigEndian.AppendUint16(nil, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, uint64(e.pid))
		b = binary.BigEndian.AppendUint16(b, uint16(e.epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(e.lastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(e.lastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.offsetDelta))
		b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
		b = binary.BigEndian.AppendUint32(b, uint32(e.coordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.txnFirstOffset))
	}
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[snapshotCRCFrom:], castagnoli))
	return b
}

func TestSnapshotsOfVersions(t *testing.T) {
	for _, v := range versions {
		b := fixture(t, v, "shop.events-0", "00000000000000001000.snapshot")
		p, err := readSnapshot(bytes.NewReader(b), testNow.UnixMilli(), nil)
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if n, ok := snapshotEntries(int64(len(b))); !ok || n != 200 || p.Entries != 200 || p.EpochZero != 200 || p.OneBatch != 0 || p.Transactional != 0 || p.Future != 0 {
			t.Errorf("%s: %+v", v, p)
		}
		if p.PIDMin < 6006 || p.PIDMax > 6805 || p.TimeMin == 0 || p.TimeMax < p.TimeMin {
			t.Errorf("%s: ids %d to %d, times %d to %d", v, p.PIDMin, p.PIDMax, p.TimeMin, p.TimeMax)
		}
	}
}

func TestSnapshotContent(t *testing.T) {
	now := testNow.UnixMilli()
	const hour, day = int64(3_600_000), int64(86_400_000)
	b := buildSnapshot(
		entry{pid: 10, lastSequence: 4, offsetDelta: 4, lastOffset: 100, timestamp: now - 20*day, coordinatorEpoch: -1, txnFirstOffset: -1},
		entry{pid: 11, lastSequence: 9, offsetDelta: 4, lastOffset: 105, timestamp: now - hour/2, coordinatorEpoch: -1, txnFirstOffset: -1},
		entry{pid: 12, lastSequence: 0, offsetDelta: 0, lastOffset: 106, timestamp: now + 2*hour, coordinatorEpoch: -1, txnFirstOffset: -1},
		entry{pid: 9, epoch: 3, lastSequence: 0, offsetDelta: 0, lastOffset: 107, timestamp: now, coordinatorEpoch: 1, txnFirstOffset: 107},
		entry{pid: 13, epoch: 0, lastSequence: -1, lastOffset: -1, timestamp: -1, coordinatorEpoch: 2, txnFirstOffset: -1})
	var once distinct
	p, err := readSnapshot(bytes.NewReader(b), now, &once)
	if err != nil {
		t.Fatal(err)
	}
	want := Producers{Entries: 5, PIDMin: 9, PIDMax: 13, EpochZero: 4, OneBatch: 2, SequenceZero: 2, Transactional: 2, OpenTxn: 1,
		TimeMin: now - 20*day, TimeMax: now, Future: 1, FutureMax: now + 2*hour, Ages: [9]int64{1, 0, 1, 0, 0, 0, 0, 1}}
	if *p != want || once.count() != 2 {
		t.Errorf("got  %+v\nwant %+v\nonce %d", *p, want, once.count())
	}
}

func TestDamagedSnapshots(t *testing.T) {
	whole := fixture(t, "4.3.1", "shop.events-0", "00000000000000001000.snapshot")
	for name, c := range map[string]struct {
		bytes   []byte
		entries int64
		says    string
		none    bool
	}{
		"empty":          {nil, 0, "not a producer snapshot", true},
		"short":          {whole[:9], 0, "not a producer snapshot", true},
		"version":        {append([]byte{0, 2}, whole[2:]...), 0, "version 2", true},
		"negative count": {append(append([]byte{}, whole[:6]...), 0xff, 0, 0, 0), 0, "entries", true},
		"cut":            {whole[:10+46*100+7], 100, "cut: 100 of 200", false},
		"huge count":     {append(append(append([]byte{}, whole[:6]...), 0x7f, 0xff, 0xff, 0xff), whole[10:]...), 200, "cut: 200 of 2147483647", false},
		"checksum":       {append(append([]byte{}, whole[:20]...), append([]byte{whole[20] ^ 1}, whole[21:]...)...), 200, "checksum", false},
		"more":           {append(append([]byte{}, whole...), 1), 200, "bytes after", false},
	} {
		p, err := readSnapshot(bytes.NewReader(c.bytes), 0, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, errNoSnapshot) != c.none {
			t.Errorf("%s: %v", name, err)
		}
		if !c.none && p.Entries != c.entries {
			t.Errorf("%s: %d entries, want %d", name, p.Entries, c.entries)
		}
	}
}

func TestDistinct(t *testing.T) {
	var d distinct
	for pid := range int64(1_000_000) {
		d.add(pid)
		d.add(pid / 2)
	}
	if n := d.count(); n < 950_000 || n > 1_050_000 || len(d.seen) > producersTracked {
		t.Errorf("%d ids of a million, %d in memory", n, len(d.seen))
	}
	(*distinct)(nil).add(1)
}

func TestPartitionFromDir(t *testing.T) {
	for dir, want := range map[string]struct {
		topic     string
		partition int32
	}{
		"/d/payments.audit-0": {"payments.audit", 0}, "/d/a-b-12": {"a-b", 12}, "/d/x-3.0123456789abcdef0123456789abcdef-delete": {"x", 3},
		"/d/kafka": {}, "/d/a-99999999999": {}, "/d/a-": {},
	} {
		if topic, p := partitionFromDir(filepath.FromSlash(dir)); topic != want.topic || p != want.partition {
			t.Errorf("%s: %s %d", dir, topic, p)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(fixture(f, "2.3.1", "orders-0", "00000000000000000400.snapshot"))
	f.Add(fixture(f, "4.3.1", "shop.events-0", "00000000000000001000.snapshot")[:100])
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readSnapshot(bytes.NewReader(b), testNow.UnixMilli(), &distinct{})
		if p == nil {
			if err == nil {
				t.Fatal("nothing, and no error")
			}
			return
		}
		if p.Entries*snapshotEntry > int64(len(b)) || p.EpochZero > p.Entries || p.OneBatch > p.EpochZero {
			t.Fatalf("%+v of %d bytes", p, len(b))
		}
		e := &Evidence{At: testNow, Partitions: []Partition{{Dir: "x-0", Topic: "x", Snapshots: []Snapshot{{Entries: p.Entries, Opened: true, Content: p}}}}}
		checkReport(t, e)
	})
}
