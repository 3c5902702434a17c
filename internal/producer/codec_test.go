package producer

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

func roundTrip(e *Entry) error {
	b := e.Encode(nil)
	if len(b) > EncodedBytesMax {
		return fmt.Errorf("%d bytes, at most %d", len(b), EncodedBytesMax)
	}
	var got Entry
	if err := Decode(b, &got); err != nil {
		return fmt.Errorf("%+v: %w", e, err)
	}
	if got != *e {
		return fmt.Errorf("got %+v, want %+v", got, *e)
	}
	return nil
}

func TestCodecExtremes(t *testing.T) {
	const far = int64(math.MaxInt64)
	entries := []Entry{
		{},
		{Epoch: math.MaxInt16, LastSeen: math.MaxUint32},
		*writes(0, [2]int32{0, 1}),
		{Epoch: 1, Count: 1, RunLength: RunLengthMax, Batches: [5]Stored{{math.MaxInt32, math.MaxInt32 - 1, far, far, math.MinInt64}}},
		{Count: 2, Batches: [5]Stored{{5, 4, 0, far - 1, math.MaxInt64}, {5, 4, far, far, math.MinInt64}}},
	}
	for _, e := range entries {
		if err := roundTrip(&e); err != nil {
			t.Error(err)
		}
	}
}

// TestEncodedSize keeps what the disk budget of 80 bytes an entry counts on.
func TestEncodedSize(t *testing.T) {
	e := Entry{LastSeen: 10_000_000}
	const offset, timestamp = int64(1) << 40, int64(1_790_000_000_000)
	for i := range int64(5) {
		in, s := write(0, int32(i*100), 100, offset+i*5000)
		s.Timestamp = timestamp + i*250
		e.Apply(in, s, e.LastSeen)
		if size := len(e.Encode(nil)); i == 0 && size > 46 || size > 154 {
			t.Errorf("%d bytes with %d batches", size, i+1)
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	good := writes(2, [2]int32{0, 10}, [2]int32{10, 3}).Encode(nil)
	six := writes(2, [2]int32{0, 1}, [2]int32{1, 1}, [2]int32{2, 1}, [2]int32{3, 1}, [2]int32{4, 1}).Encode(nil)
	six = append(six, 0, 0, 0, 0, 0)
	bad := map[string][]byte{
		"empty":                 {},
		"version 0":             append([]byte{0}, good[1:]...),
		"version 2":             append([]byte{2}, good[1:]...),
		"long varint":           append([]byte{0x81, 0}, good[1:]...),
		"epoch out of range":    {1, 0xff, 0xff, 3, 0, 0},
		"run without batches":   {1, 0, 0, 1},
		"run out of range":      {1, 0, 0, 0x81, 0x80, 0x80, 0x80, 4, 0, 0, 0, 0, 0},
		"sequence out of range": {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0, 0},
		"offset out of range":   {1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0},
		"six batches":           six,
	}
	for n := range len(good) {
		if !bytes.Equal(good[:n], writes(2, [2]int32{0, 10}).Encode(nil)) && n != 4 {
			bad[fmt.Sprintf("first %d bytes", n)] = good[:n]
		}
	}
	for name, b := range bad {
		var e Entry
		if err := Decode(b, &e); err == nil {
			t.Errorf("%s: accepted %x as %+v", name, b, e)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&Entry{}).Encode(nil))
	f.Add(writes(2, [2]int32{0, 10}, [2]int32{10, 3}).Encode(nil))
	f.Add(writes(0, [2]int32{maxSeq - 3, 10}, [2]int32{7, 1}, [2]int32{50, 2}, [2]int32{52, 9}, [2]int32{61, 1}).Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		if Decode(b, &e) != nil {
			return
		}
		if again := e.Encode(nil); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one entry: %x and %x", b, again)
		}
		for _, s := range e.Window() {
			in := Incoming{Epoch: e.Epoch, BaseSequence: s.BaseSequence, LastSequence: s.LastSequence}
			if v, _, err := Check(&e, in, false); err != nil || v != Duplicate {
				t.Fatalf("a remembered batch is not a duplicate: %v %v", v, err)
			}
		}
	})
}

func FuzzHistory(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(200))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		if err := play(seed, int(steps%1024)); err != nil {
			t.Fatal(err)
		}
	})
}
