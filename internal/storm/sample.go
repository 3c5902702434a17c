package storm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// sampled is what is needed to send a producer's batches again, and what must be answered. Their sequences are 0, 1, 2 ...
type sampled struct {
	PID        int64   `json:"pid"`
	Epoch      int16   `json:"epoch"`
	Partition  int32   `json:"partition"`
	TimeMillis int64   `json:"time_ms"`
	Offsets    []int64 `json:"offsets"`
}

// reservoir keeps a random sample of all that is offered, each with the same chance (Vitter's algorithm R).
type reservoir struct {
	size int
	seen int64
	kept []sampled
}

// offer calls make only for what is kept.
func (r *reservoir) offer(make func() sampled) {
	r.seen++
	if len(r.kept) < r.size {
		r.kept = append(r.kept, make())
		return
	}
	if at := rand.Int64N(r.seen); at < int64(r.size) {
		r.kept[at] = make()
	}
}

// sampleFile is a saved sample: this as the first line, and a sampled as each further one.
type sampleFile struct {
	Schema      int    `json:"schema"` // sampleSchema
	ClusterID   string `json:"cluster_id"`
	Topic       string `json:"topic"`
	Partitions  int    `json:"partitions"`
	RecordBytes int    `json:"record_bytes"`
	Acks        int    `json:"acks"`
	Producers   int    `json:"producers"`

	sample []sampled
}

const (
	sampleSchema = 1
	// sampleLineMax bounds a line of a sample file, in bytes.
	sampleLineMax = 64 << 10
)

func (s *sampleFile) write(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	s.Schema, s.Producers = sampleSchema, len(s.sample)
	if err := lines.Encode(s); err != nil {
		return err
	}
	for i := range s.sample {
		if err := lines.Encode(&s.sample[i]); err != nil {
			return err
		}
	}
	return w.Flush()
}

func readSampleFile(name string) (*sampleFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := readSample(f)
	if err != nil {
		return nil, fmt.Errorf("%s is no sample of a storm: %w", name, err)
	}
	return s, nil
}

func readSample(r io.Reader) (*sampleFile, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, sampleLineMax)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("it is empty"), lines.Err())
	}
	s := &sampleFile{}
	if err := json.Unmarshal(lines.Bytes(), s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	for lines.Scan() {
		var p sampled
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(s.sample)+2, err)
		}
		if p.Partition < 0 || int(p.Partition) >= s.Partitions || len(p.Offsets) == 0 || len(p.Offsets) > BatchesMax || p.PID < 0 {
			return nil, fmt.Errorf("line %d: out of range", len(s.sample)+2)
		}
		if s.sample = append(s.sample, p); len(s.sample) > s.Producers {
			break
		}
	}
	if len(s.sample) != s.Producers {
		return nil, errors.Join(fmt.Errorf("%d producers, its first line says %d", len(s.sample), s.Producers), lines.Err())
	}
	return s, lines.Err()
}

func (s *sampleFile) check() error {
	o := Defaults()
	o.Topic, o.Partitions, o.RecordBytes, o.Acks, o.Mode, o.RetrySample = s.Topic, s.Partitions, s.RecordBytes, s.Acks, Fast, s.Producers
	if s.Schema != sampleSchema {
		return fmt.Errorf("schema %d, this program reads %d", s.Schema, sampleSchema)
	}
	if s.Topic == "" {
		return errors.New("no topic")
	}
	return errors.Join(o.checkLoad(), o.checkTopic(), o.checkSample())
}
