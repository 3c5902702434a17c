package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

func numbered(recs []record) []record {
	next := map[int32]int64{}
	out := slices.Clone(recs)
	for i := range out {
		out[i].offset = next[out[i].partition]
		next[out[i].partition]++
	}
	return out
}

// The suite proves nothing if its comparison lets a difference pass.
func TestCompareFindsDifferences(t *testing.T) {
	want := manyShapes(1, false)
	now := time.Now()
	if err := compare(numbered(want), want, now, now); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(want, func(r record) bool { return len(r.key) > 0 && len(r.value) > 0 && len(r.headers) == 4 })
	for name, change := range map[string]func(r *record){
		"partition":       func(r *record) { r.partition = 2 },
		"offset":          func(r *record) { r.offset++ },
		"timestamp":       func(r *record) { r.timestamp++ },
		"timestamp type":  func(r *record) { r.timestampType = logAppendTime },
		"key":             func(r *record) { r.key = append([]byte("x"), r.key...) },
		"null key":        func(r *record) { r.key = nil },
		"value":           func(r *record) { r.value = append([]byte("x"), r.value[1:]...); r.value[0] ^= 1 },
		"null value":      func(r *record) { r.value = nil },
		"header gone":     func(r *record) { r.headers = r.headers[:3] },
		"header order":    func(r *record) { h := slices.Clone(r.headers); h[0], h[1] = h[1], h[0]; r.headers = h },
		"null header":     func(r *record) { h := slices.Clone(r.headers); h[2].value = nil; r.headers = h },
		"rendered header": func(r *record) { s := "a=1,a=2,empty=,other=x"; r.rendered = &s },
	} {
		got := numbered(want)
		change(&got[at])
		if compare(got, want, now, now) == nil {
			t.Errorf("%s: not found", name)
		}
	}
	if got := numbered(want); compare(got[1:], want, now, now) == nil || compare(append(got, got[0]), want, now, now) == nil {
		t.Error("a lost or doubled record is not found")
	}
}

func TestRecordsFileRoundTrip(t *testing.T) {
	want := manyShapes(2, false)
	file := filepath.Join(t.TempDir(), "records")
	if err := writeRecords(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readRecords(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatal("other records come back:", err)
	}
}

func TestWholeStream(t *testing.T) {
	var good []record
	for i := range streamRecords {
		good = append(good, record{partition: int32(i % partitions), value: strconv.AppendInt(nil, int64(i), 10)})
	}
	good = numbered(good)
	if err := wholeStream(slices.Clone(good), partitions); err != nil {
		t.Fatal(err)
	}
	lost := slices.Delete(slices.Clone(good), 5, 6)
	doubled := append(slices.Clone(lost), good[4])
	swapped := slices.Clone(good)
	swapped[0].value, swapped[3].value = swapped[3].value, swapped[0].value
	for name, bad := range map[string][]record{"lost": lost, "doubled": doubled, "swapped": swapped} {
		if wholeStream(bad, partitions) == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
