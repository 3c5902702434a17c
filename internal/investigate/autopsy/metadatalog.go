package autopsy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"ottla/internal/batch"
)

// The records of the metadata log that are read, by their API key (Kafka's metadata/src/main/resources/common/metadata).
const (
	apiTopic        = 2
	apiConfig       = 4
	apiFeatureLevel = 12
	apiProducerIDs  = 15
	apiKeyMax       = 64 // higher ones are of no known version
	frameVersionMax = 1

	resourceBroker = 4 // ConfigResource.Type
	// metadataBatchMax is the largest batch of the metadata log that is read, in bytes; the controller writes far smaller ones.
	metadataBatchMax = 16 << 20
)

// isMetadataLog looks at the first data records of a log: null keys, values that are frames of a known API key.
func isMetadataLog(head []byte) bool {
	looked := 0
	for len(head) > 0 && looked < 8 {
		b, err := batch.Parse(head)
		if err != nil {
			break
		}
		head = head[b.Size():]
		h := b.Header()
		if h.Control() {
			continue
		}
		if h.HasProducer() || h.Codec() != batch.CodecNone {
			return false
		}
		bad := errors.New("no frame")
		err = b.Records(func(rec batch.Record) error {
			looked++
			if _, _, ok := metadataFrame(rec); !ok {
				return bad
			}
			return nil
		})
		if err != nil {
			return false
		}
	}
	return looked > 0
}

// metadataFrame takes the frame off a record: its version, the API key, the version of the message.
func metadataFrame(rec batch.Record) (apiKey uint64, message []byte, ok bool) {
	if rec.Key != nil {
		return 0, nil, false
	}
	f := fields{b: rec.Value}
	frame, key, version := f.uvarint(), f.uvarint(), f.uvarint()
	if f.bad || frame > frameVersionMax || key > apiKeyMax || version > 16 {
		return 0, nil, false
	}
	return key, f.b, true
}

// metadataLog reads a segment or a checkpoint of __cluster_metadata.
func (r *reader) metadataLog(f *file) error {
	h, err := f.open()
	if err != nil {
		r.problem(f.path, "%v", err)
		return nil
	}
	if r.out.Metadata == nil {
		r.out.Metadata = &Metadata{Configs: map[string]string{}}
	}
	read, err := r.out.Metadata.read(h, metadataBudget-r.metadata, func() error { return r.ctx.Err() })
	_ = h.Close() // read only
	r.metadata += read
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if err != nil {
		r.problem(f.path, "%v", err)
	}
	return nil
}

func (m *Metadata) read(in io.Reader, budget int64, alive func() error) (read int64, err error) {
	var buf []byte
	for {
		if err := alive(); err != nil {
			return read, err
		}
		var head [batch.HeaderSize]byte
		n, err := io.ReadFull(in, head[:])
		if n == 0 || allZero(head[:n]) {
			return read, nil
		}
		if err != nil {
			return read, fmt.Errorf("at byte %d: cut in the middle of a batch", read)
		}
		h, err := batch.DecodeHeader(head[:])
		if err != nil {
			return read, fmt.Errorf("at byte %d: %w", read, err)
		}
		if h.Size() > metadataBatchMax {
			return read, fmt.Errorf("at byte %d: a batch of %d bytes is not believed", read, h.Size())
		}
		if read+h.Size() > budget {
			return read, fmt.Errorf("not read beyond byte %d: the metadata logs together are larger than %d MiB", read, metadataBudget>>20)
		}
		buf = append(buf[:0], head[:]...)
		buf = append(buf, make([]byte, h.Size()-batch.HeaderSize)...)
		if _, err := io.ReadFull(in, buf[batch.HeaderSize:]); err != nil {
			return read, fmt.Errorf("at byte %d: cut in the middle of a batch", read)
		}
		b, err := batch.Parse(buf)
		if err != nil {
			return read, fmt.Errorf("at byte %d: %w", read, err)
		}
		if !h.Control() {
			if err := b.Records(m.record); err != nil {
				return read, fmt.Errorf("at byte %d: %w", read, err)
			}
		}
		read += h.Size()
	}
}

// record reads one record; those that are of no use, or do not make sense, are left out.
func (m *Metadata) record(rec batch.Record) error {
	key, message, ok := metadataFrame(rec)
	if !ok {
		return nil
	}
	at := time.UnixMilli(rec.Timestamp).UTC()
	f := fields{b: message}
	switch key {
	case apiProducerIDs:
		broker, _, next := f.int32(), f.int64(), f.int64()
		if f.bad || next < 0 {
			return nil
		}
		if len(m.Blocks) >= BlocksMax {
			m.thin()
		}
		m.Blocks = append(m.Blocks, Block{at, broker, next})
	case apiTopic:
		name := f.str()
		if f.bad || name == "" {
			return nil
		}
		if len(m.Topics) >= TopicsMax { // the newest are the ones asked for
			m.Topics = append(m.Topics[:0], m.Topics[TopicsMax/2:]...)
			m.LeftOut += TopicsMax / 2
		}
		m.Topics = append(m.Topics, TopicMade{name, at})
	case apiFeatureLevel:
		name, level := f.str(), f.int16()
		if !f.bad && name == "metadata.version" {
			m.Level = level
		}
	case apiConfig:
		kind, _, name, value := f.int8(), f.str(), f.str(), f.str()
		if !f.bad && kind == resourceBroker && keptConfigs[name] {
			m.Configs[name] = value
		}
	}
	return nil
}

// thin drops every other block: a curve needs no more points.
func (m *Metadata) thin() {
	kept := m.Blocks[:0]
	for i, b := range m.Blocks {
		if i%2 == 0 {
			kept = append(kept, b)
		}
	}
	m.LeftOut += int64(len(m.Blocks) - len(kept))
	m.Blocks = kept
}

// fields reads the fields of a message in Kafka's flexible encoding. After the first that is not whole everything is zero
// and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n < 0 || n > len(f.b) {
		f.bad = true
		return make([]byte, 8)[:min(max(n, 0), 8)]
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad = true
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) int8() int8   { return int8(f.take(1)[0]) }
func (f *fields) int16() int16 { return int16(binary.BigEndian.Uint16(f.take(2))) }
func (f *fields) int32() int32 { return int32(binary.BigEndian.Uint32(f.take(4))) }
func (f *fields) int64() int64 { return int64(binary.BigEndian.Uint64(f.take(8))) }

// str reads a compact string; null is empty.
func (f *fields) str() string {
	n := f.uvarint()
	if n == 0 || f.bad {
		return ""
	}
	if n-1 > uint64(len(f.b)) {
		f.bad = true
		return ""
	}
	return string(f.take(int(n - 1)))
}
