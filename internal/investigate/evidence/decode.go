package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of decoding a recorded scan, so that what is held stays in proportion to what a scan may be, whatever the file says: an empty
// object takes three bytes of a file and hundreds in memory.
const (
	// bootstrapMax: a handful of addresses, or a careless list.
	bootstrapMax = 10_000
	// valueBytesMax and valueCommasMax bound one element of a list, or one value that is no list: the largest are tails of some thousand
	// producers, and all ACLs.
	valueBytesMax  = 16 << 20
	valueCommasMax = 200_000
	// insideMax bounds what all elements have in lists and maps of their own, together: replicas, configurations, codecs.
	insideMax = 4_000_000
	// aheadMax is how many bytes are read at a time: what is read ahead of one value is counted with it.
	aheadMax = 4 << 10
)

var (
	errValueLarge = errors.New("one of its values is too large")
	errInside     = fmt.Errorf("more than %d replicas, configurations and the like", insideMax)
	errNoObject   = errors.New("it does not begin with {")
)

// Decode reads a recorded scan from JSON. It ends with an error as soon as a list is longer than scans have them, before the rest is read.
// A file that is empty is io.EOF, one that is cut io.ErrUnexpectedEOF. Whether it is a scan, and of which version, is the caller's to
// check; names that it does not know are passed over.
func Decode(r io.Reader) (*Scan, error) {
	d := &decoder{in: guard{r: r}}
	d.json = json.NewDecoder(&d.in)
	s := &Scan{}
	switch t, err := d.json.Token(); {
	case err != nil:
		return nil, err
	case t != json.Delim('{'):
		return nil, errNoObject
	}
	err := d.object(d.fields(s))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

type decoder struct {
	in        guard
	json      *json.Decoder
	inside    int // of insideMax
	producers int // of ProducersMax
}

// fields says how each part of a scan is read, by its name in JSON.
func (d *decoder) fields(s *Scan) map[string]func() error {
	return map[string]func() error{
		"schema": d.one(&s.Schema), "tool": d.one(&s.Tool), "started": d.one(&s.Started), "ended": d.one(&s.Ended), "interrupted": d.one(&s.Interrupted),
		"given": d.one(&s.Given), "cluster": d.one(&s.Cluster), "partitions_left_out": d.one(&s.PartitionsLeftOut), "budget": d.one(&s.Budget),
		"transactions": d.one(&s.Transactions), "acls": d.one(&s.ACLs),

		"bootstrap":  list(d, &s.Bootstrap, bootstrapMax, func(*string) int { return 0 }),
		"brokers":    list(d, &s.Brokers, BrokersMax, func(b *Broker) int { return len(b.Configs) + len(b.APIs) }),
		"topics":     list(d, &s.Topics, TopicsMax, func(t *Topic) int { return len(t.Configs) }),
		"partitions": list(d, &s.Partitions, PartitionsMax, func(p *Partition) int { return len(p.Replicas) }),
		"counter":    list(d, &s.Counter, CounterProbesMax, func(*CounterProbe) int { return 0 }),
		"tails": list(d, &s.Tails, TailsMax, func(t *Tail) int {
			d.producers += len(t.Producers)
			return len(t.Codecs)
		}),
		"clock":        list(d, &s.Clock, ClockPointsMax, func(*ClockPoint) int { return 0 }),
		"sets":         list(d, &s.Sets, ProducerSetsMax, func(*ProducerSet) int { return 0 }),
		"fingerprints": list(d, &s.Fingerprints, TopicsMax, func(f *Fingerprint) int { return len(f.HeaderKeys) + len(f.Samples) }),
		"attributions": list(d, &s.Attributions, AttributionsMax, func(*Attribution) int { return 0 }),
		"metrics":      list(d, &s.Metrics, MetricSeriesMax, func(m *BrokerMetrics) int { return len(m.Values) }),
		"sources":      list(d, &s.Sources, SourcesMax, func(s *Source) int { return len(s.Errors) }),
	}
}

// object reads the rest of an object.
func (d *decoder) object(fields map[string]func() error) error {
	for {
		d.in.next()
		t, err := d.json.Token()
		if err != nil {
			return err
		}
		name, isName := t.(string)
		if !isName {
			return nil // }
		}
		read := fields[name]
		if read == nil {
			read = d.skip
		}
		if err := read(); err != nil {
			return err
		}
	}
}

// skip passes over one value, of any length.
func (d *decoder) skip() error {
	for depth := 0; ; {
		d.in.next()
		t, err := d.json.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// one reads a value that is no list.
func (d *decoder) one(into any) func() error {
	return func() error {
		d.in.next()
		return d.json.Decode(into)
	}
}

// list reads the elements of a list one by one, most at most. inside is what an element has in lists and maps of its own.
func list[T any](d *decoder, into *[]T, most int, inside func(*T) int) func() error {
	return func() error {
		d.in.next()
		switch t, err := d.json.Token(); {
		case err != nil:
			return err
		case t == nil:
			*into = nil
			return nil
		case t != json.Delim('['):
			return fmt.Errorf("%v in the place of a list", t)
		}
		*into = []T{}
		for d.json.More() {
			if len(*into) == most {
				return fmt.Errorf("a list of more than %d", most)
			}
			var v T
			d.in.next()
			if err := d.json.Decode(&v); err != nil {
				return err
			}
			d.inside += inside(&v)
			switch {
			case d.inside > insideMax:
				return errInside
			case d.producers > ProducersMax:
				return fmt.Errorf("more than %d producers", ProducersMax)
			}
			*into = append(*into, v)
		}
		_, err := d.json.Token() // ]
		return err
	}
}

// guard ends the reading of one value that is too large, before it is decoded: its bytes and commas say how much it can become. A comma inside of
// a string counts too.
type guard struct {
	r            io.Reader
	size, commas int
}

// next begins another value.
func (g *guard) next() { g.size, g.commas = 0, 0 }

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	if g.size > valueBytesMax || g.commas > valueCommasMax {
		return 0, errValueLarge
	}
	n, err := g.r.Read(p[:min(len(p), aheadMax)])
	g.size += n
	g.commas += bytes.Count(p[:n], []byte{','})
	return n, err
}
