package autopsy

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"ottla/internal/batch"
)

func readMetadata(b []byte, budget int64) (*Metadata, error) {
	m := &Metadata{Configs: map[string]string{}}
	_, err := m.read(bytes.NewReader(b), budget, func() error { return nil })
	return m, err
}

func TestMetadataLogsOfVersions(t *testing.T) {
	levels := map[string]int16{"3.3.2": 7, "3.6.2": 14, "3.9.1": 21, "4.3.1": 29}
	for _, v := range versions[2:] {
		b := fixture(t, v, "__cluster_metadata-0", "00000000000000000000.log")
		if !isMetadataLog(b) {
			t.Errorf("%s: not recognised", v)
		}
		m, err := readMetadata(b, math.MaxInt64)
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if len(m.Blocks) != 7 || m.Blocks[6].Next != 7000 || m.Blocks[0].Broker != 1 || m.Blocks[6].At.Before(m.Blocks[0].At) {
			t.Errorf("%s: blocks %v", v, m.Blocks)
		}
		if m.Level < levels[v] || len(m.Topics) != 3 {
			t.Errorf("%s: level %d, topics %v", v, m.Level, m.Topics)
		}
		if _, err := readMetadata(b[:len(b)-10], math.MaxInt64); err == nil || !strings.Contains(err.Error(), "cut") {
			t.Errorf("%s: cut: %v", v, err)
		}
		if _, err := readMetadata(b, 1000); err == nil || !strings.Contains(err.Error(), "not read beyond") {
			t.Errorf("%s: over its budget: %v", v, err)
		}
		bad := bytes.Clone(b)
		bad[len(bad)-20] ^= 1
		if _, err := readMetadata(bad, math.MaxInt64); err == nil {
			t.Errorf("%s: damage was not seen", v)
		}
	}
	for _, v := range versions {
		if isMetadataLog(fixture(t, v, "shop.events-0", "00000000000000000000.log")) {
			t.Errorf("%s: a topic's segment was taken for the metadata log", v)
		}
	}
}

func TestMetadataRecords(t *testing.T) {
	m := &Metadata{Configs: map[string]string{}}
	frame := func(key byte, message ...byte) batch.Record {
		return batch.Record{Timestamp: 5000, Value: append([]byte{1, key, 0}, message...)}
	}
	key := "producer.id.expiration.ms"
	config := append([]byte{4, 1, byte(len(key) + 1)}, key...)
	for _, rec := range []batch.Record{
		frame(4, append(config, 5, '9', '0', '0', '0', 0)...),
		frame(2, append([]byte{4, 'a', 'b', 'c'}, make([]byte, 17)...)...),
		frame(15, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0),
		frame(15, 1), frame(2, 200), frame(12), frame(4, 4, 1), // cut
		{Key: []byte("k"), Value: []byte{1, 15, 0}}, {Value: []byte{9, 15, 0}}, {},
	} {
		if err := m.record(rec); err != nil {
			t.Fatal(err)
		}
	}
	if m.Configs[key] != "9000" || len(m.Topics) != 1 || m.Topics[0].Name != "abc" || len(m.Blocks) != 1 || m.Blocks[0].Next != 1000 || m.Blocks[0].Broker != 7 {
		t.Errorf("%+v", m)
	}
	for range BlocksMax {
		m.Blocks = append(m.Blocks, Block{})
	}
	m.thin()
	if len(m.Blocks) > BlocksMax/2+1 || m.LeftOut == 0 {
		t.Errorf("%d blocks after thinning", len(m.Blocks))
	}
}

func FuzzMetadata(f *testing.F) {
	for _, v := range versions[2:] {
		f.Add(fixture(f, v, "__cluster_metadata-0", "00000000000000000000.log"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		isMetadataLog(b)
		m, _ := readMetadata(b, math.MaxInt64) // an error is a fine answer
		checkReport(t, &Evidence{At: testNow, Metadata: m})
		// Past the checksums too.
		for i := range min(len(b), 200) {
			if err := m.record(batch.Record{Value: b[i:]}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
