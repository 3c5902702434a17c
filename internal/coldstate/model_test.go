package coldstate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what a store should hold.
type model struct {
	entries     map[uint64]map[int64]string
	bytes       map[uint64]map[string]string
	checkpoints map[uint64]Checkpoint
	meta        map[string]string
}

func newModel() *model {
	return &model{map[uint64]map[int64]string{}, map[uint64]map[string]string{}, map[uint64]Checkpoint{}, map[string]string{}}
}

func (m *model) partitions() []uint64 {
	set := map[uint64]bool{}
	for p, e := range m.entries {
		if len(e) > 0 {
			set[p] = true
		}
	}
	for p, e := range m.bytes {
		if len(e) > 0 {
			set[p] = true
		}
	}
	for p := range m.checkpoints {
		set[p] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// change is one operation of a batch, for the model and for the store.
type change struct {
	kind byte // 'p'ut, 'd'elete, 'P'ut and 'D'elete under bytes, 'c'heckpoint, 'm'eta, 'x' delete partition
	part uint64
	key  int64
	val  string
}

func (c change) toModel(m *model) {
	switch c.kind {
	case 'p':
		if m.entries[c.part] == nil {
			m.entries[c.part] = map[int64]string{}
		}
		m.entries[c.part][c.key] = c.val
	case 'd':
		delete(m.entries[c.part], c.key)
	case 'P':
		if m.bytes[c.part] == nil {
			m.bytes[c.part] = map[string]string{}
		}
		m.bytes[c.part][string(c.bytesKey())] = c.val
	case 'D':
		delete(m.bytes[c.part], string(c.bytesKey()))
	case 'c':
		m.checkpoints[c.part] = Checkpoint{c.key, c.key + 1, -c.key}
	case 'm':
		m.meta[c.val[:1]] = c.val
	case 'x':
		delete(m.entries, c.part)
		delete(m.bytes, c.part)
		delete(m.checkpoints, c.part)
	}
}

// bytesKey makes of a number a key of up to three bytes, the empty one and ones of 0xff among them.
func (c change) bytesKey() []byte {
	n := uint64(c.key) % 13
	return [][]byte{{}, {0}, {0, 0}, {0, 0xff}, {1}, {'a'}, {'a', 'b'}, {'a', 'b', 'c'}, {0xfe, 0xff}, {0xff}, {0xff, 0}, {0xff, 0xff}, {0xff, 0xff, 0xff}}[n]
}

func (c change) toBatch(b *Batch) {
	switch c.kind {
	case 'p':
		b.Put(c.part, c.key, []byte(c.val))
	case 'd':
		b.Delete(c.part, c.key)
	case 'P':
		b.PutBytes(c.part, c.bytesKey(), []byte(c.val))
	case 'D':
		b.DeleteBytes(c.part, c.bytesKey())
	case 'c':
		b.SetCheckpoint(c.part, Checkpoint{c.key, c.key + 1, -c.key})
	case 'm':
		b.SetMeta(c.val[:1], []byte(c.val))
	case 'x':
		b.DeletePartition(c.part)
	}
}

// verify compares all that can be read with the model and returns the first difference or error.
func (m *model) verify(s *Store) error {
	var parts []uint64
	if err := s.Partitions(func(p uint64) error { parts = append(parts, p); return nil }); err != nil {
		return err
	}
	if want := m.partitions(); !slices.Equal(parts, want) {
		return fmt.Errorf("partitions %d, want %d", parts, want)
	}
	for _, p := range parts {
		if err := m.verifyPartition(s, p); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	for name, want := range m.meta {
		if got, ok, err := s.Meta(name); string(got) != want || !ok || err != nil {
			return errors.Join(fmt.Errorf("meta %s is %q %v, want %q", name, got, ok, want), err)
		}
	}
	return nil
}

func (m *model) verifyPartition(s *Store, p uint64) error {
	c, ok, err := s.Checkpoint(p)
	want, wantOK := m.checkpoints[p]
	if err != nil || ok != wantOK || c != want {
		return errors.Join(fmt.Errorf("checkpoint %v %v, want %v %v", c, ok, want, wantOK), err)
	}
	got := map[int64]string{}
	last := int64(-1 << 63)
	for from, more := last, true; more; {
		from, more, err = s.Scan(p, from, 7, func(key int64, val []byte) error {
			if key < last {
				return fmt.Errorf("key %d after %d", key, last)
			}
			last = key
			got[key] = string(val)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !maps.Equal(got, m.entries[p]) {
		return fmt.Errorf("entries %v, want %v", got, m.entries[p])
	}
	for key, val := range got {
		v, found, err := s.Get(p, key, []byte("prefix"))
		if err != nil || !found || string(v) != "prefix"+val {
			return errors.Join(fmt.Errorf("Get(%d) = %q %v, want %q", key, v, found, val), err)
		}
	}
	if err := m.verifyMax(s, p, slices.Sorted(maps.Keys(got))); err != nil {
		return err
	}
	return m.verifyBytes(s, p)
}

func (m *model) verifyMax(s *Store, p uint64, keys []int64) error {
	for _, bound := range append([]int64{-1 << 63, -1, 0, 1<<63 - 1}, keys...) {
		i, exact := slices.BinarySearch(keys, bound)
		if exact {
			i++
		}
		key, found, err := s.MaxKey(p, bound)
		if err != nil || found != (i > 0) || found && key != keys[i-1] {
			return errors.Join(fmt.Errorf("MaxKey(%d) = %d %v of %d", bound, key, found, keys), err)
		}
	}
	return nil
}

func randomChange(rng *rand.Rand) change {
	parts := []uint64{0, 1, 2, 255, 256, 1 << 40, 1<<64 - 2, 1<<64 - 1}
	keys := []int64{-1 << 63, -2, -1, 0, 1, 1<<63 - 2, 1<<63 - 1}
	c := change{kind: "ppppppddccmxPPPPD"[rng.IntN(17)], part: parts[rng.IntN(len(parts))], key: int64(rng.IntN(40))}
	if rng.IntN(3) == 0 {
		c.key = keys[rng.IntN(len(keys))]
	}
	c.val = fmt.Sprintf("%c%d", 'a'+rng.IntN(3), rng.IntN(1000))
	return c
}

// TestModel compares a store with maps over random batches, flushes and restarts.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs, m := newTestFS(t), newModel()
		s := openTest(t, fs, MemoryBytesMin)
		for round := range 150 {
			b := s.NewBatch()
			n := 1 + rng.IntN(20)
			for range n {
				c := randomChange(rng)
				c.toModel(m)
				c.toBatch(b)
			}
			if b.Len() < n || b.Bytes() <= 0 {
				t.Fatalf("batch of %d: Len %d, Bytes %d", n, b.Len(), b.Bytes())
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			switch rng.IntN(20) {
			case 0:
				closeTest(t, s)
				fs = fs.CrashClone(0, 1)
				s = openTest(t, fs, MemoryBytesMin)
			case 1, 2, 3:
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if round%10 == 0 {
				if err := m.verify(s); err != nil {
					t.Fatalf("seed %d round %d: %v", seed, round, err)
				}
			}
		}
		if err := m.verify(s); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		closeTest(t, s)
	}
}

func TestScanStops(t *testing.T) {
	s := openTest(t, newTestFS(t), MemoryBytesMin)
	defer closeTest(t, s)
	b := s.NewBatch()
	defer b.Close()
	for key := range int64(10) {
		b.Put(3, key, []byte{byte(key)})
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	visited := 0
	_, more, err := s.Scan(3, 4, 100, func(key int64, val []byte) error {
		if !bytes.Equal(val, []byte{byte(key)}) {
			t.Errorf("key %d has %x", key, val)
		}
		if visited++; key == 6 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || more || visited != 3 {
		t.Errorf("Scan: visited %d, more %v, %v", visited, more, err)
	}
	if err := s.Partitions(func(uint64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Partitions: %v", err)
	}
	next, more, err := s.Scan(3, 0, 4, func(int64, []byte) error { return nil })
	if next != 4 || !more || err != nil {
		t.Errorf("Scan of 4: next %d, more %v, %v", next, more, err)
	}
}

func TestKeysSortAsNumbers(t *testing.T) {
	parts := []uint64{0, 1, 255, 256, 1 << 63, 1<<64 - 1}
	keys := []int64{-1 << 63, -256, -1, 0, 1, 255, 256, 1<<63 - 1}
	var last []byte
	for _, p := range parts {
		for _, k := range keys {
			b := makeEntryKey(p, k)
			if bytes.Compare(last, b[:]) >= 0 {
				t.Errorf("key (%d, %d) does not sort after the one before", p, k)
			}
			last = bytes.Clone(b[:])
			if gotP, gotK, err := decodeEntryKey(b[:]); gotP != p || gotK != k || err != nil {
				t.Errorf("(%d, %d) decodes as (%d, %d), %v", p, k, gotP, gotK, err)
			}
		}
		if end := partEnd(spaceEntry, p); bytes.Compare(last, end) >= 0 || bytes.Compare(end, []byte{spaceEntry + 1}) > 0 {
			t.Errorf("end of partition %d is %x", p, end)
		}
	}
}

func FuzzDecode(f *testing.F) {
	k, c := makeEntryKey(7, -3), encodeCheckpoint(Checkpoint{1, 2, 3})
	f.Add(k[:])
	f.Add(c[:])
	f.Add([]byte("ottla-cold 1\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, key, err := decodeEntryKey(b); err == nil {
			if again := makeEntryKey(p, key); !bytes.Equal(again[:], b) {
				t.Errorf("entry key %x reads as (%d, %d), which is %x", b, p, key, again)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Errorf("entry key %x: %v", b, err)
		}
		if p, err := decodeCheckpoint(b); err == nil {
			if again := encodeCheckpoint(p); !bytes.Equal(again[:], b) {
				t.Errorf("checkpoint %x reads as %v", b, p)
			}
		}
		if p, err := decodePart(b); err == nil {
			if again := makePartKey(b[0], p); !bytes.HasPrefix(b, again[:]) {
				t.Errorf("partition of %x is %d", b, p)
			}
		}
		if err := parseFormat(b); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Errorf("format %q: %v", b, err)
		}
	})
}
